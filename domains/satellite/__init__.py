"""Satellite pictures: EuroSAT, tiles of thirteen Sentinel-2 bands, to pretrain on and to transfer to."""

from __future__ import annotations

from dabs_rq.domain import Domain
from dabs_rq.domains.satellite import eurosat
from dabs_rq.domains.satellite.protocol import SatelliteProtocol
from dabs_rq.spec import Grid

DOMAIN = Domain(
    name="satellite",
    title="Satellite",
    protocol=SatelliteProtocol,
    inputs={
        "mini": (Grid(name="tile", height=16, width=16, channels=13, patch=2, dtype="float32"),),
        "paper": (Grid(name="tile", height=64, width=64, channels=13, patch=8, dtype="float32"),),
    },
    pretraining=eurosat.PRETRAINING,
    tasks=(eurosat.TASK,),
    batch_size=64,
    tables=("dabs2",),
)
