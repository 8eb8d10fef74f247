"""Particle physics: HIGGS, rows of 28 numbers about simulated collisions, to pretrain on and to transfer to."""

from __future__ import annotations

from dabs_rq.domain import Domain
from dabs_rq.domains.particles import higgs
from dabs_rq.domains.particles.protocol import ParticlesProtocol
from dabs_rq.spec import Tabular

INPUTS = (Tabular(name="collision", features=len(higgs.FEATURES)),)

DOMAIN = Domain(
    name="particles",
    title="Particle Physics",
    protocol=ParticlesProtocol,
    inputs={"mini": INPUTS, "paper": INPUTS},
    pretraining=higgs.PRETRAINING,
    tasks=(higgs.TASK,),
    batch_size=256,
    tables=("dabs2",),
)
