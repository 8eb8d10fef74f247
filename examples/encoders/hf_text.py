"""A text model of Hugging Face with a tokenizer of its own."""

from pathlib import Path

import transformers
from torch import nn

from dabs_rq.networks import declare, load_hugging_face

PLACE = Path(__file__).with_name("hf_text")


class Texts(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = load_hugging_face(PLACE)
        self.tokenizer = load_hugging_face(PLACE, transformers.AutoTokenizer)

    def forward(self, texts):  # B tuples of one text or two
        columns = map(list, zip(*texts, strict=True))
        ids = self.tokenizer(*columns, padding=True, truncation=True, return_tensors="pt").to(self.model.device)
        return self.model(**ids).last_hidden_state[:, 0]


def network(inputs):
    return Texts()


ENCODER = declare("hf_text", network, title="BERT, own tokenizer", domains=["text"], texts=True)
