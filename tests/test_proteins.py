"""The proteins domain: TAPE's files against DABS's loader, both protocols' padding and targets, and damaged files."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dabs_rq import checkpoint
from dabs_rq.data.examples import Examples
from dabs_rq.domain import Task
from dabs_rq.domains.proteins import DOMAIN, pfam
from dabs_rq.domains.proteins.tape import RESIDUES
from dabs_rq.encoders.transformer import Transformer
from dabs_rq.errors import CheckpointError, DataError, MissingDataError
from dabs_rq.records.metrics import score
from dabs_rq.run import Run
from dabs_rq.spec import PerToken, Tokens
from dabs_rq.transfer.scores import scores
from dabs_rq.transfer.targets import check_evaluable
from tests.golden_cases import FOLDER, Case

Read = Callable[..., Examples]
NATIVE = FOLDER / "dabs2" / "native"
TASKS = {task.name: task for task in DOMAIN.tasks}
FILES = {
    "scop": ("remote_homology", {"fold_label": 3}),
    "secondary_struct": ("secondary_structure", {"ss3": [0, 1, 2], "valid_mask": [True, True, False]}),
    "stability": ("stability", {"stability_score": [0.5]}),
    "fluorescence": ("fluorescence", {"log_fluorescence": [1.5]}),
    "pfam_transfer": ("pfam", {"clan": 7}),
}


def put(root: Path, folder: str, split: str, records: Any) -> Path:
    file = root / "proteins" / folder / f"{folder}_{split}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(records if isinstance(records, str) else json.dumps(records))
    return file


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Every source, with four equal proteins of three residues in each file."""
    for folder, fields in FILES.values():
        for split in ("train", "valid"):
            put(tmp_path, folder, split, [{"primary": "AXC", "protein_length": 3, **fields}] * 4)
    return tmp_path


def arrays(examples: Examples) -> np.ndarray:
    return examples.inputs[0].take(np.arange(len(examples)))


# ---- against the reference -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TASKS)
def test_the_published_readers_are_dabss(name: str, read: Read) -> None:
    for part, split in (("train", "train"), ("val", "test")):
        golden = Case(f"proteins/{name}/{part}")
        found = read(TASKS[name].load, NATIVE, "proteins", split, protocol="published", scale="paper")
        np.testing.assert_array_equal(arrays(found), golden["tokens"].numpy())
        expected = golden["labels"].numpy()
        if name == "secondary_struct" and split == "test":
            expected = np.where(expected == 3, -1, expected)  # no score counts padding
        np.testing.assert_allclose(found.targets, expected, rtol=1e-6)


def test_the_published_pretraining_is_dabss(read: Read) -> None:
    for part, split in (("train", "train"), ("val", "validation")):
        found = read(DOMAIN.pretraining.load, NATIVE, "proteins", split, protocol="published", scale="paper")
        np.testing.assert_array_equal(arrays(found), Case(f"proteins/pfam_pretrain/{part}")["tokens"].numpy())
        assert found.targets is None


def test_the_alphabet_is_dabss() -> None:
    assert RESIDUES == b"XARNDCQEGHILKMFPSTWYVUOBZJ"
    paper = DOMAIN.inputs["paper"][0]
    assert isinstance(paper, Tokens) and (paper.length, paper.vocabulary) == (128, 26)


def test_the_transfer_set_of_pfam_is_the_last_200_000_of_its_validation_file() -> None:
    rows = np.random.default_rng(0).permutation(200_009)
    first, last = pfam._cut(rows)
    assert len(first) == 9 and last.tolist() == rows[9:].tolist()


# ---- what the corrected protocol changes ---------------------------------------------------------------------------


