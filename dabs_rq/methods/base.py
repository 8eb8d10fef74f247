"""The interface of pretraining methods: a module that computes the loss of a batch and chooses its optimizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from dabs_rq.data.crops import Crops
from dabs_rq.encoders.base import Encoder, TokenEncoder
from dabs_rq.errors import NotServedError, OptionError
from dabs_rq.protocol import Protocol as ProtocolOptions
from dabs_rq.ranks import Ranks
from dabs_rq.spec import Input, Tokens
from dabs_rq.typed import check_declared, checked, choice, number

__all__ = ["Batch", "Method", "MethodSpec", "build_method", "choice", "number", "projections"]


class Budget(Protocol):
    """The options `pretrain.*` that `Method.optimizer` receives; `batch_size` counts the examples of all devices."""

    @property
    def lr(self) -> float: ...

    @property
    def weight_decay(self) -> float: ...

    @property
    def steps(self) -> int: ...

    @property
    def batch_size(self) -> int | None: ...


class Batch:
    """This rank's part of a batch: raw `inputs`, `targets` (None unless the method reads them) and `ranks`.

    `tokens` and `mask` are computed on first use.
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
    def device(self) -> torch.device:
        return self.inputs[0].device

    @property
    def tokens(self) -> Tensor:
        """Token embeddings (B, S, D), without class token and positions."""
        if self._tokens is None:
            self._tokens = self._token_encoder.embed(self.inputs)
        return self._tokens

    @property
    def mask(self) -> Tensor | None:
        """The mask, bool (B, S), True = real token; None if there is no padding."""
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
    """Compute the projection (B, P) of each view (B, S, D).

    masks: bool (B, S) for every view, or None for every view. together: encode all views in one call; False encodes
    them one by one, which needs less memory at a time.
    """
    if not together:
        return [encoder.project(encoder.encode(*pair).pooled) for pair in zip(views, masks, strict=True)]
    real = [mask for mask in masks if mask is not None]
    pooled = encoder.encode(torch.cat(list(views)), torch.cat(real) if real else None).pooled
    return list(encoder.project(pooled).chunk(len(views)))


