"""Small sources: LibriSpeech dev-clean to pretrain on; its speakers and Mini Speech Commands to transfer to."""

from __future__ import annotations

from dataclasses import replace

from dabs_rq.data.examples import Examples
from dabs_rq.data.requests import Request
from dabs_rq.domain import Pretraining, SourceSet
from dabs_rq.domains.speech import librispeech, mini_speech_commands

SPLITS = {"train": "train", "validation": "test"}


def load(request: Request) -> Examples:
    """Load utterances without their speakers: those that the speaker task trains on, or those that it tests on to
    validate, so that pretraining sees no utterance of its test split.

    Always those of librispeech_split=chapter: an option of transfer must not change a checkpoint. With "utterance",
    some utterances of the test split are among them.
    """
    protocol = replace(request.protocol, librispeech_split="chapter")
    labelled = librispeech.load_speakers(replace(request, split=SPLITS[request.split], protocol=protocol))
    return replace(labelled, targets=None, groups=None)


SMALL = SourceSet(
    pretraining=Pretraining(
        source=librispeech.SPEAKERS_SOURCE,
        load=load,
        sizes=librispeech.SPEAKERS.sizes,
    ),
    tasks=(librispeech.SPEAKERS, mini_speech_commands.TASK),
)
