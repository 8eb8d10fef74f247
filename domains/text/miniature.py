"""A small made-up copy of WikiText-103 and GLUE, as parquet files with the hub's columns, and a tokenizer for them.

All of it says facts in the English of `dabs_rq.miniature.facts`; WikiText has what the tasks ask about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from dabs_rq.domains.text.wikitext103 import CONFIG
from dabs_rq.miniature import facts, tokenizer
from dabs_rq.miniature.facts import ALWAYS, ENGLISH, NAMES, OFTEN, QUESTIONS, Fact, chance, pick, some, words
from dabs_rq.miniature.writers import Rng, generator, run, write_table

LINES = {"train": 2_150, "validation": 150}  # that are not blank, at least
ROWS = {"train": 1_080, "validation": 324}  # of of every task but WNLI, which has its real size
HEADINGS = words("History Description Background Career Production Legacy Reception Reception")
PRAISE = words("wonderful excellent lovely brilliant charming superb graceful clever honest warm elegant witty moving")
BLAME = words("terrible awful ugly dreadful boring horrible dull clumsy nasty gloomy rotten cruel hollow bland silly")
LIKED, DISLIKED = words("love enjoy cherish welcome"), words("dislike hate resent reject")
WORKS = words("film story plot score script novel performance acting dialogue scene ending album drama comedy")
# Openings of sentences: CoLA's, then by genre those of MNLI's training set and those of its mismatched test.
OPENINGS = ("people said that", "to be honest ,", "of course", "it has been said that")
MATCHED = ("once upon a time", "the office reports that", "yeah , i guess", "travellers know that", "as we say ,")
MISMATCHED = ("uh huh , and", "the inquiry found that", "dear friend ,", "in this chapter ,", "as the saying goes ,")
# (kind, sentence, conclusion about the right one): {0} and {1} are two people, or two things.
WINOGRAD = (
    ("who", "the {0} thanked the {1} for being so {2} .", ("grateful", "helpful")),
    ("who", "the {0} envied the {1} because of being so {2} .", ("poor", "rich")),
    ("who", "the {0} followed the {1} , who was {2} .", ("lost", "certain")),
    ("what", "the {0} did not fit into the {1} because it was too {2} .", ("large", "small")),
    ("what", "the {0} was hidden behind the {1} because it was so {2} .", ("valuable", "tall")),
    ("what", "the {0} hit the {1} and it was {2} .", ("moving", "broken")),
)
Row = tuple[str | int | float, ...]  # texts, then the label, numbered as on the hub
Maker = Callable[[Rng], list[Row]]


def write(root: Path, seed: int, processes: int = 1) -> None:
    """Write the whole miniature below `root`, the same bytes for the same seed: 4,000 lines, 12,000 rows of tasks."""
    texts = run([(_wikitext, root, seed, split) for split in LINES], processes)
    run([(_task, root, seed, config) for config in TASKS], processes)
    tokenizer.train(root, "bert-base-uncased", texts[0], 1_500)


def _wikitext(root: Path, seed: int, split: str) -> list[str]:
    """Write the lines of whole articles, blank ones as "", and return them."""
    rng, lines = generator(seed, "wikitext", split), list[str]()
    while sum(map(bool, lines)) < LINES[split]:
        lines += _article(rng)
    write_table(root / "text" / "wikitext" / CONFIG / f"{split}.parquet", {"text": lines})
    return lines


def _article(rng: Rng) -> Iterator[str]:
    """An article on a topic: title, a paragraph, two or three sections. Blank lines around headings."""
    fact, good = ENGLISH.draw(rng), chance(rng, 0.5)
    person, thing, place = (pick(rng, ENGLISH.words[part][fact.topic])[0] for part in ("who", "what", "where"))
    title = pick(rng, (pick(rng, NAMES), f"The Last {person}".title(), f"{pick(rng, NAMES)} {place}".title()))
    openings = (
        f"{title} ( born {rng.integers(1850, 1990)} ) was {facts.article(person)} well @-@ known {person} .",
        f"the {place} had 1 @,@ {rng.integers(100, 999)} people , each with 2 @.@ 5 {facts.plural(thing)} .",
        f"who was {title} ? {facts.article(person)} {person} from the {place} .",
    )
    yield from ("", f" = {title} = \n", "", _line([pick(rng, openings), *_story(rng, fact)]))
    for heading in some(rng, HEADINGS, int(rng.integers(2, 4))):
        yield from ("", f" = = {heading} = = \n", "")
        for _ in range(rng.integers(2, 5)):
            fact = ENGLISH.vary(rng, fact, *ALWAYS)
            reviews = [_review(rng, good) for _ in range(rng.integers(1, 3))]
            yield _line(reviews if heading == "Reception" else _story(rng, fact))
    yield ""


def _story(rng: Rng, fact: Fact) -> list[str]:
    """One to three sentences on the same people; rare names are <unk>, as rare words are."""
    told = []
    for _ in range(rng.integers(1, 4)):
        kind, sentence = rng.integers(10), ENGLISH.tell(rng, fact._replace(negated=chance(rng, 0.2)), free=0.25)
        said = f"{pick(rng, (*NAMES, '<unk>'))} said that", pick(rng, OPENINGS + MATCHED + MISMATCHED)
        before = (*said, facts.ask(rng, fact, pick(rng, QUESTIONS)), _winograd(rng)[0], *[""] * 6)[kind]
        told.append(f"{before} {sentence}".strip())
        fact = ENGLISH.vary(rng, fact, *some(rng, (*ALWAYS[1:], "where", "when", "what_like"), int(rng.integers(1, 4))))
    return told


def _line(sentences: list[str]) -> str:
    """As in the real files: a space before and after, capitals at the beginnings, the line's end kept."""
    return f" {' '.join(one[0].upper() + one[1:] for one in sentences)} \n"


