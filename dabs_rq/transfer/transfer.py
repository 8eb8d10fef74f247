"""Transfer: probes a frozen encoder on tasks and writes a record for each."""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

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
    PluginError,
    ResourceError,
    TrainingError,
    explain_out_of_memory,
)
from dabs_rq.files import locked_folder
from dabs_rq.metrics import module_of_metric
from dabs_rq.records import record
from dabs_rq.records.metrics import majority
from dabs_rq.records.provenance import code, now, provenance
from dabs_rq.records.record import Record
from dabs_rq.records.spectrum import spectrum
from dabs_rq.run import Run, announce
from dabs_rq.run.changes import refresh_line
from dabs_rq.run.local import has_local_data
from dabs_rq.run.options import Probe
from dabs_rq.run.processes import loader_workers
from dabs_rq.run.splits import Splits
from dabs_rq.spec import PerToken
from dabs_rq.transfer import features
from dabs_rq.transfer.finished import missing_probes
from dabs_rq.transfer.fitted import Fitted
from dabs_rq.transfer.frozen import Frozen, frozen_encoder
from dabs_rq.transfer.kept import CurrentData, changes, set_aside_others
from dabs_rq.transfer.probes import fit_probe, further, probes
from dabs_rq.transfer.scores import scores
from dabs_rq.transfer.targets import check_evaluable, check_trainable
from dabs_rq.transfer.tokens import check_length, probed, spaced

Fits: TypeAlias = dict[tuple[Any, ...], Fitted]  # all that a fit depends on beside the run, seed and encoder
SPECTRUM_ROWS = 512
MEMORY_ADVICE = "Run fewer jobs at a time: lower suite.workers or suite.jobs_per_gpu, or raise suite.transfer_gpus"


def transfer(run: Run, seed: int, network: Encoder | None = None) -> tuple[list[Path], list[Exception]]:
    """Probe the run's encoder on the run's tasks. Finished records are kept.

    network: the caller's encoder, for a run with a name and no checkpoint.
    Returns the files of all records, and the errors of failed tasks; a failed task does not stop the others.
    Raises: CheckpointError if there is no encoder to probe, EncoderError if it cannot be probed.
    """
    run = run.of_one_method()
    frozen = frozen_encoder(run, seed, network)
    folder = run.places.records(run.identity(seed, method=frozen.column))
    with locked_folder(folder):
        if frozen.architecture:
            set_aside_others(folder, frozen)
        files, errors = _probe_tasks(run, seed, frozen, folder)
    if checkpoint.weights_hash(frozen.encoder) != frozen.weights:
        raise CheckpointError("the encoder changed while it was probed; its records cannot be trusted")
    return files, errors


def _probe_tasks(run: Run, seed: int, frozen: Frozen, folder: Path) -> tuple[list[Path], list[Exception]]:
    files: list[Path] = []
    errors: list[Exception] = []
    fits: Fits = {}
    tasks = probed(run.tasks, frozen.encoder, frozen.column)
    unfinished = {
        task.name: missing_probes(run, task, folder, frozen.weights, frozen.architecture)
        if frozen.encoder.identified
        else [*probes(run)]
        for task in tasks
    }
    if any(unfinished.values()):
        count = f"{sum(map(bool, unfinished.values()))} of {len(tasks)} tasks"
        announce(run, f"transfer {run.domain.name} with {frozen.column}, seed {seed}, {count}")
        if not frozen.encoder.identified:
            print(
                f"  {frozen.column} has no weights and no key=: its features are not cached, and its scores are "
                "computed anew every time",
                flush=True,
            )
    say_what_changed(run, seed, [task for task in tasks if not unfinished[task.name]], folder, frozen.weights)
    for task in tasks:
        finished = [probe for probe in probes(run) if probe not in unfinished[task.name]]
        files += [folder / record.file_name(task.name, further_probe=further(run, probe)) for probe in finished]
        if not unfinished[task.name]:
            continue
        with _collected(errors, task.name):
            work = _TaskWork(run, seed, task, frozen, folder, fits)
            work.read()
            for probe in unfinished[task.name]:
                name = task.name if further(run, probe) is None else f"{task.name} ({probe})"
                with _collected(errors, name):
                    files += work.write_records(probe)
    return files, errors


@contextlib.contextmanager
def _collected(errors: list[Exception], name: str) -> Iterator[None]:
    """Add an error of one task or probe to `errors`, with its name, and go on; raise those that concern all tasks."""
    try:
        with explain_out_of_memory(MEMORY_ADVICE):
            yield
    except (DataError, TrainingError, ResourceError, PluginError) as error:
        errors.append(type(error)(f"{name}: {error}"))
    except DabsRqError:
        raise
    except Exception as error:
        traceback.print_exc()
        errors.append(RuntimeError(f"{name}: {type(error).__name__}: {error}"))


def computed_by(run: Run, task: Task) -> dict[str, str]:
    """Hash the code that computes a record of `task` from an encoder. That of a network of the caller does not
    enter."""
    domain, options = run.domain.name, run.options
    of_encoder = not options.scores_network or options.builds_network
    return code(
        __name__,
        registry.module_of_domain(domain),
        registry.module_of_task(domain, task.name),
        *([registry.module_of_encoder(options.encoder.name)] if of_encoder else []),
        *map(module_of_metric, (task.metric, *task.also)),
    )


