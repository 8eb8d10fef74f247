"""Speech: LibriSpeech to pretrain on; speakers, digits, words and spoken orders to transfer to."""

from __future__ import annotations

from dabs_rq.domain import Domain
from dabs_rq.spec import Grid
from domains.speech import audio_mnist, fluent_speech, google_speech, librispeech, voxceleb1
from domains.speech.protocol import SpeechProtocol

# Mel bands x frames of 150,526 samples: a frame every 672 samples, or every 2,360.
DOMAIN = Domain(
    name="speech",
    title="Speech",
    protocol=SpeechProtocol,
    inputs={
        "mini": (Grid(name="spectrogram", height=64, width=64, channels=1, patch=8, dtype="float16"),),
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
    batch_size=64,
)
