"""Randomized quantization of the token embeddings of every domain: what the paper's first abstract says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dabs_rq.methods import rq
from dabs_rq.methods.base import MethodSpec


@dataclass(frozen=True)
class Options(rq.Options):
    """Options of randomized quantization, see `dabs_rq.methods.rq.Options`."""

    level: Literal["auto", "embedding", "input"] = "embedding"


METHOD = MethodSpec(
    name="rq_embeddings",
    title="RQ on embeddings",
    order=4,
    options=Options,
    build=rq.build,
    note=rq.note,
    protocol=rq.RQProtocol,
)