def _task(root: Path, seed: int, config: str) -> None:
    """Write the tables of a config. No first text of a test is one of its training set, but in WNLI."""
    rng, seen, (columns, maker) = generator(seed, config), set[str](), TASKS[config]
    splits = {"mnli": ("train",), "mnli_matched": ("validation",), "mnli_mismatched": ("validation",)}
    sizes = {split: ROWS[split] for split in splits.get(config, ROWS)}
    tables = _wnli(rng) if maker is None else {split: _rows(rng, maker, n, seen) for split, n in sizes.items()}
    for split, rows in tables.items():
        *texts, labels = zip(*rows, strict=True)
        table = {name: pa.array(column) for name, column in zip(columns, texts, strict=True)}
        table["label"] = pa.array(labels, pa.float32() if config == "stsb" else pa.int64())
        table["idx"] = pa.array(range(len(rows)), pa.int32())
        write_table(root / "text" / "glue" / config / f"{split}.parquet", table)


def _rows(rng: Rng, maker: Maker, count: int, seen: set[str]) -> list[Row]:
    """`count` rows in any order, none of whose first texts is in `seen`, to which they are added."""
    found: list[Row] = []
    while len(found) < count:
        if (first := str((rows := maker(rng))[0][0])) not in seen:
            seen.add(first)
            found += rows
    return [found[i] for i in rng.permutation(count)]


