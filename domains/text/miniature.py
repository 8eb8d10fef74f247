"""A small made-up copy of WikiText-103 and GLUE, as parquet files with the hub's columns, and a tokenizer for them.

All of it says facts in the English of `dabs_rq.miniature.facts`. A paragraph of WikiText keeps to a topic and mostly to
a person, its words of praise or blame to a mood; synonyms come in the same places. So what belongs together, which is
what the tasks ask about, can be learned from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from dabs_rq.miniature import tokenizer
from dabs_rq.miniature.facts import ENGLISH, KINDS, OFTEN, PARTS, QUESTIONS, TOPICS, Fact, article, ask
from dabs_rq.miniature.facts import chance, past, pick, plural, some, wording
from dabs_rq.miniature.writers import generator, run, write_table
from domains.text.wikitext103 import CONFIG

LINES = {"train": 2_150, "validation": 150}  # that are not blank, at least
TRAIN, TEST = 1_080, 324  # of every task but WNLI, which has its real size
WNLI = (635, 71)
VOCABULARY = 1_500
HEADINGS = ("History", "Description", "Background", "Career", "Production", "Legacy", "Reception", "Reception")
PRAISE = (
    "wonderful excellent lovely brilliant charming delightful superb pleasant graceful splendid joyful gentle clever "
    "honest fresh warm elegant witty moving inspired vivid rewarding sincere thrilling"
).split()
BLAME = (
    "terrible awful ugly dreadful boring horrible dull clumsy bitter nasty gloomy rotten cruel hollow tedious weak "
    "bland silly lifeless confused shallow annoying pointless messy"
).split()
LIKED, DISLIKED = ("love", "enjoy", "cherish", "welcome"), ("dislike", "hate", "resent", "reject")
WORKS = "film story plot score script novel performance acting dialogue scene ending album drama comedy".split()
FIRST_NAMES = "Clara Oscar Edith Hugo Martha Walter Agnes Felix Rosa Victor Helen Arthur Irene Edmund Julia".split()
LAST_NAMES = "Holm Becker Lund Varga Moreau Kerr Dalton Frost Quinn Abbott Stone Marsh Hale Winter Cross Reed".split()
# Openings of sentences: CoLA's, then by genre those of MNLI's training set and those of its mismatched test.
OPENINGS = ("people said that", "to be honest ,", "of course", "it has been said that")
MATCHED = ("once upon a time", "the office reports that", "yeah , i guess", "travellers know that", "as we say ,")
MISMATCHED = ("uh huh , and", "the inquiry found that", "dear friend ,", "in this chapter ,", "as the saying goes ,")
# (kind, sentence, what is said of the right one): {0} and {1} are two people, or two things.
WINOGRAD = (
    ("who", "the {0} could not lift the {1} because of being too {2} .", ("weak", "heavy")),
    ("who", "the {0} thanked the {1} for being so {2} .", ("grateful", "helpful")),
    ("who", "the {0} envied the {1} because of being so {2} .", ("poor", "rich")),
    ("who", "the {0} followed the {1} , who was {2} .", ("lost", "certain")),
    ("what", "the {0} did not fit into the {1} because it was too {2} .", ("large", "small")),
    ("what", "the {0} was put on the {1} because it was so {2} .", ("light", "heavy")),
    ("what", "the {0} was hidden behind the {1} because it was so {2} .", ("valuable", "tall")),
    ("what", "the {0} hit the {1} and it was {2} .", ("moving", "broken")),
)
Row = tuple[str | int | float, ...]  # texts, then the label, numbered as on the hub


def write(root: Path, seed: int, processes: int = 1) -> None:
    """Write the whole miniature below `root`, the same bytes for the same seed: 4,000 lines, 12,000 rows of tasks."""
    texts = run([partial(_wikitext, root, seed, split) for split in LINES], processes)
    run([partial(_task, root, seed, config) for config in COLUMNS], processes)
    tokenizer.train(root, "bert-base-uncased", texts[0], VOCABULARY)


# ---- WikiText ------------------------------------------------------------------------------------------------------


def _wikitext(root: Path, seed: int, split: str) -> list[str]:
    """Write the lines of whole articles, blank ones as "", and return them."""
    rng, lines = generator(seed, "wikitext", split), [""][:0]
    while sum(map(bool, lines)) < LINES[split]:
        lines += _article(rng)
    write_table(root / "text" / "wikitext" / CONFIG / f"{split}.parquet", {"text": lines})
    return lines


def _article(rng: np.random.Generator) -> Iterator[str]:
    """An article on a topic: title, a paragraph or two, two or three sections. Blank lines around headings."""
    fact, good = ENGLISH.draw(rng), chance(rng, 0.5)
    name = f"{pick(rng, FIRST_NAMES)} {pick(rng, LAST_NAMES)}"
    person, place = (pick(rng, ENGLISH.words[part][fact.topic])[0] for part in ("who", "where"))
    title = pick(rng, (name, f"The Last {person}".title(), f"{pick(rng, LAST_NAMES)} {place}".title()))
    topic, kind = TOPICS[fact.topic][0], pick(rng, list(KINDS.values()))
    opening = pick(
        rng,
        (
            f"{title} ( born {rng.integers(1850, 1990)} ) was {article(person)} {person} from the {place} .",
            f"{title} was a well @-@ known {kind} of {topic} , kept in the {place} .",
            f"the {place} had 1 @,@ {rng.integers(100, 999)} {plural(person)} , each with 2 @.@ 5 {plural(kind)} .",
            f"who was {title} ? {article(person)} {person} of {topic} .",
        ),
    )
    yield from ("", f" = {title} = \n", "", _line([opening, *_story(rng, fact, name)]))
    for heading in some(rng, HEADINGS, int(rng.integers(2, 4))):
        yield from ("", f" = = {heading} = = \n", "")
        for _ in range(rng.integers(2, 5)):
            fact = ENGLISH.vary(rng, fact, "who", "verb", "what")
            reviews = [_review(rng, good) for _ in range(rng.integers(1, 3))]
            yield _line(reviews if heading == "Reception" else _story(rng, fact, name))
    yield ""


def _story(rng: np.random.Generator, fact: Fact, name: str) -> list[str]:
    """One to three sentences on the same people; rare names are <unk>, as rare words are."""
    told = []
    for _ in range(rng.integers(1, 4)):
        general = ("who", "what") if chance(rng, 0.1) else ()
        negated = fact._replace(negated=chance(rng, 0.1))
        sentence = ENGLISH.tell(rng, negated, free=0.25, now=chance(rng, 0.25), general=general)
        kind = rng.integers(20)
        if kind == 0:
            sentence = f"{name if chance(rng, 0.7) else '<unk>'} said that {sentence}"
        elif kind == 1:
            sentence = f"{pick(rng, OPENINGS + MATCHED + MISMATCHED)} {sentence}"
        elif kind == 2:
            sentence = f"{ask(rng, fact, pick(rng, tuple(QUESTIONS)))} {sentence}"
        elif kind == 3:
            sentence = _winograd(rng)[0]
        told.append(sentence)
        fact = ENGLISH.vary(rng, fact, *some(rng, ("verb", "what", "where", "when", "what_like"), rng.integers(1, 4)))
    return told


def _line(sentences: list[str]) -> str:
    """As in the real files: a space before and after, capitals at the beginnings, the line's end kept."""
    return f" {' '.join(one[0].upper() + one[1:] for one in sentences)} \n"


