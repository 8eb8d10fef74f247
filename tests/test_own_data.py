"""Readers of one's own data: what they read and refuse, and how they divide examples."""

from __future__ import annotations

import dataclasses
import io
import os
import pickle
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pyarrow import parquet

from dabs_rq.data.examples import Examples
from dabs_rq.data.prepared import Store
from dabs_rq.data.readers.cells import Numbers, Picture, Recording, Text
from dabs_rq.data.readers.csv_rows import csv_rows
from dabs_rq.data.readers.division import divide
from dabs_rq.data.readers.folder_of_images import folder_of_images
from dabs_rq.data.readers.hub_dataset import hub_dataset
from dabs_rq.data.readers.own_source import own_source
from dabs_rq.data.readers.parquet_rows import parquet_rows
from dabs_rq.data.readers.rows import Columns
from dabs_rq.data.requests import Request
from dabs_rq.errors import DabsRqError, DataError, MissingDataError, OptionError
from dabs_rq.run.compose import load_protocol
from dabs_rq.spec import Binary, Grid, Input, Multiclass, Multilabel, Regression, Series, Target, Tokens

IMAGE = Grid(name="image", height=8, width=8, channels=3, patch=4)
SPECTROGRAM = Grid(name="spectrogram", height=16, width=16, channels=1, patch=8, dtype="float16")
SERIES = Series(name="series", length=3, channels=2, segment=1)
TEXT = Tokens(name="text", length=12, vocabulary=30_522, pad=0, tokenizer="bert-base-uncased")
SOURCE = own_source("mine")
Load = Callable[[Request], Examples]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "data" / "mine").mkdir(parents=True)
    return tmp_path / "data"


def read(load: Load, root: Path, split: str, *inputs: Input, prepare: Any = lambda column: column) -> Examples:
    protocol = load_protocol("corrected")
    return load(Request(root=root, split=split, inputs=inputs, protocol=protocol, prepare=prepare))


def picture(file: Path, value: int = 0) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((10, 12, 3), value, np.uint8)).save(file)
    return file


def write(root: Path, name: str, text: str) -> Path:
    file = root / "mine" / name
    file.write_text(text, encoding="utf-8")
    return file


def table(root: Path, name: str, **columns: Any) -> Path:
    file = root / "mine" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table(columns), file)
    return file


# ---- folders of pictures -------------------------------------------------------------------------------------------


def folders(root: Path, **counts: int) -> None:
    """{"train/cat": 3}: three pictures, of which each has a colour of its own."""
    for place, count in counts.items():
        for number in range(count):
            picture(root / "mine" / place.replace("__", "/") / f"{number}.png", 10 * number + len(place))


def test_a_folder_per_split_and_class(root: Path) -> None:
    folders(root, train__cat=3, train__dog=2, val__cat=1, val__dog=2)
    (root / "mine" / "train" / "cat" / ".DS_Store").write_text("")
    load = folder_of_images(SOURCE, Multiclass(2), folders={"train": "train", "test": "val"})
    train, test = (read(load, root, split, IMAGE) for split in ("train", "test"))
    assert train.ids.to_pylist() == [*(f"train/cat/{n}.png" for n in range(3)), "train/dog/0.png", "train/dog/1.png"]
    assert train.targets is not None and train.targets.tolist() == [0, 0, 0, 1, 1]
    assert test.targets is not None and test.targets.tolist() == [0, 1, 1]
    assert train.inputs[0].take(np.array([1, 4])).shape == (2, 3, 8, 8)
    assert (train.inputs[0].take(np.array([1]))[0] == 10 + len("train__cat")).all()
    swapped = folder_of_images(SOURCE, Binary(), folders={"train": "train", "test": "val"}, classes=("dog", "cat"))
    assert read(swapped, root, "train", IMAGE).targets.tolist() == [1, 1, 1, 0, 0]  # type: ignore[union-attr]
    assert pickle.loads(pickle.dumps(load)).func is load.func  # type: ignore[attr-defined]


def test_one_folder_is_divided_by_a_seed(root: Path) -> None:
    folders(root, cat=10, dog=5)
    load = folder_of_images(SOURCE, Multiclass(2), test_share=0.4, seed=1)
    train, test = (read(load, root, split, IMAGE) for split in ("train", "test"))
    assert np.bincount(test.targets).tolist() == [4, 2]  # type: ignore[arg-type]
    assert not set(train.ids.to_pylist()) & set(test.ids.to_pylist()) and len(train) + len(test) == 15
    other = read(folder_of_images(SOURCE, Multiclass(2), test_share=0.4, seed=2), root, "test", IMAGE)
    assert other.ids.to_pylist() != test.ids.to_pylist()


