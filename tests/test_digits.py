"""The digits domain: scikit-learn's own copy of the file, and files made wrong."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from difflib import SequenceMatcher
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from dabs_rq import table
from dabs_rq.cli import main
from dabs_rq.data.examples import Examples
from dabs_rq.domains.digits import DOMAIN
from dabs_rq.domains.digits.forms import DIGITS, FILE, FORMS, SOURCE, SPLITS, TASK, load_unlabelled
from dabs_rq.errors import DataError, MissingDataError, OptionError
from dabs_rq.run import Run

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


# ---- as data that come with a package, outside the table -----------------------------------------------------------

MADE_UP, REAL = "made-up miniature data", "real data of installed packages"
LITTLE = ["pretrain.steps=2", "pretrain.batch_size=8", "pretrain.max_examples=64", "transfer.max_examples=80"]


def test_its_data_are_real_without_a_data_root_and_with_one(tmp_path: Path) -> None:
    assert DOMAIN.installed is not None and DOMAIN.tables == ()
    for words in ([], [f"data={tmp_path}"], ["scale=paper"]):
        run = Run.of(["domain=digits", f"runs={tmp_path}/runs", *words])
        assert (
            not run.made_up and run.about_data == REAL and run.data_note.endswith(f"Digits ({DOMAIN.installed.about}).")
        )
        assert run.identity(0).data == f"installed-{DOMAIN.installed.key}"
        assert run.root.is_relative_to(tmp_path / "runs/installed") and SOURCE.state(run.root) == "present"
        assert not run.splits.request("train").made_up
    with pytest.raises(OptionError, match="scale=paper needs the real data"):
        Run.of(["domain=digits,sensor", "scale=paper"])


def test_a_mixed_selection_says_both(tmp_path: Path) -> None:
    run = Run.of(["domain=sensor,digits"])
    assert run.made_up and run.about_data == f"{MADE_UP} and {REAL}" and "Sensor" in run.data_note
    assert "Digits (scikit-learn" in run.data_note and "Made-up miniature data (Sensor): " in run.data_note
    assert "made-up miniature data and real data" in table.build(run).title
    run = Run.of(["domain=sensor,digits", f"data={tmp_path}"])
    assert not run.made_up and run.data_note.startswith(f"Data under {tmp_path} (Sensor). Real data that come with")


def test_tables_with_it_have_a_folder_of_their_own(tmp_path: Path) -> None:
    def folder(*words: str) -> Path:
        return Run.of([f"runs={tmp_path}/runs", *words]).places.results

    assert folder() == folder("domain=sensor") == Path("results/mini")
    assert folder("domain=digits") == Path("results/mini/digits")
    assert folder("domain=sensor,digits", "protocol=published") == Path("results/mini/published/sensor-digits")
    real = folder(f"data={tmp_path}")
    assert folder(f"data={tmp_path}", "domain=digits") == real / "digits" and real.is_relative_to(tmp_path / "runs")
    assert folder("domain=digits", f"out={tmp_path}/out") == tmp_path / "out"


def test_a_suite_of_it_leaves_the_full_table_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["domain=digits", "method=none,rq", "trainer.progress=false", "trainer.accelerator=cpu", "suite.workers=1"]
    assert main(["suite", *words, *LITTLE]) == 0
    assert "Real data that come with the installed packages: Digits" in capsys.readouterr().out
    written = sorted({file.parent for file in Path("results").rglob("*.csv")})
    assert len(written) == 1 and written[0].parent == Path("results/mini/digits")  # a variant: the budget is changed
    assert [row["task"] for row in csv.DictReader((written[0] / "table.csv").open())] == ["digits"]
    records = [json.loads(file.read_text()) for file in Path("runs").rglob("records/**/digits.json")]
    assert len(records) == 2 and not any(one["made_up_data"] for one in records)
    assert main(["suite", *words, *LITTLE, "--verify"]) == 0
    assert main(["data", "verify", "digits"]) == 0 and "digits: test: 382 examples" in capsys.readouterr().out
    assert main(["data", "fetch", "digits"]) == 0 and "nothing to fetch, installed with" in capsys.readouterr().out
