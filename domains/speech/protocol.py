"""Protocol options of the speech domain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dabs_rq.protocol import Protocol, option


@dataclass(frozen=True, kw_only=True)
class SpeechProtocol(Protocol):
    # Crop training clips that are longer than the input to head or tail, drawn again in every epoch, or always to head.
    speech_crop: Literal["head_or_tail", "head"] = option(
        "data", published="head_or_tail", corrected="head", moves=("speech",)
    )
    # Split every LibriSpeech speaker 80/20 by single utterances, or by chapters.
    librispeech_split: Literal["utterance", "chapter"] = option(
        "transfer", published="utterance", corrected="chapter", moves=("librispeech_speaker",)
    )
    # Train Google Speech Commands on the test clips too (and twice on the validation clips), or exclude the test clips.
    google_speech_split: Literal["leaking", "disjoint"] = option(
        "transfer", published="leaking", corrected="disjoint", moves=("google_speech",)
    )
