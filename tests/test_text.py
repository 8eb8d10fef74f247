"""The text domain on its miniature: what the loaders give, and that the miniature is worth learning from."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from dabs_rq import registry
from dabs_rq.data.examples import Examples
from dabs_rq.data.prepared import Store
from dabs_rq.data.readers import text
from dabs_rq.domain import Task

DOMAIN = registry.domain("text")
TASKS = {task.name: task for task in DOMAIN.tasks}
LINES = "text/wikitext/wikitext-103-v1"
FIELDS = {
    **dict.fromkeys(("cola", "sst2"), ("sentence",)),
    **dict.fromkeys(("mnli_matched", "mnli_mismatched"), ("premise", "hypothesis")),
    **dict.fromkeys(("mrpc", "rte", "stsb", "wnli"), ("sentence1", "sentence2")),
    "qnli": ("question", "sentence"),
    "qqp": ("question1", "question2"),
}


@pytest.fixture
def root(miniature: Callable[[str], Path]) -> Path:
    return miniature("text")


@pytest.fixture
def load(root: Path, read: Callable[..., Examples]) -> Callable[..., Examples]:
    """load(task name or "wikitext103", split, **options of read): from the miniature."""
    loaders = {"wikitext103": DOMAIN.pretraining.load} | {task.name: task.load for task in DOMAIN.tasks}
    return lambda name, split, **options: read(loaders[name], root, "text", split, **options)


@pytest.fixture
def decoded(root: Path) -> Callable[[np.ndarray], list[str]]:
    """Token ids as text, special tokens included but padding."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(root / "text/tokenizers/bert-base-uncased/tokenizer.json"))
    return lambda ids: [tokenizer.decode([i for i in row if i != 0], skip_special_tokens=False) for row in ids.tolist()]


def ids(examples: Examples) -> list[str]:
    return examples.ids.to_pylist()


def tokens(examples: Examples) -> np.ndarray:
    return examples.inputs[0].take(np.arange(len(examples)))


def table(root: Path, config: str, split: str) -> dict[str, list[Any]]:
    return parquet.read_table(root / "text/glue" / config / f"{split}.parquet").to_pydict()


# ---- every task ----------------------------------------------------------------------------------------------------


def test_the_tasks_are_those_of_the_table_in_its_order() -> None:
    rows = [(task.name, task.row, task.target.outputs, task.metric, *task.also) for task in DOMAIN.tasks]
    assert rows == [
        ("cola", "COLA", 1, "pearson", "matthews"),
        ("mnli_matched", "MNLI_Matched", 3, "accuracy"),
        ("mnli_mismatched", "MNLI_Mismatched", 3, "accuracy"),
        ("mrpc", "MRPC", 1, "accuracy"),
        ("qnli", "QNLI", 1, "accuracy"),
        ("qqp", "QQP", 1, "accuracy"),
        ("rte", "RTE", 1, "accuracy"),
        ("sst2", "SST2", 1, "accuracy"),
        ("stsb", "STSB", 1, "spearman", "pearson"),
        ("wnli", "WNLI", 1, "accuracy"),
    ]
    assert DOMAIN.batch_size == 128


@pytest.mark.parametrize("protocol", ["corrected", "published"])
@pytest.mark.parametrize("task", DOMAIN.tasks, ids=lambda task: task.name)
def test_a_task_is_the_rows_of_its_two_tables(
    task: Task, protocol: str, root: Path, load: Callable[..., Examples], decoded: Callable[..., list[str]]
) -> None:
    """The same rows in both protocols: what is tested is the hub's validation split."""
    configs = {"train": "mnli" if task.name.startswith("mnli") else task.name, "test": task.name}
    for split, name in {"train": "train", "test": "validation"}.items():
        examples, rows = load(task.name, split, protocol=protocol), table(root, configs[split], name)
        assert ids(examples) == [f"{name}/{row}" for row in rows["idx"]]
        assert examples.targets.dtype == (np.float64 if task.name == "stsb" else np.int64)
        assert np.array_equal(examples.targets, rows["label"]) and examples.groups is None
        taken = tokens(examples)
        assert taken.shape == (len(examples), 32) and taken.dtype == np.int32
        texts = [" [SEP] ".join(fields) for fields in zip(*(rows[one] for one in FIELDS[task.name]), strict=True)]
        whole = (taken == 0).any(1)
        assert whole.mean() > 0.4, "some pairs are longer than the input"
        for found, said in itertools.compress(zip(decoded(taken), texts, strict=True), whole):
            assert found.replace(" ", "") == f"[CLS]{said}[SEP]".replace(" ", "")