# ---- GLUE ----------------------------------------------------------------------------------------------------------

PAIR = ("sentence1", "sentence2")
COLUMNS = {
    **dict.fromkeys(("cola", "sst2"), ("sentence",)),
    **dict.fromkeys(("mnli", "mnli_matched", "mnli_mismatched"), ("premise", "hypothesis")),
    **{"qnli": ("question", "sentence"), "qqp": ("question1", "question2")},
    **dict.fromkeys(("mrpc", "rte", "stsb", "wnli"), PAIR),
}


def _task(root: Path, seed: int, config: str) -> None:
    """Write the tables of a config. No first text of a test is one of its training set, but in WNLI."""
    rng, seen = generator(seed, config), set[str]()
    sizes = {"train": TRAIN, "validation": TEST}
    if config.startswith("mnli"):  # of which the two mnli_* are the tests
        sizes.pop("train" if config != "mnli" else "validation")
    rows = {split: _rows(rng, MAKERS[config], count, seen) for split, count in sizes.items() if config != "wnli"}
    for split, listed in (rows or _wnli(rng)).items():
        *texts, labels = zip(*listed, strict=True)
        table = {name: pa.array(column) for name, column in zip(COLUMNS[config], texts, strict=True)}
        table["label"] = pa.array(labels, pa.float32() if config == "stsb" else pa.int64())
        table["idx"] = pa.array(range(len(listed)), pa.int32())
        write_table(root / "text" / "glue" / config / f"{split}.parquet", table)


def _rows(
    rng: np.random.Generator, maker: Callable[[np.random.Generator], list[Row]], count: int, seen: set[str]
) -> list[Row]:
    """`count` rows in any order, none of whose first texts is in `seen`, to which they are added."""
    found: list[Row] = []
    while len(found) < count:
        rows = maker(rng)
        if (first := str(rows[0][0])) not in seen:
            seen.add(first)
            found += rows
    return [found[i] for i in rng.permutation(count)]


