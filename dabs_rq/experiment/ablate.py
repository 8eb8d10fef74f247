"""Ablations: compute the same cells under several values of some options, and compare them with intervals.

Every setting is an ordinary variant: its checkpoints and records are saved, and finished settings are not computed
again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dabs_rq import registry
from dabs_rq.domain import Task
from dabs_rq.errors import DabsRqError
from dabs_rq.experiment.compare import NUMBERS, Result, numbers, with_interval
from dabs_rq.experiment.settings import Comparison, Setting, axes, comparisons
from dabs_rq.files import digest, write_text
from dabs_rq.metrics import metric
from dabs_rq.pretrain.pretrain import pretrain
from dabs_rq.records import record
from dabs_rq.run import Run
from dabs_rq.run.words import value_text
from dabs_rq.transfer.transfer import transfer
from dabs_rq.typed import field_names

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class Ablation:
    """`frame`: a row per setting and task: the values of the options, domain, method, task, row, metric; score, low and
    high of its 95 % interval, seeds, n_examples, majority; and the difference from the first setting of the comparison,
    with low and high of its interval. Scores and differences are in percent. `each`: whether options change one at a
    time. `errors`: messages of settings that could not be computed."""

    frame: pd.DataFrame
    options: tuple[str, ...]
    each: bool
    errors: list[str] = field(default_factory=list)


def ablate(run: Run, over: str, *, each: bool = False) -> Ablation:
    """Compute what is missing of every setting, for the run's domains (default: all), methods and seeds.

    over: the options to compare, see `axes`. each: change one option at a time, instead of all combinations."""
    import pandas as pd

    if not run.options.method_given:
        run = run.of_one_method()
    compared = comparisons(axes(run, over), each=each)
    options = tuple(dict.fromkeys(name for part in compared for setting in part.settings for name in setting))
    rows: list[dict[str, Any]] = []
    errors: list[str] = []
    for comparison in compared:
        for domain, method, tasks in _affected(run, comparison):
            references: dict[str, list[Result]] = {}
            for setting in comparison.settings:
                results = _results(run, domain, method, tasks, setting, errors)
                for task in tasks:
                    if task.name not in results:
                        continue
                    references.setdefault(task.name, results[task.name])
                    rows.append(
                        {"compared": comparison.axis.option if comparison.axis else "all"}
                        | {name: value_text(value) for name, value in setting.items()}
                        | {"domain": domain, "method": method, "task": task.name, "row": task.row}
                        | {"metric": metric(task.metric).title}
                        | numbers(task, results[task.name], references[task.name])
                    )
    columns = ["compared", *options, "domain", "method", "task", "row", "metric", *NUMBERS]
    return Ablation(pd.DataFrame(rows, columns=columns), options, each, list(dict.fromkeys(errors)))


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


def _results(
    run: Run, domain: str, method: str, tasks: tuple[Task, ...], setting: Setting, errors: list[str]
) -> dict[str, list[Result]]:
    """Compute what is missing; return task -> one result per seed, and append messages of failures to `errors`."""
    label = f"{domain}, {method}, " + ", ".join(f"{name}={value_text(value)}" for name, value in setting.items())
    results: dict[str, list[Result]] = {}
    try:
        variant = run.replace(setting, domain=domain, method=method, tasks=[task.name for task in tasks])
    except DabsRqError as error:
        errors.append(f"{label}: {error}")
        return results
    for seed in run.options.seeds:
        try:
            pretrain(variant, seed)
            files, failures = transfer(variant, seed)
        except (DabsRqError, ValueError, OSError, RuntimeError, MemoryError) as error:
            errors.append(f"{label}, seed {seed}: {type(error).__name__}: {error}")
            continue
        errors += [f"{label}, seed {seed}: {error}" for error in failures]
        for file in files:
            result = record.read(file)
            if result.split == "test" and result.further_probe is None and result.score is not None:
                results.setdefault(result.task, []).append(Result(result, file))
    return results


def write(run: Run, ablation: Ablation) -> Path:
    """Write ablation.csv and ablation.md to a subfolder of the run's results folder, and return it."""
    scope = "-".join(run.options.domains or ["all"])
    methods = "-".join(ablation.frame["method"].unique()) or "none"
    settings = ablation.frame[list(ablation.options)].drop_duplicates().astype(str).to_numpy().tolist()
    changed = run.replace(method=run.methods[-1]).composed.changed(of_pretraining=False)
    identity = digest(ablation.options, ablation.each, settings, changed)  # other values, another folder
    folder = run.places.results / f"ablation-{scope}-{methods}-{identity}"
    write_text(folder / "ablation.csv", ablation.frame.round(4).to_csv(index=False, lineterminator="\n"))
    write_text(folder / "ablation.md", to_markdown(run, ablation))
    return folder


def to_markdown(run: Run, ablation: Ablation) -> str:
    """Write a line per setting and task with score and difference, or with `each` a line per change and task with its
    effect on every method; then notes on data, scale, seeds and intervals."""
    table = (_changes(ablation.frame) if ablation.each else _grid(ablation)).to_markdown(
        index=False, disable_numparse=True
    )
    options = run.options
    single_seed = "over test examples, training variance not included"
    basis = "over seeds (Student's t)" if len(options.seeds) > 1 else single_seed
    seeds = ", ".join(map(str, options.seeds))
    notes = [
        run.data_note,
        *run.source_notes,
        f"Scale {options.scale.name}, protocol {options.protocol.name}, seeds {seeds}; percent.",
        f"95 % intervals {basis}. Differences are from the first setting above, paired by seed and test example.",
    ]
    return "\n".join([table, "", *(f"- {note}" for note in notes), ""])


def _grid(ablation: Ablation) -> pd.DataFrame:
    grid = ablation.frame[list(ablation.options)].copy()
    for title, column in (("method", "method"), ("task", "row"), ("metric", "metric")):
        grid[title] = ablation.frame[column]
    grid["score [95 %]"] = _with_interval(ablation.frame, "score", "low", "high", "")
    grid["difference [95 %]"] = _with_interval(ablation.frame, "difference", "difference_low", "difference_high", "+")
    return grid


def _changes(frame: pd.DataFrame) -> pd.DataFrame:
    frame = frame.copy()
    frame["value"] = [row[row["compared"]] for _, row in frame.iterrows()]
    group = ["compared", "domain", "task", "method"]
    frame["change"] = frame.groupby(group, sort=False)["value"].transform("first") + " to " + frame["value"]
    frame["text"] = _with_interval(frame, "difference", "difference_low", "difference_high", "+")
    changed = frame[frame["difference"].notna()]
    wide = changed.pivot_table("text", ["compared", "change", "row"], "method", aggfunc="first", sort=False)
    wide = wide[[name for name in registry.method_names() if name in wide.columns]]
    titles = {name: registry.method(name).title for name in wide.columns}
    return wide.fillna("").rename(columns=titles).reset_index().rename(columns={"compared": "option"})


def _with_interval(frame: pd.DataFrame, value: str, low: str, high: str, sign: str) -> list[str]:
    return [with_interval(*values, sign) for values in zip(frame[value], frame[low], frame[high], strict=True)]
