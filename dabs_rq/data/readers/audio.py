"""Recordings: decodes a file to a log-mel spectrogram (1, bands, frames), for every speech source.

Follows DABS: channel 0 at the rate of the file, cut or padded with zeros to 150,526 samples; Slaney mel bands up to
half that rate; decibels of the *squared* power, so that a range of 80 dB is 40 dB of power; standardised by the
source's mean and standard deviation.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa

from dabs_rq.data.columns import Decoded
from dabs_rq.errors import DataError
from dabs_rq.files import explained, reading

VERSION = "mel-1"
SAMPLES = 224 * 672 - 2  # 9.4 s at 16 kHz; yields 224 frames at a hop of 672
WINDOW = 2048
HOPS = {224: 672, 112: 1344, 64: 2360, 32: 4800}  # frames -> DABS's hop
FLOOR, RANGE_DB = 1e-10, 80.0
MAX_CHANNELS, RATES = 64, (1000, 1_000_000)  # what is read of a file takes at most 39 MB
_FILES_PER_TASK = 512  # files whose headers a thread reads per task


class Statistics(NamedTuple):
    """Mean and standard deviation of a source's log-mel values, in dB, over clips, bands and frames."""

    mean: float
    std: float


def column(items: pa.Table, root: Path, shape: tuple[int, ...], statistics: Statistics) -> Decoded:
    """Make a column of spectrograms, float16 of `shape` (1, bands, frames).

    items: has a column "path", a file relative to `root`, and may have a bool column "tail": true keeps the end of a
    longer clip, false its beginning.
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
        version=version(shape, statistics),
    )


def version(shape: tuple[int, ...], statistics: Statistics) -> str:
    """Name the decoder of spectrograms of `shape` (1, bands, frames)."""
    _, bands, frames = shape
    return f"{VERSION}:{bands}x{frames}:hop {hop(frames)}:{statistics.mean}:{statistics.std}"


def decode(row: dict[str, Any], *, root: Path, bands: int, frames: int, statistics: Statistics) -> np.ndarray:
    """Decode root/row["path"] to a spectrogram: float16 (1, bands, frames)."""
    file = root / row["path"]
    return spectrogram(*read(file, tail=bool(row.get("tail"))), file, bands, frames, statistics)


def spectrogram(
    wave: np.ndarray, rate: int, where: object, bands: int, frames: int, statistics: Statistics
) -> np.ndarray:
    """Convert what `read` gives to a spectrogram: float16 (1, bands, frames). where: names the recording in errors."""
    values = log_mel(wave, rate, bands, frames, statistics).astype(np.float16)
    if not np.isfinite(values).all():
        raise DataError(f"{where}: its samples reach {np.abs(wave).max():.3g}, expected at most about 1")
    return values[None]


def hop(frames: int) -> int:
    """Return the samples from one frame to the next: DABS's hop for that number of frames, else the smallest that
    yields it."""
    return HOPS.get(frames, SAMPLES // frames + 1)


def read(file: Path | BinaryIO, tail: bool = False, name: str | None = None) -> tuple[np.ndarray, int]:
    """Read the first `SAMPLES` samples of channel 0 (the last with `tail`; all of a shorter clip), and the rate in Hz.

    Units: samples as float32 in [-1, 1].
    Raises: DataError, naming `name` (or the file), if it is damaged or cut short, or has no samples or values that are
    not finite.
    """
    import soundfile

    where, fault = name or file, "damaged or not a recording"
    opening = reading(file, fault) if isinstance(file, Path) else explained(where, fault)
    with opening, soundfile.SoundFile(file) as sound:
        expected, rate = min(sound.frames, SAMPLES), sound.samplerate
        if not (1 <= sound.channels <= MAX_CHANNELS and RATES[0] <= rate <= RATES[1]):
            raise DataError(
                f"{where}: {sound.channels} channels of {rate} Hz, expected at most {MAX_CHANNELS} and a rate from "
                f"{RATES[0]} to {RATES[1]} Hz"
            )
        if tail:
            sound.seek(sound.frames - expected)
        wave = sound.read(expected, dtype="float32", always_2d=True)[:, 0]
        log = sound.extra_info
    # libsndfile reads a truncated wav file without an error and reports the truncation only in its log. Headers of
    # streams declare a size of 0 or the maximum; they do not mean a truncation.
    cut = re.search(r"data : (\d+) \(should be (\d+)\)", log)
    if len(wave) < expected or (cut and int(cut[2]) < int(cut[1]) < 0x7FFF_0000):
        present = f"{cut[2]} of {cut[1]} bytes" if cut else f"{len(wave):,} of {expected:,} samples"
        raise DataError(f"{where}: cut short, it holds {present}")
    if len(wave) == 0:
        raise DataError(f"{where}: it holds no samples")
    if not np.isfinite(wave).all():
        raise DataError(f"{where}: it holds samples that are not finite")
    return wave, rate


def log_mel(wave: np.ndarray, rate: int, bands: int, frames: int, statistics: Statistics) -> np.ndarray:
    """Compute the log-mel spectrogram, standardised by `statistics`.

    Shape: wave (n,), n <= `SAMPLES`, in [-1, 1] -> float32 (bands, frames), low bands first.
    """
    import torch

    padded = np.zeros(SAMPLES, np.float32)
    padded[: len(wave)] = wave
    with _one_thread():  # any torch operation may start threads, so all of them are inside
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
    """Limit torch to one thread: a clip is too small for several, and a forked worker would wait forever for threads
    of its parent."""
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
    """Read the number of samples of every file from its header: (n,) int64. Raises DataError naming a bad file."""
    import soundfile

    def read_headers(part: pa.Array) -> list[int]:
        samples = []
        for path in part.to_pylist():
            with reading(root / path, "damaged or not a recording"), soundfile.SoundFile(root / path) as sound:
                samples.append(sound.frames)
        return samples

    parts = [paths.slice(start, _FILES_PER_TASK) for start in range(0, len(paths), _FILES_PER_TASK)]
    with ThreadPoolExecutor() as threads:
        return np.array([length for part in threads.map(read_headers, parts) for length in part], np.int64)
