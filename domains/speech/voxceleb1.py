"""VoxCeleb1: celebrities in interviews; the official identification split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dabs_rq.data.examples import Examples
from dabs_rq.data.readers.audio import Statistics
from dabs_rq.data.readers.index import class_number
from dabs_rq.data.requests import Request
from dabs_rq.domain import Task
from dabs_rq.domains.speech import clips
from dabs_rq.errors import DataError
from dabs_rq.files import reading
from dabs_rq.spec import Archive, Multiclass, Source

SPLIT_FILE = "iden_split.txt"
PARTS = {"train": ("1", "2"), "test": ("3",)}
LINE = r"^(?P<part>[123]) (?P<path>(?P<video>(?P<speaker>id[0-9]{5})/[^/ ]+)/[0-9]{5}\.wav)$"
STATISTICS = Statistics(mean=-37.075, std=19.776)
TARGET = Multiclass(1251)

SOURCE = Source(
    name="voxceleb1",
    title="VoxCeleb1",
    url="https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox1.html",
    folder="speech/voxceleb1",
    layout="""
wav/id10001/<video>/00001.wav ...   the wav folders of vox1_dev_wav.zip and vox1_test_wav.zip merged
iden_split.txt                      <1: train, 2: development, 3: test> id10001/<video>/00001.wav
""",
    needs=("wav", SPLIT_FILE),
    licence="CC BY 4.0",
    size="31 GB",
    citation="Nagrani et al. 2017, VoxCeleb: a large-scale speaker identification dataset, arXiv:1706.08612",
    registration="ask for the audio at https://mm.kaist.ac.kr/datasets/voxceleb/ (links come by mail), join "
    "vox1_dev_wav_parta* into one zip, extract both; iden_split.txt is open: "
    "https://www.robots.ox.ac.uk/~vgg/data/voxceleb/meta/iden_split.txt",
    archives=(
        Archive(
            "https://www.robots.ox.ac.uk/~vgg/data/voxceleb/meta/iden_split.txt",
            size=4_912_512,
            sha256="3c1d792d4058861cd476a27cc942c824f7e9df812864115a7c2b12df97edfbbf",
        ),
    ),
)


def load(request: Request) -> Examples:
    """Load the clips that iden_split.txt lists, in its order; its parts 1 and 2 are "train". Groups are the videos.

    Classes are all speakers of the list, sorted, whichever split they are in.
    """
    root = request.folder(SOURCE)
    file = root / SPLIT_FILE
    listed, numbers = _parse(file)
    speakers = pc.unique(listed.field("speaker"))
    speakers = speakers.take(pc.array_sort_indices(speakers))
    request.expect("VoxCeleb1 speakers", TARGET.classes, len(speakers))
    class_number(len(speakers) - 1, TARGET, f"{file}: its last speaker")
    videos = pc.index_in(listed.field("video"), pc.unique(listed.field("video")))
    in_split = pc.is_in(listed.field("part"), pa.array(PARTS[request.split]))
    rows = np.flatnonzero(in_split.to_numpy(zero_copy_only=False))
    paths = pc.binary_join_element_wise("wav", listed.field("path").take(pa.array(rows)), "/")
    clips.check_listed(root, paths, lambda row: f"{file}:{numbers[rows[row]]}")
    return Examples(
        ids=paths,
        inputs=(clips.column(request, root, paths, STATISTICS),),
        targets=pc.index_in(listed.field("speaker"), speakers).to_numpy()[rows].astype(np.int64),
        groups=videos.to_numpy()[rows].astype(np.int64),
    )


def _parse(file: Path) -> tuple[pa.StructArray, np.ndarray]:
    """Match `LINE` on every line that is not blank (153,516 in the real list); return its groups and line numbers."""
    from pyarrow import csv

    with reading(file, "not a list of clips"):
        table = csv.read_csv(
            file,
            read_options=csv.ReadOptions(column_names=["line"]),
            parse_options=csv.ParseOptions(delimiter="\x1f", quote_char=False, ignore_empty_lines=False),
            convert_options=csv.ConvertOptions(column_types={"line": pa.string()}, strings_can_be_null=False),
        )
    text = pc.utf8_trim_whitespace(table["line"].combine_chunks())
    rows = np.flatnonzero(pc.not_equal(text, "").to_numpy(zero_copy_only=False))
    text = text.take(pa.array(rows))
    listed = pc.extract_regex(text, LINE)
    if listed.null_count:
        bad = int(np.flatnonzero(listed.is_null().to_numpy(zero_copy_only=False))[0])
        raise DataError(
            f"{file}:{rows[bad] + 1}: expected a part from 1 to 3 and a path such as id10001/<video>/00001.wav, "
            f"found {text[bad].as_py()!r}"
        )
    return listed, rows + 1


TASK = Task(
    name="voxceleb1",
    row="VoxCeleb Sp. ID",
    source=SOURCE,
    target=TARGET,
    metric="accuracy",
    load=load,
    sizes={"train": 145_265, "test": 8251},
)