def test_both_mnli_tasks_see_the_same_training_examples(load: Callable[..., Examples]) -> None:
    matched, mismatched = (TASKS[f"mnli_{kind}"].name for kind in ("matched", "mismatched"))
    assert load(matched, "train").inputs_key == load(mismatched, "train").inputs_key
    assert load(matched, "test").inputs_key != load(mismatched, "test").inputs_key
    assert load("rte", "train").inputs_key != load("mrpc", "train").inputs_key


def test_wikitext_is_every_line_that_is_not_blank(
    root: Path, load: Callable[..., Examples], decoded: Callable[..., list[str]]
) -> None:
    for split in ("train", "validation"):
        lines = parquet.read_table(root / LINES / f"{split}.parquet")["text"].to_pylist()
        examples = load("wikitext103", split)
        rows = [row for row, line in enumerate(lines) if line]
        assert 0 < len(rows) < len(lines) and examples.targets is None
        assert ids(examples) == [f"{split}/{row}" for row in rows]
        headings = [place for place, row in enumerate(rows) if lines[row].startswith(" = ")]
        assert 0.15 < len(headings) / len(rows) < 0.5
        assert decoded(examples.inputs[0].take(np.array(headings[:1]))) == [f"[CLS] {lines[1].strip().lower()} [SEP]"]
    assert len(load("wikitext103", "train")) >= 2100


@pytest.mark.parametrize("name", ["wikitext103", "mnli_matched"])
def test_the_paper_scale_has_128_tokens_and_begins_with_those_of_mini(name: str, load: Callable[..., Examples]) -> None:
    mini, paper = (load(name, "train", scale=scale).inputs[0].take(np.arange(50)) for scale in ("mini", "paper"))
    assert mini.shape == (50, 32) and paper.shape == (50, 128)
    short = (mini == 0).any(1)
    assert short.any() and np.array_equal(paper[short, :32], mini[short]) and not paper[short, 32:].any()


def test_unused_ids_take_part_where_the_protocol_says_so(root: Path) -> None:
    from dabs_rq.run import Run

    words = ["domain=text", f"data={root}"]
    corrected, published = (Run.of([*words, f"protocol={name}"]).inputs[0] for name in ("corrected", "published"))
    assert published.vocabulary == corrected.vocabulary + 4_500
    one = Run.of([*words, "protocol=corrected", "protocol.unused_ids=true"]).inputs[0]
    assert one == published
    declared = [inputs[0] for inputs in DOMAIN.inputs.values()]
    assert {spec.vocabulary + spec.unused_ids for spec in declared} == {35_022}
    assert {(spec.vocabulary, spec.pad) for spec in declared} == {(30_522, 0)}


def test_prepared_and_decoded_ids_are_the_same_whatever_the_workers(
    load: Callable[..., Examples], tmp_path: Path
) -> None:
    never = load("wikitext103", "train")
    always = [
        never.prepared(Store(tmp_path / str(workers), policy="always", workers=workers).prepare) for workers in (1, 2)
    ]
    never = never.select(np.arange(0, len(never), 3))
    for one in always:
        chosen = one.select(np.arange(0, len(one), 3))
        assert np.array_equal(tokens(never), tokens(chosen))


def test_importing_the_domain_imports_nothing_heavy() -> None:
    heavy = {"torch", "datasets", "pandas", "scipy", "transformers", "tokenizers"}
    code = f"import sys, domains.text; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# ---- other layouts -------------------------------------------------------------------------------------------------


def hub_copy(root: Path, folder: Path, config: str, split: str, parts: int) -> None:
    """The table in parts, named and typed as on the hub."""
    import datasets

    rows = table(root, config, split)
    names = datasets.ClassLabel(names=[str(label) for label in range(max(rows["label"]) + 1)])
    whole = datasets.Dataset.from_dict(rows).cast_column("label", names)
    folder.mkdir(parents=True, exist_ok=True)
    for part in range(parts):
        whole.shard(parts, part, contiguous=True).to_parquet(folder / f"{split}-{part:05d}-of-{parts:05d}.parquet")


