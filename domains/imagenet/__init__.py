"""ImageNet-1k with its labels: the paper's three ImageNet experiments. Outside the published table."""

from __future__ import annotations

from dabs_rq.domain import Domain
from dabs_rq.domains.imagenet import labelled, small
from dabs_rq.spec import Grid

SMALL_IMAGE = Grid(name="image", height=32, width=32, channels=3, patch=4)

DOMAIN = Domain(
    name="imagenet",
    title="ImageNet",
    inputs={
        "mini": (SMALL_IMAGE,),
        "small": (SMALL_IMAGE,),
        # Training crops 224 pixels at random, the probe the centre (encoder.crop).
        "paper": (Grid(name="image", height=256, width=256, channels=3, patch=16),),
    },
    pretraining=labelled.IMAGENET,
    tasks=(labelled.TASK,),
    other_sources={"small": small.SMALL},
    batch_size=256,
    tables=(),
)
