"""How the files of a miniature come about: the same bytes on every processor, from any number of processes.

Every part is a job with a generator of its own, so their order does not matter. No file holds a time.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import zlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

Rng = np.random.Generator


def run(jobs: Sequence[tuple[Any, ...]], processes: int = 1) -> list[Any]:
    """The results of `jobs`, each a function and its arguments, in their order; picklable for several processes."""
    if processes == 1:
        return [function(*arguments) for function, *arguments in jobs]
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        return [running.result() for running in [pool.submit(*job) for job in jobs]]


def generator(seed: int, *names: str | int) -> Rng:
    """The random numbers of one part of a miniature: `names` say which."""
    return np.random.default_rng([seed, *(zlib.crc32(str(name).encode()) for name in names)])


def rounded(values: Any, decimals: int = 6) -> Any:
    """Values that no processor disputes: rounding hides the last bit of a sine, a power or a sum of many numbers, save
    for about one value in a billion, so close to a border between two roundings."""
    return np.round(np.asarray(values, np.float64), decimals)


def write_bytes(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def write_lines(file: Path, lines: Iterable[str], ending: str = "\n") -> None:
    write_bytes(file, "".join(f"{line}{ending}" for line in lines).encode())


def write_json(file: Path, content: Any) -> None:
    write_bytes(file, json.dumps(content).encode())


def write_table(file: Path, columns: Mapping[str, Any], rows_per_group: int | None = None) -> None:
    """A parquet file."""
    import pyarrow as pa
    from pyarrow import parquet

    file.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table(dict(columns)), file, row_group_size=rows_per_group)


def write_pictures(folder: Path, names: Iterable[str], pictures: Iterable[np.ndarray]) -> None:
    """uint8 pixels (height, width) or (height, width, 3 or 4), each in the format that its name asks for."""
    from PIL import Image

    for name, pixels in zip(names, pictures, strict=True):
        kind, content = Path(name).suffix.lower(), io.BytesIO()
        options = {"quality": 90} if kind in (".jpg", ".jpeg") else {}
        Image.fromarray(pixels).save(content, Image.registered_extensions()[kind], **options)
        write_bytes(folder / name, content.getvalue())


def write_clip(file: Path, samples: np.ndarray, rate: int) -> None:
    """int16 `samples` of one channel at `rate` Hz, as .wav or .flac, by way of memory: soundfile waits for the disk."""
    import soundfile

    soundfile.write(content := io.BytesIO(), samples, rate, subtype="PCM_16", format=file.suffix[1:].upper())
    write_bytes(file, content.getvalue())


def place_in_run(values: np.ndarray) -> np.ndarray:
    """0 for the first of a run of equal values, 1 for the second, and so on."""
    starts = np.flatnonzero(np.diff(values, prepend=values[0] - 1))
    return np.arange(len(values)) - np.repeat(starts, np.diff(starts, append=len(values)))
