"""Protocol options of ChestX-ray8."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dabs_rq.protocol import Protocol, option


@dataclass(frozen=True, kw_only=True)
class XrayProtocol(Protocol):
    # Split ChestX-ray8 90/10 by single images, or by patients.
    xray8_split: Literal["image", "patient"] = option(
        "transfer", published="image", corrected="patient", moves=("xray8",)
    )