def test_padding_has_an_id_of_its_own_and_an_unknown_residue_is_real(
    root: Path, tmp_path: Path, miniature: Callable[[str], Path], read: Read
) -> None:
    words = ["domain=proteins", f"data={miniature('proteins')}", f"runs={tmp_path}"]
    (published,), (corrected,) = (Run.of([*words, f"protocol={one}"]).inputs for one in ("published", "corrected"))
    assert isinstance(published, Tokens) and (published.vocabulary, published.pad) == (26, 0)
    assert isinstance(corrected, Tokens) and (corrected.vocabulary, corrected.pad) == (27, 26)
    task, rows = TASKS["scop"], {}
    for protocol, pad in (("published", 0), ("corrected", 26)):
        rows[protocol] = arrays(read(task.load, root, "proteins", "train", protocol=protocol))
        assert rows[protocol][0].tolist() == [1, 0, 5] + [pad] * 61
    sizes: dict[str, Any] = {"width": 16, "depth": 1, "heads": 2, "head_width": 8, "mlp_width": 16, "out_width": 4}
    mask = Transformer((corrected,), **sizes).mask((torch.from_numpy(rows["corrected"]),))
    assert mask is not None and mask.sum(1).tolist() == [3] * 4
    without = Transformer((published,), **sizes, mask_padding=False)
    assert without.mask((torch.from_numpy(rows["published"]),)) is None


def test_a_checkpoint_of_dabs_has_no_padding_to_mask(tmp_path: Path) -> None:
    from dabs_rq.checkpoint.dabs import dabs_name

    spec = DOMAIN.inputs["mini"][0]
    sizes: dict[str, Any] = {"width": 16, "depth": 1, "heads": 2, "head_width": 8, "mlp_width": 16, "out_width": 4}
    state = {f"model.{dabs_name(name)}": tensor for name, tensor in Transformer((spec,), **sizes).state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "model.ckpt")
    loaded = checkpoint.load_encoder(tmp_path / "model.ckpt", inputs=(spec,), heads=2, head_width=8)
    assert loaded.width == 16
    own = dataclasses.replace(spec, vocabulary=27, pad=26, shared_pad=False)  # type: ignore[call-arg]
    with pytest.raises(CheckpointError, match=r"padding, id 26 of input 'residues' \(with protocol.own_padding=false"):
        checkpoint.load_encoder(tmp_path / "model.ckpt", inputs=(own,), heads=2, head_width=8)


@pytest.mark.parametrize(
    ("options", "split", "expected"),
    [
        ({}, "train", [0, 1, -1, -1]),
        ({}, "test", [0, 1, -1, -1]),
        ({"structure_valid_mask": False}, "train", [0, 1, 2, -1]),
        ({"structure_padding": "class"}, "train", [0, 1, -1, 3]),
        ({"protocol": "published"}, "train", [0, 1, 2, 3]),
        ({"protocol": "published"}, "test", [0, 1, 2, -1]),
    ],
)
def test_which_residues_count(options: dict[str, Any], split: str, expected: list[int], root: Path, read: Read) -> None:
    found = read(TASKS["secondary_struct"].load, root, "proteins", split, **options)
    assert found.targets[0, :4].tolist() == expected and (found.targets[:, 4:] == expected[3]).all()


def test_long_proteins_are_cut_with_their_targets(root: Path, read: Read) -> None:
    states = [i % 3 for i in range(200)]
    record = {"primary": "ACDE" * 50, "ss3": states, "valid_mask": [True] * 200}
    put(root, "secondary_structure", "train", [record])
    found = read(TASKS["secondary_struct"].load, root, "proteins", "train")
    assert found.targets[0].tolist() == states[:64] and (arrays(found)[0] < 26).all()


@pytest.mark.parametrize(("name", "size"), [("fluorescence", 512), ("stability", 128)])
def test_a_published_correlation_is_averaged_over_the_tasks_batches(name: str, size: int, tmp_path: Path) -> None:
    outputs, targets = np.random.default_rng(0).normal(size=(2, 1_000))
    run = Run.of(["domain=proteins", "protocol=published", "transfer.batch_size=null", f"runs={tmp_path}"])
    found = scores(run, TASKS[name], outputs, targets)["score"]
    assert found == pytest.approx(
        score("spearman", outputs, targets, correlation="batches", spearman_ties="ordinal", batch_size=size)
    )
    whole = score("spearman", outputs, targets)
    assert abs(found - whole) > 1e-6


