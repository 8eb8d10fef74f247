"""Tokenizers in every form they come in, and what they make of texts and pairs."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet
from tokenizers import Tokenizer

from dabs_rq.data.prepared import Store
from dabs_rq.data.readers import text, tokenizer
from dabs_rq.encoders.embed import padding_mask
from dabs_rq.errors import DataError, MissingDataError
from dabs_rq.miniature import tokenizer as small_tokenizer
from dabs_rq.run.compose import load_protocol
from dabs_rq.spec import Tokens

BERT, XLMR = "bert-base-uncased", "xlm-roberta-base"
TEXTS = ["The cat number 3 sat on a mat .", "was the mat red , and the cat black ?", "a cat sat", "Der Hund 今日は 猫"]
PAIRS = [
    ("the cat sat", "on a mat ."),
    ("the cat sat on a mat , " * 9, "a cat"),
    ("a cat", "the cat sat on a mat , " * 9),
    ("the cat sat on a mat " * 9, "was the mat red , and the cat black " * 9),
    ("", "a cat"),
    ("a cat", ""),
    ("", ""),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with both tokenizers."""
    for name in (BERT, XLMR):
        small_tokenizer.train(tmp_path / "root", name, TEXTS, 120)
    return tmp_path / "root"


def spec(name: str = BERT, length: int = 16, protocol: str = "corrected", root: Path | None = None) -> Tokens:
    declared = Tokens(name="text", length=length, vocabulary=30_522, pad=0, tokenizer=name, unused_ids=7)
    if root is None:
        return declared
    (found,) = tokenizer.with_vocabulary((declared,), root, load_protocol(protocol))
    assert isinstance(found, Tokens)
    return found


def file(root: Path, name: str = BERT) -> Path:
    return root / tokenizer.TOKENIZERS / name / "tokenizer.json"


def pieces(root: Path, name: str, ids: np.ndarray) -> list[list[str]]:
    one = Tokenizer.from_file(str(file(root, name)))
    return [[one.id_to_token(number) for number in row] for row in ids.tolist()]


# ---- ids -----------------------------------------------------------------------------------------------------------


def test_a_text_and_a_pair_get_their_special_tokens_and_padding(root: Path) -> None:
    for name, pair, pad in (
        (BERT, ["[CLS]", "a", "cat", "[SEP]", "the", "mat", "[SEP]"], "[PAD]"),
        (XLMR, ["<s>", "▁a", "▁cat", "</s>", "</s>", "▁the", "▁mat", "</s>"], "<pad>"),
    ):
        encode = tokenizer.Encode(spec(name, root=root), root)
        ids = encode([("a cat", "the mat"), ("a cat",)])
        assert ids.dtype == np.int32 and ids.shape == (2, 16)
        assert pieces(root, name, ids) == [pair + [pad] * (16 - len(pair)), [*pair[:4], *[pad] * 12]]


