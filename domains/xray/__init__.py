"""Chest X-rays: CheXpert to pretrain on and, with its labels, to transfer to; ChestX-ray8 to transfer to."""

from __future__ import annotations

from dabs_rq.domain import Domain
from dabs_rq.domains.xray import chexpert, small, xray8
from dabs_rq.domains.xray.protocol import XrayProtocol
from dabs_rq.spec import Grid

SMALL_IMAGE = Grid(name="image", height=32, width=32, channels=3, patch=4)

DOMAIN = Domain(
    name="xray",
    title="Chest X-Rays",
    protocol=XrayProtocol,
    inputs={
        "mini": (SMALL_IMAGE,),
        "small": (SMALL_IMAGE,),
        "paper": (Grid(name="image", height=224, width=224, channels=3, patch=16),),
    },
    pretraining=chexpert.CHEXPERT,
    tasks=(chexpert.TASK, xray8.TASK),
    other_sources={"small": small.SMALL},
    batch_size=64,
)