def test_pictures_without_classes_are_a_source_to_pretrain_on(root: Path) -> None:
    folders(root, a__b=6, c=4)
    load = folder_of_images(SOURCE)
    train, validation = (read(load, root, split, IMAGE) for split in ("train", "validation"))
    assert train.targets is None and (len(train), len(validation)) == (8, 2)
    assert sorted(train.ids.to_pylist() + validation.ids.to_pylist())[0] == "a/b/0.png"


def test_names_of_folders_can_be_numbers_or_sets_of_labels(root: Path) -> None:
    folders(root, **{"1.5": 2, "-2": 3})
    assert sorted(set(read(folder_of_images(SOURCE, Regression()), root, "train", IMAGE).targets.tolist())) == [-2, 1.5]  # type: ignore[union-attr]
    shutil.rmtree(root / "mine")
    folders(root, **{"cat+dog": 3, "dog": 2})
    pets = read(folder_of_images(SOURCE, Multilabel(("cat", "dog"))), root, "train", IMAGE)
    assert pets.targets is not None and {tuple(each) for each in pets.targets.tolist()} == {(1, 1), (0, 1)}


def linked(place: Path) -> None:
    (place.parent / "elsewhere").mkdir()
    place.symlink_to(place.parent / "elsewhere")


def test_classes_and_pictures_may_be_links(root: Path) -> None:
    folders(root, cat=2)
    picture(root / "elsewhere" / "0.png", 99)
    (root / "mine" / "dog").symlink_to(root / "elsewhere")
    (root / "mine" / "cat" / "9.png").symlink_to(root / "elsewhere" / "0.png")
    both = [read(folder_of_images(SOURCE, Multiclass(2)), root, split, IMAGE) for split in ("train", "test")]
    names = sorted(name for each in both for name in each.ids.to_pylist())
    assert names == ["cat/0.png", "cat/1.png", "cat/9.png", "dog/0.png"]


BAD_FOLDERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "an empty class": (lambda top: (top / "train/cow").mkdir(), r"train/cow: it holds no picture"),
    "a class only in test": (lambda top: picture(top / "test/cow/0.png"), r"test/cow/0\.png: unknown label 'cow'"),
    "no picture": (lambda top: (top / "train/cat/0.txt").write_text(""), r"train/cat/0\.txt: not a picture"),
    "a file among classes": (lambda top: (top / "train/a.png").write_text(""), r"train/a\.png: expected only folders"),
    "a link inside a class": (lambda top: linked(top / "train/cat/more"), r"train/cat/more: a link to a folder"),
    "a broken link": (lambda top: (top / "test/cat/9.png").symlink_to("nowhere"), r"test/cat/9\.png: no such file"),
    "a pipe": (lambda top: os.mkfifo(top / "test/cat/9.png"), r"test/cat/9\.png: expected a file, found a pipe"),
    "a space": (
        lambda top: picture(top / "test/cat /0.png"),
        r"'test/cat /0\.png' is not UTF-8, or begins or ends with",
    ),
    "odd bytes": (
        lambda top: (top / "test/cat/0.png").rename(os.fsdecode(os.fsencode(top) + b"/test/cat/\xff.png")),
        r"'test/cat/.udcff\.png' is not UTF-8",
    ),
    "no folder": (lambda top: shutil.rmtree(top / "test"), r"test: no such folder"),
    "no classes": (lambda top: [shutil.rmtree(top / "test" / name) for name in ("cat", "dog")], "holds no folder"),
}


@pytest.mark.parametrize("what", BAD_FOLDERS)
def test_what_is_wrong_with_a_folder_is_named(what: str, root: Path) -> None:
    folders(root, train__cat=2, train__dog=2, test__cat=1, test__dog=1)
    damage, problem = BAD_FOLDERS[what]
    damage(root / "mine")
    load = folder_of_images(SOURCE, Multiclass(2), folders={"train": "train", "test": "test"}, classes=("cat", "dog"))
    with pytest.raises(DataError, match=problem):
        read(load, root, "test", IMAGE)


def test_a_picture_that_is_damaged_is_named_when_it_is_decoded(root: Path) -> None:
    folders(root, cat=3, dog=3)
    for file in (root / "mine").glob("*/0.png"):
        file.write_bytes(b"no picture")
    load = folder_of_images(SOURCE, Multiclass(2), test_share=0.1)
    both = [read(load, root, split, IMAGE) for split in ("train", "test")]
    with pytest.raises(DataError, match=r"mine/(cat|dog)/0\.png: damaged or not a picture"):
        for each in both:
            each.inputs[0].take(np.arange(len(each)))


# ---- csv -----------------------------------------------------------------------------------------------------------

