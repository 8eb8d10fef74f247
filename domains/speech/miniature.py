"""A small made-up copy of LibriSpeech and the four labelled sources, in their native layouts.

Voices of one kind say made-up words of one vocabulary everywhere; clips are shorter than those of the real sources.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from dabs_rq.domains.speech import audio_mnist, fluent_speech, google_speech, librispeech
from dabs_rq.miniature.writers import Rng, generator, place_in_run, rounded, run, write_clip, write_json, write_lines

ACTIONS, OBJECTS, LOCATIONS = (fluent_speech.CLASSES[slot] for slot in ("action", "object", "location"))
SUBSETS = {**dict(zip(librispeech.TRAIN, (30, 25, 15), strict=True)), librispeech.DEV: 24}  # speakers
UTTERANCES, DEV_UTTERANCES = 30, (50, 63)  # per speaker: of the training subsets, and from, to
CELEBRITIES, VIDEOS = 40, (6, 6, 6, 6, 3, 8)  # clips per video; the last two are for development and test
CLIPS_PER_WORD, COMMANDERS = 40, 240
HOUSEHOLD, ORDERS_EACH = {"train": 30, "valid": 4, "test": 10}, 32


def write(root: Path, seed: int, processes: int = 1) -> None:
    """Write the whole miniature below `root`: about 9,000 clips, the same bytes for the same seed."""
    speech = root / "speech"
    jobs = [(_librispeech, speech, seed, subset) for subset in SUBSETS]
    run([*jobs, *((one, speech, seed) for one in (_voxceleb1, _audio_mnist, _google, _fluent))], processes)


def _librispeech(speech: Path, seed: int, subset: str) -> None:
    """Sentences of any words; a chapter is a speaker in one room."""
    rng, place = generator(seed, subset), list(SUBSETS).index(subset)
    for who, number in enumerate(rng.choice(np.arange(14 + place, 8999, 4), SUBSETS[subset], replace=False).tolist()):
        voice, library = rng.random(5), speech / "librispeech" / "LibriSpeech" / subset / str(number)
        count = UTTERANCES if subset != librispeech.DEV else int(rng.integers(*DEV_UTTERANCES))
        several = 1 if who % 8 == 5 else int(rng.integers(2, 6))  # chapters
        cuts = np.sort(rng.choice(np.arange(4, count - 3), several - 1, replace=False))
        chapters = rng.choice(np.arange(10_000, 170_000), several, replace=False)
        for chapter, size in zip(chapters, np.diff([0, *cuts, count]), strict=True):
            name, session, text = f"{number}-{chapter}", Session(rng, voice, 1.0, 0.5, (0.4, 3)), list[str]()
            for utterance in range(size):
                said = _words(rng, 26 if rng.integers(100) == 0 else int(rng.integers(2, 4)))  # some exceed the input
                write_clip(library / str(chapter) / f"{name}-{utterance:04d}.flac", session.say(said), 16_000)
                text.append(f"{name}-{utterance:04d} {' '.join(said).upper()}")
            write_lines(library / str(chapter) / f"{name}.trans.txt", text)


def _voxceleb1(speech: Path, seed: int) -> None:
    """Speakers; a video is one room, noisier than a chapter."""
    rng, lines = generator(seed, "voxceleb1"), []
    for who in range(CELEBRITIES):
        voice = rng.random(5)
        for video, count in enumerate(VIDEOS):
            below, session = f"id{10001 + 31 * who}/{_name(rng, 11)}", Session(rng, voice, 0.66, 2, (2, 60))
            for clip in range(1, count + 1):
                path = f"{below}/{clip:05d}.wav"
                write_clip(speech / "voxceleb1/wav" / path, session.say(_words(rng, 2)), 16_000)
                lines.append(f"{max(1, video - len(VIDEOS) + 4)} {path}")
    write_lines(speech / "voxceleb1" / "iden_split.txt", lines)


def _audio_mnist(speech: Path, seed: int) -> None:
    """The first ten words, quicker, at 48 kHz; a speaker is always in the same room."""
    rng, folder = generator(seed, "audio_mnist"), speech / "AudioMNIST" / "data"
    for who in range(1, audio_mnist.SPEAKERS + 1):
        session = Session(rng, rng.random(5), 0.5, 0.06, (0.05, 0.5), rate=48_000)
        takes = 3 if who % (3 if who in audio_mnist.TEST_SPEAKERS else 4) == 1 else 2
        for digit, take in np.ndindex(10, takes):
            samples = session.say([_vocabulary()[digit]], silence=(0, 0.02))
            write_clip(folder / f"{who:02d}" / f"{digit}_{who:02d}_{take}.wav", samples, 48_000)
    about = {"accent": "made up", "native speaker": "no"}
    write_json(folder / "audioMNIST_meta.txt", {f"{who:02d}": about for who in range(1, audio_mnist.SPEAKERS + 1)})


def _google(speech: Path, seed: int) -> None:
    """One of the first 35 words, every clip in a room of its own."""
    rng, folder = generator(seed, "google_speech"), speech / "google_speech"
    hashes, part = rng.choice(16**8, COMMANDERS, replace=False), rng.permutation(np.arange(COMMANDERS) % 13)
    voices = rng.random((COMMANDERS, 5))
    lists: dict[str, list[str]] = {google_speech.VALIDATION: [], google_speech.TESTING: []}
    for word, said in zip(google_speech.WORDS, _vocabulary(), strict=False):
        spoken = np.sort(rng.integers(COMMANDERS, size=CLIPS_PER_WORD))
        for who, take in zip(spoken.tolist(), place_in_run(spoken).tolist(), strict=True):
            path = f"{word}/{hashes[who]:08x}_nohash_{take}.wav"
            if part[who] < 4:  # 0 is for validation, 1 to 3 are for testing
                lists[google_speech.TESTING if part[who] else google_speech.VALIDATION].append(path)
            write_clip(folder / path, Session(rng, voices[who], 0.8, 1.2, (1, 20)).say([said]), 16_000)
    for name, paths in lists.items():
        write_lines(folder / name, sorted(paths))
    for name, colour in (("pink_noise", 3), ("white_noise", 0)):
        samples = Session(rng, voices[0], 1.0, 0, (200, 300), colour).say(["nono"], silence=(1, 1.5))
        write_clip(folder / google_speech.NOISE / f"{name}.wav", samples, 16_000)


def _fluent(speech: Path, seed: int) -> None:
    """Orders of one to three words: an action, an object, a place."""
    rng, folder = generator(seed, "fluent_speech"), speech / "fluent_speech" / fluent_speech.FOLDER
    spoken = dict(zip((*ACTIONS, *OBJECTS, *LOCATIONS), _vocabulary()[len(google_speech.WORDS) :], strict=False))
    for part, speakers in HOUSEHOLD.items():
        table = [",path,speakerId,transcription,action,object,location"]
        for _ in range(speakers):
            name, session = _name(rng, 16), Session(rng, rng.random(5), 0.6, 1.1, (1, 8))
            for _ in range(ORDERS_EACH):
                action, thing, location = (str(rng.choice(slot)) for slot in (ACTIONS, OBJECTS, LOCATIONS))
                said = [spoken[action], *(spoken[word] for word in (thing, location) if word != "none")]
                number = f"{rng.integers(2**63):016x}"
                path = f"wavs/speakers/{name}/{number[:8]}-{number[8:12]}-11e9-{number[12:]}-aa22aabbccdd.wav"
                order = f"{' '.join(said).capitalize()},{action},{thing},{location}"
                table.append(f"{len(table) - 1},{path},{name},{order}")
                write_clip(folder / path, session.say(said), 16_000)
        write_lines(folder / "data" / f"{part}_data.csv", table)


def _words(rng: Rng, count: int) -> list[str]:
    return [_vocabulary()[i] for i in rng.integers(len(_vocabulary()), size=count)]


def _name(rng: Rng, count: int) -> str:
    letters = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"
    return "".join(letters[i] for i in rng.integers(len(letters), size=count))


# A voiced sound is the answer of the vocal tract to pulses with the period of the pitch, breath is noise in it. Both
# come from tables, rounded once: all that is done with samples afterwards is exact in float32.
Range = tuple[float, float]  # from, to
RATE, ANY, PHONES = 16_000, -1, " aeioumnlsfk"
SOUNDS = np.c_[  # (phones, 7)
    (500, 750, 480, 300, 480, 320, 240, 240, 360, 4300, 1500, 1700),  # first resonance in Hz
    (1500, 1250, 1850, 2250, 900, 650, 1000, 1550, 1100, 5300, 3200, 2400),  # second
    (2500, 2600, 2550, 3000, 2450, 2300, 2100, 2500, 2800, 6500, 6800, 3800),  # third
    (90, 80, 80, 70, 80, 70, 150, 150, 110, 500, 900, 400),  # their common bandwidth in Hz
    (1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0),  # whether voiced
    (0.0, 1.0, 1.0, 0.9, 1.0, 0.9, 0.5, 0.5, 0.6, 0.35, 0.2, 0.5),  # level
    (0.035, 0.105, 0.1, 0.1, 0.105, 0.1, 0.055, 0.055, 0.05, 0.07, 0.065, 0.03),  # seconds
]
TRACTS = 0.82 + 0.02 * np.arange(22)  # factors of the resonances: short tracts are high
ANSWER, ATTACK = 0.016, 0.001  # seconds until a resonance has died away, and until it is at its full level


@cache
def _vocabulary() -> list[str]:
    """Words of two syllables, such as "kalu": always the same ones."""
    syllables = [consonant + vowel for consonant in "mnlsfk" for vowel in "aeiou"]
    count = len((*google_speech.WORDS, *ACTIONS, *OBJECTS, *LOCATIONS))
    pairs = [first + second for first in syllables for second in syllables]
    return [pairs[i] for i in np.random.default_rng(11).permutation(len(pairs))[:count]]


@cache
def _answers(rate: int) -> tuple[np.ndarray, np.ndarray]:
    """What the tracts make of a pulse (tracts, sounds, resonances, samples), and of noise (tracts, sounds, samples)."""
    times, size = np.arange(int(ANSWER * rate)) / rate, 2 * rate // 5
    resonances = np.minimum(SOUNDS[None, :, :3] * TRACTS[:, None, None], 7300)
    fade = np.minimum(times / ATTACK, 1) * (1 - times / times[-1]) * np.exp(-np.pi * SOUNDS[:, 3, None] * times)
    answers = rounded(np.sin(2 * np.pi * resonances[..., None] * times) * fade[None, :, None], 5)
    noise = np.fft.rfft(np.random.default_rng(12).standard_normal(size))
    hiss = np.fft.irfft(np.fft.rfft(answers.sum(2), size) * noise, size)
    return answers.astype(np.float32), rounded(0.2 * hiss * 16_000 / rate, 4).astype(np.float32)


@cache
def _noises() -> np.ndarray:
    """Noise of deviation 1 in four colours from white to dark, (4, samples)."""
    spectrum = np.fft.rfft(np.random.default_rng(13).standard_normal((4, 1 << 18)))
    noise = np.fft.irfft(spectrum * np.maximum(np.arange(spectrum.shape[1]), 1300) ** -np.linspace([0], [0.9], 4))
    return rounded(noise / noise.std(1, keepdims=True), 4).astype(np.float32)


class Session:
    """A voice in a room on one day. voice: five numbers in [0, 1), for tract, pitch, breath, loss of level towards high
    frequencies and pace. noise: of the room, in units of 16-bit samples; colour: 0 (white) to 3 (dark), or ANY."""

    def __init__(
        self, rng: Rng, voice: np.ndarray, pace: float, level: float, noise: Range, colour: int = ANY, rate: int = RATE
    ) -> None:
        self.rng, self.rate, self.pace = rng, rate, pace * (0.88 + 0.24 * voice[4]) * rate
        tract, voiced = 0.86 + 0.32 * voice[0], SOUNDS[:, 4]
        answers, self.hisses = (table[int((tract * rng.uniform(0.98, 1.02) - 0.82) / 0.02)] for table in _answers(rate))
        breath = np.where(voiced > 0, np.clip(0.8 * voice[2] + rng.uniform(-0.15, 0.15), 0, 1), 1)
        loss = np.where(voiced > 0, 0.9 + 0.6 * voice[3] + rng.uniform(-0.1, 0.1), 0) + rng.uniform(-0.15, 0.25)
        gain = 1000 * level * 2.0 ** rng.uniform(-0.9, 0.9) * SOUNDS[:, 5]
        heights = rounded(gain[:, None] * (SOUNDS[:, :3] * tract / 500) ** -loss[:, None], 3)
        said = rounded(heights * ((1 - breath / 2) * voiced)[:, None]).astype(np.float32)
        self.pulses = sum(said[:, i, None] * answers[:, i] for i in range(3))
        self.levels = rounded(heights.mean(1) * breath * np.where(voiced > 0, 0.3, 1), 3).tolist()
        self.period = float(rounded(rate / (95 * 2.4 ** voice[1] * tract), 3))
        self.ramp = np.arange(1, rate // 200 + 1, dtype=np.float32) / np.float32(rate // 200)
        self.hum = _noises()[int(rng.integers(4)) if colour == ANY else colour]
        self.hum_level = float(rounded(noise[0] * (noise[1] / noise[0]) ** rng.random(), 3))

    def say(self, words: Sequence[str], silence: Range = (0.01, 0.08)) -> np.ndarray:
        """A sentence: int16 samples, with seconds of `silence`, from and to, before and after the words."""
        rng, ramp = self.rng, len(self.ramp)
        phones = [PHONES.index(letter) for letter in " ".join(words)]
        n, fall = len(phones), np.linspace(0.9, 1.1, len(phones)) * rng.uniform(0.88, 1.12)
        seconds = SOUNDS[phones, 6] * rng.uniform(0.9, 1.1) * rng.uniform(0.8, 1.2, n)
        lengths = (self.pace * seconds).astype(int).tolist()
        periods = (self.period * fall * rng.uniform(0.97, 1.03, n)).astype(int).tolist()
        starts = rng.integers(self.rate // 10, size=n).tolist()
        end, after = (rng.uniform(*silence, 2) * self.rate).astype(int).tolist()
        first = int(rng.integers(self.hum.size - (size := end + sum(lengths) + after)))
        clip = self.hum[first : first + size] * self.hum_level
        for phone, length, period, start in zip(phones, lengths, periods, starts, strict=True):
            sound = self.hisses[phone, start : start + length] * self.levels[phone]
            if SOUNDS[phone, 4]:
                cycle, later = self.pulses[phone, :period].copy(), self.pulses[phone, period : 2 * period]
                cycle[: len(later)] += later  # not died away when the next pulse comes
                sound += np.concatenate([cycle] * (length // len(cycle) + 1))[:length]
            sound[:ramp] *= self.ramp
            sound[-ramp:] *= self.ramp[::-1]
            clip[end : end + length] += sound
            end += length
        return np.clip(np.rint(clip), -32768, 32767).astype(np.int16)
