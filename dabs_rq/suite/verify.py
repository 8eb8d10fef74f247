"""Verifies that every cell of the table still follows from the current code, data and options."""

from __future__ import annotations

import contextlib
import glob
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from dabs_rq import checkpoint, registry
from dabs_rq.domain import Task
from dabs_rq.errors import DabsRqError, first_line
from dabs_rq.pretrain import pretrain
from dabs_rq.pretrain.kept import STALE_SUFFIX
from dabs_rq.pretrain.kept import changes as encoder_changes
from dabs_rq.records import recheck, record
from dabs_rq.records.provenance import provenance
from dabs_rq.run import Run
from dabs_rq.run.changes import changed_options
from dabs_rq.suite import plan
from dabs_rq.transfer import transfer
from dabs_rq.transfer.frozen import frozen_encoder
from dabs_rq.transfer.kept import CurrentData
from dabs_rq.transfer.kept import changes as record_changes
from dabs_rq.transfer.probes import probes

NOT_CHECKED = (
    "not checked: whether training and probes would give the same weights and outputs again, on this machine and with "
    "these libraries; further splits; the spectrum, seconds, dates and hardware in records; the contents of data files "
    "(their names, sizes and times are compared); columns of networks that no encoder file builds"
)

State = Literal["fresh", "stale", "broken", "failed", "missing"]


@dataclass(frozen=True)
class Cell:
    """One cell of the table with the `file` of its record.

    fresh: the cell follows from the current code, data, options and encoder. stale: one of these changed. broken: the
    record, its predictions or its encoder are damaged. failed: there was no score. missing: there is no record.
    `reasons`: why it is not fresh. stale_encoder: the checkpoint file, if the encoder itself is stale.
    `libraries`: those of other versions than now, which alone make nothing stale."""

    domain: str
    task: str
    method: str
    seed: int
    file: Path
    state: State
    reasons: tuple[str, ...] = ()
    stale_encoder: Path | None = None
    libraries: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.domain} / {self.task} with {self.method}, seed {self.seed}"


class Encoder(NamedTuple):
    """The encoder behind a cell as it is now. weights: their hash, None without a usable encoder. reasons: what is
    wrong with it or changed since it was made. file: its checkpoint. architecture: of a network that is scored as it
    is, see `Record`."""

    weights: str | None
    reasons: tuple[str, ...] = ()
    file: Path | None = None
    architecture: str = ""


def verify(run: Run) -> list[Cell]:
    """Recompute every hash and score behind the selected cells. Nothing is trained, encoded or changed."""
    cells = []
    for domain, tasks in plan.selected_tasks(run).items():
        data, reading = CurrentData(run.replace(domain=domain, tasks=None)), run.replace({"loader.prepare": "never"})
        runs = {name: reading.replace(domain=domain, method=name, tasks=None) for name in plan.methods(run)}
        runs |= {name: plan.network_run(reading, name, domain) for name in plan.networks(run, domain)}
        for name, cell_run in runs.items():
            for seed in run.options.seeds:
                encoder = (
                    _network(cell_run, seed) if cell_run.options.scores_network else _encoder(cell_run, data, seed)
                )
                stale = encoder.file if encoder.weights and encoder.reasons else None
                of_encoder = None if encoder.file is None else _versions_of_encoder(encoder.file)
                folder = cell_run.places.records(cell_run.identity(seed, method=name))
                for task in tasks:
                    file = folder / record.file_name(task.name)
                    state, reasons = _state_of_probes(cell_run, data, task, file, encoder)
                    libraries = _other_libraries(file, of_encoder)
                    cells.append(Cell(domain, task.name, name, seed, file, state, reasons, stale, libraries))
    return cells


def rename_stale(run: Run, cells: Sequence[Cell]) -> list[Path]:
    """Rename the records and predictions of stale `cells`, and stale encoders, to *.stale, so that a suite computes
    them again. Leave a cell alone if its data are not available. Return the new file names."""
    files: dict[Path, None] = {}
    for cell in cells:
        encoder = cell.stale_encoder
        sources = [registry.task(cell.domain, cell.task).source]
        if encoder and registry.method(cell.method).trains:
            sources.append(run.domain_called(cell.domain).pretraining.source)
        computable = all(plan.is_available(run.replace(domain=cell.domain), source) for source in sources)
        if computable and (encoder or cell.state == "stale"):
            results = cell.file.parent.glob(f"{glob.escape(cell.task)}[.@+]*")
            files |= dict.fromkeys([*sorted(results), *([encoder] if encoder else [])])
    return [
        file.replace(file.with_name(file.name + STALE_SUFFIX))
        for file in files
        if file.suffix != STALE_SUFFIX and file.exists()
    ]


