"""Spearman's rank correlation of outputs and targets."""

from __future__ import annotations

import numpy as np

from dabs_rq.metrics.base import Metric
from dabs_rq.metrics.correlation import check_varied, resampled_correlation
from dabs_rq.metrics.ties import ties
from dabs_rq.spec import Regression


def spearman(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Compute Spearman's rank correlation of outputs (n,) with targets (n,); ties get average ranks."""
    from scipy.stats import spearmanr

    check_varied(outputs, targets)
    return float(spearmanr(outputs, targets).statistic)


def spearman_ordinal(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Compute Spearman's rank correlation with ties ranked in order of appearance. torchmetrics before 0.6 ranked
    them by a sort that is not stable, so its order of ties is unknown: this is one of those it may have had."""
    from scipy.stats import rankdata

    check_varied(outputs, targets)
    return float(np.corrcoef(rankdata(outputs, "ordinal"), rankdata(targets, "ordinal"))[0, 1])


def resampled(counts: np.ndarray, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return resampled_correlation(counts, _ranks(counts, outputs), _ranks(counts, targets))


def _ranks(counts: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Compute average ranks within each resample: (resamples, n)."""
    order, starts = ties(values)
    drawn = np.add.reduceat(counts[:, order], starts, axis=1)
    tie_ranks = drawn.cumsum(1) - drawn + (drawn + 1) / 2
    ranks = np.empty_like(counts)
    ranks[:, order] = np.repeat(tie_ranks, np.diff([*starts, len(values)]), axis=1)
    return ranks


METRIC = Metric(
    name="spearman",
    title="Spearman Corr.",
    fits=(Regression,),
    compute=spearman,
    lowest=-1.0,
    in_batches=True,
    resampled=resampled,
)