@pytest.mark.parametrize("name", [BERT, XLMR])
@pytest.mark.parametrize("length", [8, 16, 128])
def test_ids_are_those_of_the_library_that_dabs_calls(name: str, length: int, root: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    special = {BERT: "[PAD]", XLMR: "<pad>"}
    theirs = PreTrainedTokenizerFast(tokenizer_file=str(file(root, name)), pad_token=special[name])
    encode = tokenizer.Encode(spec(name, length, root=root), root)
    for first, second in PAIRS:
        expected = theirs(first, second, truncation=True, padding="max_length", max_length=length)["input_ids"]
        assert encode([(first, second)])[0].tolist() == expected
    for one in TEXTS:
        assert encode([(one,)])[0].tolist() == theirs(
            one, truncation=True, padding="max_length", max_length=length
        )["input_ids"]  # fmt: skip


def test_the_longer_of_a_pair_is_cut_first(root: Path) -> None:
    ids = tokenizer.Encode(spec(root=root), root)(
        [(" cat" * 20, "the mat"), ("the mat", "cat " * 20), ("a " * 9, "cat " * 9)]
    )
    first, second, both = ([" ".join(row)] for row in pieces(root, BERT, ids))
    assert first == ["[CLS] " + "cat " * 11 + "[SEP] the mat [SEP]"]
    assert second == ["[CLS] the mat [SEP] " + "cat " * 11 + "[SEP]"]
    assert both[0].count("a ") in (6, 7) and both[0].count("cat") in (6, 7) and "[PAD]" not in both[0]


@pytest.mark.parametrize("name", [BERT, XLMR])
def test_padding_and_nothing_else_is_masked(name: str, root: Path) -> None:
    """Ids alone say which tokens are padding, also of texts that name the padding token."""
    found = spec(name, root=root)
    assert found.pad == Tokenizer.from_file(str(file(root, name))).token_to_id({BERT: "[PAD]", XLMR: "<pad>"}[name])
    assert found.pad == {BERT: 0, XLMR: 1}[name], "as published"
    ids = tokenizer.Encode(found, root)([("a cat",), ("a cat", "the mat"), ("",), ("the cat " * 20,)])
    mask = padding_mask((torch.from_numpy(ids).long(),), (found,))
    assert mask is not None
    lengths = {BERT: [4, 7, 2, 16], XLMR: [4, 8, 2, 16]}[name]
    assert mask.sum(1).tolist() == lengths
    assert (mask.int().diff(dim=1) <= 0).all(), "padding comes last"


@pytest.mark.parametrize("protocol", ["corrected", "published"])
def test_the_vocabulary_is_the_tokenizers_own_plus_unused_ids_where_the_protocol_has_them(
    protocol: str, root: Path
) -> None:
    size = Tokenizer.from_file(str(file(root))).get_vocab_size()
    assert spec(root=root, protocol=protocol).vocabulary == size + (7 if protocol == "published" else 0)
    without = dataclasses.replace(spec(), tokenizer=None)
    assert tokenizer.with_vocabulary((without,), root, load_protocol(protocol)) == (without,)


# ---- tokenizers as they come ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [BERT, XLMR])
def test_a_lone_vocabulary_gets_its_special_tokens(name: str, root: Path) -> None:
    encode = tokenizer.Encode(spec(name, root=root), root)
    before, key = encode(PAIRS), encode.key
    content = json.loads(file(root, name).read_text(encoding="utf-8"))
    assert content["post_processor"] is not None
    file(root, name).write_text(json.dumps(content | {"post_processor": None}), encoding="utf-8")
    assert np.array_equal(encode(PAIRS), before)
    ids = encode([(one,) for one in TEXTS])
    assert (ids[:, 0] == before[0, 0]).all() and len(key) == len(encode.key)


def slow_folder(root: Path, configured: dict[str, Any] | None) -> Path:
    """The tokenizer as its slow files: one piece per line, and what transformers saves beside, or nothing."""
    vocabulary = Tokenizer.from_file(str(file(root))).get_vocab()
    folder = file(root).parent
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "vocab.txt").write_text("".join(f"{one}\n" for one in sorted(vocabulary, key=vocabulary.__getitem__)))
    if configured is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(configured))
    return folder


@pytest.mark.parametrize(
    "configured",
    [
        None,
        {"do_lower_case": True, "model_max_length": 512},
        {"do_lower_case": True, "tokenizer_class": "BertTokenizer"},
    ],
)
def test_a_folder_with_slow_files_gives_the_same_ids(configured: dict[str, Any] | None, root: Path) -> None:
    encode = tokenizer.Encode(spec(root=root), root)
    before, found = encode([*PAIRS, *((one,) for one in TEXTS)]), spec(root=root)
    slow_folder(root, configured)
    assert spec(root=root) == found
    assert np.array_equal(encode([*PAIRS, *((one,) for one in TEXTS)]), before)


def test_a_changed_tokenizer_is_noticed(root: Path) -> None:
    encode = tokenizer.Encode(spec(), root)
    before, key = encode([("the cat",)]), encode.key
    small_tokenizer.train(root, BERT, [*TEXTS, "zebra zebra zebra zebra"], 121)
    os.utime(file(root), ns=(1, 1))
    assert encode.key != key and not np.array_equal(encode([("the cat",)]), before)


