"""What the two protocols decide about mC4."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dabs_rq.protocol import Protocol, option


@dataclass(frozen=True, kw_only=True)
class MultilingualProtocol(Protocol):
    # mC4: in the order of the files, every batch four times in a row, or shuffled in blocks, every batch once.
    mc4_order: Literal["repeated", "shuffled"] = option(
        "pretraining", published="repeated", corrected="shuffled", moves=("multilingual",)
    )
