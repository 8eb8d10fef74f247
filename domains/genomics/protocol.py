"""Protocol options of the bacterial genomes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dabs_rq.protocol import Protocol, option


@dataclass(frozen=True, kw_only=True)
class GenomicsProtocol(Protocol):
    # Cut each file 9:1 by reads, so that reads of one genome are on both sides, or by genomes.
    genomics_split: Literal["read", "genome"] = option(
        "data", published="read", corrected="genome", moves=("genomics",)
    )