# ---- tokenizers that cannot be used --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "hub"), [(BERT, "google-bert/bert-base-uncased"), (XLMR, "FacebookAI/xlm-roberta-base")]
)
@pytest.mark.parametrize("folder", ["none", "empty", "configuration"])
def test_a_missing_tokenizer_tells_where_it_goes(name: str, hub: str, folder: str, root: Path) -> None:
    """Offline, that is: the tests are."""
    where = file(root, name).parent
    shutil.rmtree(where)
    if folder != "none":
        where.mkdir()
    if folder == "configuration":
        kind = {BERT: "BertTokenizer", XLMR: "XLMRobertaTokenizer"}[name]
        (where / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": kind}))
    with pytest.raises(MissingDataError) as caught:
        spec(name, root=root)
    assert f"tokenizer {name!r} is not at {where}" in str(caught.value)
    assert f"Put the files of {hub} there (tokenizer.json is enough)" in str(caught.value)


@pytest.mark.parametrize("content", ["", "{}", "no json", '{"version": "1.0", "model": 3}'])
def test_a_damaged_tokenizer_is_named(content: str, root: Path) -> None:
    file(root).write_text(content)
    with pytest.raises(DataError, match=f"{file(root)}: not a tokenizer"):
        spec(root=root)


def test_a_tokenizer_without_special_tokens_is_refused(root: Path) -> None:
    from tokenizers import models

    Tokenizer(models.WordPiece({"[UNK]": 0, "cat": 1}, unk_token="[UNK]")).save(str(file(root)))
    with pytest.raises(DataError, match=r"lacks special tokens; expected \[CLS\] \[SEP\] \[PAD\] or <s> </s> <pad>"):
        spec(root=root)


def test_a_tokenizer_larger_than_the_encoders_vocabulary_is_refused(root: Path) -> None:
    size = spec(root=root).vocabulary
    encode = tokenizer.Encode(dataclasses.replace(spec(), vocabulary=size - 1), root)
    with pytest.raises(DataError, match=f"has {size:,} ids, input 'text' takes {size - 1:,}"):
        encode([("a cat",)])
    tokenizer.Encode(dataclasses.replace(spec(), vocabulary=size), root)([("a cat",)])


# ---- tables --------------------------------------------------------------------------------------------------------


@pytest.fixture
def location(root: Path) -> text.TableLocation:
    file = root / "text/some/train.parquet"
    file.parent.mkdir()
    rows = [f"{one} {number}" for number in range(1250) for one in TEXTS]
    parquet.write_table(pa.table({"a": rows, "b": rows[::-1]}), file)
    return text.TableLocation((file,))


def test_rows_of_a_table_are_prepared_the_same_by_any_number_of_workers(
    root: Path, location: text.TableLocation
) -> None:
    rows = np.arange(0, 5000)[::-1].copy()
    column = text.from_table(location, ("a", "b"), rows, spec(root=root), root)
    stores = [Store(root / str(workers), policy="always", workers=workers) for workers in (1, 2)]
    taken = [one.take(np.arange(5000)) for one in (column, *(store.prepare(column) for store in stores))]
    assert np.array_equal(taken[0], taken[1]) and np.array_equal(taken[0], taken[2])
    again = column.select(np.array([4999, 0]))
    assert np.array_equal(again.take(np.arange(2)), taken[0][[4999, 0]])
    expected = tokenizer.Encode(spec(root=root), root)([(f"{TEXTS[0]} 0", f"{TEXTS[3]} 1249")])
    assert np.array_equal(taken[0][4999:], expected)


def test_the_key_follows_rows_fields_files_tokenizer_length_and_root(
    root: Path, location: text.TableLocation, tmp_path: Path
) -> None:
    def key(where: Path = root, fields: tuple[str, ...] = ("a",), rows: int = 10, length: int = 16) -> str:
        at = text.TableLocation((where / "text/some/train.parquet",))
        return text.from_table(at, fields, np.arange(rows), spec(length=length, root=where), where).key

    assert key() == key()
    moved = shutil.copytree(root, tmp_path / "moved", copy_function=shutil.copy2)
    assert key(moved) != key(), "another file may have the same name, size and time"
    keys = {key(), key(fields=("b",)), key(fields=("a", "b")), key(rows=11), key(length=17)}
    parquet.write_table(pa.table({"a": ["x"] * 99, "b": ["y"] * 99}), moved / "text/some/train.parquet")
    keys.add(key(moved))
    small_tokenizer.train(root, BERT, [*TEXTS, "zebra zebra zebra zebra"], 121)
    keys.add(key())
    assert len(keys) == 7


def test_a_changed_table_is_read_anew(root: Path, location: text.TableLocation) -> None:
    def first() -> list[str]:
        column = text.from_table(location, ("a",), np.arange(1), spec(root=root), root)
        return pieces(root, BERT, column.take(np.arange(1)))[0][:4]

    assert first() == ["[CLS]", "the", "cat", "number"]
    parquet.write_table(pa.table({"a": ["a mat"]}), location.files[0])
    assert first() == ["[CLS]", "a", "mat", "[SEP]"]


def test_a_row_without_text_is_named_when_it_is_read(root: Path) -> None:
    file = root / "text/some.parquet"
    parquet.write_table(pa.table({"a": ["x", None]}), file)
    column = text.from_table(text.TableLocation((file,)), ("a",), np.arange(2), spec(root=root), root)
    with pytest.raises(DataError, match=f"{file}, row 1: a are .None,.; text expected"):
        column.take(np.arange(2))


def test_ids_of_rows_are_arrow_strings() -> None:
    assert text.row_ids("train", np.array([0, 17, 2_000_000])).to_pylist() == ["train/0", "train/17", "train/2000000"]
    assert isinstance(text.row_ids("train", np.arange(3)), pa.Array)


def test_texts_given_with_their_rows_are_encoded_as_those_of_tables(root: Path) -> None:
    (root / "list.txt").write_text("\n".join(TEXTS))
    items = pa.table({"path": ["list.txt"] * 4, "said": TEXTS, "answer": TEXTS[::-1]})
    column = text.from_items(items, ("said", "answer"), spec(root=root), root)
    expected = tokenizer.Encode(spec(root=root), root)(list(zip(TEXTS, TEXTS[::-1], strict=True)))
    assert np.array_equal(column.take(np.arange(4)), expected)
    assert column.key != text.from_items(items, ("answer", "said"), spec(root=root), root).key


# ---- the small tokenizer -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [BERT, XLMR])
def test_the_small_tokenizer_is_the_same_bytes_in_any_order_of_texts(name: str, tmp_path: Path) -> None:
    train: Callable[..., None] = partial(small_tokenizer.train, size=60)
    train(tmp_path / "a", name, TEXTS)
    train(tmp_path / "b", name, reversed(TEXTS))
    assert file(tmp_path / "a", name).read_bytes() == file(tmp_path / "b", name).read_bytes()
    with pytest.raises(ValueError, match="no family"):
        train(tmp_path, "gpt2", TEXTS)


@pytest.mark.parametrize("name", ["[a]", "[!b]", "*", "?", "{a,b}", "**", "a b", "hf:"])
def test_a_root_that_reads_as_a_pattern_is_read_itself(name: str, tmp_path: Path) -> None:
    for folder in ("a", "b", name):
        (tmp_path / folder).mkdir(exist_ok=True)
        parquet.write_table(pa.table({"text": [f"of {folder}"]}), tmp_path / folder / "train.parquet")
    location = text.TableLocation((tmp_path / name / "train.parquet",))
    assert location.column("text").to_pylist() == [f"of {name}"]


def test_a_table_that_is_replaced_with_its_size_and_time_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "train.parquet"
    for words in ("one", "two"):
        parquet.write_table(pa.table({"text": [words]}), file)
        os.utime(file, ns=(1, 1))
        assert text.TableLocation((file,)).column("text").to_pylist() == [words]
