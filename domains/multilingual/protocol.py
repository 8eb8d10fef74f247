"""Protocol options of mC4."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dabs_rq.protocol import Protocol, option


@dataclass(frozen=True, kw_only=True)
class MultilingualProtocol(Protocol):
    # Read mC4 in file order with every batch repeated four times, or shuffled in blocks with every batch once.
    mc4_order: Literal["repeated", "shuffled"] = option(
        "pretraining", published="repeated", corrected="shuffled", moves=("multilingual",)
    )
