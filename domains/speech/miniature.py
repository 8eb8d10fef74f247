"""A small made-up copy of LibriSpeech and the four labelled sources, in their native layouts.

Voices of one kind (`miniature_voice`) say words of one vocabulary everywhere; who speaks, what is said and how it is
recorded vary freely, except for what a task is about:

    librispeech    sentences of any words; a chapter is a speaker in one room
    voxceleb1      speakers, a video being one room, noisier than a chapter
    audio_mnist    the first ten words, quicker, at 48 kHz; a speaker is always in the same room
    google_speech  one of the first 35 words, every clip in a room of its own
    fluent_speech  orders of one to three words: an action, an object, a place

Clips are shorter than those of the real sources, so that the whole stays small.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from domains.speech import audio_mnist, fluent_speech, google_speech, librispeech
from domains.speech.miniature_voice import Rooms, Voices, clips, rooms, vocabulary, voices

ACTIONS, OBJECTS, LOCATIONS = (fluent_speech.CLASSES[slot] for slot in ("action", "object", "location"))
WORDS = vocabulary(len(google_speech.WORDS) + len(ACTIONS) + len(OBJECTS) + len(LOCATIONS))
SPOKEN = dict(zip((*google_speech.WORDS, *ACTIONS, *OBJECTS, *LOCATIONS), WORDS, strict=False))
# What may be asked for: action, object, location.
ORDERS = (
    *(("change language", language, "none") for language in ("none", *OBJECTS[-4:])),
    *((verb, "lights", place) for verb in ("activate", "deactivate") for place in LOCATIONS),
    *((verb, thing, "none") for verb in ("activate", "deactivate") for thing in ("music", "lamp")),
    *((verb, "heat", place) for verb in ("increase", "decrease") for place in LOCATIONS),
    *((verb, "volume", "none") for verb in ("increase", "decrease")),
    *(("bring", thing, "none") for thing in ("newspaper", "juice", "socks", "shoes")),
)
TRAIN_SPEAKERS, UTTERANCES = (30, 25, 15), 30  # per training subset of LibriSpeech; per speaker
DEV_SPEAKERS, DEV_UTTERANCES = 24, (50, 63)
LONG = 0.01  # share of utterances that are longer than the input
CELEBRITIES, VIDEOS = 40, (6, 6, 6, 6, 3, 8)  # clips per video; the last two are for development and test
CLIPS_PER_WORD, COMMANDERS = 40, 240
HOUSEHOLD, ORDERS_EACH = {"train": 30, "valid": 4, "test": 10}, 32


def write(root: Path, seed: int) -> None:
    """Write the whole miniature below `root`: about 9,000 clips, the same bytes for the same seed."""
    for number, writer in enumerate((_librispeech, _voxceleb1, _audio_mnist, _google_speech, _fluent_speech)):
        writer(root / "speech", np.random.default_rng([seed, number]))


def _librispeech(speech: Path, rng: np.random.Generator) -> None:
    folder = speech / "librispeech" / "LibriSpeech"
    subsets = np.repeat([*librispeech.TRAIN, librispeech.DEV], [*TRAIN_SPEAKERS, DEV_SPEAKERS])
    numbers = rng.choice(np.arange(14, 8999), len(subsets), replace=False)
    plan = _Plan([], [], [])
    for who, (subset, number) in enumerate(zip(subsets.tolist(), numbers.tolist(), strict=True)):
        count = UTTERANCES if subset != librispeech.DEV else int(rng.integers(*DEV_UTTERANCES))
        several = 1 if who % 8 == 0 else int(rng.integers(2, 6))  # chapters
        cuts = np.sort(rng.choice(np.arange(4, count - 3), several - 1, replace=False))
        sizes = np.diff([0, *cuts, count]).tolist()
        for chapter, size in zip(rng.choice(np.arange(10_000, 170_000), several, replace=False), sizes, strict=True):
            below = folder / subset / str(number) / str(chapter)
            said = [_words(rng, 26 if rng.random() < LONG else int(rng.integers(4, 6))) for _ in range(size)]
            names = [f"{number}-{chapter}-{utterance:04d}" for utterance in range(size)]
            text = (f"{name} {' '.join(words).upper()}" for name, words in zip(names, said, strict=True))
            _write_lines(below / f"{number}-{chapter}.trans.txt", text)
            plan.add([below / f"{name}.flac" for name in names], said, who)
    rows = np.array(plan.who)
    chapter_of = np.unique([file.parent.name for file in plan.files], return_inverse=True)[1]
    places = rooms(rng, chapter_of.max() + 1, loudness=0.5, noise=(0.4, 3)).take(chapter_of)
    _say(rng, plan, voices(rng, len(subsets)).take(rows), places)


def _voxceleb1(speech: Path, rng: np.random.Generator) -> None:
    folder = speech / "voxceleb1"
    plan, lines = _Plan([], [], []), []
    for who in range(CELEBRITIES):
        for video, count in enumerate(VIDEOS):
            below = f"id{10001 + 31 * who}/{_letters(rng, 11)}"
            paths = [f"{below}/{clip:05d}.wav" for clip in range(1, count + 1)]
            part = max(1, video - len(VIDEOS) + 4)
            lines += [f"{part} {path}" for path in paths]
            plan.add([folder / "wav" / path for path in paths], [_words(rng, 2) for _ in paths], who)
    _write_lines(folder / "iden_split.txt", lines)
    video_of = np.unique([file.parent.name for file in plan.files], return_inverse=True)[1]
    places = rooms(rng, video_of.max() + 1, loudness=2, noise=(2, 60)).take(video_of)
    _say(rng, plan, _quick(voices(rng, CELEBRITIES).take(np.array(plan.who)), 0.66), places)


def _audio_mnist(speech: Path, rng: np.random.Generator) -> None:
    folder = speech / "AudioMNIST" / "data"
    plan = _Plan([], [], [])
    for who in range(audio_mnist.SPEAKERS):
        takes = 2 if who % 4 else 3
        if who + 1 in audio_mnist.TEST_SPEAKERS:
            takes = 2 if who % 3 == 0 else 3
        below = folder / f"{who + 1:02d}"
        named = [(digit, below / f"{digit}_{who + 1:02d}_{take}.wav") for digit in range(10) for take in range(takes)]
        plan.add([file for _, file in named], [[WORDS[digit]] for digit, _ in named], who)
    rows = np.array(plan.who)
    quiet = rooms(rng, audio_mnist.SPEAKERS, loudness=0.06, noise=(0.05, 0.5)).take(rows)
    _say(rng, plan, _quick(voices(rng, audio_mnist.SPEAKERS).take(rows), 0.5), quiet, rate=48_000, silence=(0, 0.02))
    about = {f"{who:02d}": {"accent": "made up", "native speaker": "no"} for who in range(1, audio_mnist.SPEAKERS + 1)}
    (folder / "audioMNIST_meta.txt").write_text(json.dumps(about, indent=1), encoding="utf-8")


def _google_speech(speech: Path, rng: np.random.Generator) -> None:
    folder = speech / "google_speech"
    hashes = rng.choice(16**8, COMMANDERS, replace=False)
    part = rng.permutation(np.arange(COMMANDERS) % 13)  # 0 is for validation, 1 to 3 are for testing
    plan = _Plan([], [], [])
    lists: dict[str, list[str]] = {google_speech.VALIDATION: [], google_speech.TESTING: []}
    for word in google_speech.WORDS:
        spoken = np.sort(rng.integers(COMMANDERS, size=CLIPS_PER_WORD))
        for number, who in enumerate(spoken.tolist()):
            take = number - int(np.searchsorted(spoken, who))
            path = f"{word}/{hashes[who]:08x}_nohash_{take}.wav"
            if part[who] < 4:
                lists[google_speech.TESTING if part[who] else google_speech.VALIDATION].append(path)
            plan.add([folder / path], [[SPOKEN[word]]], who)
    for name, paths in lists.items():
        _write_lines(folder / name, sorted(paths))
    places = rooms(rng, len(plan.who), loudness=1.2, noise=(1, 20))
    _say(rng, plan, _quick(voices(rng, COMMANDERS).take(np.array(plan.who)), 0.8), places)
    for name, colour in (("pink_noise", 3), ("white_noise", 0)):
        hum = rooms(rng, 1, loudness=0, noise=(200, 300))
        silent = _Plan([folder / google_speech.NOISE / f"{name}.wav"], [["nono"]], [0])
        _say(rng, silent, voices(rng, 1), replace(hum, colour=np.array([colour])), silence=(1, 1.5))


def _fluent_speech(speech: Path, rng: np.random.Generator) -> None:
    folder = speech / "fluent_speech" / fluent_speech.FOLDER
    total = sum(HOUSEHOLD.values())
    names = [_letters(rng, 16) for _ in range(total)]
    parts = np.repeat(list(HOUSEHOLD), list(HOUSEHOLD.values()))
    plan = _Plan([], [], [])
    tables: dict[str, list[str]] = {
        part: [",path,speakerId,transcription,action,object,location"] for part in HOUSEHOLD
    }
    for who, part in enumerate(parts.tolist()):
        for order in rng.choice(len(ORDERS), ORDERS_EACH):
            action, thing, location = ORDERS[order]
            said = [SPOKEN[action], *(SPOKEN[word] for word in (thing, location) if word != "none")]
            number = f"{rng.integers(2**63):016x}"
            path = f"wavs/speakers/{names[who]}/{number[:8]}-{number[8:12]}-11e9-{number[12:]}-aa22aabbccdd.wav"
            table = tables[part]
            text = " ".join(said).capitalize()
            table.append(f"{len(table) - 1},{path},{names[who]},{text},{action},{thing},{location}")
            plan.add([folder / path], [said], who)
    for part, table in tables.items():
        _write_lines(folder / "data" / f"{part}_data.csv", table)
    rows = np.array(plan.who)
    places = rooms(rng, total, loudness=1.1).take(rows)
    _say(rng, plan, _quick(voices(rng, total).take(rows), 0.6), places)


# ---- what the writers share ----------------------------------------------------------------------------------------


class _Plan(NamedTuple):
    """Clips to be recorded: the file, the words and the number of the speaker of each."""

    files: list[Path]
    said: list[list[str]]
    who: list[int]

    def add(self, files: Sequence[Path], said: Sequence[list[str]], who: int) -> None:
        self.files.extend(files)
        self.said.extend(said)
        self.who.extend([who] * len(files))


def _say(
    rng: np.random.Generator,
    plan: _Plan,
    speakers: Voices,
    places: Rooms,
    rate: int = 16_000,
    silence: tuple[float, float] = (0.01, 0.08),
) -> None:
    import soundfile

    for folder in dict.fromkeys(file.parent for file in plan.files):
        folder.mkdir(parents=True, exist_ok=True)
    recorded = clips(rng, rate, speakers.today(rng), places, plan.said, silence)
    for file, samples in zip(plan.files, recorded, strict=True):
        # By way of memory: soundfile waits for the disk after every file.
        soundfile.write(content := io.BytesIO(), samples, rate, subtype="PCM_16", format=file.suffix[1:])
        file.write_bytes(content.getbuffer())


def _quick(speakers: Voices, factor: float) -> Voices:
    return replace(speakers, pace=speakers.pace * factor)


def _words(rng: np.random.Generator, count: int) -> list[str]:
    return [WORDS[number] for number in rng.integers(len(WORDS), size=count)]


def _letters(rng: np.random.Generator, count: int) -> str:
    letters = list("ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789")
    return "".join(rng.choice(letters, count))


def _write_lines(file: Path, text: Iterable[str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in text), encoding="utf-8", newline="")
