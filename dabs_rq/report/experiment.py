"""Draws the results of experiments: scores of their cells by probe, and the effective rank of their features."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dabs_rq.errors import DabsRqError
from dabs_rq.experiment import cells as experiments
from dabs_rq.experiment.ablate import NAME, PREFIX
from dabs_rq.experiment.cells import Experiment
from dabs_rq.experiment.results import Results, collect, tables
from dabs_rq.files import locked_folder, remove_leftovers, write_text
from dabs_rq.metrics import metric
from dabs_rq.report import figure, page
from dabs_rq.report.figure import COLOURS, FAINT, MARKERS, Plot
from dabs_rq.report.page import Figure, Section
from dabs_rq.run import Run
from dabs_rq.run.options import PROBE_TITLES
from dabs_rq.table import ours

if TYPE_CHECKING:
    import pandas as pd


def write(results: Results, folder: Path) -> None:
    """Write a page, named after the experiment, which loads nothing, and its figures; without matplotlib, a page that
    says what they need. Raises RecordError if a file of these names is there that is not ours."""
    target = folder / f"{results.experiment.name}.html"
    ours.check_replaceable([target])
    with locked_folder(folder):
        remove_leftovers(folder / "figures")
        no_figures = figure.unavailable()
        plots = [] if no_figures else draw(results, folder)
        about, *notes = results.notes
        html = page.fill(
            "experiment.html",
            title=results.experiment.title,
            about=about,
            plots=plots,
            no_figures=no_figures,
            tables=[(title, list(wide.columns[1:]), _by_task(wide)) for title, wide in tables(results)],
            notes=[*notes, *(f"No result: {name}." for name in results.missing)],
        )
        write_text(target, html)


def _by_task(wide: pd.DataFrame) -> list[tuple[str, list[list[str]]]]:
    """Split a table into the rows of each task, which its first column names: (task, the other columns)."""
    groups = wide.groupby("task", sort=False)
    return [(str(task), part.iloc[:, 1:].to_numpy().tolist()) for task, part in groups]


def section(run: Run, out: Path) -> Section:
    """Make the report's section of all experiments that have results for the run's data, scale and protocol, with a
    figure per task in `out`."""
    texts = [
        "Dots are scores, lines their 95 % intervals over seeds, a colour for each probe; beside them the effective "
        "rank of the features. `make experiment NAME=...` computes an experiment and writes its table."
    ]
    made = Section("experiments", "Experiments", texts)
    for name in experiments.names():
        try:
            declared = experiments.load(name)
            if not _was_begun(declared, run):
                continue
            computed = [cell for cell in experiments.cells(declared, run) if _has_records(cell.run)]
            results = collect(declared, computed) if computed else None
        except DabsRqError as error:
            made.missing.append(f"{name}: {error}")
            continue
        if results is None or results.frame.empty:
            continue
        for task, part in results.frame.groupby("task", sort=False):
            plot = _draw_task(f"experiment-{name}-{task}", part, out)
            caption = f"{name}: {results.experiment.title}. {results.notes[-1]}"
            made.figures.append(Figure(str(part["domain"].iloc[0]), plot, caption, str(part["row"].iloc[0])))
        made.missing += [f"{name}: no result of {missing}." for missing in results.missing]
    made.links += _ablations(run)
    return made


def _ablations(run: Run) -> list[tuple[str, str]]:
    """List the pages of the run's ablations: title and address from the folder of its results."""
    pages = sorted(run.places.results.glob(f"{PREFIX}*/{NAME}.html"))
    found = [(page.parent.name.removeprefix(PREFIX), page) for page in pages if ours.is_ours(page)]
    return [(f"Ablation {name}", f"{page.parent.name}/{page.name}") for name, page in found]


def _was_begun(experiment: Experiment, run: Run) -> bool:
    """Return whether there is a folder of records for a cell's domain and method: a quick look before options are
    composed, which takes a while and may fail for an experiment that nobody asked for."""
    methods = {spec.method for spec in experiment.cells.values()}
    roots = [run.places.records_root(domain) / domain for domain in experiments.domains(experiment, run)]
    return any((root / method).is_dir() for root in roots for method in methods)


def _has_records(run: Run) -> bool:
    return any(run.record_file(task.name, seed).exists() for task in run.tasks for seed in run.options.seeds)


def draw(results: Results, folder: Path) -> list[Plot]:
    """Write a figure per task to folder/figures, as PDF and SVG: a line per cell, a colour per probe."""
    with figure.style():
        by_task = results.frame.groupby("task", sort=False)
        return [_draw_task(str(task), part, folder / "figures") for task, part in by_task]


def _draw_task(file_name: str, part: pd.DataFrame, folder: Path) -> Plot:
    titles = list(dict.fromkeys(part["title"]))
    plot = figure.new(0.9 + 0.36 * len(titles))
    plot.set_figwidth(plot.get_figwidth() + 0.07 * max(0, max(map(len, titles)) - 16))  # room for long titles
    scores, ranks = plot.subplots(1, 2, sharey=True, width_ratios=(3, 1), gridspec_kw={"wspace": 0.08})
    probes = list(dict.fromkeys(part["probe"]))
    step = 0.5 / max(1, len(probes) - 1)
    for number, probe in enumerate(probes):
        colour, marker = COLOURS[number + 1], MARKERS[number]
        for label, row in enumerate(part[part["probe"] == probe].to_dict("records")):
            height = titles.index(row["title"]) - 0.25 + step * number
            name = PROBE_TITLES[probe] if label == 0 else None
            scores.plot([row["low"], row["high"]], [height] * 2, color=colour, lw=1.2)
            scores.plot(row["score"], height, marker, color=colour, ms=4.2, mew=0, label=name)
    majority = part["majority"].iloc[0]
    if majority == majority and part["metric"].iloc[0] == metric("accuracy").title:
        scores.axvline(majority, color=FAINT, lw=1.2, ls=":")
    first = part[part["probe"] == probes[0]]
    heights = [titles.index(title) for title in first["title"]]
    ranks.plot(first["effective_rank"], heights, "o", color=COLOURS[0], ms=4.2, mew=0)
    scores.set(ylim=(len(titles) - 0.5, -0.5), xlabel=f"{part['metric'].iloc[0]}, percent")
    ranks.set(xlabel="effective\nrank", xlim=(0, 1.08 * first["effective_rank"].max()))
    ranks.locator_params("x", nbins=3)
    scores.set_title(part["row"].iloc[0], loc="left")
    scores.set_yticks(range(len(titles)), titles)
    for axes in (scores, ranks):
        axes.tick_params("y", length=0)
        axes.grid(axis="x")
    plot.legend(loc="outside upper center", ncols=1, handletextpad=0.3)
    row_title = part["row"].iloc[0]
    return figure.save(
        plot,
        folder,
        file_name,
        f"Scores on {row_title} with 95 % intervals, by probe, of {', '.join(titles)}, and the effective rank of their "
        "features. The table has the numbers.",
    )
