"""Checks of networks: of their mode before they are scored, of what they return, and of their inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dabs_rq.errors import EncoderError, shown
from dabs_rq.spec import Grid, Input, Tokens

TOLERANCE = 0.05  # of features of the same examples, relative to their length; batches of another size round otherwise
EXAMPLES = 16  # that the first batch encodes again


def check_mode(name: str, module: nn.Module) -> None:
    """Raise EncoderError if the module is in training mode and that changes its features."""
    random = [path or type(one).__name__ for path, one in module.named_modules() if one.training and _drops(one)]
    if random:
        raise EncoderError(
            f"{name} is in training mode and has dropout ({_some(random)}), so its features would be random: call "
            "model.eval() first"
        )
    norms = [
        path or type(one).__name__
        for path, one in module.named_modules()
        if one.training and isinstance(one, _BatchNorm)
    ]
    if norms:
        raise EncoderError(
            f"{name} is in training mode and has batch normalisation ({_some(norms)}), so the features of an example "
            "would depend on the others of its batch, and scoring would change the statistics: call model.eval() first"
        )


def _drops(module: nn.Module) -> bool:
    """Return whether a module is a dropout, by its class or by its name, such as timm's DropPath, with a rate above
    0."""
    name = type(module).__name__.lower()
    if not (name.startswith("drop") or name.endswith(("dropout", "droppath", "stochasticdepth")) or "dropout" in name):
        return False
    rates = [getattr(module, attribute, None) for attribute in ("p", "drop_prob", "rate")]
    given = [rate for rate in rates if isinstance(rate, int | float)]
    return any(rate > 0 for rate in given) or (not given and not list(module.children()))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def check_output(name: str, output: Any, examples: int) -> Tensor:
    """Return features (B, D). Raises EncoderError for anything else."""
    if isinstance(output, np.ndarray):
        output = torch.from_numpy(output)
    if not isinstance(output, Tensor):
        fields = [key for key in getattr(output, "keys", list)() if isinstance(getattr(output, key, None), Tensor)]
        listed = f" with {', '.join(fields)}" if fields else ""
        wanted = "pooler_output" if "pooler_output" in fields else fields[0] if fields else None
        advice = f"give pool=lambda output: output.{wanted}" if wanted else "give pool=, a function that returns them"
        if wanted == "last_hidden_state":
            advice += ".mean(1)"
        raise EncoderError(f"{name} returns a {type(output).__name__}{listed}; expected features (B, D): {advice}")
    if output.ndim != 2 or not output.is_floating_point():
        advice = ""
        if output.ndim > 2:
            places = tuple(range(2, output.ndim)) if output.ndim > 3 else (1,)
            advice = f". Average over places, such as pool=lambda output: output.mean({places})"
        raise EncoderError(
            f"{name} returns {output.dtype} of shape {tuple(output.shape)}; expected features (B, D), numbers with "
            f"B = {examples}{advice}"
        )
    if len(output) != examples:
        raise EncoderError(
            f"{name} returns {len(output)} features for a batch of {examples} examples; expected one each"
        )
    if output.shape[1] == 0:
        raise EncoderError(f"{name} returns features of width 0")
    return output


def check_repeatable(name: str, features: Tensor, again: Tensor, alone: Tensor) -> None:
    """Raise EncoderError if features of the same examples differ.

    features, again: of one batch, encoded twice. alone: of its first examples, encoded without the others.
    """
    if _differ(features, again):
        raise EncoderError(
            f"{name} returns other features for the same batch a second time: it draws random numbers, such as dropout "
            "in training mode. Call model.eval() first, or draw from a generator that is seeded anew in every call"
        )
    if _differ(features[: len(alone)], alone):
        raise EncoderError(
            f"{name} returns other features for {len(alone)} examples alone than among {len(features)}: the feature of "
            "an example has to depend on that example only. Is a batch statistic in training mode, or text padded "
            "without an attention mask?"
        )


def _differ(one: Tensor, other: Tensor) -> bool:
    one, other = one.double(), other.double()
    both = one.isfinite().all(1) & other.isfinite().all(1)  # features that are not finite are reported as such
    if not both.any():
        return False
    size = one[both].norm(dim=1).mean()
    return bool(((one - other)[both].norm(dim=1) > TOLERANCE * size + 1e-12).any())


def check_inputs(inputs: Sequence[Any], specs: Sequence[Input]) -> tuple[Tensor, ...]:
    """Return raw inputs as tensors. Raises EncoderError unless they are what `specs` declare, in shape and range."""
    if len(inputs) != len(specs):
        listed = ", ".join(f"{spec.name} (B, {_shape(spec.shape)})" for spec in specs)
        raise EncoderError(f"the encoder takes {len(specs)} inputs, {listed}; got {len(inputs)}")
    tensors = tuple(_checked(raw, spec) for raw, spec in zip(inputs, specs, strict=True))
    if len({len(tensor) for tensor in tensors}) > 1:
        raise EncoderError(f"inputs of different numbers of examples: {', '.join(str(len(one)) for one in tensors)}")
    return tensors


def _checked(raw: Any, spec: Input) -> Tensor:
    tensor = raw if isinstance(raw, Tensor) else _tensor(raw, spec)
    if tuple(tensor.shape[1:]) != spec.shape or tensor.ndim < 1:
        advice = ""
        if isinstance(spec, Grid) and tuple(tensor.shape[1:]) == (*spec.shape[1:], spec.channels):
            advice = ". The channels come first: move the last axis to place 1"
        elif tuple(tensor.shape) == spec.shape:
            advice = ". Give a batch: add an axis in front"
        raise EncoderError(
            f"input {spec.name!r}: shape (B, {_shape(spec.shape)}) expected; got {tuple(tensor.shape)}{advice}"
        )
    if isinstance(spec, Tokens):
        if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
            raise EncoderError(f"input {spec.name!r}: whole numbers expected, ids of tokens; got {tensor.dtype}")
        if tensor.numel() and (tensor.min() < 0 or tensor.max() >= spec.vocabulary):
            raise EncoderError(
                f"input {spec.name!r}: ids from 0 to {spec.vocabulary - 1:,} expected; got {int(tensor.min()):,} to "
                f"{int(tensor.max()):,}"
            )
        return tensor
    if tensor.dtype == torch.uint8:
        if spec.dtype == "uint8":
            return tensor
        raise EncoderError(f"input {spec.name!r}: real numbers ({spec.dtype}) expected; got uint8, which are pictures")
    if not tensor.is_floating_point():
        raise EncoderError(
            f"input {spec.name!r}: {'uint8 or ' if spec.dtype == 'uint8' else ''}real numbers expected; got "
            f"{tensor.dtype}"
        )
    if not torch.isfinite(tensor).all():
        raise EncoderError(f"input {spec.name!r}: a number is not finite (NaN or infinite)")
    if spec.dtype == "uint8" and tensor.numel():
        low, high = float(tensor.min()), float(tensor.max())
        if low < -1e-6 or high > 1 + 1e-6:
            advice = "divide by 255, or give uint8" if low >= 0 and high <= 255 else "undo the normalisation"
            raise EncoderError(
                f"input {spec.name!r}: real numbers in [0, 1], or uint8, expected; got {low:.3g} to {high:.3g}: "
                f"{advice}"
            )
    return tensor


def _tensor(raw: Any, spec: Input) -> Tensor:
    try:
        array = np.asarray(raw)
        return torch.from_numpy(np.ascontiguousarray(array))
    except (TypeError, ValueError) as error:
        raise EncoderError(f"input {spec.name!r}: an array or a tensor expected; got {shown(raw)}") from error


def _shape(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))