NUMBERS = Numbers(*"abcdef")
HEADER = "a,b,c,d,e,f,y\n"


def of_numbers(target: Target | None, label: str | None = "y", **more: Any) -> Columns:
    return Columns({"series": NUMBERS}, target, label, **more)


def lines(*labels: object, start: int = 0) -> str:
    return HEADER + "".join(
        ",".join(map(str, range(start + row, start + row + 6))) + f",{label}\n" for row, label in enumerate(labels)
    )


def test_numbers_of_a_series_time_first(root: Path) -> None:
    write(root, "train.csv", lines("x", "y", "x"))
    write(root, "test.csv", lines("y", start=50))
    load = csv_rows(SOURCE, {"train": "train.csv", "test": "test.csv"}, of_numbers(Multiclass(2)))
    train, test = (read(load, root, split, SERIES) for split in ("train", "test"))
    assert train.ids.to_pylist() == ["train/0", "train/1", "train/2"] and test.ids.to_pylist() == ["test/0"]
    assert train.inputs[0].take(np.array([2, 0])).tolist() == [
        [[2, 3], [4, 5], [6, 7]],
        [[0, 1], [2, 3], [4, 5]],
    ]
    assert train.targets is not None and train.targets.tolist() == [0, 1, 0] and train.targets.dtype == np.int64
    assert test.inputs[0].take(np.array([0])).dtype == np.float32
    key = train.key
    assert read(load, root, "train", SERIES).key == key
    write(root, "train.csv", lines("x", "y", "x").replace("0,1,2", "9,1,2"))
    assert read(load, root, "train", SERIES).key != key


@pytest.mark.parametrize(
    ("target", "cells", "expected"),
    [
        (Multiclass(3), ("b", "c", "a", "b"), [1, 2, 0, 1]),
        (Multiclass(3), ("10", "9", "2", "10"), [2, 1, 0, 2]),
        (Binary(), ("1", "0", "0", "1"), [1, 0, 0, 1]),
        (Binary(), ("Yes", "no", "NO", "yes"), [1, 0, 0, 1]),
        (Binary(), ("True", "False", "true", "false"), [1, 0, 1, 0]),
        (Regression(), ("1e-3", "-2", " 3.5", "0"), [0.001, -2, 3.5, 0]),
        (Multilabel(("a", "b")), ("a|b", "", "b", "a"), [[1, 1], [0, 0], [0, 1], [1, 0]]),
    ],
)
def test_every_kind_of_target(root: Path, target: Target, cells: tuple[str, ...], expected: list[Any]) -> None:
    write(root, "train.csv", lines(*cells))
    load = csv_rows(SOURCE, {"train": "train.csv"}, of_numbers(target))
    assert read(load, root, "train", SERIES).targets.tolist() == expected  # type: ignore[union-attr]


def test_a_column_for_each_label(root: Path) -> None:
    write(root, "all.tsv", "a\tb\tc\td\te\tf\tx\tz\n" + "1\t2\t3\t4\t5\t6\t0\t1\n" + "1\t2\t3\t4\t5\t6\t1\tfalse\n")
    load = csv_rows(SOURCE, {"train": "all.tsv"}, of_numbers(Multilabel(("x", "z")), None), delimiter="\t")
    assert read(load, root, "train", SERIES).targets.tolist() == [[0, 1], [1, 0]]  # type: ignore[union-attr]


BAD_CSV: list[tuple[Target, Sequence[object], str]] = [
    (Multiclass(2), ("x", "x", "z", "y"), r"train\.csv:4: unknown label 'z'"),
    (Multiclass(2), ("x", "x"), r"class 'y' has no example in split 'train'"),
    (Multiclass(2), ("x", ""), r"train\.csv:3: no label in column y"),
    (Regression(), (1, "nan"), r"train\.csv:3: 'nan' in column y is not a finite number"),
    (Regression(), ("one",), r"train\.csv:2: 'one' in column y is not a finite number"),
    (Regression(), ("2021_05",), r"train\.csv:2: '2021_05' in column y is not a finite number"),
    (Regression(), ("",), r"train\.csv:2: no value in column y"),
    (Multilabel(("x", "z")), ("x|z", "x|y"), r"train\.csv:3: unknown label 'y'"),
    (Multilabel(("x", "z")), ("x", "x"), r"label 'z' has no example in split 'train'"),
]


@pytest.mark.parametrize(("target", "cells", "problem"), BAD_CSV)
def test_a_bad_label_is_named_with_its_line(root: Path, target: Target, cells: Sequence[object], problem: str) -> None:
    write(root, "train.csv", lines(*cells))
    more = {"classes": ("x", "y")} if isinstance(target, Multiclass) else {}
    with pytest.raises(DataError, match=problem):
        read(csv_rows(SOURCE, {"train": "train.csv"}, of_numbers(target, **more)), root, "train", SERIES)


