"""The made-up English: facts, and the ways to say them, to ask about them and to praise or blame a work.

A fact is what a sentence says, apart from its words: two sentences of the same fact are paraphrases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from domains.text import miniature_words as words
from domains.text.miniature_words import KINDS, OF_PEOPLE, OF_THINGS, SAME, TIMES, TOPICS, past, plural

T = TypeVar("T")
UNSAID = -1
# What `vary` can change. The first four are always said, the others may be left out.
PARTS = ("who", "verb", "what", "many", "who_like", "what_like", "where", "when")


@dataclass(frozen=True)
class Fact:
    """Somebody of a topic did something to a thing. Numbers count the topic's words, or TIMES; attributes are words."""

    topic: int
    who: int
    verb: int
    what: int
    many: bool  # several people
    who_like: str = ""
    what_like: str = ""
    where: int = UNSAID
    when: int = UNSAID
    negated: bool = False

    @property
    def said(self) -> list[str]:
        """The parts that may be left out and are not."""
        return [part for part in PARTS[4:] if getattr(self, part) not in ("", UNSAID)]


@dataclass(frozen=True)
class Wording:
    """How a fact is said. other: the chance of a word's synonym. free: the chance of the passive, and of a place or
    time in front. now: present instead of past tense. general: parts said by their kind only ("an animal")."""

    other: float = 0.5
    free: float = 0.4
    now: bool = False
    general: tuple[str, ...] = ()


def pick(rng: np.random.Generator, among: Sequence[T]) -> T:
    return among[int(rng.integers(len(among)))]


def chance(rng: np.random.Generator, probability: float) -> bool:
    return bool(rng.random() < probability)


# ---- facts ---------------------------------------------------------------------------------------------------------


def draw(rng: np.random.Generator, topic: int | None = None, said: float = 0.5) -> Fact:
    """A fact of a topic, or of any. said: the chance of each part that may be left out."""
    chosen = int(rng.integers(len(TOPICS))) if topic is None else topic
    fact = Fact(chosen, who=0, verb=0, what=0, many=chance(rng, 0.3))
    return vary(rng, fact, "who", "verb", "what", *(part for part in PARTS[4:] if chance(rng, said)))


def vary(rng: np.random.Generator, fact: Fact, *parts: str) -> Fact:
    """The fact with another value of each of `parts`, of the same topic: near the old one, and never true with it."""
    topic = TOPICS[fact.topic]
    counts = {"who": topic.people, "verb": topic.verbs, "what": topic.things, "where": topic.places, "when": TIMES}
    for part in parts:
        old = getattr(fact, part)
        new: Any
        if part == "many":
            new = not old
        elif part in counts:
            new = pick(rng, [n for n in range(len(counts[part])) if n != old])
        else:
            groups = OF_PEOPLE if part == "who_like" else OF_THINGS
            group = next((group for group in groups if old in group), None) or pick(rng, groups)
            new = pick(rng, [word for word in group if word != old])
        fact = replace(fact, **{part: new})
    return fact


def without(fact: Fact, *parts: str) -> Fact:
    """The fact with `parts` unsaid."""
    unsaid: dict[str, Any] = {part: "" if part.endswith("_like") else UNSAID for part in parts}
    return replace(fact, **unsaid)


# ---- sentences -----------------------------------------------------------------------------------------------------


def tell(rng: np.random.Generator, fact: Fact, wording: Wording | None = None) -> str:
    """A sentence that says the fact, in lower case, words separated by spaces."""
    wording = wording or Wording()
    return f"{' '.join(arrange(rng, phrases(rng, fact, wording), wording.free))} ."


def phrases(rng: np.random.Generator, fact: Fact, wording: Wording) -> dict[str, list[str]]:
    """The phrases of a sentence by their role, in the usual order: subject, verb, object, where, when."""
    topic = TOPICS[fact.topic]
    verb = _either(rng, topic.verbs[fact.verb], wording.other)
    who, what = _noun(rng, fact, "who", wording), _noun(rng, fact, "what", wording)
    if chance(rng, wording.free):
        be = "is" if wording.now else "was"  # things come one at a time
        found = {"subject": what, "verb": [be, *_not(fact), past(verb)], "object": ["by", *who]}
    elif fact.negated:
        do = ("do" if fact.many else "does") if wording.now else "did"
        found = {"subject": who, "verb": [do, "not", verb], "object": what}
    else:
        form = (verb if fact.many else plural(verb)) if wording.now else past(verb)
        found = {"subject": who, "verb": [form], "object": what}
    if fact.where != UNSAID:
        found["where"] = ["in", "the", _either(rng, topic.places[fact.where], wording.other)]
    if fact.when != UNSAID:
        found["when"] = TIMES[fact.when].split()
    return found


