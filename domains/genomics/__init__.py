"""Bacterial genomes: reads of 250 bases, without padding."""

from __future__ import annotations

from dabs_rq.domain import Domain
from dabs_rq.domains.genomics.bacteria import BACTERIA, TASKS
from dabs_rq.domains.genomics.protocol import GenomicsProtocol
from dabs_rq.domains.genomics.reads import BASES, LENGTH
from dabs_rq.spec import Tokens

INPUTS = (Tokens(name="bases", length=LENGTH, vocabulary=len(BASES)),)

DOMAIN = Domain(
    name="genomics",
    title="Genomics",
    protocol=GenomicsProtocol,
    inputs={"mini": INPUTS, "paper": INPUTS},
    pretraining=BACTERIA,
    tasks=TASKS,
    batch_size=32,
    tables=("dabs2",),
)