def say_what_changed(run: Run, seed: int, tasks: list[Task], folder: Path, weights: str) -> None:
    """Print what changed since the kept records of `tasks` were computed, and how to compute them again."""
    data, changed = CurrentData(run), False
    for task in tasks:
        read_data = data if has_local_data(run, task.source) else None
        result = record.read(folder / record.file_name(task.name))
        for change in changes(result, task, computed_by(run, task), weights, read_data):
            print(f"  {task.name}, kept, changed since: {change}")
            changed = True
    if changed:
        print(f"  to compute them again: {refresh_line(run, [seed])}", flush=True)


class _Evaluated(NamedTuple):
    split: str
    examples: Examples
    targets: np.ndarray


@dataclass
class _TaskWork:
    """Fits probes to one task and writes their records. Examples and features are read once for all probes."""

    run: Run
    seed: int
    task: Task
    frozen: Frozen
    folder: Path
    fits: Fits  # of tasks with the same training split, such as MNLI's two
    encoded: dict[str, np.ndarray] = field(default_factory=dict)  # key of examples -> features

    @cached_property
    def _examples(self) -> tuple[Examples, np.ndarray, list[_Evaluated]]:
        """The training examples, their targets and the evaluated splits, the test split last."""
        task, splits = self.task, self._splits
        train, test = splits.labelled(task)
        targets = check_trainable(train.targets, task.target, f"the training split of {task.source.title}")
        evaluated = [
            _Evaluated(
                split,
                splits.prepare(part),
                check_evaluable(part.targets, task.target, f"{task.source.title}, {split}"),
            )
            for split, part in [*_extra(splits, task), ("test", test)]
        ]
        return splits.prepare(train), targets, evaluated

    @cached_property
    def _splits(self) -> Splits:
        """The run's splits; those of a network have the inputs that it takes, such as larger pictures."""
        if not self.frozen.architecture:
            return self.run.splits
        return replace(self.run.splits, inputs=self.frozen.encoder.inputs)

    def write_records(self, probe: Probe) -> list[Path]:
        """Fit a probe and write a record for each split. Returns their files, that of the test split first."""
        started = time.monotonic()
        run, seed, task = self.run, self.seed, self.task
        train, train_targets, evaluated = self._examples
        *_, (_, test, test_targets) = evaluated
        noted = test.key if probe == "sgd" else ""  # it notes its best epoch on the test split
        key = (probe, train.key, train.labels_key, task.target, task.metric, task.unused_outputs, noted)
        if key not in self.fits:
            self.fits[key] = fit_probe(
                run, seed, probe, task, self.frozen.encoder, train, train_targets, self._features, (test, test_targets)
            )
        fitted = self.fits[key]
        files = []
        for split, examples, targets in evaluated:  # the test record marks a finished probe: it is written last
            outputs = fitted.outputs(self._features(examples))
            result = Record(
                **run.identity(seed, method=self.frozen.column)._asdict(),
                task=task.name,
                split=split,
                metric=task.metric,
                **scores(run, task, outputs, targets),
                made_up_data=run.made_up,
                n_examples=len(examples),
                n_train=len(train),
                majority=majority(task.target, targets),
                checkpoint=self.frozen.weights,
                architecture=self.frozen.architecture,
                train_split=train.key,
                test_split=examples.key,
                train_labels=train.labels_key,
                test_labels=examples.labels_key,
                probe=fitted.about,
                spectrum=self._spectrum,
                options=run.composed.recorded,
                seconds=round(time.monotonic() - started, 2),
                created=now(),
                code=computed_by(run, task),
                **provenance(),
            )
            files.append(record.write(self.folder, result, examples.ids, targets, outputs))
            name = ", ".join(part for part in (split if split != "test" else "", further(run, probe) or "") if part)
            shown = result.reason if result.score is None else f"{100 * result.score:.2f} % {task.metric}"
            print(f"  {task.name}{name and f' ({name})'}: {shown}, {result.seconds:.1f} s", flush=True)
        *others, test_file = files
        return [test_file, *others]

    def read(self) -> None:
        """Read and encode the examples, so that what is wrong with them is found once, before the probes."""
        for _, examples, _ in self._examples[2]:
            self._features(examples)
        _ = self._spectrum

    @cached_property
    def _spectrum(self) -> dict[str, float]:
        train, targets, _ = self._examples
        some = spaced(self._features(train), targets, self.task.target, SPECTRUM_ROWS)
        measured = spectrum(some)._asdict() | {"width": some.shape[1]}
        return {name: float(f"{value:.5g}") for name, value in measured.items()}

    def _features(self, examples: Examples) -> np.ndarray:
        if examples.key not in self.encoded:
            options = self.run.options
            folder = self.run.places.features(self.run.domain.name) if self.frozen.encoder.identified else None
            encoded = features.cached(
                self.frozen.encoder,
                self.frozen.weights,
                examples,
                folder,
                loader_workers(options),
                features.device(options.trainer.accelerator),
                options.loader.encode_batch,
                f"encode {self.task.name}" if options.trainer.progress else "",
                of_tokens=isinstance(self.task.target, PerToken),
            )
            check_length(self.task.target, encoded, examples, self.frozen.column)
            self.encoded[examples.key] = encoded
        return self.encoded[examples.key]


def _extra(splits: Splits, task: Task) -> list[tuple[str, Examples]]:
    """Load the task's extra splits, skipping those whose files are missing."""
    present: list[Any] = []
    for split in task.extra_splits:
        try:
            examples = splits.of_task(task, split)
        except MissingDataError:
            continue
        present.append((split, examples))
    return present
