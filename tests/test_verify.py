"""Verification: every way in which a finished cell can stop following from what is there now."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from dabs_rq import cli, table
from dabs_rq.pretrain import pretrain as pretrain_module
from dabs_rq.pretrain.pretrain import pretrain
from dabs_rq.records import provenance, recheck, record
from dabs_rq.records.bootstrap import standard_error
from dabs_rq.run import Run
from dabs_rq.run.compose import CONFIGS
from dabs_rq.suite import verify
from dabs_rq.transfer import transfer as transfer_module
from dabs_rq.transfer.transfer import transfer

WORDS = ("domains=[sensor]", "methods=[none]", "transfer.also=[]", "transfer.max_examples=60")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, miniature: Callable[[str], Path]) -> Path:
    """A folder with data and one finished cell."""
    return finish(tmp_path_factory.mktemp("verify"), miniature("sensor"))


def finish(folder: Path, data: Path) -> Path:
    shutil.copytree(data, folder / "data")
    for name in ("runs", "prepared"):
        (folder / name).mkdir()
    (folder / "runs" / "prepared").symlink_to(folder / "prepared")  # restored with the results, not copied
    run = Run.of(words(folder)).replace(method="none", domain="sensor")
    pretrain(run, 0)
    assert not transfer(run, 0)[1]
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Iterator[Path]:
    """It, to be changed. Its results are restored after the test; its data are moved, because copies have new times."""
    shutil.copytree(finished / "runs", tmp_path / "kept", symlinks=True)
    yield finished
    shutil.rmtree(finished / "runs")
    shutil.copytree(tmp_path / "kept", finished / "runs", symlinks=True)


def words(folder: Path) -> list[str]:
    return [*WORDS, f"runs={folder / 'runs'}", f"data={folder / 'data'}"]


def verified(folder: Path, *more: str) -> verify.Cell:
    (cell,) = verify.verify(Run.of([*words(folder), *more]))
    return cell


def test_what_was_just_made_is_fresh(folder: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*.json")}
    assert verified(folder).state == "fresh"
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*.json")} == before


def test_no_record_is_missing(folder: Path) -> None:
    verified(folder).file.unlink()
    assert verified(folder).state == "missing"


def test_a_changed_value_in_configs_is_stale(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(CONFIGS, tmp_path / "configs")
    mini = tmp_path / "configs" / "scale" / "mini.yaml"
    mini.write_text(mini.read_text().replace("max_iterations: 20000", "max_iterations: 400"))
    monkeypatch.setattr("dabs_rq.run.compose.CONFIGS", tmp_path / "configs")
    cell = verified(folder)
    assert cell.state == "stale" and cell.reasons == ("options: transfer.max_iterations was 20000, is 400",)


def test_data_that_are_gone_are_stale(folder: Path) -> None:
    shutil.move(folder / "data" / "sensor", folder / "elsewhere")
    cell = verified(folder)
    assert cell.state == "stale" and "is not under" in cell.reasons[0]
    shutil.move(folder / "elsewhere", folder / "data" / "sensor")
    assert verified(folder).state == "fresh", "a folder that moves back is the same"


@pytest.mark.parametrize("time_is_kept", [False, True])
def test_changed_data_are_stale(tmp_path: Path, miniature: Callable[[str], Path], time_is_kept: bool) -> None:
    folder = finish(tmp_path, miniature("sensor"))
    file = next((folder / "data").rglob("subject105.dat"))
    stat = file.stat()
    if time_is_kept:
        file.write_bytes(file.read_bytes())  # of the same size, and below with the same time: as `cp -p` or rsync would
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + (0 if time_is_kept else 10**9)))
    cell = verified(folder)
    assert cell.state == "stale" and [reason.split()[:2] for reason in cell.reasons] == [["data:", "test_split"]]


def test_another_encoder_is_stale_and_a_damaged_one_broken(folder: Path) -> None:
    file = next(folder.rglob("encoder.safetensors"))
    whole = file.read_bytes()
    file.write_bytes(whole[:-4] + b"\x01\x02\x03\x04")
    cell = verified(folder)
    assert cell.state == "broken" and "is damaged" in cell.reasons[0]
    file.unlink()
    assert verified(folder).state == "broken"
    other = Run.of([*words(folder), "seeds=[1]"]).replace(method="none", domain="sensor")
    shutil.copy(pretrain(other, 1), file)
    cell = verified(folder)
    assert cell.state == "stale" and "its checkpoint has" in cell.reasons[0]


def test_predictions_that_give_another_score_are_broken(folder: Path) -> None:
    file = verified(folder).file
    text = json.loads(file.read_text())
    file.write_text(json.dumps(text | {"score": text["score"] / 2}))
    assert "differs from its predictions" in verified(folder).reasons[0]
    file.with_suffix(".parquet").unlink()
    cell = verified(folder)
    assert cell.state == "broken" and "no readable predictions" in cell.reasons[0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("standard_error", 0.001),
        ("majority", 0.01),
        ("n_examples", 7),
        ("test_labels", "0123456789abcdef"),
        ("metric", "matthews"),
        ("also", {"matthews": 0.99}),
    ],
)
def test_whatever_follows_from_the_predictions_is_recomputed(folder: Path, name: str, value: object) -> None:
    file = verified(folder).file
    file.write_text(json.dumps(json.loads(file.read_text()) | {name: value}))
    cell = verified(folder)
    assert cell.state == "broken" and name in cell.reasons[0]
    (error,) = table.build(Run.of([*words(folder)])).errors
    assert name in str(error)


def test_other_targets_are_noticed_even_if_the_score_follows_from_them(folder: Path) -> None:
    file = verified(folder).file
    result, stored = record.read(file), record.predictions(file)
    targets = stored.outputs.argmax(1)
    error = standard_error("accuracy", stored.outputs, targets)
    largest = float(np.bincount(targets).max() / len(targets))
    edited = dataclasses.replace(result, score=1.0, standard_error=error, majority=largest)
    record.write(file.parent, edited, stored.ids, targets, stored.outputs)
    cell = verified(folder)
    assert cell.state == "broken" and "test_labels" in cell.reasons[0]
    honest = recheck.labels_key(record.predictions(file))
    record.write(file.parent, dataclasses.replace(edited, test_labels=honest), stored.ids, targets, stored.outputs)
    cell = verified(folder)
    assert cell.state == "stale" and "data: test_labels" in cell.reasons[0]


@pytest.mark.parametrize("recorded", [0.5, math.nan, math.inf])
def test_nan_passes_no_comparison(recorded: float) -> None:
    assert recheck.differs(recorded, math.nan) and (recheck.differs(recorded, 0.5) == (recorded != 0.5))


def test_changed_code_is_stale_and_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = transfer_module.computed_by
    monkeypatch.setattr(
        transfer_module, "computed_by", lambda *of: real(*of) | {"dabs_rq.transfer.regression": "other"}
    )
    cell = verified(folder)
    assert cell.state == "stale" and "code: dabs_rq.transfer.regression" in cell.reasons


@pytest.mark.slow
def test_what_is_stale_is_computed_again_when_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real, parts = pretrain_module.computed_by, {"dabs_rq.encoders.transformer": "other"}
    monkeypatch.setattr(pretrain_module, "computed_by", lambda *of: real(*of) | parts)
    stale = verified(folder)
    assert stale.state == "stale" and stale.reasons == ("encoder: code: dabs_rq.encoders.transformer",)
    before = {file: file.read_bytes() for file in folder.rglob("seed-0/[!.]*") if file.is_file()}
    assert len(before) == 5  # an encoder, a record of two splits, and their predictions
    refresh = ["suite", "--refresh", *words(folder), f"out={folder}", "suite.executor=in_process"]

    shutil.move(folder / "data" / "sensor", folder / "elsewhere")
    assert cli.main(refresh) == 0 and "is not under" in capsys.readouterr().out
    assert all(file.read_bytes() == whole for file, whole in before.items()), "without data nothing can be made again"
    shutil.move(folder / "elsewhere", folder / "data" / "sensor")

    assert cli.main(refresh) == 0
    shown = capsys.readouterr().out
    assert "stale: sensor / pamap2 with none, seed 0\n  why: encoder: code: dabs_rq.encoders.transformer\n" in shown
    assert verified(folder).state == "fresh"
    assert all(file.with_name(f"{file.name}.stale").read_bytes() == whole for file, whole in before.items())
    assert cli.main(refresh) == 0 and "nothing left to compute" in capsys.readouterr().out

    parts["dabs_rq.encoders.transformer"] = "another"
    stale.file.unlink()  # no record is stale, but the next would be, of this encoder
    assert cli.main(refresh) == 0 and verified(folder).state == "fresh"


def test_a_method_s_code_is_told_by_what_it_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ours").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    package = f"{provenance.registry.EXTRA}test"
    (tmp_path / package).mkdir()
    file = tmp_path / package / "one.py"
    (tmp_path / package / "other.py").write_text("VALUE = 1\n")

    def hashes(text: str) -> dict[str, str]:
        file.write_text(text)
        provenance.refresh()
        return provenance.code(f"{package}.one")

    first = hashes("def f(x):\n    return x + 1\n")
    assert set(first) == {f"{package}.one"}
    assert hashes('"""What."""\ndef f(x):\n    """Why."""\n    return (x + 1)  # so\n') == first
    assert hashes("def f(x):\n    # one more\n    return (x +\n            1)\n") == first
    assert hashes("def f(x):\n    return x + 2\n") != first
    assert set(hashes("def f(x):\n    from .other import VALUE\n    return x + VALUE\n")) == {
        f"{package}.one",
        f"{package}.other",
    }
    assert "dabs_rq.files" in hashes("from dabs_rq.files import digest\n")


def test_other_libraries_are_named_and_what_is_not_checked(folder: Path) -> None:
    cell = verified(folder)
    assert cell.libraries == ()
    values = json.loads(cell.file.read_text())
    cell.file.write_text(json.dumps(values | {"versions": values["versions"] | {"scipy": "0.1", "gone": "2"}}))
    cell = verified(folder)
    shown = verify.to_text([cell])
    assert cell.state == "fresh" and "scipy was 0.1, is " in shown and "gone was 2, is not installed (1 cells)" in shown
    assert "not checked: " in shown and shown.endswith("1 fresh, 0 stale, 0 broken, 0 failed, 0 missing")


def test_the_text_puts_cells_with_the_same_reasons_together(folder: Path) -> None:
    cell = verified(folder)
    text = verify.to_text([cell, *verify.verify(Run.of([*words(folder), "seeds=[7,8]"]))])
    assert text.endswith("1 fresh, 0 stale, 0 broken, 0 failed, 2 missing")
    assert "missing: 2 cells" in text and "sensor / pamap2 with none, seed 8" in text
