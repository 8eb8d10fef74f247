"""The commands. Heavy imports wait until a command runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dabs_rq.cli import sharing
from dabs_rq.cli.printing import print_errors
from dabs_rq.errors import OptionError, RecordError

if TYPE_CHECKING:
    from pathlib import Path

    from dabs_rq.experiment.cells import Cell, Experiment
    from dabs_rq.run import Run


def pretrain(words: list[str]) -> int:
    from dabs_rq.pretrain.pretrain import pretrain
    from dabs_rq.run import Run

    run = Run.of(words)
    for seed in run.options.seeds:
        pretrain(run, seed)
    _print_next("transfer", run, "scores the encoder on the domain's tasks")
    return 0


def _print_next(command: str, run: Run, what: str) -> None:
    """Print the command that goes on from here, with the same options, and what it does."""
    from dabs_rq.run.words import shell_line

    print(f"next: {shell_line(command, run.words)}  # {what}", flush=True)


def transfer(words: list[str]) -> int:
    from dabs_rq.run import Run
    from dabs_rq.transfer.transfer import transfer

    run = Run.of(words)
    code = 0
    for seed in run.options.seeds:
        files, errors = transfer(run, seed)
        for file in files:
            print(f"record: {file}")
        code = max(code, print_errors(errors))
    if code == 0:
        _print_next("table", run, "shows the scores")
    return code


def suite(words: list[str], dry_run: bool, verify: bool, refresh: bool) -> int:
    from dabs_rq.run import Run
    from dabs_rq.suite import suite

    run = Run.of(words)
    if verify or refresh:
        from dabs_rq.suite import verify as verification

        cells = verification.verify(run)
        print(verification.to_text(cells), flush=True)
        if verify:
            states = {cell.state for cell in cells}
            if "stale" in states:
                print("`suite --refresh` (make suite REFRESH=1) computes stale cells again")
            return 1 if states & {"stale", "broken"} else 0
        for file in verification.rename_stale(run, cells):
            print(f"kept as {file}", flush=True)
    if dry_run:
        from dabs_rq.suite import estimate

        print(f"{suite.dry_run(run)}\n", flush=True)
        print(estimate.describe(run))
        return 0
    outcome = suite.suite(run)
    # `domain` and `tasks` say what to compute; the table's files keep the rows of the others, but only the chosen
    # domains are printed. Domains outside the table are shown because they are chosen.
    code = 0
    try:
        whole = run.replace(tasks=None, **({} if run.places.outside_table else {"domain": None}))
        code = _show_table(whole, printed=[domain.name for domain in run.domains])
    except (OSError, RecordError) as error:
        outcome.errors.append(f"the table: {type(error).__name__}: {error}")
    print(f"suite: {outcome.seconds:.0f} s")
    if outcome.missing:
        print("\nmissing (their cells are dashes; `python -m dabs_rq domains` lists what is expected where):")
        print("\n".join(f"  {source}" for source in outcome.missing))
    if outcome.waiting:
        print("\nnot run:")
        print("\n".join(f"  {job}" for job in outcome.waiting))
    if outcome.errors:
        print("\nfailed (the others are done; run again to retry):", file=sys.stderr)
        print("\n".join(f"  {problem}" for problem in outcome.errors), file=sys.stderr)
        return 1
    if code == 0:
        _print_next("report", run, "shows the table with plots, curves and every record on a page")
    return code


def table(words: list[str]) -> int:
    from dabs_rq.run import Run

    return _show_table(Run.of(words))


def _show_table(run: Run, printed: Sequence[str] | None = None) -> int:
    """Write the table, and print its rows; printed: those of these domains, by default all."""
    from dabs_rq import table

    built = table.build(run)
    folder = table.write(run, built)
    shown = built if printed is None else built.of_domains(printed)
    print(f"\n{table.to_markdown(shown)}")
    if len(shown.frame) < len(built.frame):
        print(f"{folder / 'table.md'} has the rows of the other domains too.")
    print(f"wrote {folder / 'table.csv'}, table.tex, table.md, averages.csv and comparisons.csv")
    if built.not_shown:
        print("\nNot shown:")
        print("\n".join(f"  {reason}" for reason in built.not_shown))
    return print_errors(built.errors, " (skipped in the table)")


def report(words: list[str]) -> int:
    from dabs_rq import report
    from dabs_rq.run import Run

    run = Run.of(words)
    page = report.write(run)
    print(f"wrote {page.page}, and its figures as PDF and SVG beside it")
    code = print_errors(page.table.errors, " (left out of the report)")
    if any(row.records for row in page.table.results.values()):
        print(f"next: open {page.page} in a browser")
    else:
        _print_next("suite", run, "computes the results, of which there are none yet")
    return code


def ablate(words: list[str], over: str, each: bool, dry_run: bool) -> int:
    from dabs_rq.experiment.ablate import ablation
    from dabs_rq.run import Run

    planned = ablation(Run.of(words), over, each=each)
    code = _compute_cells(planned.experiment, planned.cells, planned.folder, dry_run=dry_run)
    return max(code, print_errors(planned.errors))


def experiment(words: list[str], dry_run: bool) -> int:
    from dabs_rq.experiment import cells as experiments
    from dabs_rq.experiment import results
    from dabs_rq.run import Run

    name, words = next((word for word in words if "=" not in word), None), [word for word in words if "=" in word]
    if name is None:
        print("\n".join(f"{known:<12} {title}" for known, title in experiments.names().items()))
        return 0
    declared = experiments.load(name)
    cells = experiments.cells(declared, Run.of(words), tell=print)
    return _compute_cells(declared, cells, results.folder(declared, cells), dry_run=dry_run)


def _compute_cells(declared: Experiment, cells: Sequence[Cell], folder: Path, *, dry_run: bool) -> int:
    """Compute what the cells of an experiment lack, and write its results to the folder."""
    from dabs_rq.experiment import results
    from dabs_rq.report import experiment as page
    from dabs_rq.report import figure
    from dabs_rq.suite import estimate, plan, suite

    planned = plan.plan_cells(cells)
    if dry_run:
        print(f"{plan.describe_plan(planned)}\n", flush=True)
        print(estimate.describe_cells([(cell.title, cell.run) for cell in cells]))
        return 0
    outcome = suite.compute(cells[0].run, planned)
    found = results.collect(declared, cells)
    results.write(found, folder)
    page.write(found, folder)
    print(f"\n{results.to_markdown(found)}")
    no_figures = figure.unavailable()
    kinds = ".csv, .md, .tex and .html" if no_figures else ".csv, .md, .tex, .html and figures"
    print(f"wrote {folder / declared.name}{kinds}; {outcome.seconds:.0f} s")
    if no_figures:
        print(f"no figures: {no_figures}")
    code = print_errors([*outcome.missing, *outcome.waiting, *outcome.errors])
    if code == 0:
        print(f"next: open {folder / declared.name}.html in a browser")
    return code


def export(words: list[str], form: str | None) -> int:
    if form is not None:
        return sharing.export_results(words, form)
    from dabs_rq import checkpoint
    from dabs_rq.run.compose import compose
    from dabs_rq.run.words import parse
    from dabs_rq.table import ours

    options = compose(parse(words)).options
    if options.checkpoint is None or options.out is None:
        raise OptionError(
            "give checkpoint=encoder.safetensors and out=dabs.ckpt, or --format (make: FORMAT=) to export results"
        )
    source, target = options.checkpoint.expanduser(), options.out.expanduser()
    if target.is_dir():
        raise OptionError(f"out={target} is a folder; give a file such as {target / 'dabs.ckpt'}")
    if target.exists() and source.exists() and target.samefile(source):
        raise OptionError(f"out={target} is the checkpoint itself; give another file, so that the checkpoint stays")
    ours.check_replaceable([target], ".ckpt")
    checkpoint.export_dabs(source, target)
    print(f"wrote {options.out}")
    return 0


def domains(words: list[str]) -> int:
    from dabs_rq.run import Run
    from dabs_rq.sources.catalogue import listing

    print(listing(Run.of(words)))
    return 0


def data(words: list[str]) -> int:
    from dabs_rq.sources.command import data

    return data(words)


def show_options(words: list[str]) -> int:
    from dabs_rq.run.compose import compose
    from dabs_rq.run.values import as_given
    from dabs_rq.run.words import parse, to_words

    options = compose(parse(words)).options
    print("\n".join(sorted(to_words(as_given(options)))))
    return 0


@dataclass(frozen=True)
class Command:
    """A command. run: takes the words and the command's own flags, and returns the exit code."""

    run: Callable[..., int]
    help: str


