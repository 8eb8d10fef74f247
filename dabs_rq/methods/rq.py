"""Randomized quantization as the only augmentation: two quantized views of the inputs, of token ids the embeddings,
and InfoNCE.

Source: Wu et al., arXiv:2212.08663. How the paper applied the quantizer on DABS is not public. The defaults are an
assumption; tables and reports print it (`note`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from annotated_types import Interval
from torch import Tensor, nn

from dabs_rq.encoders.base import TokenEncoder
from dabs_rq.errors import NotServedError, OptionError
from dabs_rq.methods.base import Batch, Method, MethodSpec, choice, number, projections
from dabs_rq.methods.losses import Temperature, info_nce
from dabs_rq.protocol import Protocol, option
from dabs_rq.quantize import Draws, draw, randomized_quantization
from dabs_rq.spec import Grid, Input, Tokens

NOT_PUBLIC = "How randomized quantization was applied on DABS is not public."
_QUANTIZED = {
    "embedding": "the token embeddings (before class token and positions), each feature of each example a channel with "
    "its range over the tokens",
    "input": "the inputs, each channel of each example with its range over the example",
    "auto": "the inputs where they are numbers (each channel of each example with its range over the example), and of "
    "the token embeddings where they are token ids",
}
Gradient = Literal["extremes", "straight_through", "detach"]


@dataclass(frozen=True, kw_only=True)
class RQProtocol(Protocol):
    # How gradients pass through the quantizer to the embedding modules.
    rq_gradient: Gradient = option(
        "pretraining", published="extremes", corrected="detach", methods=("rq", "rq_embeddings")
    )


@dataclass(frozen=True)
class Options:
    """Options of randomized quantization.

    bins, spacing, collapse, granularity, p, gradient: parameters of `dabs_rq.quantize.randomized_quantization`. views:
    2 quantized views, or 1 quantized and 1 clean view. level: quantize token "embedding"s, raw "input"s, or with "auto"
    inputs where they are numbers and embeddings where they are token ids. after_block: with level=embedding, quantize
    the output of this block of the transformer instead, counted from 1; 0 quantizes the embeddings. temperature: of
    InfoNCE. views_together: encode both views in one call, which is faster on a GPU and needs more memory.
    """

    bins: Annotated[int, Interval(ge=2, le=65_536)] = number(8, 2, 4, 8, 16)
    spacing: Literal["random", "uniform"] = "random"
    collapse: Literal["inside_random", "middle", "all_zeros"] = "inside_random"
    granularity: Literal["channel", "instance"] = "channel"
    p: Annotated[float, Interval(ge=0, le=1)] = number(1.0, 0.5, 1.0)
    gradient: Gradient = choice("detach", protocol="rq_gradient")
    views: Literal[1, 2] = 2
    level: Literal["auto", "embedding", "input"] = "auto"
    after_block: Annotated[int, Interval(ge=0, le=1000)] = 0
    temperature: Temperature = number(0.2, 0.1, 0.2, 0.5)
    views_together: bool = True


def note(options: Options) -> str:
    """Return the footnote of the column for these options."""
    chosen = " (chosen on small prototypes)" if options.gradient == "detach" else ""
    views = "two independently quantized views" if options.views == 2 else "one quantized and one clean view"
    granularity = "" if options.granularity == "channel" else ", all channels of an example quantized alike"
    why = " (on real digits that is above RQ on embeddings, see docs/evidence.md)" if options.level == "auto" else ""
    quantized = _QUANTIZED[options.level]
    if options.after_block:
        quantized = f"the tokens after block {options.after_block}, each feature of each example a channel"
    return (
        f"{NOT_PUBLIC} Assumed here: {views} of {quantized}{why}{granularity}, {options.bins} bins, "
        f"symmetric InfoNCE with cross-view negatives, temperature {options.temperature:g}. Gradient of the quantizer: "
        f"{options.gradient}{chosen}."
    )


class RandomizedQuantizationMethod(Method):
    options: Options
    encoder: TokenEncoder
    quantizer: Callable[..., Tensor] = staticmethod(randomized_quantization)

    def compile_parts(self) -> None:
        super().compile_parts()
        self.quantizer = torch.compile(randomized_quantization)

    @property
    def trains_embeddings(self) -> tuple[bool, ...]:
        trains_all = self.options.gradient != "detach" or self.options.views == 1
        return tuple(trains_all or self._on_input(spec) for spec in self.inputs)

    def _on_input(self, spec: Input) -> bool:
        """Return whether an input is quantized itself, not its embeddings."""
        return self.options.level != "embedding" and not isinstance(spec, Tokens)

    def prepare(self, batch: Batch, generator: torch.Generator) -> list[dict[int, Draws]]:
        """Draw the bins of each quantized view: for each input by its number, those that are quantized themselves
        first."""
        options = self.options
        views = []
        for _ in range(options.views):
            drawn = {}
            for index, spec in sorted(enumerate(self.inputs), key=lambda one: not self._on_input(one[1])):
                on_input = self._on_input(spec)
                drawn[index] = draw(
                    (len(batch), *(spec.shape if on_input else (spec.sequence_length, self.encoder.width))),
                    options.bins,
                    channel_dim=_channel_dim(spec) if on_input else 2,
                    spacing=options.spacing,
                    collapse=options.collapse,
                    granularity=options.granularity,
                    p=options.p,
                    generator=generator,
                    device=batch.device,
                    part=(batch.ranks.rank, batch.ranks.count),
                )
            views.append(drawn)
        return views

    def loss_of(self, batch: Batch, drawn: list[dict[int, Draws]]) -> tuple[Tensor, dict[str, Tensor]]:
        masks = [batch.mask] * 2
        if self.options.after_block:
            with self._quantized_after_block(batch.mask, drawn):
                local = projections(self.encoder, [batch.tokens] * 2, masks, together=True)
        else:
            views = [self._view(batch, of_view) for of_view in drawn]
            if self.options.views == 1:
                views.append(batch.tokens)
            local = projections(self.encoder, views, masks, self.options.views_together)
        first, second = batch.ranks.gather(*local)
        loss, accuracy = info_nce(first, second, self.options.temperature)
        return loss, {"accuracy": accuracy}

    def _view(self, batch: Batch, drawn: dict[int, Draws]) -> Tensor:
        on_input = [self._on_input(spec) for spec in self.inputs]
        if any(on_input):
            quantized = [
                self._quantize(raw, _channel_dim(spec), None, drawn[index]) if on_input[index] else raw
                for index, (spec, raw) in enumerate(zip(self.inputs, batch.inputs, strict=True))
            ]
            tokens = self.encoder.embed(tuple(quantized))
        else:
            tokens = batch.tokens
        return self._quantize_tokens(tokens, batch.mask, on_input, drawn)

    def _quantize_tokens(
        self, tokens: Tensor, mask: Tensor | None, done: list[bool], drawn: dict[int, Draws]
    ) -> Tensor:
        """Quantize tokens (B, S, D): those of each input separately, since their ranges differ, but for inputs that are
        `done`."""
        lengths = [spec.sequence_length for spec in self.inputs]
        masks = [None] * len(lengths) if mask is None else mask.split(lengths, dim=1)
        parts = enumerate(zip(tokens.split(lengths, dim=1), masks, strict=True))
        return torch.cat(
            [part if done[index] else self._quantize(part, 2, mask, drawn[index]) for index, (part, mask) in parts],
            dim=1,
        )

    @contextlib.contextmanager
    def _quantized_after_block(self, mask: Tensor | None, drawn: list[dict[int, Draws]]) -> Iterator[None]:
        """Let the encoder quantize the output of a block, (V * B, 1 + S, D) for V views; the class token stays."""
        none_done = [False] * len(self.inputs)

        def quantized(_: nn.Module, __: Any, tokens: Tensor) -> Tensor:
            views = list(tokens.chunk(2))
            for index, of_view in enumerate(drawn):
                view = self._quantize_tokens(views[index][:, 1:], mask, none_done, of_view)
                views[index] = torch.cat([views[index][:, :1], view], dim=1)
            return torch.cat(views)

        blocks: nn.ModuleList = self.encoder.blocks  # type: ignore[assignment]  # `build` has checked it
        handle = blocks[self.options.after_block - 1].register_forward_hook(quantized)
        try:
            yield
        finally:
            handle.remove()

    def _quantize(self, x: Tensor, channel_dim: int, mask: Tensor | None, drawn: Draws) -> Tensor:
        options = self.options
        return self.quantizer(
            x,
            options.bins,
            channel_dim=channel_dim,
            spacing=options.spacing,
            collapse=options.collapse,
            granularity=options.granularity,
            p=options.p,
            gradient=options.gradient,
            mask=mask,
            draws=drawn,
        )


def _channel_dim(spec: Input) -> int:
    """Return the dimension of a batch of raw inputs that holds the channels."""
    return 1 if isinstance(spec, Grid) else 2


def build(options: Options, encoder: TokenEncoder, inputs: tuple[Input, ...]) -> RandomizedQuantizationMethod:
    tokens = [spec.name for spec in inputs if isinstance(spec, Tokens)]
    if options.level == "input" and tokens:
        raise NotServedError(
            f"method.level=input quantizes real-valued inputs, but {', '.join(tokens)} holds token ids; "
            "use method.level=auto, which quantizes the embeddings of token ids"
        )
    if options.after_block:
        _check_after_block(options, encoder)
    return RandomizedQuantizationMethod(options, encoder, inputs)


def _check_after_block(options: Options, encoder: TokenEncoder) -> None:
    found = f"method.after_block={options.after_block}"
    if options.level != "embedding":
        raise OptionError(f"{found} needs method.level=embedding; got method.level={options.level}")
    if options.gradient == "detach":
        raise OptionError(
            f"{found} needs method.gradient=extremes or straight_through: with detach, the blocks before it would not "
            "be trained"
        )
    blocks = getattr(encoder, "blocks", None)
    if not isinstance(blocks, nn.ModuleList):
        raise NotServedError(f"{found} needs an encoder with `blocks`, such as encoder=transformer")
    if options.after_block > len(blocks):
        raise NotServedError(f"{found}, but the encoder has {len(blocks)} blocks; see encoder.depth")


METHOD = MethodSpec(
    name="rq",
    title="RQ",
    published_title="Ours",
    order=2,
    options=Options,
    build=build,
    note=note,
    protocol=RQProtocol,
)