def test_found_classes_are_checked_against_the_target_and_the_training_split(root: Path) -> None:
    write(root, "train.csv", lines("x", "y"))
    write(root, "test.csv", lines("x", "z"))
    files = {"train": "train.csv", "test": "test.csv"}
    with pytest.raises(DataError, match=r"column y holds 2 classes \(x, y\), and the target is Multiclass\(3\)"):
        read(csv_rows(SOURCE, files, of_numbers(Multiclass(3))), root, "train", SERIES)
    with pytest.raises(DataError, match=r"test\.csv:3: label 'z' is only in split 'test'"):
        read(csv_rows(SOURCE, files, of_numbers(Multiclass(3))), root, "test", SERIES)
    with pytest.raises(DataError, match=r"column y holds x, y; name them with classes=\(no, yes\)"):
        read(csv_rows(SOURCE, files, of_numbers(Binary())), root, "train", SERIES)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (HEADER.replace(",f", ""), r"train\.csv:1: expected columns a, b, .*; f missing"),
        (HEADER, r"train\.csv: it has no row below the header"),
        (HEADER + "1,2,3,4,5,six,x\n", r"train\.csv:2: 'six', not a finite number, in column f"),
        (HEADER + "1,2,3,4,5,6,x\n\n1,2,3,4,5,,x\n", r"train\.csv:4: no number in column f"),
        (HEADER + "1,2,3,4,5,1_0,x\n", r"train\.csv:2: '1_0', not a finite number, in column f"),
        (HEADER + "1,2,3,4,5,inf,x\n", r"train\.csv:2: .*inf.*, not a finite number, in column f"),
        (HEADER + "1,2,3,4,5,6\n", r"train\.csv: not a csv table"),
    ],
)
def test_a_bad_csv_file_is_named_with_its_line(root: Path, text: str, problem: str) -> None:
    write(root, "train.csv", text)
    with pytest.raises(DataError, match=problem):
        read(csv_rows(SOURCE, {"train": "train.csv"}, of_numbers(None, None)), root, "train", SERIES)


def test_lines_are_counted_through_quoted_cells(root: Path) -> None:
    write(root, "train.csv", 'text,a,b,c,d,e,f,y\n"two\nlines",1,2,3,4,5,6,x\n\n"a ""q""",1,2,3,4,5,6,\n')
    with pytest.raises(DataError, match=r"train\.csv:5: no label in column y"):
        read(csv_rows(SOURCE, {"train": "train.csv"}, of_numbers(Multiclass(1))), root, "train", SERIES)


def test_a_column_that_nobody_reads_may_hold_any_bytes(root: Path) -> None:
    (root / "mine" / "train.csv").write_bytes(b"note,a,b,c,d,e,f,y\n\xe9,1,2,3,4,5,6,x\n\xe9,1,2,3,4,5,6,\n")
    with pytest.raises(DataError, match=r"train\.csv:3: no label in column y"):
        read(csv_rows(SOURCE, {"train": "train.csv"}, of_numbers(Multiclass(1))), root, "train", SERIES)


def test_a_column_divides_the_rows(root: Path) -> None:
    write(root, "all.csv", HEADER.strip() + ",fold\n" + "".join(f"1,2,3,4,5,6,{y},{s}\n" for y, s in [
        ("x", "train"), ("y", "test"), ("y", "train"), ("x", "held"),
    ]))  # fmt: skip
    load = csv_rows(SOURCE, "all.csv", of_numbers(Multiclass(2), split="fold"))
    assert read(load, root, "test", SERIES).targets.tolist() == [1]  # type: ignore[union-attr]
    assert len(read(load, root, "train", SERIES)) == 2 and len(read(load, root, "held", SERIES)) == 1
    with pytest.raises(DataError, match=r"all\.csv: no split 'validation'; there are held, test, train"):
        read(load, root, "validation", SERIES)


