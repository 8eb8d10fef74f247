"""The text domain on missing, damaged and odd tables: errors name the file and, if it has rows, the row."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from dabs_rq import registry
from dabs_rq.data.examples import Examples
from dabs_rq.errors import DataError, DataWarning, MissingDataError

DOMAIN = registry.domain("text")
LOADERS = {"wikitext103": DOMAIN.pretraining.load} | {task.name: task.load for task in DOMAIN.tasks}
SOURCES = [DOMAIN.pretraining.source, *(task.source for task in DOMAIN.tasks)]
LINES = "text/wikitext/wikitext-103-v1"


@pytest.fixture
def data(miniature: Callable[[str], Path], tmp_path: Path) -> Path:
    """A copy of the miniature, to be damaged."""
    return shutil.copytree(miniature("text"), tmp_path / "data")


@pytest.fixture
def load(data: Path, read: Callable[..., Examples]) -> Callable[..., Examples]:
    return lambda name, split="train", **options: read(LOADERS[name], data, "text", split, **options)


def put(file: Path, column: str, row: int, value: Any) -> None:
    """Another value in one cell of a table."""
    rows = parquet.read_table(file)
    values = rows[column].to_pylist()
    values[row] = value
    number = rows.column_names.index(column)
    parquet.write_table(rows.set_column(number, column, pa.array(values, rows.schema.types[number])), file)


# ---- what is missing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("made_up", [True, False])
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_a_missing_source_tells_how_to_get_it(
    source: Any, made_up: bool, data: Path, load: Callable[..., Examples]
) -> None:
    """Offline, that is; the miniature is never filled up from the hub."""
    shutil.rmtree(data / source.folder)
    with pytest.raises(MissingDataError) as caught:
        load(source.name, made_up=made_up)
    text = str(caught.value)
    assert str(data / source.folder / source.needs[0].replace("*", "")) in text
    assert all(line in text for line in source.layout.strip().splitlines())
    assert source.url in text and "none needed" in text
    assert (f"on the hub ({source.hub}" in text) == (not made_up)


def test_only_what_a_split_needs_has_to_be_there(data: Path, load: Callable[..., Examples]) -> None:
    shutil.rmtree(data / "text/glue/mnli_matched")
    (data / LINES / "validation.parquet").unlink()
    assert len(load("mnli_matched")) == 1080 and len(load("wikitext103")) >= 2048
    with pytest.raises(MissingDataError, match="mnli_matched/validation"):
        load("mnli_matched", "test")
    with pytest.raises(MissingDataError, match=f"{LINES}/validation"):
        load("wikitext103", "validation")


def test_a_missing_part_is_named_and_parts_of_two_downloads_are_not_mixed(
    data: Path, load: Callable[..., Examples]
) -> None:
    folder = data / "text/glue/sst2"
    (folder / "train.parquet").rename(folder / "train-00001-of-00003.parquet")
    with pytest.raises(MissingDataError) as caught:
        load("sst2")
    missing = [str(folder / f"train-0000{number}-of-00003.parquet") for number in (0, 2)]
    assert all(name in str(caught.value) for name in missing)
    shutil.copy(folder / "train-00001-of-00003.parquet", folder / "train-00000-of-00001.parquet")
    with pytest.raises(MissingDataError, match="nothing else of it"):
        load("sst2")
    (folder / "train-00001-of-00003.parquet").unlink()
    assert len(load("sst2")) == 1080


# ---- what is damaged -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["wikitext103", "mrpc"])
@pytest.mark.parametrize("damage", ["truncated", "text", "empty"])
def test_a_file_that_is_no_parquet_table_is_named(
    name: str, damage: str, data: Path, load: Callable[..., Examples]
) -> None:
    file = data / (f"{LINES}/train.parquet" if name == "wikitext103" else "text/glue/mrpc/train.parquet")
    whole = file.read_bytes()
    file.write_bytes({"truncated": whole[: len(whole) // 2], "text": b"sentence1\tsentence2\n", "empty": b""}[damage])
    with pytest.raises(DataError, match=f"{file}: damaged or not a parquet table"):
        load(name)


def test_a_missing_column_is_named_with_those_that_are_there(data: Path, load: Callable[..., Examples]) -> None:
    file = data / "text/glue/qnli/train.parquet"
    rows = parquet.read_table(file)
    parquet.write_table(rows.rename_columns(["question", "context", "label", "idx"]), file)
    with pytest.raises(DataError, match=f"{file}: expected columns question, sentence, label; sentence missing, found"):
        load("qnli")
    parquet.write_table(rows.drop_columns(["label"]), file)
    with pytest.raises(DataError, match=f"{file}: expected columns .*; label missing, found question, sentence, idx"):
        load("qnli")


def test_a_column_of_another_type_is_named(data: Path, load: Callable[..., Examples]) -> None:
    file = data / "text/glue/cola/train.parquet"
    rows = parquet.read_table(file)
    parquet.write_table(rows.set_column(1, "label", rows["label"].cast(pa.string())), file)
    with pytest.raises(DataError, match=f"{file}: column label holds string; whole numbers expected"):
        load("cola")
    parquet.write_table(rows.set_column(0, "sentence", rows["idx"]), file)
    with pytest.raises(DataError, match=f"{file}: column sentence holds int32; text expected"):
        load("cola")
    file = data / "text/glue/stsb/train.parquet"
    rows = parquet.read_table(file)
    parquet.write_table(rows.set_column(2, "label", rows["idx"]), file)
    with pytest.raises(DataError, match=f"{file}: column label holds int32; real numbers expected"):
        load("stsb")


@pytest.mark.parametrize(
    ("name", "value", "highest"),
    [
        *[(name, -1, 1) for name in ("cola", "mrpc", "qnli", "qqp", "rte", "sst2", "wnli")],
        ("sst2", 2, 1),
        ("sst2", None, 1),
        ("mnli_matched", -1, 2),
        ("mnli_mismatched", 3, 2),
        ("stsb", -1.0, 5),
        ("stsb", 5.5, 5),
        ("stsb", float("nan"), 5),
    ],
)
def test_a_label_that_is_none_is_named(
    name: str, value: float | None, highest: int, data: Path, load: Callable[..., Examples]
) -> None:
    """-1 is what the hub's test splits have."""
    file = data / "text/glue" / name / "validation.parquet"
    put(file, "label", 17, value)
    with pytest.raises(DataError, match=f"{file}, row 17: label {value}; a number from 0 to {highest} expected"):
        load(name, "test")


