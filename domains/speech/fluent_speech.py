"""Fluent Speech Commands: spoken commands for a smart home, labelled with action, object and location."""

from __future__ import annotations

from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dabs_rq.data.examples import Examples
from dabs_rq.data.readers.audio import Statistics
from dabs_rq.data.readers.index import csv_table, lines
from dabs_rq.data.requests import Request
from dabs_rq.domain import Task
from dabs_rq.domains.speech import clips
from dabs_rq.errors import DataError, unknown
from dabs_rq.spec import Multiclass, Source

FOLDER = "fluent_speech_commands_dataset"
TABLES = {"train": ("train_data.csv", "valid_data.csv"), "test": ("test_data.csv",)}
SPEAKERS = 97
STATISTICS = Statistics(mean=-31.809, std=13.127)
# In DABS's order, which defines the labels. "none" is an ordinary class.
CLASSES = {
    "location": ("none", "kitchen", "bedroom", "washroom"),
    "action": ("change language", "activate", "deactivate", "increase", "decrease", "bring"),
    "object": (
        *("none", "music", "lights", "volume", "heat", "lamp", "newspaper", "juice", "socks", "shoes"),
        *("Chinese", "Korean", "English", "German"),
    ),
}

SOURCE = Source(
    name="fluent_speech",
    title="Fluent Speech Commands",
    url="https://fluent.ai/fluent-speech-commands-a-dataset-for-spoken-language-understanding-research/",
    folder="speech/fluent_speech",
    layout=f"""
{FOLDER}/wavs/speakers/<speaker>/<uuid>.wav ...
{FOLDER}/data/train_data.csv, valid_data.csv, test_data.csv   ,path,speakerId,transcription,action,object,location
""",
    needs=(
        f"{FOLDER}/wavs",
        *(f"{FOLDER}/data/{name}" for names in TABLES.values() for name in names),
    ),
    licence="Fluent Speech Commands Public License, academic research only",
    size="size not stated",
    citation="Lugosch et al. 2019, Speech Model Pre-training for End-to-End Spoken Language Understanding, "
    "arXiv:1904.03670",
    registration="the archive is no longer offered for direct download: ask at the address above, extract it by hand",
)


def load(request: Request, *, slot: str) -> Examples:
    """Load the official split; its train and valid tables together are "train". Groups are the speakers.

    slot: the column of the tables with the targets; ids and inputs are the same for every slot.
    """
    root = request.folder(SOURCE)
    data = root / FOLDER / "data"
    columns = ("path", "speakerId", *CLASSES)
    tables = {name: csv_table(data / name, columns) for names in TABLES.values() for name in names}
    speakers = pc.unique(pa.concat_tables(tables.values())["speakerId"])
    speakers = speakers.take(pc.array_sort_indices(speakers))
    request.expect("Fluent Speech Commands speakers", SPEAKERS, len(speakers))
    files = [data / name for name in TABLES[request.split]]
    table = pa.concat_tables([tables[file.name] for file in files]).combine_chunks()
    ends = np.cumsum([len(tables[file.name]) for file in files])
    where = partial(_where, files, ends)
    targets = pc.index_in(table[slot], pa.array(CLASSES[slot]))
    if targets.null_count:
        row = int(np.flatnonzero(targets.is_null().to_numpy(zero_copy_only=False))[0])
        raise DataError(f"{where(row)}: {unknown(slot, table[slot][row].as_py(), CLASSES[slot])}")
    paths = pc.binary_join_element_wise(FOLDER, table["path"].combine_chunks(), "/")
    clips.check_listed(root, paths, where)
    return Examples(
        ids=paths,
        inputs=(clips.column(request, root, paths, STATISTICS),),
        targets=targets.to_numpy().astype(np.int64),
        groups=pc.index_in(table["speakerId"], speakers).to_numpy().astype(np.int64),
    )


def _where(files: list[Path], ends: np.ndarray, row: int) -> str:
    """Return the file and line of a row of the concatenated tables of `files`, which end at rows `ends`."""
    number = int(np.searchsorted(ends, row, side="right"))
    first = int(ends[number - 1]) if number else 0
    return next(islice(lines(files[number]), row - first + 1, None))[0]


def _task(slot: str, row: str) -> Task:
    return Task(
        name=f"fluent_speech_{slot}",
        row=row,
        source=SOURCE,
        target=Multiclass(len(CLASSES[slot])),
        metric="accuracy",
        load=partial(load, slot=slot),
        sizes={"train": 26_250, "test": 3793},
    )


LOCATION = _task("location", "Fluent Locations")
ACTION = _task("action", "Fluent Actions")
OBJECT = _task("object", "Fluent Objects")
