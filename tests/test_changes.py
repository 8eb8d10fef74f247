"""Results whose options, code or data have changed since: none is mixed with new ones, and each is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dabs_rq import cli, table
from dabs_rq.errors import CheckpointError
from dabs_rq.pretrain import pretrain as pretrain_module
from dabs_rq.pretrain.pretrain import pretrain
from dabs_rq.records import record
from dabs_rq.run import Run, compose
from dabs_rq.run.changes import changed_options
from dabs_rq.suite import plan
from dabs_rq.transfer.transfer import transfer

WORDS = ("domain=sensor", "method=none", "transfer.also=[]", "transfer.max_examples=60", "trainer.progress=false")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, miniature: Callable[[str], Path]) -> Path:
    """A folder with data and one finished cell."""
    folder = tmp_path_factory.mktemp("finished")
    shutil.copytree(miniature("sensor"), folder / "data")
    for name in ("runs", "prepared"):
        (folder / name).mkdir()
    (folder / "runs" / "prepared").symlink_to(folder / "prepared")  # restored with the results, not copied
    pretrain(run(folder), 0)
    assert not transfer(run(folder), 0)[1]
    return folder


@pytest.fixture
def folder(finished: Path) -> Iterator[Path]:
    """The folder; its results, not its data, are restored after the test."""
    shutil.copytree(finished / "runs", finished / "kept", symlinks=True)
    yield finished
    shutil.rmtree(finished / "runs")
    (finished / "kept").rename(finished / "runs")


def run(folder: Path, *more: str) -> Run:
    places = (f"runs={folder / 'runs'}", f"data={folder / 'data'}", f"out={folder / 'out'}")
    return Run.of([*WORDS, *places, *more])


def edit_config(monkeypatch: pytest.MonkeyPatch, folder: Path, old: str, new: str) -> None:
    """Change a value of configs/scale/mini.yaml."""
    shutil.copytree(compose.CONFIGS, folder, dirs_exist_ok=True)
    mini = folder / "scale" / "mini.yaml"
    assert old in mini.read_text()
    mini.write_text(mini.read_text().replace(old, new))
    monkeypatch.setattr(compose, "CONFIGS", folder)


def edit_record(file: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    values = json.loads(file.read_text())
    edit(values)
    file.write_text(json.dumps(values))


def test_an_old_budget_is_not_in_the_table_but_computed_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (score,) = table.build(run(folder)).frame["none"]
    assert 0 < score <= 100
    edit_config(monkeypatch, tmp_path, "max_iterations: 20000", "max_iterations: 400")
    one, why = run(folder), "transfer.max_iterations was 20000, is 400"
    built = table.build(one)
    assert built.frame["none"].isna().all() and not built.errors
    assert any(
        note.startswith("Left out") and why in note and "PAMAP2 with None, seed 0" in note for note in built.notes
    )
    (left,) = [job for job in plan.build_plan(one).jobs if job.step != "prepare"]
    assert left.step == "transfer"
    capsys.readouterr()
    assert not transfer(one, 0)[1]
    assert f"was computed with other options: {why}; computing it again" in capsys.readouterr().out
    assert record.read(one.record_file("pamap2", 0)).options["transfer.max_iterations"] == 400
    assert table.build(one).frame["none"].notna().all()


def test_an_encoder_of_an_old_budget_is_neither_kept_nor_probed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = run(folder).checkpoint_file(0)
    before = file.read_bytes()
    edit_config(monkeypatch, tmp_path, "  steps: 40\n", "  steps: 70\n")
    one, why = run(folder), "pretrain.steps was 40, is 70"
    assert one.checkpoint_file(0) == file
    assert table.build(one).frame["none"].isna().all()
    with pytest.raises(CheckpointError, match=f"{why}. Make it again: make pretrain DOMAIN=sensor METHOD=none"):
        transfer(one, 0)
    assert [job.step for job in plan.build_plan(one).jobs] == ["prepare", "pretrain", "transfer"]
    pretrain(one, 0)
    assert why in capsys.readouterr().out and file.with_name(f"{file.name}.stale").read_bytes() == before
    assert not transfer(one, 0)[1] and table.build(one).frame["none"].notna().all()


@pytest.mark.parametrize(
    ("option", "recorded", "configured", "change"),
    [
        ("transfer.max_iterations", None, 20_000, ""),  # not recorded: its declared default, which it still has
        (
            "transfer.max_iterations",
            None,
            400,
            "transfer.max_iterations was not recorded (its default is 20000), is 400",
        ),
        ("transfer.max_iterations", 7, 20_000, "transfer.max_iterations was 7, is 20000"),
        ("transfer.gone", 1, 20_000, "transfer.gone was 1, is no option now"),
        ("loader.workers", 3, 20_000, ""),
    ],
)
def test_what_counts_as_another_option(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    option: str,
    recorded: int | None,
    configured: int,
    change: str,
) -> None:
    file = run(folder).record_file("pamap2", 0)
    edit_record(file, lambda values: values["options"].pop(option, None))
    if recorded is not None:
        edit_record(file, lambda values: values["options"].update({option: recorded}))
    edit_config(monkeypatch, tmp_path, "max_iterations: 20000", f"max_iterations: {configured}")
    one = run(folder)
    assert changed_options(one, record.read(file).options, of_pretraining=False) == ([change] if change else [])
    built = table.build(one)
    assert built.frame["none"].isna().all() == bool(change)
    assert any(change in note for note in built.notes if note.startswith("Left out")) == bool(change)


def shown_by(command: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert cli.main(command) == 0
    return capsys.readouterr().out


def test_fresh_results_are_kept_without_a_word(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("pretrain", "transfer", "table"):
        shown = shown_by([command, *run(folder).words], capsys)
        assert "change" not in shown and "REFRESH" not in shown


@pytest.mark.parametrize("command", ["pretrain", "transfer", "table"])
@pytest.mark.parametrize("of", ["pretraining code", "probe code", "data", "encoder"])
def test_every_command_says_what_changed_behind_what_it_keeps(
    command: str, of: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one = run(folder)
    record_file, named = (
        one.record_file("pamap2", 0),
        {"pretrain": ("pretraining code",), "transfer": ("probe code", "data")},
    )
    if of == "pretraining code":
        real = pretrain_module.computed_by
        monkeypatch.setattr(pretrain_module, "computed_by", lambda *at: real(*at) | {"dabs_rq.quantize": "other"})
    elif of == "probe code":
        edit_record(record_file, lambda values: values["code"].update({"dabs_rq.quantize": "other"}))
    elif of == "data":
        edit_record(record_file, lambda values: values.update(train_split="other"))
    else:
        edit_record(record_file, lambda values: values.update(checkpoint="other"))
    before = {file: file.read_bytes() for file in (record_file, one.checkpoint_file(0))}
    shown = shown_by([command, *one.words], capsys)
    said = command == "table" or of in named[command]
    assert (
        "make suite REFRESH=1 DOMAIN=sensor METHOD=none SCALE=mini PROTOCOL=corrected SEEDS=0 DATA=" in shown
    ) == said
    if said and of.endswith(" code"):
        assert "dabs_rq.quantize" in shown
    if of != "encoder":  # a record of another encoder is computed again
        assert before == {file: file.read_bytes() for file in before}
