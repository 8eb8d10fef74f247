"""Molecules as lines of characters (SMILES): pretraining on the HIV screen, transfer to what passes into the brain."""

from __future__ import annotations

from dabs_rq.domain import Domain
from dabs_rq.spec import Tokens

from . import bbbp, hiv
from .smiles import PAD, VOCABULARY


def _characters(length: int) -> Tokens:
    return Tokens(name="characters", length=length, vocabulary=VOCABULARY, pad=PAD)


DOMAIN = Domain(
    name="molecules",
    title="Molecules",
    inputs={"mini": (_characters(64),), "paper": (_characters(128),)},
    pretraining=hiv.HIV,
    tasks=(bbbp.TASK,),
    batch_size=128,
)
