"""Measures the regression probe, from features to a model with a selected strength."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from benchmarks.measure import Line, Spread, Target, interleaved
from dabs_rq.run.options import TransferOptions
from dabs_rq.spec import Multiclass
from dabs_rq.transfer.regression import fit_regression

OPTIONS = TransferOptions()


def made_up(count: int, width: int, classes: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Make features (count, width) around a centre per class, with variances that fall over the directions as those of
    an encoder's features do, and the classes (count,)."""
    rng = np.random.default_rng(seed)
    targets = rng.permutation(np.arange(count) % classes)
    spectrum = np.logspace(0, -1.5, width)
    mixed = np.linalg.qr(rng.normal(size=(width, width)))[0]
    centres = rng.normal(size=(classes, width)) * spectrum
    features = (centres[targets] + noise * rng.normal(size=(count, width)) * spectrum) @ mixed
    return features.astype(np.float32), targets


def small(folder: Path, *, count: int = 1024, width: int = 64, classes: int = 20, repeats: int = 3) -> Line:
    """Compare with scikit-learn on a problem of the miniature's size. Both solve to about the same precision."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    features, targets = made_up(count, width, classes, noise=2.0)

    def ours() -> None:
        fit_regression(features, targets, None, Multiclass(classes), "accuracy", OPTIONS, 0)

    def theirs() -> None:
        fitting, held_out = train_test_split(np.arange(count), test_size=0.1, stratify=targets, random_state=0)

        def fit(rows: np.ndarray, strength: float) -> tuple[StandardScaler, LogisticRegression]:
            scaler = StandardScaler().fit(features[rows].astype(np.float64))
            model = LogisticRegression(C=strength, solver="newton-cg", tol=1e-7, max_iter=10_000)
            return scaler, model.fit(scaler.transform(features[rows]), targets[rows])

        def held_out_score(strength: float) -> float:
            scaler, model = fit(fitting, strength)
            return float(model.score(scaler.transform(features[held_out]), targets[held_out]))

        fit(np.arange(count), max(OPTIONS.strengths, key=held_out_score))

    seconds = interleaved(ours, theirs, repeats=repeats, warm_up=False)
    return Line(
        what=f"regression probe, {count:,} x {width} features, {classes} classes, {len(OPTIONS.strengths)} strengths "
        "and the last fit",
        baseline="the same with scikit-learn's newton-cg",
        ours=seconds[0],
        theirs=seconds[1],
        target=Target("ratio", 1),
    )


def large(folder: Path, *, count: int = 145_000, width: int = 256, classes: int = 1251, repeats: int = 1) -> Line:
    """Measure a problem of the size of VoxCeleb1."""
    features, targets = made_up(count, width, classes, noise=4.0)
    groups = targets * 18 + np.random.default_rng(1).integers(18, size=count)  # about 18 videos of each speaker
    taken, about = [], {}
    for _ in range(repeats):
        started = time.perf_counter()
        fitted = fit_regression(features, targets, groups, Multiclass(classes), "accuracy", OPTIONS, 0)
        taken.append(time.perf_counter() - started)
        about = fitted.about
    return Line(
        what=f"regression probe, {count:,} x {width} made-up features in single precision, {classes:,} classes",
        baseline=None,
        ours=Spread.of(taken),
        target=Target("ours", 1200, at_least=False),
        note=f"{about['tried']} strengths tried, converged: {about['converged']}, gradient {about['gradient']:g} of "
        f"that at zero weights, held-out accuracy {about['held_out_score']:.2f}",
    )
