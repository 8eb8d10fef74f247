"""Divides training examples into those that a probe is fitted to and those by which its strength is selected."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from dabs_rq.errors import TrainingError
from dabs_rq.spec import Binary, Multiclass, Multilabel, Target

SHARE = 0.1  # of the examples is held out
LEAST = 0.5  # whole groups are held out if they reach this part of the share


class HeldOut(NamedTuple):
    """fitting, held_out: indices, sorted. groups: whether groups stayed whole or were cut; "none" without groups."""

    fitting: np.ndarray
    held_out: np.ndarray
    groups: Literal["none", "whole", "cut"]


def hold_out(targets: np.ndarray, groups: np.ndarray | None, target: Target, seed: int) -> HeldOut:
    """Hold out about a tenth of the examples, drawn by seed.

    Every class (of a multilabel target: every value of a label) that is held out is also fitted, so a class with a
    single example is only fitted. Groups stay whole if enough of them can be held out; else, such as where each class
    is one group, they are cut: then the draw is by class.
    Raises: TrainingError if no example can be held out.
    """
    classes = _classes(targets, target)
    rng = np.random.default_rng(seed)
    count = max(1, round(SHARE * len(targets)))
    grouped = groups is not None and len(np.unique(groups)) > 1
    if grouped:
        _, members = np.unique(groups, return_inverse=True)  # type: ignore[call-overload]
        held = _draw(members, rng.permutation(members.max() + 1), classes, count)
        if held.sum() >= LEAST * count:
            return _divided(held, "whole")
    held = _draw(np.arange(len(targets)), _by_class(classes, rng), classes, count)
    if not held.any():
        raise TrainingError(
            f"no part of the {len(targets)} training examples can be held out to select the probe's strength: every "
            "class has one example"
        )
    return _divided(held, "cut" if grouped else "none")


def _divided(held: np.ndarray, groups: Literal["none", "whole", "cut"]) -> HeldOut:
    return HeldOut(np.flatnonzero(~held), np.flatnonzero(held), groups)


def _classes(targets: np.ndarray, target: Target) -> np.ndarray:
    """Return the classes (n, k) that each example belongs to, numbered from 0."""
    if isinstance(target, Multiclass | Binary):
        return np.unique(targets, return_inverse=True)[1].reshape(-1, 1)
    if isinstance(target, Multilabel):
        return targets.astype(np.int64) + 2 * np.arange(targets.shape[1])
    return np.zeros((len(targets), 1), np.int64)


def _by_class(classes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Order the examples so that the first tenth has every class in proportion: every tenth of the examples sorted by
    their first class, then the others."""
    order = rng.permutation(len(classes))
    order = order[np.argsort(classes[order, 0], kind="stable")] if classes.shape[1] == 1 else order
    step = round(1 / SHARE)
    first = np.zeros(len(order), bool)
    first[rng.integers(min(step, len(order))) :: step] = True
    return np.concatenate([rng.permutation(order[first]), rng.permutation(order[~first])])


def _draw(members: np.ndarray, order: np.ndarray, classes: np.ndarray, count: int) -> np.ndarray:
    """Hold out groups in the given order until `count` examples are held out; skip a group that is too large, or that
    holds all remaining examples of a class. members: (n,) each example's group."""
    remaining = np.bincount(classes.ravel())
    by_group = np.argsort(members, kind="stable")
    ends = np.cumsum(np.bincount(members))
    held = np.zeros(len(members), bool)
    free = count
    for group in order:
        if free <= 0:
            break
        rows = by_group[ends[group - 1] if group else 0 : ends[group]]
        # The last group may exceed the share by half of it.
        if len(rows) > free + count // 2:
            continue
        present, sizes = np.unique(classes[rows], return_counts=True)
        if (remaining[present] > sizes).all():
            remaining[present] -= sizes
            held[rows] = True
            free -= len(rows)
    return held
