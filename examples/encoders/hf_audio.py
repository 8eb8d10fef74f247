"""An audio model of Hugging Face on the domain's log-mel spectrograms, lowest band first."""

from pathlib import Path

from torch import nn

from dabs_rq.networks import declare, load_hugging_face


class Transposed(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, spectrograms):  # (B, 1, bands, time)
        return self.model(input_values=spectrograms[:, 0].transpose(1, 2)).pooler_output


def network(inputs):
    return Transposed(load_hugging_face(Path(__file__).with_name("hf_audio")))


ENCODER = declare("hf_audio", network, title="AST", domains=["speech"])
