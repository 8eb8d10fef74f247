"""The multilingual domain on missing, damaged and surprising files: errors name language, file and row."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dabs_rq import registry
from dabs_rq.data.batches import training_batches
from dabs_rq.data.examples import Examples
from dabs_rq.domains.multilingual import mc4, paws_x
from dabs_rq.errors import DataError, DataWarning, MissingDataError

DOMAIN = registry.domain("multilingual")
TASKS = {task.name: task for task in DOMAIN.tasks}
LANGUAGES = ("en", "fr", "de", "zh", "es", "ja", "ko")
MC4, PAWS = "text/mc4", "text/paws-x"


@pytest.fixture
def root(miniature: Callable[[str], Path], tmp_path: Path) -> Path:
    """A copy of the miniature, to be damaged."""
    return shutil.copytree(miniature("multilingual"), tmp_path / "data")


@pytest.fixture
def load(root: Path, read: Callable[..., Any]) -> Callable[..., Any]:
    """load("mc4" or a task's name, split, **options of read): from the copy."""

    def load(name: str, split: str = "train", **options: Any) -> Any:
        loader = TASKS[name].load if name in TASKS else mc4.load
        return read(loader, root, "multilingual", split, **options)

    return load


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], list[tuple[str, ...]]]:
    """hub(answer): `datasets.load_dataset` gives (or raises) `answer`. Returns what it was asked for."""

    def answering(answer: Any) -> list[tuple[str, ...]]:
        import datasets

        asked: list[tuple[str, ...]] = []

        def load_dataset(*args: str, **options: Any) -> Any:
            asked.append((*args, options["split"]))
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(datasets, "load_dataset", load_dataset)
        return asked

    return answering


def change(file: Path, column: str, change_values: Callable[[list[Any]], Any]) -> None:
    """Write a parquet file again with other values in one column."""
    table = pq.read_table(file)
    place = table.column_names.index(column)
    values = pa.array(change_values(table[column].to_pylist()))
    pq.write_table(table.set_column(place, column, values), file, row_group_size=150)


def put(row: int, value: Any) -> Callable[[list[Any]], list[Any]]:
    return lambda values: [*values[:row], value, *values[row + 1 :]]


def read_all(stream: Any) -> None:
    for shard in stream.shards:
        for _ in shard.read(0):
            pass


# ---- what is missing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("made_up", [True, False])
@pytest.mark.parametrize("lost", [("ja",), ("en", "zh", "ko")])
def test_mc4_without_some_languages_names_them_and_does_not_go_on_without(
    lost: tuple[str, ...], made_up: bool, root: Path, load: Any, hub: Any
) -> None:
    asked = hub(AssertionError("the hub was asked"))
    for language in lost:
        shutil.rmtree(root / MC4 / language)
    with pytest.raises(MissingDataError) as caught:
        load("mc4", made_up=made_up)
    text = str(caught.value)
    assert f"is missing in {', '.join(lost)}." in text
    assert all(str(root / MC4 / language / "train.parquet") in text for language in lost)
    assert all(line in text for line in mc4.SOURCE.layout.strip().splitlines())
    assert asked == []


def test_mc4_without_validation_files_still_pretrains(root: Path, load: Any, hub: Any) -> None:
    asked = hub(AssertionError("the hub was asked"))
    for language in LANGUAGES:
        (root / MC4 / language / "validation.parquet").unlink()
    read_all(load("mc4"))
    with pytest.raises(MissingDataError, match=r"split 'validation', is missing in en, fr, de, zh, es, ja, ko"):
        load("mc4", "validation", made_up=False)
    assert asked == []


@pytest.mark.parametrize("name", ["mc4", *TASKS])
def test_the_miniature_never_goes_to_the_hub(name: str, root: Path, load: Any, hub: Any) -> None:
    asked = hub(AssertionError("the hub was asked"))
    shutil.rmtree(root / MC4)
    shutil.rmtree(root / PAWS)
    with pytest.raises(MissingDataError, match="expected layout below"):
        load(name, made_up=True)
    assert asked == []


@pytest.mark.parametrize("name", ["mc4", "paws_fr"])
def test_a_hub_that_cannot_be_reached_tells_what_is_expected_on_disk(
    name: str, root: Path, load: Any, hub: Any
) -> None:
    shutil.rmtree(root / MC4)
    shutil.rmtree(root / PAWS)
    hub(ConnectionError("Couldn't reach the hub\nand more"))
    source = mc4.SOURCE if name == "mc4" else paws_x.SOURCE
    with pytest.raises(MissingDataError) as caught:
        load(name, made_up=False)
    text = str(caught.value)
    assert "Couldn't reach the hub" in text and "and more" not in text and str(source.hub) in text
    assert all(line in text for line in source.layout.strip().splitlines())
    pickle.loads(pickle.dumps(caught.value))


