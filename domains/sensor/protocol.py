"""What the two protocols decide about PAMAP2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dabs_rq.protocol import Protocol, option


@dataclass(frozen=True, kw_only=True)
class SensorProtocol(Protocol):
    # Training windows: numpy's state cloned into four workers at every epoch (a quarter are distinct, and no epoch
    # brings new windows), or drawn anew for every (epoch, index).
    pamap2_draws: Literal["cloned", "fresh"] = option("data", published="cloned", corrected="fresh", moves=("pamap2",))
    # Columns as recorded, or as z-scores by the training subjects.
    pamap2_normalise: bool = option("data", published=False, corrected=True, moves=("pamap2",))
    # Missing values: interpolated over the whole file, or inside one bout and then filled backwards.
    pamap2_interpolation: Literal["file", "bout"] = option(
        "data", published="file", corrected="bout", moves=("pamap2",)
    )
    # Labelled windows: random draws, or all non-overlapping windows inside contiguous bouts.
    pamap2_windows: Literal["draws", "sweep"] = option("data", published="draws", corrected="sweep", moves=("pamap2",))