COMMANDS = {
    "pretrain": Command(pretrain, "pretrain one domain's encoder with one method"),
    "transfer": Command(
        transfer,
        "probe a pretrained encoder on its domain's tasks (tasks=a,b for some; encoder=mine, or checkpoint=file with "
        "name=column, for another)",
    ),
    "suite": Command(
        suite, "compute every missing cell of the table (domain=a,b, tasks=a,b, method=a,b for some), then write it"
    ),
    "table": Command(table, "write the table as CSV, LaTeX and Markdown from the records, and print it"),
    "report": Command(report, "write the table and an HTML page: plots, curves, quantizer examples, every record"),
    "ablate": Command(
        ablate, "compare values of options on the same cells, with intervals: --over method.granularity,method.bins=4"
    ),
    "experiment": Command(
        experiment, "compute and compare the cells of an experiment in configs/experiment/; without a name, list them"
    ),
    "export": Command(
        export,
        "write results in a published form (--format), or one of our checkpoints under DABS's names: "
        "checkpoint=encoder.safetensors out=dabs.ckpt",
    ),
    "bundle": Command(
        sharing.bundle,
        "pack results with records, predictions, checkpoints and splits in one archive, or verify one (--check)",
    ),
    "push": Command(
        sharing.push, "send what a bundle holds to a model repository of the Hugging Face hub: --repo user/name"
    ),
    "compare": Command(sharing.compare, "compare two folders of runs, or two bundles: compare A B out=folder"),
    "domains": Command(
        domains, "list domains, sources and tasks, where their data are expected and whether they are there"
    ),
    "data": Command(
        data, "list the sources of data, or fetch or verify some: data [list | fetch | verify] [source ...] data=/root"
    ),
}
