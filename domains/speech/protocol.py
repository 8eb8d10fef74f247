"""What the two protocols decide about speech."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dabs_rq.protocol import Protocol, option


@dataclass(frozen=True, kw_only=True)
class SpeechProtocol(Protocol):
    # Training clips longer than the input: their head or their tail, drawn anew in every epoch, or always their head.
    speech_crop: Literal["head_or_tail", "head"] = option(
        "data", published="head_or_tail", corrected="head", moves=("speech",)
    )
    # What LibriSpeech's 80/20 split of every speaker keeps together: nothing, or the utterances of a chapter.
    librispeech_split: Literal["utterance", "chapter"] = option(
        "transfer", published="utterance", corrected="chapter", moves=("librispeech_speaker",)
    )
    # Google Speech Commands: the test clips are in the training split too (and the validation clips twice), or not.
    google_speech_split: Literal["leaking", "disjoint"] = option(
        "transfer", published="leaking", corrected="disjoint", moves=("google_speech",)
    )
