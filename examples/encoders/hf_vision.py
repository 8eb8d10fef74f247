"""A vision model of Hugging Face. Its folder is beside this file; an id on the hub works too."""

from pathlib import Path

from torch import nn

from dabs_rq.networks import declare, load_hugging_face


class Normalised(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):  # (B, 3, height, width) in [0, 1]
        return self.model(pixel_values=(images - 0.5) / 0.5).last_hidden_state[:, 0]


def network(inputs):
    return Normalised(load_hugging_face(Path(__file__).with_name("hf_vision"), add_pooling_layer=False))


ENCODER = declare("hf_vision", network, title="ViT", domains=["images"], size=48)
