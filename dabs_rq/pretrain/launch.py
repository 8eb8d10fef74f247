"""Starts the ranks of a pretraining on this machine with torchrun, and ends them when the starting process ends.

    launch(("pretrain", "domain=sensor", "trainer.devices=8"), 8)

`launch` raises the error that a rank raises inside `report_errors`. Run as a program, this module is the torchrun
process between `launch` and the ranks.
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
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from dabs_rq import errors
from dabs_rq.errors import DabsRqError, TrainingError

FAILURES = "DABS_RQ_FAILURES"  # names the file to which ranks append their errors
TORCHRUN = "DABS_RQ_TORCHRUN"  # the process between `launch` and the ranks, for the ranks
KILLED = "killed"  # takes the place of an error's type for a rank that was killed


def launch(words: Sequence[str], count: int) -> None:
    """Run `python -m dabs_rq <words>` as `count` ranks and wait for them.

    The ranks print to this process's output. If one fails, the others are ended.
    Raises: the error of the first failed rank; TrainingError if that is not one of ours, or if a rank was killed.
    """
    with tempfile.TemporaryDirectory(prefix="dabs-rq-ranks-") as folder:
        failures = Path(folder) / "failures"
        options = ["--standalone", f"--nproc-per-node={count}", f"--log-dir={folder}"]
        with subprocess.Popen(
            [sys.executable, "-m", __name__, *options, "-m", "dabs_rq", *words],
            env=os.environ | {FAILURES: str(failures)},
            stdin=subprocess.PIPE,  # never written to; it closes when this process ends, even if killed
            stdout=_inheritable(sys.stdout),
            stderr=_inheritable(sys.stderr),
            start_new_session=True,  # Ctrl-C reaches only this process, which then ends the others
        ) as process:
            try:
                code = process.wait()
            except BaseException:
                process.terminate()
                process.wait()
                raise
        if code:
            raise _read_error(failures, count, code)


@contextlib.contextmanager
def report_errors(rank: int) -> Iterator[None]:
    """Report an error of this block to `launch` and end the process, if `launch` started this rank."""
    if (file := os.environ.get(FAILURES)) is None:
        yield
        return
    # Not the parent of now: torchrun may have been killed while this rank was starting.
    threading.Thread(target=_end_with_torchrun, args=(int(os.environ[TORCHRUN]),), daemon=True).start()
    try:
        yield
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except Exception as error:
        _write_failure(Path(file), rank, type(error).__name__, str(error), traceback.format_exc())
        raise SystemExit(1) from None


def _end_with_torchrun(process: int) -> None:
    """End this rank once torchrun was killed: no other rank may come to it then, and it would wait for ever."""
    while os.getppid() == process:
        time.sleep(0.5)
    os._exit(1)


def _write_failure(file: Path, rank: int, kind: str, text: str, trace: str = "") -> None:
    with file.open("a", encoding="utf-8") as failures:
        failures.write(json.dumps({"rank": rank, "kind": kind, "text": text, "trace": trace}) + "\n")


def _read_error(file: Path, count: int, code: int) -> DabsRqError:
    failures = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []
    if not failures:
        return TrainingError(f"the {count} ranks ended with exit code {code}; see what they printed")
    # When a rank is killed, the others fail as a consequence and report first: look for the killed one.
    first: dict[str, Any] = next((failure for failure in failures if failure["kind"] == KILLED), failures[0])
    known = getattr(errors, first["kind"], None)
    if isinstance(known, type) and issubclass(known, DabsRqError):
        return known(first["text"])
    if first["trace"]:
        print(first["trace"], file=sys.stderr)
    return TrainingError(f"rank {first['rank']} of {count}: {first['kind']}: {first['text']}")


def _inheritable(stream: TextIO) -> TextIO | None:
    """Return the stream if a child process can write to it; else None, so that it inherits the process's own."""
    try:
        stream.flush()
        stream.fileno()
    except (OSError, io.UnsupportedOperation):
        return None
    return stream


def _run_torchrun() -> None:
    """Run torchrun, with failures written to a file instead of the terminal."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main

    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.disable(logging.ERROR)
    os.environ[TORCHRUN] = str(os.getpid())
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "10")  # seconds; a rank may wait for a dead one
    try:
        main(sys.argv[1:])
    except ChildFailedError as error:
        _report_killed(error.failures)
        raise SystemExit(1) from None
    except SignalException as error:
        shutil.rmtree(Path(os.environ[FAILURES]).parent, ignore_errors=True)  # the process that created it may be dead
        raise SystemExit(128 + error.sigval) from None


def _report_killed(failures: dict[int, Any]) -> None:
    """Report the ranks that something other than torchrun killed. torchrun ends the remaining ranks with SIGTERM, and
    kills them only some seconds later."""
    begin = min(failure.timestamp for failure in failures.values())
    for rank, failure in failures.items():
        if failure.exitcode < 0 and failure.exitcode != -signal.SIGTERM and failure.timestamp <= begin + 1:
            name = signal.Signals(-failure.exitcode).name
            _write_failure(Path(os.environ[FAILURES]), rank, KILLED, f"by {name} (out of memory?)")


def _end_with_parent() -> None:
    os.read(0, 1)  # returns when the pipe closes; reading sys.stdin would hold a lock at exit
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    _run_torchrun()