def test_groups_stay_together(root: Path) -> None:
    rows = [(f"p{number // 3}", "xy"[number % 2]) for number in range(30)]
    write(root, "all.csv", HEADER.strip() + ",p\n" + "".join(f"1,2,3,4,5,6,{y},{p}\n" for p, y in rows))
    load = csv_rows(SOURCE, "all.csv", of_numbers(Multiclass(2), group="p"))
    train, test = (read(load, root, split, SERIES) for split in ("train", "test"))
    assert len(test) == 6 and len(train) == 24
    assert {rows[int(each.split("/")[1])][0] for each in train.ids.to_pylist()}.isdisjoint(
        rows[int(each.split("/")[1])][0] for each in test.ids.to_pylist()
    )
    assert train.groups is not None and len(np.unique(train.groups)) == 8
    write(root, "a.csv", HEADER.strip() + ",p\n1,2,3,4,5,6,x,one\n1,2,3,4,5,6,y,two\n")
    write(root, "b.csv", HEADER.strip() + ",p\n1,2,3,4,5,6,x,two\n")
    both = csv_rows(SOURCE, {"train": "a.csv", "test": "b.csv"}, of_numbers(Multiclass(2), group="p"))
    with pytest.raises(DataError, match=r"b\.csv:2: group 'two' of column p is in split 'test' and in 'train'"):
        read(both, root, "train", SERIES)


def test_paths_of_pictures(root: Path) -> None:
    for name in ("a", "b"):
        picture(root / "mine" / "pictures" / f"{name}.jpg", 200)
    text = "path,age,name\npictures/a.jpg,31,one\npictures/b.jpg,29.5,two\n"
    write(root, "train.csv", text)
    columns = Columns({"image": Picture("path")}, Regression(), "age")
    load = csv_rows(SOURCE, {"train": "train.csv"}, columns)
    examples = read(load, root, "train", IMAGE)
    assert examples.ids.to_pylist() == ["pictures/a.jpg", "pictures/b.jpg"]
    assert examples.targets is not None and examples.targets.tolist() == [31, 29.5]
    named = csv_rows(SOURCE, {"train": "train.csv"}, dataclasses.replace(columns, ids="name"))
    assert read(named, root, "train", IMAGE).ids.to_pylist() == ["one", "two"]
    write(root, "test.csv", text)
    both = csv_rows(SOURCE, {"train": "train.csv", "test": "test.csv"}, columns)
    with pytest.raises(DataError, match=r"test\.csv:2: id 'pictures/a\.jpg' of column path is in split 'test' and in"):
        read(both, root, "train", IMAGE)
    for bad, problem in (
        ("/etc/passwd", r"train\.csv:3: path '/etc/passwd' leads out of .*mine; expected one relative to it"),
        ("../mine/pictures/a.jpg", r"train\.csv:3: path .* leads out of"),
        ("pictures/c.jpg", r"train\.csv:3: .*pictures/c\.jpg: no such file"),
        ("pictures", r"train\.csv:3: .*pictures: expected a file, found a folder"),
        ("x" * 5000, r"train\.csv:3: .*mine/xxx"),
        ("pictures/a.jpg", r"train\.csv:3: pictures/a\.jpg in column path is listed already: .*train\.csv:2"),
        ("", r"train\.csv:3: no value in column path"),
    ):
        write(root, "train.csv", text.replace("pictures/b.jpg", bad))
        with pytest.raises(DataError, match=problem):
            read(load, root, "train", IMAGE)


def test_a_prepared_column_is_made_again_when_a_file_changes(root: Path, tmp_path: Path) -> None:
    picture(root / "mine" / "a.png", 100)
    write(root, "train.csv", "path,y\na.png,1\n")
    load = csv_rows(SOURCE, {"train": "train.csv"}, Columns({"image": Picture()}, Regression(), "y"))
    store = Store(tmp_path / "prepared", policy="always")
    values = []
    for value in (100, 100, 200):
        if value == 200:
            os.utime(picture(root / "mine" / "a.png", value), ns=(1, 1))
        examples = read(load, root, "train", IMAGE).prepared(store.prepare)
        values.append((examples.key, int(examples.inputs[0].take(np.array([0])).max())))
    assert values[0] == values[1] and [value for _, value in values] == [100, 100, 200]
    assert values[2][0] != values[0][0]


def wave(file: Any, format: str | None = None) -> None:
    soundfile.write(file, 0.1 * np.sin(np.arange(4000) / 9), 8000, format=format)


def test_recordings(root: Path) -> None:
    wave(root / "mine" / "a.wav")
    write(root, "train.csv", "clip,y\na.wav,1\n")
    columns = Columns({"spectrogram": Recording("clip", mean=-30, std=10)}, Regression(), "y")
    (decoded,) = read(csv_rows(SOURCE, {"train": "train.csv"}, columns), root, "train", SPECTROGRAM).inputs
    values = decoded.take(np.array([0]))
    assert values.shape == (1, 1, 16, 16) and values.dtype == np.float16 and np.ptp(values) > 0
    buffer = io.BytesIO()
    wave(buffer, "WAV")
    table(root, "train.parquet", clip=pa.array([{"bytes": buffer.getvalue(), "path": "a.wav"}]), y=[1.0])
    examples = read(parquet_rows(SOURCE, {"train": "train.parquet"}, columns), root, "train", SPECTROGRAM)
    assert np.array_equal(examples.inputs[0].take(np.array([0])), values) and examples.ids.to_pylist() == ["train/0"]


