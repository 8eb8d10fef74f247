"""Examples: what a reader returns for one split, in a fixed order, with a column of arrays for every input.

A reader indexes files without decoding them. An example is decoded when a batch requests it, unless its column was
prepared before (`dabs_rq.data.prepared`); then it is a slice of a memory-mapped file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from dabs_rq.data.columns import Column, Decoded, Shared, in_chunks
from dabs_rq.data.crops import Cropped, Crops
from dabs_rq.files import digest, digest_each


@dataclass(frozen=True)
class Examples:
    """One split in its fixed order.

    ids: a string per example, unique in the split, the same on every machine (a path relative to the source's folder).
    inputs: one column per input of the domain, in the domain's order.
    targets: (n,) int classes or 0/1, (n, labels) 0/1, (n,) float, (n, tokens) int classes or -1; None for an unlabelled
        source.
    groups: (n,) int; examples of one group (track, patient, chapter, subject) stay together when a split is divided.
        None if there are no groups.
    redraw: (seed, epoch) -> the examples of that epoch, for a training split that is drawn again in every epoch.
    """

    ids: Any
    inputs: tuple[Column, ...]
    targets: np.ndarray | None = None
    groups: np.ndarray | None = None
    redraw: Callable[[int, int], Examples] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.ids, pa.Array):
            object.__setattr__(self, "ids", pa.array(self.ids, pa.string()))
        lengths = {"inputs": [len(column) for column in self.inputs]}
        for name in ("targets", "groups"):
            if (values := getattr(self, name)) is not None:
                lengths[name] = [len(values)]
        different = {name: counts for name, counts in lengths.items() if any(n != len(self.ids) for n in counts)}
        if different:
            raise ValueError(f"{len(self.ids)} ids, but {different}")

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, rows: np.ndarray) -> Examples:
        """Return the examples at `rows` (int indices), in that order."""
        return Examples(
            ids=self.ids.take(pa.array(rows)),
            inputs=tuple(column.select(rows) for column in self.inputs),
            targets=None if self.targets is None else self.targets[rows],
            groups=None if self.groups is None else self.groups[rows],
        )

    def sample(self, limit: int | None, seed: int = 0) -> Examples:
        """Draw at most `limit` examples by `seed`, in their original order, without decoding any."""
        if limit is None or len(self) <= limit:
            return self
        rows = np.random.default_rng(seed).choice(len(self), size=limit, replace=False)
        sampled = self.select(np.sort(rows))
        if (redraw := self.redraw) is None:
            return sampled
        return replace(sampled, redraw=partial(_redrawn_sample, redraw, limit, seed))

    def prepared(self, prepare: Callable[[Column], Column]) -> Examples:
        return replace(self, inputs=tuple(prepare(column) for column in self.inputs))

    def of_epoch(self, seed: int, epoch: int) -> Examples:
        """Return the examples of an epoch. They differ between epochs only for a split that is redrawn."""
        if self.redraw is not None:
            return self.redraw(seed, epoch)
        if not self.varies:
            return self
        drawn = (
            column.redrawn(seed, epoch) if isinstance(column, Shared | Cropped) else column for column in self.inputs
        )
        return replace(self, inputs=tuple(drawn))

    @property
    def varies(self) -> bool:
        """Whether the examples differ between epochs."""
        drawn = (column.varies for column in self.inputs if isinstance(column, Shared | Cropped))
        return self.redraw is not None or any(drawn)

    def cropped(self, crops: Crops, opened: Callable[[Path], Image.Image]) -> Examples:
        """Return the examples with random crops of their whole pictures in place of their one input, which is decoded
        from files. opened: opens a whole picture."""
        (pictures,) = self.inputs
        if not isinstance(pictures, Decoded):
            raise TypeError(f"whole pictures are cropped from the files of a Decoded column, not of {pictures!r}")
        return replace(self, inputs=(Cropped(pictures, opened, crops),))

    def uncropped(self) -> Examples:
        """Return the examples with the inputs that `cropped` replaced."""
        inputs = (column.pictures if isinstance(column, Cropped) else column for column in self.inputs)
        return replace(self, inputs=tuple(inputs))

    @cached_property
    def key(self) -> str:
        """Identity of the split: ids, targets and the content of every input."""
        targets = b"" if self.targets is None else np.ascontiguousarray(self.targets).tobytes()
        return digest(self.ids_key, targets, [column.key for column in self.inputs])

    @cached_property
    def labels_key(self) -> str:
        """Identity of ids and targets, in their order; equal on every machine for the same split."""
        targets = b"" if self.targets is None else np.ascontiguousarray(self.targets, np.float64).tobytes()
        return digest(self.ids_key, targets)

    @cached_property
    def ids_key(self) -> str:
        return digest_each(part.to_pylist() for part in in_chunks(self.ids))

    @property
    def inputs_key(self) -> str:
        """Identity of ids and inputs without the targets, so that tasks with the same inputs share cached features."""
        return digest(self.ids_key, [column.key for column in self.inputs])


def _redrawn_sample(
    redraw: Callable[[int, int], Examples], limit: int, seed: int, run_seed: int, epoch: int
) -> Examples:
    """Sample a split that is redrawn. At the top of the module, so that a worker process can be given it."""
    return redraw(run_seed, epoch).sample(limit, seed)
