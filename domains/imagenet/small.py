"""The small source: CIFAR-10 with its labels, to pretrain on and to probe on."""

from __future__ import annotations

from dataclasses import replace

from dabs_rq.data.examples import Examples
from dabs_rq.data.requests import Request
from dabs_rq.domain import Pretraining, SourceSet, Task
from dabs_rq.domains.images import cifar10

SPLITS = {"train": "train", "validation": "test"}


def load(request: Request) -> Examples:
    """Load the data batches, or the test batch to validate on, with their labels."""
    return cifar10.load(replace(request, split=SPLITS[request.split]))


SMALL = SourceSet(
    pretraining=Pretraining(
        source=cifar10.SOURCE, load=load, sizes={split: cifar10.TASK.sizes[name] for split, name in SPLITS.items()}
    ),
    tasks=(
        Task(
            name="cifar10_classes",
            row="CIFAR-10 (in place of ImageNet)",
            source=cifar10.SOURCE,
            target=cifar10.TARGET,
            metric="accuracy",
            also=("accuracy_top5",),
            load=cifar10.load,
            sizes=cifar10.TASK.sizes,
            published_comparable=False,
            in_place_of="imagenet1k",
        ),
    ),
)
