"""Tokenizers: loaded from the data root or the hub, and used to convert texts to ids of a fixed length.

An example is `[CLS] a [SEP]` or `[CLS] a [SEP] b [SEP]` (`<s> a </s></s> b </s>`), truncated longest first and padded
to the input's length. As in DABS, only ids are used, no segment ids; `Tokens.pad` is the id of padding.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dabs_rq.data.readers import hub, tokenizer_limits
from dabs_rq.errors import DataError, MissingDataError, first_line
from dabs_rq.files import State, check_regular, digest, explained, reading, state
from dabs_rq.protocol import Protocol
from dabs_rq.spec import Input, Tokens

if TYPE_CHECKING:
    from tokenizers import Tokenizer

VERSION = "text-2"
TOKENIZERS = "text/tokenizers"  # under the data root: one folder per name, as save_pretrained writes it
HUB = {"bert-base-uncased": "google-bert/bert-base-uncased", "xlm-roberta-base": "FacebookAI/xlm-roberta-base"}
# (classify, separate, pad): the special tokens of the two families.
_SPECIAL = (("[CLS]", "[SEP]", "[PAD]"), ("<s>", "</s>", "<pad>"))


def with_vocabulary(inputs: tuple[Input, ...], root: Path, protocol: Protocol) -> tuple[Input, ...]:
    """Return the inputs with the vocabulary and padding id of their tokenizers and of the protocol.

    Raises MissingDataError if a tokenizer is not under `root` and cannot be loaded from the hub.
    """

    def resolve(spec: Input) -> Input:
        if isinstance(spec, Tokens) and spec.shared_pad and protocol.own_padding:
            return dataclasses.replace(spec, vocabulary=spec.vocabulary + 1, pad=spec.vocabulary, shared_pad=False)
        if not isinstance(spec, Tokens) or spec.tokenizer is None:
            return spec
        tokenizer = _tokenizer(spec.tokenizer, root)
        unused = spec.unused_ids if protocol.unused_ids else 0
        return dataclasses.replace(
            spec,
            vocabulary=tokenizer.get_vocab_size() + unused,
            pad=tokenizer.token_to_id(_special_tokens(tokenizer, spec.tokenizer)[2]),
        )

    return tuple(resolve(spec) for spec in inputs)


def is_local(name: str, root: Path) -> bool:
    """Return whether a tokenizer has a folder under the data root, so that the hub is not asked."""
    return (root / TOKENIZERS / name).is_dir()


def is_cached(name: str) -> bool:
    """Return whether the hub's library has the tokenizer in its cache."""
    from huggingface_hub import try_to_load_from_cache

    files = ("tokenizer.json", "tokenizer_config.json", "vocab.txt")
    return any(isinstance(try_to_load_from_cache(HUB.get(name, name), file), str) for file in files)


def describe_place(name: str, root: Path | None) -> str:
    """Say where a tokenizer is, or comes from; the text begins with "missing" if it is nowhere. root: the data root,
    if there is one."""
    source, place = HUB.get(name, name), Path(root or "data root") / TOKENIZERS / name
    if root is not None and is_local(name, root):
        if not any(entry.is_file() for entry in place.iterdir()):
            return f"missing: {place} has no file in it; put the files of {source} there (tokenizer.json is enough)"
        return f"present: {place}"
    if is_cached(name):
        return f"loaded from the hub before ({source})"
    if hub.is_offline():
        return f"missing: not at {place}, and the hub ({source}) is not asked (HF_HUB_OFFLINE is set)"
    return f"not at {place}, loaded from the hub ({source}) when first used"


def _tokenizer(name: str, root: Path) -> Tokenizer:
    return _load_tokenizer(name, *_state(name, root))


def _state(name: str, root: Path) -> tuple[Path, State | None]:
    """Return the cache key of a tokenizer: its folder and the state of its file (None without a file)."""
    folder = root / TOKENIZERS / name
    files = (folder / "tokenizer.json", folder / "vocab.txt")
    return folder, next((state(file) for file in files if file.exists()), None)


