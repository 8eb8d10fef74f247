"""What every domain, source and task has to keep, looped over the registry: a new one is tested by being there.

Those in folders of one's own too: `DABS_RQ_PATH=examples python -m pytest tests/test_contract.py -k proteins`.
"""

from __future__ import annotations

import csv
import os
import pickle
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dabs_rq import registry
from dabs_rq.data.batches import training_batches
from dabs_rq.data.examples import Examples
from dabs_rq.data.streams import Stream
from dabs_rq.domain import Domain, Task
from dabs_rq.run import Run
from dabs_rq.sources.catalogue import listing
from dabs_rq.spec import Source, Tokens
from dabs_rq.table import PUBLISHED
from dabs_rq.transfer.targets import check_evaluable, check_trainable

DOMAINS = registry.domains()
TASKS = [(domain, task) for domain in DOMAINS for task in domain.tasks]
PROTOCOLS = ("corrected", "published")
# Where the published protocol has examples in both splits, by mistake.
LEAKING = {("google_speech", "published")}

each_domain = pytest.mark.parametrize("domain", DOMAINS, ids=lambda domain: domain.name)
each_task = pytest.mark.parametrize(
    ("domain", "task"), TASKS, ids=[f"{domain.name}-{task.name}" for domain, task in TASKS]
)
each_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)


@pytest.fixture
def load(read: Callable[..., Examples], miniature: Callable[[str], Path]) -> Callable[..., Any]:
    return lambda domain, declared, split, **more: read(
        declared.load, miniature(domain.name), domain.name, split, **more
    )


def test_the_tasks_are_the_rows_of_the_published_table() -> None:
    with PUBLISHED.open(encoding="utf-8") as opened:
        published = [(row["domain"], row["task"], row["row"]) for row in csv.DictReader(opened)]
    assert len(published) == 34
    own = [domain for domain in DOMAINS if registry.module_of_domain(domain.name).startswith("domains.")]
    ours = {domain.name: [(domain.name, task.name, task.row) for task in of_project(domain)] for domain in own}
    order = list(dict.fromkeys(domain for domain, _, _ in published))
    assert [row for name in order for row in ours[name]] == published
    assert len(own) == 7


def of_project(domain: Domain) -> list[Task]:
    return [task for task in domain.tasks if task not in registry.added_tasks(domain.name)]


def sources() -> list[Source]:
    declared = [one.source for domain in DOMAINS for one in (domain.pretraining, *domain.tasks)]
    return list({id(source): source for source in declared}.values())


def test_every_source_says_where_it_comes_from_and_where_it_goes() -> None:
    assert len({source.name for source in sources()}) == len(sources())
    for source in sources():
        assert source.url.startswith(("http://", "https://")) and source.title and source.licence and source.citation
        assert source.layout.strip() and source.needs and source.size
        assert not source.folder.startswith("/") and ".." not in source.folder
        assert not any(Path(need).is_absolute() for need in source.needs)


def test_the_listing_names_all_of_it(tmp_path: Path) -> None:
    text = listing(Run.of([f"data={tmp_path}"]))
    for domain, task in TASKS:
        assert f"{domain.name}: {domain.title}" in text and f"{task.name} ({task.row}" in text
    for source in sources():
        assert source.title in text and source.url in text and str(tmp_path / source.folder) in text


@each_domain
def test_the_miniature_has_what_the_sources_need(domain: Domain, miniature: Callable[[str], Path]) -> None:
    root = miniature(domain.name)
    for source in [domain.pretraining.source, *(task.source for task in domain.tasks)]:
        assert source.missing(root) == ()


