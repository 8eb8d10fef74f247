"""The linear probes: which one the options choose, which are fitted beside it, and how each is fitted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from dabs_rq.data.examples import Examples
from dabs_rq.domain import Task
from dabs_rq.encoders.base import Encoder
from dabs_rq.errors import OptionError
from dabs_rq.run import Run
from dabs_rq.run.options import Probe
from dabs_rq.run.processes import loader_workers
from dabs_rq.spec import PerToken
from dabs_rq.transfer import adamw, features, regression, sgd
from dabs_rq.transfer.classifier import read_classifier
from dabs_rq.transfer.fitted import Fitted
from dabs_rq.transfer.standardise import Standardiser
from dabs_rq.transfer.tokens import OfTokens, rows


def probes(run: Run) -> tuple[Probe, ...]:
    """List the probes of every task: first the run's own, `transfer.probe`, then those of `transfer.also`."""
    options = run.options.transfer
    return tuple(dict.fromkeys((options.probe, *options.also)))


def further(run: Run, probe: str) -> str | None:
    """Return the probe's name in the names of its records' files: None for the run's own probe."""
    return None if probe == run.options.transfer.probe else probe


def fit_probe(
    run: Run,
    seed: int,
    probe: Probe,
    task: Task,
    encoder: Encoder,
    train: Examples,
    targets: np.ndarray,
    compute_features: Callable[[Examples], np.ndarray],
    test: tuple[Examples, np.ndarray],
) -> Fitted:
    """Fit one of the run's probes to the training split. compute_features: reads or computes cached features. test: the
    test split with its targets, of which the sgd probe notes the best epoch.

    Only the run's own probe may encode again in every epoch (transfer.features); the others use cached features.
    """
    options = run.options.transfer
    if options.views != "none" and options.probe != "sgd":
        raise OptionError(
            f"transfer.views={options.views} is for transfer.probe=sgd; got transfer.probe={options.probe}"
        )
    place = features.device(run.options.trainer.accelerator)
    reencode = options.features == "reencode" and probe == options.probe
    if probe == "lbfgs":
        if reencode:
            raise OptionError("transfer.probe=lbfgs needs features that do not change: give transfer.features=cached")
        learned = rows(compute_features(train), targets, train.groups, task.target, task.metric)
        fitted = regression.fit_regression(*learned, options, seed, place)
        return OfTokens(fitted, fitted.about) if isinstance(task.target, PerToken) else fitted
    if probe == "classifier":
        file = run.options.checkpoint or run.checkpoint_file(seed)
        return read_classifier(file.expanduser(), encoder.width, task.target)
    outputs = task.target.outputs + (task.unused_outputs if run.options.protocol.unused_outputs else 0)
    if isinstance(task.target, PerToken) and targets.max() >= outputs:
        raise OptionError(
            f"task {task.name}: padding counts in the loss as class {targets.max()}, and the probe has {outputs} "
            "outputs: give protocol.unused_outputs=true too"
        )
    size = run.domain.probe_batch(task, options.batch_size)
    if probe == "sgd":
        test_features = compute_features(test[0]), test[1]
        batches = _sgd_batches(run, seed, task, encoder, train, targets, compute_features, size, reencode)
        return sgd.fit_sgd(batches, encoder.width, task.target, outputs, options, seed, test_features)
    fit = partial(adamw.fit_adamw, target=task.target, outputs=outputs, options=options, seed=seed)
    if reencode:
        if probe == "adamw_standardised":
            raise OptionError(
                "transfer.probe=adamw_standardised scales features by their mean and spread, which needs features that "
                "do not change: give transfer.features=cached"
            )
        workers, of_tokens = loader_workers(run.options), isinstance(task.target, PerToken)
        encoded = features.ReencodedFeatures(encoder, train, size, seed, workers, place, of_tokens=of_tokens)
        return fit(encoded, encoder.width)
    raw = compute_features(train)
    if probe == "adamw":
        return fit(features.CachedFeatures(raw, targets, size, seed, place), raw.shape[-1])
    standardise = Standardiser.of(rows(raw, targets, None, task.target, task.metric).features)
    scaled = standardise(raw).astype(np.float32)
    fitted = fit(features.CachedFeatures(scaled, targets, size, seed, place), raw.shape[-1])
    return _Standardised(standardise, fitted, {**fitted.about, "probe": probe})


def _sgd_batches(
    run: Run,
    seed: int,
    task: Task,
    encoder: Encoder,
    train: Examples,
    targets: np.ndarray,
    compute_features: Callable[[Examples], np.ndarray],
    size: int,
    reencode: bool,
) -> sgd.Batches:
    options = run.options.transfer
    place = features.device(run.options.trainer.accelerator)
    if reencode != (options.views == "crop_flip"):
        raise OptionError(
            f"transfer.probe=sgd with transfer.views={options.views} and transfer.features={options.features}: views "
            "are encoded again in every epoch. Give crop_flip and reencode, or none and cached"
        )
    if reencode:
        whole = task.whole if options.crops == "whole" else None
        if whole is not None:
            train = run.splits.of_task(task, "train")  # not prepared, so that its files are known
        workers = loader_workers(run.options)
        return sgd.ViewedFeatures(encoder, train, size, seed, options.view_size, workers, place, whole)
    return features.CachedFeatures(compute_features(train), targets, size, seed, place, keep_last=True)


@dataclass
class _Standardised:
    standardise: Standardiser
    fitted: Fitted
    about: dict[str, Any]

    def outputs(self, features: np.ndarray) -> np.ndarray:
        return self.fitted.outputs(self.standardise(features).astype(np.float32))
