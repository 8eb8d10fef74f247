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
from dabs_rq.transfer import adamw, features, regression
from dabs_rq.transfer.fitted import Fitted


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
) -> Fitted:
    """Fit one of the run's probes to the training split. compute_features: reads or computes cached features.

    Only the run's own probe may encode again in every epoch (transfer.features); the others use cached features.
    """
    options = run.options.transfer
    place = features.device(run.options.trainer.accelerator)
    reencode = options.features == "reencode" and probe == options.probe
    if probe == "lbfgs":
        if reencode:
            raise OptionError("transfer.probe=lbfgs needs features that do not change: give transfer.features=cached")
        return regression.fit_regression(
            compute_features(train), targets, train.groups, task.target, task.metric, options, seed, place
        )
    outputs = task.target.outputs + (task.unused_outputs if run.options.protocol.unused_outputs else 0)
    size = options.batch_size or run.domain.batch_size
    fit = partial(adamw.fit_adamw, target=task.target, outputs=outputs, options=options, seed=seed)
    if reencode:
        if probe == "adamw_standardised":
            raise OptionError(
                "transfer.probe=adamw_standardised scales features by their mean and spread, which needs features that "
                "do not change: give transfer.features=cached"
            )
        workers = run.options.loader.workers
        return fit(features.ReencodedFeatures(encoder, train, size, seed, workers, place), encoder.width)
    raw = compute_features(train)
    scale = _Scale.of(raw) if probe == "adamw_standardised" else None
    scaled = raw if scale is None else scale(raw)
    fitted = fit(features.CachedFeatures(scaled, targets, size, seed, place), raw.shape[1])
    return fitted if scale is None else _Standardised(scale, fitted, {**fitted.about, "probe": probe})


@dataclass
class _Scale:
    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, raw: np.ndarray) -> _Scale:
        """Measure mean and standard deviation of each feature; a constant feature stays unscaled."""
        mean, deviation = raw.mean(0, dtype=np.float64), raw.std(0, dtype=np.float64)
        constant = deviation <= 1e-6 * np.abs(mean)  # beyond float32's precision
        return cls(mean, np.where(constant | (deviation == 0), 1.0, deviation))

    def __call__(self, raw: np.ndarray) -> np.ndarray:
        return ((raw - self.mean) / self.deviation).astype(np.float32)


@dataclass
class _Standardised:
    scale: _Scale
    fitted: Fitted
    about: dict[str, Any]

    def outputs(self, features: np.ndarray) -> np.ndarray:
        return self.fitted.outputs(self.scale(features))
