"""The precision in which a pretraining computes."""

from __future__ import annotations

from typing import Any, Literal

import torch

from dabs_rq.run.options import Options
from dabs_rq.run.processes import uses_gpu

Precision = Literal["32-true", "64-true", "16-true", "bf16-true", "16-mixed", "bf16-mixed"]


def precision(options: Options) -> Precision:
    """Return Lightning's name of the run's precision on this machine: trainer.precision, unless that is mixed.

    mixed is bfloat16 or float16, as protocol.mixed_precision says. A GPU without bfloat16 takes float16. A CPU takes
    bfloat16 under both protocols, since it has no training in float16, or float32 if it lacks the instructions.
    """
    chosen = options.trainer.precision
    if chosen != "mixed":
        return chosen
    if uses_gpu(options):
        bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return "bf16-mixed" if bfloat16 and options.protocol.mixed_precision == "bfloat16" else "16-mixed"
    if options.trainer.accelerator in ("auto", "gpu", "mps") and torch.backends.mps.is_available():
        return "16-mixed"
    return "bf16-mixed" if multiplies_bfloat16() else "32-true"


def multiplies_bfloat16() -> bool:
    """Return whether this processor multiplies matrices of bfloat16 with instructions of its own."""
    abilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # since torch 2.10
    return any(abilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"))
