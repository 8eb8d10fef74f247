"""No probe: the classifier that pretraining trained on its own labels, as the checkpoint holds it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from dabs_rq import checkpoint
from dabs_rq.errors import OptionError
from dabs_rq.spec import Multiclass, Target
from dabs_rq.transfer.fitted import Fitted
from dabs_rq.transfer.linear import Linear


def read_classifier(file: Path, width: int, target: Target) -> Fitted:
    """Read the linear layer `method.classifier` of a checkpoint.

    Raises OptionError if the method has none, or if it has another number of classes than the task.
    """
    tensors = checkpoint.own_tensors(file)
    weight, bias = tensors.get("classifier.weight"), tensors.get("classifier.bias")
    if weight is None or bias is None:
        raise OptionError(
            f"transfer.probe=classifier uses the classifier that pretraining trained, and {file} holds none: give "
            "method=supervised, or another probe"
        )
    if not isinstance(target, Multiclass) or tuple(weight.shape) != (target.classes, width):
        raise OptionError(
            f"transfer.probe=classifier: the classifier in {file} has shape {tuple(weight.shape)}, the task needs "
            f"{(target.outputs, width)}. Give method.classes, or another probe"
        )
    with torch.no_grad():
        head = nn.Linear(width, target.classes)
        head.weight.copy_(weight)
        head.bias.copy_(bias)
    return Linear(head, {"probe": "classifier"})
