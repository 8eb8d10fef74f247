"""Proteins as sequences of residues: pretraining on Pfam, transfer to five tasks of TAPE."""

from __future__ import annotations

from dabs_rq.domain import Domain
from dabs_rq.domains.proteins import pfam, tasks
from dabs_rq.domains.proteins.protocol import ProteinsProtocol
from dabs_rq.domains.proteins.tape import RESIDUES, UNKNOWN
from dabs_rq.spec import Tokens


def _residues(length: int) -> Tokens:
    return Tokens(name="residues", length=length, vocabulary=len(RESIDUES), pad=UNKNOWN, shared_pad=True)


DOMAIN = Domain(
    name="proteins",
    title="Proteins",
    protocol=ProteinsProtocol,
    inputs={"mini": (_residues(64),), "paper": (_residues(128),)},
    pretraining=pfam.PFAM,
    tasks=(pfam.TASK, *tasks.TASKS),
    batch_size=128,
    tables=("dabs2",),
)
