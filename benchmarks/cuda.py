"""The lines of the quantizer, the encoder and the training step on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from benchmarks import encoder, quantizer, step
from benchmarks.measure import Line


def on_gpu(line: Callable[..., Line], folder: Path) -> Line:
    """Measure `line` on the GPU, with synchronisation around the timed code; skip it without a GPU."""
    if not torch.cuda.is_available():
        return Line(what="the same on cuda", baseline="as on cpu", skipped="torch.cuda.is_available() is False here")
    return line(folder, device="cuda")


LINES = {
    "cuda-quantizer-forward": partial(on_gpu, quantizer.forward),
    "cuda-quantizer-forward-compiled": partial(on_gpu, partial(quantizer.forward, compiled=True)),
    "cuda-quantizer-backward": partial(on_gpu, quantizer.backward),
    "cuda-quantizer-backward-compiled": partial(on_gpu, partial(quantizer.backward, compiled=True)),
    "cuda-encoder": partial(on_gpu, encoder.step),
    "cuda-encoder-bfloat16": partial(on_gpu, partial(encoder.step, half=True)),
    "cuda-step-float32": partial(on_gpu, step.of_gemm_rate),
    "cuda-step-float32-compiled": partial(on_gpu, partial(step.of_gemm_rate, compiled=True)),
    "cuda-step-bfloat16": partial(on_gpu, partial(step.of_gemm_rate, half=True)),
    "cuda-step-bfloat16-compiled": partial(on_gpu, partial(step.of_gemm_rate, half=True, compiled=True)),
    "cuda-step-dabs": partial(on_gpu, step.of_dabs),
}
