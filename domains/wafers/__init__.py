"""Semiconductors: WM-811K, maps of failed dies on wafers, to pretrain on and to transfer to."""

from __future__ import annotations

from dabs_rq.domain import Domain
from dabs_rq.domains.wafers import wm811k
from dabs_rq.domains.wafers.protocol import WafersProtocol
from dabs_rq.spec import Grid

INPUTS = (Grid(name="map", height=32, width=32, channels=3, patch=4),)

DOMAIN = Domain(
    name="wafers",
    title="Semiconductors",
    protocol=WafersProtocol,
    inputs={"mini": INPUTS, "paper": INPUTS},
    pretraining=wm811k.PRETRAINING,
    tasks=(wm811k.TASK,),
    batch_size=128,
    tables=("dabs2",),
)
