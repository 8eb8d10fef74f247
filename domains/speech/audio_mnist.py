"""AudioMNIST: ten spoken digits, 60 speakers; the test speakers do not occur in training."""

from __future__ import annotations

import os
import re

import numpy as np
import pyarrow as pa

from dabs_rq.data.examples import Examples
from dabs_rq.data.readers.audio import Statistics
from dabs_rq.data.requests import Request
from dabs_rq.domain import Task
from dabs_rq.domains.speech import clips
from dabs_rq.errors import DataError
from dabs_rq.spec import Archive, Multiclass, Source

SPEAKERS = 60
# Fold 0 of the authors' digit splits.
TEST_SPEAKERS = (26, 52, 60, 18, 32, 42, 5, 13, 22, 33, 45, 51)
STATISTICS = Statistics(mean=-90.293, std=11.799)
TARGET = Multiclass(10)
_CLIP = re.compile(r"(\d)_(\d\d)_\d+\.wav")

SOURCE = Source(
    name="audio_mnist",
    title="AudioMNIST",
    url="https://github.com/soerenab/AudioMNIST",
    folder="speech/AudioMNIST",
    layout="data/01/0_01_0.wav ...   data/<speaker>/<digit>_<speaker>_<take>.wav, speakers 01 to 60",
    needs=("data",),
    licence="MIT",
    size="1.0 GB",
    citation="Becker et al. 2018, Interpreting and Explaining Deep Neural Networks for Classification of Audio "
    "Signals, arXiv:1807.03418",
    archives=(
        Archive("https://github.com/soerenab/AudioMNIST/archive/refs/heads/master.zip", below="AudioMNIST-master"),
    ),
)


def load(request: Request) -> Examples:
    """Load all takes of 48 training or 12 test speakers, sorted by speaker and name. Groups are the speakers."""
    root = request.folder(SOURCE)
    speakers = sorted(entry.name for entry in os.scandir(root / "data") if entry.name.isdigit() and entry.is_dir())
    request.expect("AudioMNIST speakers", SPEAKERS, len(speakers))
    paths: list[str] = []
    digits: list[int] = []
    groups: list[int] = []
    for speaker in speakers:
        if (int(speaker) in TEST_SPEAKERS) == (request.split == "train"):
            continue
        folder = root / "data" / speaker
        for name in clips.names(folder, ".wav"):
            if not (match := _CLIP.fullmatch(name)) or match[2] != speaker:
                raise DataError(f"{folder / name}: expected a name like <digit>_{speaker}_<take>.wav")
            paths.append(f"data/{speaker}/{name}")
            digits.append(int(match[1]))
            groups.append(int(speaker))
    if not paths:
        numbers = ", ".join(f"{number:02d}" for number in sorted(TEST_SPEAKERS))
        raise DataError(f"{root / 'data'}: no clip for split {request.split!r}; the speakers for test are {numbers}")
    ids = pa.array(paths, pa.string())
    return Examples(
        ids=ids,
        inputs=(clips.column(request, root, ids, STATISTICS),),
        targets=np.array(digits, np.int64),
        groups=np.array(groups, np.int64),
    )


TASK = Task(
    name="audio_mnist",
    row="AudioMNIST",
    source=SOURCE,
    target=TARGET,
    metric="accuracy",
    load=load,
    sizes={"train": 24_000, "test": 6000},
)