@lru_cache(maxsize=8)
def _load_tokenizer(name: str, folder: Path, changed: State | None) -> Tokenizer:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # we use several processes instead of its threads
    from tokenizers import Tokenizer

    file = folder / "tokenizer.json"
    if file.exists():
        with reading(file, "not a tokenizer"):
            if (size := file.stat().st_size) > tokenizer_limits.MAX_BYTES:
                raise DataError(f"{file}: {size:,} bytes, expected at most {tokenizer_limits.MAX_BYTES:,}")
            text = file.read_text(encoding="utf-8")
            tokenizer_limits.check(json.loads(text), file)
            tokenizer = Tokenizer.from_str(text)
    else:
        tokenizer = _from_hub(name, folder)
        tokenizer_limits.check(json.loads(tokenizer.to_str()), f"tokenizer {name!r}")
    _check_ids(tokenizer, name)
    classify, separate, _ = _special_tokens(tokenizer, name)
    if tokenizer.post_processor is None:  # only a vocabulary: its special tokens determine how pairs are joined
        from tokenizers.processors import TemplateProcessing

        between = separate if classify == "[CLS]" else f"{separate} {separate}"
        tokenizer.post_processor = TemplateProcessing(
            single=f"{classify} $A {separate}",
            pair=f"{classify} $A {between} $B {separate}",
            special_tokens=[(token, tokenizer.token_to_id(token)) for token in (classify, separate)],
        )
    return tokenizer


def _from_hub(name: str, folder: Path) -> Tokenizer:
    """Load the tokenizer from a folder without tokenizer.json, converting slow files, or from the hub."""
    import transformers

    where = str(folder) if folder.is_dir() else HUB.get(name, name)
    for file in folder.iterdir() if folder.is_dir() else ():
        if not file.is_dir():
            check_regular(file)
    # AutoTokenizer cannot identify a folder that holds only a vocabulary.
    kind = transformers.BertTokenizer if (folder / "vocab.txt").exists() else transformers.AutoTokenizer
    if not folder.is_dir():
        hub.reach(f"the tokenizer {where}")
    try:
        loaded = kind.from_pretrained(where, trust_remote_code=False)
        if set(loaded.get_vocab()) <= set(loaded.all_special_tokens):
            raise ValueError("it has no vocabulary")  # without files, the library makes one of special tokens only
        return loaded.backend_tokenizer
    except Exception as error:  # a damaged file can raise any type
        raise MissingDataError(
            f"tokenizer {name!r} is not at {folder}, and {where!r} could not be loaded "
            f"({first_line(error)}).\n  Put the files of {HUB.get(name, name)} there "
            "(tokenizer.json is enough), or go online once."
        ) from error


def _check_ids(tokenizer: Tokenizer, name: str) -> None:
    """Raise DataError unless the ids of the vocabulary are below its size, which is that of an encoder's table."""
    size, highest = tokenizer.get_vocab_size(), max(tokenizer.get_vocab().values(), default=0)
    if highest >= size:
        raise DataError(
            f"tokenizer {name!r}: its vocabulary has {size:,} entries, but an id {highest:,}; expected ids from 0 to "
            f"{size - 1:,}"
        )


def _special_tokens(tokenizer: Tokenizer, name: str) -> tuple[str, str, str]:
    for family in _SPECIAL:
        if all(tokenizer.token_to_id(token) is not None for token in family):
            return family
    expected = " or ".join(" ".join(family) for family in _SPECIAL)
    raise DataError(f"tokenizer {name!r}: its vocabulary lacks special tokens; expected {expected}")


