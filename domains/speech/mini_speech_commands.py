"""Mini Speech Commands: 8,000 clips of eight spoken words, an excerpt of Speech Commands."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pyarrow as pa

from dabs_rq.data.examples import Examples
from dabs_rq.data.requests import Request
from dabs_rq.domain import Task
from dabs_rq.domains.speech import clips, google_speech
from dabs_rq.errors import DataError, unknown
from dabs_rq.spec import Archive, Multiclass, Source

WORDS = ("down", "go", "left", "no", "right", "stop", "up", "yes")
TARGET = Multiclass(len(WORDS))
CLIPS = 8000
TEST_PERCENT = (10, 20)  # of Speech Commands' own rule: below 10 is its validation split
_HASHES = 2**27  # of the rule

SOURCE = Source(
    name="mini_speech_commands",
    title="Mini Speech Commands, eight words",
    url="https://www.tensorflow.org/tutorials/audio/simple_audio",
    folder="speech/mini_speech_commands",
    layout=f"""
down/004ae714_nohash_0.wav ...     folders {", ".join(WORDS)}: <speaker>_nohash_<take>.wav
""",
    needs=WORDS,
    licence="CC BY 4.0",
    size="182 MB",
    citation="Warden 2018, Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition, arXiv:1804.03209",
    archives=(
        Archive(
            "https://storage.googleapis.com/download.tensorflow.org/data/mini_speech_commands.zip",
            size=182_082_353,
            sha256="49650f2341b26d886b46b3f4fb8fed59e30300b17550f1ee4a768b3106cf93a0",
            below="mini_speech_commands",
            mirrors=("http://download.tensorflow.org/data/mini_speech_commands.zip",),
        ),
    ),
)


def load(request: Request) -> Examples:
    """Load the clips of a split, sorted by word and name. Groups are the speakers.

    A speaker is in one split, by the rule of Speech Commands: a hash of the speaker's id. Its test split is "test", its
    training and validation splits are "train".
    """
    root = request.folder(SOURCE)
    folders = sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith("."))
    for word in folders:
        if word not in WORDS:
            raise DataError(f"{root / word}: {unknown('word', word, WORDS)}")
    named = [(word, name) for word in WORDS for name in clips.names(root / word, ".wav")]
    request.expect("Mini Speech Commands clips", CLIPS, len(named))
    speakers = [_speaker(root / word / name) for word, name in named]
    rows = [row for row, speaker in enumerate(speakers) if is_test(speaker) == (request.split == "test")]
    if not rows:
        raise DataError(f"{root}: none of {len(named)} clips is of a speaker of split {request.split!r}")
    paths = pa.array([f"{named[row][0]}/{named[row][1]}" for row in rows], pa.string())
    return Examples(
        ids=paths,
        inputs=(clips.column(request, root, paths, google_speech.STATISTICS),),
        targets=np.array([WORDS.index(named[row][0]) for row in rows], np.int64),
        groups=np.array([int(speakers[row], 16) for row in rows], np.int64),
    )


def _speaker(file: Path) -> str:
    if not (match := google_speech.CLIP.fullmatch(file.name)):
        raise DataError(f"{file}: expected a name like 004ae714_nohash_0.wav")
    return match[1]


def place(speaker: str) -> float:
    """Return the place of a speaker in [0, 100] by which Speech Commands splits (`which_set` in its README)."""
    return int(hashlib.sha1(speaker.encode()).hexdigest(), 16) % _HASHES * (100.0 / (_HASHES - 1))


def is_test(speaker: str) -> bool:
    """Return whether a speaker is in the test split of Speech Commands."""
    return TEST_PERCENT[0] <= place(speaker) < TEST_PERCENT[1]


TASK = Task(
    name="mini_speech_commands",
    row="Mini Speech Commands",
    source=SOURCE,
    target=TARGET,
    metric="accuracy",
    load=load,
    sizes={"all": CLIPS},
    published_comparable=False,
    in_place_of="google_speech",
)
