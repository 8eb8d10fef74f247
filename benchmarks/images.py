"""Measures how fast one loader worker delivers prepared images."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.measure import Line, Spread, Target, seconds
from dabs_rq.data.batches import Order, loader
from dabs_rq.data.columns import Decoded
from dabs_rq.data.examples import Examples
from dabs_rq.data.prepared import Store


def noise(row: dict[str, Any], shape: tuple[int, int, int]) -> np.ndarray:
    return np.random.default_rng(row["seed"]).integers(256, size=shape, dtype=np.uint8)


def batches(folder: Path, *, images: int = 2000, pixels: int = 224, batch: int = 64, repeats: int = 5) -> Line:
    shape = (3, pixels, pixels)
    (folder / "source").write_bytes(b"")
    items = pa.table({"path": ["source"] * images, "seed": np.arange(images)})
    made_up = Decoded(items, partial(noise, shape=shape), folder, shape, "uint8", version="noise 1")
    prepared = Store(folder / "prepared", policy="always").prepare(made_up)
    examples = Examples([str(row) for row in range(images)], (prepared,))
    order = Order(images, batch, seed=0).epoch(0)
    batches = loader(examples, order, workers=1)
    megabytes = len(order) * batch * np.prod(shape) / 1e6

    def epoch() -> None:
        for _ in batches:
            pass

    epoch()
    return Line(
        what=f"shuffled batches of {batch} prepared images {pixels} x {pixels} x 3 (uint8) from one loader worker",
        baseline=None,
        unit="MB/s",
        ours=Spread.of([megabytes / seconds(epoch) for _ in range(repeats)]),
        target=Target("ours", 300),
        threads=1,
        note=f"{megabytes:.0f} MB, in the page cache after the first pass",
    )