# ---- TAPE's test files ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "split", "end"),
    [
        ("scop", "superfamily_holdout", "test_superfamily_holdout"),
        ("secondary_struct", "cb513", "cb513"),
        ("stability", "tape_test", "test"),
        ("fluorescence", "tape_test", "test"),
    ],
)
def test_tapes_test_files_are_further_splits(name: str, split: str, end: str, root: Path, read: Read) -> None:
    task, (folder, fields) = TASKS[name], FILES[name]
    assert split in task.extra_splits
    with pytest.raises(MissingDataError, match=f"{folder}_{end}.json"):
        read(task.load, root, "proteins", split)
    put(root, folder, end, [{"primary": "AXC", **fields}] * 2)
    found = read(task.load, root, "proteins", split)
    check_evaluable(found.targets, task.target, split)
    assert len(found) == 2 and found.ids[0].as_py().startswith(f"{folder}_{end}/")


# ---- damaged files -------------------------------------------------------------------------------------------------


def damaged(name: str, **fields: Any) -> list[dict[str, Any]]:
    """Two proteins, the second of which has these fields."""
    own = FILES[name][1]
    return [{"primary": "AXC", **own}, {"primary": "AXC", **own, **fields}]


@pytest.mark.parametrize(
    ("name", "fields", "expected"),
    [
        ("scop", {"fold_label": 1195}, "record 1, fold_label: label 1195 is not a whole number from 0 to 1194"),
        ("scop", {"fold_label": [3]}, "record 1, fold_label: label [3] is not a whole number"),
        (
            "stability",
            {"stability_score": [1.0, 2.0]},
            "record 1: expected a list of one finite number as stability_score",
        ),
        ("stability", {"stability_score": 1.0}, "expected a list of one finite number as stability_score, found 1.0"),
        ("stability", {"stability_score": [float("nan")]}, "found [nan]"),
        ("fluorescence", {"log_fluorescence": [True]}, "expected a list of one finite number as log_fluorescence"),
        ("fluorescence", {"log_fluorescence": []}, "found []"),
        (
            "secondary_struct",
            {"valid_mask": [True] * 4},
            "record 1: expected 3 entries in valid_mask, as residues, found 4",
        ),
        ("secondary_struct", {"valid_mask": [1, 0, "no"]}, "expected true or false in valid_mask, found 'no'"),
        ("secondary_struct", {"ss3": [0, 1]}, "record 1: expected 3 entries in ss3, as residues, found 2"),
        ("secondary_struct", {"ss3": "HEC"}, "expected 3 entries in ss3, as residues, found 'HEC'"),
        ("secondary_struct", {"ss3": [0, 1, 3]}, "record 1: expected whole numbers from 0 to 2 in ss3, found 3"),
        ("secondary_struct", {"ss3": [0, 1, True]}, "expected whole numbers from 0 to 2 in ss3, found True"),
        ("scop", {"primary": ""}, "record 1: expected residues in `primary`, found ''"),
        ("scop", {"primary": 5}, "record 1: expected residues in `primary`, found 5"),
        ("scop", {"primary": 'A"C'}, "record 1: expected letters in `primary`"),
        ("pfam_transfer", {"clan": "CL0001"}, "record 1: expected a whole number as clan, found 'CL0001'"),
    ],
)
def test_a_damaged_record_is_named(name: str, fields: dict[str, Any], expected: str, root: Path, read: Read) -> None:
    file = put(root, FILES[name][0], "train", damaged(name, **fields))
    with pytest.raises(DataError) as error:
        read(TASKS[name].load, root, "proteins", "train")
    assert f"{file}, record 1" in str(error.value) and expected in str(error.value)


