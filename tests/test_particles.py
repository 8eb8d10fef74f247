"""HIGGS: rows, columns and splits as DABS's loader gives them, the usual test set, z-scores, chunks, and bad input."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dabs_rq.data.examples import Examples
from dabs_rq.domains.particles import DOMAIN, higgs, table
from dabs_rq.domains.particles.higgs import FEATURES, SOURCE, TABLE, TASK, split_lines
from dabs_rq.errors import DataError, DataWarning, MissingDataError
from tests.golden_cases import FOLDER as GOLDEN
from tests.golden_cases import Case

PRETRAINING = DOMAIN.pretraining
NATIVE = GOLDEN / "dabs2" / "native" / SOURCE.folder / "HIGGS.csv"
LINE = ",".join(["1.0"] + ["0.5"] * len(FEATURES))


def data_root(folder: Path, content: str, name: str = "HIGGS.csv.gz") -> Path:
    """Write a data root with this text in a file of that name."""
    (folder / SOURCE.folder).mkdir(parents=True)
    packed = gzip.compress(content.encode()) if name.endswith(".gz") else content.encode()
    (folder / SOURCE.folder / name).write_bytes(packed)
    return folder


def numbers(examples: Examples) -> np.ndarray:
    return examples.inputs[0].take(np.arange(len(examples)))


@pytest.mark.parametrize("name", ["HIGGS.csv.gz", "HIGGS.csv"])
@pytest.mark.parametrize("prepare", ["never", "always"])
def test_rows_columns_and_splits_are_those_of_dabs(
    name: str, prepare: str, read: Callable[..., Examples], tmp_path: Path
) -> None:
    root = data_root(tmp_path / "data", NATIVE.read_text(), name)
    for declared, role, splits in (
        (PRETRAINING, "pretrain", {"train": "train", "validation": "val"}),
        (TASK, "transfer", {"train": "train", "test": "val"}),
    ):
        for split, part in splits.items():
            case = Case(f"higgs/{role}/{part}")
            assert case.settings["columns_in_file"] == list(TABLE.names)
            assert case.settings["feature_order"] == sorted(FEATURES)
            examples = read(declared.load, root, "particles", split, protocol="published", prepare=prepare)
            np.testing.assert_array_equal(numbers(examples), case["features"])
            if declared is TASK:
                np.testing.assert_array_equal(examples.targets, case["labels"][:, 0])
            else:
                assert examples.targets is None


def test_the_sizes_are_those_of_dabs_and_of_the_usual_test_set() -> None:
    sizes = {
        (role, split, how): len(split_lines(higgs.COLLISIONS, role, split, how))
        for role, splits in (("pretraining", ("train", "validation")), ("transfer", ("train", "test")))
        for split in splits
        for how in ("tenths", "last")
    }
    assert [sizes["pretraining", split, "tenths"] for split in ("train", "validation")] == [8_910_000, 990_000]
    assert [sizes["transfer", split, "tenths"] for split in ("train", "test")] == [990_000, 110_000]
    assert [sizes["pretraining", split, "last"] for split in ("train", "validation")] == [10_000_000, 500_000]
    assert [sizes["transfer", split, "last"] for split in ("train", "test")] == [500_000, 500_000]


@given(count=st.integers(100, 3000), how=st.sampled_from(["tenths", "last"]))
def test_pretraining_and_both_splits_of_the_task_share_no_line(count: int, how: str) -> None:
    parts = [split_lines(count, "pretraining", "train", how)]
    parts += [split_lines(count, "transfer", split, how) for split in ("train", "test")]
    lines = np.concatenate(parts)
    assert len(np.unique(lines)) == len(lines) and lines.min() >= 0 and lines.max() < count
    if how == "last":
        assert sorted(lines.tolist()) == list(range(count))
        assert parts[2].tolist() == list(range(count - count // 22, count))


def test_the_corrected_protocol_keeps_the_order_of_the_file_and_scales(
    read: Callable[..., Examples], miniature: Callable[[str], Path]
) -> None:
    root = miniature("particles")
    with gzip.open(root / SOURCE.folder / "HIGGS.csv.gz", "rt") as opened:
        raw = np.loadtxt(opened, delimiter=",")
    count = len(raw)
    held = count // 22
    test = read(TASK.load, root, "particles", "test")
    assert test.ids.to_pylist() == [str(number) for number in range(count - held + 1, count + 1)]
    np.testing.assert_array_equal(test.targets, raw[-held:, 0])
    training = raw[: count - 2 * held, 1:]
    expected = (raw[-held:, 1:] - training.mean(0)) / training.std(0)
    np.testing.assert_allclose(numbers(test)[..., 0], expected, atol=1e-4)
    plain = read(TASK.load, root, "particles", "test", higgs_standardise=False)
    np.testing.assert_array_equal(numbers(plain)[..., 0], raw[-held:, 1:].astype(np.float32))
    by_name = read(TASK.load, root, "particles", "test", higgs_columns="name")
    order = [FEATURES.index(name) for name in sorted(FEATURES)]
    np.testing.assert_array_equal(numbers(by_name), numbers(test)[:, order])
    pretraining = numbers(read(PRETRAINING.load, root, "particles", "train"))[..., 0]
    np.testing.assert_allclose(pretraining.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(pretraining.std(0), 1, atol=1e-4)


@pytest.mark.parametrize(("lines", "chunks"), [(1, 3), (7, 3), (8, 3), (20, 3), (24, 3), (100, 3), (24, 1)])
def test_chunks_hold_every_line_once_in_any_order(
    lines: int, chunks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "LINES", 8)
    monkeypatch.setattr(table, "BLOCK", 1000)  # some lines
    values = np.random.default_rng(0).normal(size=(lines, len(TABLE.names))).astype(np.float32)
    values[:, 0] = np.arange(lines) % 2
    content = "".join(",".join(f"{value:.18e}" for value in line) + "\n" for line in values)
    root = data_root(tmp_path, content) / SOURCE.folder

    def decoded(number: int) -> np.ndarray:
        row = {"path": "HIGGS.csv.gz", "chunk": number}
        return table.decode(row, root=root, table=TABLE, chunks=chunks)

    found = [decoded(number) for number in range(chunks)]
    np.testing.assert_array_equal(np.concatenate(found), values)
    assert [len(chunk) for chunk in found[:-1]] == [min(8, max(0, lines - 8 * number)) for number in range(chunks - 1)]
    for number in reversed(range(chunks)):
        np.testing.assert_array_equal(decoded(number), found[number])
    rows = np.random.default_rng(1).permutation(lines)
    present = [chunk for chunk in found if len(chunk)]
    columns, zero, one = np.array([3, 1]), np.zeros(2, np.float32), np.ones(2, np.float32)
    column = table.Rows(present, rows, columns, zero, one, "key")
    np.testing.assert_array_equal(column.take(np.arange(lines))[..., 0], values[rows][:, [3, 1]])
    mean, std = table.statistics(present, rows)
    np.testing.assert_allclose(mean, values.astype(np.float64).mean(0), atol=1e-9)
    if lines > 1:
        np.testing.assert_allclose(std, values.astype(np.float64).std(0), atol=1e-6)


def test_another_number_of_lines_is_said(read: Callable[..., Examples], miniature: Callable[[str], Path]) -> None:
    with pytest.warns(DataWarning, match="HIGGS lines: 11,000,000 are declared, 11,264 were found"):
        read(TASK.load, miniature("particles"), "particles", "test", made_up=False)


# ---- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (LINE.rpartition(",")[0], r"line 41: expected 29 numbers between commas, found 28"),
        (LINE + ",1.0", r"line 41: expected 29 numbers between commas, found 30"),
        ("", r"line 41: expected 29 numbers between commas, found 1"),
        (LINE.replace("0.5", "nan", 1), r"line 41, column lepton_pT: expected a finite number, found 'nan'"),
        (LINE[:-3] + "inf", r"line 41, column m_wwbb: expected a finite number, found 'inf'"),
        (LINE[:-3] + "1e99", r"line 41, column m_wwbb: expected a finite number, found '1e99'"),
        (LINE[:-3], r"line 41, column m_wwbb: expected a finite number, found ''"),
        (LINE[:-3] + "x", r"line 41, column m_wwbb: expected a finite number, found 'x'"),
        ("2.0" + LINE[3:], r"line 41: the label 2\.0 is not 0 or 1"),
        ('"1.0"' + LINE[3:], r"line 41, column class_label: expected a finite number"),
    ],
)
@pytest.mark.parametrize("block", [1000, table.BLOCK])
def test_a_bad_line_is_named(
    bad: str, message: str, block: int, read: Callable[..., Examples], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "BLOCK", block)
    root = data_root(tmp_path / "data", "\n".join([*[LINE] * 40, bad, *[LINE] * 40]) + "\n")
    with pytest.raises(DataError, match=rf"HIGGS\.csv\.gz, {message}"):
        read(TASK.load, root, "particles", "test")


def test_a_file_that_is_cut_off_is_named(read: Callable[..., Examples], tmp_path: Path) -> None:
    root = data_root(tmp_path / "data", NATIVE.read_text())
    file = root / SOURCE.folder / "HIGGS.csv.gz"
    file.write_bytes(file.read_bytes()[:-2000])
    with pytest.raises(DataError, match=r"HIGGS\.csv\.gz: cannot be read: damaged or cut off"):
        read(TASK.load, root, "particles", "test")
    file.write_bytes(b"<html>moved</html>")
    with pytest.raises(DataError, match=r"HIGGS\.csv\.gz: cannot be read: damaged or cut off"):
        read(TASK.load, root, "particles", "test")


def test_a_line_without_an_end_is_not_read_as_a_whole(read: Callable[..., Examples], tmp_path: Path) -> None:
    root = data_root(tmp_path / "data", "0" * (40 << 20))
    with pytest.raises(DataError, match=r"line 1: expected 29 numbers between commas, found 1"):
        read(TASK.load, root, "particles", "test")


@pytest.mark.parametrize(
    ("content", "message"),
    [("", r"cannot be read \(Empty CSV file\)"), (LINE, "expected 11,000,000 lines, found 1, too few")],
)
def test_a_file_with_almost_nothing_is_said(
    content: str, message: str, read: Callable[..., Any], tmp_path: Path
) -> None:
    root = data_root(tmp_path / "data", content)
    with pytest.raises(DataError, match=rf"HIGGS\.csv\.gz: {message}"):
        read(TASK.load, root, "particles", "test")


def test_a_missing_file_is_said_with_the_layout(read: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="HIGGS is not under"):
        read(TASK.load, tmp_path, "particles", "test")
