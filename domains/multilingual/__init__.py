"""Multilingual text: mC4 in seven languages to pretrain on, PAWS-X in the same seven to transfer to."""

from __future__ import annotations

from dabs_rq.domain import Domain
from dabs_rq.domains.multilingual import mc4, paws_x, small
from dabs_rq.domains.multilingual.protocol import MultilingualProtocol
from dabs_rq.spec import Tokens


def _tokens(length: int) -> Tokens:
    return Tokens(name="text", length=length, vocabulary=250_002, pad=1, tokenizer="xlm-roberta-base")


DOMAIN = Domain(
    name="multilingual",
    title="Multilingual Text",
    protocol=MultilingualProtocol,
    inputs={"mini": (_tokens(32),), "small": (_tokens(64),), "paper": (_tokens(128),)},
    pretraining=mc4.MC4,
    tasks=paws_x.TASKS,
    other_sources={"small": small.SMALL},
    batch_size=128,
)
