"""What the two protocols decide about GTSRB."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dabs_rq.protocol import Protocol, option


@dataclass(frozen=True, kw_only=True)
class ImagesProtocol(Protocol):
    # What GTSRB's 80/20 split keeps together: nothing, or the frames of one physical sign.
    gtsrb_split: Literal["image", "track"] = option(
        "transfer", published="image", corrected="track", moves=("traffic_sign",)
    )
