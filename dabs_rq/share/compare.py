"""Compares two runs cell by cell: two folders of records, of any machines, or two bundles."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from dabs_rq import metrics, registry
from dabs_rq.errors import DabsRqError, OptionError, RecordError, first_line, printable, shown
from dabs_rq.experiment.compare import Result
from dabs_rq.records import recheck, record, significance
from dabs_rq.records.record import Record
from dabs_rq.share.bundle import is_bundle, unpacked

A, B = "A", "B"
_WITHOUT_EFFECT = ("suite.", "table.", "network.", "loader.")  # groups of options on which no number depends


class Key(NamedTuple):
    """What makes two results ones of the same cell, whatever their options, data and scale."""

    domain: str
    task: str
    method: str
    probe: str
    split: str

    @property
    def name(self) -> str:
        split = "" if self.split == "test" else f" ({self.split})"
        return f"{self.domain}/{self.task}{split} with {self.method}{f', {self.probe}' if self.probe else ''}"


class Group(NamedTuple):
    """Results of one key that differ only in their seeds."""

    data: str
    scale: str
    protocol: str
    variant: str


@dataclass
class Side:
    """One of the two runs. place: as given. cells: key -> group -> seed -> result. without_score: results that have
    none, and why. errors: of records left out."""

    place: Path
    cells: dict[Key, dict[Group, dict[int, Result]]] = field(default_factory=dict)
    without_score: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Pair:
    """One cell in both runs.

    row: the row's title, metric: the metric's. seeds: those in both. a, b, difference (B minus A), low, high: percent,
    over these seeds, or, if there are none, over those of each; NaN where there is none. p, basis: see `significance`.
    differences: what else differs, in words. made_up: whether either side is of made-up data.
    """

    key: Key
    row: str
    metric: str
    seeds: tuple[int, ...]
    seeds_a: tuple[int, ...]
    seeds_b: tuple[int, ...]
    a: float
    b: float
    difference: float
    low: float
    high: float
    p: float
    basis: str
    differences: Mapping[str, tuple[str, ...]]
    made_up: bool


@dataclass(frozen=True)
class Comparison:
    """pairs: cells in both. only: side -> cells that the other lacks, with their names. without_score: results that
    have none, and why. errors: of records left out."""

    a: Path
    b: Path
    pairs: tuple[Pair, ...]
    only: Mapping[str, tuple[tuple[Key, str], ...]]
    without_score: tuple[str, ...]
    errors: tuple[str, ...]


def compare(a: Path, b: Path) -> Comparison:
    """Compare the records of two places. Raises RecordError for a place without records."""
    with _opened(a) as folder_a, _opened(b) as folder_b:
        sides = _read(a, folder_a), _read(b, folder_b)
        pairs: list[Pair] = []
        only: dict[str, tuple[tuple[Key, str], ...]] = {}
        left: list[dict[Key, dict[Group, dict[int, Result]]]] = [{}, {}]
        for key in sorted(sides[0].cells.keys() | sides[1].cells.keys()):
            matched, *rest = _match(*(side.cells.get(key, {}) for side in sides))
            for number, groups in enumerate(rest):
                if groups:
                    left[number][key] = groups
            pairs += [_pair(key, first, second) for first, second in matched]
        for name, groups_left in zip((A, B), left, strict=True):
            only[name] = tuple((key, _named(key, group)) for key, groups in groups_left.items() for group in groups)
        named = list(zip((A, B), sides, strict=True))
        without_score = [f"{name}: {one}" for name, side in named for one in side.without_score]
        errors = [f"{name}: {error}" for name, side in named for error in side.errors]
    return Comparison(a, b, tuple(pairs), only, tuple(without_score), tuple(errors))


@contextlib.contextmanager
def _opened(place: Path) -> Iterator[Path]:
    if place.is_dir():
        yield place
    elif place.is_file() and is_bundle(place):
        with unpacked(place) as folder:
            yield folder
    else:
        found = "a file that is no bundle by its name" if place.exists() else "nothing"
        raise OptionError(f"{place}: expected a folder of runs or a bundle (.tar.gz, .zip), found {found}")


def _read(place: Path, folder: Path) -> Side:
    """Read the records of a folder that have a score, and check each against its predictions."""
    side = Side(place)
    count = 0
    for file in sorted(folder.rglob("*.json")):
        if file.name.startswith(".") or "records" not in file.resolve().parts[:-1]:
            continue
        if not file.with_suffix(".parquet").exists():
            continue
        count += 1
        try:
            result = record.read(file)
            if result.score is None:
                why = printable(result.why_no_score)
                side.without_score.append(f"{_key(result).name}, seed {result.seed}: no score ({why})")
                continue
            recheck.predictions(file, result)
        except DabsRqError as error:
            # A bundle lies in a temporary folder, which is gone when somebody reads this.
            text = printable(first_line(error))
            side.errors.append(text if folder == place else text.replace(f"{folder}/", f"{place}: "))
            continue
        group = Group(result.data, result.scale, result.protocol, result.variant)
        side.cells.setdefault(_key(result), {}).setdefault(group, {})[result.seed] = Result(result, file)
    if not side.cells:
        there = ", ".join(sorted(entry.name for entry in folder.iterdir())[:8]) or "nothing"
        found = (
            f"{count} records, none of them with a score: {(side.errors + side.without_score)[0]}" if count else there
        )
        raise RecordError(
            f"{place}: expected records with predictions, <data>/<scale>/<protocol>/records/<domain>/<method>/"
            f"<variant>/seed-<n>/<task>.json and .parquet, as a runs folder and a bundle have them; found: {found}"
        )
    return side


def _key(result: Record) -> Key:
    return Key(result.domain, result.task, result.method, result.further_probe or "", result.split)


Groups = dict[Group, dict[int, Result]]


def _match(a: Groups, b: Groups) -> tuple[list[tuple[dict[int, Result], dict[int, Result]]], Groups, Groups]:
    """Pair the groups of two sides. Equal groups are paired first, then groups that differ only in their data, then the
    last group of each side. Returns the pairs, and what is left of each side."""
    a, b = dict(a), dict(b)
    matched = []
    ways: tuple[Callable[[Group], Hashable], ...] = (lambda group: group, lambda group: group[1:], lambda _: None)
    for way in ways:
        for group in list(a):
            alike = [other for other in b if way(other) == way(group)]
            if len(alike) == 1 and sum(way(other) == way(group) for other in a) == 1:
                matched.append((a.pop(group), b.pop(alike[0])))
    return matched, a, b


def _named(key: Key, group: Group) -> str:
    variant = "" if group.variant == "default" else f", variant {group.variant}"
    return f"{key.name} ({group.data}, scale {group.scale}, protocol {group.protocol}{variant})"


def _pair(key: Key, a: Mapping[int, Result], b: Mapping[int, Result]) -> Pair:
    task = registry.task(key.domain, key.task)
    seeds = tuple(sorted(a.keys() & b.keys()))
    differences = _differences([(a[seed].record, b[seed].record) for seed in seeds] or [(_first(a), _first(b))])
    measured: dict[str, Any] = {"difference": math.nan, "low": math.nan, "high": math.nan, "p": math.nan}
    if not seeds:
        measured["basis"] = "no difference: no seed is in both"
    elif "test examples" in differences:
        measured["basis"] = f"not paired: {differences['test examples'][0]}"
    else:
        scored = {name: {seed: _scored(side[seed]) for seed in seeds} for name, side in ((A, a), (B, b))}
        (row,) = significance.compare_row(task, scored, (A, B))
        measured |= {name: row[name] for name in (*measured, "basis")}
    means = [
        100 * sum(float(side[seed].record.score or 0) for seed in chosen) / len(chosen)
        for side, chosen in ((a, seeds or tuple(a)), (b, seeds or tuple(b)))
    ]
    return Pair(
        key=key,
        row=task.row,
        metric=metrics.metric(task.metric).title,
        seeds=seeds,
        seeds_a=tuple(sorted(a)),
        seeds_b=tuple(sorted(b)),
        a=means[0],
        b=means[1],
        differences=differences,
        made_up=any(one.record.made_up_data for side in (a, b) for one in side.values()),
        **measured,
    )


def _first(side: Mapping[int, Result]) -> Record:
    return side[min(side)].record


def _scored(result: Result) -> significance.Scored:
    task = registry.task(result.record.domain, result.record.task)
    return significance.scored(task, result.record, record.predictions(result.file))


def _differences(pairs: Sequence[tuple[Record, Record]]) -> dict[str, tuple[str, ...]]:
    """List what differs between the records of two sides, by kind."""
    found: dict[str, dict[str, None]] = {}
    for a, b in pairs:
        for kind, texts in _of_records(a, b).items():
            found.setdefault(kind, {}).update(dict.fromkeys(texts))
    return {kind: tuple(texts) for kind, texts in found.items()}


def _of_records(a: Record, b: Record) -> dict[str, list[str]]:
    facts: dict[str, list[str]] = {}
    if (a.test_labels, a.n_examples) != (b.test_labels, b.n_examples):
        facts["test examples"] = [_two(f"{a.n_examples} ({a.test_labels})", f"{b.n_examples} ({b.test_labels})")]
    if (a.train_labels, a.n_train) != (b.train_labels, b.n_train):
        facts["training examples"] = [_two(f"{a.n_train} ({a.train_labels})", f"{b.n_train} ({b.train_labels})")]
    names = ("data", "scale", "protocol", "variant", "metric", "made_up_data", "checkpoint", "architecture", "commit")
    for name in (*names, "hardware"):
        if (first := getattr(a, name)) != (second := getattr(b, name)):
            facts[name] = [_two(first, second)]
    counted = {
        key
        for key in a.options.keys() | b.options.keys()
        if "." in key and not key.startswith(_WITHOUT_EFFECT) and a.options.get(key) != b.options.get(key)
    }
    facts["options"] = [f"{key}: {_two(a.options.get(key), b.options.get(key))}" for key in sorted(counted)]
    versions = sorted(a.versions.keys() | b.versions.keys())
    facts["libraries"] = [
        f"{name} {_two(a.versions.get(name), b.versions.get(name))}"
        for name in versions
        if a.versions.get(name) != b.versions.get(name)
    ]
    facts["code"] = _code(a, b)
    return {kind: texts for kind, texts in facts.items() if texts}


def _code(a: Record, b: Record) -> list[str]:
    """List the modules whose hashes differ; hashes compare only under one version of Python."""
    minor = [".".join(one.versions.get("python", "").split(".")[:2]) for one in (a, b)]
    if minor[0] != minor[1]:
        return [f"not compared: hashes of Python {_two(*minor)}"]
    return sorted(name for name in a.code.keys() | b.code.keys() if a.code.get(name) != b.code.get(name))


def _two(a: object, b: object) -> str:
    return " / ".join(
        "none" if one in (None, "") else printable(one) if isinstance(one, str) else shown(one) for one in (a, b)
    )
