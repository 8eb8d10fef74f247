"""Divides examples into two splits by their names and a seed, whatever their order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dabs_rq.files import digest


def divide(
    ids: Sequence[str], strata: Sequence[str], groups: Sequence[str] | None, share: float, seed: int
) -> np.ndarray:
    """Mark the examples that are held out: bool (n,).

    Of each stratum (a class), a `share` of the examples is held out, at least one if it has two or more, and one is
    always left. With `groups`, whole groups are held out, as long as every stratum keeps an example, until the share is
    reached. The order of examples or groups is that of hashes of the seed and their names.
    """
    held_out = np.zeros(len(ids), bool)
    members: dict[str, list[int]] = {}
    for row, name in enumerate(strata if groups is None else groups):
        members.setdefault(name, []).append(row)
    if groups is None:
        for rows in members.values():
            ordered = sorted(rows, key=lambda row: digest(seed, ids[row]))
            count = min(max(round(share * len(rows)), 1), len(rows) - 1)
            held_out[ordered[:count]] = True
        return held_out
    left = dict.fromkeys(strata, 0)
    for name in strata:
        left[name] += 1
    for group in sorted(members, key=lambda group: digest(seed, group)):
        if held_out.sum() >= share * len(ids):
            break
        taken: dict[str, int] = {}
        for row in members[group]:
            taken[strata[row]] = taken.get(strata[row], 0) + 1
        if all(left[name] > count for name, count in taken.items()):
            held_out[members[group]] = True
            for name, count in taken.items():
                left[name] -= count
    return held_out