@pytest.fixture
def tokenized(root: Path, miniature: Callable[[str], Path]) -> Path:
    shutil.copytree(miniature("text") / "text" / "tokenizers", root / "text" / "tokenizers")
    return root


def test_texts_and_pairs_of_them_are_the_same_from_csv_and_parquet(tokenized: Path) -> None:
    texts, others = ["a red house", "two\nlines of it"], ["yes", "no"]
    write(tokenized, "all.csv", 'title,body,y\na red house,yes,1\n"two\nlines of it",no,0\n')
    table(tokenized, "all.parquet", title=texts, body=others, y=[1, 0])
    for cells in (Text("title"), Text("title", "body")):
        columns = Columns({"text": cells}, Binary(), "y")
        of_csv = read(csv_rows(SOURCE, {"train": "all.csv"}, columns), tokenized, "train", TEXT)
        of_table = read(parquet_rows(SOURCE, {"train": "all.parquet"}, columns), tokenized, "train", TEXT)
        ids = [each.inputs[0].take(np.array([0, 1])) for each in (of_csv, of_table)]
        assert ids[0].shape == (2, 12) and np.array_equal(*ids)
        assert np.array_equal(of_csv.targets, of_table.targets)  # type: ignore[arg-type]
        assert pickle.loads(pickle.dumps(of_table.inputs[0])).key == of_table.inputs[0].key
    write(tokenized, "all.csv", "title,body,y\na,b,1\n ,b,0\n")
    with pytest.raises(DataError, match=r"all\.csv:3: no text in column title"):
        read(csv_rows(SOURCE, {"train": "all.csv"}, columns), tokenized, "train", TEXT)
    table(tokenized, "all.parquet", title=["a", ""], body=others, y=[1, 0])
    with pytest.raises(DataError, match=r"all\.parquet, row 1: no text in column title or body"):
        read(parquet_rows(SOURCE, {"train": "all.parquet"}, columns), tokenized, "train", TEXT)


# ---- Parquet and the hub ---------------------------------------------------------------------------------------------


def png(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((9, 9, 3), value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def test_lists_of_numbers_and_several_files(root: Path) -> None:
    for part, start in ((0, 0.0), (1, 10.0)):
        table(root, f"{part}.parquet", x=[[start + n for n in range(6)]] * 2, y=[0, 1])
    load = parquet_rows(SOURCE, ("0.parquet", "1.parquet"), Columns({"series": Numbers("x")}, Binary(), "y"))
    examples = [read(load, root, split, SERIES) for split in ("train", "test")]
    starts = np.concatenate([each.inputs[0].take(np.arange(len(each)))[:, 0, 0] for each in examples])
    assert sorted(starts.tolist()) == [0, 0, 10, 10] and len(examples[1]) == 2
    for x, problem in (
        ([[1.0] * 6, [1.0] * 5], r"0\.parquet, row 1: 5 numbers in column x; expected 6"),
        ([[1.0] * 5, [1.0] * 5], r"5 numbers in a row; input 'series' takes 3 x 2"),
        ([[1.0] * 6, [1.0] * 5 + [np.nan]], r"0\.parquet, row 1: nan, not a finite number, in column x"),
        ([[1.0] * 6, [1.0] * 5 + [None]], r"0\.parquet, row 1: no number in column x"),
        ([[1.0] * 6, None], r"0\.parquet, row 1: 0 numbers in column x"),
    ):
        table(root, "0.parquet", x=x, y=[0, 1])
        with pytest.raises(DataError, match=problem):
            read(parquet_rows(SOURCE, {"train": "0.parquet"}, Columns({"series": Numbers("x")})), root, "train", SERIES)


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        (["a", None], "row 1: no label in column y"),
        ([1.0, float("nan")], "row 1: no label in column y"),
        (pa.array([b"a", b"b"], pa.large_binary()), "column y holds large_binary; text or a number expected"),
        (pa.array([b"a", b"b"], pa.binary(1)), r"column y holds fixed_size_binary\[1\]; text or a number expected"),
    ],
)
def test_labels_that_are_none(root: Path, labels: Any, problem: str) -> None:
    table(root, "0.parquet", x=[[1.0] * 6] * 2, y=labels)
    with pytest.raises(DataError, match=problem):
        load = parquet_rows(SOURCE, {"train": "0.parquet"}, Columns({"series": Numbers("x")}, Multiclass(2), "y"))
        read(load, root, "train", SERIES)


