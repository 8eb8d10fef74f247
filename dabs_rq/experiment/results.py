"""The results of an experiment: collected from records, and written as CSV, Markdown and LaTeX."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dabs_rq.experiment.cells import Cell, Experiment
from dabs_rq.experiment.compare import NUMBERS, Result, numbers, with_interval
from dabs_rq.files import locked_folder, write_text
from dabs_rq.methods.pictures import PictureOptions
from dabs_rq.metrics import metric
from dabs_rq.records import record
from dabs_rq.records.record import Record
from dabs_rq.run import Run
from dabs_rq.run.options import PROBE_TITLES, Probe, TransferOptions
from dabs_rq.table import ours
from dabs_rq.table.text import to_tex
from dabs_rq.transfer.probes import further, probes

if TYPE_CHECKING:
    import pandas as pd

SPECTRUM = ("effective_rank", "top_share")
PUBLISHED = ("published", "from_published")
COLUMNS = ("domain", "task", "row", "metric", "probe", "cell", "title", *NUMBERS, *SPECTRUM, "features")


@dataclass(frozen=True)
class Results:
    """`frame`: a row per domain, task, probe and cell, with `COLUMNS`, and `PUBLISHED` if the experiment has published
    scores; scores and differences in percent. `from_published` is a number only for what can be compared.
    `missing`: cells without a result, in words. `notes`: what the numbers are of."""

    experiment: Experiment
    frame: pd.DataFrame
    missing: tuple[str, ...]
    notes: tuple[str, ...]


def collect(experiment: Experiment, cells: Sequence[Cell]) -> Results:
    """Read the records of the cells. Raises RecordError for one that cannot be read."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    missing = []
    records: list[Record] = []
    for domain in dict.fromkeys(cell.run.domain.name for cell in cells):
        of_domain = [cell for cell in cells if cell.run.domain.name == domain]
        for task in of_domain[0].run.domain.tasks:
            of_task = [cell for cell in of_domain if task in cell.run.tasks]
            for by_cell in _probes(experiment, of_task):
                found = {cell.name: _read(cell.run, task.name, by_cell[cell.name]) for cell in of_task}
                records += [result.record for results in found.values() for result in results]
                for cell in of_task:
                    probe = by_cell[cell.name]
                    if not (results := found[cell.name]):
                        missing.append(f"{domain}, {task.name}, {cell.title}, {probe}")
                        continue
                    row = {"domain": domain, "task": task.name, "row": task.row, "metric": metric(task.metric).title}
                    row |= {"probe": probe, "cell": cell.name, "title": cell.title}
                    measured = numbers(task, results, found.get(experiment.reference_of(cell.name), []))
                    published = _published(experiment, cell, measured["score"])
                    rows.append(row | measured | _spectrum(results) | published)
    columns = [*COLUMNS, *(PUBLISHED if _has_published(experiment) else ())]
    return Results(experiment, pd.DataFrame(rows, columns=columns), tuple(missing), _notes(experiment, cells, records))


def _probes(experiment: Experiment, cells: Sequence[Cell]) -> list[dict[str, Probe]]:
    """Return what is compared: for each probe, or once for each cell's own, cell -> probe."""
    if experiment.probes == "own":
        return [{cell.name: probes(cell.run)[0] for cell in cells}]
    return [dict.fromkeys((cell.name for cell in cells), probe) for probe in (probes(cells[0].run) if cells else ())]


def _has_published(experiment: Experiment) -> bool:
    return any(cell.published is not None for cell in experiment.cells.values())


def _published(experiment: Experiment, cell: Cell, score: float) -> dict[str, float]:
    """Return the published score of a cell, and the difference of `score` from it if they can be compared."""
    if (published := experiment.cells[cell.name].published) is None:
        return {}
    compares = cell.published_compares
    return {"published": published} | ({"from_published": score - published} if compares else {})


def _read(run: Run, task: str, probe: Probe) -> list[Result]:
    """Read one result per seed that has a score."""
    name = record.file_name(task, further_probe=further(run, probe))
    results = []
    for seed in run.options.seeds:
        file = run.record_file(task, seed).with_name(name)
        if file.exists() and (result := record.read(file)).score is not None:
            results.append(Result(result, file))
    return results


