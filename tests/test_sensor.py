"""The sensor domain: PAMAP2's reader on small hand-written files and on the miniature."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dabs_rq.data.columns import Windows
from dabs_rq.data.examples import Examples
from dabs_rq.domains.sensor import DOMAIN, pamap2
from dabs_rq.domains.sensor.pamap2 import ACTIVITIES, PAMAP2, SUBJECTS, decode
from dabs_rq.errors import DataError, MissingDataError, OptionError

FOLDER = Path("sensor/pamap2/PAMAP2_Dataset/Protocol")
Read = Callable[..., Examples]
HEART, FIRST_IMU = 2, 3  # places in a file's row


def frame(bouts: list[tuple[int, int]], seed: int = 0) -> pd.DataFrame:
    """A subject's file: heart rate is the number of the bout, the IMU columns are noise."""
    ids = np.repeat([activity for activity, _ in bouts], [rows for _, rows in bouts])
    values = np.random.default_rng(seed).normal(size=(len(ids), 54)).round(3)
    values[:, 0] = np.arange(len(ids)) / 100
    values[:, HEART] = np.repeat(np.arange(len(bouts)), [rows for _, rows in bouts])
    table = pd.DataFrame(values)
    table[1] = ids
    return table


def put(root: Path, subject: int, table: pd.DataFrame) -> Path:
    path = root / FOLDER / f"subject{subject}.dat"
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, sep=" ", header=False, index=False, na_rep="NaN")
    return path


