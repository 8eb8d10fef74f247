"""The multilingual domain: what the stream of mC4 and the PAWS-X loader give, and that the miniature can be learned."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from tokenizers import Tokenizer

from dabs_rq import checkpoint, registry
from dabs_rq.data.batches import training_batches
from dabs_rq.data.examples import Examples
from dabs_rq.data.streams import Stream
from dabs_rq.domain import Task
from dabs_rq.domains.multilingual import mc4
from dabs_rq.errors import ResourceError
from dabs_rq.pretrain.pretrain import pretrain
from dabs_rq.run import Run
from tests import quick

DOMAIN = registry.domain("multilingual")
TASKS = {task.name: task for task in DOMAIN.tasks}
LANGUAGES = ("en", "fr", "de", "zh", "es", "ja", "ko")
TOKENIZER = Path("text/tokenizers/xlm-roberta-base/tokenizer.json")
MC4, PAWS = Path("text/mc4"), Path("text/paws-x")
START, PAD, END = 0, 1, 2


@pytest.fixture
def root(miniature: Callable[[str], Path]) -> Path:
    return miniature("multilingual")


@pytest.fixture
def load(root: Path, read: Callable[..., Examples]) -> Callable[..., Examples]:
    """load(task name, split, **options of read): from the miniature."""
    return lambda name, split, **options: read(TASKS[name].load, root, "multilingual", split, **options)


@pytest.fixture
def texts(tmp_path: Path, miniature: Callable[[str], Path]) -> Callable[..., Path]:
    """texts(train={language: number of rows}, ...): a data root with texts such as "fr 17" in one file per split and
    language, in row groups of 10."""

    def write(**splits: dict[str, int]) -> Path:
        top = tmp_path / "data"
        (top / TOKENIZER).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(miniature("multilingual") / TOKENIZER, top / TOKENIZER)
        for split, rows in splits.items():
            for language, count in rows.items():
                put(top / MC4 / language / f"{split}.parquet", [f"{language} {row}" for row in range(count)])
        return top

    return write


@pytest.fixture
def stream(read: Callable[..., Any]) -> Callable[..., Stream]:
    return lambda top, split="train", **options: read(mc4.load, top, "multilingual", split, **options)


def put(file: Path, column: list[str | None], name: str = "text") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    table = {"url": ["made up"] * len(column), name: pa.array(column, pa.string())}
    pq.write_table(pa.table(table), file, row_group_size=10)


def evenly(rows: int, **others: int) -> dict[str, int]:
    return dict.fromkeys(LANGUAGES, rows) | others


def batches(
    one: Stream, count: int, size: int = 8, seed: int = 0, start: int = 0
) -> list[tuple[np.ndarray, list[str]]]:
    return [(inputs[0], ids) for inputs, ids in islice(one.batches(size, seed, start), count)]


def same(a: list[tuple[np.ndarray, list[str]]], b: list[tuple[np.ndarray, list[str]]]) -> bool:
    return len(a) == len(b) and all(x[1] == y[1] and np.array_equal(x[0], y[0]) for x, y in zip(a, b, strict=True))


def ids(examples: Examples) -> list[str]:
    return examples.ids.to_pylist()


# ---- the domain ----------------------------------------------------------------------------------------------------


def test_the_tasks_are_those_of_the_table_in_its_order() -> None:
    assert [(task.name, task.row, task.target.outputs, task.metric) for task in DOMAIN.tasks] == [
        ("paws_en", "PAWS-X EN", 1, "accuracy"),
        ("paws_fr", "PAWS-X FR", 1, "accuracy"),
        ("paws_es", "PAWS-X ES", 1, "accuracy"),
        ("paws_de", "PAWS-X DE", 1, "accuracy"),
        ("paws_zh", "PAWS-X ZH", 1, "accuracy"),
        ("paws_ja", "PAWS-X JP", 1, "accuracy"),
        ("paws_ko", "PAWS-X KO", 1, "accuracy"),
    ]
    assert {(input.length, input.vocabulary, input.pad) for (input,) in DOMAIN.inputs.values()} == {  # type: ignore[union-attr]
        (32, 250_002, PAD),
        (64, 250_002, PAD),
        (128, 250_002, PAD),
    }


def test_importing_the_domain_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'datasets', 'pandas', 'scipy', 'transformers', 'tokenizers'}"
    code = f"import sys, domains.multilingual; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# ---- mC4: order ----------------------------------------------------------------------------------------------------


def test_the_languages_take_turns_until_the_first_ends(texts: Any, stream: Any) -> None:
    one = stream(texts(train=evenly(25, zh=12)), protocol="published")
    (shard,) = one.shards
    assert shard.length == 7 * 12 and (one.block, one.repeat) == (1, 4)
    expected = [(f"{language}/train.parquet:{row}", f"{language} {row}") for row in range(12) for language in LANGUAGES]
    assert list(shard.read(0)) == expected
    for start in (1, 6, 7, 38, 70, 83, 84, 90):
        assert list(shard.read(start)) == expected[start:]


def test_a_shard_is_an_eighth_of_every_language(texts: Any, stream: Any) -> None:
    counts = evenly(83, de=24, ko=31)
    one = stream(texts(train=counts))
    assert len(one.shards) == 8 and one.block * len(one.shards) == 10_000 and one.repeat == 1
    read = [list(shard.read(0)) for shard in one.shards]
    assert [len(part) for part in read] == [shard.length for shard in one.shards] == [21] * 8
    assert len({name for part in read for name, _ in part}) == sum(map(len, read))
    for number, part in enumerate(read):
        assert [text.split()[0] for _, text in part] == list(LANGUAGES) * 3
        for language, count in counts.items():
            rows = [int(text.split()[1]) for _, text in part if text.startswith(language)]
            first = count * number // 8
            assert rows == list(range(first, first + 3))
            assert rows[-1] < count * (number + 1) // 8
    assert {text for part in read for _, text in part if text.startswith("de")} == {f"de {row}" for row in range(24)}


@pytest.mark.parametrize("start", [0, 5, 6, 7, 20])
def test_any_number_can_be_the_first_of_a_shard(start: int, texts: Any, stream: Any) -> None:
    for shard in stream(texts(train=evenly(83, de=24))).shards:
        assert list(shard.read(start)) == list(shard.read(0))[start:]


def test_files_and_row_groups_of_any_size_are_one_language(texts: Any, stream: Any) -> None:
    top = texts(train=evenly(100))
    before = [[text for _, text in shard.read(5)] for shard in stream(top).shards]
    (top / MC4 / "es" / "train.parquet").unlink()
    for part, (low, high) in enumerate([(0, 3), (3, 3), (3, 36), (36, 37), (37, 100)]):
        put(top / MC4 / "es" / f"train-0000{part}-of-00005.parquet", [f"es {row}" for row in range(low, high)])
    after = stream(top)
    assert [[text for _, text in shard.read(5)] for shard in after.shards] == before
    names = [[name for name, _ in shard.read(0) if name.startswith("es")] for shard in after.shards]
    assert names[2][-2:] == ["es/train-00002-of-00005.parquet:32", "es/train-00003-of-00005.parquet:0"]
    assert names[3][0] == "es/train-00004-of-00005.parquet:0"


def test_batch_k_comes_from_shard_k_mod_8_and_goes_on_from_anywhere(texts: Any, stream: Any) -> None:
    one = stream(texts(train=evenly(83, de=24)))
    found = batches(one, 48, size=5)
    owners = [{name for name, _ in shard.read(0)} for shard in one.shards]
    assert all(set(names) <= owners[number % 8] for number, (_, names) in enumerate(found))
    for start in (1, 9, 30):
        assert same(batches(one, 48 - start, size=5, start=start), found[start:])
    assert not same(batches(one, 48, size=5, seed=1), found)
    # 21 examples of a shard: every one once in the first epoch, in an order that is not the file's.
    of_first = [name for number, (_, names) in enumerate(found) if number % 8 == 0 for name in names][:21]
    assert set(of_first) == owners[0] and of_first != sorted(of_first)


def test_the_published_protocol_gives_every_batch_four_times(texts: Any, stream: Any) -> None:
    found = batches(stream(texts(train=evenly(24)), protocol="published"), 24)
    for number in range(0, 24, 4):
        assert all(same([found[number]], [again]) for again in found[number : number + 4])
    in_order = [name for number in range(0, 24, 4) for name in found[number][1]]
    assert in_order == [f"{language}/train.parquet:{row}" for row in range(7) for language in LANGUAGES][:48]


@pytest.mark.parametrize("protocol", ["corrected", "published"])
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_loader_workers_do_not_change_the_order(
    workers: int, protocol: str, root: Path, stream: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    one = stream(root, protocol=protocol)
    expected = batches(one, 14, size=16, seed=3)
    order = training_batches(one, size=16, seed=3)
    loaded = [batch[0][0] for batch in islice(order.loader(start=3, workers=workers), 11)]
    assert all(torch.equal(a, torch.from_numpy(b)) for a, (b, _) in zip(loaded, expected[3:], strict=True))
    inputs, names = order.batch(7)
    assert np.array_equal(inputs[0], expected[7][0]) and names == expected[7][1]


def test_a_stream_can_be_sent_to_another_process(root: Path, stream: Any) -> None:
    one = stream(root)
    again = pickle.loads(pickle.dumps(one))
    assert same(batches(again, 9), batches(one, 9)) and again.key == one.key


def test_a_sample_is_the_first_of_every_shard(root: Path, stream: Any) -> None:
    few = stream(root).sample(80)
    names = [name for _, found in batches(few, 16, size=5) for name in found]
    firsts = {name for shard in stream(root).shards for name, _ in islice(shard.read(0), 10)}
    assert len(names) == 80 and set(names) == firsts
    assert sum(min(shard.length, 256) for shard in stream(root).shards) == 2048


def test_the_key_follows_the_files_the_order_and_the_tokenizer(texts: Any, stream: Any) -> None:
    top = texts(train=evenly(16), validation=evenly(16))
    keys = {
        stream(top).key,
        stream(top, "validation").key,
        stream(top, mc4_order="repeated").key,
        stream(top, scale="paper").key,
    }
    assert len(keys) == 4 and stream(top).key in keys
    put(top / MC4 / "ko" / "train.parquet", [f"ko {row}" for row in range(17)])
    assert stream(top).key not in keys


# ---- mC4: content --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scale", "length"), [("mini", 32), ("paper", 128)])
def test_texts_become_ids_and_empty_ones_stay(scale: str, length: int, texts: Any, stream: Any) -> None:
    top = texts(train=evenly(20))
    long = "Marlo 1950 " * 200
    put(top / MC4 / "en" / "train.parquet", ["", "Tessa", long, *map(str, range(20))])
    array, names = batches(stream(top, protocol="published", scale=scale), 1, size=21)[0]
    assert array.shape == (21, length) and array.dtype == np.int32
    rows = dict(zip(names, array, strict=True))
    assert rows["en/train.parquet:0"].tolist() == [START, END] + [PAD] * (length - 2)
    word = Tokenizer.from_file(str(top / TOKENIZER)).token_to_id("▁Tessa")
    assert rows["en/train.parquet:1"].tolist() == [START, word, END] + [PAD] * (length - 3)
    cut = rows["en/train.parquet:2"]
    assert PAD not in cut and cut[0] == START and cut[-1] == END


def test_reading_holds_little(texts: Any, stream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """210,000 rows in row groups of 10,000 (10 MB each): one shard at work holds a few pages of each language."""
    top = texts(train={})
    made = pa.array([np.random.default_rng(row).bytes(8).hex() * 64 for row in range(1000)] * 30)
    for language in LANGUAGES:
        (top / MC4 / language).mkdir(parents=True)
        file = top / MC4 / language / "train.parquet"
        if language == "en":
            # Without dictionary and compression the bytes on disk are those of the texts.
            pq.write_table(
                pa.table({"text": made}), file, row_group_size=10_000, use_dictionary=False, compression="none"
            )
        else:
            os.link(top / MC4 / "en" / "train.parquet", file)
    pulled = []
    iter_batches = pq.ParquetFile.iter_batches

    def counted(self: pq.ParquetFile, *args: Any, **options: Any) -> Iterator[pa.RecordBatch]:
        for batch in iter_batches(self, *args, **options):
            pulled.append(len(batch))
            yield batch

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", counted)
    shard = stream(top).shards[5]  # rows 18,750 to 22,500: the end of the second row group, a part of the third
    before = pa.total_allocated_bytes()
    reader = shard.read(7 * 2000)  # from row 20,750 on
    held = 0
    for number, (name, _) in enumerate(islice(reader, 2100)):
        assert name == f"{LANGUAGES[number % 7]}/train.parquet:{20_750 + number // 7}"
        held = max(held, pa.total_allocated_bytes() - before)
    assert held < 7 * 4e6
    # The row groups before are skipped; of the third no more than what lies before the last row, and a batch.
    assert sum(pulled) <= 7 * (20_750 - 20_000 + 300 + mc4.ROWS_AT_ONCE)


# ---- mC4: from the hub ---------------------------------------------------------------------------------------------


class Hub:
    """What `datasets.load_dataset` gives of a hub where every language has `files` files of `rows` texts."""

    def __init__(self, files: int, rows: int, column: str = "text") -> None:
        self.files, self.rows, self.column = files, rows, column
        self.asked: list[tuple[str, str, str]] = []

    def __call__(self, path: str, name: str, split: str, streaming: bool) -> Any:
        import datasets

        assert streaming
        self.asked.append((path, name, split))
        given = {
            "files": [f"{name} {number}" for number in range(self.files)],
            "rows": self.rows,
            "column": self.column,
        }
        return datasets.IterableDataset.from_generator(_texts_of, gen_kwargs=given)


def _texts_of(files: list[str], rows: int, column: str) -> Iterator[dict[str, Any]]:
    for file in files:
        for row in range(rows):
            yield {"timestamp": "2020", column: f"{file} {row}"}


@pytest.fixture
def hub(texts: Any, stream: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Hub, Stream]]:
    """hub(files, rows, **options of read): a made-up hub, and the stream from it."""

    def make(files: int, rows: int, **options: Any) -> tuple[Hub, Stream]:
        import datasets

        made = Hub(files, rows)
        monkeypatch.setattr(datasets, "load_dataset", made)
        return made, stream(texts(), made_up=False, **options)

    return make


def test_without_files_every_eighth_file_of_the_hub_is_a_shard(hub: Any) -> None:
    asked, one = hub(files=17, rows=5)
    configs = ["en-multi", "fr", "de", "zh", "es", "ja", "ko"]
    assert asked.asked == [("allenai/c4", config, "train") for config in configs]
    assert [shard.length for shard in one.shards] == [None] * 8
    for number, shard in enumerate(one.shards):
        files = range(number, 17, 8)
        expected = [f"{config} {file} {row}" for file in files for row in range(5) for config in configs]
        assert [text for _, text in shard.read(0)] == expected
        for start in (3, 7, 38):
            assert [text for _, text in shard.read(start)] == expected[start:]
        assert next(shard.read(8))[0] == f"fr/train/{number}-of-8:1"
    assert len(asked.asked) == 7  # listing a repository takes long
    found = batches(one, 20)
    assert same(batches(one, 17, start=3), found[3:])


def test_with_fewer_files_than_shards_every_eighth_text_is_taken(hub: Any) -> None:
    _, one = hub(files=2, rows=20, split="validation")
    read = [[text for _, text in shard.read(0)] for shard in one.shards]
    assert len({text for part in read for text in part}) == sum(map(len, read)) == 7 * 40
    assert [text for text in read[3] if text.startswith("ko")] == [f"ko {n // 20} {n % 20}" for n in range(3, 40, 8)]
    assert [text for _, text in one.shards[3].read(9)] == read[3][9:]


def test_the_published_order_of_the_hub_is_that_of_its_files(hub: Any) -> None:
    _, one = hub(files=3, rows=4, protocol="published")
    (shard,) = one.shards
    assert [text for _, text in shard.read(0) if text.startswith("de")] == [
        f"de {f} {r}" for f in range(3) for r in range(4)
    ]
    assert (one.block, one.repeat) == (1, 4)


@pytest.mark.parametrize("workers", [1, 2])
def test_loader_workers_do_not_change_the_order_of_the_hub(
    workers: int, hub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`datasets` would give every worker other files of each stream."""
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    _, one = hub(files=24, rows=20)
    order = training_batches(one.sample(800), size=16, seed=0)
    loaded = [batch[0][0].numpy() for batch in islice(order.loader(start=1, workers=workers), 15)]
    expected = batches(one.sample(800), 16, size=16)
    assert all(np.array_equal(a, b) for a, (b, _) in zip(loaded, expected[1:], strict=True))


