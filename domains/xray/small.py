"""Small sources: ChestMNIST to pretrain on; ChestMNIST and PneumoniaMNIST to transfer to."""

from __future__ import annotations

from dataclasses import replace

from dabs_rq.data.examples import Examples
from dabs_rq.data.requests import Request
from dabs_rq.domain import Pretraining, SourceSet
from dabs_rq.domains.xray import medmnist


def load(request: Request) -> Examples:
    """Load the pictures of ChestMNIST's training or validation split, without their labels."""
    return replace(medmnist.CHEST_MNIST.load(request), targets=None)


SMALL = SourceSet(
    pretraining=Pretraining(source=medmnist.CHEST, load=load, sizes={"train": 78_468, "validation": 11_219}),
    tasks=(medmnist.PNEUMONIA_MNIST, medmnist.CHEST_MNIST),
)
