"""WM-811K: maps, labels and splits as DABS's loader gives them, lots, both forms of no label, and bad input."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from dabs_rq.data.examples import Examples
from dabs_rq.domains.wafers import DOMAIN, wm811k
from dabs_rq.domains.wafers.matfile import Wafers
from dabs_rq.domains.wafers.miniature import mat_file
from dabs_rq.domains.wafers.wm811k import CLASSES, FILE, SOURCE, TASK, read_index
from dabs_rq.errors import DataError, DataWarning, OptionError
from dabs_rq.miniature import write as made_up_data
from tests.golden_cases import Case

PRETRAINING = DOMAIN.pretraining
DIES = np.array([[0, 1, 0], [1, 2, 1]], np.uint8)


def wafer(dies: Any = DIES, failure: str | None = "none", lot: str | None = "lot1") -> dict[str, Any]:
    return {"failureType": failure, "lotName": lot, "waferMap": dies}


def data_root(folder: Path, wafers: list[dict[str, Any]]) -> Path:
    file = folder / SOURCE.folder / FILE
    file.parent.mkdir(parents=True)
    file.write_bytes(mat_file(wafers))
    return folder


def made_up_map(case: Case, number: int) -> np.ndarray:
    """Return the map of the vectors' formula."""
    height, width = case.settings["sizes"][number]
    y, x = np.mgrid[:height, :width]
    inside = (2 * y - height + 1) ** 2 * width**2 + (2 * x - width + 1) ** 2 * height**2 <= height**2 * width**2
    k = (((number * 1000 + y) * 1000 + x + 1) * 2654435761 + case.settings["image_seed"]) % 2**32
    k ^= k >> 16
    k = k * 2246822519 % 2**32
    return np.where(inside, np.where((k >> 24) < 20 + 25 * (number % 8), 2, 1), 0).astype(np.uint8)


@pytest.mark.parametrize(("unlabelled", "prepare"), [(None, "never"), ("0", "never"), (None, "always")])
def test_maps_labels_and_splits_are_those_of_dabs(
    unlabelled: str | None, prepare: str, read: Callable[..., Examples], tmp_path: Path
) -> None:
    settings = Case("wafer/transfer/train").settings
    assert {name: number for name, number in settings["label_map"].items() if name != "unlabeled"} == {
        name: number for number, name in enumerate(CLASSES)
    }
    case = Case("wafer/transfer/train")
    wafers = [
        wafer(made_up_map(case, number), unlabelled if label is None else label, f"lot{number // 5}")
        for number, label in enumerate(settings["failure_types"])
    ]
    root = data_root(tmp_path / "data", wafers)
    for declared, role, splits in (
        (PRETRAINING, "pretrain", {"train": "train", "validation": "val"}),
        (TASK, "transfer", {"train": "train", "test": "val"}),
    ):
        for split, part in splits.items():
            case = Case(f"wafer/{role}/{part}")
            examples = read(declared.load, root, "wafers", split, protocol="published", prepare=prepare)
            found = examples.inputs[0].take(np.arange(len(examples)))
            assert found.dtype == np.uint8 and (found == found[:, :1]).all()
            np.testing.assert_array_equal(found[:, 0], case["levels"])
            if declared is TASK:
                np.testing.assert_array_equal(examples.targets, case["labels"])
            else:
                assert examples.targets is None and examples.groups is None


@pytest.mark.parametrize("dtype", [np.uint8, np.float64, np.int16])
def test_a_map_is_turned_back(dtype: type, tmp_path: Path) -> None:
    dies = np.array([[0, 1, 2, 1], [2, 0, 0, 1], [1, 1, 0, 0]], dtype)
    opened = Wafers(data_root(tmp_path, [wafer(), wafer(dies)]) / SOURCE.folder / FILE)
    assert len(opened) == 2
    np.testing.assert_array_equal(opened.map(1), dies)