def test_parts_as_on_the_hub_are_read_in_order(root: Path, tmp_path: Path, read: Callable[..., Examples]) -> None:
    folder = tmp_path / "text/glue/mnli"
    hub_copy(root, folder, "mnli", "train", parts=3)
    hub_copy(root, folder, "mnli", "train", parts=3)
    (tmp_path / "text/tokenizers").symlink_to(root / "text/tokenizers")
    loader = TASKS["mnli_matched"].load
    whole, parts = (read(loader, where, "text", "train") for where in (root, tmp_path))
    assert ids(whole) == ids(parts) and np.array_equal(whole.targets, parts.targets)
    assert np.array_equal(tokens(whole), tokens(parts))
    assert read(loader, tmp_path, "text", "train").key == parts.key
    last = folder / "train-00002-of-00003.parquet"
    os.utime(last, ns=(1, 1))
    assert read(loader, tmp_path, "text", "train").key != parts.key, "a part that is not the first counts too"


def test_columns_in_another_order_and_others_beside_do_not_matter(
    root: Path, tmp_path: Path, read: Callable[..., Examples]
) -> None:
    for split in ("train", "validation"):
        rows = parquet.read_table(root / f"text/glue/qnli/{split}.parquet")
        rows = rows.append_column("note", pa.array(["x"] * rows.num_rows))
        changed = rows.select(["note", "label", "sentence", "question"])
        changed = changed.set_column(2, "sentence", changed["sentence"].cast(pa.large_string()))
        file = tmp_path / f"text/glue/qnli/{split}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(changed, file)
    (tmp_path / "text/tokenizers").symlink_to(root / "text/tokenizers")
    for split in ("train", "test"):
        here, there = (read(TASKS["qnli"].load, where, "text", split) for where in (root, tmp_path))
        assert np.array_equal(tokens(here), tokens(there)) and np.array_equal(here.targets, there.targets)


