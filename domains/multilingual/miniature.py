"""A small made-up copy of mC4 and PAWS-X in their native layouts, and a tokenizer for them.

Both say facts of one space (`miniature_sentences`) in seven made-up languages. A text of mC4 is up to three sentences
on one topic, of which one may say again, in other words, what another said. A pair of PAWS-X is a fact and either the
same fact in other words and order (label 1), or the same words in other roles, or another fact (label 0).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from dabs_rq.miniature import tokenizer as small_tokenizer
from domains.multilingual.miniature_sentences import (
    TOPICS,
    Fact,
    Language,
    Wording,
    another_fact,
    fact,
    languages,
    reworded,
    roles_swapped,
    sentence,
    wording,
)

TEXTS = {"train": 300, "validation": 20}  # of each language
ROW_GROUPS = 2
PAIRS = {"train": 1050, "validation": 320, "test": 320}
PARAPHRASES = 0.44
LOST = 6  # sentences of the translated training pairs that are empty
PLACEHOLDERS = 4  # sentences of the other splits for which "NS" stands
VOCABULARY = 4000


def write(root: Path, seed: int) -> None:
    """Write the whole miniature below `root`, the same bytes for the same seed."""
    spoken = languages(np.random.default_rng([seed, 0]))
    texts = list(_mc4(root / "text" / "mc4", spoken, np.random.default_rng([seed, 1])))
    _paws_x(root / "text" / "paws-x", spoken, np.random.default_rng([seed, 2]))
    small_tokenizer.train(root, "xlm-roberta-base", texts, VOCABULARY)


def _mc4(folder: Path, spoken: dict[str, Language], rng: np.random.Generator) -> Iterator[str]:
    """Writes every language's texts and gives those of the training split."""
    for name, language in spoken.items():
        for split, count in TEXTS.items():
            texts = [_text(language, rng) for _ in range(count)]
            days = rng.integers(1, 29, count)
            table = {
                "text": texts,
                "timestamp": [f"2020-{1 + row % 12:02d}-{day:02d}T12:00:00Z" for row, day in enumerate(days)],
                "url": [f"https://{name}.example.org/{split}/{row}" for row in range(count)],
            }
            _write(folder / name / f"{split}.parquet", pa.table(table), -(-count // ROW_GROUPS))
            if split == "train":
                yield from texts


def _text(language: Language, rng: np.random.Generator) -> str:
    topic = int(rng.integers(TOPICS))
    said, how = fact(rng, topic), wording(rng)
    sentences = [sentence(language, said, how)]
    for _ in range(int(rng.integers(3))):
        if rng.random() < 0.4:
            how = reworded(rng, how, 0.35, 0.3)
        else:
            said, how = fact(rng, topic), wording(rng)
        sentences.append(sentence(language, said, how))
    return ("" if language.name in ("zh", "ja") else " ").join(sentences)


def _paws_x(folder: Path, spoken: dict[str, Language], rng: np.random.Generator) -> None:
    """Every language has the same pairs, as if translated from English."""
    for split, count in PAIRS.items():
        labels = rng.permutation(np.arange(count) < PARAPHRASES * count).astype(np.int64)
        pairs = [_pair(rng, bool(label)) for label in labels]
        for name, language in spoken.items():
            sides = [[sentence(language, *pair[side]) for pair in pairs] for side in range(2)]
            if name != "en":
                instead, places = ("", LOST) if split == "train" else ("NS", PLACEHOLDERS)
                for row in rng.choice(count, places, replace=False):
                    sides[int(rng.integers(2))][row] = instead
            table = {
                "id": pa.array(np.arange(1, count + 1), pa.int32()),
                "sentence1": sides[0],
                "sentence2": sides[1],
                "label": labels,
            }
            _write(folder / name / f"{split}.parquet", pa.table(table), count)


def _pair(rng: np.random.Generator, paraphrase: bool) -> tuple[tuple[Fact, Wording], tuple[Fact, Wording]]:
    """Paraphrases are reworded more than other pairs: a hint, as in the real pairs, but not the point."""
    said, how = fact(rng), wording(rng)
    if paraphrase:
        return (said, how), (said, reworded(rng, how, 0.5, 0.6))
    other = roles_swapped(rng, said) if rng.random() < 0.55 else another_fact(rng, said)
    return (said, how), (other, reworded(rng, how, 0.1, 0.1))


def _write(file: Path, table: pa.Table, rows_per_group: int) -> None:
    from pyarrow import parquet

    file.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, file, row_group_size=rows_per_group)
