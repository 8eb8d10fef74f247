"""The command line: `python -m dabs_rq <command> [flags] [key=value ...]`.

Heavy imports wait until a command runs, so that --help answers at once.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import TextIO

from dabs_rq.cli.commands import COMMANDS, show_options
from dabs_rq.cli.parser import make_parser
from dabs_rq.errors import DabsRqError, DataWarning, OptionError, PluginWarning, printable


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 success, 1 failure, 2 wrong options, 130 interrupted, 141 closed
    pipe."""
    parser = make_parser()
    parsed, words = parser.parse_known_args(arguments)
    unknown_flags = [word for word in words if word.startswith("-")]
    if unknown_flags:
        parser.error(f"unknown flag {unknown_flags[0]}; options are words of the form key=value")
    command = COMMANDS[parsed.command]
    flags = {name: value for name, value in vars(parsed).items() if name not in ("command", "words", "show_options")}
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal that is not Unicode shows escapes; stderr does so anyway
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        if parsed.show_options:
            options = [word for word in (*parsed.words, *words) if parsed.command != "data" or "=" in word]
            return show_options(options)
        with _terminable(), _short_warnings():
            return command.run([*parsed.words, *words], **flags)
    except DabsRqError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return 2 if isinstance(error, OptionError) else 1
    except BrokenPipeError:  # the reader of our output, such as head, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:  # a full disk, a missing permission, a path through a file: its text says enough
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; run the same command again to resume", file=sys.stderr)
        return 130


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Treat SIGTERM, which SLURM, systemd and `kill` send, like Ctrl-C."""
    process = os.getpid()

    def interrupt(number: int, _: object) -> None:
        if os.getpid() != process:  # a forked child that its parent ends
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
    """Print each of our own warnings once, in one line; print others with their location."""
    shown: set[str] = set()

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        ours = issubclass(category, (DataWarning, PluginWarning))
        if ours and str(message) in shown:
            return
        shown.add(str(message))
        place = "" if ours else f"{filename}:{lineno}: {category.__name__}: "
        print(f"warning: {place}{message}", file=file or sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("always", DataWarning)
        warnings.simplefilter("always", PluginWarning)
        warnings.showwarning = show  # restored at the end of the block
        yield
