"""Protocol options of WM-811K."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dabs_rq.protocol import Protocol, option


@dataclass(frozen=True, kw_only=True)
class WafersProtocol(Protocol):
    # Divide the labelled wafers 9:1 one by one, or by lots, and keep the lots of the test out of pretraining too.
    wafer_split: Literal["wafer", "lot"] = option("data", published="wafer", corrected="lot", moves=("wafers",))
