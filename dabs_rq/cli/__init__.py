"""The command line: `python -m dabs_rq <command> [flags] [key=value ...]`.

Heavy imports wait until a command runs, so that --help answers at once.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import TextIO

from dabs_rq.cli.commands import COMMANDS, show_options
from dabs_rq.cli.parser import make_parser
from dabs_rq.errors import DabsRqError, DataWarning, OptionError

# Errors of a disk or of its rights, which their text explains.
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code: 0 done, 1 something failed, 2 wrong options, 130 interrupted (141 by
    a closed pipe)."""
    parser = make_parser()
    given, words = parser.parse_known_args(arguments)
    unknown_flags = [word for word in words if word.startswith("-")]
    if unknown_flags:
        parser.error(f"unknown flag {unknown_flags[0]}; options are words of the form key=value")
    command = COMMANDS[given.command]
    flags = {name: value for name, value in vars(given).items() if name not in ("command", "words", "show_options")}
    try:
        if given.show_options:
            options = [word for word in (*given.words, *words) if given.command != "data" or "=" in word]
            return show_options(options)
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
        warnings.simplefilter("always", DataWarning)
        warnings.showwarning = show  # restored at the end of the block
        yield
