"""Made-up speech: voices that say made-up words in rooms.

A voice is a train of pulses, each answered by the three resonances of the vocal tract at that moment; consonants such
as s take pulses at random instead. A pulse and its answer are a short array that is added at the pulse's place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import numpy as np

T = TypeVar("T", bound="_Rows")

# Three resonances in Hz, their common bandwidth in Hz, whether voiced, level, seconds.
_PHONES = {
    " ": (500, 1500, 2500, 90, True, 0.0, 0.035),
    "a": (750, 1250, 2600, 80, True, 1.0, 0.105),
    "e": (480, 1850, 2550, 80, True, 1.0, 0.1),
    "i": (300, 2250, 3000, 70, True, 0.9, 0.1),
    "o": (480, 900, 2450, 80, True, 1.0, 0.105),
    "u": (320, 650, 2300, 70, True, 0.9, 0.1),
    "m": (240, 1000, 2100, 150, True, 0.5, 0.055),
    "n": (240, 1550, 2500, 150, True, 0.5, 0.055),
    "l": (360, 1100, 2800, 110, True, 0.6, 0.05),
    "s": (4300, 5300, 6500, 500, False, 0.35, 0.07),
    "f": (1500, 3200, 6800, 900, False, 0.2, 0.065),
    "k": (1700, 2400, 3800, 400, False, 0.5, 0.03),
}
_CODES = {phone: code for code, phone in enumerate(_PHONES)}
_TABLE = np.array(list(_PHONES.values()), np.float64)
_ANSWER = 0.012  # seconds after which a resonance has died away
_HISS = 500.0  # random pulses in a second of s, f, k
_ATTACK = 0.001  # seconds until the answer is at its full level
_LEVEL = 1000.0  # of an average voice, in units of 16-bit samples
_BLOCK = 24  # clips made at once, so that a block stays small


def vocabulary(count: int) -> tuple[str, ...]:
    """Words of two syllables, such as "kalu": always the same ones."""
    syllables = [consonant + vowel for consonant in "mnlsfk" for vowel in "aeiou"]
    chosen = np.random.default_rng(11).permutation(len(syllables) ** 2)[:count].tolist()
    return tuple(syllables[pair // len(syllables)] + syllables[pair % len(syllables)] for pair in chosen)


@dataclass(frozen=True)
class _Rows:
    """Arrays of one length, one row per clip."""

    def take(self: T, rows: np.ndarray) -> T:
        return type(self)(*(getattr(self, field.name)[rows] for field in fields(self)))


@dataclass(frozen=True)
class Voices(_Rows):
    """Who speaks: pitch in Hz, factor of the resonances (short tracts are high), share of breath, loss of level towards
    high frequencies (exponent), factor of durations."""

    pitch: np.ndarray
    tract: np.ndarray
    breath: np.ndarray
    slope: np.ndarray
    pace: np.ndarray

    def today(self, rng: np.random.Generator) -> Voices:
        """The same voices as they are from one clip to the next."""
        n = len(self.pitch)
        return replace(
            self,
            pitch=self.pitch * np.exp(rng.normal(0, 0.07, n)),
            tract=self.tract * np.exp(rng.normal(0, 0.012, n)),
            breath=np.clip(self.breath + rng.normal(0, 0.08, n), 0, 1),
            slope=self.slope + rng.normal(0, 0.06, n),
            pace=self.pace * np.exp(rng.normal(0, 0.06, n)),
        )


@dataclass(frozen=True)
class Rooms(_Rows):
    """Where and with what it is recorded: factor of the level, noise in units of 16-bit samples, its colour (0 white to
    3 dark), loss of level towards high frequencies (exponent)."""

    gain: np.ndarray
    noise: np.ndarray
    colour: np.ndarray
    slope: np.ndarray


def voices(rng: np.random.Generator, n: int) -> Voices:
    tract = rng.uniform(0.86, 1.18, n)
    return Voices(
        pitch=np.exp(rng.uniform(np.log(95), np.log(230), n)) * tract,
        tract=tract,
        breath=rng.uniform(0, 0.8, n),
        slope=rng.uniform(0.1, 0.7, n),
        pace=rng.uniform(0.88, 1.12, n),
    )


def rooms(rng: np.random.Generator, n: int, loudness: float = 1.0, noise: tuple[float, float] = (1.0, 8.0)) -> Rooms:
    return Rooms(
        gain=loudness * np.exp(rng.normal(0, 0.35, n)),
        noise=np.exp(rng.uniform(np.log(noise[0]), np.log(noise[1]), n)),
        colour=rng.integers(4, size=n),
        slope=rng.uniform(-0.15, 0.25, n),
    )


def clips(
    rng: np.random.Generator,
    rate: int,
    speakers: Voices,
    places: Rooms,
    sentences: Sequence[Sequence[str]],
    silence: tuple[float, float] = (0.02, 0.1),
) -> Iterator[np.ndarray]:
    """Each of `sentences` (lists of words) in the voice and room of its row: int16 samples at `rate` Hz. Before and
    after the words there are as many seconds of `silence`, from and to."""
    noise = _noises(rng)
    for start in range(0, len(sentences), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(sentences)))
        phones = [np.array([_CODES[c] for c in " ".join(sentences[row])], np.int64) for row in rows.tolist()]
        pauses = rng.uniform(*silence, (len(rows), 2))
        yield from _block(rng, rate, speakers.take(rows), places.take(rows), phones, pauses, noise)


def _block(
    rng: np.random.Generator,
    rate: int,
    speakers: Voices,
    places: Rooms,
    phones: list[np.ndarray],
    pauses: np.ndarray,
    noise: np.ndarray,
) -> Iterator[np.ndarray]:
    counts = np.array([len(one) for one in phones])
    clip, phone = np.repeat(np.arange(len(phones)), counts), np.concatenate(phones)
    seconds = _TABLE[phone, 6] * speakers.pace[clip] * np.exp(rng.normal(0, 0.12, len(phone)))
    ends = np.cumsum(seconds)
    first = np.concatenate([[0.0], ends])[np.concatenate([[0], np.cumsum(counts)[:-1]])]
    total = np.add.reduceat(seconds, np.cumsum(counts) - counts)
    lengths = ((total + pauses.sum(1)) * rate).astype(np.int64)
    offsets = np.cumsum(lengths) - lengths
    within = ends - seconds - first[clip]
    start = offsets[clip] / rate + pauses[clip, 0] + within

    # Pulses of the voice fall with the sentence; those of breath and of unvoiced phones come at random.
    voiced, level = _TABLE[phone, 4] > 0, _TABLE[phone, 5]
    pitch = speakers.pitch[clip] * (1.1 - 0.2 * within / total[clip]) * np.exp(rng.normal(0, 0.02, len(phone)))
    breath = np.where(voiced, speakers.breath[clip], 1.0)
    regular = np.where(voiced & (level > 0), seconds * pitch, 0).astype(np.int64)
    random = np.where(level > 0, seconds * _HISS * breath, 0).astype(np.int64)
    segment = np.repeat(np.arange(len(phone)), regular)
    number = np.arange(len(segment)) - np.repeat(np.cumsum(regular) - regular, regular)
    hissing = np.repeat(np.arange(len(phone)), random)
    place = np.concatenate([(number + 0.5) / pitch[segment] / seconds[segment], rng.random(len(hissing))])
    height = np.concatenate(
        [1 - 0.5 * speakers.breath[clip[segment]], rng.normal(0, 1, len(hissing)) * np.where(voiced, 0.3, 1.0)[hissing]]
    )
    segment = np.concatenate([segment, hissing])
    height = height * np.sqrt(np.sin(np.pi * np.clip(place, 0.02, 0.98)))

    answers = _answers(rng, rate, speakers, places, clip, phone)
    at = ((start[segment] + place * seconds[segment]) * rate).astype(np.int64)
    added = answers[segment] * height[:, None].astype(np.float32)
    index = at[:, None] + np.arange(answers.shape[1])
    size = int(lengths.sum())
    samples = np.bincount(index.ravel(), added.ravel(), minlength=size)[:size]
    for row, (begin, length) in enumerate(zip(offsets, lengths, strict=True)):
        shift = int(rng.integers(noise.shape[1] - length))
        hum = noise[places.colour[row], shift : shift + length] * places.noise[row]
        yield np.clip(np.rint(samples[begin : begin + length] + hum), -32768, 32767).astype(np.int16)


def _answers(
    rng: np.random.Generator, rate: int, speakers: Voices, places: Rooms, clip: np.ndarray, phone: np.ndarray
) -> np.ndarray:
    """What follows a pulse in every segment: float32 (segments, samples)."""
    resonances = _TABLE[phone, :3] * np.exp(rng.normal(0, 0.02, (len(phone), 3)))
    resonances = np.minimum(resonances * speakers.tract[clip, None], 0.46 * min(rate, 16_000))
    loss = np.where(_TABLE[phone, 4] > 0, speakers.slope[clip] + 0.8, 0) + places.slope[clip]
    heights = _LEVEL * (_TABLE[phone, 5] * places.gain[clip])[:, None] * (resonances / 500) ** -loss[:, None]
    times = np.arange(int(_ANSWER * rate), dtype=np.float32) / rate
    answers = np.zeros((len(phone), len(times)), np.float32)
    for column in range(3):
        angle = 2 * np.pi * resonances[:, column, None].astype(np.float32) * times
        answers += heights[:, column, None].astype(np.float32) * np.sin(angle)
    fade = np.sin(np.pi / 2 * np.minimum(times / _ATTACK, 1)) ** 2 * np.cos(np.pi / 2 * times / _ANSWER) ** 2
    return answers * np.exp(-np.pi * _TABLE[phone, 3, None].astype(np.float32) * times) * fade


def _noises(rng: np.random.Generator, size: int = 1 << 18) -> np.ndarray:
    """Noise of deviation 1 in four colours, (4, size) float32."""
    spectrum = np.fft.rfft(rng.standard_normal((4, size)))
    frequency = np.maximum(np.arange(spectrum.shape[1]), size / 200)
    noise = np.fft.irfft(spectrum * frequency ** -np.linspace(0, 0.9, 4)[:, None], size)
    return (noise / noise.std(1, keepdims=True)).astype(np.float32)
