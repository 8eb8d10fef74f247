"""Experiments: titled cells, each a variant of a run, that are compared with one another. One YAML each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from dabs_rq import registry
from dabs_rq.errors import OptionError, unknown
from dabs_rq.run import Run
from dabs_rq.run.compose import choices, read
from dabs_rq.typed import checked

GROUP = "experiment"


@dataclass(frozen=True)
class CellSpec:
    """A cell as its file declares it. title: of its column. method, options: of its run. domains: those that it applies
    to; None for all of the experiment."""

    title: str
    method: str
    options: dict[str, Any] | None = None
    domains: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Experiment:
    """An experiment as its file in configs/experiment/ declares it.

    about: the question it answers. domains, seeds: the default choice. options: of every cell; a command's own options
    win. reference: the cell that differences refer to. cells: name -> cell, in order.
    """

    name: str
    title: str
    about: str
    domains: tuple[str, ...]
    seeds: tuple[int, ...]
    reference: str
    cells: dict[str, CellSpec]
    options: dict[str, Any] | None = None


class Cell(NamedTuple):
    """A cell on one domain. run: of one domain and method, for all seeds of the experiment."""

    name: str
    title: str
    run: Run


def names() -> dict[str, str]:
    """List the experiments: name -> title."""
    return {name: load(name).title for name in choices(GROUP)}


def load(name: str) -> Experiment:
    """Read an experiment. Raises OptionError, which names the file and the key, if it is unknown or not legal."""
    file, content = read(GROUP, name)
    raw_cells = content.get("cells")
    if not isinstance(raw_cells, Mapping) or not raw_cells:
        raise OptionError(f"{file}: `cells` is a mapping of names to cells; got {raw_cells!r}")
    cells = {key: checked(CellSpec, value or {}, f"{file}: cells.{key}.") for key, value in raw_cells.items()}
    experiment: Experiment = checked(Experiment, {**content, "name": name, "cells": cells}, f"{file}: ")
    if experiment.reference not in cells:
        raise OptionError(f"{file}: {unknown('cell', experiment.reference, cells)} It is the `reference`.")
    return experiment


def cells(experiment: Experiment, run: Run) -> list[Cell]:
    """Make the cells, by domain and then in the experiment's order.

    run: gives data, folders, scale and protocol, and replaces seeds, domains and options that it was given. A data root
    adds the domains of the table that have their pretraining source and a task's source there.
    Raises: OptionError for an option that a cell's method, encoder or domain does not declare.
    """
    common = {**(experiment.options or {}), "seeds": list(experiment.seeds), **run.given}
    domains = run.options.domains or (*experiment.domains, *_present(experiment, run))
    made = []
    for domain in domains:
        registry.domain(domain)
        for name, spec in experiment.cells.items():
            if spec.domains is not None and domain not in spec.domains:
                continue
            given = {**common, "domain": [domain], "method": [spec.method], **(spec.options or {})}
            made.append(Cell(name, spec.title, Run.compose(given)))
    return made


def _present(experiment: Experiment, run: Run) -> list[str]:
    """List the domains of the table, beyond those of the experiment, whose sources lie under the data root."""
    root = run.options.data
    if root is None:
        return []
    known = [registry.domain(name, run.options.scale.sources) for name in registry.domain_names()]
    return [
        domain.name
        for domain in known
        if domain.in_table
        and domain.name not in experiment.domains
        and not domain.pretraining.source.missing(root)
        and any(not task.source.missing(root) for task in domain.tasks)
    ]
