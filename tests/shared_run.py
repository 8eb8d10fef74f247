"""A small run for the tests of what travels: results on digits, which are real, and on made-up text."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from dabs_rq import registry
from dabs_rq.data.examples import Examples
from dabs_rq.records import metrics, record
from dabs_rq.records.bootstrap import standard_error
from dabs_rq.records.record import Record
from dabs_rq.run import Run
from dabs_rq.suite.suite import suite
from tests.test_pretrain import SMALL
from tests.test_records_and_table import fill

WORDS = (
    "domains=[digits,text]",
    "method=none,rq",
    "seeds=[0,1]",
    "pretrain.steps=2",
    "transfer.max_examples=40",
    "transfer.strengths=[1]",
    "transfer.also=lbfgs",
    "suite.executor=in_process",
    *SMALL,
)


@cache
def computed(miniature: Callable[[str], Path]) -> Path:
    """The runs folder, once for all modules of a worker. Only to be read."""
    runs = miniature("text").parent / f"shared-{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}" / "runs"
    (runs / "miniature").mkdir(parents=True)
    (runs / "miniature" / f"text-{registry.miniature_version('text')}").symlink_to(miniature("text"))
    run = of(runs)
    suite(Run.of([*run.words, "tasks=[digits,cola]", "seeds=[0]"]))
    for method, value in {"none": 0.6, "rq": 0.7}.items():
        variant = run.replace(domain="text", method=method).composed.variant(of_pretraining=False)
        for seed in (0, 1):
            fill(run, "sst2", method, value + seed / 10, seed=seed, variant=variant, with_error=True)
    return runs


def of(runs: Path, *words: str) -> Run:
    """The run whose results lie in `runs`."""
    return Run.of([*WORDS, f"runs={runs}", *words])


def file_of(runs: Path, task: str, method: str, seed: int = 0) -> Path:
    (file,) = runs.glob(f"*/*/*/records/*/{method}/*/seed-{seed}/{task}.json")
    return file


def copied(runs: Path, target: Path) -> Path:
    """A copy of the records and checkpoints, to be changed."""
    for folder in (*runs.glob("miniature-*"), *runs.glob("installed-*")):
        shutil.copytree(folder, target / folder.name)
    return target


def rewritten(
    file: Path, change: Callable[[np.ndarray], np.ndarray] = lambda outputs: outputs, **fields: object
) -> Path:
    """Write the record in `file` anew, with other outputs and the score that follows from them, and other fields."""
    result, stored = record.read(file), record.predictions(file)
    outputs = change(stored.outputs.copy())
    values = dataclasses.asdict(result) | {
        "score": metrics.score(registry.task(result.domain, result.task).metric, outputs, stored.targets),
        "standard_error": standard_error(result.metric, outputs, stored.targets),
    }
    return record.write(file.parent, Record(**values | fields), stored.ids, stored.targets, outputs)


def labels(ids: list[str], targets: np.ndarray) -> str:
    return Examples(pa.array(ids, pa.string()), (), targets).labels_key
