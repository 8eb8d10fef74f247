"""The table: records to CSV, LaTeX and Markdown, in the layout and order of the published one."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dabs_rq import record, registry
from dabs_rq.errors import RecordError
from dabs_rq.files import digest, write_text
from dabs_rq.metrics import METRICS
from dabs_rq.record import Record
from dabs_rq.run import Identity, Run

if TYPE_CHECKING:
    import pandas as pd

PUBLISHED = registry.PACKAGE.parent / "results" / "published.csv"
DASH = "-"
# What the published table calls its columns.
TITLES = {"rq": "Ours"}


@dataclass(frozen=True)
class Table:
    """`frame`: a row per task in table order: domain, task, row, metric, one column per method (percent, NaN where
    there is no score), then `<method>_std` over seeds, `<method>_se` over test examples, `<method>_seeds`, and per task
    `n_examples` and `majority` (the accuracy of the most frequent class). `variant`: "default", or a hash of the
    options that differ from configs/. `notes`: what a reader has to know."""

    frame: pd.DataFrame
    methods: tuple[str, ...]
    variant: str
    notes: tuple[str, ...]
    errors: tuple[RecordError, ...]


def build(run: Run) -> Table:
    """The table of one (data, scale, protocol) and of the options that `run` has, unchanged ones or a variant."""
    import pandas as pd

    options = run.options
    methods = tuple(options.methods)
    composed = {method: run.with_method(method).composed for method in methods}
    variants = {method: one.variant(of_pretraining=False) for method, one in composed.items()}
    changed = {key: value for one in composed.values() for key, value in one.changed(of_pretraining=False).items()}
    records, errors = _records(run)
    cells: dict[tuple[str, str, str], list[Record]] = {}  # (domain, task, method) -> one record a seed
    for one in records:
        wanted = one.split == "test" and one.seed in options.seeds and one.variant == variants.get(one.method)
        if wanted and one.score is not None:
            cells.setdefault((one.domain, one.task, one.method), []).append(one)
    rows, row_notes = [], []
    for domain_name, task_name in table_order():
        domain = registry.domain(domain_name)
        if options.domains is not None and domain_name not in options.domains:
            continue
        task = registry.task(domain_name, task_name)
        found = {method: cells.get((domain_name, task_name, method), []) for method in methods}
        row: dict[str, Any] = {"domain": domain.name, "task": task.name, "row": task.row}
        row["metric"] = METRICS[task.metric].title
        for method in methods:
            row |= _summary(method, found[method])
        if task.note:
            row_notes.append(f"{task.row}: {task.note}")
        rows.append(row | _of_split([one for of_method in found.values() for one in of_method]))
    front = ["domain", "task", "row", "metric", *methods]
    rest = [f"{method}_{what}" for what in ("std", "se", "seeds") for method in methods]
    frame = pd.DataFrame(rows, columns=[*front, *rest, "n_examples", "majority"])
    variant = digest(changed) if changed else "default"
    seeds = sorted({one.seed for of_cell in cells.values() for one in of_cell})
    return Table(frame, methods, variant, (*_notes(run, seeds, changed), *row_notes), tuple(errors))


def _summary(method: str, records: list[Record]) -> dict[str, float | int]:
    """A method's columns for one task, in percent."""
    scores = [100 * one.score for one in records if one.score is not None]
    errors = [100 * one.standard_error for one in records if one.standard_error is not None]
    return {
        method: statistics.mean(scores) if scores else math.nan,
        f"{method}_std": statistics.stdev(scores) if len(scores) > 1 else math.nan,
        f"{method}_se": statistics.mean(errors) if errors else math.nan,
        f"{method}_seeds": len(scores),
    }


def _of_split(records: list[Record]) -> dict[str, float | int]:
    """What the test split is, by the records of one task."""
    if not records:
        return {}
    majority = records[0].majority
    return {"n_examples": records[0].n_examples, "majority": math.nan if majority is None else 100 * majority}


def table_order() -> list[tuple[str, str]]:
    """(domain, task) of every declared task: the published rows in their order, then the others by domain."""
    import pandas as pd

    published = pd.read_csv(PUBLISHED)["task"].tolist()
    place = {task: position for position, task in enumerate(published)}
    declared = [(domain.name, task.name) for domain in registry.domains() for task in domain.tasks]
    return sorted(declared, key=lambda one: place.get(one[1], len(place)))


def write(run: Run, table: Table) -> Path:
    """Write table.csv, table.tex and table.md to the run's results folder (a variant's to one of its own below it);
    return the folder."""
    folder = run.results if table.variant == "default" else run.results / f"variant-{table.variant}"
    write_text(folder / "table.csv", to_csv(table))
    write_text(folder / "table.tex", to_latex(table))
    write_text(folder / "table.md", to_markdown(table))
    return folder


