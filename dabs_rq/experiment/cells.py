"""Experiments: titled cells, each a variant of a run, that are compared with one another. One YAML each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch

from dabs_rq import registry
from dabs_rq.errors import NotServedError, OptionError, unknown
from dabs_rq.methods.base import build_method
from dabs_rq.run import Run
from dabs_rq.run.compose import choices, read
from dabs_rq.typed import checked

GROUP = "experiment"
# Words of options that make another recipe than that of the published scores.
RECIPE = ("encoder", "pretrain.", "method.", "transfer.", "trainer.precision", "domain=")
NOT_OF_RECIPE = ("pretrain.checkpoint_every",)


@dataclass(frozen=True)
class CellSpec:
    """A cell as its file declares it. title: of its column. method, options: of its run. published: the published score
    of the full budget, in percent. against: the cell that its difference refers to, by default the experiment's
    reference."""

    title: str
    method: str
    options: dict[str, Any] | None = None
    published: float | None = None
    against: str | None = None


@dataclass(frozen=True)
class Experiment:
    """An experiment as its file in configs/experiment/ declares it.

    about: the question it answers. domains, seeds: the default choice. options: of every cell; a command's own options
    win. scales: name of a scale -> further options of every cell at that scale; if given, the experiment has no other
    scale. reference: the cell that differences refer to. cells: name -> cell, in order. published_source: where the
    cells' published scores are from. assumptions: what is not public, and what was assumed. probes: whether all probes
    are shown, or each cell's own.
    """

    name: str
    title: str
    about: str
    domains: tuple[str, ...]
    seeds: tuple[int, ...]
    reference: str
    cells: dict[str, CellSpec]
    options: dict[str, Any] | None = None
    scales: dict[str, dict[str, Any]] | None = None
    published_source: str | None = None
    assumptions: tuple[str, ...] = ()
    probes: Literal["all", "own"] = "all"

    def reference_of(self, cell: str) -> str:
        """Return the cell that the difference of a cell refers to."""
        return self.cells[cell].against or self.reference


class Cell(NamedTuple):
    """A cell on one domain. run: of one domain and method, for all seeds of the experiment. changed: the options of the
    recipe that the command changed, as words."""

    name: str
    title: str
    run: Run
    changed: tuple[str, ...] = ()

    @property
    def published_compares(self) -> bool:
        """Whether the run has the data, the budget and the recipe of a published score."""
        return self.run.published_compares and not self.changed


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
    if experiment.published_source is None and any(cell.published is not None for cell in cells.values()):
        raise OptionError(f"{file}: cells have published scores, so `published_source` says where they are from")
    named = {"reference": experiment.reference} | {f"cells.{key}.against": cell.against for key, cell in cells.items()}
    for key, reference in named.items():
        if reference is not None and reference not in cells:
            raise OptionError(f"{file}: {unknown('cell', reference, cells)} It is the `{key}`.")
    return experiment


def cells(experiment: Experiment, run: Run, tell: Callable[[str], None] | None = None) -> list[Cell]:
    """Make the cells, by domain and then in the experiment's order, but those whose method does not serve the domain.

    run: gives data, folders, scale and protocol, and replaces seeds, domains and options that it was given. A data root
    adds the domains of the table that have their pretraining source and a task's source there. tell: is told which
    cells are left out, and why.
    Raises: OptionError for an option that a cell's method, encoder or domain does not declare.
    """
    of_scale = _of_scale(experiment, run.options.scale.name)
    common = {**(experiment.options or {}), **of_scale, "seeds": list(experiment.seeds), **run.given}
    changed = tuple(word for word in run.words if word.startswith(RECIPE) and not word.startswith(NOT_OF_RECIPE))
    made, left_out = [], dict[tuple[str, str], list[str]]()
    for domain in domains(experiment, run):
        registry.domain(domain)
        for name, spec in experiment.cells.items():
            given = {**common, "domain": [domain], "method": [spec.method], **(spec.options or {})}
            cell = Cell(name, spec.title, Run.compose(given), changed)
            try:
                _check_served(cell.run)
            except NotServedError as error:
                left_out.setdefault((domain, str(error)), []).append(spec.title)
                continue
            made.append(cell)
    for (domain, reason), titles in left_out.items():
        if tell is not None:
            tell(f"{domain}: left out, because {reason}: {'; '.join(titles)}")
    return made


def _check_served(run: Run) -> None:
    """Raise NotServedError if the run's method serves not the domain's inputs or not the encoder."""
    method, encoder = registry.method(run.method.name), registry.encoder(run.options.encoder.name)
    if not method.trains:
        return
    with torch.device("meta"):  # shapes without numbers
        inputs = run.inputs_of(run.domain)
        built = encoder.build(run.options.encoder.options, inputs, run.options.protocol.padding_mask)
        build_method(method, run.method.options, built)


def domains(experiment: Experiment, run: Run) -> tuple[str, ...]:
    """List the domains on which the cells are computed."""
    return run.options.domains or (*experiment.domains, *_present(experiment, run))


def _of_scale(experiment: Experiment, scale: str) -> dict[str, Any]:
    if experiment.scales is None:
        return {}
    if scale not in experiment.scales:
        raise OptionError(
            f"experiment {experiment.name!r} is declared for scale={', scale='.join(experiment.scales)}; got {scale}"
        )
    return experiment.scales[scale]


def _present(experiment: Experiment, run: Run) -> list[str]:
    """List the domains of the table, beyond those of the experiment, whose sources lie under the data root."""
    root = run.options.data
    if root is None:
        return []
    return [
        domain.name
        for domain in registry.chosen_domains(None, run.options.scale.sources, run.options.table.columns)
        if domain.name not in experiment.domains
        and not domain.pretraining.source.missing(root)
        and any(not task.source.missing(root) for task in domain.tasks)
    ]
