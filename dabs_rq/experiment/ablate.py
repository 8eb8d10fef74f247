"""Ablations: experiments without a file, whose cells are settings of some options.

Every setting is an ordinary variant: its checkpoints and records are saved, and finished settings are not computed
again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
    settings: dict[str, tuple[str, str, Setting]] = {}  # cell -> method, cell of the reference, what it changes
    tasks: dict[tuple[str, str], dict[str, None]] = {}  # (domain, cell) -> names of tasks
    for comparison in compared:
        for domain, method, affected in _affected(run, comparison):
            reference = _cell_name(run, method, comparison.settings[0])
            for setting in comparison.settings:
                name = _cell_name(run, method, setting)
                settings.setdefault(name, (method, reference, setting))
                tasks.setdefault((domain, name), {}).update(dict.fromkeys(task.name for task in affected))
    variants: dict[tuple[str, str], Run] = {}
    errors: list[str] = []
    first: dict[tuple[str, str, str], str] = {}  # domain, method and variant -> the first cell with its results
    equal: dict[str, str] = {}  # cell whose results are those of an earlier one -> that cell
    for (domain, name), of_cell in tasks.items():
        method, _, setting = settings[name]
        try:
            variant = run.replace(setting, domain=domain, method=method)
        except DabsRqError as error:
            errors.append(f"{domain}, {name}: {error}")
            continue
        same = first.setdefault((domain, method, variant.composed.variant(of_pretraining=False)), name)
        if same == name:
            variants[domain, name] = variant
        else:
            equal[name] = same
            tasks[domain, same].update(of_cell)
    cells: list[Cell] = []
    for (domain, name), variant in variants.items():
        method, _, setting = settings[name]
        ordered = [task.name for task in run.domain_called(domain).tasks if task.name in tasks[domain, name]]
        cells.append(Cell(name, _title(run, method, setting, each=each), variant.replace(tasks=ordered)))
    if equal and len(cells) == len({(cell.run.domain.name, settings[cell.name][0]) for cell in cells}):
        alike = "; ".join(f"{name} has the same results as {same}" for name, same in equal.items())
        raise OptionError(f"nothing to compare: {alike}")
    if not cells:
        raise OptionError(
            "nothing to compare: " + ("; ".join(errors) or "no chosen method or domain has these options")
        )
    for name, (method, reference, setting) in settings.items():
        settings[name] = (method, equal.get(reference, reference), setting)
    experiment = _experiment(run, cells, settings, each=each)
    return Ablation(experiment, tuple(cells), tuple(errors), _folder(run, experiment))


def _experiment(
    run: Run, cells: list[Cell], settings: Mapping[str, tuple[str, str, Setting]], *, each: bool
) -> Experiment:
    titles = {cell.name: cell.title for cell in cells}
    specs = {
        name: CellSpec(titles[name], method, setting, against=reference)
        for name, (method, reference, setting) in settings.items()
        if name in titles
    }
    options = list(dict.fromkeys(option for _, _, setting in settings.values() for option in setting))
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


def _cell_name(run: Run, method: str, setting: Setting) -> str:
    """Name a setting by what it changes, so that settings of several comparisons that change nothing are one cell."""
    known = known_options(run)
    changed = [
        f"{option}={value_text(value)}"
        for option, value in setting.items()
        if option not in known or value_text(known[option][0]) != value_text(value)
    ]
    return " ".join([method, *changed])


def _title(run: Run, method: str, setting: Setting, *, each: bool) -> str:
    if each:
        _, *changed = _cell_name(run, method, setting).split(" ")
    else:
        changed = [f"{option}={value_text(value)}" for option, value in setting.items()]
    return ", ".join([method_title(method), *changed])


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
