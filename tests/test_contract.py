"""What every domain, source and task has to keep, looped over the registry: a new one is tested by being there.

Plug-in folders are tested alike: `DABS_RQ_PATH=examples python -m pytest tests/test_contract.py -k molecules`.
"""

from __future__ import annotations

import csv
import dataclasses
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
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
from dabs_rq.metrics import metric
from dabs_rq.protocol import Protocol
from dabs_rq.run import Run
from dabs_rq.sources.catalogue import listing
from dabs_rq.spec import Source, Tokens
from dabs_rq.suite.plan import selected_tasks
from dabs_rq.table import PUBLISHED, table_order
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


def test_the_option_that_averages_over_batches_names_every_task_that_it_moves() -> None:
    (option,) = [one for one in dataclasses.fields(Protocol) if one.name == "correlation"]
    averaged = {task.name for _, task in TASKS if metric(task.metric).in_batches}
    assert set(option.metadata["moves"]) == averaged


@pytest.fixture
def load(read: Callable[..., Examples], miniature: Callable[[str], Path], prepared: Path) -> Callable[..., Any]:
    """load(domain, source or task, split): what is read whole, as long recordings, is decoded once for all tests."""
    return lambda domain, declared, split, **more: read(
        declared.load, miniature(domain.name), domain.name, split, prepare="always", kept=prepared, **more
    )


def test_the_tasks_are_the_rows_of_the_published_table() -> None:
    with PUBLISHED.open(encoding="utf-8") as opened:
        published = [(row["domain"], row["task"], row["row"]) for row in csv.DictReader(opened)]
    assert len(published) == 34
    own = [domain for domain in registry.chosen_domains(None) if is_own(domain)]
    ours = {domain.name: [(domain.name, task.name, task.row) for task in of_project(domain)] for domain in own}
    order = list(dict.fromkeys(domain for domain, _, _ in published))
    assert [row for name in order for row in ours[name]] == published
    assert len(own) == 7


def test_domains_outside_the_table_are_in_it_only_if_they_are_chosen() -> None:
    outside = [domain for domain in DOMAINS if not domain.tables]
    assert {"digits", "docstrings"} <= {domain.name for domain in outside}
    for domain in outside:
        rows = [(domain.name, task.name) for task in domain.tasks]
        assert table_order([domain.name]) == rows and not set(rows) & set(table_order())
        run = Run.of([f"domain=sensor,{domain.name}"])
        assert list(selected_tasks(run)) == ["sensor", domain.name] and domain.name not in selected_tasks(Run.of())


def test_the_table_chooses_the_domains_of_a_run() -> None:
    for table in ("rq", "dabs2"):
        words = [f"table.columns={table}"]
        members = {domain.name for domain in DOMAINS if table in domain.tables}
        run = Run.of(words)
        assert {domain.name for domain in run.domains} == members == set(selected_tasks(run))
        assert not run.places.outside_table and not run.places.selection
        assert {domain for domain, _ in table_order(columns=run.options.table.columns)} == members
    only = [domain.name for domain in DOMAINS if domain.tables == ("dabs2",)]
    assert not set(only) & {domain for domain, _ in table_order()}
    for name in only:
        assert Run.of([f"domain={name}"]).places.outside_table
        assert not Run.of([f"domain={name}", "table.columns=dabs2"]).places.outside_table


def is_own(domain: Domain) -> bool:
    return registry.module_of_domain(domain.name).startswith("dabs_rq.domains.")


def of_project(domain: Domain) -> list[Task]:
    return [task for task in domain.tasks if task not in registry.added_tasks(domain.name)]


def sources(domains: Sequence[Domain]) -> list[Source]:
    declared = [one.source for domain in domains for one in (domain.pretraining, *domain.tasks)]
    return list({id(source): source for source in declared}.values())


def test_every_source_says_where_it_comes_from_and_where_it_goes() -> None:
    names = [source.name for source in sources(DOMAINS)]
    assert len(set(names)) == len(names), "two sources have one name: name each source once"
    for source in sources(DOMAINS):
        who = f"source {source.name!r}"
        for field in ("title", "licence", "citation", "layout", "needs", "size"):
            assert getattr(source, field), f"{who}: its {field} must not be empty"
        assert source.url.startswith(("http://", "https://")), f"{who}: its url must be a web address"
        for place in (source.folder, *source.needs):
            inside = not Path(place).is_absolute() and ".." not in Path(place).parts
            assert inside, f"{who}: {place} must be relative to the data root (folder) or to its folder (needs)"


def test_the_listing_names_all_of_it(tmp_path: Path) -> None:
    text = listing(Run.of([f"data={tmp_path}"]))
    for domain, task in TASKS:
        assert f"{domain.name}: {domain.title}" in text and f"{task.name} ({task.row}" in text
    for source in sources(DOMAINS):
        assert source.title in text
    for source in sources([domain for domain in DOMAINS if domain.installed is None]):
        assert source.url in text and str(tmp_path / source.folder) in text


@each_domain
def test_the_miniature_has_what_the_sources_need(domain: Domain, miniature: Callable[[str], Path]) -> None:
    root = miniature(domain.name)
    for source in [domain.pretraining.source, *(task.source for task in domain.tasks)]:
        assert source.missing(root) == (), f"the miniature of {domain.name} must write what {source.name} `needs`"


