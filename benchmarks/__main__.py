"""python -m benchmarks [LINE ...]: measure all lines, or those whose names are or start with the given words."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from benchmarks.measure import Line

Measure: TypeAlias = "Callable[[Path], Line]"  # takes an empty folder for its data
RESULTS = Path(__file__).parent
LONG = ("probe-voxceleb",)  # measured only if named: takes longer than all others together


def lines() -> dict[str, Measure]:
    """Return all lines by name, in the order of the table."""
    from benchmarks import command, cuda, encoder, everyday, images, probe, quantizer, sensor, speech, step, transfer

    return {
        "quantizer-forward": quantizer.forward,
        "quantizer-forward-compiled": partial(quantizer.forward, compiled=True),
        "quantizer-backward": quantizer.backward,
        "quantizer-backward-compiled": partial(quantizer.backward, compiled=True),
        "quantizer-memory": quantizer.memory,
        "quantizer-memory-compiled": partial(quantizer.memory, compiled=True),
        "encoder": encoder.step,
        "encoder-bfloat16": partial(encoder.step, half=True),
        "encoder-no-dropout": partial(encoder.step, dropout=0.0),
        "encoder-no-dropout-bfloat16": partial(encoder.step, dropout=0.0, half=True),
        "step-float32": step.of_gemm_rate,
        "step-float32-compiled": partial(step.of_gemm_rate, compiled=True),
        "step-bfloat16": partial(step.of_gemm_rate, half=True),
        "step-bfloat16-compiled": partial(step.of_gemm_rate, half=True, compiled=True),
        "step-dabs": step.of_dabs,
        "transfer-one-task": transfer.one_task,
        "transfer-shared-inputs": transfer.shared_inputs,
        "probe-small": probe.small,
        "probe-voxceleb": probe.large,
        "sensor-windows": sensor.windows,
        "speech-batches": speech.batches,
        "speech-preparation": speech.preparation,
        "image-batches": images.batches,
        **cuda.LINES,
        "start": command.start,
        "job-cold": everyday.job,
        "job-warm": partial(everyday.job, warm=True),
        "table": everyday.table,
        "table-memory": partial(everyday.table, unit="MB"),
        "report": everyday.report,
        "report-memory": partial(everyday.report, unit="MB"),
        "plan": everyday.plan,
        "plan-memory": partial(everyday.plan, unit="MB"),
    }


def selected(words: Sequence[str], known: Mapping[str, Measure]) -> dict[str, Measure]:
    """Return the lines whose names are or start with one of `words`; without words all but `LONG`."""
    for word in words:
        if not any(_matches(word, name) for name in known):
            raise SystemExit(f"no line begins with {word!r}; there are:\n  " + "\n  ".join(known))
    if not words:
        return {name: line for name, line in known.items() if name not in LONG}
    return {name: line for name, line in known.items() if any(_matches(word, name) for word in words)}


def _matches(word: str, name: str) -> bool:
    return name == word or name.startswith(f"{word}-")


def run(measured: Mapping[str, Measure], results: Path, order: Sequence[str]) -> None:
    """Measure lines one after the other, and write each to `results` as soon as it is measured."""
    import torch

    from benchmarks import report
    from benchmarks.measure import THREADS

    torch.set_num_threads(THREADS)
    for name, measure in measured.items():
        started = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="dabs-rq-bench-") as folder:
            torch.manual_seed(0)
            line = measure(Path(folder))
        report.save(results, name, line, order)
        print(f"{report.summary(name, line)} [{time.perf_counter() - started:.0f} s]", flush=True)


def main(words: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="dabs-rq-bench-") as cache:
        # Set before those libraries are imported: they fetch nothing and leave nothing behind.
        os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": cache, "KINETO_LOG_LEVEL": "99"}
        known = lines()
        run(selected(words, known), RESULTS, list(known))


if __name__ == "__main__":
    main(sys.argv[1:])
