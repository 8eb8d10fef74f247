"""Starts the ranks of a pretraining on this machine, by torchrun, and ends them with the process that started them.

    launch(("pretrain", "domain=sensor", "trainer.devices=8"), 8)

What a rank raises inside `reporting` is raised by `launch`. This module is also the process in between, as a program.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from dabs_rq import errors
from dabs_rq.errors import DabsRqError, TrainingError

FAILURES = "DABS_RQ_FAILURES"  # the file that takes what ranks raise, in the order in which they do
KILLED = "killed"  # stands for the name of an error


def launch(words: Sequence[str], count: int) -> None:
    """Run `python -m dabs_rq <words>` as `count` ranks, and wait for them. What they print goes where this process
    prints. Where one fails the others are ended.

    Raises what the first that failed did; TrainingError where that is none of our errors, or where one was killed.
    """
    with tempfile.TemporaryDirectory(prefix="dabs-rq-ranks-") as folder:
        failures = Path(folder) / "failures"
        options = ["--standalone", f"--nproc-per-node={count}", f"--log-dir={folder}"]
        with subprocess.Popen(
            [sys.executable, "-m", __name__, *options, "-m", "dabs_rq", *words],
            env=os.environ | {FAILURES: str(failures)},
            stdin=subprocess.PIPE,  # never written to: it is closed when this process ends, however it does
            stdout=_file(sys.stdout),
            stderr=_file(sys.stderr),
            start_new_session=True,  # Ctrl-C is for this process, which ends the others
        ) as process:
            try:
                code = process.wait()
            except BaseException:
                process.terminate()
                process.wait()
                raise
        if code:
            raise _error(failures, count, code)


@contextlib.contextmanager
def reporting(rank: int) -> Iterator[None]:
    """In a rank that `launch` started, an error of this block goes to `launch`, and the process ends."""
    if (file := os.environ.get(FAILURES)) is None:
        yield
        return
    try:
        yield
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except Exception as error:
        _note(Path(file), rank, type(error).__name__, str(error), traceback.format_exc())
        raise SystemExit(1) from None


def _note(file: Path, rank: int, kind: str, text: str, trace: str = "") -> None:
    with file.open("a", encoding="utf-8") as failures:
        failures.write(json.dumps({"rank": rank, "kind": kind, "text": text, "trace": trace}) + "\n")


def _error(file: Path, count: int, code: int) -> DabsRqError:
    noted = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []
    if not noted:
        return TrainingError(f"the {count} ranks ended with exit code {code}; what they printed tells why")
    # When a rank is killed, the others notice first, but that is not the cause.
    first: dict[str, Any] = next((one for one in noted if one["kind"] == KILLED), noted[0])
    known = getattr(errors, first["kind"], None)
    if isinstance(known, type) and issubclass(known, DabsRqError):
        return known(first["text"])
    if first["trace"]:
        print(first["trace"], file=sys.stderr)
    return TrainingError(f"rank {first['rank']} of {count}: {first['kind']}: {first['text']}")


def _file(stream: TextIO) -> TextIO | None:
    """The stream, for a child to write to; None, which is the process's own, where it has no file."""
    try:
        stream.flush()
        stream.fileno()
    except (OSError, io.UnsupportedOperation):
        return None
    return stream


def _between() -> None:
    """What the process in between does: it is torchrun, which tells failures to a file instead of the terminal."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main

    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.disable(logging.ERROR)
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "10")  # seconds; a rank may wait for one that is gone
    try:
        main(sys.argv[1:])
    except ChildFailedError as error:
        _note_killed(error.failures)
        raise SystemExit(1) from None
    except SignalException as error:
        shutil.rmtree(Path(os.environ[FAILURES]).parent, ignore_errors=True)  # who made it may be gone
        raise SystemExit(128 + error.sigval) from None


def _note_killed(found: dict[int, Any]) -> None:
    """Note the ranks that something else killed: torchrun ends what is left with SIGTERM, and kills it only if it
    has not ended after seconds."""
    begin = min(one.timestamp for one in found.values())
    for rank, one in found.items():
        if one.exitcode < 0 and one.exitcode != -signal.SIGTERM and one.timestamp <= begin + 1:
            name = signal.Signals(-one.exitcode).name
            _note(Path(os.environ[FAILURES]), rank, KILLED, f"by {name} (out of memory?)")


def _end_with_parent() -> None:
    os.read(0, 1)  # returns at the end of the pipe; sys.stdin would hold a lock at exit
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    _between()