def windows(examples: Examples) -> np.ndarray:
    return examples.inputs[0].take(np.arange(len(examples)))


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Two train subjects and the test subject; walking comes in two bouts, one subject also irons."""
    root = tmp_path / "data"
    put(root, 101, frame([(0, 50), (4, 700), (17, 500), (4, 330), (0, 20), (24, 321)], seed=1))
    put(root, 102, frame([(5, 400), (12, 100)], seed=2))
    put(root, 105, frame([(1, 1000), (0, 400), (24, 650), (16, 320)], seed=3))
    return root


# ---- windows -----------------------------------------------------------------------------------------------------


def test_sweep_holds_every_window_inside_a_bout(small: Path, read: Read) -> None:
    examples = read(PAMAP2.load, small, "sensor", "train", pamap2_normalise=False)
    places = ["101/50", "101/370", "101/1250", "101/1600", "102/0"]
    assert examples.ids.to_pylist() == [f"subject{place}" for place in places]
    assert examples.targets.tolist() == [3, 3, 3, 10, 4]
    assert examples.groups.tolist() == [101, 101, 101, 101, 102]
    arrays = windows(examples)
    assert arrays.shape == (5, 320, 52) and arrays.dtype == np.float32
    assert (arrays[:, :, 0] == np.array([1, 1, 3, 5, 0])[:, None]).all()
    raw = pd.read_csv(small / FOLDER / "subject101.dat", sep=" ", header=None).to_numpy(np.float32)
    np.testing.assert_array_equal(arrays[2], raw[1250:1570, 2:])


def test_pretraining_draws_stay_inside_bouts_and_are_new_in_every_epoch(small: Path, read: Read) -> None:
    examples = read(DOMAIN.pretraining.load, small, "sensor", "train", pamap2_normalise=False)
    assert len(examples) == 50_000 and examples.targets is None and len(examples.ids.unique()) == 50_000
    some = examples.select(np.arange(0, 50_000, 50))
    assert (np.ptp(windows(some)[:, :, 0], axis=1) == 0).all()
    assert examples.redraw is not None
    first, same = examples.redraw(3, 1), examples.redraw(3, 1)
    assert first.key == same.key and len(first) == 50_000
    assert len({first.key, examples.redraw(3, 2).key, examples.redraw(4, 1).key, examples.key}) == 4
    # Three pairs of subject and activity have room, whatever their lengths: each gets a third.
    assert np.mean(first.groups == 102) == pytest.approx(1 / 3, abs=0.02)
    starts = {name.split("#")[0] for name in first.ids.to_pylist()}
    assert {"subject101/50", "subject101/430", "subject101/1250", "subject101/1260", "subject102/80"} <= starts
    assert len(starts) == 381 + 11 + 2 + 81


def test_validation_is_the_test_subject_without_labels(small: Path, read: Read) -> None:
    validation = read(DOMAIN.pretraining.load, small, "sensor", "validation")
    test = read(PAMAP2.load, small, "sensor", "test")
    assert validation.targets is None and test.targets.tolist() == [0, 0, 0, 10, 10, 9]
    assert validation.inputs_key == test.inputs_key and validation.redraw is None


def dabs_draws(root: Path, subjects: list[int], count: int) -> tuple[np.ndarray, list[int]]:
    """What one worker of DABS yields: a slow transcription of its loader."""
    files = [root / FOLDER / f"subject{subject}.dat" for subject in subjects]
    frames = [pd.read_csv(file, names=range(54), sep=" ").interpolate() for file in files]
    state, found, labels = np.random.RandomState(0), [], []
    for _ in range(count):
        while True:
            subject, label = state.randint(len(frames)), state.randint(11)
            rows = frames[subject][frames[subject][1] == ACTIVITIES[label]].to_numpy()
            if len(rows) > 320:
                break
        start = state.randint(len(rows) - 320)
        found.append(rows[start : start + 320, 2:].astype(np.float32))
        labels.append(label)
    return np.stack(found), labels


def test_cloned_draws_are_those_of_dabs(small: Path, read: Read) -> None:
    examples = read(PAMAP2.load, small, "sensor", "train", protocol="published")
    expected, labels = dabs_draws(small, [101, 102], 100)
    np.testing.assert_array_equal(examples.inputs[0].take(np.arange(100)), expected)
    assert examples.targets[:100].tolist() == labels
    # Both bouts of walking count as one stretch, and a window may span them.
    assert (np.ptp(expected[:, :, 0], axis=1) > 0).any()


@pytest.mark.parametrize(("split", "count"), [("train", 50_000), ("test", 10_000)])
def test_a_quarter_of_cloned_draws_are_distinct(
    miniature: Callable[[str], Path], read: Read, split: str, count: int
) -> None:
    examples = read(PAMAP2.load, miniature("sensor"), "sensor", split, protocol="published")
    column = examples.inputs[0]
    assert isinstance(column, Windows) and len(examples) == count
    assert examples.redraw is None, "no epoch brings new ones"
    quarters = np.stack([column.which, column.start]).reshape(2, 4, -1)
    assert (quarters == quarters[:, :1]).all()
    assert len(np.unique(quarters[:, 0], axis=1).T) > 0.9 * count / 4
    assert len(examples.ids.unique()) == count
    assert np.isfinite(column.take(np.arange(0, count, count // 50))).all()


def test_fresh_draws_of_the_published_windows(small: Path, read: Read) -> None:
    options = {"protocol": "published", "pamap2_draws": "fresh"}
    train = read(PAMAP2.load, small, "sensor", "train", **options)
    assert train.redraw is not None and train.redraw(0, 1).key != train.redraw(0, 2).key
    test, again = (read(PAMAP2.load, small, "sensor", "test", **options) for _ in range(2))
    assert test.redraw is None and test.key == again.key
    # 320 rows of vacuum cleaning are one too few for DABS.
    assert len(test) == 10_000 and set(test.targets.tolist()) == {0, 10}


# ---- values ------------------------------------------------------------------------------------------------------


def test_scores_are_those_of_the_training_subjects(tmp_path: Path, read: Read) -> None:
    ramp = np.arange(320.0)
    train, other, test = (frame(bouts) for bouts in ([(4, 320)], [(0, 10), (17, 10), (5, 320)], [(4, 320)]))
    train[HEART], test[HEART] = ramp, ramp + 7
    other[HEART] = np.concatenate([np.full(20, 1e6), ramp + 100])  # transient and ironing rows do not count
    train[FIRST_IMU], other[FIRST_IMU], test[FIRST_IMU] = 5.1, 5.1, 6.1
    for subject, table in ((101, train), (109, other), (105, test)):
        put(tmp_path, subject, table)
    counted = np.concatenate([ramp, ramp + 100])
    arrays = windows(read(PAMAP2.load, tmp_path, "sensor", "test"))
    np.testing.assert_allclose(arrays[0, :, 0], (ramp + 7 - counted.mean()) / counted.std(), rtol=1e-5)
    np.testing.assert_allclose(arrays[0, :, 1], 1.0, rtol=1e-5)  # constant in training: only shifted
    seen = windows(read(PAMAP2.load, tmp_path, "sensor", "train")).reshape(-1, 52)
    np.testing.assert_allclose(seen.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(np.delete(seen.std(axis=0), 1), 1, atol=1e-4)


def test_interpolation_over_the_file_or_inside_a_bout(tmp_path: Path) -> None:
    nan = np.nan
    table = frame([(1, 4), (2, 4)])
    table[HEART] = [nan, 10, nan, nan, nan, 60, nan, nan]
    table[FIRST_IMU] = [1, 2, 3, 4, nan, nan, nan, nan]
    path = put(tmp_path, 101, table)
    row = {"path": path.name}
    whole = decode(row, path.parent, "file", False)
    np.testing.assert_array_equal(whole[:, 0], table[1])
    np.testing.assert_allclose(whole[:, 1], [nan, 10, 22.5, 35, 47.5, 60, 60, 60])
    np.testing.assert_allclose(whole[:, 1:], table.interpolate().to_numpy()[:, 2:].astype(np.float32))
    bouts = decode(row, path.parent, "bout", False)
    np.testing.assert_allclose(bouts[:, 1], [10, 10, 10, 10, 60, 60, 60, 60])
    np.testing.assert_allclose(bouts[:, 2], [1, 2, 3, 4, nan, nan, nan, nan])


@pytest.mark.parametrize("protocol", ["corrected", "published"])
def test_what_was_never_measured_is_zero(tmp_path: Path, read: Read, protocol: str) -> None:
    table = frame([(1, 400), (2, 400)])
    table[HEART] = np.nan
    put(tmp_path, 101, table)
    arrays = windows(read(PAMAP2.load, tmp_path, "sensor", "train", protocol=protocol).sample(50))
    assert (arrays[:, :, 0] == 0).all() and (arrays[:, :, 1:] != 0).any()


@pytest.mark.parametrize("protocol", ["corrected", "published"])
def test_prepared_or_not_the_arrays_are_the_same(small: Path, read: Read, protocol: str) -> None:
    kept, decoded = (
        read(PAMAP2.load, small, "sensor", "test", protocol=protocol, prepare=policy).sample(200)
        for policy in ("always", "never")
    )
    np.testing.assert_array_equal(windows(kept), windows(decoded))
    assert kept.key == decoded.key


def test_the_training_recordings_are_decoded_once_to_scale_every_split(
    small: Path, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed, parse = [], pamap2._parse
    monkeypatch.setattr(pamap2, "_parse", lambda path: parsed.append(path.name) or parse(path))
    for split in ("train", "test", "test"):
        read(PAMAP2.load, small, "sensor", split)
    assert parsed == [f"subject{number}.dat" for number in (101, 102, 105, 105)]
    before = read(PAMAP2.load, small, "sensor", "test").inputs_key
    put(small, 101, frame([(4, 900)], seed=9))
    assert read(PAMAP2.load, small, "sensor", "test").inputs_key != before, "the scale is that of the files now"


# ---- files that are missing or wrong -----------------------------------------------------------------------------


def test_missing_subjects_are_counted(small: Path, tmp_path: Path, read: Read) -> None:
    with pytest.warns(UserWarning, match=r"subject files of train: 7 are declared, 2 were found"):
        read(PAMAP2.load, small, "sensor", "train", made_up=False)
    with pytest.raises(DataError, match=r"7 are declared, 2 were found"):
        read(PAMAP2.load, small, "sensor", "train", made_up=False, strict=True)
    with pytest.raises(MissingDataError, match=r"missing .*subject106\.dat"):
        read(PAMAP2.load, small, "sensor", "subject106")
    with pytest.raises(MissingDataError, match=r"missing .*PAMAP2_Dataset/Protocol\."):
        read(PAMAP2.load, tmp_path / "nothing", "sensor", "train")
    with pytest.raises(OptionError, match=r"unknown PAMAP2 split 'subject105'. Did you mean 'subject106'\?"):
        read(PAMAP2.load, small, "sensor", "subject105")


@pytest.mark.parametrize("policy", ["always", "never"])
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lambda line: line + " 1.0", "line 40: expected 54 columns separated by one space, found 55"),
        (lambda line: line[:100], "line 40: expected 54 columns separated by one space, found"),
        (
            lambda line: line.rpartition(" ")[0] + " 1.2.3",
            "line 40, column 54: expected a number or NaN, found '1.2.3'",
        ),
        (lambda line: line.rpartition(" ")[0] + " inf", "line 40, column 54: expected a number or NaN, found 'inf'"),
        (lambda line: line.replace(" 1 ", " 8 ", 1), "line 40: unknown activity id 8"),
        (lambda line: line.replace(" 1 ", " -1 ", 1), "line 40: unknown activity id -1"),
        (lambda line: line.replace(" 1 ", " NaN ", 1), "line 40: unknown activity id NaN"),
    ],
)
def test_a_bad_row_names_file_and_line(
    tmp_path: Path, read: Read, bad: Callable[[str], str], message: str, policy: str
) -> None:
    path = put(tmp_path, 101, frame([(1, 400)]))
    lines = path.read_text().splitlines()
    lines[39] = bad(lines[39])
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError) as error:
        read(PAMAP2.load, tmp_path, "sensor", "train", prepare=policy)
    assert f"{path}, {message}" in str(error.value)
    path.write_text("")
    with pytest.raises(DataError, match=r"subject101\.dat: cannot be read"):
        read(PAMAP2.load, tmp_path, "sensor", "train", prepare=policy)


@pytest.mark.parametrize("load", [PAMAP2.load, DOMAIN.pretraining.load])
@pytest.mark.parametrize(("protocol", "needed", "longest"), [("corrected", 320, 319), ("published", 321, 320)])
def test_bouts_too_short_for_a_window(
    tmp_path: Path, read: Read, load: Any, protocol: str, needed: int, longest: int
) -> None:
    put(tmp_path, 101, frame([(1, longest), (17, 900), (24, 20), (0, 900)]))
    put(tmp_path, 109, frame([(0, 900)]))
    message = f"in subject101.dat, subject109.dat: it takes a run of {needed} rows .* the longest has {longest}"
    with pytest.raises(DataError, match=message):
        read(load, tmp_path, "sensor", "train", protocol=protocol)


# ---- the miniature -----------------------------------------------------------------------------------------------


def test_miniature_can_be_learned_but_not_by_its_raw_values(miniature: Callable[[str], Path], read: Read) -> None:
    from sklearn.linear_model import RidgeClassifier

    root = miniature("sensor")
    train, test, other = (
        read(PAMAP2.load, root, "sensor", split, prepare="always") for split in ("train", "test", "subject106")
    )
    assert len(train) >= 900 and len(test) >= 200 and len(other) >= 60
    assert set(train.groups.tolist()) == set(SUBJECTS["train"])
    assert set(test.groups.tolist()) == {105} and set(other.groups.tolist()) == {106}
    for split in (train, test, other):
        assert set(split.targets.tolist()) == set(range(11)) and len(split.ids.unique()) == len(split)
    assert set(train.targets[train.groups == 109].tolist()) == {10}
    x, y = windows(train), windows(test)
    assert np.isfinite(x).all() and np.isfinite(y).all() and abs(x.mean()) < 0.01
    x, y = x.reshape(len(x), -1), y.reshape(len(y), -1)
    assert 0.3 < RidgeClassifier(alpha=1e5).fit(x, train.targets).score(y, test.targets) < 0.8


def test_miniature_is_like_the_real_files(miniature: Callable[[str], Path]) -> None:
    assert len(list((miniature("sensor") / FOLDER).iterdir())) == 9
    rows = [line.split(" ") for line in (miniature("sensor") / FOLDER / "subject109.dat").read_text().splitlines()]
    assert {len(row) for row in rows} == {54}
    raw = np.array(rows, float)
    np.testing.assert_allclose(np.diff(raw[:, 0]), 0.01, atol=1e-6)
    assert np.isnan(raw[:, HEART]).mean() > 0.85
    assert 0 < np.isnan(raw[:, FIRST_IMU:]).any(axis=1).mean() < 0.05
    assert set(raw[:, 1]) == {0, 3, 24}


def test_importing_the_domain_is_light() -> None:
    code = "import sys, domains.sensor; print([m for m in ('torch', 'datasets', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