def test_a_language_of_paws_x_that_is_not_there_is_named(root: Path, load: Any) -> None:
    shutil.rmtree(root / PAWS / "de")
    with pytest.raises(MissingDataError, match=f"{root / PAWS / 'de' / 'train.parquet'}"):
        load("paws_de")
    assert len(load("paws_en")) == 1050


@pytest.mark.parametrize("made_up", [True, False])
def test_the_true_test_split_is_missing_where_only_the_others_are_there(
    made_up: bool, root: Path, load: Any, hub: Any
) -> None:
    asked = hub(AssertionError("the hub was asked"))
    (root / PAWS / "es" / "test.parquet").unlink()
    with pytest.raises(MissingDataError, match=r"es/test\.parquet"):
        load("paws_es", "official_test", made_up=made_up)
    (root / PAWS / "es" / "train.parquet").unlink()
    with pytest.raises(MissingDataError, match=r"es/test\.parquet"):
        load("paws_es", "official_test", made_up=made_up)
    assert len(load("paws_es", "test")) == 320
    assert asked == []


# ---- damaged and surprising files: mC4 -----------------------------------------------------------------------------


def test_files_that_are_no_tables_of_texts_are_named(root: Path, load: Any) -> None:
    file = root / MC4 / "fr" / "train.parquet"
    whole = file.read_bytes()
    for content in (b"", b"no parquet", whole[:1000]):
        file.write_bytes(content)
        with pytest.raises(DataError, match=f"{file}: damaged or not a parquet table"):
            load("mc4")
    pq.write_table(pa.table({"content": ["a"] * 20, "url": ["b"] * 20}), file)
    with pytest.raises(DataError, match=f"{file}: expected a column text, found content, url"):
        load("mc4")
    pq.write_table(pa.table({"text": [1] * 20}), file)
    with pytest.raises(DataError, match=f"{file}: column text holds int64, expected strings"):
        load("mc4")


def test_a_language_with_hardly_any_row_is_named(root: Path, load: Any) -> None:
    file = root / MC4 / "ko" / "train.parquet"
    pq.write_table(pa.table({"text": ["a"] * 7}), file)
    with pytest.raises(DataError, match=f"{file}: ko, split 'train', has only 7 rows; at least 8"):
        load("mc4")
    assert load("mc4", mc4_order="repeated").shards[0].length == 49
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), file)
    with pytest.raises(DataError, match=f"{file}: ko, split .train., has only 0 rows"):
        load("mc4", mc4_order="repeated")


@pytest.mark.parametrize("row", [0, 149, 150, 299])
@pytest.mark.parametrize("order", ["repeated", "shuffled"])
def test_a_row_without_text_is_named_when_it_is_reached(row: int, order: str, root: Path, load: Any) -> None:
    file = root / MC4 / "zh" / "train.parquet"
    change(file, "text", put(row, None))
    stream = load("mc4", mc4_order=order)
    with pytest.raises(DataError, match=f"{file}: row {row} holds no text"):
        read_all(stream)


