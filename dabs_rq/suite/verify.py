"""Verification: whether every cell of the table still follows from the code, the data and the options of now."""

from __future__ import annotations

import glob
import platform
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from dabs_rq import checkpoint, registry
from dabs_rq.domain import Task
from dabs_rq.errors import DabsRqError, first_line
from dabs_rq.pretrain import pretrain
from dabs_rq.records import recheck, record
from dabs_rq.run import Run
from dabs_rq.suite import plan
from dabs_rq.transfer import transfer

ASIDE = ".stale"

State = Literal["fresh", "stale", "broken", "failed", "missing"]


@dataclass(frozen=True)
class Cell:
    """One cell of the table and its record's `file`. fresh: it follows from what is there now. stale: code, data,
    options or the encoder changed since. broken: the record, its predictions or its encoder cannot be trusted. failed:
    there was no score. missing: there is no record. `reasons` say why it is not fresh. stale_encoder: the checkpoint
    file, if it is that which would have to be made again."""

    domain: str
    task: str
    method: str
    seed: int
    file: Path
    state: State
    reasons: tuple[str, ...] = ()
    stale_encoder: Path | None = None

    @property
    def name(self) -> str:
        return f"{self.domain} / {self.task} with {self.method}, seed {self.seed}"


def verify(run: Run) -> list[Cell]:
    """Recompute every hash and score behind the cells of the run's domains, tasks, methods and seeds. Nothing is
    trained, encoded or changed."""
    cells = []
    for domain, tasks in plan.chosen(run).items():
        data = _Data(run.replace({"loader.prepare": "never"}, domain=domain, method="none", tasks=None))
        for method in run.methods:
            cell_run = run.replace({"loader.prepare": "never"}, domain=domain, method=method, tasks=None)
            for seed in run.options.seeds:
                weights, wrong = _encoder(cell_run, data, seed)
                stale = cell_run.checkpoint_file(seed) if weights and wrong else None
                for task in tasks:
                    file = cell_run.record_file(task.name, seed)
                    state, reasons = _state(cell_run, data, task, file, weights, wrong)
                    cells.append(Cell(domain, task.name, method, seed, file, state, reasons, stale))
    return cells


def set_aside(run: Run, cells: Sequence[Cell]) -> list[Path]:
    """Rename the records of stale `cells`, their predictions, and stale encoders to *.stale, so that a suite makes them
    again; a cell whose data are not there now keeps them. Returns the files by their new names."""
    files: dict[Path, None] = {}
    for cell in cells:
        encoder = cell.stale_encoder
        needed = [registry.task(cell.domain, cell.task).source]
        if encoder and registry.method(cell.method).trains:
            needed.append(registry.domain(cell.domain).pretraining.source)
        can_be_made = all(plan.is_there(run.replace(domain=cell.domain), source) for source in needed)
        if can_be_made and (encoder or cell.state == "stale"):
            beside = cell.file.parent.glob(f"{glob.escape(cell.task)}[.@]*")
            files |= dict.fromkeys([*sorted(beside), *([encoder] if encoder else [])])
    return [file.replace(file.with_name(file.name + ASIDE)) for file in files if file.suffix != ASIDE and file.exists()]


def _state(
    run: Run, data: _Data, task: Task, file: Path, weights: str | None, wrong: tuple[str, ...]
) -> tuple[State, tuple[str, ...]]:
    if not file.exists():
        return "missing", ("no record",)
    try:
        one = record.read(file)
        if one.status == "ok":
            recheck.predictions(file, one)
    except DabsRqError as error:
        return "broken", (first_line(error),)
    if weights is None:
        return "broken", wrong
    if one.status == "failed":
        return "failed", (one.why_no_score,)
    reasons = [f"encoder: {reason}" for reason in wrong]
    if one.checkpoint != weights:
        reasons.append(f"encoder: the record is of {one.checkpoint}, its checkpoint has {weights} now")
    try:
        now = data.splits(task)
        was = {name: getattr(one, name) for name in now}
        reasons += [f"data: {name} was {was[name]}, is {now[name]}" for name in now if was[name] != now[name]]
    except (DabsRqError, OSError, ValueError) as error:
        reasons.append(f"data: {first_line(error)}")
    reasons += _changed_options(run, one.options, of_pretraining=False)
    reasons += _changed_code(one.code, transfer.computed_by(run, task), one.versions)
    return ("stale", tuple(reasons)) if reasons else ("fresh", ())


def _encoder(run: Run, data: _Data, seed: int) -> tuple[str | None, tuple[str, ...]]:
    """The hash of the weights that are there (None: there are none to trust), and what changed since they were made."""
    file = run.checkpoint_file(seed)
    try:
        built = checkpoint.verified(file)
    except DabsRqError as error:
        return None, (first_line(error),)
    about = built["about"]
    reasons = [
        *_changed_options(run, about["options"], of_pretraining=True),
        *_changed_code(about["code"], pretrain.computed_by(run), about["versions"]),
    ]
    if about["examples"] is not None:
        try:
            if (now := data.source()) != about["examples"]:
                reasons.append(f"data: pretrained on {about['examples']}, there is {now} now")
        except (DabsRqError, OSError, ValueError) as error:
            reasons.append(f"data: {first_line(error)}")
    return built["weights"], tuple(reasons)


class _Data:
    """Identities of what a domain reads now, each computed once. They are the same for every method and seed."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._source: str | None = None
        self._splits: dict[str, dict[str, str]] = {}

    def source(self) -> str:
        """Of what the domain pretrains on."""
        if self._source is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._source = pretrain.source_batches(self.run, 0).key
        return self._source

    def splits(self, task: Task) -> dict[str, str]:
        """Of a task's splits, under the names that records have for them."""
        if task.name not in self._splits:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                train, test = self.run.splits.labelled(task)
            self._splits[task.name] = {
                "train_labels": train.labels_key,
                "test_labels": test.labels_key,
                "train_split": train.key,
                "test_split": test.key,
            }
        return self._splits[task.name]


def _changed_options(run: Run, options: Mapping[str, Any], *, of_pretraining: bool) -> list[str]:
    composed = run.composed
    was, now = (composed.affecting_results(each, of_pretraining=of_pretraining) for each in (options, run.values))
    keys = sorted(key for key in was.keys() | now.keys() if was.get(key) != now.get(key))
    return [f"options: {key} was {was.get(key)}, is {now.get(key)}" for key in keys]


def _changed_code(was: Mapping[str, str], now: Mapping[str, str], versions: Mapping[str, str]) -> list[str]:
    if versions["python"].split(".")[:2] != platform.python_version().split(".")[:2]:
        return []
    changed = sorted(name for name in was.keys() | now.keys() if was.get(name) != now.get(name))
    return [f"code: {', '.join(changed)}"] if changed else []


def to_text(cells: Sequence[Cell]) -> str:
    """What is not fresh with its reasons, cells that share them in one place; then a line of counts."""
    lines = []
    for state in ("broken", "stale", "failed", "missing"):
        why: dict[tuple[str, ...], list[Cell]] = {}
        for cell in cells:
            if cell.state == state:
                why.setdefault(cell.reasons, []).append(cell)
        for reasons, alike in why.items():
            lines.append(f"{state}: {len(alike)} cells" if len(alike) > 1 else f"{state}: {alike[0].name}")
            lines += [f"  why: {reason}" for reason in reasons]
            if len(alike) > 1:
                lines += [f"  {cell.name}" for cell in alike]
    counts = Counter(cell.state for cell in cells)
    lines.append(", ".join(f"{counts[state]} {state}" for state in get_args(State)))
    return "\n".join(lines)