def _state_of_probes(
    run: Run, data: CurrentData, task: Task, file: Path, encoder: Encoder
) -> tuple[State, tuple[str, ...]]:
    """Return the state of the run's own probe, or of the first other one that is not fresh if the own one is."""
    state, reasons = _state(run, data, task, file, encoder)
    for probe in probes(run)[1:]:
        if state != "fresh":
            break
        of_probe = file.with_name(record.file_name(task.name, further_probe=probe))
        state, reasons = _state(run, data, task, of_probe, encoder)
        reasons = tuple(f"probe {probe}: {reason}" for reason in reasons)
    return state, reasons


def _state(run: Run, data: CurrentData, task: Task, file: Path, encoder: Encoder) -> tuple[State, tuple[str, ...]]:
    if not file.exists():
        return "missing", ("no record",)
    try:
        result = record.read(file)
        if result.status == "ok":
            recheck.predictions(file, result)
    except DabsRqError as error:
        return "broken", (first_line(error),)
    if encoder.weights is None:
        return "broken", encoder.reasons
    if result.status == "failed":
        return "failed", (result.why_no_score,)
    reasons = [f"encoder: {reason}" for reason in encoder.reasons]
    if result.architecture != encoder.architecture:
        reasons.append(f"encoder: the network was {result.architecture}, is {encoder.architecture}")
    reasons += map(str, record_changes(result, task, transfer.computed_by(run, task), encoder.weights, data))
    reasons += _changed_options(run, result.options, of_pretraining=False)
    return ("stale", tuple(reasons)) if reasons else ("fresh", ())


def _network(run: Run, seed: int) -> Encoder:
    """Build the network of an encoder file, to learn its weights and its architecture."""
    try:
        _, weights, _, architecture = frozen_encoder(run, seed)
    except Exception as error:  # a file of others can raise any type
        return Encoder(None, (f"its encoder cannot be built: {type(error).__name__}: {first_line(error)}",))
    return Encoder(weights, architecture=architecture)


def _encoder(run: Run, data: CurrentData, seed: int) -> Encoder:
    """Return the checkpoint's encoder, and what changed since pretraining."""
    file = run.checkpoint_file(seed)
    try:
        description = checkpoint.verified(file)
    except DabsRqError as error:
        return Encoder(None, (first_line(error),), file)
    about = description["about"]
    kinds = {"options": dict, "code": dict, "versions": dict}
    if wrong := [name for name, kind in kinds.items() if not isinstance(about.get(name), kind)]:
        return Encoder(None, (f"{file} does not say with which {', '.join(wrong)} it was made",), file)
    reasons = _changed_options(run, about["options"], of_pretraining=True)
    reasons += map(str, encoder_changes(description, pretrain.computed_by(run), data.source))
    return Encoder(description["weights"], tuple(reasons), file)


def _versions_of_encoder(file: Path) -> Any:
    """Return the versions of libraries that a checkpoint names; None if it cannot be read or names none."""
    with contextlib.suppress(DabsRqError):
        return checkpoint.describe(file)["about"].get("versions")
    return None


def _other_libraries(record_file: Path, of_encoder: Any) -> tuple[str, ...]:
    """List the libraries whose versions differ between a record or its checkpoint and this process."""
    now: Mapping[str, str] = provenance()["versions"]
    listed: dict[str, None] = {}
    versions: list[Any] = []
    with contextlib.suppress(DabsRqError):
        versions.append(record.read(record_file).versions)
    for then in (*versions, of_encoder):
        for name, version in then.items() if isinstance(then, dict) else ():
            if now.get(name) != version:
                listed[f"{name} was {version}, is {now.get(name, 'not installed')}"] = None
    return tuple(listed)


def _changed_options(run: Run, options: Mapping[str, Any], *, of_pretraining: bool) -> list[str]:
    return [f"options: {change}" for change in changed_options(run, options, of_pretraining=of_pretraining)]


def to_text(cells: Sequence[Cell]) -> str:
    """List the cells that are not fresh, grouped by their reasons, then the libraries that differ, what was not
    checked, and a line of counts."""
    lines = []
    for state in ("broken", "stale", "failed", "missing"):
        by_reasons: dict[tuple[str, ...], list[Cell]] = {}
        for cell in cells:
            if cell.state == state:
                by_reasons.setdefault(cell.reasons, []).append(cell)
        for reasons, alike in by_reasons.items():
            lines.append(f"{state}: {len(alike)} cells" if len(alike) > 1 else f"{state}: {alike[0].name}")
            lines += [f"  why: {reason}" for reason in reasons]
            if len(alike) > 1:
                lines += [f"  {cell.name}" for cell in alike]
    libraries = Counter(library for cell in cells for library in cell.libraries)
    lines += [f"other version of a library: {library} ({count} cells)" for library, count in libraries.items()]
    if any(cell.state in ("fresh", "stale") for cell in cells):
        lines.append(NOT_CHECKED)
    counts = Counter(cell.state for cell in cells)
    lines.append(", ".join(f"{counts[state]} {state}" for state in get_args(State)))
    return "\n".join(lines)
