"""The images domain on damaged, incomplete and hostile files: errors name the file and, if it has lines, the line."""

from __future__ import annotations

import os
import pickle
import shutil
import struct
import subprocess
import tracemalloc
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from dabs_rq import registry
from dabs_rq.data.examples import Examples
from dabs_rq.data.readers import audio, image, index
from dabs_rq.errors import DataError, MissingDataError

DOMAIN = registry.domain("images")
LOADERS = {"imagenet": DOMAIN.pretraining.load} | {task.name: task.load for task in DOMAIN.tasks}
SOURCES = [DOMAIN.pretraining.source, *(task.source for task in DOMAIN.tasks)]
FOLDERS = {source.name: source.folder for source in SOURCES}
BIRDS = "CUB_200_2011"
SIGNS = "GTSRB/Final_Training/Images/00002"
AIRCRAFT = "fgvc-aircraft-2013b/data"
BATCH = "cifar-10-batches-py/data_batch_1"


@pytest.fixture
def folder(miniature: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """folder(source name): the folder of a copy of that source, to be damaged."""

    def copied(name: str) -> Path:
        return shutil.copytree(miniature("images") / FOLDERS[name], tmp_path / "data" / FOLDERS[name])

    return copied


@pytest.fixture
def load(tmp_path: Path, read: Callable[..., Examples]) -> Callable[..., Examples]:
    return lambda name, split="train", **options: read(LOADERS[name], tmp_path / "data", "images", split, **options)


def put_line(file: Path, number: int, text: str) -> None:
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[: number - 1], text, *lines[number:]]) + "\n")


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_a_missing_source_tells_how_to_get_it(source: Any, tmp_path: Path, load: Callable[..., Examples]) -> None:
    with pytest.raises(MissingDataError) as caught:
        load(source.name)
    text = str(caught.value)
    assert str(tmp_path / "data" / source.folder / source.needs[0]) in text
    assert all(line in text for line in source.layout.strip().splitlines())
    assert source.url in text and (source.registration or "none needed") in text


def test_imagenet_without_its_validation_folder_still_pretrains(folder: Any, load: Callable[..., Examples]) -> None:
    shutil.rmtree(folder("imagenet") / "validation")
    assert len(load("imagenet")) >= 2048
    with pytest.raises(MissingDataError, match="imagenet/validation"):
        load("imagenet", "validation")


@pytest.mark.parametrize(
    ("name", "file", "line", "text", "message"),
    [
        ("cu_birds", f"{BIRDS}/image_class_labels.txt", 3, "3 201", "label '201' is not a whole number from 1 to 200"),
        ("cu_birds", f"{BIRDS}/image_class_labels.txt", 3, "3 0", "label '0'"),
        ("cu_birds", f"{BIRDS}/image_class_labels.txt", 3, "3 three", "label 'three'"),
        ("cu_birds", f"{BIRDS}/image_class_labels.txt", 3, "2 1", "2 is listed already: .*:2"),
        ("cu_birds", f"{BIRDS}/images.txt", 2, "2", "expected two parts"),
        ("cu_birds", f"{BIRDS}/images.txt", 2, "99999 a/b.jpg", "99999 has no line in .*image_class_labels.txt"),
        ("cu_birds", f"{BIRDS}/train_test_split.txt", 4, "4 2", "expected 1 .train. or 0 .test., found '2'"),
        ("dtd", "dtd/labels/val1.txt", 5, "nowhere/a.jpg", "no folder .*images/nowhere"),
        ("dtd", "dtd/labels/val1.txt", 5, "banded/a.jpg", "no such file .*images/banded/a.jpg"),
        ("traffic_sign", f"{SIGNS}/GT-00002.csv", 1, "Filename;ClassId", "expected the header"),
        ("traffic_sign", f"{SIGNS}/GT-00002.csv", 3, "00000_00001.ppm;9;9;2", "expected Filename;.*"),
        ("traffic_sign", f"{SIGNS}/GT-00002.csv", 3, "x.ppm;9;9;1;1;8;8;2", "expected Filename;.*"),
        ("traffic_sign", f"{SIGNS}/GT-00002.csv", 3, "00000_00001.ppm;9;9;1;1;8;8;43", "label '43'"),
        ("traffic_sign", f"{SIGNS}/GT-00002.csv", 3, "00000_00001.ppm;9;9;1;1;8;8;3", "ClassId 3 in folder 00002"),
        ("aircraft", f"{AIRCRAFT}/images_variant_trainval.txt", 2, "0034309", "expected two parts"),
        ("aircraft", f"{AIRCRAFT}/images_variant_trainval.txt", 2, "7 A310", "7 has no line in .*images_box.txt"),
    ],
)
def test_a_bad_line_is_named(
    name: str, file: str, line: int, text: str, message: str, folder: Any, load: Callable[..., Examples]
) -> None:
    damaged = folder(name) / file
    put_line(damaged, line, text)
    with pytest.raises(DataError, match=f"{damaged}:{line}: {message}"):
        load(name)