def to_csv(table: Table) -> str:
    return table.frame.round(4).to_csv(index=False, na_rep=DASH, lineterminator="\n")


def to_markdown(table: Table) -> str:
    """The table with its notes; a score that is not clearly above the most frequent class is marked."""
    shown, notes = _shown(table), list(table.notes)
    for method, title in zip(table.methods, shown.columns[3:], strict=True):
        doubtful = table.frame[method] - table.frame["majority"] <= 2 * table.frame[f"{method}_se"]
        shown.loc[doubtful, title] += " °"
    if shown.iloc[:, 3:].stack().str.endswith("°").any():
        notes.append("° not above the accuracy of the most frequent class by two standard errors.")
    lines = shown.to_markdown(index=False, disable_numparse=True, colalign=_alignment(table))
    return lines + "\n\n" + "\n".join(f"- {note}" for note in notes) + "\n"


def to_latex(table: Table) -> str:
    """A booktabs tabular that compiles with \\input in an article; the notes are text below it."""
    shown = _shown(table)
    columns = "lll" + "r" * len(table.methods)
    body = [" & ".join(_tex(str(value)) for value in row) + r" \\" for row in shown.itertuples(index=False, name=None)]
    header = " & ".join(_tex(str(name)) for name in shown.columns) + r" \\"
    return "\n".join(
        [
            "% Needs \\usepackage{booktabs}.",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            header,
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            "",
            r"\par\smallskip",
            *(rf"{{\footnotesize {_tex(note)}\par}}" for note in table.notes),
            "",
        ]
    )


def _records(run: Run) -> tuple[list[Record], list[RecordError]]:
    """All records of the run's data, scale and protocol, and the errors of those that cannot be read or lie where they
    do not belong."""
    records, errors = [], []
    for folder in dict.fromkeys(run.folder(domain.name) / "records" for domain in registry.domains()):
        found, broken = record.read_all(folder, partial(_check_place, run))
        records += found
        errors += broken
    return records, errors


def _check_place(run: Run, file: Path, one: Record) -> None:
    """Raise RecordError unless the record says of itself what its place says."""
    place = Identity(one.data, one.scale, one.protocol, one.domain, one.method, one.variant, one.seed)
    known = one.domain in registry.domain_names() and place == run.identity_of(*place[3:])
    if known and file == run.records_folder(place) / one.file_name:
        return
    listed = ", ".join(f"{name} {value}" for name, value in place._asdict().items())
    raise RecordError(f"{file} is not the record of its place: it is of task {one.task} ({one.split}), {listed}")


def _shown(table: Table) -> pd.DataFrame:
    """The columns of the published table, numbers as text with two decimals (and the deviation over seeds)."""
    frame = table.frame
    titles = {domain.name: domain.title for domain in registry.domains()}
    shown = frame[["row", "metric"]].copy()
    shown.insert(1, "domain", frame["domain"].map(titles))
    shown.columns = ["Dataset", "Domain", "Metric"]
    for method in table.methods:
        title = TITLES.get(method, registry.method(method).title)
        shown[title] = [_number(*pair) for pair in zip(frame[method], frame[f"{method}_std"], strict=True)]
    return shown


def _number(mean: float, deviation: float) -> str:
    if math.isnan(mean):
        return DASH
    return f"{mean:.2f}" if math.isnan(deviation) else f"{mean:.2f} ± {deviation:.2f}"


def _notes(run: Run, seeds: list[int], changed: dict[str, object]) -> tuple[str, ...]:
    options = run.options
    data = (
        "Made-up miniature data: these numbers say nothing about the published data sets."
        if run.made_up
        else f"Data under {options.data}."
    )
    notes = [
        data,
        f"Scale {options.scale.name}, protocol {options.protocol.name}, seeds {', '.join(map(str, seeds)) or 'none'}; "
        "numbers in percent" + (", ± standard deviation over seeds." if len(seeds) > 1 else "."),
    ]
    if changed:
        listed = ", ".join(f"{key}={value}" for key, value in sorted(changed.items()))
        notes.append(f"Options that differ from configs/: {listed}.")
    if "rq" in options.methods:
        from dabs_rq.methods.rq import ASSUMPTION

        notes.append(
            f"Ours: {ASSUMPTION} Gradient of the quantizer: {options.protocol.rq_gradient}"
            + (" (chosen on small prototypes)." if options.protocol.rq_gradient == "detach" else ".")
        )
    return tuple(notes)


def _alignment(table: Table) -> list[str]:
    return ["left"] * 3 + ["right"] * len(table.methods)


_TEX = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "±": r"$\pm$",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
    "<": r"$<$",
    ">": r"$>$",
}


def _tex(text: str) -> str:
    return "".join(_TEX.get(character, character) for character in text)
