"""Transfer: probes a frozen encoder on tasks and writes a record for each."""

from __future__ import annotations

import contextlib
import glob
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dabs_rq import checkpoint, registry
from dabs_rq.data.examples import Examples
from dabs_rq.domain import Task
from dabs_rq.encoders.base import Encoder
from dabs_rq.errors import (
    CheckpointError,
    DabsRqError,
    DataError,
    MissingDataError,
    OptionError,
    RecordError,
    ResourceError,
    TrainingError,
    explain_out_of_memory,
)
from dabs_rq.files import locked
from dabs_rq.records import recheck, record
from dabs_rq.records.bootstrap import standard_error
from dabs_rq.records.metrics import Undefined, majority, score
from dabs_rq.records.provenance import code, now, provenance
from dabs_rq.records.record import Record
from dabs_rq.run import Run, announce
from dabs_rq.transfer import adamw, features, regression
from dabs_rq.transfer.fitted import Fitted
from dabs_rq.transfer.frozen import frozen_encoder
from dabs_rq.transfer.targets import check_evaluable, check_trainable

MEMORY_ADVICE = "Run fewer jobs at a time: lower suite.workers, or on Ray raise suite.transfer_gpus"


def transfer(run: Run, seed: int) -> tuple[list[Path], list[Exception]]:
    """Probe the run's encoder on the run's tasks. Finished records are kept.

    Returns the files of all records, and the errors of failed tasks; a failed task does not stop the others.
    Raises: CheckpointError if there is no encoder to probe.
    """
    run = run.of_one_method()
    encoder, weights, method = frozen_encoder(run, seed)
    folder = run.places.records(run.identity(seed, method=method))
    with locked(folder):
        files, errors = _probe_tasks(run, seed, encoder, weights, folder, method)
    if checkpoint.weights_hash(encoder) != weights:
        raise CheckpointError("the encoder changed while it was probed; its records cannot be trusted")
    return files, errors


def _probe_tasks(
    run: Run, seed: int, encoder: Encoder, weights: str, folder: Path, method: str
) -> tuple[list[Path], list[Exception]]:
    files: list[Path] = []
    errors: list[Exception] = []
    missing = [task for task in run.tasks if not is_finished(folder / f"{task.name}.json", weights)]
    if missing:
        count = f"{len(missing)} of {len(run.tasks)} tasks"
        announce(run, f"transfer {run.domain.name} with {method}, seed {seed}, {count}")
    for task in run.tasks:
        file = folder / f"{task.name}.json"
        if task not in missing:
            files.append(file)
            continue
        try:
            with explain_out_of_memory(MEMORY_ADVICE):
                files += _probe_task(run, seed, task, encoder, weights, folder, method)
        except (DataError, TrainingError, ResourceError) as error:
            errors.append(type(error)(f"{task.name}: {error}"))
        except DabsRqError:  # concerns all tasks
            raise
        except Exception as error:
            traceback.print_exc()
            errors.append(RuntimeError(f"{task.name}: {type(error).__name__}: {error}"))
    return files, errors


def computed_by(run: Run, task: Task) -> dict[str, str]:
    """Hash the code that computes a record of `task` from an encoder."""
    domain, encoder = run.domain.name, run.options.encoder
    return code(
        __name__,
        registry.module_of_domain(domain),
        registry.module_of_task(domain, task.name),
        registry.module_of_encoder(encoder.name),
    )


def is_finished(file: Path, weights: str) -> bool:
    """Return whether the task has a record with a score for these weights.

    Returns False as well if a record of any of its splits cannot be read or differs from its predictions, so that all
    its records are computed again.
    """
    if not file.exists():
        return False
    try:
        test_record = record.read(file)
        if test_record.status != "ok" or test_record.checkpoint != weights:
            return False
        for split_file in (file, *sorted(file.parent.glob(f"{glob.escape(file.stem)}@*.json"))):
            split_record = record.read(split_file)
            if split_record.status == "ok":
                recheck.predictions(split_file, split_record)
    except RecordError as error:
        print(f"{error}; computing it again")
        return False
    return True


