"""The health of a pretraining: measures of the features of one fixed batch, and warnings.

Measuring does not change the training: the encoder runs in eval mode without gradients, and generators keep their
state.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from dabs_rq.data.batches import Shuffled, Streamed
from dabs_rq.encoders.base import Encoder
from dabs_rq.encoders.embed import to_model_input
from dabs_rq.methods.base import Method
from dabs_rq.ranks import Ranks
from dabs_rq.records.spectrum import Spectrum, spectrum
from dabs_rq.run.options import Options

PREFIX = "health/"  # of the logged scalars
SOLVED = 0.99  # the pretext task is solved if the mean accuracy exceeds it ...
LONG_SHARE, LONG_STEPS = 0.2, 50  # ... over this share of the steps, and over at least so many
# Features below either have collapsed. Initial encoders of the miniatures have a spread of 0.1 or more. A run whose
# loss stayed that of equal features ended at 0.025.
COLLAPSED_RANK, COLLAPSED_SPREAD = 1.5, 0.03
LEAST_RANK = 4  # a low rank means something only if the batch and the width allow at least this one


class Health:
    """Measures features every `trainer.health_every` steps, and warns once if they collapse, and once if the pretext
    task is solved. Its batch is the first of the run's seed. Only one rank may measure: no other rank takes part."""

    def __init__(self, options: Options, method: Method, batches: Shuffled | Streamed, ranks: Ranks) -> None:
        self.every, self.steps, self.accumulate = (
            options.trainer.health_every,
            options.pretrain.steps,
            options.pretrain.accumulate,
        )
        self.inputs, _ = batches.batch(0)
        self.rows = batches.size // ranks.count  # to encode at a time: as many as fit in training
        self.compiled, self.harder = options.trainer.compile, _harder(method)
        self.warnings: dict[str, str] = {}
        self._sum: Tensor | float = 0.0  # of accuracies since the last measurement; it stays on the device
        self._count = 0
        self._intervals: list[tuple[int, float]] = []  # number of batches and sum of accuracies between measurements
        self._highest_rank = 0.0  # of all measurements without a collapse; 0 if there was none
        self._collapsed = False  # at the last measurement

    def due(self, step: int) -> bool:
        return step % self.every == 0

    def add(self, logs: dict[str, Tensor]) -> None:
        """Note the `accuracy` of a batch, if the method logs one, without reading it."""
        if "accuracy" in logs:
            self._sum = self._sum + logs["accuracy"].detach()
            self._count += 1

    def measure(self, encoder: Encoder, step: int) -> dict[str, float]:
        """Measure the features after `step` steps, print new warnings, and return the scalars to log."""
        features = self._features(encoder)
        measured = spectrum(features)
        found = {
            "solved": self._judge_accuracy(step),
            "collapsed": self._judge_features(measured, features.shape, step),
        }
        for name, text in found.items():
            if text and name not in self.warnings:
                self.warnings[name] = text
                print(f"warning: {text}", flush=True)
        return {f"{PREFIX}{name}": value for name, value in measured._asdict().items()}

    def state(self) -> dict[str, Any]:
        """Return what a resume point keeps."""
        self._sum = float(self._sum)
        return {name: vars(self)[name] for name in _STATE}

    def load(self, state: dict[str, Any]) -> None:
        vars(self).update({name: state[name] for name in _STATE})

    def _features(self, encoder: Encoder) -> Tensor:
        parts = zip(*(raw.split(self.rows) for raw in self.inputs), strict=True)
        with self._undisturbed(encoder):
            encoded = [
                encoder.features(tuple(to_model_input(raw.to(encoder.device)) for raw in part)) for part in parts
            ]
            return torch.cat(encoded)

    @contextlib.contextmanager
    def _undisturbed(self, encoder: Encoder) -> Iterator[None]:
        """Run this block in eval mode without gradients; afterwards modes and generators are as before."""
        modes = [(module, module.training) for module in encoder.modules()]
        devices = [encoder.device] if encoder.device.type == "cuda" else []
        with torch.no_grad(), torch.random.fork_rng(devices=devices), contextlib.ExitStack() as stack:
            if self.compiled:  # compiling again, for eval mode, would take a minute
                stack.enter_context(torch.compiler.set_stance("force_eager"))
            encoder.eval()
            try:
                yield
            finally:
                for module, training in modes:
                    module.training = training

    def _judge_accuracy(self, step: int) -> str | None:
        if self._count:
            self._intervals.append((self._count, float(self._sum)))
            self._sum, self._count = 0.0, 0
        window = self.accumulate * max(LONG_STEPS, math.ceil(LONG_SHARE * self.steps))
        while sum(count for count, _ in self._intervals[1:]) >= window:
            del self._intervals[0]
        batches = sum(count for count, _ in self._intervals)
        mean = sum(total for _, total in self._intervals) / max(1, batches)
        if batches < window or mean <= SOLVED:
            return None
        return (
            f"the pretext task is solved: over the {batches // self.accumulate} steps before step {step}, the mean "
            f"accuracy is {mean:.4f} (above {SOLVED}). {self.harder}"
        )

    def _judge_features(self, measured: Spectrum, shape: tuple[int, ...], step: int) -> str | None:
        low_rank = measured.effective_rank < COLLAPSED_RANK and min(shape[0] - 1, shape[1]) >= LEAST_RANK
        before, self._collapsed = self._collapsed, low_rank or measured.spread < COLLAPSED_SPREAD
        if not self._collapsed:
            self._highest_rank = max(self._highest_rank, measured.effective_rank)
            return None
        if step < self.steps and not (before and self._highest_rank):  # one low value may be followed by a recovery
            return None
        earlier = f"; the highest effective rank before is {self._highest_rank:.1f}" if self._highest_rank else ""
        return (
            f"the features have collapsed: at step {step}, those of {shape[0]} examples have the effective rank "
            f"{measured.effective_rank:.2f} (collapsed: below {COLLAPSED_RANK}) and the spread {measured.spread:.2g} "
            f"(collapsed: below {COLLAPSED_SPREAD}){earlier}. Try a lower pretrain.lr."
        )


_STATE = ("warnings", "_sum", "_count", "_intervals", "_highest_rank", "_collapsed")


def _harder(method: Method) -> str:
    """Return advice that made the pretext task harder in tests on the miniature, as far as the method has the option.
    A lower temperature did not."""
    return "Fewer bins (method.bins) make it harder." if hasattr(method.options, "bins") else ""
