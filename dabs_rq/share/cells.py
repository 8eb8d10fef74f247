"""The results of a run that are exported or packed: those that its table shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dabs_rq import metrics, registry, table
from dabs_rq.domain import Domain, Task
from dabs_rq.errors import OptionError, RecordError
from dabs_rq.experiment.compare import Result, numbers
from dabs_rq.records.record import Record
from dabs_rq.run import Run, words
from dabs_rq.run.options import PATHS
from dabs_rq.share.private import without_private
from dabs_rq.table.columns import column_title
from dabs_rq.table.records import record_file


@dataclass(frozen=True)
class Cell:
    """One cell of the table. column: its method or network, and "+probe" for a further probe. results: one per seed.

    score, low, high: the mean over seeds and its 95 % interval, in percent; the bounds are NaN where none is known.
    """

    domain: Domain
    task: Task
    column: str
    results: tuple[Result, ...]
    score: float
    low: float
    high: float

    @property
    def record(self) -> Record:
        """The record of the first seed."""
        return self.results[0].record

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(result.record.seed for result in self.results)

    @property
    def made_up(self) -> bool:
        return self.record.made_up_data

    @property
    def title(self) -> str:
        """The title of the method or network, with that of a further probe."""
        return column_title(self.column)

    @property
    def metric(self) -> str:
        return metrics.metric(self.task.metric).title

    @property
    def source_title(self) -> str:
        """The title of the data; it says so if they are made up."""
        title = self.task.source.title
        return f"MADE-UP miniature data in the layout of {title}" if self.made_up else title

    @property
    def interval_of(self) -> str:
        """What the interval is over; "" without one."""
        if math.isnan(self.low):
            return ""
        count = len(self.results)
        return f"Student's t over {count} seeds" if count > 1 else "normal, over the test examples of one seed"

    @property
    def created(self) -> str:
        """When the last of the records was computed, ISO 8601."""
        return max(result.record.created for result in self.results)


@dataclass(frozen=True)
class Chosen:
    """The chosen results. run: of the selection. cells: in table order. notes: the footnotes of the table. not_chosen:
    how many other records there are, and why they are not of the selection. without_score: results of the selection
    that have no score, and why. errors: records that are damaged or differ from their predictions."""

    run: Run
    cells: tuple[Cell, ...]
    notes: tuple[str, ...]
    not_chosen: tuple[str, ...]
    without_score: tuple[str, ...]
    errors: tuple[RecordError, ...]

    @property
    def made_up(self) -> bool:
        return any(cell.made_up for cell in self.cells)

    @property
    def name(self) -> str:
        """The name of the collection of models."""
        return f"dabs_rq-{self.run.options.scale.name}-{self.run.options.protocol.name}"

    @property
    def places(self) -> tuple[Path | None, ...]:
        """The paths of this machine that the run names."""
        options = self.run.options
        return (options.data, self.run.places.data, options.runs, self.run.places.runs)

    @property
    def models(self) -> dict[tuple[str, str], list[Cell]]:
        """The cells by (domain, method or network); those of further probes are of the same model."""
        models: dict[tuple[str, str], list[Cell]] = {}
        for cell in self.cells:
            models.setdefault((cell.domain.name, cell.record.method), []).append(cell)
        return models


def choose(run: Run) -> Chosen:
    """Choose the results that the table of `run` shows. Raises RecordError if there are none."""
    built = table.build(run)
    cells: list[Cell] = []
    without_score: list[str] = []
    for (domain_name, task_name), row in built.results.items():
        domain = run.domain_called(domain_name)  # with the sources of the scale
        task = domain.task(task_name) or registry.task(domain_name, task_name)
        for name, by_seed in row.records.items():
            results = [Result(one, record_file(run, one)) for _, one in sorted(by_seed.items())]
            cells.append(_cell(domain, task, name, results))
        without_score += [
            f"{domain_name}/{task_name} with {name}, seed {seed}: no score ({failed.why_no_score})"
            for (name, seed), failed in row.failed.items()
        ]
    if not cells:
        places = sorted({str(run.places.records_root(domain.name)) for domain in run.domains})
        why = [str(error) for error in built.errors] or without_score or list(built.not_shown) or ["no records there"]
        raise RecordError(
            f"no results of this selection. Expected records below {', '.join(places)}; found: {'; '.join(why)}. "
            "`suite` with the same options computes them."
        )
    return Chosen(run, tuple(cells), built.notes, built.not_shown, tuple(without_score), built.errors)


def _cell(domain: Domain, task: Task, name: str, results: Sequence[Result]) -> Cell:
    measured = numbers(task, results, results)
    return Cell(domain, task, name, tuple(results), measured["score"], measured["low"], measured["high"])


def selection(given: Sequence[str]) -> tuple[Run, Path | None]:
    """Make the run of a command line whose `out=` is a file or a folder of this command. Returns both."""
    options = words.parse(given)
    out = options.pop("out", None)
    if "checkpoint" in options:
        raise OptionError("checkpoint= chooses no results: give domain=, method=, encoders=, seeds=, scale=, data=")
    return Run.compose(options), None if out is None else Path(out).expanduser()


def command(run: Run) -> str:
    """Return the command that computes these results, without the paths of this machine."""
    given = without_private({key: value for key, value in run.given.items() if key not in PATHS})
    data = ["data=/root/of/the/data"] if run.options.data is not None else []
    return words.shell_line("suite", [*words.to_words(given), *data])
