"""A small run for the report's tests: real results of one domain, records of two others."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

from dabs_rq import registry, report
from dabs_rq.run import Run
from dabs_rq.suite.suite import suite
from tests.test_pretrain import SMALL
from tests.test_records_and_table import fill

WORDS = (
    "domains=[sensor,text,vqa]",
    "method=none,emix,rq",
    "pretrain.steps=3",
    "transfer.max_examples=60",
    "transfer.strengths=[1]",
    *SMALL,
)
REASON = "one class </script><script>alert(1)</script> & 'more'"


@cache
def written(miniature: Callable[[str], Path]) -> report.Report:
    """The report of the run, once for all modules of a worker. Only to be read."""
    folder = miniature("sensor").parent / f"report-{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}"
    _link(folder / "runs", miniature)
    run = Run.of([*WORDS, f"runs={folder / 'runs'}", f"out={folder / 'out'}"])
    _fill(run)
    return report.write(run)


def _link(runs: Path, miniature: Callable[[str], Path]) -> None:
    """The session's miniatures, and what is prepared of them, where a run looks for its own."""
    prepared = miniature("sensor").parent / "prepared"
    prepared.mkdir(exist_ok=True)
    (runs / "miniature").mkdir(parents=True)
    (runs / "prepared").symlink_to(prepared)
    for name in ("sensor", "text", "vqa"):
        (runs / "miniature" / f"{name}-{registry.miniature_version(name)}").symlink_to(miniature(name))


def _fill(run: Run) -> None:
    suite(Run.of([*run.words, "domains=[sensor]", "methods=[none,rq]", "suite.workers=1"]))
    values = {
        "sst2": {"none": 0.7, "emix": 0.9, "rq": 0.8},
        "qqp": {"none": 0.6, "emix": 0.5, "rq": 0.7},
        "rte": {"none": 0.5, "emix": 0.5, "rq": 0.55},
        "mrpc": {"none": 0.6},
        "cola": {"rq": None},
        "vqa": {"none": 0.2, "emix": 0.3, "rq": 0.4},
    }
    for task, of_methods in values.items():
        for method, value in of_methods.items():
            variant = run.replace(method=method).composed.variant(of_pretraining=False)
            failed = {"reason": REASON} if value is None else {"with_error": True}
            file = fill(run, task, method, value, variant=variant, **failed)
            if (task, method) == ("rte", "emix"):
                file.write_text(json.dumps(json.loads(file.read_text()) | {"score": 0.99}))
