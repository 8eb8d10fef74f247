"""The digits domain: scikit-learn's own copy of the file, and files made wrong."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from difflib import SequenceMatcher
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from dabs_rq.data.examples import Examples
from dabs_rq.errors import DataError, MissingDataError
from domains.digits import DOMAIN
from domains.digits.forms import DIGITS, FILE, FORMS, SOURCE, SPLITS, TASK, load_unlabelled

Load = Callable[..., Examples]


@pytest.fixture
def load(read: Callable[..., Examples], miniature: Callable[[str], Path]) -> Load:
    return lambda split, loader=TASK.load, root=None: read(
        loader, root or miniature("digits"), "digits", split, made_up=False, strict=True
    )


def test_both_splits_together_are_the_digits_that_scikit_learn_loads(load: Load) -> None:
    expected = load_digits()
    splits = [load("train"), load("test")]
    images = np.concatenate([split.inputs[0].take(np.arange(len(split))) for split in splits])
    assert images.dtype == np.float32 and images.shape == (DIGITS, 1, 8, 8)
    assert np.array_equal(images[:, 0] * 16, expected.images)
    targets = [split.targets for split in splits if split.targets is not None]
    assert np.array_equal(np.concatenate(targets), expected.target)
    assert [len(split) for split in splits] == [1415, 382] == [TASK.sizes[split] for split in SPLITS]


def test_labels_show_where_a_form_begins(load: Load) -> None:
    labels = load_digits().target
    forms = ["".join(map(str, labels[start:stop])) for start, stop in pairwise((*FORMS, DIGITS))]
    whole = forms[0]
    assert len(whole) == 130 and whole.startswith("0123456789" * 3) and len(set(whole)) == 10
    for form in forms:
        matched = SequenceMatcher(None, whole, form, autojunk=False).get_matching_blocks()
        assert sum(block.size for block in matched) >= len(form) - 2 and 110 < len(form) <= 130
        begins = matched[0].a, matched[0].b  # a form that lacks its first digit begins with the second
        assert begins in ((0, 0), (1, 0))


def test_no_form_is_in_both_splits_and_groups_are_forms(load: Load) -> None:
    groups = {split: load(split).groups for split in ("train", "test")}
    assert groups["train"] is not None and groups["test"] is not None
    assert set(groups["train"]) == set(range(11)) and set(groups["test"]) == {11, 12, 13}
    assert groups["train"][:131].tolist() == [0] * 130 + [1]


def test_pretraining_sees_no_test_digit_and_no_label(load: Load) -> None:
    pretrained, train = load("train", load_unlabelled), load("train")
    assert pretrained.targets is None and pretrained.groups is None
    assert pretrained.inputs_key == train.inputs_key
    assert not set(pretrained.ids.to_pylist()) & set(load("test").ids.to_pylist())


def test_a_file_that_is_wrong_is_named(load: Load, miniature: Callable[[str], Path], tmp_path: Path) -> None:
    right = gzip.decompress((miniature("digits") / SOURCE.folder / FILE).read_bytes()).decode().splitlines()
    file = tmp_path / SOURCE.folder / FILE
    with pytest.raises(MissingDataError, match=r"missing .*digits\.csv\.gz"):
        load("train", root=tmp_path)
    file.parent.mkdir()
    for lines, said in (
        (right[:-1], r"expected 1797 lines of 65 numbers, found \(1796, 65\)"),
        ([*right[:7], right[7].replace(right[7].split(",")[0], "17", 1), *right[8:]], "line 8: levels are 0 to 16"),
        ([*right[:3], right[3].rpartition(",")[0] + ",10", *right[4:]], "line 4: levels are 0 to 16 and digits 0 to 9"),
        ([*right[:3], "x", *right[4:]], "damaged or not whole numbers"),
    ):
        file.write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))
        with pytest.raises(DataError, match=said) as error:
            load("train", root=tmp_path)
        assert str(file) in str(error.value)
    file.write_bytes(b"not gzip")
    with pytest.raises(DataError, match="damaged"):
        load("train", root=tmp_path)


def test_it_is_installed_and_outside_the_table() -> None:
    assert DOMAIN.installed is not None and DOMAIN.installed.packages == ("scikit-learn",) and not DOMAIN.in_table