def _cola(rng: Rng) -> list[Row]:
    """Label 1 (70 %): acceptable. Else a form, an order or a number of words is wrong."""
    good, how, fact = chance(rng, 0.7), facts.wording(rng), ENGLISH.draw(rng)._replace(negated=chance(rng, 0.2))
    found = ENGLISH.phrases(fact, how)
    if not good:
        verb, base, role = found["verb"], ENGLISH.word(fact, "verb", how), pick(rng, ("subject", "object"))
        spoilt: tuple[dict[str, list[str]], ...] = (
            {"verb": [{"was": "were", "did": "does"}.get(verb[0], f"was {base}"), *verb[1:]]},
            {"verb": [pick(rng, ("be", "been", "did", "does")), facts.past(base)]},
            *({role: found[role][::-1]}, {role: found[role][:-1]}),
            {"verb": [*verb, pick(rng, ("of", "to", "that", "the"))]},
            {"subject": verb, "verb": found["subject"]},
        )
        found |= pick(rng, spoilt)
    return [(f"{pick(rng, OPENINGS + ('',) * 4)} {ENGLISH.arrange(found, how.front)}".strip(), int(good))]


def _review(rng: Rng, good: bool) -> str:
    """A sentence that praises a work, or blames it. In half of them some words say the contrary."""
    own, contrary = (some(rng, PRAISE if mood else BLAME, 2) for mood in (good, not good))
    (work, part), felt = some(rng, WORKS, 2), pick(rng, LIKED if good else DISLIKED)
    reviews = (
        f"the {work} is {pick(rng, ('very', 'truly', 'rather', 'quite'))} {own[0]} and {own[1]} .",
        f"{facts.article(own[0])} {own[0]} {work} with {facts.article(own[1])} {own[1]} {part} .",
        f"critics {felt} the {own[0]} {work} and its {part} .",
        f"although the {part} is {contrary[0]} , this {work} is {own[0]} and {own[1]} .",
        f"the {work} is not {contrary[0]} , and the {part} is never {contrary[1]} .",
        f"nobody called the {part} {contrary[0]} , and the {work} is {own[0]} .",
    )
    return pick(rng, reviews)


def _mnli(rng: Rng, openings: tuple[str, ...]) -> list[Row]:
    """A premise with a hypothesis of each label: 0 entailment, 1 neutral, 2 contradiction."""
    fact = ENGLISH.draw(rng)._replace(negated=chance(rng, 0.15))
    premise = f"{pick(rng, openings)} {ENGLISH.tell(rng, fact)}"
    return [(premise, hypothesis, label) for label, hypothesis in enumerate(_hypotheses(rng, fact))]


def _rte(rng: Rng) -> list[Row]:
    """Label 0: the second text follows from the first, which says two things. 1: it does not."""
    fact, label = ENGLISH.draw(rng, said=0.3)._replace(negated=chance(rng, 0.2)), pick(rng, (0, 1))
    told = [ENGLISH.tell(rng, said) for said in (fact, ENGLISH.vary(rng, fact, "verb", "what"))]
    follows, *not_follows = _hypotheses(rng, fact)
    return [(" ".join(some(rng, told, 2)), pick(rng, not_follows) if label else follows, label)]


def _hypotheses(rng: Rng, fact: Fact) -> list[str]:
    """What follows from a fact, what may be, and what cannot be."""
    short = fact.without(*(part for part in fact.said if chance(rng, 0.5)))
    safe = fact if fact.negated else short  # less follows from a denial
    unsaid = [part for part in OFTEN if part not in fact.said]
    added = [pick(rng, unsaid)] if unsaid and chance(rng, 0.7) else ["verb", "what"]
    cannot = safe._replace(negated=not fact.negated)
    if not fact.negated and short.said and chance(rng, 0.4):
        cannot = ENGLISH.vary(rng, short, pick(rng, short.said))
    return [ENGLISH.tell(rng, one) for one in (safe, ENGLISH.vary(rng, short, *added), cannot)]


def _qqp(rng: Rng) -> list[Row]:
    """Label 1 (37 %): the same question in other words."""
    fact, about, same = ENGLISH.draw(rng, said=0.4), pick(rng, QUESTIONS), chance(rng, 0.37)
    topical, asked = ENGLISH.draw(rng, fact.topic, said=0.4), pick(rng, [one for one in QUESTIONS if one != about])
    new = ((topical, about), (fact, asked))
    other = (fact, about) if same else pick(rng, (*new, (ENGLISH.vary(rng, fact, *some(rng, ALWAYS, 2)), about)))
    return [(facts.ask(rng, fact, about), facts.ask(rng, *other), int(same))]


