"""A small made-up copy of mC4 and PAWS-X in their native layouts, and a tokenizer for them.

Both say facts in the seven made-up languages of `dabs_rq.miniature.facts`. A PAWS-X pair of label 1 says one twice.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from dabs_rq.miniature import tokenizer
from dabs_rq.miniature.facts import ALWAYS, Fact, Language, Wording, chance, made_up, pick, some, wording
from dabs_rq.miniature.writers import Rng, generator, run, write_table

TEXTS = {"train": 300, "validation": 20}  # of each language
PAIRS = {"train": 1050, "validation": 320, "test": 320}
Pair = tuple[tuple[Fact, Wording], tuple[Fact, Wording]]


def write(root: Path, seed: int, processes: int = 1) -> None:
    """Write the whole miniature below `root`, the same bytes for the same seed."""
    languages = made_up(generator(seed, "words")).values()
    texts = run([(_mc4, root / "text" / "mc4", seed, language) for language in languages], processes)
    pairs = {split: _pairs(generator(seed, split), next(iter(languages)), count) for split, count in PAIRS.items()}
    run([(_paws_x, root / "text" / "paws-x", seed, language, pairs) for language in languages], processes)
    tokenizer.train(root, "xlm-roberta-base", [text for part in texts for text in part], 4000)


def _mc4(folder: Path, seed: int, language: Language) -> list[str]:
    """Write a language's texts and return those of the training split."""
    rng = generator(seed, "mc4", language.name)
    texts = {split: [_text(language, rng) for _ in range(count)] for split, count in TEXTS.items()}
    for split, said in texts.items():
        days = rng.integers(1, 29, len(said))
        times = [f"2020-{1 + row % 12:02d}-{day:02d}T12:00:00Z" for row, day in enumerate(days)]
        urls = [f"https://{language.name}.example.org/{split}/{row}" for row in range(len(said))]
        table = {"text": said, "timestamp": times, "url": urls}
        write_table(folder / language.name / f"{split}.parquet", table, len(said) // 2)
    return texts["train"]


def _text(language: Language, rng: Rng) -> str:
    fact, how = language.draw(rng, said=0.4), wording(rng, 0.25, 0.25)
    sentences = [language.sentence(fact, how)]
    for _ in range(int(rng.integers(3))):
        again = chance(rng, 0.4)
        fact = fact if again else language.draw(rng, fact.topic, said=0.4)
        how = wording(rng, 0.35, 0.3, how) if again else wording(rng, 0.25, 0.25)
        sentences.append(language.sentence(fact, how))
    return language.space.join(sentences)


def _pairs(rng: Rng, language: Language, count: int) -> list[tuple[Pair, int]]:
    """Pairs and their labels. Paraphrases are reworded more than other pairs: a hint, but not the point."""
    pairs: list[tuple[Pair, int]] = []
    for same in rng.permutation(np.arange(count) < 0.44 * count).tolist():
        fact = other = language.draw(rng, said=0.5)
        how = wording(rng, 0.25, 0.25)
        if not same and chance(rng, 0.55):  # other roles
            other = fact._replace(who=fact.what, what=fact.who)
        elif not same:
            other = language.vary(rng, fact, *some(rng, [*ALWAYS, *fact.said], pick(rng, (1, 2))))
        pairs.append((((fact, how), (other, wording(rng, *((0.4, 0.5) if same else (0.1, 0.1)), how))), int(same)))
    return pairs


def _paws_x(folder: Path, seed: int, language: Language, pairs: dict[str, list[tuple[Pair, int]]]) -> None:
    """Write the pairs, which are the same in every language, as if translated from English."""
    rng = generator(seed, "paws-x", language.name)
    for split, listed in pairs.items():
        sides = [[language.sentence(*pair[side]) for pair, _ in listed] for side in range(2)]
        if language.name != "en":
            instead, places = ("", 6) if split == "train" else ("NS", 4)  # some are lost in translation
            for row in rng.choice(len(listed), places, replace=False):
                pick(rng, sides)[row] = instead
        ids, labels = pa.array(range(1, len(listed) + 1), pa.int32()), [label for _, label in listed]
        table = {"id": ids, "sentence1": sides[0], "sentence2": sides[1], "label": labels}
        write_table(folder / language.name / f"{split}.parquet", table)