# ---- pretraining on it ---------------------------------------------------------------------------------------------

SMALL = (
    *("encoder.width=16", "encoder.depth=1", "encoder.heads=2", "encoder.head_width=8", "encoder.mlp_width=16"),
    *("pretrain.batch_size=8", "trainer.progress=false", "trainer.accelerator=cpu"),
    *("pretrain.steps=6", "pretrain.checkpoint_every=4", "trainer.log_every=1"),
)


@pytest.mark.parametrize("words", [("loader.workers=2",), ("protocol=published", "pretrain.max_examples=40")])
def test_a_resumed_run_goes_on_exactly_where_the_stream_was(
    words: tuple[str, ...], root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(name: str) -> Run:
        place = f"runs={tmp_path / name}"
        return Run.of(["domain=multilingual", "method=emix", f"data={root}", place, *SMALL, *words])

    expected = checkpoint.describe(pretrain(run("undisturbed"), 0))
    disturbed = run("disturbed")
    with monkeypatch.context() as patched:
        from dabs_rq.methods.emix import EMix

        real, calls = EMix.loss, []

        def fails_late(self: EMix, *rest: Any) -> Any:
            calls.append(1)
            if len(calls) > 5:
                raise MemoryError("out of memory")
            return real(self, *rest)

        patched.setattr(EMix, "loss", fails_late)
        with pytest.raises(ResourceError, match="out of memory"):
            pretrain(disturbed, 0)
    assert not disturbed.checkpoint_file(0).exists()
    found = checkpoint.describe(pretrain(disturbed, 0))
    assert found["weights"] == expected["weights"] and found["about"]["examples"] == expected["about"]["examples"]
    assert list(disturbed.checkpoint_folder(0).glob("log/from-step-4/metrics.csv"))


# ---- PAWS-X --------------------------------------------------------------------------------------------------------


def rows_of(root: Path, language: str, split: str) -> list[dict[str, Any]]:
    return pq.read_table(root / PAWS / language / f"{split}.parquet").to_pylist()


@pytest.mark.parametrize("protocol", ["corrected", "published"])
@pytest.mark.parametrize("task", DOMAIN.tasks, ids=lambda task: task.name)
def test_every_split_is_its_file(task: Task, protocol: str, root: Path, load: Callable[..., Examples]) -> None:
    language = task.name.removeprefix("paws_")
    for split, file, length in (("train", "train", 1050), ("test", "validation", 320), ("official_test", "test", 320)):
        examples, rows = load(task.name, split, protocol=protocol), rows_of(root, language, file)
        assert len(examples) == length and ids(examples) == [f"{file}/{row['id']}" for row in rows]
        assert len(set(ids(examples))) == length
        assert examples.targets.dtype == np.int64 and examples.targets.tolist() == [row["label"] for row in rows]
        assert 0.42 < examples.targets.mean() < 0.46
        assert load(task.name, split, protocol=protocol).key == examples.key
    assert task.extra_splits == ("official_test",)
    assert load(task.name, "test").key != load(task.name, "official_test").key


@pytest.mark.parametrize(("scale", "length"), [("mini", 32), ("paper", 128)])
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_pair_is_two_sentences_with_two_separators_between(
    language: str, scale: str, length: int, root: Path, load: Callable[..., Examples]
) -> None:
    train = load(f"paws_{language}", "train", scale=scale)
    rows = rows_of(root, language, "train")
    tokenizer = Tokenizer.from_file(str(root / TOKENIZER))
    found = pickle.loads(pickle.dumps(train.inputs[0])).take(np.arange(len(rows)))
    assert found.shape == (len(rows), length) and found.dtype == np.int32
    whole = 0
    for row, given in zip(rows, found, strict=True):
        first, second = (tokenizer.encode(row[f"sentence{n}"], add_special_tokens=False).ids for n in (1, 2))
        # A lost second sentence leaves a single one, as in the library that DABS calls.
        expected = [START, *first, END, END, *second, END] if row["sentence2"] else [START, *first, END]
        if len(expected) <= length:
            whole += 1
            assert given.tolist() == expected + [PAD] * (length - len(expected))
        else:
            assert PAD not in given and (given == END).sum() == 3
    assert whole > 0.75 * len(rows)


def test_lost_sentences_and_placeholders_are_kept(root: Path, load: Callable[..., Examples]) -> None:
    for language in LANGUAGES:
        empty = [not (row["sentence1"] and row["sentence2"]) for row in rows_of(root, language, "train")]
        instead = ["NS" in (row["sentence1"], row["sentence2"]) for row in rows_of(root, language, "validation")]
        assert (any(empty), any(instead)) == (language != "en",) * 2
        assert len(load(f"paws_{language}", "train")) == len(empty)


def test_several_files_are_read_in_order_of_name(root: Path, tmp_path: Path, read: Callable[..., Examples]) -> None:
    top = shutil.copytree(root, tmp_path / "data")
    file = top / PAWS / "zh" / "train.parquet"
    whole = pq.read_table(file)
    before = read(TASKS["paws_zh"].load, root, "multilingual", "train")
    file.unlink()
    for part, (low, high) in enumerate([(0, 400), (400, 1050)]):
        pq.write_table(whole.slice(low, high - low), file.with_name(f"train-0000{part}-of-00002.parquet"))
    after = read(TASKS["paws_zh"].load, top, "multilingual", "train")
    rows = np.array([0, 399, 400, 1049])
    assert ids(after) == ids(before) and np.array_equal(after.inputs[0].take(rows), before.inputs[0].take(rows))


def test_without_files_the_pairs_are_those_of_the_hub(
    root: Path, texts: Any, read: Callable[..., Examples], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    from_parquet = datasets.Dataset.from_parquet

    def hub(path: str, name: str, split: str) -> datasets.Dataset:
        assert (path, name) == ("google-research-datasets/paws-x", "ko")
        return from_parquet(str(root / PAWS / name / f"{split}.parquet"), cache_dir=str(tmp_path / "cache"))

    monkeypatch.setattr(datasets, "load_dataset", hub)
    for split in ("train", "test", "official_test"):
        found = read(TASKS["paws_ko"].load, texts(), "multilingual", split, made_up=False)
        local = read(TASKS["paws_ko"].load, root, "multilingual", split)
        assert ids(found) == ids(local) and np.array_equal(found.targets, local.targets)
        assert np.array_equal(found.inputs[0].take(np.arange(9)), local.inputs[0].take(np.arange(9)))


# ---- the miniature -------------------------------------------------------------------------------------------------


def test_the_miniature_of_mc4_is_seven_languages_in_the_native_layout(root: Path, stream: Any) -> None:
    for language in LANGUAGES:
        with pq.ParquetFile(root / MC4 / language / "train.parquet") as file:
            assert file.schema_arrow.names == ["text", "timestamp", "url"]
            assert (file.metadata.num_rows, file.metadata.num_row_groups) == (300, 2)
    assert sum(shard.length for shard in stream(root).shards) >= 2048
    assert all(shard.length > 0 for shard in stream(root, "validation").shards)


def test_the_languages_say_the_same_in_words_of_their_own(root: Path) -> None:
    pairs = {language: rows_of(root, language, "validation") for language in LANGUAGES}
    assert len({tuple(row["label"] for row in rows) for rows in pairs.values()}) == 1
    scripts = {"zh": "一鿿", "ja": "぀ヿ", "ko": "가힣"}
    for language, (low, high) in scripts.items():
        for row in pairs[language]:
            assert any(low <= letter <= high for letter in row["sentence1"]) or row["sentence1"] == "NS"
    years = [{text for text in row["sentence1"].replace(".", " ").split() if text.isdigit()} for row in pairs["en"]]
    for language in LANGUAGES:
        for said, row in zip(years, pairs[language], strict=True):
            assert row["sentence1"] == "NS" or all(year in row["sentence1"] for year in said)


@pytest.mark.parametrize("language", quick.others_slow(LANGUAGES, ["zh"]))
def test_the_miniature_can_be_learned_and_not_at_once(language: str, load: Callable[..., Examples]) -> None:
    """By what two sentences have in common; hardly by which words are in them."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train, test = (load(f"paws_{language}", split) for split in ("train", "test"))
    scores = {}
    for name, features in (("pair", in_common), ("words", counted)):
        x, z = ([features(row) for row in part.inputs[0].take(np.arange(len(part)))] for part in (train, test))
        model = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3 if name == "words" else 1, max_iter=1000))
        scores[name] = model.fit(x, train.targets).score(z, test.targets)
    majority = max(test.targets.mean(), 1 - test.targets.mean())
    assert majority + 0.08 < scores["pair"] < 0.88
    assert majority - 0.03 < scores["words"] < scores["pair"]


def in_common(row: np.ndarray) -> list[float]:
    first, *rest = np.split(row, np.flatnonzero(row == END))
    first, second = first[1:].tolist(), [one for part in rest for one in part.tolist() if one not in (END, PAD)]
    shared = sorted(set(first) & set(second))
    order = [(first.index(one), second.index(one)) for one in shared]
    agree = [(a - c) * (b - d) > 0 for a, b in order for c, d in order if a != c]
    pairs = set(pairwise(first)), set(pairwise(second))
    alike = len(shared) / max(1, len(set(first) | set(second)))
    chained = len(pairs[0] & pairs[1]) / max(1, len(pairs[0] | pairs[1]))
    moved = float(np.mean(agree)) if agree else 0.0
    return [alike, chained, alike**2, chained**2, alike * chained, moved, moved * alike, len(first), len(second)]


def counted(row: np.ndarray) -> np.ndarray:
    return np.bincount(row, minlength=4100).astype(float)