def arrange(rng: np.random.Generator, found: dict[str, list[str]], free: float) -> list[str]:
    """The words of the phrases, with a place or time in front now and then."""
    order = list(found)
    if len(order) > 3 and chance(rng, free):
        front = pick(rng, order[3:])
        order.remove(front)
        return [*found[front], ",", *(word for role in order for word in found[role])]
    return [word for role in order for word in found[role]]


def ask(rng: np.random.Generator, fact: Fact, about: str, other: float = 0.5) -> str:
    """A question about a part of the fact ("where", "when", "who", "what") or about its "why" or "how"."""
    wording = Wording(other=other, free=0)
    found = phrases(rng, replace(fact, negated=False), wording)
    subject, thing = " ".join(found["subject"]), " ".join(found["object"])
    verb = _either(rng, TOPICS[fact.topic].verbs[fact.verb], other)
    rest = " ".join(" ".join(found[role]) for role in ("where", "when") if role in found and role != about)
    start = pick(rng, QUESTIONS[about])
    if about == "who":
        return f"{start} {past(verb)} {thing} {rest} ?".replace("  ", " ")
    middle = f"{start} did {subject} {verb} {'' if about == 'what' else thing}"
    return f"{middle} {rest} ?".replace("   ", " ").replace("  ", " ")


QUESTIONS = {
    "where": ("where", "in which place"),
    "when": ("when", "at what time"),
    "who": ("who", "which person"),
    "what": ("what", "which thing"),
    "why": ("why", "for what reason"),
    "how": ("how", "in what way"),
}


def article(word: str) -> str:
    return "an" if word == "honest" or (word[0] in "aeiou" and not word.startswith("uni")) else "a"


def _not(fact: Fact) -> list[str]:
    return ["not"] if fact.negated else []


def _either(rng: np.random.Generator, pair: tuple[str, str], other: float) -> str:
    return pair[int(chance(rng, other))]


def _noun(rng: np.random.Generator, fact: Fact, part: str, wording: Wording) -> list[str]:
    """The phrase for who or what: article, attribute, noun."""
    topic = TOPICS[fact.topic]
    if part == "who":
        noun, like, many = _either(rng, topic.people[fact.who], wording.other), fact.who_like, fact.many
        kind = "people"
    else:
        noun, like, many = topic.things[fact.what], fact.what_like, False
        kind = "animals" if noun in topic.animals else "objects"
    if part in wording.general:
        noun = pick(rng, KINDS[kind])
    if like in SAME and chance(rng, wording.other):
        like = SAME[like]
    said = [*([like] if like else []), plural(noun) if many else noun]
    return [pick(rng, ("the", "some" if many else article(said[0]))), *said]


# ---- praise and blame ----------------------------------------------------------------------------------------------


def review(rng: np.random.Generator, good: bool) -> str:
    """A sentence that praises a work, or blames it. In half of them some words say the contrary."""
    own, contrary = (_judgements(rng, mood) for mood in (good, not good))
    work, of_it, another = rng.permutation(words.WORKS)[:3]
    the = pick(rng, ("the", "this"))
    forms = (
        f"{the} {work} is {pick(rng, ('very', 'truly', 'rather', 'quite'))} {own[0]} and {own[1]} .",
        f"{article(own[0])} {own[0]} {work} with {article(own[1])} {own[1]} {of_it} .",
        f"critics {own[3]} the {own[0]} {work} and its {of_it} .",
        f"the {of_it} is {own[2]} done and {the} {work} feels {own[0]} .",
        f"although the {of_it} is {contrary[0]} , {the} {work} is {own[0]} and {own[1]} .",
        f"i {contrary[3]} the {contrary[0]} {of_it} , but {the} {work} is {own[0]} and its {another} {own[1]} .",
        f"{the} {work} is not {contrary[0]} , and the {of_it} is never {contrary[1]} .",
        f"nobody called the {of_it} {contrary[0]} , and the {another} is {own[0]} .",
    )
    return pick(rng, forms)


def _judgements(rng: np.random.Generator, good: bool) -> tuple[str, str, str, str]:
    """Two adjectives, an adverb and a verb of one mood."""
    first, second = rng.permutation(words.PRAISE if good else words.BLAME)[:2]
    adverb = pick(rng, words.GLADLY if good else words.SADLY)
    return str(first), str(second), adverb, pick(rng, words.LIKE if good else words.DISLIKE)
