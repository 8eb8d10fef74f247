"""No pretraining: the encoder keeps the weights that the seed gave it."""

from __future__ import annotations

from dataclasses import dataclass

from dabs_rq.methods.base import Method, MethodSpec


@dataclass
class Options:
    pass


METHOD = MethodSpec(name="none", title="None", options=Options, build=Method, trains=False)
