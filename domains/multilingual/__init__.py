"""Multilingual text: mC4 in seven languages to pretrain on, PAWS-X in the same seven to transfer to."""

from __future__ import annotations

from dabs_rq.domain import Domain
from dabs_rq.spec import Tokens
from domains.multilingual import mc4, paws_x
from domains.multilingual.protocol import MultilingualProtocol

DOMAIN = Domain(
    name="multilingual",
    title="Multilingual Text",
    protocol=MultilingualProtocol,
    inputs={
        "mini": (Tokens(name="text", length=32, vocabulary=250_002, pad=1, tokenizer="xlm-roberta-base"),),
        "paper": (Tokens(name="text", length=128, vocabulary=250_002, pad=1, tokenizer="xlm-roberta-base"),),
    },
    pretraining=mc4.MC4,
    tasks=paws_x.TASKS,
    batch_size=128,
)
