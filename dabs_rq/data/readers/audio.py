"""Recordings: from a file to a log-mel spectrogram (1, bands, frames), the one path for every speech source.

DABS's recipe: channel 0 at the rate of the file, cut or padded with zeros to 150,526 samples; Slaney mel bands up to
half that rate; decibels of the *squared* power, so that a range of 80 dB is 40 dB of power; scaled by the source's mean
and deviation.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from dabs_rq.data.columns import Decoded
from dabs_rq.errors import DataError

VERSION = "mel-1"
SAMPLES = 224 * 672 - 2  # 9.4 s at 16 kHz, and what gives 224 frames at a hop of 672
WINDOW = 2048
HOPS = {224: 672, 112: 1344, 64: 2360, 32: 4800}  # DABS's, by frames
FLOOR, RANGE_DB = 1e-10, 80.0
_AT_ONCE = 512  # files a thread looks at before it reports


class Statistics(NamedTuple):
    """Mean and deviation of a source's log-mel values in dB, over clips, bands and frames."""

    mean: float
    std: float


def column(items: pa.Table, root: Path, shape: tuple[int, ...], statistics: Statistics) -> Decoded:
    """Spectrograms of `items` as float16 of `shape` (1, bands, frames).

    items: "path", a file relative to `root`; where there is a column "tail", true keeps the end of a longer clip, false
    its beginning.
    """
    channels, bands, frames = shape
    if channels != 1:
        raise ValueError(f"recordings are decoded to 1 channel, not {channels}")
    return Decoded(
        items=items.combine_chunks(),
        decode=partial(decode, root=root, bands=bands, frames=frames, statistics=statistics),
        root=root,
        shape=shape,
        dtype="float16",
        version=f"{VERSION}:{bands}x{frames}:hop {hop(frames)}:{statistics.mean}:{statistics.std}",
    )


def decode(row: dict[str, Any], *, root: Path, bands: int, frames: int, statistics: Statistics) -> np.ndarray:
    """The spectrogram of root/row["path"]: float16 (1, bands, frames)."""
    wave, rate = read(root / row["path"], tail=bool(row.get("tail")))
    return log_mel(wave, rate, bands, frames, statistics).astype(np.float16)[None]


def hop(frames: int) -> int:
    """Samples from one frame to the next: DABS's where it has that number of frames, else the least that gives it."""
    return HOPS.get(frames, SAMPLES // frames + 1)


def read(file: Path, tail: bool = False) -> tuple[np.ndarray, int]:
    """The first (with `tail` the last) `SAMPLES` samples of channel 0 as float32 in [-1, 1], or all if the clip has
    fewer, and its rate in Hz. Only these samples are read.

    Raises DataError naming the file if it is damaged there, cut short, without samples or not finite.
    """
    import soundfile

    try:
        with soundfile.SoundFile(file) as sound:
            wanted, rate = min(sound.frames, SAMPLES), sound.samplerate
            if tail:
                sound.seek(sound.frames - wanted)
            wave = sound.read(wanted, dtype="float32", always_2d=True)[:, 0]
            log = sound.extra_info
    except (soundfile.SoundFileError, RuntimeError, OSError) as error:
        raise _unreadable(file, error) from error
    # libsndfile takes what is there of a wav file that was cut, and says so in its log alone. Headers of streams, which
    # declare 0 or as much as they can, are not meant.
    cut = re.search(r"data : (\d+) \(should be (\d+)\)", log)
    if len(wave) < wanted or (cut and int(cut[2]) < int(cut[1]) < 0x7FFF_0000):
        found = f"{cut[2]} of {cut[1]} bytes" if cut else f"{len(wave):,} of {wanted:,} samples"
        raise DataError(f"{file}: cut short, {found} are there")
    if len(wave) == 0:
        raise DataError(f"{file}: no samples in it")
    if not np.isfinite(wave).all():
        raise DataError(f"{file}: samples that are no finite numbers")
    return wave, rate


def log_mel(wave: np.ndarray, rate: int, bands: int, frames: int, statistics: Statistics) -> np.ndarray:
    """At most `SAMPLES` samples (n,) in [-1, 1] to float32 (bands, frames), low bands first, scaled by `statistics`."""
    import torch

    padded = np.zeros(SAMPLES, np.float32)
    padded[: len(wave)] = wave
    with _one_thread():  # everything torch does, for any of it may start threads
        power = _transform(rate, bands, hop(frames))(torch.from_numpy(padded))
        decibels = 10 * torch.log10(torch.clamp(power.square(), min=FLOOR))
        decibels = torch.maximum(decibels, decibels.max() - RANGE_DB)
        return ((decibels - statistics.mean) / statistics.std).numpy()


@lru_cache(maxsize=16)
def _transform(rate: int, bands: int, step: int) -> Any:
    from torchaudio.transforms import MelSpectrogram

    with warnings.catch_warnings():
        # At high rates the lowest bands are narrower than a bin of the window and stay empty, as they do in librosa.
        warnings.filterwarnings("ignore", "At least one mel filterbank has all zero values")
        return MelSpectrogram(
            rate,
            n_fft=WINDOW,
            hop_length=step,
            n_mels=bands,
            power=2.0,
            norm="slaney",
            mel_scale="slaney",
            pad_mode="constant",
        )


@contextmanager
def _one_thread() -> Iterator[None]:
    """A clip is too small to share out, and a process forked to prepare would wait for its parent's threads."""
    import torch

    before = torch.get_num_threads()
    if before > 1:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if before > 1:
            torch.set_num_threads(before)


def lengths(root: Path, paths: pa.Array) -> np.ndarray:
    """Samples of every file, (n,) int64, from the headers, several at a time. Raises DataError naming a bad file."""
    import soundfile

    def of(part: pa.Array) -> list[int]:
        found = []
        for path in part.to_pylist():
            try:
                with soundfile.SoundFile(root / path) as sound:
                    found.append(sound.frames)
            except (soundfile.SoundFileError, RuntimeError, OSError) as error:
                raise _unreadable(root / path, error) from error
        return found

    parts = [paths.slice(start, _AT_ONCE) for start in range(0, len(paths), _AT_ONCE)]
    with ThreadPoolExecutor() as threads:
        return np.array([one for part in threads.map(of, parts) for one in part], np.int64)


def _unreadable(file: Path, error: Exception) -> DataError:
    if not file.is_file():
        return DataError(f"{file}: no such file")
    return DataError(f"{file}: damaged or no recording ({type(error).__name__}: {error})")
