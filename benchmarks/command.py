"""Measures how long the command line takes to start."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

from benchmarks.measure import Line, Target, interleaved

ROOT = Path(__file__).parents[1]


def start(folder: Path, *, repeats: int = 5) -> Line:
    words = [sys.executable, "-m", "dabs_rq", "--help"]
    run = partial(subprocess.run, words, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    (taken,) = interleaved(run, repeats=repeats)
    return Line(
        what="python -m dabs_rq --help, start to end",
        baseline=None,
        ours=taken,
        target=Target("ours", 1.5, at_least=False),
    )
