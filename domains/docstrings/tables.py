"""Writes the docstrings of the installed libraries as tables: the data root of the domain.

A split holds whole subpackages: those of a library are taken in the order of a hash of their names until they hold a
fifth of its docstrings, and are the test split. Texts with the same beginning are kept once, so that no inherited or
copied docstring is in both splits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import util
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from dabs_rq.data.readers.tokenizer import TOKENIZERS
from dabs_rq.domains.docstrings.parse import Docstring, docstrings
from dabs_rq.errors import MissingDataError
from dabs_rq.files import digest
from dabs_rq.miniature import tokenizer

FOLDER = "docstrings"
TOKENIZER, VOCABULARY = "docstrings", 4_000
TEST_SHARE = 0.2
BEGINNING = 24  # words; more than an input of 32 tokens shows of most docstrings
SHORTEST, LONGEST = 4, 120  # words of a text

# Package -> the subpackages and modules to read; None reads all. torch is large: these are its documented parts.
LIBRARIES: Mapping[str, Sequence[str] | None] = {
    "numpy": None,
    "pandas": None,
    "scipy": None,
    "sklearn": None,
    "torch": (
        *("_tensor", "ao", "autograd", "backends", "cuda", "distributions", "func", "functional", "futures", "hub"),
        *("jit", "masked", "multiprocessing", "nested", "nn", "optim", "package", "quantization", "random"),
        *("serialization", "signal", "sparse", "storage", "utils"),
    ),
}


def write(root: Path) -> None:
    """Write paragraphs/ (to pretrain on), objects/ (labelled) and the tokenizer of the training paragraphs.

    Raises MissingDataError if a library is not installed.
    """
    write_tables(root, _installed())


@cache
def _installed() -> tuple[Docstring, ...]:
    found: list[Docstring] = []
    for library, parts in LIBRARIES.items():
        package = util.find_spec(library)
        if package is None or package.origin is None:
            raise MissingDataError(f"the package {library} is not installed, whose docstrings are data; `make setup`")
        found += docstrings(library, Path(package.origin).parent, parts)
    return tuple(found)


def write_tables(root: Path, found: Iterable[Docstring]) -> None:
    """Write the tables of these docstrings below `root`; the same docstrings give the same bytes."""
    kept = distinct(found)
    held_out = held_out_parts(kept)
    train = [one for one in kept if one.part not in held_out]
    test = [one for one in kept if one.part in held_out]
    seen: set[str] = set()
    for split, of_split in (("train", train), ("validation", test)):
        paragraphs = [text for one in of_split for text in map(_cut, one.paragraphs) if text.count(" ") + 1 >= SHORTEST]
        new = [text for text in dict.fromkeys(paragraphs) if text not in seen]
        seen.update(new)
        _write(root / FOLDER / f"paragraphs/{split}.parquet", text=new)
        if split == "train":
            # The trainer saves under the name of the published tokenizer whose kind it makes.
            words = (word for text in new for word in text.split())  # counted as they are in a text, only faster
            tokenizer.train(root, "bert-base-uncased", words, VOCABULARY)
            (root / TOKENIZERS / "bert-base-uncased").rename(root / TOKENIZERS / TOKENIZER)
    for split, of_split in (("train", train), ("test", test)):
        columns = {field: [getattr(one, field) for one in of_split] for field in ("name", "library", "part", "kind")}
        _write(root / FOLDER / f"objects/{split}.parquet", text=[text_of(one) for one in of_split], **columns)


def _write(file: Path, **columns: list[str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()}), file)


def text_of(one: Docstring) -> str:
    """Return the beginning of a docstring."""
    return _cut(" ".join(one.paragraphs))


def _cut(text: str) -> str:
    return " ".join(text.split(maxsplit=LONGEST)[:LONGEST])


def distinct(found: Iterable[Docstring]) -> list[Docstring]:
    """Return the docstrings of some length, of those with one name or one beginning the first."""
    names: set[str] = set()
    beginnings: set[str] = set()
    kept = []
    for one in found:
        words = text_of(one).lower().split()
        beginning = " ".join(words[:BEGINNING])
        if len(words) >= SHORTEST and one.name not in names and beginning not in beginnings:
            names.add(one.name)
            beginnings.add(beginning)
            kept.append(one)
    return kept


def held_out_parts(found: Sequence[Docstring]) -> set[str]:
    """Return the subpackages of the test split: of every library at least `TEST_SHARE` of its docstrings."""
    sizes = Counter(one.part for one in found)
    held_out: set[str] = set()
    for library in sorted({one.library for one in found}):
        parts = sorted((part for part in sizes if part.split(".")[0] == library), key=digest)
        wanted, taken = TEST_SHARE * sum(sizes[part] for part in parts), 0
        for part in parts:
            if taken < wanted:
                held_out.add(part)
                taken += sizes[part]
    return held_out