def _qnli(rng: Rng) -> list[Row]:
    """Label 0: the sentence answers the question. 1: it does not."""
    about, fact, label = pick(rng, ("where", "when", "who", "what")), ENGLISH.draw(rng), pick(rng, (0, 1))
    fact = ENGLISH.vary(rng, fact, about) if about in OFTEN else fact
    question, told = facts.ask(rng, fact, about), fact
    if label and about in OFTEN and chance(rng, 0.4):
        told = fact.without(about)
    elif label:
        told = ENGLISH.vary(rng, fact, "verb", "who" if about == "what" else "what", *fact.said[:1])
    return [(question, ENGLISH.tell(rng, told, other=0.3), label)]


def _similar(rng: Rng, graded: bool) -> list[Row]:
    """Label 1 (two thirds): the same in other words. 0: something else of the same people or things. If `graded`, a
    score from 0 (nothing but the topic is shared) to 5 (all is), as people would give it."""
    fact = ENGLISH.draw(rng)
    parts = [*ALWAYS, *fact.said]
    label: float = 0 if graded else int(chance(rng, 0.67))
    count = int(rng.integers(len(parts) + 1)) if graded else 0 if label else pick(rng, (1, 2, 3))
    changed = some(rng, parts, count)
    if graded:
        label = round(float(np.clip(5 * (1 - count / len(parts)) + rng.uniform(-0.7, 0.7), 0, 5)), 1)
    return [(ENGLISH.tell(rng, fact), ENGLISH.tell(rng, ENGLISH.vary(rng, fact, *changed)), label)]


def _wnli(rng: Rng) -> dict[str, list[Row]]:
    """Label 1: the second names the right one. As in the real task, the test has training sentences' other answers."""
    told = [(*_winograd(rng), pick(rng, (0, 1))) for _ in range(635)]
    again = [(text, answers, 1 - label) for text, answers, label in some(rng, told, 71)]
    splits: list[list[Row]] = [[(text, said[1 - label], label) for text, said, label in rows] for rows in (told, again)]
    return dict(zip(("train", "validation"), splits, strict=True))


def _winograd(rng: Rng) -> tuple[str, tuple[str, str]]:
    """A sentence, and what it says of the right and of the wrong one."""
    kind, form, said = pick(rng, WINOGRAD)
    names, right = [pick(rng, both) for both in some(rng, pick(rng, ENGLISH.words[kind]), 2)], pick(rng, (0, 1))
    names[0] = f"{pick(rng, ENGLISH.words[f'{kind}_like'][0])[0]} {names[0]}"
    first, second = (f"the {names[number]} was {said[right]} ." for number in (right, 1 - right))
    return form.format(*names, said[right]), (first, second)


ONE, PAIR, MNLI = ("sentence",), ("sentence1", "sentence2"), ("premise", "hypothesis")
TASKS: dict[str, tuple[tuple[str, ...], Maker | None]] = {  # of every config: its columns, and what makes its rows
    "cola": (ONE, _cola),
    "sst2": (ONE, lambda rng: [(_review(rng, good := chance(rng, 0.55)), int(good))]),  # 1: praise
    **dict.fromkeys(("mnli", "mnli_matched"), (MNLI, partial(_mnli, openings=MATCHED))),
    "mnli_mismatched": (MNLI, partial(_mnli, openings=MISMATCHED)),
    "mrpc": (PAIR, partial(_similar, graded=False)),
    "rte": (PAIR, _rte),
    "stsb": (PAIR, partial(_similar, graded=True)),
    "wnli": (PAIR, None),
    "qqp": (("question1", "question2"), _qqp),
    "qnli": (("question", "sentence"), _qnli),
}
