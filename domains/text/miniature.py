"""A small made-up copy of WikiText-103 and GLUE, as parquet files with the hub's columns, and a tokenizer for them.

All of it is said in the one made-up English of `miniature_grammar`. A paragraph of WikiText keeps to a topic and mostly
to a person, its words of praise or blame to a mood; synonyms come in the same places. So what belongs together, which
is what the tasks ask about, can be learned from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from dabs_rq.miniature import tokenizer as small_tokenizer
from domains.text import miniature_tasks as tasks
from domains.text.miniature_grammar import (
    QUESTIONS,
    Fact,
    Wording,
    article,
    ask,
    chance,
    draw,
    pick,
    review,
    tell,
    vary,
)
from domains.text.miniature_words import FIRST_NAMES, KINDS, LAST_NAMES, OF_PEOPLE, OF_THINGS, TOPICS, plural
from domains.text.wikitext103 import CONFIG

LINES = {"train": 2_150, "validation": 150}  # that are not blank, at least
TRAIN, TEST = 1_080, 324  # of every task but WNLI, which has its real size
WNLI = (635, 71)
VOCABULARY = 1_500
SECTIONS = ("History", "Description", "Background", "Life", "Career", "Production", "Legacy", "Style")
RECEPTION = "Reception"


def write(root: Path, seed: int) -> None:
    """Write the whole miniature below `root`, the same bytes for the same seed: 4,000 lines, 12,000 rows of tasks."""
    rng = np.random.default_rng([seed, 0])
    lines = {split: _lines(rng, at_least) for split, at_least in LINES.items()}
    for split, texts in lines.items():
        _save(root / "text" / "wikitext" / CONFIG / f"{split}.parquet", pa.table({"text": texts}))
    small_tokenizer.train(root, "bert-base-uncased", lines["train"], VOCABULARY)
    seen: set[str] = set()
    for number, config in enumerate(tasks.MAKERS, 1):
        rng = np.random.default_rng([seed, number])
        if not config.startswith("mnli_"):
            _save_task(root, config, "train", tasks.rows(rng, config, TRAIN, seen))
        if config != "mnli":  # of which the two mnli_* are the tests
            _save_task(root, config, "validation", tasks.rows(rng, config, TEST, seen))
    both = tasks.wnli(np.random.default_rng([seed, len(tasks.MAKERS) + 1]), *WNLI)
    for split, rows in zip(("train", "validation"), both, strict=True):
        _save_task(root, "wnli", split, rows)


def _save_task(root: Path, config: str, split: str, rows: list[tasks.Row]) -> None:
    *texts, labels = zip(*rows, strict=True)
    made = {name: pa.array(column) for name, column in zip(tasks.columns(config), texts, strict=True)}
    made["label"] = pa.array(labels, pa.float32() if config == "stsb" else pa.int64())
    made["idx"] = pa.array(range(len(rows)), pa.int32())
    _save(root / "text" / "glue" / config / f"{split}.parquet", pa.table(made))


def _save(file: Path, table: pa.Table) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, file)


# ---- WikiText ------------------------------------------------------------------------------------------------------


def _lines(rng: np.random.Generator, at_least: int) -> list[str]:
    """The lines of whole articles, blank ones as ""."""
    lines: list[str] = []
    while sum(map(bool, lines)) < at_least:
        lines += _article(rng)
    return lines


def _article(rng: np.random.Generator) -> Iterator[str]:
    """An article on a topic: title, a paragraph or two, two or three sections. Blank lines around headings."""
    topic = int(rng.integers(len(TOPICS)))
    name = f"{pick(rng, FIRST_NAMES)} {pick(rng, LAST_NAMES)}"
    work = f"The {pick(rng, [w for group in OF_THINGS for w in group])} {pick(rng, TOPICS[topic].things)}".title()
    title = pick(rng, (name, work, f"{pick(rng, LAST_NAMES)} {pick(rng, TOPICS[topic].places)[0]}".title()))
    fact, good = draw(rng, topic), chance(rng, 0.5)
    yield from ("", f" = {title} = \n", "")
    yield _line([_opening(rng, fact, title), *_story(rng, fact, name)])
    headings = rng.permutation([*SECTIONS, RECEPTION, RECEPTION])[: rng.integers(2, 4)]
    for heading in headings:
        yield from ("", f" = = {heading} = = \n", "")
        for _ in range(rng.integers(2, 5)):
            fact = vary(rng, fact, "who", "verb", "what")
            if heading == RECEPTION:
                yield _line([review(rng, good) for _ in range(rng.integers(1, 3))])
            else:
                yield _line(_story(rng, fact, name))
    yield ""


def _opening(rng: np.random.Generator, fact: Fact, title: str) -> str:
    topic = TOPICS[fact.topic]
    like, thing, place = pick(rng, OF_PEOPLE[0]), topic.things[fact.what], pick(rng, pick(rng, topic.places))
    kind = pick(rng, KINDS["animals" if thing in topic.animals else "objects"])
    person = pick(rng, topic.people[fact.who])
    return pick(
        rng,
        (
            f"{title} ( born {rng.integers(1850, 1990)} ) was {article(like)} {like} {person} from the {place} .",
            f"{title} was a well @-@ known {person} and {pick(rng, KINDS['people'])} of {topic.name} .",
            f"the {thing} is {article(kind)} {kind} of {topic.name} , kept in the {place} .",
            f"the {place} had 1 @,@ {rng.integers(100, 999)} {plural(person)} , each with 2 @.@ 5 {plural(thing)} .",
            f"who was {title} ? {article(person).title()} {person} of {topic.name} .",
        ),
    )


def _story(rng: np.random.Generator, fact: Fact, name: str) -> list[str]:
    """One to three sentences on the same people; rare names are <unk>, as rare words are."""
    told = []
    for _ in range(rng.integers(1, 4)):
        general = ("who", "what") if chance(rng, 0.1) else ()
        wording = Wording(free=0.25, now=chance(rng, 0.25), general=general)
        sentence = tell(rng, replace(fact, negated=chance(rng, 0.1)), wording)
        kind = rng.integers(20)
        if kind == 0:
            sentence = f"{name if chance(rng, 0.7) else '<unk>'} said that {sentence}"
        elif kind == 1:
            sentence = f"{pick(rng, tasks.OPENINGS + tasks.MATCHED + tasks.MISMATCHED)} {sentence}"
        elif kind == 2:
            sentence = f"{ask(rng, fact, pick(rng, tuple(QUESTIONS)))} {sentence}"
        elif kind == 3:
            sentence = tasks.winograd(rng)[0]
        told.append(sentence)
        fact = vary(rng, fact, *rng.permutation(("verb", "what", "where", "when", "what_like"))[: rng.integers(1, 4)])
    return told


def _line(sentences: list[str]) -> str:
    """As in the real files: a space before and after, capitals at the beginnings, the line's end kept."""
    return f" {' '.join(one[0].upper() + one[1:] for one in sentences)} \n"