def test_an_aircraft_of_unknown_variant_is_named(folder: Any, load: Callable[..., Examples]) -> None:
    file = folder("aircraft") / AIRCRAFT / "images_variant_test.txt"
    put_line(file, 3, file.read_text().splitlines()[2].split()[0] + " Zeppelin NT")
    with pytest.raises(DataError, match=f"{file}:3: variant 'Zeppelin NT' does not occur"):
        load("aircraft", "test")


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ("1 2 3", "expected xmin ymin"),
        ("9 1 9 8", "box 9 1 9 8 is empty"),
        ("1 1 9 99999999999999999999", "box 1 1 9 9999.* is larger than any picture"),
        ("1 1 9 " + "9" * 5000, "expected xmin ymin"),
    ],
)
def test_an_impossible_box_is_named(box: str, message: str, folder: Any, load: Callable[..., Examples]) -> None:
    data = folder("aircraft") / AIRCRAFT
    number = (data / "images_variant_test.txt").read_text().split()[0]
    line = [text.split()[0] for text in (data / "images_box.txt").read_text().splitlines()].index(number) + 1
    put_line(data / "images_box.txt", line, f"{number} {box}")
    with pytest.raises(DataError, match=f"images_box.txt:{line}: {message}"):
        load("aircraft", "test")


def test_a_box_beside_the_picture_is_named() -> None:
    with pytest.raises(DataError, match=r"x.jpg: box \(50, 0, 60, 9\) is empty or outside the picture of 40 x 30"):
        image.crop(Image.new("RGB", (40, 30)), (50, 0, 60, 9), "x.jpg")


def test_a_sign_without_line_a_file_listed_twice_and_one_that_is_gone_are_named(
    folder: Any, load: Callable[..., Examples]
) -> None:
    csv = folder("traffic_sign") / SIGNS / "GT-00002.csv"
    good = csv.read_text()
    shutil.copy(csv.parent / "00000_00000.ppm", csv.parent / "00099_00000.ppm")
    with pytest.raises(DataError, match=f"{csv}: 1 pictures in its folder have no line, the first is 00099_00000.ppm"):
        load("traffic_sign")
    (csv.parent / "00099_00000.ppm").unlink()
    csv.write_text(good + good.splitlines()[1] + "\n")
    with pytest.raises(DataError, match=f"{csv}:.*00000_00000.ppm is listed already"):
        load("traffic_sign"), load("traffic_sign", "test")
    csv.write_text(good)
    for picture in csv.parent.glob("*.ppm"):
        picture.unlink()
    with pytest.raises(DataError, match=f"{csv}:[0-9]+: no such file"):
        load("traffic_sign")


def test_empty_lists_and_folders_are_named(folder: Any, load: Callable[..., Examples]) -> None:
    (folder("dtd") / "dtd" / "labels" / "test1.txt").write_text("\n")
    with pytest.raises(DataError, match="no picture is listed for split 'test'"):
        load("dtd", "test")
    train = folder("imagenet") / "train"
    (train / "n99999999").mkdir()
    with pytest.raises(DataError, match=f"{train / 'n99999999'}: class folder without any picture"):
        load("imagenet")
    shutil.rmtree(train)
    train.mkdir()
    with pytest.raises(DataError, match=f"{train}: it has no class folder"):
        load("imagenet")


@pytest.mark.parametrize("name", ["imagenet", "cu_birds", "vgg_flower", "dtd", "traffic_sign", "aircraft"])
@pytest.mark.parametrize("prepare", ["never", "always"])
def test_a_truncated_picture_is_named(name: str, prepare: str, folder: Any, load: Callable[..., Examples]) -> None:
    top = folder(name)
    examples = load(name, "test" if name != "imagenet" else "validation", prepare=prepare)
    file = top / examples.ids[3].as_py()
    file.write_bytes(file.read_bytes()[:-200])
    column = examples.inputs[0]
    with pytest.raises(DataError, match=f"{file}: damaged or not a picture .*truncated"):
        column.take(np.arange(5))