def decode(ids: np.ndarray, spec: Tokens, root: Path) -> list[tuple[str, ...]]:
    """Return the texts of ids (B, length): one string each, or two if any text of the batch is a pair.

    They are what `Encode` kept: cut to the input's length, and as the tokenizer normalises them, such as in lower case.
    Special tokens, among them those of unknown pieces, are left out.
    """
    assert spec.tokenizer is not None
    tokenizer, separator = _decoder(spec.tokenizer, *_state(spec.tokenizer, root))
    parts = []
    for row in ids.tolist():
        ends = [place for place, token in enumerate(row) if token == separator]
        segments = [row[start:end] for start, end in zip([0, *(end + 1 for end in ends)], ends, strict=False)]
        parts.append([text for text in tokenizer.decode_batch(segments, skip_special_tokens=True) if text] or [""])
    width = max(map(len, parts), default=1)
    return [(*texts, *[""] * (width - len(texts))) for texts in parts]


@lru_cache(maxsize=8)
def _decoder(name: str, folder: Path, changed: State | None) -> tuple[Tokenizer, int | None]:
    """Return a tokenizer that joins the pieces of words, and the id between two texts."""
    from tokenizers import Tokenizer, decoders

    loaded = _load_tokenizer(name, folder, changed)
    tokenizer = Tokenizer.from_str(loaded.to_str())
    classify, separate, _ = _special_tokens(loaded, name)
    if tokenizer.decoder is None:  # a file without one
        tokenizer.decoder = decoders.WordPiece() if classify == "[CLS]" else decoders.Metaspace()
    return tokenizer, tokenizer.token_to_id(separate)


@dataclass(frozen=True)
class Encode:
    """Converts texts to ids (length,) int32. Picklable: each process loads the tokenizer when it first uses it."""

    spec: Tokens
    root: Path

    def __call__(self, texts: Sequence[tuple[str, ...]]) -> np.ndarray:
        """Encode single texts or pairs: (len(texts), length). A pair whose second text is empty counts as a single
        text, as in the library that DABS calls (PAWS-X has blank translations)."""
        sized, spec = self._sized(), self.spec
        with explained(f"tokenizer {spec.tokenizer!r}", "it cannot encode a text"):
            encodings = sized.encode_batch([text if any(text[1:]) else text[0] for text in texts])
            ids = np.array([encoding.ids for encoding in encodings], np.int64).reshape(len(texts), spec.length)
        if ids.size and (ids.max() >= spec.vocabulary or ids.min() < 0):
            raise DataError(
                f"tokenizer {spec.tokenizer!r}: it encodes a text to id {ids.max():,}, but input {spec.name!r} takes "
                f"ids from 0 to {spec.vocabulary - 1:,}"
            )
        return ids.astype(np.int32)

    @property
    def key(self) -> str:
        """Identity of the tokenizer and of its settings."""
        return digest(VERSION, self.spec.length, self._sized().to_str())

    def _sized(self) -> Tokenizer:
        assert self.spec.tokenizer is not None
        return _with_length(self.spec, *_state(self.spec.tokenizer, self.root))


@lru_cache(maxsize=8)
def _with_length(spec: Tokens, folder: Path, changed: State | None) -> Tokenizer:
    from tokenizers import Tokenizer

    assert spec.tokenizer is not None
    sized = Tokenizer.from_str(_load_tokenizer(spec.tokenizer, folder, changed).to_str())
    if (size := sized.get_vocab_size()) > spec.vocabulary:
        raise DataError(
            f"tokenizer {spec.tokenizer!r} has {size:,} ids, input {spec.name!r} takes {spec.vocabulary:,}: "
            "the encoder was made for another tokenizer"
        )
    pad = _special_tokens(sized, spec.tokenizer)[2]
    with explained(f"tokenizer {spec.tokenizer!r}", f"it cannot give {spec.length} ids"):
        sized.enable_truncation(spec.length, strategy="longest_first")
        sized.enable_padding(length=spec.length, pad_id=sized.token_to_id(pad), pad_token=pad)
    return sized
