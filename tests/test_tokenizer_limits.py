"""Tokenizer files that would fill the memory, never end, fail inside the library, or give ids that do not exist."""

from __future__ import annotations

import base64
import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dabs_rq.data.readers import tokenizer
from dabs_rq.errors import DataError
from dabs_rq.miniature import tokenizer as small_tokenizer
from dabs_rq.run.compose import load_protocol
from dabs_rq.spec import Tokens

NAME = "bert-base-uncased"
Change = Callable[[dict[str, Any]], object]


def replace(pattern: dict[str, str], content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


def sequence(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "normalizers": list(parts)}


def charsmap(replacement: bytes) -> dict[str, str]:
    raw = (4).to_bytes(4, "little") + bytes(4) + replacement + b"\0"
    return {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(raw).decode()}


CHANGES: list[tuple[Change, str]] = [
    (lambda file: file.update(normalizer=replace({"String": "a"}, "b" * 1000)), "1000 times longer"),
    (lambda file: file.update(normalizer=sequence(*[replace({"String": "a"}, "aa")] * 20)), "times longer"),
    (lambda file: file.update(normalizer=sequence(sequence(replace({"String": ""}, "a" * 99)))), "100 times longer"),
    (lambda file: file.update(normalizer=sequence(*[{"type": "NFKD"}] * 3)), "324 times longer"),
    (lambda file: file.update(normalizer={"type": "Prepend", "prepend": "é" * 99}), "199 times longer"),
    (lambda file: file.update(normalizer=charsmap(b"x" * 500)), "500 times longer"),
    (lambda file: file.update(normalizer=replace({"Regex": "(a|a)*" * 99}, "")), "a pattern of 594 characters"),
    (lambda file: file["model"].update(max_input_chars_per_word=10**9), "max_input_chars_per_word is 1000000000"),
    (lambda file: file["post_processor"].update(single=file["post_processor"]["single"] * 1000), "3000 pieces"),
    (lambda file: file["post_processor"]["special_tokens"]["[CLS]"].update(ids=[1] * 99), "more than 64 ids"),
    (lambda file: file["model"]["vocab"].update(cat=5_000_000), "but an id 5,000,000; expected ids from 0"),
    (lambda file: file["model"].update(type="BPE", merges=[], dropout=0.5), "draws at random"),
    (lambda file: file.update(normalizer=replace({"Regex": "(" * 50}, "")), "not a tokenizer"),
    (lambda file: file.update(normalizer=charsmap(b"")), ""),
]


def encode(root: Path, text: str) -> Any:
    declared = Tokens(name="text", length=16, vocabulary=30_522, pad=0, tokenizer=NAME)
    (spec,) = tokenizer.with_vocabulary((declared,), root, load_protocol("corrected"))
    assert isinstance(spec, Tokens)
    return tokenizer.Encode(spec, root)([(text,)])


@pytest.fixture
def changed(tmp_path: Path) -> Callable[[Change], Path]:
    """changed(change): a data root whose tokenizer was changed."""

    def write(change: Change) -> Path:
        small_tokenizer.train(tmp_path, NAME, ["a cat sat on a mat"], 60)
        file = tmp_path / tokenizer.TOKENIZERS / NAME / "tokenizer.json"
        content = json.loads(file.read_text())
        change(content)
        file.write_text(json.dumps(content))
        return tmp_path

    return write


@pytest.mark.parametrize(("change", "message"), CHANGES)
def test_a_tokenizer_that_asks_for_too_much_is_refused(
    change: Change, message: str, changed: Callable[[Change], Path]
) -> None:
    root = changed(change)
    tracemalloc.start()
    with pytest.raises(DataError, match=f"tokenizer.*{message}"):
        encode(root, "a cat " * 1000)
    assert tracemalloc.get_traced_memory()[1] < 100 << 20
    tracemalloc.stop()


def test_an_id_that_only_the_template_names_is_refused(changed: Callable[[Change], Path]) -> None:
    root = changed(lambda file: file["post_processor"]["special_tokens"]["[CLS]"].update(ids=[999_999]))
    with pytest.raises(DataError, match="encodes a text to id 999,999, but input 'text' takes ids from 0 to"):
        encode(root, "a cat")


@pytest.mark.parametrize("pattern", [r"(?:a+)+$", r"(a|b|ab)*c", r"(x+x+)+y", r"(?<=a)b|\K"])
def test_a_pattern_that_never_ends_is_an_error_or_ends(pattern: str, changed: Callable[[Change], Path]) -> None:
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    root = changed(lambda file: file.update(pre_tokenizer=split))
    try:
        ids = encode(root, "a" * 40 + "x" * 40 + "b")
    except DataError as error:
        assert "tokenizer" in str(error)
    else:
        assert ids.shape == (1, 16)


@pytest.mark.parametrize("name", ["tokenizer.json", "vocab.txt", "tokenizer_config.json"])
def test_a_tokenizer_that_is_a_pipe_is_not_opened(name: str, changed: Callable[[Change], Path]) -> None:
    root = changed(lambda file: None)
    (root / tokenizer.TOKENIZERS / NAME / "tokenizer.json").unlink()
    file = root / tokenizer.TOKENIZERS / NAME / name
    os.mkfifo(file)
    with pytest.raises(DataError, match=f"{file}: expected a file, found a pipe"):
        encode(root, "a cat")