def _spectrum(results: Sequence[Result]) -> dict[str, float]:
    """Return the mean over seeds of the measures of the features' spectrum."""
    measured = [result.record.spectrum for result in results if result.record.spectrum]
    means = {name: statistics.mean(values[name] for values in measured) for name in SPECTRUM if measured}
    return means | {"features": results[0].record.spectrum.get("width", float("nan"))}


def _notes(experiment: Experiment, cells: Sequence[Cell], records: Sequence[Record]) -> tuple[str, ...]:
    run = cells[0].run
    options = run.options
    seeds = ", ".join(map(str, options.seeds))
    data = list(dict.fromkeys(note for cell in cells for note in (cell.run.data_note, *cell.run.source_notes)))
    steps = ", ".join(dict.fromkeys(str(cell.run.options.pretrain.steps) for cell in cells))
    of_seeds = "over seeds (Student's t)" if len(options.seeds) > 1 else "over test examples of one seed"
    commits, machines, days = (
        ", ".join(sorted(set(values)))
        for values in (
            [str(one.commit) for one in records],
            [one.hardware for one in records],
            [one.created.partition("T")[0] for one in records],
        )
    )
    return (
        experiment.about.strip(),
        *data,
        *_recipe_notes(experiment, cells),
        *_crop_notes(cells),
        f"Scale {options.scale.name}, protocol {options.protocol.name}, {steps} steps of pretraining, seeds {seeds}.",
        f"Percent; 95 % intervals {of_seeds}. Differences are from {_references(experiment)}, paired by seed.",
        "Effective rank and top share: of the features of up to 512 training examples (mean over seeds); the first is "
        "at most the number of features, the second is the share of the variance along one direction.",
        f"Computed on {days or 'no day yet'} at commit {commits or 'none'} on {machines or 'no machine'}.",
    )


def _references(experiment: Experiment) -> str:
    """Name the cells that differences refer to."""
    names = dict.fromkeys(map(experiment.reference_of, experiment.cells))
    titles = [experiment.cells[name].title for name in names if name in experiment.cells]
    return titles[0] if len(titles) == 1 else f"the cell of the same method among {'; '.join(titles)}"


def _recipe_notes(experiment: Experiment, cells: Sequence[Cell]) -> list[str]:
    """Write what is assumed, and what the published scores are worth beside these."""
    notes = [f"Assumed: {'; '.join(experiment.assumptions)}."] if experiment.assumptions else []
    if not _has_published(experiment):
        return notes
    if cells[0].published_compares:
        return [*notes, f"Published scores: {experiment.published_source}."]
    changed = f", with {', '.join(cells[0].changed)}" if cells[0].changed else ""
    return [
        *notes,
        f"Published scores ({experiment.published_source}) are of the full budget on real data; these are of scale "
        f"{cells[0].run.options.scale.name}{changed}, so they do not compare.",
    ]


def _crop_notes(cells: Sequence[Cell]) -> list[str]:
    """Name the cells whose pretraining or probe takes random crops of inputs that are parts of the pictures."""
    partly = [cell for cell in cells if cell.run.domain.pretraining.whole is not None]
    cropping = {
        "Pretraining": [cell.title for cell in partly if _crops_inputs(cell.run.method.options)],
        "The probe": [cell.title for cell in partly if _probes_crops_of_inputs(cell.run.options.transfer)],
    }
    return [
        f"{what} takes random crops from the centre square of each picture; the published recipe takes them from the "
        f"whole picture: {'; '.join(dict.fromkeys(titles))}."
        for what, titles in cropping.items()
        if titles
    ]


def _crops_inputs(options: Any) -> bool:
    return isinstance(options, PictureOptions) and options.augment != "none" and options.crops == "input"


def _probes_crops_of_inputs(options: TransferOptions) -> bool:
    return options.views == "crop_flip" and options.crops == "input"