# ---- files of other kinds than text and pictures --------------------------------------------------------------------


class Evil:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


def test_a_pickle_that_wants_to_run_something_is_refused(
    folder: Any, load: Callable[..., Examples], tmp_path: Path
) -> None:
    file = folder("cifar10") / BATCH
    file.write_bytes(pickle.dumps({"data": Evil(tmp_path / "ran"), "labels": []}, protocol=2))
    with pytest.raises(DataError, match=f"{file}: refused to load (posix|os|nt).mkdir"):
        load("cifar10")
    assert not (tmp_path / "ran").exists()


def cifar(labels: object, data: np.ndarray | None = None) -> bytes:
    return pickle.dumps({"data": np.zeros((2, 3072), np.uint8) if data is None else data, "labels": labels}, protocol=2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "damaged"),
        (b"no pickle", "damaged"),
        (pickle.dumps({"labels": [1]}, protocol=2), "expected data and labels, data missing"),
        (pickle.dumps([1, 2], protocol=2), "expected a dict, found .1, 2."),
        (pickle.dumps({"data": np.zeros((2, 9), np.uint8), "labels": [1, 2]}, protocol=2), r"data is uint8 \(2, 9\)"),
        (pickle.dumps({"data": "text", "labels": [1, 2]}, protocol=2), "data is str"),
        (cifar([1, 10]), "row 1: label 10 is no"),
        (cifar([1, 2.9]), "row 1: label 2.9 is float"),
        (cifar([1, True]), "row 1: label True is bool"),
        (cifar([1, "2"]), "row 1: label '2' is str"),
        (cifar([1, None]), "row 1: label None is NoneType"),
        (cifar([1, 10**400]), "row 1: label 1000000.* is no"),
        (cifar(5), "labels is int, expected a list"),
        (cifar({"a": 1}), "labels is dict, expected a list"),
        (cifar([1, 2], np.zeros((2, 3072), np.int16)), r"data is an array of .*i2"),
        (cifar([1, 2], np.zeros((2, 3072), object)), r"data is an array of .*O8"),
        (cifar([1, 2], np.asfortranarray(np.zeros((2, 3072), np.uint8))), "stored by columns"),
        # A forged type that says its bytes are objects: numpy would follow the bytes as addresses.
        (cifar([1, 2]).replace(b"u1", b"O8"), "data is an array of .*O8"),
        (cifar([1, 2]).replace(b"M\x00\x0c", b"M\x00\x0d"), r"bytes with shape \(2, 3328\)"),
        (b"\x80\x02\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.", "damaged"),  # text of 2**63 bytes
        (b"\x80\x02K\x01r\xff\xff\xff\x7f.", "expected a dict"),  # the last of 2**31 memo entries
        (b"\x80\x02\x8b\xff\xff\xff\x7f.", "damaged"),  # a number of 2**31 bytes
        (b"\x80\x02" + b")" + b"\x85" * 500_000 + b"K\x01\x86.", "expected a dict"),
        (b"\x80\x02})" + b"\x85" * 500_000 + b"K\x01s.", "a key of a dictionary is tuple"),
    ],
)
def test_a_damaged_cifar_batch_is_named(
    content: bytes, message: str, folder: Any, load: Callable[..., Examples]
) -> None:
    file = folder("cifar10") / BATCH
    file.write_bytes(content)
    with pytest.raises(DataError, match=f"{file}: .*{message}"):
        load("cifar10")


def test_a_cifar_batch_cut_short_is_named(folder: Any, load: Callable[..., Examples]) -> None:
    file = folder("cifar10") / BATCH
    file.write_bytes(file.read_bytes()[:100_000])
    with pytest.raises(DataError, match=f"{file}: damaged or not a CIFAR-10 batch"):
        load("cifar10")


