"""Ablations: experiments without a file, whose cells are settings of some options.

Every setting is an ordinary variant: its checkpoints and records are saved, and finished settings are not computed
again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from dabs_rq import registry
from dabs_rq.domain import Task
from dabs_rq.errors import DabsRqError, OptionError
from dabs_rq.experiment.cells import Cell, CellSpec, Experiment
from dabs_rq.experiment.settings import Comparison, Setting, axes, comparisons, known_options
from dabs_rq.files import digest
from dabs_rq.run import Run
from dabs_rq.run.words import value_text
from dabs_rq.table.columns import method_title
from dabs_rq.typed import field_names

NAME = "ablation"  # of its files
PREFIX = "ablation-"  # of its folders


@dataclass(frozen=True)
class Ablation:
    """`errors`: messages of settings that cannot be composed. `folder`: where its results go."""

    experiment: Experiment
    cells: tuple[Cell, ...]
    errors: tuple[str, ...]
    folder: Path


def ablation(run: Run, over: str, *, each: bool = False) -> Ablation:
    """Make the cells: settings of options, for the run's domains (default: all that they affect), methods and seeds.
    Differences are from the first setting of a comparison. Settings with the same results, such as bins=8 and bins=08,
    are one cell.

    over: the options to compare, see `axes`. each: change one option at a time, instead of all combinations.
    Raises OptionError if nothing can be compared."""
    if not run.options.method_given:
        run = run.of_one_method()
    compared = comparisons(axes(run, over), each=each)
    made = _Made(run, each)
    for comparison in compared:
        for domain, method, affected in _affected(run, comparison):
            reference: str | None = None
            for setting in comparison.settings:
                name = made.add(domain, method, affected, setting, reference)
                reference = reference or name
    cells = made.cells()
    options = list(dict.fromkeys(option for one in compared for setting in one.settings for option in setting))
    experiment = _experiment(run, cells, made.specs, options, each=each)
    return Ablation(experiment, tuple(cells), tuple(made.errors), _folder(run, experiment))


class _Made:
    """The cells made so far. each: whether a title names only what its setting changes."""

    def __init__(self, run: Run, each: bool) -> None:
        self.run, self.each, self.known = run, each, known_options(run)
        self.specs: dict[str, CellSpec] = {}
        self.variants: dict[tuple[str, str], Run] = {}  # (domain, cell) -> its run
        self.tasks: dict[tuple[str, str], set[str]] = {}
        self.errors: dict[str, None] = {}  # of settings that cannot be composed
        self.names: dict[tuple[str, str, str], str] = {}  # domain, method and variant -> the first cell of its results
        self.alike: dict[str, str] = {}  # setting with the results of an earlier one -> that cell

    def add(self, domain: str, method: str, tasks: tuple[Task, ...], setting: Setting, reference: str | None) -> str:
        """Add a setting and return its cell, which may be that of an earlier one. reference: the cell that its
        difference refers to, None for itself."""
        changed = {
            option: value
            for option, value in setting.items()
            if option not in self.known or value_text(self.known[option][0]) != value_text(value)
        }
        own = " ".join([method, *_words(changed)])
        try:
            variant = self.run.replace(setting, domain=domain, method=method)
        except DabsRqError as error:
            self.errors[f"{domain}, {own}: {error}"] = None
            return own
        name = self.names.setdefault((domain, method, variant.composed.variant(of_pretraining=False)), own)
        if name != own:
            self.alike[own] = name
        title = ", ".join([method_title(method), *_words(changed if self.each else setting)])
        self.specs.setdefault(name, CellSpec(title, method, setting, against=reference or name))
        self.variants.setdefault((domain, name), variant)
        self.tasks.setdefault((domain, name), set()).update(task.name for task in tasks)
        return name

    def cells(self) -> list[Cell]:
        """Return the cells, each with its tasks. Raises OptionError if there are no two to compare."""
        if self.alike and len(self.variants) == len(
            {(domain, self.specs[name].method) for domain, name in self.variants}
        ):
            same = "; ".join(f"{name} has the same results as {first}" for name, first in self.alike.items())
            raise OptionError(f"nothing to compare: {same}")
        if not self.variants:
            why = "; ".join(self.errors) or "no chosen method or domain has these options"
            raise OptionError(f"nothing to compare: {why}")
        return [
            Cell(
                name,
                self.specs[name].title,
                run.replace(tasks=[task.name for task in run.domain.tasks if task.name in self.tasks[domain, name]]),
            )
            for (domain, name), run in self.variants.items()
        ]


def _experiment(
    run: Run, cells: list[Cell], specs: dict[str, CellSpec], options: list[str], *, each: bool
) -> Experiment:
    how = "one option at a time" if each else "all combinations"
    return Experiment(
        name=NAME,
        title=f"Ablation of {', '.join(options)}",
        about=f"{how.capitalize()} of the values of {', '.join(options)}, under the run's own probe.",
        domains=tuple(dict.fromkeys(cell.run.domain.name for cell in cells)),
        seeds=run.options.seeds,
        reference=next(iter(specs)),
        cells=specs,
        probes="own",
    )


def _words(setting: Setting) -> list[str]:
    return [f"{option}={value_text(value)}" for option, value in setting.items()]


def _affected(run: Run, comparison: Comparison) -> Iterator[tuple[str, str, tuple[Task, ...]]]:
    """Yield the domains, methods and tasks that the options of a comparison affect: methods that declare the compared
    options, and without domain= domains that declare the compared protocol options."""
    options, axis = run.options, comparison.axis
    compared = {name for name in comparison.settings[0] if name.startswith("protocol.")}
    own = {name.removeprefix("method.") for name in comparison.settings[0] if name.startswith("method.")}
    methods = [name for name in run.methods if own <= set(field_names(registry.method(name).options))]
    methods = [name for name in methods if axis is None or not axis.methods or name in axis.methods]
    for name, method in product([domain.name for domain in run.domains], methods):
        tasks = run.domain_called(name).tasks
        if options.tasks is not None:
            tasks = tuple(task for task in tasks if task.name in options.tasks)
        if axis and axis.moves and name not in axis.moves:
            tasks = tuple(task for task in tasks if task.name in axis.moves)
        declares = options.domains is not None or compared <= run.replace(domain=name, method=method).values.keys()
        if tasks and declares:
            yield name, method, tasks


def _folder(run: Run, experiment: Experiment) -> Path:
    scope = "-".join(run.options.domains or ["all"])
    methods = "-".join(dict.fromkeys(spec.method for spec in experiment.cells.values()))
    changed: dict[str, Any] = run.replace(method=run.methods[-1]).composed.changed(of_pretraining=False)
    identity = digest(list(experiment.cells), changed)  # other values, another folder
    return run.places.results / f"{PREFIX}{scope}-{methods}-{identity}"
