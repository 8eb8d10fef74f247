"""Speech: LibriSpeech to pretrain on; speakers, digits, words and spoken orders to transfer to."""

from __future__ import annotations

from dabs_rq.domain import Domain
from dabs_rq.domains.speech import audio_mnist, fluent_speech, google_speech, librispeech, small, voxceleb1
from dabs_rq.domains.speech.protocol import SpeechProtocol
from dabs_rq.spec import Grid

# Mel bands x frames of 150,526 samples: a frame every 2,360 samples, or in "paper" every 672.
SMALL_SPECTROGRAM = Grid(name="spectrogram", height=64, width=64, channels=1, patch=8, dtype="float16")

DOMAIN = Domain(
    name="speech",
    title="Speech",
    protocol=SpeechProtocol,
    inputs={
        "mini": (SMALL_SPECTROGRAM,),
        "small": (SMALL_SPECTROGRAM,),
        "paper": (Grid(name="spectrogram", height=224, width=224, channels=1, patch=16, dtype="float16"),),
    },
    pretraining=librispeech.LIBRISPEECH,
    tasks=(
        librispeech.SPEAKERS,
        voxceleb1.TASK,
        audio_mnist.TASK,
        google_speech.TASK,
        fluent_speech.LOCATION,
        fluent_speech.ACTION,
        fluent_speech.OBJECT,
    ),
    other_sources={"small": small.SMALL},
    batch_size=64,
)