@pytest.mark.parametrize(
    ("spec", "values", "legal"),
    [
        (Tokens(name="x", length=2, vocabulary=4), [0, 3], True),
        (Tokens(name="x", length=2, vocabulary=4), [0, 4], False),
        (Tokens(name="x", length=2, vocabulary=4), [-1, 0], False),
        (Tokens(name="x", length=2, vocabulary=4), [0.5, 0], False),
        (Grid(name="x", height=1, width=2, channels=1, patch=1), [0, 255], True),
        (Grid(name="x", height=1, width=2, channels=1, patch=1), [0, 256], False),
        (Grid(name="x", height=1, width=2, channels=1, patch=1, dtype="float32"), [0.25, -9], True),
        (Grid(name="x", height=1, width=2, channels=1, patch=1, dtype="float16"), [1e6, 0], False),
    ],
)
def test_numbers_fit_their_input(root: Path, spec: Input, values: list[float], legal: bool) -> None:
    table(root, "t.parquet", x=[values])
    load = parquet_rows(SOURCE, {"train": "t.parquet"}, Columns({"x": Numbers("x")}))
    if legal:
        array = read(load, root, "train", spec).inputs[0].take(np.array([0]))[0]
        assert array.shape == spec.shape and array.dtype == spec.dtype and array.ravel().tolist() == values
    else:
        with pytest.raises(DataError, match=r"t\.parquet, row 0: a number that does not fit input 'x'; expected"):
            read(load, root, "train", spec)


@pytest.mark.parametrize("nested", [True, False])
def test_a_dataset_in_the_layout_of_the_hub(root: Path, nested: bool) -> None:
    source = own_source("mine", hub="somebody/pictures")
    cells = [{"bytes": png(value), "path": None} if nested else png(value) for value in (10, 20, 30)]
    table(root, "default/train-00000-of-00001.parquet", image=cells, label=[0, 1, 2])
    table(root, "default/test.parquet", image=cells[:1], label=[2])
    columns = Columns({"image": Picture("image")}, Multiclass(3), "label")
    load = hub_dataset(source, "default", {"train": "train", "test": "test"}, columns)
    train, test = (read(load, root, split, IMAGE) for split in ("train", "test"))
    assert train.inputs[0].take(np.arange(3))[:, 0, 0, 0].tolist() == [10, 20, 30]
    assert test.targets is not None and test.targets.tolist() == [2]
    key = train.key
    table(root, "default/train-00000-of-00001.parquet", image=[b"no", b"", None][:3], label=[0, 1, 2])
    damaged = read(load, root, "train", IMAGE)
    assert damaged.key != key
    with pytest.raises(DataError, match=r"parquet, row 0: damaged or not a picture"):
        damaged.inputs[0].take(np.array([0]))
    with pytest.raises(DataError, match=r"parquet, row 2: column image holds no bytes of a file"):
        damaged.inputs[0].take(np.array([2]))


