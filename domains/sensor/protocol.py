"""Protocol options of PAMAP2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dabs_rq.protocol import Protocol, option


@dataclass(frozen=True, kw_only=True)
class SensorProtocol(Protocol):
    # Draw training windows with numpy's state cloned into four workers at every epoch (only a quarter are distinct, and
    # every epoch repeats them), or draw fresh ones for every (epoch, index).
    pamap2_draws: Literal["cloned", "fresh"] = option("data", published="cloned", corrected="fresh", moves=("pamap2",))
    # Use columns as recorded (False), or z-scores by the statistics of the training subjects (True).
    pamap2_normalise: bool = option("data", published=False, corrected=True, moves=("pamap2",))
    # Interpolate missing values over the whole file, or within a bout and then fill backwards.
    pamap2_interpolation: Literal["file", "bout"] = option(
        "data", published="file", corrected="bout", moves=("pamap2",)
    )
    # Take labelled windows as random draws, or as all non-overlapping windows inside contiguous bouts.
    pamap2_windows: Literal["draws", "sweep"] = option("data", published="draws", corrected="sweep", moves=("pamap2",))