def _cola(rng: np.random.Generator) -> list[Row]:
    """Label 1 (70 %): acceptable. Else an agreement, a form, an order or a number of words is wrong."""
    good, how = chance(rng, 0.7), wording(rng, now=chance(rng, 0.5))
    fact = ENGLISH.draw(rng)._replace(negated=chance(rng, 0.2))
    found = ENGLISH.phrases(fact, how)
    if not good:
        _spoil(rng, fact, found)
    opening = pick(rng, (*OPENINGS, *[""] * len(OPENINGS)))
    return [(f"{opening} {ENGLISH.join(ENGLISH.arrange(found, how.front))}".strip(), int(good))]


def _spoil(rng: np.random.Generator, fact: Fact, found: dict[str, list[str]]) -> None:
    verb, both = found["verb"], ENGLISH.words["verb"][fact.topic][fact.verb]
    base = next(word for word in both if {word, past(word), plural(word)} & set(verb))
    kind, role = rng.integers(6), pick(rng, ("subject", "object"))
    if kind == 0:  # agreement, where it shows; else the form
        wrong = {"was": "were", "is": "are", "do": "does", "does": "do", "did": "does"}
        wrong |= {base: plural(base), plural(base): base}
        found["verb"] = [wrong.get(verb[0], f"was {base}"), *verb[1:]]
    elif kind == 1:  # the form
        found["verb"] = [pick(rng, ("be", "been", "did", "does")), past(base)]
    elif kind == 2:  # the order of a phrase
        found[role] = found[role][::-1]
    elif kind == 3:  # a noun or the verb is missing
        role = pick(rng, (role, "verb"))
        found[role] = found[role][:-1]
    elif kind == 4:  # a word too many
        found["verb"] = [*verb, pick(rng, ("of", "to", "that", "the"))]
    else:  # the order of the phrases
        found["subject"], found["verb"] = verb, found["subject"]


def _sst2(rng: np.random.Generator) -> list[Row]:
    """Label 1: praise. 0: blame."""
    good = chance(rng, 0.55)
    return [(_review(rng, good), int(good))]


def _review(rng: np.random.Generator, good: bool) -> str:
    """A sentence that praises a work, or blames it. In half of them some words say the contrary."""
    own, contrary = (some(rng, PRAISE if mood else BLAME, 2) for mood in (good, not good))
    work, part, another = some(rng, WORKS, 3)
    felt, not_felt = pick(rng, LIKED if good else DISLIKED), pick(rng, DISLIKED if good else LIKED)
    return pick(
        rng,
        (
            f"the {work} is {pick(rng, ('very', 'truly', 'rather', 'quite'))} {own[0]} and {own[1]} .",
            f"{article(own[0])} {own[0]} {work} with {article(own[1])} {own[1]} {part} .",
            f"critics {felt} the {own[0]} {work} and its {part} .",
            f"this {part} is well known and the {work} feels {own[0]} .",
            f"although the {part} is {contrary[0]} , this {work} is {own[0]} and {own[1]} .",
            f"i {not_felt} the {contrary[0]} {part} , but the {work} is {own[0]} and its {another} {own[1]} .",
            f"the {work} is not {contrary[0]} , and the {part} is never {contrary[1]} .",
            f"nobody called the {part} {contrary[0]} , and the {another} is {own[0]} .",
        ),
    )


def _mnli(rng: np.random.Generator, openings: tuple[str, ...]) -> list[Row]:
    """A premise with a hypothesis of each label: 0 entailment, 1 neutral, 2 contradiction."""
    fact = ENGLISH.draw(rng)._replace(negated=chance(rng, 0.15))
    premise = f"{pick(rng, openings)} {ENGLISH.tell(rng, fact)}"
    return [(premise, hypothesis, label) for label, hypothesis in enumerate(_hypotheses(rng, fact))]


def _rte(rng: np.random.Generator) -> list[Row]:
    """Label 0: the second text follows from the first, which says two things. 1: it does not."""
    fact = ENGLISH.draw(rng, said=0.3)._replace(negated=chance(rng, 0.2))
    told = [ENGLISH.tell(rng, said) for said in (fact, ENGLISH.vary(rng, fact, "verb", "what"))]
    label = int(rng.integers(2))
    follows, *not_follows = _hypotheses(rng, fact)
    return [(" ".join(some(rng, told, 2)), pick(rng, not_follows) if label else follows, label)]


def _hypotheses(rng: np.random.Generator, fact: Fact) -> tuple[str, str, str]:
    """What follows from a fact, what may be, and what cannot be."""
    short = fact.without(*(part for part in fact.said if chance(rng, 0.5)))
    general = tuple(part for part in ("who", "what") if chance(rng, 0.25) and not fact.negated)
    follows = ENGLISH.tell(rng, fact if fact.negated else short, general=general)  # less follows from a denial
    unsaid = [part for part in OFTEN if part not in fact.said]
    added = [pick(rng, unsaid)] if unsaid and chance(rng, 0.7) else ["verb", "what"]
    may_be = ENGLISH.tell(rng, ENGLISH.vary(rng, short, *added))
    if fact.negated or not short.said or chance(rng, 0.6):
        cannot = (fact if fact.negated else short)._replace(negated=not fact.negated)
    else:
        cannot = ENGLISH.vary(rng, short, pick(rng, short.said))
    return follows, may_be, ENGLISH.tell(rng, cannot)