def test_a_dataset_that_the_hub_does_not_deliver(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = own_source("mine", hub="somebody/pictures")
    load = hub_dataset(source, "default", "train", Columns({"image": Picture("image")}))
    with pytest.raises(MissingDataError, match=r"(?s)mine is not under .*on the hub \(somebody/pictures, default\)"):
        read(load, root, "train", IMAGE)
    with pytest.raises(OptionError, match=r"source 'mine' must say which dataset of the hub it is"):
        hub_dataset(SOURCE, "default", "train", Columns({"image": Picture("image")}))


def test_a_dataset_of_the_hub_is_read_from_the_librarys_cache(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    made = root / "elsewhere.parquet"
    parquet.write_table(pa.table({"x": [[float(n)] * 6 for n in range(10)], "y": [0, 1] * 5}), made)
    asked = []

    def load_dataset(name: str, config: str, split: str) -> Any:
        asked.append((name, config, split))
        return datasets.Dataset.from_parquet(str(made))

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    source = own_source("mine", hub="somebody/numbers")
    load = hub_dataset(source, "small", "all", Columns({"series": Numbers("x")}, Binary(), "y"))
    train, test = (read(load, root, split, SERIES) for split in ("train", "test"))
    assert (len(train), len(test)) == (8, 2) and set(asked) == {("somebody/numbers", "small", "all")}


# ---- declarations ----------------------------------------------------------------------------------------------------

WRONG: list[tuple[Callable[[], object], str]] = [
    (lambda: Columns({}), "inputs must name at least one input"),
    (lambda: of_numbers(None, "y"), "label='y' needs target="),
    (lambda: of_numbers(Binary(), None), "label= must name the column of the Binary target"),
    (lambda: of_numbers(Regression(), classes=("a",)), r"classes= is for Multiclass and Binary targets; .* Regression"),
    (lambda: of_numbers(Multiclass(3), classes=("a", "b")), "classes= must name the target's 3 classes"),
    (lambda: of_numbers(Multiclass(2), classes=("a", "a")), "classes= must name the target's 2 classes"),
    (lambda: of_numbers(None, None, test_share=1.0), "test_share is a part between 0 and 1; got 1.0"),
    (lambda: of_numbers(Multilabel(("a",)), separator=""), "separator= is the text between labels"),
    (lambda: csv_rows(SOURCE, "a.csv", of_numbers(None, None), ", "), "delimiter= is one character between cells"),
    (lambda: Numbers(), "Numbers must name at least one column"),
]


@pytest.mark.parametrize(("declare", "problem"), WRONG)
def test_a_declaration_that_says_too_little_or_too_much(declare: Callable[[], object], problem: str) -> None:
    with pytest.raises(OptionError, match=problem):
        declare()


@pytest.mark.parametrize(
    ("inputs", "spec", "problem"),
    [
        ({"serie": NUMBERS}, SERIES, "unknown input 'serie'. Did you mean 'series'?"),
        ({"series": Picture("a")}, SERIES, "input 'series' is a Series .*; a Picture needs a Grid of 3 channels"),
        ({"series": Text("a")}, SERIES, "a Text needs Tokens with a tokenizer"),
        ({"image": Recording("a")}, IMAGE, "a Recording needs a Grid of 1 channel and dtype float16"),
    ],
)
def test_cells_that_do_not_fit_the_domains_inputs(
    root: Path, inputs: Mapping[str, Any], spec: Input, problem: str
) -> None:
    write(root, "train.csv", lines("x"))
    with pytest.raises(OptionError, match=problem):
        read(csv_rows(SOURCE, {"train": "train.csv"}, Columns(inputs)), root, "train", spec)
    with pytest.raises(OptionError, match="inputs says nothing of image"):
        read(csv_rows(SOURCE, {"train": "train.csv"}, Columns({"series": NUMBERS})), root, "train", SERIES, IMAGE)


def test_a_source_that_is_missing_says_where_it_belongs(root: Path) -> None:
    source = own_source("mine", needs=("train.csv",))
    with pytest.raises(MissingDataError, match=r"mine is not under .*: missing .*mine/train\.csv"):
        read(csv_rows(source, {"train": "train.csv"}, of_numbers(None, None)), root, "train", SERIES)


# ---- the seeded split ------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(
    strata=st.lists(st.sampled_from("abc"), min_size=1, max_size=60),
    share=st.floats(0.05, 0.95),
    seed=st.integers(0, 9),
    grouped=st.booleans(),
)
def test_a_split_depends_on_names_and_seed_alone(strata: list[str], share: float, seed: int, grouped: bool) -> None:
    ids = [f"x{number}" for number in range(len(strata))]
    groups = [f"g{number // 3}" for number in range(len(strata))] if grouped else None
    held_out = divide(ids, strata, groups, share, seed)
    order = np.random.default_rng(0).permutation(len(ids))
    again = divide(
        [ids[n] for n in order],
        [strata[n] for n in order],
        None if groups is None else [groups[n] for n in order],
        share,
        seed,
    )
    assert np.array_equal(again, held_out[order])
    of_strata = np.array(strata)
    for name in set(strata):
        assert not held_out[of_strata == name].all()
        if groups is None:
            count = (of_strata == name).sum()
            assert held_out[of_strata == name].sum() == min(max(round(share * count), 1), count - 1)
    if groups is not None:
        assert all(len({held_out[n] for n in range(len(ids)) if groups[n] == group}) == 1 for group in set(groups))


@settings(max_examples=40)
@given(st.lists(st.text(max_size=6), min_size=1, max_size=8), st.integers(0, 7))
def test_any_csv_is_read_or_refused_by_an_error_of_ours(tmp_path_factory: Any, cells: list[str], cut: int) -> None:
    root = tmp_path_factory.mktemp("fuzz")
    (root / "mine").mkdir()
    text = (HEADER + ",".join(cells) + "\n" + "1,2,3,4,5,6,x\n").encode("utf-8", "surrogatepass")
    (root / "mine" / "train.csv").write_bytes(text[: len(text) - cut])
    load = csv_rows(SOURCE, {"train": "train.csv"}, of_numbers(Multiclass(2)))
    try:
        examples = read(load, root, "train", SERIES)
    except DabsRqError as error:
        assert "train.csv" in str(error)
    else:
        assert np.isfinite(examples.inputs[0].take(np.arange(len(examples)))).all()