@pytest.mark.parametrize("name", ["wikitext103", "mnli_mismatched"])
def test_what_is_not_under_the_root_comes_from_the_hub(
    name: str, root: Path, tmp_path: Path, read: Callable[..., Examples], monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    asked = []

    def load_dataset(path: str, name: str, split: str) -> Any:
        asked.append((path, name, split))
        folder = root / ("text/wikitext" if "wikitext" in path else "text/glue")
        return datasets.Dataset.from_parquet(str(folder / name / f"{split}.parquet"))

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(text, "_open", lru_cache(text._open.__wrapped__))  # what it opens here is forgotten again
    (tmp_path / "text").mkdir()
    (tmp_path / "text/tokenizers").symlink_to(root / "text/tokenizers")
    declared = TASKS.get(name, DOMAIN.pretraining)
    splits = ("train", "validation") if name == "wikitext103" else ("train", "test")
    for split in splits:
        local, remote = (read(declared.load, where, "text", split, made_up=False) for where in (root, tmp_path))
        assert ids(local) == ids(remote) and np.array_equal(tokens(local), tokens(remote))
    assert (
        set(asked)
        == {
            "wikitext103": {("Salesforce/wikitext", "wikitext-103-v1", split) for split in splits},
            "mnli_mismatched": {("nyu-mll/glue", "mnli", "train"), ("nyu-mll/glue", "mnli_mismatched", "validation")},
        }[name]
    )


# ---- the miniature -------------------------------------------------------------------------------------------------


def test_the_miniature_has_the_sizes_and_the_balance_of_the_real_tables(
    root: Path, load: Callable[..., Examples]
) -> None:
    share = {"cola": 0.70, "mrpc": 0.68, "qqp": 0.37, "qnli": 0.5, "rte": 0.5, "sst2": 0.55, "wnli": 0.49}
    for name in TASKS:
        train, test = load(name, "train"), load(name, "test")
        sizes = TASKS[name].sizes
        assert (len(train), len(test)) == ((635, 71) if name == "wnli" else (1080, 324))
        assert name != "wnli" or (len(train), len(test)) == (sizes["train"], sizes["test"])
        if name in share:
            assert abs(train.targets.mean() - share[name]) < 0.05
    assert np.bincount(load("mnli_matched", "train").targets).tolist() == [360] * 3
    stsb = load("stsb", "train").targets
    assert stsb.min() == 0 and stsb.max() == 5 and 1.2 < stsb.std() < 2
    texts = [table(root, name, "validation") for name in ("mnli_matched", "mnli_mismatched")]
    assert not set(texts[0]["premise"]) & set(texts[1]["premise"])
    assert set(table(root, "wnli", "validation")["sentence1"]) <= set(table(root, "wnli", "train")["sentence1"])


def test_the_words_of_the_tasks_are_those_of_the_pretraining_source(root: Path, load: Callable[..., Examples]) -> None:
    file = root / "text/tokenizers/bert-base-uncased/tokenizer.json"
    vocabulary = json.loads(file.read_text(encoding="utf-8"))["model"]["vocab"]
    pieces = [number for piece, number in vocabulary.items() if piece.startswith("##") or piece == "[UNK]"]
    assert 800 < len(vocabulary) <= 1500
    for name in TASKS:
        assert np.isin(tokens(load(name, "test")), pieces).mean() < 0.01


def features(rows: np.ndarray, vocabulary: int, separator: int, neighbours: int) -> np.ndarray:
    """Words, hashes of words side by side, and what pairs of texts have in common."""
    found = np.zeros((len(rows), vocabulary + neighbours + 8))
    for feature, row in zip(found, rows.astype(int), strict=True):
        real = row[row != 0]
        feature[real] = 1
        if neighbours:
            feature[vocabulary + (real[:-1] * 31 + real[1:] * 17 + real[:-1] * real[1:]) % neighbours] = 1
        first, second, *_ = (set(part[part != separator]) for part in np.split(real, np.flatnonzero(real == separator)))
        common = len(first & second)
        feature[-8:-2] = common / len(first), common / max(len(second), 1), len(first - second), *(
            len(second - first), len(first), len(second)
        )  # fmt: skip
    return found


@pytest.mark.parametrize("name", [name for name in TASKS if name != "wnli"])
def test_the_miniature_can_be_learned_and_not_at_once(name: str, load: Callable[..., Examples]) -> None:
    """WNLI cannot: its test set is made against those who remember, as the real one is."""
    from scipy.stats import spearmanr
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import StandardScaler

    train, test = load(name, "train"), load(name, "test")
    rows = [tokens(examples) for examples in (train, test)]
    vocabulary, separator = max(int(one.max()) for one in rows) + 1, int(rows[0][0][rows[0][0] > 0][-1])
    x, z = (features(one, vocabulary, separator, neighbours=2048 * (name == "cola")) for one in rows)
    scaler = StandardScaler().fit(x)
    x, z = (np.hstack([scaler.transform(f), 5 * scaler.transform(f)[:, -8:]]) for f in (x, z))
    targets = np.eye(3)[train.targets] if name.startswith("mnli") else train.targets
    guess = Ridge(alpha=3e3).fit(x, targets).predict(z)
    if name in ("cola", "stsb"):
        assert 0.2 < spearmanr(guess, test.targets).statistic < 0.9
        return
    right = guess.argmax(1) == test.targets if name.startswith("mnli") else (guess > 0.5) == test.targets
    majority = np.bincount(test.targets).max() / len(test)
    assert majority + 0.06 < right.mean() < 0.9


@pytest.mark.parametrize("name", ["cola", "sst2"])
def test_a_mean_of_random_embeddings_says_something_of_single_sentences(
    name: str, load: Callable[..., Examples]
) -> None:
    from sklearn.linear_model import Ridge

    table = np.random.default_rng(0).normal(size=(1500, 64))
    table[0] = 0
    x, z = (
        table[rows].sum(1) / (rows != 0).sum(1, keepdims=True)
        for rows in map(tokens, (load(name, "train"), load(name, "test")))
    )
    guess = Ridge(alpha=1).fit(x, load(name, "train").targets).predict(z)
    assert 0.1 < np.corrcoef(guess, load(name, "test").targets)[0, 1] < 0.7