def _mrpc(rng: np.random.Generator) -> list[Row]:
    """Label 1 (two thirds): the same in other words. 0: something else of the same people or things."""
    fact, same = ENGLISH.draw(rng), chance(rng, 0.67)
    changed = some(rng, [*PARTS[:3], *fact.said], int(rng.integers(1, 4)))
    other = fact if same else ENGLISH.vary(rng, fact, *changed)
    return [(ENGLISH.tell(rng, fact), ENGLISH.tell(rng, other), int(same))]


def _qqp(rng: np.random.Generator) -> list[Row]:
    """Label 1 (37 %): the same question in other words."""
    fact, about, same = ENGLISH.draw(rng, said=0.4), pick(rng, tuple(QUESTIONS)), chance(rng, 0.37)
    other, other_about = fact, about
    if not same and chance(rng, 0.5):
        other = ENGLISH.draw(rng, fact.topic, said=0.4)
    elif not same and chance(rng, 0.5):
        other_about = pick(rng, [one for one in QUESTIONS if one != about])
    elif not same:
        other = ENGLISH.vary(rng, fact, *some(rng, PARTS[:3], 2))
    return [(ask(rng, fact, about), ask(rng, other, other_about), int(same))]


def _qnli(rng: np.random.Generator) -> list[Row]:
    """Label 0: the sentence answers the question. 1: it does not."""
    about, fact = pick(rng, ("where", "when", "who", "what")), ENGLISH.draw(rng)
    if about in OFTEN:
        fact = ENGLISH.vary(rng, fact, about)
    question, label, told = ask(rng, fact, about), int(rng.integers(2)), fact
    if label and about in OFTEN and chance(rng, 0.4):
        told = fact.without(about)
    elif label:
        told = ENGLISH.vary(rng, fact, "verb", "who" if about == "what" else "what", *fact.said[:1])
    return [(question, ENGLISH.tell(rng, told, other=0.3), label)]


def _stsb(rng: np.random.Generator) -> list[Row]:
    """A score from 0 (nothing but the topic is shared) to 5 (all is), as people would give it."""
    fact = ENGLISH.draw(rng)
    parts = [*PARTS[:3], *fact.said]
    changed = some(rng, parts, int(rng.integers(len(parts) + 1)))
    score = 5 * (1 - len(changed) / len(parts)) + rng.uniform(-0.7, 0.7)
    other = ENGLISH.vary(rng, fact, *changed)
    return [(ENGLISH.tell(rng, fact), ENGLISH.tell(rng, other), round(float(np.clip(score, 0, 5)), 1))]


def _wnli(rng: np.random.Generator) -> dict[str, list[Row]]:
    """Who is meant? Label 1: the second sentence names the right one.

    As in the real task, the test has sentences of the training set with the other answer: remembering misleads.
    """
    train, test = WNLI
    told = [(*_winograd(rng), int(rng.integers(2))) for _ in range(train)]
    again = [told[i] for i in rng.permutation(train)[:test]]
    return {
        "train": [(text, answers[1 - label], label) for text, answers, label in told],
        "validation": [(text, answers[label], 1 - label) for text, answers, label in again],
    }


def _winograd(rng: np.random.Generator) -> tuple[str, tuple[str, str]]:
    """A sentence, and what it says of the right and of the wrong one."""
    kind, form, said = pick(rng, WINOGRAD)
    nouns = [pick(rng, words) for words in pick(rng, ENGLISH.words[kind])]
    first, second = some(rng, nouns, 2)
    like = pick(rng, [pick(rng, words) for words in ENGLISH.words[f"{kind}_like"]] + [""])
    names, right = (f"{like} {first}".strip(), second), int(rng.integers(2))
    answers = [f"the {names[number]} was {said[right]} ." for number in (right, 1 - right)]
    return form.format(*names, said[right]), (answers[0], answers[1])


MAKERS: dict[str, Callable[[np.random.Generator], list[Row]]] = {
    "cola": _cola,
    "sst2": _sst2,
    "mnli": partial(_mnli, openings=MATCHED),
    "mnli_matched": partial(_mnli, openings=MATCHED),
    "mnli_mismatched": partial(_mnli, openings=MISMATCHED),
    "mrpc": _mrpc,
    "qqp": _qqp,
    "qnli": _qnli,
    "rte": _rte,
    "stsb": _stsb,
    "wnli": lambda rng: [],
}