def test_the_pickles_of_python_2_are_read(folder: Any, load: Callable[..., Examples]) -> None:
    """As published: numpy's old module names, and byte strings that Python 3 reads as latin-1."""
    pixels = bytes(range(256)) * 12
    dtype = b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR(K\x01(K\x01M\x00\x0ct" + dtype
    array += b"\x89T" + len(pixels).to_bytes(4, "little") + pixels + b"tb"
    file = folder("cifar10") / "cifar-10-batches-py" / "test_batch"
    file.write_bytes(b"\x80\x02}(U\x04data" + array + b"U\x06labels](K\x07eu.")
    test = load("cifar10", "test")
    assert test.targets.tolist() == [7]
    assert test.inputs[0].take(np.arange(1)).tobytes() == pixels


def test_a_pickle_that_says_the_same_bytes_many_times_takes_no_memory(
    folder: Any, load: Callable[..., Examples]
) -> None:
    """Every call of `_codecs.encode` would make a copy."""
    text = b"X" + (1 << 20).to_bytes(4, "little") + b"a" * (1 << 20) + b"q\x00"
    calls = b"c_codecs\nencode\nh\x00X\x06\x00\x00\x00latin1\x86R" * 1_000
    file = folder("cifar10") / BATCH
    file.write_bytes(b"\x80\x02" + text + calls + b".")
    tracemalloc.start()
    with pytest.raises(DataError, match=f"{file}: damaged"):
        load("cifar10")
    assert tracemalloc.get_traced_memory()[1] < 200 << 20
    tracemalloc.stop()


# ---- pictures -------------------------------------------------------------------------------------------------------


def png(width: int, height: int, bits: int, colours: int, rows: bytes) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")

    head = struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"


@pytest.mark.parametrize("name", ["x.jpg", "x.png", "x.eps"])
@pytest.mark.parametrize("content", [EPS, b"/* XPM */\n", b"SIMPLE  =  T", b"GRIB", b"BUFR", b"\x01\xda" * 9])
def test_formats_that_no_data_set_has_are_not_opened(
    name: str, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "Popen", None)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name}: damaged or not a picture in one of the formats BMP"):
        image.open_rgb(tmp_path / name)


@pytest.mark.parametrize("kind", ["png", "tif", "pgm"])
def test_grey_values_of_16_bits_are_scaled(kind: str, tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    file = tmp_path / f"x.{kind}"
    if kind == "pgm":
        file.write_bytes(b"P5 64 64 65535\n" + values.astype(">u2").tobytes())
    else:
        Image.fromarray(values).save(file)
    assert np.array_equal(np.asarray(image.open_rgb(file))[:, :, 1], values >> 8)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_values_of_unknown_range_are_refused(dtype: Any, tmp_path: Path) -> None:
    Image.fromarray(np.linspace(0, 900, 64).reshape(8, 8).astype(dtype)).save(tmp_path / "x.tif")
    with pytest.raises(DataError, match=r"x.tif: its values are of Pillow's mode '[IF]', whose range is not known"):
        image.open_rgb(tmp_path / "x.tif")


@pytest.mark.parametrize("side", [9_000, 20_000])
def test_a_picture_that_would_fill_the_memory_is_refused(side: int, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(png(side, side, 8, 2, bytes(1000)))
    with pytest.raises(DataError, match=r"x.png: .*pixels"), warnings.catch_warnings():
        warnings.simplefilter("error")
        image.open_rgb(tmp_path / "x.png")


@pytest.mark.parametrize(
    "read",
    [image.open_rgb, audio.read, lambda file: list(index.lines(file)), lambda file: index.csv_table(file, ["a"])],
)
def test_pipes_folders_and_devices_are_not_read(read: Callable[[Path], object], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    for file in (tmp_path / "pipe.jpg", tmp_path / "folder.jpg", Path("/dev/zero")):
        with pytest.raises(DataError, match=f"{file}: expected a file, found a "):
            read(file)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([[1, 103]], np.uint8), "entry 2: label 103 is not a whole number from 1 to 102"),
        (np.array([[1, 0]], np.uint8), "entry 2: label 0"),
        (np.array([[1.5, 2]]), r"labels is float64 \(1, 2\)"),
        (np.array([[1, 2, 2, 2] * 500], np.uint8), "entry 1[0-9]*: no such file .*jpg/image_01"),
        (None, "damaged or not a MATLAB file with labels"),
    ],
)
def test_bad_flower_labels_are_named(
    labels: np.ndarray | None, message: str, folder: Any, load: Callable[..., Examples]
) -> None:
    file = folder("vgg_flower") / "imagelabels.mat"
    file.write_bytes(b"no mat") if labels is None else savemat(file, {"labels": labels})
    with pytest.raises(DataError, match=f"{file}: {message}"):
        load("vgg_flower")