def _probe_task(
    run: Run, seed: int, task: Task, encoder: Encoder, weights: str, folder: Path, method: str
) -> list[Path]:
    started = time.monotonic()
    train, test = run.splits.labelled(task)
    train_targets = check_trainable(train.targets, task.target, f"the training split of {task.source.title}")
    evaluated = [
        (split, run.splits.prepare(part), check_evaluable(part.targets, task.target, f"{task.source.title}, {split}"))
        for split, part in [*_extra(run, task), ("test", test)]  # the test record marks a finished task: write it last
    ]
    train = run.splits.prepare(train)
    compute_features = partial(_features, run, encoder, weights)
    fitted = _fit(run, seed, task, encoder, train, train_targets, compute_features)

    files = []
    for split, examples, targets in evaluated:
        outputs = fitted.outputs(compute_features(examples))
        result = Record(
            **run.identity(seed, method=method)._asdict(),
            task=task.name,
            split=split,
            metric=task.metric,
            **scores(run, task, outputs, targets),
            made_up_data=run.made_up,
            n_examples=len(examples),
            n_train=len(train),
            majority=majority(task.target, targets),
            checkpoint=weights,
            train_split=train.key,
            test_split=examples.key,
            train_labels=train.labels_key,
            test_labels=examples.labels_key,
            probe=fitted.about,
            options=run.values,
            seconds=round(time.monotonic() - started, 2),
            created=now(),
            code=computed_by(run, task),
            **provenance(),
        )
        files.append(record.write(folder, result, examples.ids, targets, outputs))
        shown = result.reason if result.score is None else f"{100 * result.score:.2f} % {task.metric}"
        print(f"  {task.name}{'' if split == 'test' else f' ({split})'}: {shown}, {result.seconds:.1f} s", flush=True)
    *others, test_file = files
    return [test_file, *others]


def scores(run: Run, task: Task, outputs: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
    """Compute fields of a record: the score and its standard error, or the reason why it is undefined, and the scores
    of the task's further metrics. An undefined metric does not affect the others."""
    options, protocol = run.options.transfer, run.options.protocol
    measure = partial(
        score,
        outputs=outputs,
        targets=targets,
        correlation=protocol.correlation,
        spearman_ties=protocol.spearman_ties,
        batch_size=options.batch_size or run.domain.batch_size,
    )
    also: dict[str, float] = {}
    for metric in task.also:
        with contextlib.suppress(Undefined):
            also[metric] = measure(metric)
    try:
        value = measure(task.metric)
    except Undefined as error:
        return {"score": None, "status": "failed", "reason": str(error), "also": also}
    error_bar = standard_error(task.metric, outputs, targets)
    return {"score": value, "status": "ok", "standard_error": error_bar, "also": also}


def _fit(
    run: Run,
    seed: int,
    task: Task,
    encoder: Encoder,
    train: Examples,
    targets: np.ndarray,
    compute_features: Callable[[Examples], np.ndarray],
) -> Fitted:
    """Fit the probe that the options choose. compute_features: reads or computes cached features."""
    options = run.options.transfer
    if options.probe == "lbfgs":
        if options.features == "reencode":
            raise OptionError("transfer.probe=lbfgs needs features that do not change: give transfer.features=cached")
        return regression.fit_regression(
            compute_features(train), targets, train.groups, task.target, task.metric, options, seed
        )
    size, place = options.batch_size or run.domain.batch_size, features.device(run.options.trainer.accelerator)
    batches: features.CachedFeatures | features.ReencodedFeatures
    if options.features == "cached":
        batches = features.CachedFeatures(compute_features(train), targets, size, seed, place)
    else:
        batches = features.ReencodedFeatures(encoder, train, size, seed, run.options.loader.workers, place)
    outputs = task.target.outputs + (task.unused_outputs if run.options.protocol.unused_outputs else 0)
    return adamw.fit_adamw(batches, encoder.width, task.target, outputs, options, seed)


def _features(run: Run, encoder: Encoder, weights: str, examples: Examples) -> np.ndarray:
    place, folder = features.device(run.options.trainer.accelerator), run.places.features(run.domain.name)
    return features.cached(encoder, weights, examples, folder, run.options.loader.workers, place)


def _extra(run: Run, task: Task) -> list[tuple[str, Examples]]:
    """Load the task's extra splits, skipping those whose files are missing."""
    present: list[Any] = []
    for split in task.extra_splits:
        try:
            examples = run.splits.of_task(task, split)
        except MissingDataError:
            continue
        present.append((split, examples))
    return present
