"""Compares PAMAP2 windows as slices of a subject's array with searching its data frame for every window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.measure import Line, Target, interleaved
from dabs_rq import registry
from dabs_rq.data.examples import Examples
from dabs_rq.data.prepared import Store
from dabs_rq.data.requests import Request
from dabs_rq.domains.sensor import pamap2
from dabs_rq.run.compose import load_protocol

LENGTH = 320  # rows of a window
ROWS = 370_000  # of a subject's file, about as many as in the real files
SUBJECTS = (101, 102)
IDS = (1, 2, 3, 17, 16, 12, 13, 4, 7, 6, 5, 24)  # activities in the order of recording, transient rows between them


def write(folder: Path, rows: int = ROWS) -> None:
    """Write made-up subject files of `rows` rows in the native format below the data root `folder`."""
    from pyarrow import csv

    for subject in SUBJECTS:
        generator = np.random.default_rng(subject)
        part = rows // (3 * len(IDS)) + 1  # two of three rows belong to an activity, as in the real files
        activity = np.repeat([label for activity in IDS for label in (0, activity, activity)], part)[:rows]
        heart = np.where(np.arange(rows) % 11 == 4, generator.integers(60, 180, rows), np.nan)
        readings = np.round(generator.standard_normal((51, rows), np.float32).astype(np.float64), 4)
        readings[:, generator.integers(rows, size=rows // 1000)] = np.nan
        columns = [np.arange(rows) / 100, activity, heart, *readings]
        text = [pa.array(column).cast(pa.string()).fill_null("NaN") for column in columns]
        table = pa.table({str(position): column for position, column in enumerate(text)})
        file = folder / pamap2.SOURCE.folder / pamap2.PROTOCOL_FOLDER / f"subject{subject}.dat"
        file.parent.mkdir(parents=True, exist_ok=True)
        options = csv.WriteOptions(include_header=False, delimiter=" ", quoting_style="none")
        csv.write_csv(table, file, options)


def frames(folder: Path) -> list[Any]:
    """Read every subject's file into a pandas data frame and interpolate its gaps. Column 1 is the activity."""
    import pandas as pd

    below = folder / pamap2.SOURCE.folder / pamap2.PROTOCOL_FOLDER
    files = [below / f"subject{subject}.dat" for subject in SUBJECTS]
    return [pd.read_csv(file, sep=" ", header=None, dtype=np.float64).interpolate() for file in files]


def window(frames: Sequence[Any], randint: Callable[[int], int]) -> np.ndarray:
    """Draw one window (320, 52). Draw subject and activity uniformly until the activity's rows, selected by a boolean
    filter, are more than a window; then draw the start uniformly."""
    while True:
        frame = frames[randint(len(frames))]
        selected = frame[frame[1] == pamap2.ACTIVITIES[randint(len(pamap2.ACTIVITIES))]]
        if len(selected) > LENGTH:
            start = randint(len(selected) - LENGTH)
            return selected.iloc[start : start + LENGTH, 2:].to_numpy(np.float32)


def examples(folder: Path, draws: str = "fresh") -> Examples:
    """Return our training windows under the published protocol: random draws without normalisation, from prepared
    arrays."""
    store = Store(folder / "prepared", policy="always")
    request = Request(
        root=folder,
        split="train",
        inputs=registry.domain("sensor").inputs["paper"],
        protocol=replace(load_protocol("published"), pamap2_draws=draws),
        prepare=store.prepare,
        made_up=True,
    )
    return pamap2.load(request)


def windows(folder: Path, *, rows: int = ROWS, searched: int = 16, repeats: int = 5) -> Line:
    write(folder, rows)
    ours, theirs = examples(folder), frames(folder)
    generator = np.random.default_rng(0)
    batches = np.array_split(np.arange(len(ours)), len(ours) // 256)

    def epoch() -> None:
        column = ours.of_epoch(seed=0, epoch=1).inputs[0]
        for batch in batches:
            column.take(batch)

    def items() -> None:
        for _ in range(searched):
            window(theirs, generator.integers)

    taken = interleaved(epoch, items, repeats=repeats)
    return Line(
        what=f"one PAMAP2 window ({LENGTH} x 52) of {len(SUBJECTS)} subjects with {rows:,} rows: an epoch of "
        f"{len(ours):,} drawn at once and sliced in batches from the prepared arrays, divided by their number",
        baseline="each drawn alone from pandas data frames in memory, the activity's rows by a boolean filter",
        ours=taken[0].scaled(1 / len(ours)),
        theirs=taken[1].scaled(1 / searched),
        target=Target("ratio", 50),
        threads=1,
    )