def test_every_failure_is_read_in_upper_and_lower_case(tmp_path: Path) -> None:
    names = ["none", "Random", "Donut", "Scratch", "Center", "Loc", "Edge-Loc", "Edge-Ring", "Near-full", None, "0"]
    root = data_root(tmp_path, [wafer(failure=name, lot=f"lot{place % 2}") for place, name in enumerate(names)])
    classes, lots = read_index(root / SOURCE.folder / FILE).T
    assert classes.tolist() == [*range(9), -1, -1] and lots.tolist() == [0, 1] * 5 + [0]


def test_a_text_in_a_cell_is_read_too(tmp_path: Path) -> None:
    """MATLAB writes a text in a cell as a reference to it."""
    root = data_root(tmp_path, [wafer(failure="Donut"), wafer(failure="Loc")])
    with h5py.File(root / SOURCE.folder / FILE, "r+") as file:
        field = file["data/failureType"]
        cells = [file["#refs#"].create_dataset(f"cell{n}", data=field[:, n : n + 1]) for n in range(2)]
        field[...] = np.array([[cell.ref for cell in cells]], h5py.ref_dtype)
    assert read_index(root / SOURCE.folder / FILE)[:, 0].tolist() == [CLASSES.index("donut"), CLASSES.index("loc")]


def test_no_lot_of_the_test_is_in_training_or_pretraining(
    read: Callable[..., Examples], miniature: Callable[[str], Path]
) -> None:
    root = miniature("wafers")
    lots = read_index(root / SOURCE.folder / FILE)[:, 1]
    parts = {
        (declared is TASK, split): [int(name) for name in read(declared.load, root, "wafers", split).ids.to_pylist()]
        for declared, splits in ((PRETRAINING, ("train", "validation")), (TASK, ("train", "test")))
        for split in splits
    }
    tested = set(lots[parts[True, "test"]])
    assert tested and len(tested) == len(np.unique(lots)) // 10
    for part in ((True, "train"), (False, "train")):
        assert not tested & set(lots[parts[part]])
    assert sorted(name for names in parts.values() for name in names) == list(range(len(lots)))  # nothing is lost


def test_the_published_protocol_divides_lots(read: Callable[..., Examples], miniature: Callable[[str], Path]) -> None:
    groups = [
        set(read(TASK.load, miniature("wafers"), "wafers", split, protocol="published").groups.tolist())  # type: ignore[union-attr]
        for split in ("train", "test")
    ]
    assert groups[1] <= groups[0]


def test_another_number_of_wafers_is_said(read: Callable[..., Examples], miniature: Callable[[str], Path]) -> None:
    with pytest.warns(DataWarning, match="WM-811K wafers: 811,457 are declared, 4,180 were found"):
        read(TASK.load, miniature("wafers"), "wafers", "test", made_up=False)


# ---- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (wafer(failure="Blob"), r"wafer 3: unknown failureType 'Blob'; known: none, random, donut"),
        (wafer(failure="x" * 101), r"wafer 3: expected a text of a few characters, found 101"),
        (wafer(lot=None), r"wafer 3 has no lotName"),
    ],
)
def test_a_bad_wafer_is_named(bad: dict[str, Any], message: str, read: Callable[..., Examples], tmp_path: Path) -> None:
    root = data_root(tmp_path / "data", [*[wafer()] * 3, bad, *[wafer()] * 3])
    with pytest.raises(DataError, match=rf"WM811K\.mat: {message}"):
        read(TASK.load, root, "wafers", "test")


