"""Divides training examples into those that a probe is fitted to and those by which its strength is selected."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from dabs_rq.errors import TrainingError
from dabs_rq.spec import Binary, Multiclass, Multilabel, Target

SHARE = 0.1  # of the examples is held out
LEAST = 0.5  # all groups are cut if less than this part of the share can be held out otherwise


class HeldOut(NamedTuple):
    """fitting, held_out: indices, sorted. groups: "whole", or "cut" if examples of one group lie on both sides; "none"
    without groups. cut: how many groups could be cut."""

    fitting: np.ndarray
    held_out: np.ndarray
    groups: Literal["none", "whole", "cut"]
    cut: int


def hold_out(targets: np.ndarray, groups: np.ndarray | None, target: Target, seed: int) -> HeldOut:
    """Hold out about a tenth of the examples, drawn by seed.

    Every class (of a multilabel target: every value of a label) that is held out is also fitted, so a class with a
    single example is only fitted. A group is held out whole or not at all, unless it has all examples of a class: such
    a group is cut. All groups are cut if that leaves too few to hold out, such as where there are two groups.
    Raises: TrainingError if no example can be held out.
    """
    classes = _classes(targets, target)
    count = max(1, round(SHARE * len(targets)))
    members = np.zeros(len(targets), np.int64) if groups is None else np.unique(groups, return_inverse=True)[1]
    known = members.max() + 1
    if known > 1:
        cut = _with_a_class_of_their_own(members, classes)
        held = _draw(members, cut, classes, count, np.random.default_rng(seed))
        if held.sum() >= LEAST * count:
            return _divided(held, "cut" if cut.any() else "whole", int(cut.sum()))
    held = _draw(members, np.ones(known, bool), classes, count, np.random.default_rng(seed))
    if not held.any():
        raise TrainingError(
            f"no part of the {len(targets)} training examples can be held out to select the probe's strength: every "
            "class has one example"
        )
    return _divided(held, "cut", int(known)) if known > 1 else _divided(held, "none", 0)


def _divided(held: np.ndarray, groups: Literal["none", "whole", "cut"], cut: int) -> HeldOut:
    return HeldOut(np.flatnonzero(~held), np.flatnonzero(held), groups, cut)


def _classes(targets: np.ndarray, target: Target) -> np.ndarray:
    """Return the classes (n, k) that each example belongs to, numbered from 0."""
    if isinstance(target, Multiclass | Binary):
        return np.unique(targets, return_inverse=True)[1].reshape(-1, 1)
    if isinstance(target, Multilabel):
        return targets.astype(np.int64) + 2 * np.arange(targets.shape[1])
    return np.zeros((len(targets), 1), np.int64)


def _with_a_class_of_their_own(members: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return which groups (G,) have all examples of a class that has more than one."""
    alone = np.zeros(members.max() + 1, bool)
    sizes = np.bincount(classes.ravel())
    for column in classes.T:
        first = np.full(len(sizes), -1)
        first[column] = members
        elsewhere = np.zeros(len(sizes), bool)
        elsewhere[column[first[column] != members]] = True
        present = np.unique(column)
        alone[first[present[~elsewhere[present] & (sizes[present] > 1)]]] = True
    return alone


def _draw(
    members: np.ndarray, cut: np.ndarray, classes: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Hold out about `count` examples: of the groups that are cut single examples in proportion, of the others whole
    groups. members: (n,) each example's group. cut: (G,)."""
    remaining = np.bincount(classes.ravel())
    single = cut[members]
    held = np.zeros(len(members), bool)
    of_single = round(count * single.mean())
    rows = np.flatnonzero(single)
    if len(rows):
        units = [rows[[index]] for index in _by_class(classes[rows], rng)]
        _take(held, units, remaining, classes, of_single)
    if len(rows) < len(members):
        by_group = np.argsort(members, kind="stable")
        units = np.split(by_group, np.cumsum(np.bincount(members))[:-1])
        _take(held, [units[group] for group in rng.permutation(len(cut)) if not cut[group]], remaining, classes, count)
    return held


def _by_class(classes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Order the examples so that the first tenth has every class in proportion: every tenth of the examples sorted by
    their first class, then the others."""
    order = rng.permutation(len(classes))
    order = order[np.argsort(classes[order, 0], kind="stable")] if classes.shape[1] == 1 else order
    step = round(1 / SHARE)
    first = np.zeros(len(order), bool)
    first[rng.integers(min(step, len(order))) :: step] = True
    return np.concatenate([rng.permutation(order[first]), rng.permutation(order[~first])])


def _take(held: np.ndarray, units: list[np.ndarray], remaining: np.ndarray, classes: np.ndarray, count: int) -> None:
    """Hold out units until `count` examples are held out; skip one that is too large, or that has all remaining
    examples of a class."""
    free = count - int(held.sum())
    for rows in units:
        if free <= 0:
            break
        # The last unit may exceed the share by half of it.
        if len(rows) > free + count // 2:
            continue
        present, sizes = np.unique(classes[rows], return_counts=True)
        if (remaining[present] > sizes).all():
            remaining[present] -= sizes
            held[rows] = True
            free -= len(rows)