def test_the_part_that_holds_a_bad_row_is_named(data: Path, load: Callable[..., Examples]) -> None:
    folder = data / "text/glue/rte"
    rows = parquet.read_table(folder / "train.parquet")
    (folder / "train.parquet").unlink()
    parts = [folder / f"train-{part:05d}-of-00002.parquet" for part in range(2)]
    parquet.write_table(rows.slice(0, 1000), parts[0])
    parquet.write_table(rows.slice(1000), parts[1])
    put(parts[1], "label", 5, -1)
    with pytest.raises(DataError, match=f"{parts[1]}, row 5: label -1"):
        load("rte")
    put(parts[1], "label", 5, 1)
    put(parts[1], "sentence2", 7, None)
    with pytest.raises(DataError, match=f"{parts[1]}, row 7: no value in column sentence2"):
        load("rte")


# ---- what is odd ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["corrected", "published"])
def test_rows_with_an_empty_text_are_left_out_and_counted(
    protocol: str, data: Path, load: Callable[..., Examples]
) -> None:
    before = load("qqp", protocol=protocol)
    file = data / "text/glue/qqp/train.parquet"
    put(file, "question1", 3, "")
    put(file, "question2", 3, "")
    put(file, "question2", 1079, "")
    with pytest.warns(
        DataWarning, match=f"{file}: 2 of 1,080 rows are left out, their question1 or question2 is empty"
    ):
        after = load("qqp", protocol=protocol)
    rows = np.setdiff1d(np.arange(1080), [3, 1079])
    assert after.ids.to_pylist() == [f"train/{row}" for row in rows]
    assert np.array_equal(after.targets, before.targets[rows])
    taken = [examples.inputs[0].take(np.arange(len(examples))) for examples in (before, after)]
    assert np.array_equal(taken[0][rows], taken[1])


def test_texts_of_blanks_and_of_unknown_characters_stay(data: Path, load: Callable[..., Examples]) -> None:
    file = data / "text/glue/sst2/train.parquet"
    before = load("sst2")
    put(file, "sentence", 0, " ")
    put(file, "sentence", 1, "\N{SNOWMAN}" * 3)
    put(file, "sentence", 2, "the\u0301 film\x00 is\n fresh " * 5_000)
    after = load("sst2")
    assert len(after) == len(before) and after.key != before.key
    blank, unknown, long = after.inputs[0].take(np.arange(3))
    start, end = blank[0], blank[1]
    assert not blank[2:].any() and (unknown[0], unknown[2]) == (start, end) and not unknown[3:].any()
    assert long[0] == start and long[-1] == end and (long != 0).all()


def test_a_table_without_text_is_named(data: Path, load: Callable[..., Examples]) -> None:
    file = data / f"{LINES}/train.parquet"
    parquet.write_table(pa.table({"text": pa.array(["", ""])}), file)
    with pytest.raises(DataError, match=f"{file}: no row has text in text"):
        load("wikitext103")
    file = data / "text/glue/wnli/train.parquet"
    parquet.write_table(parquet.read_table(file).slice(0, 0), file)
    with pytest.raises(DataError, match=f"{file}: "):
        load("wnli")


def test_counts_of_real_tables_are_compared_with_the_published_ones(data: Path) -> None:
    from dabs_rq.run import Run

    run = Run.of(["domain=text", f"data={data}"])
    rte = registry.task("text", "rte")
    with pytest.warns(DataWarning, match="GLUE RTE.*, train examples: 2,490 are declared, 1,080 were found"):
        run.splits.of_task(rte, "train")
    with pytest.raises(DataError, match="WikiText-103, validation examples: 2,461 are declared"):
        Run.of(["domain=text", f"data={data}", "loader.strict=true"]).splits.of_task(DOMAIN.pretraining, "validation")


def test_a_damaged_table_stops_its_own_tasks_only(data: Path, load: Callable[..., Examples]) -> None:
    (data / "text/glue/mnli/train.parquet").write_bytes(b"")
    for name in LOADERS:
        if name.startswith("mnli"):
            with pytest.raises(DataError, match="glue/mnli/train"):
                load(name)
        else:
            assert len(load(name)) > 600