@pytest.mark.parametrize(
    ("dies", "message"),
    [
        (np.array([[0, 3]], np.uint8), r"wafer 1: expected 0, 1 and 2 in its map, found \[0, 3\]"),
        (np.array([[0, 1.5]]), r"wafer 1: expected 0, 1 and 2 in its map, found \[0\.0, 1\.5\]"),
        (np.array([[0, np.nan]]), r"wafer 1: expected 0, 1 and 2 in its map, found \[0\.0, nan\]"),
        (np.array([[-1, 1]], np.int16), r"wafer 1: expected 0, 1 and 2 in its map, found \[-1, 1\]"),
        (np.array([[256, 1]], np.int16), r"wafer 1: expected 0, 1 and 2 in its map, found \[1, 256\]"),
        (None, r"wafer 1: expected a map of dies, found uint64 \(2,\)"),
        (np.zeros((5000, 1), np.uint8), r"wafer 1: expected a map of dies, found uint8 \(1, 5000\)"),
    ],
)
def test_a_bad_map_is_named(dies: Any, message: str, tmp_path: Path) -> None:
    root = data_root(tmp_path, [wafer(), wafer(dies)]) / SOURCE.folder
    good = wm811k.decode({"path": FILE, "wafer": 0}, root=root, width=32, height=32)
    assert good.shape == (3, 32, 32)
    with pytest.raises(DataError, match=rf"WM811K\.mat: {message}"):
        wm811k.decode({"path": FILE, "wafer": 1}, root=root, width=32, height=32)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"MATLAB 5.0 MAT-file".ljust(600), r"expected a MATLAB 7\.3 file \(HDF5\), found 'MATLAB 5\.0 MAT-file"),
        (b"", r"expected a MATLAB 7\.3 file \(HDF5\), found 'no MATLAB file'"),
        (b"<html>moved</html>", r"found 'no MATLAB file'"),
        (b"MATLAB 7.3".ljust(512) + b"\x89HDF\r\n\x1a\n" + b"\0" * 100, "damaged, or not a file of MATLAB 7.3"),
    ],
)
def test_another_kind_of_file_is_named(
    content: bytes, message: str, read: Callable[..., Examples], tmp_path: Path
) -> None:
    root = data_root(tmp_path / "data", [wafer()])
    (root / SOURCE.folder / FILE).write_bytes(content)
    with pytest.raises(DataError, match=rf"WM811K\.mat: .*{message}"):
        read(TASK.load, root, "wafers", "test")


def test_a_file_that_is_cut_off_is_named(
    read: Callable[..., Examples], miniature: Callable[[str], Path], tmp_path: Path
) -> None:
    shutil.copytree(miniature("wafers"), tmp_path / "data")
    file = tmp_path / "data" / SOURCE.folder / FILE
    file.write_bytes(file.read_bytes()[:1_000_000])
    with pytest.raises(DataError, match=r"WM811K\.mat: damaged, or not a file of MATLAB 7\.3"):
        read(TASK.load, tmp_path / "data", "wafers", "test")


def test_other_contents_are_named(read: Callable[..., Examples], tmp_path: Path) -> None:
    root = data_root(tmp_path / "data", [wafer()])
    file = root / SOURCE.folder / FILE
    with h5py.File(file, "r+") as opened:
        del opened["data/lotName"]
    with pytest.raises(DataError, match=r"expected a struct array 'data' .*; lotName missing"):
        read(TASK.load, root, "wafers", "test")
    with h5py.File(file, "w") as opened:
        opened["data"] = np.zeros(3)
    with pytest.raises(DataError, match=r"waferMap, failureType, lotName missing, found \['data'\]"):
        read(TASK.load, root, "wafers", "test")
    with h5py.File(file, "w") as opened:
        for name in ("waferMap", "failureType", "lotName"):
            opened[f"data/{name}"] = np.zeros((1, 3))
    with pytest.raises(DataError, match="must be columns of references of one length"):
        read(TASK.load, root, "wafers", "test")
    with h5py.File(file, "w") as opened:
        for name in ("waferMap", "failureType", "lotName"):
            opened.create_dataset(f"data/{name}", (1, 3), h5py.ref_dtype)  # of nothing
    with pytest.raises(DataError, match=r"wafer 0: expected a reference to an array"):
        read(TASK.load, root, "wafers", "test")


def test_a_missing_package_is_said_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(OptionError, match=r"needs a package: pip install 'dabs_rq\[dabs2\]'"):
        Wafers(tmp_path / "WM811K.mat")
    monkeypatch.delitem(sys.modules, "dabs_rq.domains.wafers.miniature", raising=False)
    with pytest.raises(OptionError, match=r"needs a package: pip install 'dabs_rq\[dabs2\]'"):
        made_up_data.write("wafers", tmp_path / "data")
