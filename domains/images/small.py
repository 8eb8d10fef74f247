"""Small sources: CIFAR-10 to pretrain on, CIFAR-10 and GTSRB to transfer to."""

from __future__ import annotations

from dataclasses import replace

from dabs_rq.data.examples import Examples
from dabs_rq.data.requests import Request
from dabs_rq.domain import Pretraining, SourceSet
from dabs_rq.domains.images import cifar10, traffic_sign

SPLITS = {"train": "train", "validation": "test"}


def load(request: Request) -> Examples:
    """Load the pictures of CIFAR-10 without their labels: the data batches, or the test batch to validate on."""
    return replace(cifar10.load(replace(request, split=SPLITS[request.split])), targets=None)


SMALL = SourceSet(
    pretraining=Pretraining(
        source=cifar10.SOURCE,
        load=load,
        sizes={split: cifar10.TASK.sizes[name] for split, name in SPLITS.items()},
    ),
    tasks=(cifar10.TASK, traffic_sign.TASK),
)