def folder(experiment: Experiment, cells: Sequence[Cell]) -> Path:
    """Return where the results go: `out` if given, a folder of results/ for installed data at scale mini, else one
    beside the run's tables."""
    run = cells[0].run
    if run.options.out is not None:
        return run.places.results
    installed = all(cell.run.domain.installed is not None for cell in cells)
    if installed and run.options.scale.name == "mini":
        return Path("results") / experiment.name
    return run.places.results / "experiments" / experiment.name


def write(results: Results, target: Path) -> None:
    """Write the results as .csv, .md and .tex, named after the experiment, to the folder. Raises RecordError if a file
    of these names is there that is not ours."""
    texts = {
        "csv": results.frame.round(4).to_csv(index=False, na_rep="-", lineterminator="\n"),
        "md": to_markdown(results),
        "tex": to_latex(results),
    }
    files = {target / f"{results.experiment.name}.{kind}": text for kind, text in texts.items()}
    ours.check_replaceable(files)
    with locked_folder(target):
        for file, text in files.items():
            write_text(file, text)


def to_markdown(results: Results) -> str:
    """Write one table per probe, a line per task and cell, then the notes."""
    parts = [f"# {results.experiment.title}", ""]
    for title, wide in tables(results):
        parts += [f"## {title}", "", wide.to_markdown(index=False, disable_numparse=True), ""]
    parts += [f"- {note}" for note in results.notes]
    parts += [f"- No result: {name}." for name in results.missing]
    return "\n".join([*parts, ""])


def tables(results: Results) -> list[tuple[str, pd.DataFrame]]:
    """Return the results as text: (title of the probe, a row per task and cell)."""
    by_probe = results.frame.groupby("probe", sort=False)
    return [(PROBE_TITLES[str(probe)], _wide(part)) for probe, part in by_probe]


def _wide(part: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    rows = []
    compares = "from_published" in part and bool(part["from_published"].notna().any())
    for _, row in part.iterrows():
        difference = with_interval(row["difference"], row["difference_low"], row["difference_high"], "+", 1)
        rows.append(
            {
                "task": row["row"],
                "cell": row["title"],
                "score [95 %]": with_interval(row["score"], row["low"], row["high"], "", 1),
                "difference [95 %]": difference,
                **_published_text(row, compares=compares),
                "effective rank": f"{row['effective_rank']:.1f}",
                "top share": f"{row['top_share']:.3f}",
            }
        )
    return pd.DataFrame(rows)


def _published_text(row: pd.Series, *, compares: bool) -> dict[str, str]:
    """Write the published score of a row, with the difference from it if that is a number."""
    if "published" not in row:
        return {}
    score = "" if row["published"] != row["published"] else f"{row['published']:g}"
    if not compares:
        return {"published, not comparable": score}
    return {"published (difference)": f"{score} ({row['from_published']:+.2f})" if score else ""}


def to_latex(results: Results) -> str:
    """Write a booktabs table that compiles with \\input in an article, and the notes below it."""
    lines = ["% Needs \\usepackage{booktabs}.", r"\begingroup\footnotesize\setlength{\parindent}{0pt}"]
    published = [column for _, wide in tables(results) for column in wide.columns if column.startswith("published")]
    extra = [to_tex(column.capitalize()) for column in published[:1]]
    count = 6 + len(extra)
    lines += [rf"\begin{{tabular}}{{ll{'r' * (count - 2)}}}", r"\toprule"]
    heads = ("Task", "Column", r"Score [95\,\%]", r"Difference [95\,\%]", *extra, "Eff. rank", "Top share")
    lines += [" & ".join(heads) + r" \\"]
    for title, wide in tables(results):
        lines += [r"\midrule", rf"\multicolumn{{{count}}}{{l}}{{\textit{{{to_tex(title)}}}}} \\"]
        for row in wide.itertuples(index=False):
            lines.append(" & ".join(to_tex(str(value)) for value in row) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}", "", r"\par\smallskip"]
    return "\n".join([*lines, *(rf"{to_tex(note)}\par" for note in results.notes), r"\endgroup", ""])
