"""EuroSAT: tiles, bands and splits as DABS's loader gives them, torchgeo's lists, and bad input."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from dabs_rq.data.examples import Examples
from dabs_rq.domains.satellite import DOMAIN, eurosat, tiles
from dabs_rq.domains.satellite.eurosat import CLASSES, FOLDER, LISTS, SOURCE, TASK
from dabs_rq.errors import DataError, DataWarning, OptionError
from dabs_rq.miniature import write as made_up_data
from tests.golden_cases import Case

PRETRAINING = DOMAIN.pretraining
TOGETHER: dict[str, Any] = {"photometric": "minisblack", "planarconfig": "contig"}  # the bands of a pixel


def made_up_tile(case: Case, number: int) -> np.ndarray:
    """Return the tile of the vectors' formula: uint16 (64, 64, 13)."""
    y, x, b = np.meshgrid(np.arange(64), np.arange(64), np.arange(13), indexing="ij")
    h = ((((number * 64 + y) * 64 + x) * 13 + b + 1) * 2654435761 + case.settings["image_seed"]) % 2**32
    h ^= h >> 15
    h = h * 2246822519 % 2**32
    return ((b + 1) * 90 + (y * (number % 5 + 1) + x * (b % 4)) * 7 + (h >> 20) // 4).astype(np.uint16)


def linked(root: Path, copy: Path) -> None:
    """Make a data root with copies of the lists, and links to the class folders of `root`."""
    (copy / SOURCE.folder / FOLDER).mkdir(parents=True)
    for file in LISTS.values():
        shutil.copy(root / SOURCE.folder / file, copy / SOURCE.folder / file)
    for name in CLASSES:
        (copy / SOURCE.folder / FOLDER / name).symlink_to(root / SOURCE.folder / FOLDER / name)


def test_decoded_tiles_and_splits_are_those_of_dabs(tmp_path: Path) -> None:
    cases = {
        ("pretraining", "train"): "pretrain/train",
        ("pretraining", "validation"): "pretrain/val",
        ("transfer", "train"): "transfer/train",
        ("transfer", "test"): "transfer/val",
    }
    for (role, split), name in cases.items():
        case = Case(f"eurosat/{name}")
        assert list(CLASSES) == case.settings["label_names"]
        rows = eurosat.shuffled(case.settings["rows"], role, split)
        labels = np.array(case.settings["all_labels"])
        np.testing.assert_array_equal(labels[rows], case["labels"])
        for place in {0, len(rows) // 2, len(rows) - 1}:
            tifffile.imwrite(tmp_path / "tile.tif", made_up_tile(case, int(rows[place])), **TOGETHER)
            found = tiles.decode({"path": "tile.tif"}, root=tmp_path, side=64)
            assert found.dtype == np.float32 and found.shape == (13, 64, 64)
            np.testing.assert_allclose(found[:, :5, :7], case["corner"][place], atol=1e-6)
            np.testing.assert_allclose(found.sum((1, 2), dtype=np.float64), case["sums"][place], atol=1e-3)


def test_bands_lie_in_the_order_of_the_files(tmp_path: Path) -> None:
    """B8A is the last band: a mean of 731 is that of water vapour (B09), one of 12 that of B10."""
    assert tiles.BANDS.index("B09") == 8 and tiles.BANDS[-1] == "B8A"
    assert tiles.MEAN[8] == 731.0175 and tiles.MEAN[9] == 12.0956 and tiles.MEAN[-1] == 2598.4456
    tile = np.broadcast_to(np.arange(13, dtype=np.uint16), (64, 64, 13))
    tifffile.imwrite(tmp_path / "together.tif", tile, **TOGETHER)
    tifffile.imwrite(tmp_path / "apart.tif", tile.transpose(2, 0, 1), photometric="minisblack", planarconfig="separate")
    for name in ("together.tif", "apart.tif"):
        found = tiles.read_tile(tmp_path / name, 64)
        assert found.shape == (64, 64, 13) and found[5, 9].tolist() == list(range(13))


def test_a_smaller_input_averages_squares_of_pixels(tmp_path: Path) -> None:
    tile = np.random.default_rng(0).integers(0, 5000, (64, 64, 13)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "tile.tif", tile, **TOGETHER)
    found = tiles.decode({"path": "tile.tif"}, root=tmp_path, side=16)
    expected = (tile[4:8, 60:64].mean((0, 1)) - tiles.MEAN) / tiles.STD
    np.testing.assert_allclose(found[:, 1, 15], expected, rtol=1e-5)


def test_the_lists_are_the_splits_if_they_are_there(
    read: Callable[..., Examples], miniature: Callable[[str], Path], tmp_path: Path
) -> None:
    root = miniature("satellite")
    listed = {name: (root / SOURCE.folder / file).read_text().split() for name, file in LISTS.items()}
    parts = [(PRETRAINING, "train", "train"), (PRETRAINING, "validation", "val"), (TASK, "train", "val")]
    for declared, split, name in [*parts, (TASK, "test", "test")]:
        examples = read(declared.load, root, "satellite", split)
        names = [path.partition("/")[2].replace(".tif", ".jpg") for path in examples.ids.to_pylist()]
        assert names == listed[name]
        if declared is TASK:
            assert examples.targets is not None
            assert [CLASSES[number] for number in examples.targets] == [name.partition("_")[0] for name in names]
        else:
            assert examples.targets is None
    linked(root, tmp_path / "data")
    (tmp_path / "data" / SOURCE.folder / LISTS["val"]).unlink()
    without = read(TASK.load, tmp_path / "data", "satellite", "test")
    published = read(TASK.load, root, "satellite", "test", protocol="published")
    assert without.ids == published.ids and len(published) == 29  # a tenth of a tenth of 2,920


def test_pretraining_and_transfer_share_no_tile(
    read: Callable[..., Examples], miniature: Callable[[str], Path]
) -> None:
    root = miniature("satellite")
    for protocol, fewest in (("published", 2900), ("corrected", 2920)):
        pretraining = read(PRETRAINING.load, root, "satellite", "train", protocol=protocol).ids.to_pylist()
        splits = [read(TASK.load, root, "satellite", split, protocol=protocol) for split in ("train", "test")]
        transfer = [name for examples in splits for name in examples.ids.to_pylist()]
        validation = read(PRETRAINING.load, root, "satellite", "validation", protocol=protocol).ids.to_pylist()
        assert not set(pretraining) & set(transfer) and len({*pretraining, *validation, *transfer}) >= fewest


def test_another_number_of_tiles_is_said(read: Callable[..., Examples], miniature: Callable[[str], Path]) -> None:
    with pytest.warns(DataWarning, match="EuroSAT tiles: 27,000 are declared, 2,920 were found"):
        read(TASK.load, miniature("satellite"), "satellite", "test", made_up=False)


# ---- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "dtype", "found"),
    [
        ((64, 64, 12), np.uint16, "64 x 64 of 12, uint16"),
        ((64, 64, 3), np.uint8, "64 x 64 of 3, uint8"),
        ((64, 64, 13), np.float32, "64 x 64 of 13, float32"),
        ((32, 64, 13), np.uint16, "32 x 64 of 13, uint16"),
        ((64, 64), np.uint16, "64 x 64 of 1, uint16"),
    ],
)
def test_another_picture_is_refused_by_name(shape: tuple[int, ...], dtype: type, found: str, tmp_path: Path) -> None:
    photometric = "rgb" if shape[-1] == 3 else "minisblack"
    planar = "contig" if len(shape) == 3 else None
    tifffile.imwrite(tmp_path / "a.tif", np.zeros(shape, dtype), photometric=photometric, planarconfig=planar)
    with pytest.raises(DataError, match=rf"a\.tif: expected 64 x 64 pixels of 13 bands, uint16; found {found}"):
        tiles.decode({"path": "a.tif"}, root=tmp_path, side=64)


@pytest.mark.parametrize("content", [b"", b"no picture", b"II*\0\x08\0\0\0"])
def test_a_damaged_tile_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.tif: damaged or not a TIFF file"):
        tiles.decode({"path": "a.tif"}, root=tmp_path, side=64)


def test_a_cut_tile_is_named(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.ones((64, 64, 13), np.uint16), **TOGETHER)
    content = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"a\.tif: damaged or not a TIFF file"):
        tiles.decode({"path": "a.tif"}, root=tmp_path, side=64)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Forest_9999.jpg", r"eurosat-test\.txt:1: no tile Forest_9999\.tif in the class folders"),
        ("Forest_1.jpg\nForest_1.jpg", r"eurosat-test\.txt:2: Forest_1\.jpg is listed already: .*eurosat-test\.txt:1"),
    ],
)
def test_a_bad_line_of_a_list_is_named(
    line: str, message: str, read: Callable[..., Examples], miniature: Callable[[str], Path], tmp_path: Path
) -> None:
    linked(miniature("satellite"), tmp_path / "data")
    (tmp_path / "data" / SOURCE.folder / LISTS["test"]).write_text(line)
    with pytest.raises(DataError, match=message):
        read(TASK.load, tmp_path / "data", "satellite", "test")


def test_an_empty_class_folder_is_named(
    read: Callable[..., Examples], miniature: Callable[[str], Path], tmp_path: Path
) -> None:
    linked(miniature("satellite"), tmp_path / "data")
    (tmp_path / "data" / SOURCE.folder / FOLDER / "River").unlink()
    (tmp_path / "data" / SOURCE.folder / FOLDER / "River").mkdir()
    with pytest.raises(DataError, match=r"expected \.tif files in each of the 10 folders, none in River"):
        read(TASK.load, tmp_path / "data", "satellite", "test")


def test_a_missing_package_is_said_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(OptionError, match=r"needs a package: pip install 'dabs_rq\[dabs2\]'"):
        tiles.read_tile(tmp_path / "a.tif", 64)
    monkeypatch.delitem(sys.modules, "dabs_rq.domains.satellite.miniature", raising=False)
    with pytest.raises(OptionError, match=r"needs a package: pip install 'dabs_rq\[dabs2\]'"):
        made_up_data.write("satellite", tmp_path / "data")
