"""Pretraining curves: what training logged beside each checkpoint, by domain, method and seed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dabs_rq import registry
from dabs_rq.domain import Domain
from dabs_rq.report import figure
from dabs_rq.report.figure import INK, Drawn
from dabs_rq.run import Run
from dabs_rq.table.notes import method_title

if TYPE_CHECKING:
    import pandas as pd

POINTS = 200  # of a curve; more are averaged


def draw(runs: Mapping[str, Run], domain: Domain, out: Path) -> tuple[Drawn | None, list[str]]:
    """The curves of a domain (None without any), and which are missing. `runs`: method -> its run in this domain."""
    import pandas as pd

    curves, missing = [], []
    for method, run in runs.items():
        if not registry.method(method).trains:
            continue
        for seed in run.options.seeds:
            folder = run.checkpoint_folder(seed) / "log"
            if (logged := read(folder)) is None:
                missing.append(
                    f"{domain.title}, {method_title(method)}, seed {seed}: no log of pretraining in {folder}."
                )
            else:
                curves.append(logged.assign(method=method, seed=seed))
    if not curves:
        return None, missing
    every = pd.concat(curves)
    return _draw(every, domain, out), missing


def read(folder: Path) -> pd.DataFrame | None:
    """What a pretraining logged: step and a column per scalar, in the order of steps; None where there is nothing that
    can be read. Training writes a file for each start; where a resumed run repeats steps, the later file counts."""
    import pandas as pd

    parts = []
    for file in sorted(folder.glob("from-step-*/metrics.csv"), key=lambda file: int(file.parent.name.split("-")[-1])):
        try:
            part = pd.read_csv(file, on_bad_lines="skip").apply(pd.to_numeric, errors="coerce")
            parts.append(part.dropna(subset="step").drop(columns="epoch", errors="ignore"))
        except (OSError, ValueError, KeyError):
            continue
    found = pd.concat(parts).groupby("step", as_index=False).last() if parts else None
    return None if found is None or found.empty else found


def _draw(every: pd.DataFrame, domain: Domain, out: Path) -> Drawn:
    scalars = sorted(set(every.columns) - {"step", "method", "seed"}, key=lambda name: (name != "loss", name))
    made = figure.new(1.9 * ((len(scalars) + 1) // 2))
    grid = made.subplots((len(scalars) + 1) // 2, min(2, len(scalars)), squeeze=False).ravel()
    ends = []
    for axes, scalar in zip(grid, scalars, strict=False):
        for method, of_method in every.groupby("method", sort=False):
            colour, marker = figure.look(str(method))
            for number, (_, of_seed) in enumerate(of_method.groupby("seed")):
                curve = _thinned(of_seed[["step", scalar]].dropna())
                label = method_title(str(method)) if not number else None
                mark = {"marker": marker, "ms": 3.5, "mew": 0, "markevery": [-1]}
                axes.plot(curve["step"], curve[scalar], color=colour, lw=1.1, alpha=0.85, label=label, **mark)
            last = of_method.dropna(subset=scalar).groupby("seed")[scalar].last().mean()
            ends.append(f"{method_title(str(method))} ends at {scalar} {last:.3g}")
        axes.set(title=scalar, xlabel="step")
        axes.title.set_color(INK)
        axes.margins(x=0.02)
        axes.grid()
    for axes in grid[len(scalars) :]:
        axes.set_axis_off()
    handles, labels = grid[0].get_legend_handles_labels()
    made.legend(handles, labels, loc="outside upper center", ncols=4)
    said = f"Curves of pretraining in {domain.title} over {every['step'].max() + 1:.0f} steps: {'; '.join(ends)}."
    return figure.keep(made, out, f"pretraining-{domain.name}", said)


def _thinned(curve: pd.DataFrame) -> pd.DataFrame:
    """At most POINTS points, each the mean of as many neighbours."""
    width = -(-len(curve) // POINTS)
    return curve.groupby([place // width for place in range(len(curve))]).mean() if width > 1 else curve
