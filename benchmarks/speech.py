"""Compares prepared spectrograms with decoding every recording on demand, and preparing on two processes with one."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.measure import Line, Target, interleaved
from dabs_rq.data.columns import Decoded
from dabs_rq.data.prepared import Store
from dabs_rq.data.readers import audio

RATE = 16_000
SECONDS = 12.0  # about the mean of LibriSpeech
SHAPE = (1, 224, 224)
STATISTICS = audio.Statistics(mean=-38.5, std=18.5)
PROCESSES = 2


def write(folder: Path, clips: int, seconds: float = SECONDS) -> None:
    """Write made-up flac recordings to `folder`: tones that fade in and out in noise."""
    import soundfile

    folder.mkdir(parents=True, exist_ok=True)
    time = np.arange(int(RATE * seconds)) / RATE
    for clip in range(clips):
        generator = np.random.default_rng(clip)
        pitch, beat = generator.uniform(80, 3000, 6), generator.uniform(0.5, 4, 6)
        tones = sum(
            np.sin(2 * np.pi * p * time) * np.sin(2 * np.pi * b * time) for p, b in zip(pitch, beat, strict=True)
        )
        wave = 0.05 * tones + generator.normal(0, 0.01, len(time))
        soundfile.write(folder / f"{clip:05d}.flac", wave, RATE)


def column(folder: Path, clips: int, rows: int | None = None, shape: tuple[int, int, int] = SHAPE) -> Decoded:
    """Return spectrograms of the recordings in `folder`; `rows` beyond the number of clips repeat them."""
    paths = [f"{row % clips:05d}.flac" for row in range(rows or clips)]
    return audio.column(pa.table({"path": paths}), folder, shape, STATISTICS)


def spectrogram(file: Path, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """Compute a spectrogram: read, cut or pad, mel bands, decibels within 80 of the maximum, scale; float16."""
    import soundfile
    import torch

    wave, rate = soundfile.read(file, dtype="float32")
    padded = torch.zeros(audio.SAMPLES)
    length = min(len(wave), audio.SAMPLES)
    padded[:length] = torch.from_numpy(wave[:length])
    power = _mel(rate, shape[1], audio.hop(shape[2]))(padded) ** 2
    decibels = 10 * torch.log10(power.clamp(min=1e-10))
    decibels = decibels.clamp(min=float(decibels.max()) - 80)
    return ((decibels - STATISTICS.mean) / STATISTICS.std).half().numpy()[None]


@cache
def _mel(rate: int, bands: int, hop: int) -> Any:
    from torchaudio.transforms import MelSpectrogram

    options = {"norm": "slaney", "mel_scale": "slaney", "pad_mode": "constant"}
    return MelSpectrogram(rate, n_fft=audio.WINDOW, hop_length=hop, n_mels=bands, **options)


def batches(folder: Path, *, clips: int = 64, seconds: float = SECONDS, repeats: int = 5) -> Line:
    write(folder / "clips", clips, seconds)
    files = sorted((folder / "clips").iterdir())
    prepared = Store(folder / "prepared", policy="always").prepare(column(folder / "clips", clips))
    rows = np.random.default_rng(0).permutation(clips)
    taken = interleaved(
        lambda: prepared.take(rows),
        lambda: np.stack([spectrogram(files[row]) for row in rows]),
        repeats=repeats,
    )
    return Line(
        what=f"a batch of {clips} spectrograms {SHAPE[1]} x {SHAPE[2]} from the prepared cache",
        baseline=f"decoding {seconds:g} s of 16 kHz flac and log-mel bands for every item",
        ours=taken[0],
        theirs=taken[1],
        target=Target("ratio", 20),
        note="files of both in the page cache",
    )


def preparation(folder: Path, *, clips: int = 64, rows: int = 4000, seconds: float = SECONDS, repeats: int = 1) -> Line:
    write(folder / "clips", clips, seconds)

    def ours() -> None:
        with tempfile.TemporaryDirectory(dir=folder) as cache_folder:
            Store(Path(cache_folder), policy="always", workers=PROCESSES).prepare(column(folder / "clips", clips, rows))

    def theirs() -> None:
        recordings = column(folder / "clips", clips, rows)
        with tempfile.TemporaryFile(dir=folder) as file:
            for row in range(rows):
                file.write(recordings.row(row).tobytes())

    taken = interleaved(ours, theirs, repeats=repeats, warm_up=False)
    return Line(
        what=f"first preparation of {rows:,} spectrograms {SHAPE[1]} x {SHAPE[2]} from {seconds:g} s of 16 kHz flac "
        f"({clips} distinct files) on {PROCESSES} processes",
        baseline="one process, one example after the other, appended to a file",
        ours=taken[0],
        theirs=taken[1],
        target=Target("ratio", 1.8),
        threads=1,
        note="one thread in each process",
    )