@each_protocol
@each_domain
def test_pretraining_batches_are_what_the_inputs_declare(
    domain: Domain, protocol: str, load: Callable[..., Any], tmp_path: Path, miniature: Callable[[str], Path]
) -> None:
    words = [f"domain={domain.name}", f"protocol={protocol}", f"data={miniature(domain.name)}", "loader.prepare=never"]
    run = Run.of([*words, f"runs={tmp_path}", "pretrain.max_examples=256"])
    source, again = run.splits.unlabelled("train"), run.splits.unlabelled("train")
    assert source.key == again.key
    batches = training_batches(source, size=16, seed=0)
    if isinstance(source, Examples):
        assert len(load(domain, domain.pretraining, "train", protocol=protocol)) >= 2048
    first, ids = batches.batch(0)
    loaded = list(islice(batches.loader(start=0), 5))
    for spec, one, other in zip(run.inputs, first, loaded[0][0], strict=True):
        assert one.shape == (16, *spec.shape) and (one == other).all()
        if isinstance(spec, Tokens):
            assert int(one.min()) >= 0 and int(one.max()) < spec.vocabulary
        else:
            assert one.isfinite().all() and float(one.float().std()) > 0
    assert len(set(ids)) == 16
    assert not isinstance(source, Stream) or protocol == "published" or (loaded[1][0][0] != loaded[0][0][0]).any()


@each_protocol
@each_task
def test_both_splits_of_a_task_are_sound(
    domain: Domain, task: Task, protocol: str, load: Callable[..., Examples]
) -> None:
    splits = {split: load(domain, task, split, protocol=protocol) for split in ("train", "test")}
    check_trainable(splits["train"].targets, task.target, "train")
    check_evaluable(splits["test"].targets, task.target, "test")
    ids = {split: examples.ids.to_pylist() for split, examples in splits.items()}
    for split, examples in splits.items():
        assert len(set(ids[split])) == len(ids[split])
        again = load(domain, task, split, protocol=protocol)
        assert again.key == examples.key and again.inputs_key == examples.inputs_key
        few = examples.select(np.array([0, len(examples) // 2, len(examples) - 1]))
        for column in few.inputs:
            taken = column.take(np.arange(3))
            assert np.isfinite(taken).all()
            moved = pickle.loads(pickle.dumps(column))
            assert np.array_equal(moved.take(np.arange(3)), taken)
    if (task.name, protocol) not in LEAKING:
        assert set(ids["train"]).isdisjoint(ids["test"])


class Backwards:
    """os.scandir, from the last entry to the first."""

    def __init__(self, entries: Any) -> None:
        with entries:
            self.entries = sorted(entries, key=lambda entry: entry.name, reverse=True)

    def __iter__(self) -> Iterator[os.DirEntry[str]]:
        return iter(self.entries)

    def __enter__(self) -> Backwards:
        return self

    def __exit__(self, *error: object) -> None:
        pass


@each_protocol
@each_domain
def test_the_order_of_the_file_system_does_not_matter(
    domain: Domain, protocol: str, load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def keys() -> list[str]:
        parts = [(task, split) for task in domain.tasks for split in ("train", "test")]
        parts = [(domain.pretraining, "train"), (domain.pretraining, "validation"), *parts]
        return [load(domain, declared, split, protocol=protocol).key for declared, split in parts]

    before = keys()
    scandir, listdir = os.scandir, os.listdir
    monkeypatch.setattr(os, "scandir", lambda path=".": Backwards(scandir(path)))
    monkeypatch.setattr(os, "listdir", lambda path=".": sorted(listdir(path), reverse=True))
    assert keys() == before


@each_protocol
@each_task
def test_prepared_examples_are_the_decoded_ones(
    domain: Domain, task: Task, protocol: str, load: Callable[..., Examples], tmp_path: Path
) -> None:
    from dabs_rq.data.prepared import Store

    examples = load(domain, task, "test", protocol=protocol).sample(6)
    prepared = examples.prepared(Store(tmp_path / "kept", policy="always").prepare)
    assert prepared.key == examples.key
    for decoded, kept in zip(examples.inputs, prepared.inputs, strict=True):
        assert np.array_equal(decoded.take(np.arange(6)), kept.take(np.arange(6)))


@each_task
def test_the_corrected_protocol_keeps_groups_apart(domain: Domain, task: Task, load: Callable[..., Examples]) -> None:
    train, test = (load(domain, task, split) for split in ("train", "test"))
    if train.groups is None or test.groups is None:
        return
    shared = set(train.groups.tolist()) & set(test.groups.tolist())
    assert len(shared) <= SHARED_GROUPS.get(task.name, 0)


# LibriSpeech's speakers of a single chapter have a part of it in either split.
SHARED_GROUPS = {"librispeech_speaker": 9}
