"""What a pretraining method is: a module that turns a batch into a loss, and how it wants to be trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from dabs_rq.encoders.base import Encoder, TokenEncoder
from dabs_rq.errors import OptionError
from dabs_rq.protocol import Protocol as ProtocolOptions
from dabs_rq.ranks import Ranks
from dabs_rq.spec import Input
from dabs_rq.typed import checked, choice, number

__all__ = ["Batch", "Method", "MethodSpec", "build_method", "choice", "number", "projections"]


class Budget(Protocol):
    """What `Method.optimizer` gets to know about the training: `pretrain.*` of the run."""

    @property
    def lr(self) -> float: ...

    @property
    def weight_decay(self) -> float: ...

    @property
    def steps(self) -> int: ...


class Batch:
    """A batch as a method sees it: raw `inputs`, `targets` (None unless the method reads them) and `ranks`.

    Where several ranks share the work, it is the part of this rank. `tokens` and `mask` are computed when first used.
    """

    def __init__(
        self,
        inputs: tuple[Tensor, ...],
        encoder: Encoder,
        ranks: Ranks | None = None,
        targets: Tensor | None = None,
    ) -> None:
        self.inputs, self.targets, self.ranks = inputs, targets, ranks or Ranks()
        self._encoder = encoder
        self._tokens: Tensor | None = None
        self._mask: tuple[Tensor | None] | None = None

    def __len__(self) -> int:
        return len(self.inputs[0])

    @property
    def tokens(self) -> Tensor:
        """(B, S, D), before class token and positions."""
        if self._tokens is None:
            self._tokens = self._token_encoder.embed(self.inputs)
        return self._tokens

    @property
    def mask(self) -> Tensor | None:
        """bool (B, S), True = real token; None where there is no padding."""
        if self._mask is None:
            self._mask = (self._token_encoder.mask(self.inputs),)
        return self._mask[0]

    @property
    def _token_encoder(self) -> TokenEncoder:
        if not isinstance(self._encoder, TokenEncoder):
            raise OptionError(
                f"batch.tokens and batch.mask need a TokenEncoder; {type(self._encoder).__name__} has no tokens. A "
                "method that uses them declares MethodSpec(encoder=TokenEncoder)"
            )
        return self._encoder


def projections(
    encoder: TokenEncoder, views: Sequence[Tensor], masks: Sequence[Tensor | None], together: bool
) -> list[Tensor]:
    """The projection (B, P) of each of `views` (B, S, D): in one call of the encoder, or one after the other, which
    needs less memory at a time. `masks`: bool (B, S) each, or None for all."""
    if not together:
        return [encoder.project(encoder.encode(*pair).pooled) for pair in zip(views, masks, strict=True)]
    real = [mask for mask in masks if mask is not None]
    pooled = encoder.encode(torch.cat(list(views)), torch.cat(real) if real else None).pooled
    return list(encoder.project(pooled).chunk(len(views)))


class Method(nn.Module):
    """Base of all methods. Modules of its own (predictors, decoders) are trained with the encoder, saved beside it and
    ignored by transfer.

    options: an instance of the method's options. encoder: the encoder to train. inputs: the domain's inputs.
    """

    encoder: Any  # of the kind that the method declares
    reads_targets = False  # as the method's declaration says; `build_method` sets it

    def __init__(self, options: Any, encoder: Encoder, inputs: tuple[Input, ...]) -> None:
        super().__init__()
        self.options, self.encoder, self.inputs = options, encoder, inputs

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar to minimise, and scalars to log. Every random number comes from `generator` (or is dropout).

        The generator is the same on all ranks: draw through `batch.ranks`, or the examples of one rank get the numbers
        of another's. The loss is the mean over the examples of this rank, or of all ranks (`batch.ranks.gather`).
        """
        raise NotImplementedError

    def augment(self, inputs: tuple[Tensor, ...], generator: torch.Generator) -> tuple[Tensor, ...]:
        """A changed copy of a raw batch, on its device, with every random number from `generator`. The training loop
        calls it once for each batch, before `loss`, which then sees the changed inputs. Default: the inputs as they
        are. A method that needs several different views of the same inputs draws them in `loss` instead.

        Shape: inputs (B, *shape) each, as the domain declares them, numbers as float32, ids as int64; so is the result.
        """
        return inputs

    def optimizer(self, parameters: Sequence[nn.Parameter], budget: Budget) -> torch.optim.Optimizer:
        """The optimizer of all trained parameters. Default: AdamW, weight decay on every parameter, as DABS."""
        return torch.optim.AdamW(parameters, lr=budget.lr, weight_decay=budget.weight_decay, fused=True)

    def schedule(self, optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LRScheduler | None:
        """The learning rate over `steps` optimizer steps; it is stepped after each of them. Default: None, a constant
        rate."""
        return None

    def after_step(self, step: int) -> None:
        """Called after every optimizer step, of which `step` are done (from 1): for momentum encoders. What it changes
        has to lie in parameters or buffers, so that an interrupted training goes on with it."""

    @property
    def trains_embeddings(self) -> bool:
        """Whether the encoder's embedding modules get gradient. All other parameters have to, in every step."""
        return True

    def compile_parts(self) -> None:
        """Compile the modules that take the time (trainer.compile). Names of tensors stay the same."""
        self.encoder.compile_parts()

    def own_state(self) -> dict[str, Tensor]:
        """Tensors of the method that are not the encoder's."""
        return {name: tensor for name, tensor in self.state_dict().items() if not name.startswith("encoder.")}


@dataclass(frozen=True, kw_only=True)
class MethodSpec:
    """One pretraining method.

    title: of its column. published_title: what the published table calls that column, where it differs. order: of the
        columns; methods of equal order are sorted by name. note: the footnote of the column, or a function of the
        options that gives it.
    options: a frozen dataclass; each field is an option `method.<field>`, its type says what is legal. build: makes the
        method from (options, encoder, inputs); it raises OptionError for what the types cannot say.
    encoder: the kind of encoder that the method needs. trains: False for a method that only keeps the initial encoder.
        reads_targets: whether its loss reads `batch.targets`. protocol: the protocol options that concern the method.
    """

    name: str
    title: str
    options: type[Any]
    build: Callable[..., Any]
    published_title: str | None = None
    order: int = 100
    note: str | Callable[[Any], str | None] | None = None
    encoder: type[Encoder] = TokenEncoder
    trains: bool = True
    protocol: type[ProtocolOptions] = ProtocolOptions
    reads_targets: bool = False

    def __post_init__(self) -> None:
        if not (isinstance(self.options, type) and dataclasses.is_dataclass(self.options)):
            raise OptionError(f"method {self.name!r}: options must be a dataclass; got {self.options!r}")

    def note_for(self, options: Any) -> str | None:
        """The footnote of the method's column under these options; None where there is nothing to say."""
        return self.note(options) if callable(self.note) else self.note


def build_method(spec: MethodSpec, options: Any, encoder: Encoder) -> Method:
    """The method, built around the encoder to train. Embedding modules that it does not train are frozen.

    Raises OptionError for illegal options, and for an encoder of a kind that the method cannot use.
    """
    if not isinstance(encoder, spec.encoder):
        raise OptionError(
            f"method {spec.name!r} needs a {spec.encoder.__name__}; {type(encoder).__name__} is none. Choose another "
            "encoder, or a method that takes any, such as none"
        )
    method: Method = spec.build(checked(spec.options, vars(options), "method."), encoder, encoder.inputs)
    method.reads_targets = spec.reads_targets
    if not method.trains_embeddings and isinstance(encoder, TokenEncoder):
        encoder.embeddings.requires_grad_(False)
    return method
