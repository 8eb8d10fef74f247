"""Natural images: ImageNet-1k to pretrain on, six labelled sets to transfer to."""

from __future__ import annotations

from dabs_rq.domain import Domain
from dabs_rq.domains.images import aircraft, cifar10, cu_birds, dtd, imagenet, small, traffic_sign, vgg_flower
from dabs_rq.domains.images.protocol import ImagesProtocol
from dabs_rq.spec import Grid

SMALL_IMAGE = Grid(name="image", height=32, width=32, channels=3, patch=4)

DOMAIN = Domain(
    name="images",
    title="Images",
    protocol=ImagesProtocol,
    inputs={
        "mini": (SMALL_IMAGE,),
        "small": (SMALL_IMAGE,),
        "paper": (Grid(name="image", height=224, width=224, channels=3, patch=16),),
    },
    pretraining=imagenet.IMAGENET,
    tasks=(cifar10.TASK, cu_birds.TASK, vgg_flower.TASK, dtd.TASK, traffic_sign.TASK, aircraft.TASK),
    other_sources={"small": small.SMALL},
    batch_size=64,
)
