"""Reading recordings: spectrograms against the reference's, and what is read of a file."""

from __future__ import annotations

import multiprocessing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import soundfile
import torch

from dabs_rq.data.readers import audio
from dabs_rq.errors import DataError
from tests.golden_cases import Case, names

PLAIN = audio.Statistics(mean=0, std=1)


def write(file: Path, samples: Any, rate: int = 16_000) -> Path:
    soundfile.write(file, np.asarray(samples), rate, subtype="PCM_16")
    return file


def tone(n: int, rate: int = 16_000, hertz: float = 440) -> np.ndarray:
    return (9000 * np.sin(2 * np.pi * hertz * np.arange(n) / rate)).astype(np.int16)


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
@pytest.mark.parametrize("name", names("melspec"))
def test_spectrograms_are_those_of_the_reference(name: str, suffix: str, tmp_path: Path) -> None:
    case = Case(name)
    settings = case.settings
    wave = case[f"{settings['wave']}/wave"].numpy()
    file = write(tmp_path / f"clip{suffix}", wave, settings["sample_rate"])
    statistics = audio.Statistics(*settings["normalize_mean"], *settings["normalize_std"])
    samples, rate = audio.read(file, tail=settings["keep"] == "end")
    found = audio.log_mel(samples, rate, 224, 224, statistics)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[::16], case["rows"], rtol=0, atol=1e-3)
    np.testing.assert_allclose([found.mean(), found.std()], [case["mean"], case["std"]], rtol=0, atol=1e-4)
    row = {"path": file.name, "tail": settings["keep"] == "end"}
    stored = audio.decode(row, root=tmp_path, bands=224, frames=224, statistics=statistics)
    assert stored.shape == (1, 224, 224) and stored.dtype == np.float16
    np.testing.assert_allclose(stored[0].astype(np.float32), case["spec"].float(), rtol=0, atol=5e-3)


@pytest.mark.parametrize(("frames", "hop"), [(224, 672), (112, 1344), (64, 2360), (32, 4800), (48, 3136)])
def test_any_number_of_frames_comes_from_the_same_samples(frames: int, hop: int) -> None:
    assert audio.SAMPLES == 150_526 and audio.hop(frames) == hop
    assert audio.log_mel(tone(5000) / np.float32(32768), 16_000, 40, frames, PLAIN).shape == (40, frames)


def test_a_tone_is_in_its_band_and_ends_with_the_clip() -> None:
    found = audio.log_mel(tone(40_000, hertz=3000) / np.float32(32768), 16_000, 64, 64, PLAIN)
    assert found.max() - found.min() == pytest.approx(80)
    # Below 1 kHz there are 15 mel, above it 27 for every factor of 6.4 (Slaney's scale).
    mel = 15 + 27 * np.log(3) / np.log(6.4)
    top = 15 + 27 * np.log(8) / np.log(6.4)
    assert abs(found[:, 5].argmax() + 1 - (64 + 1) * mel / top) < 1
    ended = 1 + (40_000 + audio.WINDOW // 2) // 2360
    assert (found[:, ended:] == found.min()).all() and (found[:, : ended - 1].max(0) > found.min() + 40).all()


def test_silence_is_constant() -> None:
    assert np.unique(audio.log_mel(np.zeros(9, np.float32), 16_000, 64, 64, PLAIN)).tolist() == [-100]


def test_the_first_channel_is_read_at_the_rate_of_the_file(tmp_path: Path) -> None:
    left, right = tone(3000), tone(3000, hertz=1000)
    wave, rate = audio.read(write(tmp_path / "two.wav", np.stack([left, right], 1), 22_050))
    assert rate == 22_050 and np.array_equal(wave, left / np.float32(32768))


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_long_clips_give_their_head_or_their_tail(suffix: str, tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(-3000, 3000, audio.SAMPLES + 12_345).astype(np.int16)
    long = write(tmp_path / f"long{suffix}", samples)
    exact = write(tmp_path / f"exact{suffix}", samples[: audio.SAMPLES])
    short = write(tmp_path / f"short{suffix}", samples[:777])
    for file, tail, expected in [
        (long, False, samples[: audio.SAMPLES]),
        (long, True, samples[-audio.SAMPLES :]),
        (exact, True, samples[: audio.SAMPLES]),
        (short, True, samples[:777]),
    ]:
        assert np.array_equal(audio.read(file, tail)[0] * 32768, expected)
    paths = pa.array([long.name, exact.name, short.name] * 400)
    assert audio.lengths(tmp_path, paths).tolist() == [len(samples), audio.SAMPLES, 777] * 400


def test_only_what_is_needed_of_a_file_is_read(tmp_path: Path) -> None:
    """Damage behind the head does no harm to the head."""
    samples = np.random.default_rng(0).integers(-3000, 3000, 3 * audio.SAMPLES).astype(np.int16)
    file = write(tmp_path / "long.flac", samples)
    file.write_bytes(file.read_bytes()[:-5000])
    assert np.array_equal(audio.read(file)[0] * 32768, samples[: audio.SAMPLES])
    with pytest.raises(DataError, match=str(file)):
        audio.read(file, tail=True)


def test_other_numbers_of_channels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="1 channel, not 3"):
        audio.column(pa.table({"path": ["a.wav"]}), tmp_path, (3, 64, 64), PLAIN)


def test_the_key_of_a_column_tells_statistics_sizes_and_crops_apart(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", tone(100))
    one, tail = pa.table({"path": ["a.wav"]}), pa.table({"path": ["a.wav"], "tail": [True]})
    keys = {
        audio.column(items, tmp_path, shape, statistics).key
        for items, shape, statistics in [
            (one, (1, 64, 64), PLAIN),
            (tail, (1, 64, 64), PLAIN),
            (one, (1, 64, 32), PLAIN),
            (one, (1, 64, 64), audio.Statistics(mean=0, std=2)),
        ]
    }
    assert len(keys) == 4


def test_a_forked_process_decodes_after_its_parent_used_threads(tmp_path: Path) -> None:
    """Threads do not survive a fork: a child that waited for them would wait for ever."""
    write(tmp_path / "a.wav", tone(20_000))
    decode = partial(audio.decode, {"path": "a.wav"}, root=tmp_path, bands=64, frames=64, statistics=PLAIN)
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        torch.randn(500, 500) @ torch.randn(500, 500)
        torch.zeros(1_000_000).add_(1)
        here = decode()
        assert torch.get_num_threads() == 4
        with multiprocessing.get_context("fork").Pool(1) as pool:
            there = pool.apply_async(decode).get(timeout=30)
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(here, there)
