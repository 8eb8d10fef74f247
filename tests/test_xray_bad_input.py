"""The xray domain on damaged and incomplete files: errors name the file and, if it has lines, the line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dabs_rq.data.examples import Examples
from dabs_rq.errors import DataError, MissingDataError
from tests.test_xray import (
    CHEXPERT_HEADER,
    DOMAIN,
    LOADERS,
    SMALL,
    XRAY8_HEADER,
    chexpert_line,
    write_chexpert,
    write_xray8,
    xray8_line,
)

SOURCES = [task.source for task in DOMAIN.tasks]
CELLS = ",,1.0,,,0.0,-1.0,,,,1.0,,,"
GOOD_CHEXPERT = [chexpert_line(k, CELLS) for k in (1, 2, 3)]
GOOD_XRAY8 = [xray8_line(k, 0) for k in range(1, 21)]


@pytest.fixture
def load(tmp_path: Path, read: Callable[..., Examples]) -> Callable[..., Examples]:
    return lambda name, split="train", **options: read(LOADERS[name], tmp_path, "xray", split, **options)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_a_missing_source_tells_how_to_get_it(source: Any, tmp_path: Path, load: Callable[..., Examples]) -> None:
    with pytest.raises(MissingDataError) as caught:
        load(source.name)
    text = str(caught.value)
    assert str(tmp_path / source.folder / source.needs[0]) in text
    assert all(line in text for line in source.layout.strip().splitlines())
    assert source.url in text and (source.registration or "none needed") in text


def test_the_source_to_register_for_says_so() -> None:
    assert "research use agreement" in (DOMAIN.pretraining.source.registration or "")


def test_the_full_release_alone_is_told_from_nothing(tmp_path: Path, load: Callable[..., Examples]) -> None:
    full = tmp_path / DOMAIN.pretraining.source.folder / "CheXpert-v1.0"
    full.mkdir(parents=True)
    with pytest.raises(
        MissingDataError, match=f"found: {full}, the full-resolution release.*fetch CheXpert-v1.0-small"
    ):
        load("pretraining")


# ---- CheXpert ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "text", "message"),
    [
        (3, chexpert_line(2, ",,2.0,,,0.0,-1.0,,,,1.0,,,"), "Cardiomegaly is '2.0', expected 1"),
        (4, chexpert_line(3, ",,1.0,,,0.0,-1.0,,,,yes,,,"), "Pleural Effusion is 'yes', expected 1"),
        (2, chexpert_line(1, ",,1.0,,,nan,-1.0,,,,,,,"), "Edema is 'nan', expected 1"),
        (
            3,
            f"CheXpert-v1.0/train/patient00002/study1/view1_frontal.jpg,F,1,Frontal,AP,{CELLS}",
            "expected a path like",
        ),
        (3, f"CheXpert-v1.0-small/valid/patient00002/study1/view1_frontal.jpg,F,1,,,{CELLS}", "expected a path like"),
        (3, f"CheXpert-v1.0-small/train/patientx/study1/view1_frontal.jpg,F,1,,,{CELLS}", "expected a path like"),
        (4, GOOD_CHEXPERT[0], ".*patient00001/study1/view1_frontal.jpg is listed already: .*train.csv:2"),
    ],
)
def test_a_bad_line_of_chexpert_is_named(
    line: int, text: str, message: str, tmp_path: Path, load: Callable[..., Examples]
) -> None:
    lines = [*GOOD_CHEXPERT]
    lines[line - 2] = text
    write_chexpert(tmp_path, lines)
    with pytest.raises(DataError, match=f"{tmp_path / SMALL}/train.csv:{line}: {message}"):
        load("chexpert")


def test_lines_are_counted_across_blank_ones(tmp_path: Path, load: Callable[..., Examples]) -> None:
    write_chexpert(tmp_path, [GOOD_CHEXPERT[0], "", "", chexpert_line(2, ",,maybe,,,,,,,,,,,")])
    with pytest.raises(DataError, match=r"train\.csv:5: Cardiomegaly is 'maybe'"):
        load("chexpert")


@pytest.mark.parametrize("column", ["Path", "Edema", "Pleural Effusion"])
def test_a_column_that_chexpert_lacks_is_named(column: str, tmp_path: Path, load: Callable[..., Examples]) -> None:
    write_chexpert(tmp_path, GOOD_CHEXPERT, CHEXPERT_HEADER.replace(column, f"No {column}"))
    with pytest.raises(DataError, match=f"train.csv:1: expected columns Path, Atelectasis.*; {column} missing, found"):
        load("chexpert")


def test_a_table_that_is_none_is_named(tmp_path: Path, load: Callable[..., Examples]) -> None:
    file = write_chexpert(tmp_path, GOOD_CHEXPERT) / "CheXpert-v1.0-small/train.csv"
    file.write_text(f"{CHEXPERT_HEADER}\n{GOOD_CHEXPERT[0]}\na,b\n")
    with pytest.raises(DataError, match=f"{file}: not a csv table .*19 columns, got 2"):
        load("chexpert")
    file.write_text(f"{CHEXPERT_HEADER}\n")
    with pytest.raises(DataError, match=f"{file}: lists no picture"):
        load("chexpert")


def test_a_picture_that_chexpert_lists_and_that_is_not_there_is_named(
    tmp_path: Path, load: Callable[..., Examples]
) -> None:
    folder = write_chexpert(tmp_path, GOOD_CHEXPERT)
    picture = folder / "CheXpert-v1.0-small/train/patient00002/study1/view1_frontal.jpg"
    picture.unlink()
    with pytest.raises(DataError, match=f"train.csv:3: no such file {picture}"):
        load("chexpert")
    assert len(load("chexpert", "test")) == 1


# ---- ChestX-ray8 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "text", "message"),
    [
        (5, xray8_line(4, 0, "Mass|Efusion"), "unknown finding 'Efusion'. Did you mean 'Effusion'.*Pneumothorax"),
        (5, xray8_line(4, 0, "mass"), "unknown finding 'mass'. Did you mean 'Mass'"),
        (5, xray8_line(4, 0, ""), "unknown finding ''"),
        (5, xray8_line(4, 0).replace(",4,", ",4.5,"), "Patient ID is '4.5', expected a whole number"),
        (5, xray8_line(4, 0).replace(",4,", ",,"), "Patient ID is ''"),
        (5, xray8_line(4, 0) + ",1", "expected 11 cells, found 12"),
        (5, "00000004_000.png,Mass", "expected 11 cells, found 2: '00000004_000.png,Mass'"),
        (5, GOOD_XRAY8[0], "00000001_000.png is listed already: .*metadata.csv:2"),
    ],
)
@pytest.mark.parametrize("comma", ["", ","])
def test_a_bad_line_of_xray8_is_named(
    line: int, text: str, message: str, comma: str, tmp_path: Path, load: Callable[..., Examples]
) -> None:
    lines = [*GOOD_XRAY8]
    lines[line - 2] = text
    folder = write_xray8(tmp_path, lines, XRAY8_HEADER + comma)
    with pytest.raises(DataError, match=f"{folder}/metadata.csv:{line}: {message}"):
        load("xray8")


@pytest.mark.parametrize("column", ["Image Index", "Finding Labels", "Patient ID"])
def test_a_column_that_xray8_lacks_is_named(column: str, tmp_path: Path, load: Callable[..., Examples]) -> None:
    write_xray8(tmp_path, GOOD_XRAY8, XRAY8_HEADER.replace(column, "Something"))
    with pytest.raises(DataError, match=f"metadata.csv:1: expected columns .*; {column} missing, found .*Something"):
        load("xray8")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", ":1: expected columns"),
        (b"<!DOCTYPE html>\n<html>", ":1: expected columns"),  # what a download of the web page brings
        (XRAY8_HEADER.encode() + b"\n", ": lists no picture"),
        (XRAY8_HEADER.encode() + b"\n\xff\xfe\n", ": not a csv table"),
        (XRAY8_HEADER.encode() + b'\n"a', ": not a csv table"),
    ],
)
def test_a_table_of_xray8_that_is_none_is_named(
    content: bytes, message: str, tmp_path: Path, load: Callable[..., Examples]
) -> None:
    file = write_xray8(tmp_path, GOOD_XRAY8) / "metadata.csv"
    file.write_bytes(content)
    with pytest.raises(DataError, match=f"{file}{message}"):
        load("xray8")


def test_pictures_without_their_table_tell_its_names(tmp_path: Path, load: Callable[..., Examples]) -> None:
    folder = write_xray8(tmp_path, GOOD_XRAY8)
    (folder / "metadata.csv").unlink()
    with pytest.raises(MissingDataError) as caught:
        load("xray8")
    names = ("metadata.csv", "Data_Entry_2017.csv", "Data_Entry_2017_v2020.csv")
    assert str(folder / "metadata.csv") in str(caught.value)
    assert all(name in str(caught.value) for name in names)


@pytest.mark.parametrize("name", ["00000099_000.png", "images_001", "notes.txt"])
def test_what_lies_among_the_pictures_without_a_line_is_named(
    name: str, tmp_path: Path, load: Callable[..., Examples]
) -> None:
    folder = write_xray8(tmp_path, GOOD_XRAY8)
    (folder / "images" / name).mkdir()
    with pytest.raises(DataError, match=f"{folder}/images/{name}: has no line in metadata.csv .1 of 21 entries"):
        load("xray8")


def test_too_few_pictures_are_no_split(tmp_path: Path, load: Callable[..., Examples]) -> None:
    folder = write_xray8(tmp_path, [xray8_line(1, k) for k in range(12)])
    assert len(load("xray8", "test", xray8_split="image")) == 2
    with pytest.raises(DataError, match=f"{folder}/images: 12 pictures of 1 patients are too few .*by patient"):
        load("xray8")
    for picture in (folder / "images").iterdir():
        picture.unlink()
    with pytest.raises(DataError, match=f"{folder}/images: no picture in it"):
        load("xray8")


# ---- pictures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prepare", ["never", "always"])
@pytest.mark.parametrize("name", ["chexpert", "xray8"])
def test_a_truncated_picture_is_named(
    name: str, prepare: str, miniature: Callable[[str], Path], tmp_path: Path, load: Callable[..., Examples]
) -> None:
    write_chexpert(tmp_path, GOOD_CHEXPERT)
    write_xray8(tmp_path, GOOD_XRAY8)
    source = next(source for source in SOURCES if source.name == name)
    examples = load(name, prepare=prepare)
    file = tmp_path / source.folder / examples.ids[1].as_py()
    whole = next((miniature("xray") / source.folder).rglob(f"*{file.suffix}"))
    file.write_bytes(whole.read_bytes()[:-200])
    with pytest.raises(DataError, match=f"{re.escape(str(file))}: damaged or not a picture .*truncated"):
        examples.inputs[0].take(range(3))