class Method(nn.Module):
    """The base class of all methods.

    A method's own modules (predictors, decoders) are trained with the encoder and saved in the checkpoint; transfer
    ignores them.

    options: an instance of the method's options. encoder: the encoder to train. inputs: the domain's inputs.
    """

    encoder: Any  # of the type MethodSpec.encoder
    reads_targets = False  # `build_method` copies it from MethodSpec
    # Whether batch norm takes its statistics over all GPUs. Ranks on CPUs keep their own: torch cannot share them.
    syncs_batch_norm = False

    def __init__(self, options: Any, encoder: Encoder, inputs: tuple[Input, ...]) -> None:
        super().__init__()
        self.options, self.encoder, self.inputs = options, encoder, inputs

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the scalar to minimise, and scalars to log: `loss_of` what `prepare` returns.

        A method may override this alone, but then trainer.compile=step refuses it. Draw all random numbers except
        dropout from `generator`. It has the same state on all ranks: draw through `batch.ranks`, or all ranks use the
        same numbers. The loss is the mean over the examples of this rank, or of all ranks (`batch.ranks.gather`).
        """
        return self.loss_of(batch, self.prepare(batch, generator))

    def prepare(self, batch: Batch, generator: torch.Generator) -> Any:
        """Draw the random numbers of `loss_of`, and do what else cannot be compiled. Do not use `batch.tokens` here:
        what embeds them belongs into `loss_of`.

        Returns tensors on the batch's device, alone or in tuples, lists and dicts.
        """
        raise NotImplementedError

    def loss_of(self, batch: Batch, drawn: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute what `loss` returns from what `prepare` returned. trainer.compile=step makes one graph of it: draw
        nothing but dropout, read no value on the host, and create no tensor from Python numbers."""
        raise NotImplementedError

    def augment(self, inputs: tuple[Tensor, ...], generator: torch.Generator) -> tuple[Tensor, ...]:
        """Return an augmented copy of the inputs of a batch. The default returns the inputs unchanged.

        The training loop calls it once per batch, on the batch's device, and passes the result to `loss`. Draw all
        random numbers from `generator`. A method that needs several views of the same inputs makes them in `loss`.

        Shape: each input (B, *shape) as the domain declares it, or crops (`MethodSpec.crops`), numbers as float32, ids
            as int64; the same is returned.
        """
        return inputs

    def begin(self, budget: Budget, step: int, targets: Any) -> None:
        """Run once before training. The default does nothing.

        step: the number of finished steps, above 0 if training is resumed. targets: of all examples, (n, ...); None if
        they have none. Raises DataError for targets that the method cannot use.
        """

    def optimizer(self, parameters: Sequence[nn.Parameter], budget: Budget) -> torch.optim.Optimizer:
        """Make the optimizer of all trained parameters. Default: AdamW, weight decay on every parameter, as in DABS."""
        return torch.optim.AdamW(parameters, lr=budget.lr, weight_decay=budget.weight_decay, fused=True)

    def schedule(self, optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LRScheduler | None:
        """Make the learning-rate schedule for `steps` optimizer steps; it advances after each. Default: None, a
        constant rate."""
        return None

    def after_step(self, step: int) -> None:
        """Run after optimizer step number `step`, counted from 1; a momentum encoder is updated here.

        Change only parameters and buffers, so that a resume point holds the change.
        """

    @property
    def trains_embeddings(self) -> bool | tuple[bool, ...]:
        """Whether the encoder's embedding modules get gradients, for all or for each input. All other parameters must
        get gradients in every step."""
        return True

    def compile_parts(self) -> None:
        """Compile the expensive modules (trainer.compile=true). Names of tensors must stay the same."""
        self.encoder.compile_parts()

    def own_state(self) -> dict[str, Tensor]:
        """Return the method's tensors without the encoder's."""
        return {name: tensor for name, tensor in self.state_dict().items() if not name.startswith("encoder.")}


@dataclass(frozen=True, kw_only=True)
class MethodSpec:
    """Declares a pretraining method.

    title: the title of its column. published_title: the title of that column in the published table, if it differs.
    order: the position of the column; methods of equal order are sorted by name. note: the footnote of the column, or a
        function of the options that returns it.
    options: a frozen dataclass; each field is an option `method.<field>`, whose type gives the legal values. build:
        makes the method from (options, encoder, inputs); raises OptionError for constraints that types cannot express.
    encoder: the type of encoder that the method needs. fixed_encoder: the name of the only encoder that it uses,
        whatever the option encoder= says; None if it takes that one. serves: the inputs that the method can take: token
        ids, real values (2-D and 1-D inputs), or both. trains: False for a method that leaves the initial
        encoder unchanged. reads_targets: whether its loss reads `batch.targets`. protocol: declares the protocol
        options of the method. crops: (options, inputs) -> the random crops that a batch holds in place of inputs that
        are parts of pictures, (B, count, C, side, side); None if it takes the inputs.
    """

    name: str
    title: str
    options: type[Any]
    build: Callable[..., Any]
    published_title: str | None = None
    order: int = 100
    note: str | Callable[[Any], str | None] | None = None
    encoder: type[Encoder] = TokenEncoder
    fixed_encoder: str | None = None
    serves: Literal["both", "token ids", "real values"] = "both"
    trains: bool = True
    protocol: type[ProtocolOptions] = ProtocolOptions
    reads_targets: bool = False
    crops: Callable[[Any, tuple[Input, ...]], Crops | None] | None = None

    def __post_init__(self) -> None:
        check_declared(f"method {self.name!r}", self.options)

    def refused(self, inputs: Sequence[Input]) -> tuple[str, ...]:
        """Return the names of the inputs that the method cannot take."""
        kinds = {spec.name: "token ids" if isinstance(spec, Tokens) else "real values" for spec in inputs}
        return tuple(name for name, kind in kinds.items() if self.serves not in ("both", kind))

    def note_for(self, options: Any) -> str | None:
        """Return the footnote of the method's column for these options; None if it has no footnote."""
        return self.note(options) if callable(self.note) else self.note


def build_method(spec: MethodSpec, options: Any, encoder: Encoder) -> Method:
    """Build the method around the encoder to train, and freeze the embedding modules if it does not train them.

    Raises OptionError for illegal options, and NotServedError for an encoder or inputs that the method cannot use.
    """
    if not isinstance(encoder, spec.encoder):
        raise NotServedError(
            f"method {spec.name!r} needs a {spec.encoder.__name__}; got {type(encoder).__name__}. Choose another "
            "encoder, such as encoder=transformer, or a method that takes any, such as method=none"
        )
    if refused := spec.refused(encoder.inputs):
        raise NotServedError(
            f"method {spec.name!r} takes {spec.serves} only, not the input {', '.join(refused)} of this domain. Choose "
            "another domain or method"
        )
    method: Method = spec.build(checked(spec.options, vars(options), "method."), encoder, encoder.inputs)
    method.reads_targets = spec.reads_targets
    if isinstance(encoder, TokenEncoder):
        _freeze_embeddings(encoder, method.trains_embeddings)
    return method


def _freeze_embeddings(encoder: TokenEncoder, trained: bool | tuple[bool, ...]) -> None:
    """Freeze the embedding modules that get no gradients. Some of them: `embeddings` has one module per input."""
    if isinstance(trained, bool) or len(set(trained)) == 1:
        encoder.embeddings.requires_grad_(trained if isinstance(trained, bool) else trained[0])
        return
    modules = list(encoder.embeddings.children())
    if len(modules) != len(trained):
        raise OptionError(
            f"the method trains the embeddings of some inputs only, so {type(encoder).__name__}.embeddings needs one "
            f"module for each of {len(trained)} inputs; it has {len(modules)}"
        )
    for module, trains in zip(modules, trained, strict=True):
        module.requires_grad_(trains)
