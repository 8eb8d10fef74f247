"""python -m tests.killed <module> <words>: run a module, and kill this process beside one of its renames.

A rename is where a file or folder becomes visible, so between two renames a kill leaves the same files. Environment:
CHAOS_KILL_AT: 2n kills before the n-th rename (from 0), 2n + 1 after it; without it nothing is killed.
CHAOS_RENAMES: a file to which the number of renames is written at the end. CHAOS_CLOCK: seconds that the clock is off.

Module "fetch" is the fetch of a made-up source: fetch <root> <address of a server>.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ARCHIVES = ("first.tgz", "second.zip", "third.bin")


def kill_at(place: int) -> Callable[[], int]:
    """Kill this process at a place, see above. Returns a function that gives the number of renames so far."""
    renames = 0

    def watched(rename: Callable[..., None]) -> Callable[..., None]:
        def call(*given: Any, **named: Any) -> None:
            nonlocal renames
            if place == 2 * renames:
                os.kill(os.getpid(), signal.SIGKILL)
            rename(*given, **named)
            if place == 2 * renames + 1:
                os.kill(os.getpid(), signal.SIGKILL)
            renames += 1

        return call

    for name in ("rename", "replace"):
        setattr(os, name, watched(getattr(os, name)))
    return lambda: renames


def shift_clock(seconds: float) -> None:
    now, now_ns = time.time, time.time_ns
    time.time = lambda: now() + seconds
    time.time_ns = lambda: now_ns() + int(seconds * 1e9)


def fetch(root: Path, address: str) -> None:
    from dabs_rq.sources.fetch import fetch
    from dabs_rq.spec import Archive, Source

    about = {"title": "Chaos", "folder": "images/chaos", "layout": "set/", "licence": "none", "size": "1 MB"}
    needs = ("set/one.txt", "more/a.txt", "third.bin")
    archives = tuple(Archive(f"{address}/{name}") for name in ARCHIVES)
    fetch(Source(name="chaos", url=address, citation="nobody", needs=needs, archives=archives, **about), root)


def main() -> None:
    shift_clock(float(os.environ.get("CHAOS_CLOCK", "0")))
    renames = kill_at(int(os.environ.get("CHAOS_KILL_AT", "-1")))
    module, *words = sys.argv[1:]
    try:
        if module == "fetch":
            fetch(Path(words[0]), words[1])
        else:
            sys.argv[1:] = words
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        if file := os.environ.get("CHAOS_RENAMES"):
            Path(file).write_text(str(renames()))


if __name__ == "__main__":
    main()
