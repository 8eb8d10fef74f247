"""Tokenizers: found below the data root or on the hub, and texts to ids of one length.

An example is `[CLS] a [SEP]` or `[CLS] a [SEP] b [SEP]` (`<s> a </s></s> b </s>`), truncated longest first and padded
to the input's length. Only ids are kept: no segment ids, as in DABS; `Tokens.pad` says which of them are padding.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dabs_rq.errors import DataError, MissingDataError, first_line
from dabs_rq.files import digest
from dabs_rq.protocol import Protocol
from dabs_rq.spec import Input, Tokens

if TYPE_CHECKING:
    from tokenizers import Tokenizer

VERSION = "text-2"
TOKENIZERS = "text/tokenizers"  # below the data root: one folder per name, as save_pretrained writes it
HUB = {"bert-base-uncased": "google-bert/bert-base-uncased", "xlm-roberta-base": "FacebookAI/xlm-roberta-base"}
# (classify, separate, pad): the special tokens of the two families.
_SPECIAL = (("[CLS]", "[SEP]", "[PAD]"), ("<s>", "</s>", "<pad>"))


def with_vocabulary(inputs: tuple[Input, ...], root: Path, protocol: Protocol) -> tuple[Input, ...]:
    """The inputs with vocabulary and padding id of the tokenizers that are there.

    Raises MissingDataError if a tokenizer is neither under `root` nor to be had from the hub.
    """

    def resolved(spec: Input) -> Input:
        if not isinstance(spec, Tokens) or spec.tokenizer is None:
            return spec
        own = _tokenizer(spec.tokenizer, root)
        unused = spec.unused_ids if protocol.unused_ids else 0
        return dataclasses.replace(
            spec, vocabulary=own.get_vocab_size() + unused, pad=own.token_to_id(_special(own, spec.tokenizer)[2])
        )

    return tuple(resolved(spec) for spec in inputs)


def _tokenizer(name: str, root: Path) -> Tokenizer:
    return _load_tokenizer(name, *_state(name, root))


def _state(name: str, root: Path) -> tuple[Path, int]:
    """A tokenizer's folder, and when its file was changed (0 where there is none): what it is cached by."""
    folder = root / TOKENIZERS / name
    files = (folder / "tokenizer.json", folder / "vocab.txt")
    return folder, next((file.stat().st_mtime_ns for file in files if file.exists()), 0)


@lru_cache(maxsize=8)
def _load_tokenizer(name: str, folder: Path, changed: int) -> Tokenizer:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # examples are spread over processes instead
    from tokenizers import Tokenizer

    file = folder / "tokenizer.json"
    if file.exists():
        try:
            tokenizer = Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises bare Exception
            raise DataError(f"{file}: no tokenizer ({error})") from error
    else:
        tokenizer = _from_hub(name, folder)
    classify, separate, _ = _special(tokenizer, name)
    if tokenizer.post_processor is None:  # a lone vocabulary: its special tokens say how pairs are joined
        from tokenizers.processors import TemplateProcessing

        between = separate if classify == "[CLS]" else f"{separate} {separate}"
        tokenizer.post_processor = TemplateProcessing(
            single=f"{classify} $A {separate}",
            pair=f"{classify} $A {between} $B {separate}",
            special_tokens=[(token, tokenizer.token_to_id(token)) for token in (classify, separate)],
        )
    return tokenizer


def _from_hub(name: str, folder: Path) -> Tokenizer:
    """The tokenizer of a folder without tokenizer.json (slow files are converted), or of the hub."""
    import transformers

    where = str(folder) if folder.is_dir() else HUB.get(name, name)
    # AutoTokenizer cannot tell what a folder with nothing but a vocabulary is.
    kind = transformers.BertTokenizer if (folder / "vocab.txt").exists() else transformers.AutoTokenizer
    try:
        loaded = kind.from_pretrained(where)
        if set(loaded.get_vocab()) <= set(loaded.all_special_tokens):
            raise ValueError("it has no vocabulary")  # without files, the library makes one of special tokens alone
        return loaded.backend_tokenizer
    except (OSError, ValueError, AttributeError) as error:
        raise MissingDataError(
            f"tokenizer {name!r} is not at {folder}, and {where!r} could not be loaded "
            f"({first_line(error)}).\n  Put the files of {HUB.get(name, name)} there "
            "(tokenizer.json is enough), or go online once."
        ) from error


def _special(tokenizer: Tokenizer, name: str) -> tuple[str, str, str]:
    for family in _SPECIAL:
        if all(tokenizer.token_to_id(token) is not None for token in family):
            return family
    expected = " or ".join(" ".join(family) for family in _SPECIAL)
    raise DataError(f"tokenizer {name!r}: its vocabulary lacks special tokens; expected {expected}")


@dataclass(frozen=True)
class Encode:
    """Texts to ids (length,) int32. Picklable; the tokenizer is loaded in the process that uses it."""

    spec: Tokens
    root: Path

    def __call__(self, texts: Sequence[tuple[str, ...]]) -> np.ndarray:
        """(len(texts), length) of single texts or pairs. A pair whose second text is empty counts as a single text, as
        in the library that DABS calls (blank translations in PAWS-X)."""
        encoded = self._sized().encode_batch([text if any(text[1:]) else text[0] for text in texts])
        return np.array([one.ids for one in encoded], np.int32).reshape(len(texts), self.spec.length)

    @property
    def key(self) -> str:
        """Identity of the tokenizer and of how it is used."""
        return digest(VERSION, self.spec.length, self._sized().to_str())

    def _sized(self) -> Tokenizer:
        assert self.spec.tokenizer is not None
        return _with_length(self.spec, *_state(self.spec.tokenizer, self.root))


@lru_cache(maxsize=8)
def _with_length(spec: Tokens, folder: Path, changed: int) -> Tokenizer:
    from tokenizers import Tokenizer

    assert spec.tokenizer is not None
    sized = Tokenizer.from_str(_load_tokenizer(spec.tokenizer, folder, changed).to_str())
    if (size := sized.get_vocab_size()) > spec.vocabulary:
        raise DataError(
            f"tokenizer {spec.tokenizer!r} has {size:,} ids, input {spec.name!r} takes {spec.vocabulary:,}: "
            "the encoder was made for another tokenizer"
        )
    pad = _special(sized, spec.tokenizer)[2]
    sized.enable_truncation(spec.length, strategy="longest_first")
    sized.enable_padding(length=spec.length, pad_id=sized.token_to_id(pad), pad_token=pad)
    return sized
