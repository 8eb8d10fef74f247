"""Protocol options of the proteins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dabs_rq.protocol import Protocol, option


@dataclass(frozen=True, kw_only=True)
class ProteinsProtocol(Protocol):
    # In the loss of the probe, padding is a fourth class of structure, or does not count. No score counts it.
    structure_padding: Literal["class", "ignored"] = option(
        "transfer", published="class", corrected="ignored", moves=("secondary_struct",)
    )
    # Leave out the residues whose structure the source marks as unreliable.
    structure_valid_mask: bool = option("transfer", published=False, corrected=True, moves=("secondary_struct",))
