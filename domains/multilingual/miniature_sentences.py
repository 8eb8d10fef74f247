"""Made-up sentences from a space of facts, said in seven made-up languages.

A fact is who did what to whom, where and when, and how the two are. Every language has words of its own for the same
concepts, two for each (a common and a rarer one), its own order of words and its own script; personal names and years
are the same in all. `wording` is what a language is free to choose: words, order, active or passive voice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

KINDS = {"person": 12, "verb": 10, "place": 8, "time": 6, "quality": 8}  # concepts of each kind
TOPICS = 4  # persons, verbs and places of a topic occur together
NAMES = ("Marlo", "Tessa", "Oduya", "Brandt", "Ilse", "Quint")
YEARS = tuple(range(1908, 2008, 7))
NONE = -1
SAID = 0.6  # how often a quality, a place or a time is said
RARE = 0.25  # how often the rarer word of a concept is used


class Someone(NamedTuple):
    """A person by concept, or by name from len(concepts) on; a quality (`NONE`: not said)."""

    who: int
    quality: int


@dataclass(frozen=True)
class Fact:
    """`time` is a concept, or a year from len(concepts) on; place and time may be `NONE`: not said."""

    agent: Someone
    verb: int
    patient: Someone
    place: int
    time: int


@dataclass(frozen=True)
class Wording:
    """rare: whether the rarer word is used for agent, its quality, verb, patient, its quality, place, time."""

    rare: tuple[bool, ...]
    passive: bool
    time_first: bool
    place_first: bool


@dataclass(frozen=True)
class Language:
    """words: (common, rarer) of every concept, by kind."""

    name: str
    words: dict[str, list[tuple[str, str]]]


Order = Callable[[str, str, str, str, str, Wording], str]  # agent, verb, patient, place, time ("": not said)


# ---- words ---------------------------------------------------------------------------------------------------------

_SYLLABLES = {
    "en": ("b br ch d f g h k l m n p r s sh st t th w", "a e i o u ea oo", "n r l t ck sh m"),
    "fr": ("b c ch d f j l m n p r s t v gr pl", "a é è ê i o ou eu au", "r l x ç t n"),
    "de": ("b d f g h k l m n r s sch st t w z", "a ä e i o ö u ü ei au", "n r l ß cht ng t"),
    "es": ("b c d f g j l ll m n ñ p r s t v", "a á e é i í o ó u", "s r l n z d"),
}
_HAN = (
    "山水木火土金石田竹米花草林森海江河湖雨雪风云星月日光天春夏秋冬东西南北高长短大小白黑红青黄马牛羊犬鸟鱼虫龙虎"
    "门户车舟刀弓衣食书笔心手足目耳口力言声音色香味道路里市村"
)
_KANA = (
    "あいうえおかきくけこさしすせそたちつてとなぬねのひふほまみむめもやゆよらりるろわ"
    "アイウカキクケコサシタチトナニマミラリルロン"
)
_HANGUL = (
    "가나다라마바사아자차하거너더러머버서어저고노도로모보소오조구누두루무부수우주기니디리미비시이지강산문물불별솔꽃"
)


def languages(rng: np.random.Generator) -> dict[str, Language]:
    """The seven languages, with words by `rng`; no word occurs twice in a language."""
    made = {}
    for name in _ORDERS:
        used: set[str] = set()
        words = {
            kind: [(_new_word(rng, name, used), _new_word(rng, name, used)) for _ in range(count)]
            for kind, count in KINDS.items()
        }
        made[name] = Language(name, words)
    return made


def _new_word(rng: np.random.Generator, language: str, used: set[str]) -> str:
    while True:
        word = _word(rng, language)
        if word not in used:
            used.add(word)
            return word


def _word(rng: np.random.Generator, language: str) -> str:
    if language in _SYLLABLES:
        onsets, vowels, codas = (part.split() for part in _SYLLABLES[language])
        return "".join(rng.choice(part) for part in (onsets, vowels, onsets, vowels, codas))
    letters, low, high = {"zh": (_HAN, 2, 2), "ja": (_KANA, 2, 3), "ko": (_HANGUL, 2, 2)}[language]
    return "".join(rng.choice(list(letters), rng.integers(low, high + 1)))


# ---- facts and wordings --------------------------------------------------------------------------------------------


def fact(rng: np.random.Generator, topic: int | None = None) -> Fact:
    """A fact at random; agent and patient are different people, mostly of one topic."""
    topic = int(rng.integers(TOPICS)) if topic is None else topic
    agent = _someone(rng, topic)
    patient = _someone(rng, topic)
    while patient.who == agent.who:
        patient = _someone(rng, topic)
    time = NONE
    if rng.random() < SAID:
        time = int(rng.integers(KINDS["time"] + len(YEARS)))
    place = _of_topic(rng, "place", topic) if rng.random() < SAID else NONE
    return Fact(agent, _of_topic(rng, "verb", topic), patient, place, time)


def _someone(rng: np.random.Generator, topic: int) -> Someone:
    if rng.random() < 0.2:
        return Someone(KINDS["person"] + int(rng.integers(len(NAMES))), NONE)
    quality = int(rng.integers(KINDS["quality"])) if rng.random() < SAID else NONE
    return Someone(_of_topic(rng, "person", topic), quality)


def _of_topic(rng: np.random.Generator, kind: str, topic: int) -> int:
    """A concept of a kind: four times in five of the topic."""
    if rng.random() < 0.2:
        return int(rng.integers(KINDS[kind]))
    return int(rng.choice(np.arange(topic, KINDS[kind], TOPICS)))


def wording(rng: np.random.Generator) -> Wording:
    """A wording at random."""
    rare = tuple((rng.random(7) < RARE).tolist())
    return Wording(rare, bool(rng.random() < 0.2), bool(rng.random() < 0.3), bool(rng.random() < 0.2))


def reworded(rng: np.random.Generator, before: Wording, words: float, order: float) -> Wording:
    """Another word for each concept with probability `words`; voice and order changed with `order` each."""
    rare = tuple(bool(old ^ (rng.random() < words)) for old in before.rare)
    passive, time_first, place_first = rng.random(3) < order
    return Wording(
        rare,
        before.passive ^ bool(passive),
        before.time_first ^ bool(time_first),
        before.place_first ^ bool(place_first),
    )


def roles_swapped(rng: np.random.Generator, said: Fact) -> Fact:
    """The same words in other roles: agent and patient, their qualities, or both."""
    a, b = said.agent, said.patient
    ways = [(b, a)]
    if a.quality != b.quality and max(a.who, b.who) < KINDS["person"]:
        ways += [
            (Someone(b.who, a.quality), Someone(a.who, b.quality)),
            (Someone(a.who, b.quality), Someone(b.who, a.quality)),
        ]
    agent, patient = ways[int(rng.integers(len(ways)))]
    return replace(said, agent=agent, patient=patient)


def another_fact(rng: np.random.Generator, said: Fact) -> Fact:
    """The same but for one or two things that are said."""
    changed = said
    for _ in range(int(rng.integers(1, 3))):
        new = fact(rng)
        ways = [
            replace(changed, verb=new.verb),
            replace(changed, agent=new.agent),
            replace(changed, patient=new.patient),
        ]
        if said.place != NONE:
            ways.append(
                replace(changed, place=(said.place + 1 + int(rng.integers(KINDS["place"] - 1))) % KINDS["place"])
            )
        if said.time != NONE:
            times = KINDS["time"] + len(YEARS)
            ways.append(replace(changed, time=(said.time + 1 + int(rng.integers(times - 1))) % times))
        changed = ways[int(rng.integers(len(ways)))]
    same_people = changed.agent.who == changed.patient.who
    return another_fact(rng, said) if changed == said or same_people else changed


# ---- sentences -----------------------------------------------------------------------------------------------------


def sentence(language: Language, said: Fact, how: Wording) -> str:
    """The fact as that language words it."""
    agent_rare, agent_quality, verb_rare, patient_rare, patient_quality, place_rare, time_rare = how.rare
    words, name = language.words, language.name

    def someone(one: Someone, rare: bool, quality_rare: bool) -> str:
        if one.who >= KINDS["person"]:
            return NAMES[one.who - KINDS["person"]]
        noun = words["person"][one.who][rare]
        if one.quality == NONE:
            return noun
        quality = words["quality"][one.quality][quality_rare]
        return {
            "fr": f"{noun} {quality}",
            "es": f"{noun} {quality}",
            "zh": f"{quality}的{noun}",
            "ja": f"{quality}い{noun}",
        }.get(name, f"{quality} {noun}")

    time = ""
    if said.time >= KINDS["time"]:
        time = str(YEARS[said.time - KINDS["time"]])
    elif said.time != NONE:
        time = words["time"][said.time][time_rare]
    return _ORDERS[name](
        someone(said.agent, agent_rare, agent_quality),
        words["verb"][said.verb][verb_rare],
        someone(said.patient, patient_rare, patient_quality),
        "" if said.place == NONE else words["place"][said.place][place_rare],
        time,
        how,
    )


def _verb_second(a: str, v: str, b: str, place: str, time: str, how: Wording) -> str:
    where, when = place and f"bei {place}", time and f"um {time}"
    first = when if how.time_first else where if how.place_first else ""
    rest = [one for one in (where, when) if one and one != first]
    if how.passive:
        middle = ["wird", b, "von", a] if first else [b, "wird", "von", a]
        parts = [first, *middle, *rest, f"ge{v}"]
    else:
        parts = [first, f"{v}t", a, b, *rest] if first else [a, f"{v}t", b, *rest]
    return _joined(parts)


def _verb_middle(at: str, on: str, active: str, passive: str, by: str) -> Order:
    def order(a: str, v: str, b: str, place: str, time: str, how: Wording) -> str:
        where, when = place and f"{at} {place}", time and f"{on} {time}"
        core = f"{b} {passive.format(v)} {by} {a}" if how.passive else f"{a} {active.format(v)} {b}"
        before = [one for one, first in ((when, how.time_first), (where, how.place_first)) if one and first]
        after = [one for one in (where, when) if one and one not in before]
        return _joined([*before, core, *after])

    return order


def _chinese(a: str, v: str, b: str, place: str, time: str, how: Wording) -> str:
    where = place and f"在{place}"
    core = f"{b}{{}}被{a}{v}了" if how.passive else f"{a}{{}}{v}了{b}"
    inside = ("" if how.time_first else time) + ("" if how.place_first else where)
    return (time if how.time_first else "") + (where if how.place_first else "") + core.format(inside) + "。"


def _verb_last(to: str, at: str, subject: str, thing: str, active: str, passive: str, between: str) -> Order:
    def order(a: str, v: str, b: str, place: str, time: str, how: Wording) -> str:
        where, when = place and f"{place}{at}", time and f"{time}{to}"
        who = [f"{b}{subject}", f"{a}{to}"] if how.passive else [f"{a}{subject}", f"{b}{thing}"]
        before = [one for one, first in ((when, how.time_first), (where, how.place_first)) if one and first]
        after = [one for one in (where, when) if one and one not in before]
        parts = [*before, who[0], *after, who[1], v + (passive if how.passive else active)]
        return between.join(parts) + ("。" if between == "" else ".")

    return order


def _joined(parts: list[str]) -> str:
    return " ".join(part for part in parts if part) + "."


_ORDERS: dict[str, Order] = {
    "en": _verb_middle("at", "in", "{}s", "is {}ed", "by"),
    "fr": _verb_middle("à", "en", "{}e", "est {}é", "par"),
    "de": _verb_second,
    "zh": _chinese,
    "es": _verb_middle("en", "el", "{}a", "es {}ado", "por"),
    "ja": _verb_last("に", "で", "は", "を", "る", "られる", ""),
    "ko": _verb_last("에", "에서", "는", "를", "다", "된다", " "),
}
