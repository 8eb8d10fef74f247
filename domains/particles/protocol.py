"""Protocol options of HIGGS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dabs_rq.protocol import Protocol, option


@dataclass(frozen=True, kw_only=True)
class ParticlesProtocol(Protocol):
    # Order the columns by their names, as DABS gets them, or as in the file. The place of a number tells its column.
    higgs_columns: Literal["name", "file"] = option("data", published="name", corrected="file", moves=("particles",))
    # Use numbers as recorded (False), or z-scores by the pretraining rows (True).
    higgs_standardise: bool = option("data", published=False, corrected=True, moves=("particles",))
    # Transfer to the last tenth of the lines, shuffled and divided 9:1, or test on the usual last 500,000 lines and fit
    # the probe on the 500,000 before.
    higgs_split: Literal["tenths", "last"] = option("data", published="tenths", corrected="last", moves=("particles",))
