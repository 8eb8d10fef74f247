"""No encoder: the probe sees the raw inputs, see `encoders/raw.py`. A column of every table, as the floor."""

from __future__ import annotations

from dataclasses import dataclass

from dabs_rq.encoders.base import Encoder
from dabs_rq.methods.base import Method, MethodSpec


@dataclass(frozen=True)
class Options:
    pass


METHOD = MethodSpec(
    name="raw",
    title="Raw",
    order=3,
    options=Options,
    build=Method,
    encoder=Encoder,
    fixed_encoder="raw",
    trains=False,
    note="the same probe on raw inputs (flattened, averaged down to at most 4,096 numbers; texts as bags of ids).",
)
