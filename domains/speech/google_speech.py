"""Google Speech Commands v0.02: 35 spoken words of about a second."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dabs_rq.data.examples import Examples
from dabs_rq.data.readers.audio import Statistics
from dabs_rq.data.readers.index import lines
from dabs_rq.data.requests import Request
from dabs_rq.domain import Task
from dabs_rq.domains.speech import clips
from dabs_rq.errors import DataError, unknown
from dabs_rq.spec import Archive, Multiclass, Source

# In DABS's order, which defines the labels.
WORDS = (
    *("eight", "right", "happy", "three", "yes", "up", "no", "stop", "on", "four", "nine", "zero", "down", "go"),
    *("six", "two", "left", "five", "off", "seven", "one", "cat", "bird", "marvin", "wow", "tree", "dog", "sheila"),
    *("bed", "house", "follow", "visual", "backward", "forward", "learn"),
)
NOISE = "_background_noise_"  # clips of about a minute without words, excluded under both protocols
VALIDATION, TESTING = "validation_list.txt", "testing_list.txt"
COUNTS = {"clips": 105_829, VALIDATION: 9981, TESTING: 11_005}
STATISTICS = Statistics(mean=-46.847, std=19.151)
TARGET = Multiclass(len(WORDS))
CLIP = re.compile(r"([0-9a-f]{8})_nohash_\d+\.wav")

SOURCE = Source(
    name="google_speech",
    title="Speech Commands v0.02",
    url="http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
    folder="speech/google_speech",
    layout="""
backward/0165e0e8_nohash_0.wav ...        35 word folders, <speaker>_nohash_<take>.wav
validation_list.txt, testing_list.txt     backward/0165e0e8_nohash_0.wav
""",
    needs=(VALIDATION, TESTING),
    licence="CC BY 4.0",
    size="2.4 GB",
    citation="Warden 2018, Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition, arXiv:1804.03209",
    archives=(
        Archive(
            "http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
            size=2_428_923_189,
            sha256="af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
        ),
    ),
)


class Clips(NamedTuple):
    """Clips: paths relative to the source's folder, classes and speakers."""

    paths: pa.Array
    labels: np.ndarray
    speakers: np.ndarray

    def take(self, rows: np.ndarray) -> Clips:
        return Clips(self.paths.take(pa.array(rows)), self.labels[rows], self.speakers[rows])


def load(request: Request) -> Examples:
    """Load the clips of testing_list.txt to test on, and the training clips that protocol.google_speech_split chooses.

    "disjoint" trains on all other clips. "leaking", as DABS's code does, trains on all clips, test clips included, and
    once more on those of validation_list.txt. Groups are the speakers.
    """
    root = request.folder(SOURCE)
    all_clips = _all(request, root)
    validation, testing = (_listed(request, root / name, all_clips.paths) for name in (VALIDATION, TESTING))
    if request.split == "test":
        rows = np.sort(testing)
    elif request.protocol.google_speech_split == "disjoint":
        rows = np.setdiff1d(np.arange(len(all_clips.paths)), testing)
    else:
        rows = np.concatenate([np.arange(len(all_clips.paths)), np.sort(validation)])
    if not len(rows):
        raise DataError(f"{root}: no clip is left for split {request.split!r}")
    chosen = all_clips.take(rows)
    repeated = np.arange(len(rows)) >= len(all_clips.paths)
    ids = pc.binary_join_element_wise(chosen.paths, pc.if_else(pa.array(repeated), "#again", ""), "")
    return Examples(
        ids=ids,
        inputs=(clips.column(request, root, chosen.paths, STATISTICS),),
        targets=chosen.labels,
        groups=chosen.speakers,
    )


def _all(request: Request, root: Path) -> Clips:
    """List every clip of every word, sorted by word and name."""
    words = sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith("."))
    words = [word for word in words if word != NOISE]
    for word in words:
        if word not in WORDS:
            raise DataError(f"{root / word}: {unknown('word', word, WORDS)}")
    request.expect("Speech Commands word folders", len(WORDS), len(words))
    paths, speakers = [pa.array([], pa.string())], [np.array([], np.int64)]
    for word in words:
        names = clips.names(root / word, ".wav")
        matches = [CLIP.fullmatch(name) for name in names]
        if None in matches:
            bad = root / word / names[matches.index(None)]
            raise DataError(f"{bad}: expected a name like 0165e0e8_nohash_0.wav")
        paths.append(pa.array([f"{word}/{name}" for name in names], pa.string()))
        speakers.append(np.array([int(match[1], 16) for match in matches if match], np.int64))
    labels = [WORDS.index(word) for word in words]
    all_clips = Clips(
        pa.concat_arrays(paths),
        np.repeat(np.array(labels, np.int64), [len(part) for part in paths[1:]]),
        np.concatenate(speakers),
    )
    request.expect("Speech Commands clips", COUNTS["clips"], len(all_clips.paths))
    return all_clips


def _listed(request: Request, file: Path, paths: pa.Array) -> np.ndarray:
    """Return the rows of `paths` that a list names, in its order. Raises DataError for an unknown name."""
    listed = list(lines(file))
    named = pa.array([text for _, text in listed], pa.string())
    rows = pc.index_in(named, paths)
    if rows.null_count:
        where, text = listed[rows.is_null().index(True).as_py()]
        raise DataError(f"{where}: expected a clip below {file.parent} such as {WORDS[0]}/*.wav, found no {text!r}")
    clips.check_once(named, lambda row: listed[row][0])
    request.expect(f"Speech Commands clips in {file.name}", COUNTS[file.name], len(named))
    return rows.to_numpy().astype(np.int64)


TASK = Task(
    name="google_speech",
    row="Google Speech",
    source=SOURCE,
    target=TARGET,
    metric="accuracy",
    load=load,
    sizes={"test": COUNTS[TESTING]},
)
