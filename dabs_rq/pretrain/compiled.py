"""The loss of a method as one compiled graph, for trainer.compile=step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dabs_rq.errors import OptionError
from dabs_rq.methods.base import Batch, Method

OTHERWISE = "Use trainer.compile=true, which compiles the encoder's blocks, or trainer.compile=false"


class CompiledLoss:
    """Computes `method.loss` with everything but the drawing of random numbers in one graph. On one device only: an
    exchange between devices would cut the graph.

    cuda_graphs: replay the graph's kernels as CUDA graphs, so that the host starts all of them at once.

    Raises OptionError for a method whose loss is not divided into `prepare` and `loss_of`.
    """

    def __init__(self, method: Method, *, cuda_graphs: bool = False, backend: str = "inductor") -> None:
        if type(method).loss is not Method.loss:
            raise OptionError(
                f"trainer.compile=step needs a method that draws in `prepare` and computes in `loss_of`; "
                f"{type(method).__name__} has a loss of its own. {OTHERWISE}"
            )
        self.method = method
        # The masks of dropout are those of the eager form, so that both have the same losses.
        options: dict[str, Any] = {"fallback_random": True}
        if cuda_graphs:
            options["triton.cudagraphs"] = True  # mode="reduce-overhead", which torch takes without options only
        self._loss = torch.compile(
            self._loss_of,
            fullgraph=True,
            dynamic=False,
            backend=backend,
            options=options if backend == "inductor" else None,
        )

    def __call__(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss and the scalars to log. Raises OptionError if no graph can be made of them."""
        from torch._dynamo.exc import Unsupported, UserError

        drawn = self.method.prepare(batch, generator)
        torch.compiler.cudagraph_mark_step_begin()
        try:
            loss, logs = self._loss(batch.inputs, batch.targets, drawn)
        except (Unsupported, UserError) as error:
            why = str(error).strip().partition("\n")[0]
            raise OptionError(
                f"trainer.compile=step makes no graph of {type(self.method).__name__} with these options ({why}). "
                f"{OTHERWISE}"
            ) from error
        # Copies, since the next replay of a CUDA graph writes over its results.
        return loss.clone(), {name: value.clone() for name, value in logs.items()}

    def _loss_of(
        self, inputs: tuple[Tensor, ...], targets: Tensor | None, drawn: Any
    ) -> tuple[Tensor, dict[str, Tensor]]:
        method = self.method
        return method.loss_of(Batch(inputs, method.encoder, targets=targets), drawn)
