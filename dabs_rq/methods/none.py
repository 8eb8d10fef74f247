"""No pretraining: the encoder keeps its initial weights, which the seed determines."""

from __future__ import annotations

from dataclasses import dataclass

from dabs_rq.encoders.base import Encoder
from dabs_rq.methods.base import Method, MethodSpec


@dataclass(frozen=True)
class Options:
    pass


METHOD = MethodSpec(name="none", title="None", order=0, options=Options, build=Method, encoder=Encoder, trains=False)
