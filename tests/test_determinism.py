"""The same seed on the same machine gives the same numbers, for any number of loader workers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dabs_rq import checkpoint, registry
from dabs_rq.pretrain.pretrain import pretrain
from dabs_rq.records import record
from dabs_rq.run import Run
from dabs_rq.transfer.transfer import transfer
from tests.test_pretrain import SMALL

BUDGET = ("pretrain.steps=4", "transfer.max_examples=80", "transfer.epochs=2", "transfer.strengths=[1]")


def outcome(words: list[str], runs: Path) -> tuple[str, list[np.ndarray]]:
    """The hash of the pretrained weights, and the outputs of every probe."""
    run = Run.of([*words, f"runs={runs}"])
    file = pretrain(run, 0)
    records, errors = transfer(run, 0)
    assert not errors
    return checkpoint.describe(file)["weights"], [record.predictions(one).outputs for one in records]


@pytest.mark.parametrize("protocol", ["corrected", "published"])
@pytest.mark.parametrize("domain", registry.domain_names())
def test_workers_change_nothing(
    domain: str, protocol: str, tmp_path: Path, miniature: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    first = registry.domain(domain).tasks[0].name
    words = [f"domain={domain}", f"tasks=[{first}]", f"protocol={protocol}", f"data={miniature(domain)}", "method=rq"]
    words += [*SMALL, *BUDGET, "encoder.dropout=0.1"]
    expected = outcome(words, tmp_path / "0")
    for workers in (0, 2):
        weights, outputs = outcome([*words, f"loader.workers={workers}"], tmp_path / f"again-{workers}")
        assert weights == expected[0]
        assert all(np.array_equal(a, b) for a, b in zip(outputs, expected[1], strict=True))