@pytest.mark.parametrize("name", TASKS)
def test_a_record_without_its_label_is_named(name: str, root: Path, read: Read) -> None:
    file = put(root, FILES[name][0], "train", [{"primary": "AXC"}])
    with pytest.raises(DataError, match=r"record 0: expected a field '\w+', found primary") as error:
        read(TASKS[name].load, root, "proteins", "train")
    assert str(file) in str(error.value)


@pytest.mark.parametrize("letter", ["*", "a", "\u00e9"])
def test_a_letter_that_is_no_residue_is_named(letter: str, root: Path, read: Read) -> None:
    text = json.dumps(damaged("stability", primary=f"A{letter}C"), ensure_ascii=False)
    file = put(root, "stability", "train", text)
    found = read(TASKS["stability"].load, root, "proteins", "train")
    with pytest.raises(
        DataError, match=rf"record 1: expected residues, the letters {RESIDUES.decode()}, found '"
    ) as error:
        arrays(found)
    assert str(file) in str(error.value)


def test_broken_json_is_named_with_its_place(root: Path, read: Read) -> None:
    file = put(root, "stability", "valid", '[{"primary": "AC", "stability_score": [1.0]}, {"primary": "A')
    with pytest.raises(DataError, match=r"record 1, which begins at byte 46, is not JSON at byte 58") as error:
        read(TASKS["stability"].load, root, "proteins", "test")
    assert str(file) in str(error.value)


def test_a_clan_that_pretraining_lacks_is_named(root: Path, read: Read) -> None:
    records = [{"primary": "AXC", "clan": clan} for clan in (7, 9, 9, 9)]
    file = put(root, "pfam", "valid", records)
    with pytest.raises(DataError, match=r"record \d: clan 9 is not among the 1 clans of ") as error:
        read(TASKS["pfam_transfer"].load, root, "proteins", "train")
    assert str(file) in str(error.value)


@pytest.mark.parametrize("name", TASKS)
def test_a_missing_file_is_listed_with_its_place(name: str, root: Path, read: Read) -> None:
    task: Task = TASKS[name]
    (root / "proteins" / FILES[name][0] / f"{FILES[name][0]}_valid.json").unlink()
    with pytest.raises(MissingDataError, match=rf"missing .*{FILES[name][0]}_valid\.json"):
        read(task.load, root, "proteins", "train")


# ---- the index -----------------------------------------------------------------------------------------------------


def test_the_index_of_pfam_is_prepared_once(root: Path, read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    put(root, "pfam", "train", [{"primary": "ACX"[: 1 + i % 3], "clan": i % 5} for i in range(40)])
    first = read(DOMAIN.pretraining.load, root, "proteins", "train", prepare="always")
    monkeypatch.setattr(pfam.tape, "proteins", None)
    again = read(DOMAIN.pretraining.load, root, "proteins", "train", prepare="always")
    assert again.key == first.key and (arrays(again) == arrays(first)).all()
    monkeypatch.undo()
    assert (arrays(read(DOMAIN.pretraining.load, root, "proteins", "train")) == arrays(first)).all()
    put(root, "pfam", "train", [{"primary": "ACDE", "clan": 1}] * 7)
    changed = read(DOMAIN.pretraining.load, root, "proteins", "train", prepare="always")
    assert len(changed) == 7 and arrays(changed)[0, :4].tolist() == [1, 5, 4, 7]


def test_every_state_of_a_residue_is_known(miniature: Callable[[str], Path], read: Read) -> None:
    task = TASKS["secondary_struct"]
    assert isinstance(task.target, PerToken)
    for split in ("train", "test", "cb513"):
        found = read(task.load, miniature("proteins"), "proteins", split)
        assert set(np.unique(found.targets).tolist()) == {-1, 0, 1, 2}
