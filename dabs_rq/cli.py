"""The command line: `python -m dabs_rq <command> [flags] [key=value ...]`.

Heavy imports wait until a command runs, so that --help answers at once.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from dabs_rq.errors import DabsRqError, DataWarning, OptionError

if TYPE_CHECKING:
    from dabs_rq.run import Run

_COMMON = """\
Options are words of the form key=value. The most used:
  domain=sensor             which domain, or several: domain=sensor,text (see `python -m dabs_rq domains`)
  method=rq                 none, emix or rq, or several; method.<name> are its options, such as method.bins=4
  encoder=transformer       the encoder; encoder.<name> are its options, such as encoder.depth=6
  scale=mini                mini (minutes on two cores) or paper (the published budget; needs data=)
  protocol=corrected        corrected, or published with its defects; one option alone: protocol.<name>=...
  data=/root                root of the real data; without it made-up miniature data are written and used
  seeds=0,1,2               one run for each
  out=folder                where tables go
  pretrain.steps=1000       any other option; --show-options prints all of them with their values
"""


# Errors of a disk or of its rights, which their text explains.
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code: 0 done, 1 something failed, 2 wrong options, 130 interrupted (141 by
    a closed pipe)."""
    parser = _parser()
    given, words = parser.parse_known_args(arguments)
    unknown_flags = [word for word in words if word.startswith("-")]
    if unknown_flags:
        parser.error(f"unknown flag {unknown_flags[0]}; options are words of the form key=value")
    command = _COMMANDS[given.command]
    flags = {name: value for name, value in vars(given).items() if name not in ("command", "words", "show_options")}
    try:
        if given.show_options:
            options = [word for word in (*given.words, *words) if given.command != "data" or "=" in word]
            return _show_options(options)
        with _terminable(), _short_warnings():
            return command.run([*given.words, *words], **flags)
    except DabsRqError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, OptionError) else 1
    except BrokenPipeError:  # whoever read our output has seen enough, such as head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if error.errno not in _DISK_ERRORS:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where this one stopped", file=sys.stderr)
        return 130


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM, which SLURM, systemd and `kill` send, ends this block as Ctrl-C does."""
    process = os.getpid()

    def interrupt(number: int, _: object) -> None:
        if os.getpid() != process:  # forked from this one, and ended by it
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _short_warnings() -> Iterator[None]:
    """Print our own warnings in one line and once; others say where they come from."""
    shown: set[str] = set()

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        ours = issubclass(category, DataWarning)
        if ours and str(message) in shown:
            return
        shown.add(str(message))
        place = "" if ours else f"{filename}:{lineno}: {category.__name__}: "
        print(f"warning: {place}{message}", file=file or sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show  # restored at the end of the block
        yield


def _parser() -> argparse.ArgumentParser:
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m dabs_rq",
        description="Reproduce the DABS comparison of domain-agnostic self-supervised learning.",
        epilog=_COMMON,
        formatter_class=style,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, about in _COMMANDS.items():
        command = commands.add_parser(
            name, help=about.help, description=about.help, epilog=_COMMON, formatter_class=style
        )
        if name == "data":
            command.add_argument("words", nargs="*", metavar="word", help="list, fetch or verify; sources; options")
        else:
            command.add_argument("words", nargs="*", metavar="key=value", help="options, see below")
        command.add_argument("--show-options", action="store_true", help="print all options and stop")
        if name == "ablate":
            command.add_argument(
                "--over",
                required=True,
                metavar="option[=value,value],...",
                help="what to compare; without values those declared with the option; `protocol` is all its options",
            )
            command.add_argument("--each", action="store_true", help="one option at a time instead of the grid of all")
        if name == "suite":
            only = command.add_mutually_exclusive_group()
            only.add_argument("--dry-run", action="store_true", help="tell what is done and what is left, and stop")
            only.add_argument(
                "--verify",
                action="store_true",
                help="compute nothing: check that every cell still follows from code, data, options and checkpoint",
            )
            only.add_argument(
                "--refresh", action="store_true", help="verify, then compute again what is stale (kept as *.stale)"
            )
    return parser


def _pretrain(words: list[str]) -> int:
    from dabs_rq.pretrain.pretrain import pretrain
    from dabs_rq.run import Run

    run = Run.of(words)
    for seed in run.options.seeds:
        pretrain(run, seed)
    return 0


def _transfer(words: list[str]) -> int:
    from dabs_rq.run import Run
    from dabs_rq.transfer.transfer import transfer

    run = Run.of(words)
    code = 0
    for seed in run.options.seeds:
        files, errors = transfer(run, seed)
        for file in files:
            print(f"record: {file}")
        for error in errors:
            print(f"error: {error}", file=sys.stderr)
            code = 1
    return code


def _suite(words: list[str], dry_run: bool, verify: bool, refresh: bool) -> int:
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
                print("`suite --refresh` (make suite REFRESH=1) computes what is stale again")
            return 1 if states & {"stale", "broken"} else 0
        for file in verification.set_aside(run, cells):
            print(f"kept as {file}", flush=True)
    if dry_run:
        from dabs_rq.suite import cost

        print(f"{suite.dry_run(run)}\n", flush=True)
        print(cost.describe(run))
        return 0
    outcome = suite.suite(run)
    # `domain` and `tasks` say what to compute; the table keeps the rows of the others.
    code = 0
    try:
        code = _show_table(run.replace(domain=None, tasks=None))
    except OSError as error:
        outcome.wrong.append(f"the table: {type(error).__name__}: {error}")
    print(f"suite: {outcome.seconds:.0f} s")
    if outcome.missing:
        print("\nnot there (their cells are dashes; `python -m dabs_rq domains` tells what goes where):")
        print("\n".join(f"  {one}" for one in outcome.missing))
    if outcome.waiting:
        print("\nnot run:")
        print("\n".join(f"  {one}" for one in outcome.waiting))
    if outcome.wrong:
        print("\nfailed (the others are done; run again to retry):", file=sys.stderr)
        print("\n".join(f"  {one}" for one in outcome.wrong), file=sys.stderr)
        return 1
    return code


def _table(words: list[str]) -> int:
    from dabs_rq.run import Run

    return _show_table(Run.of(words))


def _show_table(run: Run) -> int:
    from dabs_rq import table

    built = table.build(run)
    folder = table.write(run, built)
    print(f"\n{table.to_markdown(built)}")
    print(f"wrote {folder / 'table.csv'}, table.tex, table.md, table.html, averages.csv and comparisons.csv")
    for error in built.errors:
        print(f"error: {error} (skipped in the table)", file=sys.stderr)
    return 1 if built.errors else 0


def _report(words: list[str]) -> int:
    from dabs_rq import report
    from dabs_rq.run import Run

    made = report.write(Run.of(words))
    print(f"wrote {made.page}, and its figures as PDF and SVG beside it")
    for error in made.table.errors:
        print(f"error: {error} (left out of the report)", file=sys.stderr)
    return 1 if made.table.errors else 0


def _ablate(words: list[str], over: str, each: bool) -> int:
    from dabs_rq.experiment import ablate
    from dabs_rq.run import Run

    run = Run.of(words)
    done = ablate.ablate(run, over, each=each)
    folder = ablate.write(run, done)
    print(f"\n{ablate.to_markdown(run, done)}")
    print(f"wrote {folder / 'ablation.csv'} and ablation.md")
    for error in done.errors:
        print(f"error: {error}", file=sys.stderr)
    return 1 if done.errors else 0


def _export(words: list[str]) -> int:
    from dabs_rq import checkpoint
    from dabs_rq.run.compose import compose
    from dabs_rq.run.words import parse

    options = compose(parse(words)).options
    if options.checkpoint is None or options.out is None:
        raise OptionError("give checkpoint=encoder.safetensors and out=dabs.ckpt")
    checkpoint.export_dabs(options.checkpoint.expanduser(), options.out.expanduser())
    print(f"wrote {options.out}")
    return 0


def _domains(words: list[str]) -> int:
    from dabs_rq.run import Run
    from dabs_rq.sources.catalogue import listing

    print(listing(Run.of(words)))
    return 0


def _data(words: list[str]) -> int:
    from dabs_rq.sources.command import data

    return data(words)


def _show_options(words: list[str]) -> int:
    from dabs_rq.run.compose import compose
    from dabs_rq.run.words import parse, to_words

    print("\n".join(to_words(dict(sorted(compose(parse(words)).values.items())))))
    return 0


@dataclass(frozen=True)
class Command:
    """run: takes the words and the command's own flags, and returns the exit code."""

    run: Callable[..., int]
    help: str


_COMMANDS = {
    "pretrain": Command(_pretrain, "pretrain one domain's encoder with one method"),
    "transfer": Command(
        _transfer, "probe a pretrained encoder on its domain's tasks (tasks=a,b for some; checkpoint=file for another)"
    ),
    "suite": Command(
        _suite, "compute every missing cell of the table (domain=a,b, tasks=a,b, method=a,b for some), then write it"
    ),
    "table": Command(_table, "write the table as CSV, LaTeX, Markdown and HTML from the records, and print it"),
    "report": Command(
        _report, "write the table and a page to read it with: plots, curves, the quantizer at work, every record"
    ),
    "ablate": Command(
        _ablate, "compare values of options on the same cells, with intervals: --over method.granularity,method.bins=4"
    ),
    "export": Command(
        _export, "write one of our checkpoints under DABS's names: checkpoint=encoder.safetensors out=dabs.ckpt"
    ),
    "domains": Command(
        _domains, "list domains, sources and tasks, where their data are expected and whether they are there"
    ),
    "data": Command(
        _data, "list the sources of data, or fetch or verify some: data [list | fetch | verify] [source ...] data=/root"
    ),
}
