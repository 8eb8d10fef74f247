"""Protocol options of GTSRB."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dabs_rq.protocol import Protocol, option


@dataclass(frozen=True, kw_only=True)
class ImagesProtocol(Protocol):
    # Split GTSRB 80/20 by single frames, or by tracks (all frames of one physical sign).
    gtsrb_split: Literal["image", "track"] = option(
        "transfer", published="image", corrected="track", moves=("traffic_sign",)
    )
