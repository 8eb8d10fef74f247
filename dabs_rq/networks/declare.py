"""Declares a network of others as an encoder file, in a few lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from dabs_rq.encoders.base import EncoderSpec
from dabs_rq.networks.network import Network
from dabs_rq.spec import Input


@dataclass(frozen=True)
class NoOptions:
    """A network without options."""


def declare(
    name: str,
    network: Callable[[tuple[Input, ...]], Callable[..., Any]],
    *,
    title: str | None = None,
    domains: Sequence[str] | None = None,
    size: int | None = None,
    pool: Callable[[Any], Tensor] | None = None,
    texts: bool = False,
    key: str | None = None,
) -> EncoderSpec:
    """Declare the encoder file `<name>.py` of a network that is scored as it is.

    network: takes the inputs of a domain and returns the network with its weights, in eval mode. Its calls, pool, texts
    and key are those of `dabs_rq.networks.Network`. title: of its column. domains: the only ones that it serves; None
    for all. size: the height and width in pixels of the pictures that it gets; None for those of the scale.
    """

    def build(options: NoOptions, inputs: tuple[Input, ...], mask_padding: bool) -> Network:
        return Network(network(inputs), inputs, name=f"encoder {name}", pool=pool, texts=texts, key=key)

    return EncoderSpec(
        name=name,
        title=title or name,
        options=NoOptions,
        build=build,
        pretrained=True,
        domains=None if domains is None else tuple(domains),
        size=size,
    )
