"""LibriSpeech: 960 h of read English, unlabelled, for pretraining; the speakers of its dev-clean subset as a task."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from dabs_rq.data.examples import Examples
from dabs_rq.data.readers.audio import Statistics
from dabs_rq.data.readers.index import class_number, split_80_20
from dabs_rq.data.requests import Request
from dabs_rq.domain import Pretraining, Task
from dabs_rq.domains.speech import clips
from dabs_rq.errors import DataError
from dabs_rq.spec import Archive, Multiclass, Source

FOLDER = "LibriSpeech"
TRAIN = ("train-clean-100", "train-clean-360", "train-other-500")
DEV = "dev-clean"
TRAIN_SPEAKERS = 2338
STATISTICS = Statistics(mean=-22.924, std=12.587)
TARGET = Multiclass(40)
_CHAPTERS = 10**7  # more than the largest number of a chapter
_UTTERANCE = re.compile(r"([0-9]{1,9})-([0-9]{1,9})-\d{4}\.flac")

_ABOUT: dict[str, Any] = {
    "url": "https://www.openslr.org/12",
    "folder": "speech/librispeech",
    "licence": "CC BY 4.0",
    "citation": "Panayotov et al. 2015, LibriSpeech: an ASR corpus based on public domain audio books, ICASSP",
}
_LAYOUT = "{}/<speaker>/<chapter>/<speaker>-<chapter>-0000.flac ..."

SOURCE = Source(
    name="librispeech",
    title="LibriSpeech, 960 h",
    layout="\n".join(_LAYOUT.format(f"{FOLDER}/{subset}") for subset in (*TRAIN, DEV)),
    needs=tuple(f"{FOLDER}/{subset}" for subset in TRAIN),
    size="60.0 GB",
    archives=(
        Archive(
            "https://www.openslr.org/resources/12/train-clean-100.tar.gz",
            size=6_387_309_499,
            md5="2a93770f6d5c6c964bc36631d331a522",
            sha256="d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2",
        ),
        Archive(
            "https://www.openslr.org/resources/12/train-clean-360.tar.gz",
            size=23_049_477_885,
            md5="c0e676e450a7ff2f54aeade5171606fa",
            sha256="146a56496217e96c14334a160df97fffedd6e0a04e66b9c5af0d40be3c792ecf",
        ),
        Archive(
            "https://www.openslr.org/resources/12/train-other-500.tar.gz",
            size=30_593_501_606,
            md5="d1a0fd59409feb2c614ce4d30c387708",
            sha256="ddb22f27f96ec163645d53215559df6aa36515f26e01dd70798188350adcb6d2",
        ),
    ),
    **_ABOUT,
)
SPEAKERS_SOURCE = Source(
    name="librispeech_dev_clean",
    title="LibriSpeech dev-clean",
    layout=_LAYOUT.format(f"{FOLDER}/{DEV}"),
    needs=(f"{FOLDER}/{DEV}",),
    size="338 MB",
    archives=(
        Archive(
            "https://www.openslr.org/resources/12/dev-clean.tar.gz",
            size=337_926_286,
            md5="42e2234ba48799c1f50f24a7926300a1",
            sha256="76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3",
            mirrors=(
                "https://us.openslr.org/resources/12/dev-clean.tar.gz",
                "https://openslr.elda.org/resources/12/dev-clean.tar.gz",
                "https://openslr.magicdatatech.com/resources/12/dev-clean.tar.gz",
            ),
        ),
    ),
    **_ABOUT,
)


class Chapter(NamedTuple):
    """The utterances of one speaker in one chapter, as sorted paths relative to the source's folder."""

    speaker: int
    number: int
    paths: list[str]


def chapters(root: Path, subset: str) -> Iterator[Chapter]:
    """Yield all chapters of a subset: speakers sorted by number, a speaker's chapters by name, as in DABS.

    Raises DataError for a chapter without utterances, and for a recording whose name does not match its folder.
    """
    subset_folder = f"{FOLDER}/{subset}"
    any_chapter = False
    for speaker in sorted(_numbered(root / subset_folder), key=int):
        for chapter in _numbered(root / subset_folder / speaker):
            folder = f"{subset_folder}/{speaker}/{chapter}"
            names = clips.names(root / folder, ".flac")
            for name in names:
                if not (match := _UTTERANCE.fullmatch(name)) or match.groups() != (speaker, chapter):
                    raise DataError(f"{root / folder / name}: expected a name like {speaker}-{chapter}-0000.flac")
            if not names:
                raise DataError(f"{root / folder}: chapter without any utterance (*.flac)")
            any_chapter = True
            yield Chapter(int(speaker), int(chapter), [f"{folder}/{name}" for name in names])
    if not any_chapter:
        raise DataError(f"{root / subset_folder}: it holds no utterance, expected {_LAYOUT.format(subset_folder)}")