@each_protocol
@each_domain
def test_pretraining_batches_are_what_the_inputs_declare(
    domain: Domain,
    protocol: str,
    load: Callable[..., Any],
    tmp_path: Path,
    miniature: Callable[[str], Path],
    with_data: Callable[..., Path],
) -> None:
    words = [f"domain={domain.name}", f"protocol={protocol}", f"data={miniature(domain.name)}", "loader.prepare=never"]
    run = Run.of([*words, f"runs={with_data(tmp_path / 'runs', domain.name)}", "pretrain.max_examples=256"])
    source, again = run.splits.unlabelled("train"), run.splits.unlabelled("train")
    assert source.key == again.key, "reading the pretraining source twice must give the same examples in the same order"
    batches = training_batches(source, size=16, seed=0)
    if isinstance(source, Examples):
        count = len(load(domain, domain.pretraining, "train", protocol=protocol))
        enough = count >= 2048 or domain.installed is not None
        assert enough, f"the miniature must have at least 2,048 examples to pretrain on; it has {count}"
    first, ids = batches.batch(0)
    loaded = list(islice(batches.loader(start=0), 5))
    for spec, raw, by_loader in zip(run.inputs, first, loaded[0][0], strict=True):
        who = f"input {spec.name!r}"
        assert raw.shape == (16, *spec.shape), f"{who}: a batch must have the declared shape"
        assert (raw == by_loader).all(), f"{who}: the first batch must be the same from every loader"
        if isinstance(spec, Tokens):
            assert int(raw.min()) >= 0 and int(raw.max()) < spec.vocabulary, f"{who}: ids must lie in [0, vocabulary)"
        else:
            assert raw.isfinite().all() and float(raw.float().std()) > 0, f"{who}: values must be finite and must vary"
    assert len(set(ids)) == 16, "the ids of one batch must differ"
    if isinstance(source, Stream) and protocol == "corrected":
        assert (loaded[1][0][0] != loaded[0][0][0]).any(), "a stream must not repeat its first batch"


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
        assert len(set(ids[split])) == len(ids[split]), f"the ids of the {split} split must differ"
        again = load(domain, task, split, protocol=protocol)
        same = again.key == examples.key and again.inputs_key == examples.inputs_key
        assert same, f"reading the {split} split twice must give the same examples in the same order"
        few = examples.select(np.array([0, len(examples) // 2, len(examples) - 1]))
        for column in few.inputs:
            taken = column.take(np.arange(3))
            assert np.isfinite(taken).all(), f"the inputs of the {split} split must be finite"
            moved = pickle.loads(pickle.dumps(column))
            same = np.array_equal(moved.take(np.arange(3)), taken)
            assert same, "a column must give the same arrays in another process: `decode` must be a top-level function"
    if (task.name, protocol) not in LEAKING:
        both = set(ids["train"]) & set(ids["test"])
        assert not both, f"no example may be in both splits; these are: {sorted(both)[:3]}"


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
    parts = [(task, split) for task in domain.tasks for split in ("train", "test")]
    parts = [(domain.pretraining, "train"), (domain.pretraining, "validation"), *parts]

    def keys() -> list[str]:
        return [load(domain, declared, split, protocol=protocol).key for declared, split in parts]

    before = keys()
    scandir, listdir = os.scandir, os.listdir
    monkeypatch.setattr(os, "scandir", lambda path=".": Backwards(scandir(path)))
    monkeypatch.setattr(os, "listdir", lambda path=".": sorted(listdir(path), reverse=True))
    changed = [part for part, old, new in zip(parts, before, keys(), strict=True) if old != new]
    names = ", ".join(f"{declared.source.name} ({split})" for declared, split in changed)
    assert not changed, f"sort what the file system lists: another order changes {names}"


@each_protocol
@each_task
def test_prepared_examples_are_the_decoded_ones(
    domain: Domain, task: Task, protocol: str, load: Callable[..., Examples], tmp_path: Path
) -> None:
    from dabs_rq.data.prepared import Store

    examples = load(domain, task, "test", protocol=protocol).sample(6)
    prepared = examples.prepared(Store(tmp_path / "kept", policy="always").prepare)
    assert prepared.key == examples.key, "preparing examples must not change their key"
    for decoded, kept in zip(examples.inputs, prepared.inputs, strict=True):
        same = np.array_equal(decoded.take(np.arange(6)), kept.take(np.arange(6)))
        assert same, "a prepared example must be the decoded one, bit for bit"


# Tasks whose examples belong together by track, subject, speaker, picture or patient.
GROUPED = {
    "traffic_sign",
    "genomics_transfer_id",
    "genomics_transfer_ood",
    "digits",
    "docstring_library",
    "docstring_kind",
    "pamap2",
    "wafer_transfer",
    "librispeech_speaker",
    "voxceleb1",
    "audio_mnist",
    "google_speech",
    "fluent_speech_location",
    "fluent_speech_action",
    "fluent_speech_object",
    "vqa",
    "chexpert",
    "xray8",
}
# LibriSpeech's speakers of a single chapter have a part of it in either split.
SHARED_GROUPS = {"librispeech_speaker": 9}


@each_task
def test_the_corrected_protocol_keeps_groups_apart(domain: Domain, task: Task, load: Callable[..., Examples]) -> None:
    groups = [load(domain, task, split).groups for split in ("train", "test")]
    if is_own(domain) and task in of_project(domain):
        expected = task.name in GROUPED
        assert [one is not None for one in groups] == [expected] * 2, (
            "both splits must say which examples belong together"
        )
    if groups[0] is not None and groups[1] is not None:
        shared = set(groups[0].tolist()) & set(groups[1].tolist())
        allowed = SHARED_GROUPS.get(task.name, 0)
        assert len(shared) <= allowed, f"no group may be in both splits under `corrected`; {len(shared)} are"
