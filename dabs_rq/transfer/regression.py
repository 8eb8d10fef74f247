"""The linear probe by regularised regression, with a strength selected on held-out examples."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dabs_rq.errors import TrainingError
from dabs_rq.records.metrics import Undefined, score
from dabs_rq.run.options import TransferOptions
from dabs_rq.spec import Binary, MetricName, Multiclass, Multilabel, Regression, Target
from dabs_rq.transfer.fitted import Fitted, probe_loss

HOLD_OUT = 10  # one in ten training examples is held out to select the strength
SMALL = 10**8  # below this many multiplications per step, threads cost more than they save, mostly on a busy machine


def fit_regression(
    features: np.ndarray,
    targets: np.ndarray,
    groups: np.ndarray | None,
    target: Target,
    metric: MetricName,
    options: TransferOptions,
    seed: int,
) -> Fitted:
    """Fit logistic regression by L-BFGS (ridge regression for a Regression target) on standardised features.

    Selects the strength in `options.strengths` with the best score (ties: the least loss) on a held-out tenth of the
    training examples, see `hold_out`, then fits to all training examples.
    """
    if not options.strengths or min(options.strengths) <= 0:
        raise TrainingError(f"transfer.strengths needs one or more numbers above 0; got {options.strengths}")
    features = np.asarray(features, dtype=np.float64)
    fitting, held_out = hold_out(targets, groups, target, seed)
    trials = []
    model = None
    for strength in sorted(options.strengths):  # each fit starts from the solution of the previous, smaller value
        model = _fit(features[fitting], targets[fitting], target, strength, options, model)
        outputs = model.outputs(features[held_out])
        try:
            value = score(metric, outputs, targets[held_out])
        except Undefined:
            value = 0.0
        as_columns = torch.from_numpy(outputs.reshape(len(outputs), -1))
        loss = float(probe_loss(target, as_columns, torch.from_numpy(targets[held_out])))
        trials.append((value, -loss, strength))
    value, _, strength = max(trials)
    final = _fit(features, targets, target, strength, options, model)
    chosen = {"probe": "lbfgs", "strength": strength, "held_out": len(held_out), "held_out_score": value}
    final.about = chosen | final.about
    return final


def hold_out(
    targets: np.ndarray, groups: np.ndarray | None, target: Target, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Divide the training examples: returns indices to fit on, and about a tenth to select by.

    Stratified by class; no group is on both sides.
    """
    from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit, StratifiedGroupKFold, StratifiedShuffleSplit

    stratify = isinstance(target, Multiclass | Binary)
    folds = 1 if groups is None else min(HOLD_OUT, len(np.unique(groups)))
    blank = np.zeros(len(targets))
    counts = np.unique(targets, return_counts=True)[1] if stratify else np.zeros(1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class in y")
        if folds > 1 and counts.max() >= folds:
            splitter: Any = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
            pairs = splitter.split(blank, targets, groups)
        elif folds > 1:
            pairs = GroupShuffleSplit(HOLD_OUT, test_size=1 / HOLD_OUT, random_state=seed).split(blank, None, groups)
        elif counts.min() >= 2 and len(targets) >= HOLD_OUT * len(counts):
            pairs = StratifiedShuffleSplit(1, test_size=1 / HOLD_OUT, random_state=seed).split(blank, targets)
        else:
            pairs = ShuffleSplit(1, test_size=1 / HOLD_OUT, random_state=seed).split(blank)
        # A probe cannot be fitted to a single class: then take the next fold, if there is one.
        for fitting, held_out in pairs:
            if not stratify or len(np.unique(targets[fitting])) > 1:
                return fitting, held_out
    raise TrainingError("the training split is too small, or its groups are too uniform, to hold out a part of it")


@dataclass
class _Regression:
    scaler: Any
    models: list[Any]
    target: Target
    about: dict[str, Any]

    def outputs(self, features: np.ndarray) -> np.ndarray:
        return self._outputs(features).astype(np.float32)  # as stored, so that stored outputs have exactly this score

    def _outputs(self, features: np.ndarray) -> np.ndarray:
        scaled = self.scaler.transform(np.asarray(features, dtype=np.float64))
        if isinstance(self.target, Regression):
            return self.models[0].predict(scaled)
        if isinstance(self.target, Multilabel):
            columns = [_constant_or_logit(model, scaled) for model in self.models]
            return np.stack(columns, axis=1)
        model = self.models[0]
        logits = model.decision_function(scaled)
        if isinstance(self.target, Binary):
            return logits
        if logits.ndim == 1:  # two classes
            logits = np.stack([-logits / 2, logits / 2], axis=1)
        # Classes that are missing in the training split get an output below all others.
        full = np.full((len(scaled), self.target.classes), logits.min(axis=1, keepdims=True) - 10.0)
        full[:, model.classes_] = logits
        return full


def _fit(
    features: np.ndarray,
    targets: np.ndarray,
    target: Target,
    strength: float,
    options: TransferOptions,
    start: _Regression | None,
) -> _Regression:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    scaler = StandardScaler().fit(features)
    scaled = scaler.transform(features)
    if isinstance(target, Regression):
        return _Regression(scaler, [Ridge(alpha=1 / strength).fit(scaled, targets)], target, {})
    columns = list(targets.T) if isinstance(target, Multilabel) else [targets]
    models: list[Any] = []
    small = features.size * target.outputs < SMALL
    with warnings.catch_warnings(), threadpool_limits(1 if small else None):
        warnings.simplefilter("ignore", ConvergenceWarning)  # recorded below instead
        warnings.filterwarnings("ignore", "The number of unique classes")  # few examples of many classes
        for index, column in enumerate(columns):
            if len(np.unique(column)) < 2:
                models.append(float(column[0]))
                continue
            model = LogisticRegression(C=strength, max_iter=options.max_iterations, warm_start=True)
            previous = start.models[index] if start else None
            if isinstance(previous, LogisticRegression) and np.array_equal(previous.classes_, np.unique(column)):
                model.coef_, model.intercept_ = previous.coef_.copy(), previous.intercept_.copy()
                model.classes_ = previous.classes_
            models.append(model.fit(scaled, column))
    iterations = max((int(model.n_iter_.max()) for model in models if not isinstance(model, float)), default=0)
    about = {"iterations": iterations, "converged": iterations < options.max_iterations}
    return _Regression(scaler, models, target, about)


def _constant_or_logit(model: Any, scaled: np.ndarray) -> np.ndarray:
    """Compute the outputs of one label; they are constant if the label was constant in the training split."""
    return np.full(len(scaled), 2 * model - 1) if isinstance(model, float) else model.decision_function(scaled)