def _numbered(folder: Path) -> list[str]:
    return sorted(entry.name for entry in os.scandir(folder) if entry.name.isdigit() and entry.is_dir())


def load(request: Request) -> Examples:
    """Load all utterances of the training subsets on disk ("train") or of dev-clean ("validation"). No targets."""
    if request.split == "train":
        root = request.root / SOURCE.folder
        subsets = [subset for subset in TRAIN if (root / FOLDER / subset).is_dir()]
        if not subsets:
            request.folder(SOURCE)  # raises an error with the missing files and how to get them
        request.expect("LibriSpeech training subsets", len(TRAIN), len(subsets))
    else:
        root, subsets = request.folder(SPEAKERS_SOURCE), [DEV]
    # One Arrow array per chapter, so that 281,241 paths are never all in memory as Python strings.
    listed, speakers = [], set()
    for subset in subsets:
        for chapter in chapters(root, subset):
            listed.append(pa.array(chapter.paths, pa.string()))
            speakers.add(chapter.speaker)
    if request.split == "train":
        request.expect("LibriSpeech training speakers", TRAIN_SPEAKERS, len(speakers))
    paths = pa.concat_arrays(listed)
    return Examples(ids=paths, inputs=(clips.column(request, root, paths, STATISTICS),))


def load_speakers(request: Request) -> Examples:
    """Split every speaker of dev-clean 80/20, as protocol.librispeech_split says.

    A group is a speaker's chapter; chapters of different speakers may have the same number.

    "utterance": DABS's shuffle, which puts utterances of one chapter on both sides. "chapter": the test split gets
    whole chapters, whose total is closest to a fifth of the speaker's utterances; of a single chapter, the last fifth.
    """
    root = request.folder(SPEAKERS_SOURCE)
    by_speaker: dict[int, list[Chapter]] = {}
    for chapter in chapters(root, DEV):
        by_speaker.setdefault(chapter.speaker, []).append(chapter)
    request.expect("LibriSpeech dev-clean speakers", TARGET.classes, len(by_speaker))
    label = {
        speaker: class_number(n, TARGET, f"{root / FOLDER / DEV}/{speaker}") for n, speaker in enumerate(by_speaker)
    }
    if request.protocol.librispeech_split == "utterance":
        utterances = [_utterances(own_chapters) for own_chapters in by_speaker.values()]
        chosen = split_80_20(utterances, request.split)
    else:
        chosen = [
            utterance for own_chapters in by_speaker.values() for utterance in _by_chapter(own_chapters, request.split)
        ]
    paths = pa.array([path for path, _ in chosen], pa.string())
    return Examples(
        ids=paths,
        inputs=(clips.column(request, root, paths, STATISTICS),),
        targets=np.array([label[chapter.speaker] for _, chapter in chosen], np.int64),
        groups=np.array([_CHAPTERS * chapter.speaker + chapter.number for _, chapter in chosen], np.int64),
    )


def _utterances(speaker_chapters: list[Chapter]) -> list[tuple[str, Chapter]]:
    return [(path, chapter) for chapter in speaker_chapters for path in chapter.paths]


def _by_chapter(speaker_chapters: list[Chapter], split: str) -> list[tuple[str, Chapter]]:
    """Return one speaker's utterances of a split, in order."""
    utterances = _utterances(speaker_chapters)
    if len(speaker_chapters) == 1:
        cut = int(0.8 * len(utterances))
        return utterances[:cut] if split == "train" else utterances[cut:]
    # Find every number of utterances that a set of chapters adds up to; chapters come in random order.
    order = np.random.default_rng([42, speaker_chapters[0].speaker]).permutation(len(speaker_chapters))
    sets: dict[int, tuple[int, ...]] = {0: ()}
    for index in order.tolist():
        for count, members in list(sets.items()):
            sets.setdefault(count + len(speaker_chapters[index].paths), (*members, index))
    fifth = 0.2 * len(utterances)
    count = min((count for count in sets if 0 < count < len(utterances)), key=lambda count: abs(count - fifth))
    held_out = {speaker_chapters[index].number for index in sets[count]}
    return [(path, chapter) for path, chapter in utterances if (chapter.number in held_out) == (split == "test")]


LIBRISPEECH = Pretraining(source=SOURCE, load=load, sizes={"train": 281_241, "validation": 2703})
SPEAKERS = Task(
    name="librispeech_speaker",
    row="LibriSpeech Sp. ID",
    source=SPEAKERS_SOURCE,
    target=TARGET,
    metric="accuracy",
    load=load_speakers,
    sizes={"all": 2703},
)
