"""What the two protocols decide about ChestX-ray8."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dabs_rq.protocol import Protocol, option


@dataclass(frozen=True, kw_only=True)
class XrayProtocol(Protocol):
    # What ChestX-ray8's 90/10 split keeps together: nothing, or the images of one patient.
    xray8_split: Literal["image", "patient"] = option(
        "transfer", published="image", corrected="patient", moves=("xray8",)
    )