@pytest.mark.parametrize("workers", [0, 1])
def test_pages_that_are_damaged_are_named_also_by_a_loader_worker(workers: int, root: Path, load: Any) -> None:
    file = root / MC4 / "es" / "train.parquet"
    content = bytearray(file.read_bytes())
    with pq.ParquetFile(file) as opened:
        column = opened.metadata.row_group(1).column(0)
    start = column.dictionary_page_offset or column.data_page_offset
    content[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    file.write_bytes(bytes(content))
    with pytest.raises(DataError, match=f"{file}: damaged after row"):
        for _ in training_batches(load("mc4", mc4_order="repeated"), 64, 0).loader(0, workers):
            pass


@pytest.mark.parametrize("values", ["dictionary", "large_string"])
def test_large_strings_are_read_and_a_dictionary_is_written_as_strings(values: str, root: Path, load: Any) -> None:
    before = list(load("mc4").shards[2].read(0))
    file = root / MC4 / "de" / "train.parquet"
    table = pq.read_table(file)
    texts = table["text"].dictionary_encode() if values == "dictionary" else table["text"].cast(pa.large_string())
    pq.write_table(table.set_column(0, "text", texts), file, store_schema=values == "large_string")
    assert list(load("mc4").shards[2].read(0)) == before


# ---- the hub's surprises -------------------------------------------------------------------------------------------


def _some(files: list[str]) -> Iterator[dict[str, Any]]:
    yield {"text": f"{files[0]} 0"}
    raise OSError("503 Server Error")


def test_a_hub_that_breaks_off_or_lacks_texts_is_named(root: Path, load: Any, hub: Any) -> None:
    import datasets

    shutil.rmtree(root / MC4)
    texts = datasets.Dataset.from_dict({"text": ["a", None] * 8})
    hub(texts.to_iterable_dataset(num_shards=8))
    with pytest.raises(DataError, match=r"allenai/c4 on the hub, en-multi/train/0-of-8:1: expected a text, found None"):
        read_all(load("mc4", made_up=False))
    hub(texts.rename_column("text", "content").to_iterable_dataset(num_shards=8))
    with pytest.raises(DataError, match=r"allenai/c4 on the hub, en-multi, split 'train': expected a column text"):
        read_all(load("mc4", made_up=False))
    hub(datasets.IterableDataset.from_generator(_some, gen_kwargs={"files": list("abcdefgh")}))
    with pytest.raises(
        DataError, match=r"allenai/c4 on the hub, en-multi, split 'train': .*503 Server Error.*run again"
    ):
        read_all(load("mc4", made_up=False))


# ---- damaged and surprising files: PAWS-X --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("label", put(7, 2), "row 7: label 2; 0 or 1"),
        ("label", put(319, -1), "row 319: label -1; 0 or 1"),
        ("label", put(7, None), "row 7: label None; 0 or 1"),
        ("label", lambda values: [str(value) for value in values], "column label holds string"),
        ("label", lambda values: [float(value) for value in values], "column label holds double"),
        ("id", put(5, 3), r"row 5: id 3 repeats that of an earlier pair \(.*row 2\)"),
        ("id", put(5, None), "row 5: no id"),
    ],
)
def test_a_bad_id_or_label_is_named(column: str, values: Any, message: str, root: Path, load: Any) -> None:
    file = root / PAWS / "fr" / "validation.parquet"
    change(file, column, values)
    with pytest.raises(DataError, match=f"{file}.*{message}"):
        load("paws_fr", "test")
    assert len(load("paws_en", "test")) == 320


def test_a_bad_row_of_several_files_is_named_by_its_own_file(root: Path, load: Any) -> None:
    whole = root / PAWS / "ko" / "train.parquet"
    change(whole, "label", put(402, 5))
    table = pq.read_table(whole)
    whole.unlink()
    for part, (low, high) in enumerate([(0, 400), (400, 1050)]):
        pq.write_table(table.slice(low, high - low), whole.with_name(f"train-0000{part}-of-00002.parquet"))
    with pytest.raises(DataError, match=r"train-00001-of-00002\.parquet.*row 2: label 5"):
        load("paws_ko")


def test_ids_that_are_words_are_taken_as_they_are(root: Path, load: Any) -> None:
    change(root / PAWS / "ja" / "test.parquet", "id", lambda values: [f"a{value}" for value in values])
    assert load("paws_ja", "official_test").ids[0].as_py() == "test/a1"


@pytest.mark.parametrize("prepare", ["never", "always"])
def test_a_sentence_that_is_no_text_is_named(prepare: str, root: Path, load: Any) -> None:
    file = root / PAWS / "zh" / "train.parquet"
    change(file, "sentence2", put(9, None))
    with pytest.raises(DataError, match=f"{file}.*row 9"):
        load("paws_zh").prepared(lambda column: column).inputs[0].take(np.arange(12))


def test_damaged_empty_and_other_tables_are_named(root: Path, load: Any) -> None:
    file = root / PAWS / "en" / "train.parquet"
    table = pq.read_table(file)
    pq.write_table(table.drop_columns(["sentence2"]), file)
    with pytest.raises(DataError, match=f"{file}: expected columns .*sentence2 missing"):
        load("paws_en")
    pq.write_table(table.slice(0, 0), file)
    with pytest.raises(DataError, match=f"{file}: damaged or not a parquet table"):
        load("paws_en")
    file.write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match=f"{file}: damaged or not a parquet table"):
        load("paws_en")


def test_another_number_of_pairs_than_published_is_said(root: Path, tmp_path: Path) -> None:
    from dabs_rq.run import Run

    run = Run.of(["domain=multilingual", f"data={root}", f"runs={tmp_path / 'runs'}"])
    for split, declared in (("train", "49,401"), ("test", "2,000"), ("official_test", "2,000")):
        with pytest.warns(DataWarning, match=f"PAWS-X, {split} examples: {declared} are declared"):
            run.splits.of_task(TASKS["paws_en"], split)
    assert isinstance(run.splits.of_task(TASKS["paws_en"], "test"), Examples)
