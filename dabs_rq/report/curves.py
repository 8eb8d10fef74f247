"""Draws pretraining curves from the logs beside the checkpoints, by domain, method and seed, and collects warnings."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dabs_rq import checkpoint, registry
from dabs_rq.domain import Domain
from dabs_rq.errors import CheckpointError
from dabs_rq.pretrain import logs
from dabs_rq.report import figure
from dabs_rq.report.figure import INK, Plot
from dabs_rq.run import Run
from dabs_rq.table.columns import method_title

if TYPE_CHECKING:
    import pandas as pd

POINTS = 200  # of a curve; longer ones are averaged down


def draw(runs: Mapping[str, Run], domain: Domain, out: Path) -> tuple[Plot | None, list[str]]:
    """Draw the curves of a domain. `runs`: method -> its run in this domain.

    Returns the figure (None without any curve), and messages of what is missing: one for each curve, or one for all if
    there is none."""
    import pandas as pd

    curves, missing = [], []
    for method, run in runs.items():
        if not registry.method(method).trains:
            continue
        for seed in run.options.seeds:
            folder = run.checkpoint_folder(seed) / logs.LOG
            log = logs.read(folder)
            if log is None or "loss" not in log:  # without a loss: fewer steps than lie between two logs of it
                what = "no log of pretraining" if log is None else "no loss in the log of pretraining"
                missing.append(f"{domain.title}, {method_title(method)}, seed {seed}: {what} in {folder}.")
            else:
                curves.append(log.assign(method=method, seed=seed))
    if not curves:
        titles = [method_title(method) for method in runs if registry.method(method).trains]
        named = f"{domain.title}: no loss was logged in pretraining with {', '.join(titles)}"
        return None, [f"{named}; {_needed(runs, domain)}."] if missing else []
    return _draw(pd.concat(curves), domain, out), missing


def _needed(runs: Mapping[str, Run], domain: Domain) -> str:
    """Say what a pretraining of the domain needs: its source, or else the command."""
    run, source = next(iter(runs.values())), domain.pretraining.source
    if not run.made_up and source.state(run.root) == "missing":
        return f"{source.title}, which it needs, is not under {run.root}"
    return f"`make pretrain DOMAIN={domain.name}` trains one"


def warnings(runs: Mapping[str, Run], domain: Domain) -> list[str]:
    """Read the warnings of pretraining that the checkpoints of a domain hold. `runs`: see `draw`."""
    found = []
    for method, run in runs.items():
        for seed in run.options.seeds:
            with contextlib.suppress(CheckpointError):  # the page says elsewhere which results are missing
                about = checkpoint.describe(run.checkpoint_file(seed))["about"]
                named = f"{domain.title}, {method_title(method)}, seed {seed}"
                found += [f"{named}: {text}" for text in about.get("warnings") or () if isinstance(text, str)]
    return found


def _draw(curves: pd.DataFrame, domain: Domain, out: Path) -> Plot:
    scalars = sorted(
        set(curves.columns) - {"step", "method", "seed"}, key=lambda name: (name != "loss", "/" in name, name)
    )
    plot = figure.new(1.9 * ((len(scalars) + 1) // 2))
    grid = plot.subplots((len(scalars) + 1) // 2, min(2, len(scalars)), squeeze=False).ravel()
    ends = []
    for axes, scalar in zip(grid, scalars, strict=False):
        title = scalar.rpartition("/")[2].replace("_", " ")
        for method, method_curves in curves.groupby("method", sort=False):
            colour, marker = figure.method_style(str(method))
            for position, (_, seed_curve) in enumerate(method_curves.groupby("seed")):
                curve = _thinned(seed_curve[["step", scalar]].dropna())
                label = method_title(str(method)) if position == 0 else None
                mark = {"marker": marker, "ms": 3.5, "mew": 0, "markevery": [-1]}
                axes.plot(curve["step"], curve[scalar], color=colour, lw=1.1, alpha=0.85, label=label, **mark)
            last = method_curves.dropna(subset=scalar).groupby("seed")[scalar].last().mean()
            ends.append(f"{method_title(str(method))} ends at {title} {last:.3g}")
        axes.set(title=title, xlabel="step")
        axes.title.set_color(INK)
        axes.margins(x=0.02)
        axes.grid()
    for axes in grid[len(scalars) :]:
        axes.set_axis_off()
    handles, labels = grid[0].get_legend_handles_labels()
    plot.legend(handles, labels, loc="outside upper center", ncols=figure.legend_columns(labels))
    steps = curves.dropna(subset="loss")["step"].max() + 1  # features are also measured after the last step
    alternative = f"Curves of pretraining in {domain.title} over {steps:.0f} steps: {'; '.join(ends)}."
    return figure.save(plot, out, f"pretraining-{domain.name}", alternative)


def _thinned(curve: pd.DataFrame) -> pd.DataFrame:
    """Reduce a curve to at most POINTS points by averaging groups of neighbours."""
    width = -(-len(curve) // POINTS)
    return curve.groupby([position // width for position in range(len(curve))]).mean() if width > 1 else curve
