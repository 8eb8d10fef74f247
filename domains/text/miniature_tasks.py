"""The made-up GLUE: what each task asks of facts, sentences and reviews.

Every maker gives one example or, for MNLI, one of each label; texts first, then the label, numbered as on the hub.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from domains.text.miniature_grammar import (
    PARTS,
    QUESTIONS,
    Fact,
    Wording,
    arrange,
    ask,
    chance,
    draw,
    phrases,
    pick,
    review,
    tell,
    vary,
    without,
)
from domains.text.miniature_words import OF_PEOPLE, OF_THINGS, TOPICS, past, plural

Row = tuple[str | int | float, ...]
Maker = Callable[[np.random.Generator], list[Row]]

# Openings of sentences: CoLA's, then by genre those of MNLI's training set and those of its mismatched test.
OPENINGS = ("people said that", "to be honest ,", "of course", "it has been said that")
MATCHED = (
    "once upon a time",
    "the office reports that",
    "yeah , i guess",
    "travellers know that",
    "as the magazine says ,",
)
MISMATCHED = ("uh huh , and", "the inquiry found that", "dear friend ,", "in this chapter ,", "as the saying goes ,")
# (sentence, what is said of the right one): {0} and {1} are two people, or two things.
WINOGRAD = (
    ("people", "the {0} could not lift the {1} because of being too {2} .", ("weak", "heavy")),
    ("people", "the {0} thanked the {1} for being so {2} .", ("grateful", "helpful")),
    ("people", "the {0} envied the {1} because of being so {2} .", ("poor", "rich")),
    ("people", "the {0} followed the {1} , who was {2} .", ("lost", "certain")),
    ("things", "the {0} did not fit into the {1} because it was too {2} .", ("large", "small")),
    ("things", "the {0} was put on the {1} because it was so {2} .", ("light", "heavy")),
    ("things", "the {0} was hidden behind the {1} because it was so {2} .", ("valuable", "tall")),
    ("things", "the {0} hit the {1} and it was {2} .", ("moving", "broken")),
)


def cola(rng: np.random.Generator) -> list[Row]:
    """Label 1 (70 %): acceptable. Else an agreement, a form, an order or a number of words is wrong."""
    good = chance(rng, 0.7)
    fact, wording = draw(rng), Wording(now=chance(rng, 0.5))
    fact = replace(fact, negated=chance(rng, 0.2))
    found = phrases(rng, fact, wording)
    if not good:
        _spoil(rng, fact, found)
    opening = pick(rng, (*OPENINGS, *[""] * len(OPENINGS)))
    return [(f"{opening} {' '.join(arrange(rng, found, wording.free))} .".strip(), int(good))]


def _spoil(rng: np.random.Generator, fact: Fact, found: dict[str, list[str]]) -> None:
    verb, both = found["verb"], TOPICS[fact.topic].verbs[fact.verb]
    base = next(one for one in both if {one, past(one), plural(one)} & set(verb))
    kind = rng.integers(6)
    if kind == 0:  # agreement, where it shows; else the form
        wrong = {"was": "were", "is": "are", "do": "does", "does": "do", "did": "does"}
        wrong |= {base: plural(base), plural(base): base}
        found["verb"] = [wrong.get(verb[0], f"was {base}"), *verb[1:]]
    elif kind == 1:  # the form
        found["verb"] = [pick(rng, ("be", "been", "did", "does")), past(base)]
    elif kind == 2:  # the order of a phrase
        role = pick(rng, ("subject", "object"))
        found[role] = found[role][::-1]
    elif kind == 3:  # a noun or the verb is missing
        role = pick(rng, ("subject", "object", "verb"))
        found[role] = found[role][:-1]
    elif kind == 4:  # a word too many
        found["verb"] = [*verb, pick(rng, ("of", "to", "that", "the"))]
    else:  # the order of the phrases
        found["subject"], found["verb"] = verb, found["subject"]


def sst2(rng: np.random.Generator) -> list[Row]:
    """Label 1: praise. 0: blame."""
    good = chance(rng, 0.55)
    return [(review(rng, good), int(good))]


def mnli(rng: np.random.Generator, openings: tuple[str, ...]) -> list[Row]:
    """A premise with a hypothesis of each label: 0 entailment, 1 neutral, 2 contradiction."""
    fact = replace(draw(rng), negated=chance(rng, 0.15))
    premise = f"{pick(rng, openings)} {tell(rng, fact)}"
    return [(premise, hypothesis, label) for label, hypothesis in enumerate(_hypotheses(rng, fact))]


def rte(rng: np.random.Generator) -> list[Row]:
    """Label 0: the second text follows from the first, which says two things. 1: it does not."""
    fact = replace(draw(rng, said=0.3), negated=chance(rng, 0.2))
    other = vary(rng, fact, "verb", "what")
    told = [tell(rng, one) for one in (fact, other)]
    label = int(rng.integers(2))
    follows, *not_follows = _hypotheses(rng, fact)
    return [(" ".join(rng.permutation(told)), pick(rng, not_follows) if label else follows, label)]


def _hypotheses(rng: np.random.Generator, fact: Fact) -> tuple[str, str, str]:
    """What follows from a fact, what may be, and what cannot be."""
    short = without(fact, *(part for part in fact.said if chance(rng, 0.5)))
    general = tuple(part for part in ("who", "what") if chance(rng, 0.25) and not fact.negated)
    follows = tell(rng, fact if fact.negated else short, Wording(general=general))  # less follows from a denial
    unsaid = [part for part in PARTS[4:] if part not in fact.said]
    added = [pick(rng, unsaid)] if unsaid and chance(rng, 0.7) else ["verb", "what"]
    may_be = tell(rng, vary(rng, short, *added))
    if fact.negated or not short.said or chance(rng, 0.6):
        cannot = replace(fact if fact.negated else short, negated=not fact.negated)
    else:
        cannot = vary(rng, short, pick(rng, short.said))
    return follows, may_be, tell(rng, cannot)


def mrpc(rng: np.random.Generator) -> list[Row]:
    """Label 1 (two thirds): the same in other words. 0: something else of the same people or things."""
    fact, same = draw(rng), chance(rng, 0.67)
    changed = list(rng.permutation([*PARTS[:3], *fact.said]))[: rng.integers(1, 4)]
    return [(tell(rng, fact), tell(rng, fact if same else vary(rng, fact, *changed)), int(same))]


def qqp(rng: np.random.Generator) -> list[Row]:
    """Label 1 (37 %): the same question in other words."""
    fact, about, same = draw(rng, said=0.4), pick(rng, tuple(QUESTIONS)), chance(rng, 0.37)
    other, other_about = fact, about
    if not same and chance(rng, 0.3):
        other = draw(rng, fact.topic, said=0.4)
    elif not same and chance(rng, 0.5):
        other_about = pick(rng, [one for one in QUESTIONS if one != about])
    elif not same:
        other = vary(rng, fact, *rng.permutation(PARTS[:3])[:2])
    return [(ask(rng, fact, about, other=0.3), ask(rng, other, other_about, other=0.3), int(same))]


def qnli(rng: np.random.Generator) -> list[Row]:
    """Label 0: the sentence answers the question. 1: it does not."""
    about = pick(rng, ("where", "when", "who", "what"))
    fact = draw(rng)
    if about in ("where", "when"):
        fact = vary(rng, fact, about)
    question, label = ask(rng, fact, about, other=0.3), int(rng.integers(2))
    if not label:
        told = fact
    elif about in ("where", "when") and chance(rng, 0.4):
        told = without(fact, about)
    else:
        told = vary(rng, fact, "verb", "who" if about == "what" else "what", *fact.said[:1])
    return [(question, tell(rng, told, Wording(other=0.3)), label)]


def stsb(rng: np.random.Generator) -> list[Row]:
    """A score from 0 (nothing but the topic is shared) to 5 (all is), as people would give it."""
    fact = draw(rng)
    parts = [*PARTS[:3], *fact.said]
    changed = rng.permutation(parts)[: rng.integers(len(parts) + 1)]
    score = 5 * (1 - len(changed) / len(parts)) + rng.normal(0, 0.4)
    return [(tell(rng, fact), tell(rng, vary(rng, fact, *changed)), round(float(np.clip(score, 0, 5)), 1))]


MAKERS: dict[str, Maker] = {
    "cola": cola,
    "sst2": sst2,
    "mnli": partial(mnli, openings=MATCHED),
    "mnli_matched": partial(mnli, openings=MATCHED),
    "mnli_mismatched": partial(mnli, openings=MISMATCHED),
    "mrpc": mrpc,
    "qqp": qqp,
    "qnli": qnli,
    "rte": rte,
    "stsb": stsb,
}


def rows(rng: np.random.Generator, config: str, count: int, seen: set[str]) -> list[Row]:
    """`count` examples of a config in random order, none of a first text in `seen`, to which theirs are added."""
    found: list[Row] = []
    while len(found) < count:
        made = MAKERS[config](rng)
        if (first := str(made[0][0])) not in seen:
            seen.add(first)
            found += made
    return [found[i] for i in rng.permutation(count)]


def wnli(rng: np.random.Generator, train: int, test: int) -> tuple[list[Row], list[Row]]:
    """Who is meant? Label 1: the second sentence names the right one.

    As in the real task, the test has sentences of the training set with the other answer: remembering misleads.
    """
    told = [winograd(rng) for _ in range(train)]
    right = [int(rng.integers(2)) for _ in told]
    trained: list[Row] = [(text, answers[1 - label], label) for (text, answers), label in zip(told, right, strict=True)]
    again = rng.permutation(train)[:test]
    return trained, [(told[i][0], told[i][1][right[i]], 1 - right[i]) for i in again]


def winograd(rng: np.random.Generator) -> tuple[str, tuple[str, str]]:
    """A sentence, and what it says of the right and of the wrong one."""
    kind, form, said = pick(rng, WINOGRAD)
    topic = pick(rng, TOPICS)
    nouns = [one for pair in topic.people for one in pair] if kind == "people" else list(topic.things)
    first, second = rng.permutation(nouns)[:2]
    groups = OF_PEOPLE[:2] if kind == "people" else OF_THINGS[2:4]
    like = pick(rng, [word for group in groups for word in group] + [""])
    names = (f"{like} {first}".strip(), str(second))
    right = int(rng.integers(2))
    answers = [f"the {names[one]} was {said[right]} ." for one in (right, 1 - right)]
    return form.format(*names, said[right]), (answers[0], answers[1])


def columns(config: str) -> Iterator[str]:
    """The hub's names of the texts of a config."""
    if config in ("cola", "sst2"):
        yield "sentence"
    elif config.startswith("mnli"):
        yield from ("premise", "hypothesis")
    elif config == "qnli":
        yield from ("question", "sentence")
    else:
        yield from ("question1", "question2") if config == "qqp" else ("sentence1", "sentence2")
