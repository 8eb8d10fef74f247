"""Proteins as sequences of residues: pretraining on Swiss-Prot, transfer to the classes of SCOPe."""

from __future__ import annotations

from dabs_rq.domain import Domain
from dabs_rq.spec import Tokens

from . import scope, swissprot
from .fasta import PAD, VOCABULARY


def _residues(length: int) -> Tokens:
    return Tokens(name="residues", length=length, vocabulary=VOCABULARY, pad=PAD)


DOMAIN = Domain(
    name="proteins",
    title="Proteins",
    inputs={"mini": (_residues(64),), "paper": (_residues(128),)},
    pretraining=swissprot.SWISSPROT,
    tasks=(scope.TASK,),
    batch_size=128,
)
