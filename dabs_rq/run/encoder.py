"""The encoder that a run's options choose."""

from __future__ import annotations

from typing import Any

from dabs_rq import registry
from dabs_rq.encoders.base import EncoderSpec
from dabs_rq.run.run import Run
from dabs_rq.typed import checked


def encoder_of(run: Run) -> tuple[EncoderSpec, Any]:
    """The encoder that the options choose, and its options, checked. Raises OptionError."""
    spec = registry.encoder(getattr(run.options.encoder, "name", "transformer"))
    return spec, checked("encoder", spec.options, run.options.encoder)
