"""Protocol options of EuroSAT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dabs_rq.protocol import Protocol, option


@dataclass(frozen=True, kw_only=True)
class SatelliteProtocol(Protocol):
    # Shuffle all tiles and cut them as DABS does, or pretrain on, fit the probe on and test on the tiles of torchgeo's
    # three lists; without the files of the lists, as DABS does.
    eurosat_split: Literal["shuffled", "lists"] = option(
        "data", published="shuffled", corrected="lists", moves=("satellite",)
    )
