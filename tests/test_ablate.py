"""Ablations: what is compared, that settings are variants like any other, and that intervals mean what they say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dabs_rq import registry
from dabs_rq.cli import main
from dabs_rq.errors import OptionError, RecordError
from dabs_rq.experiment import ablate, settings
from dabs_rq.metrics.accuracy import accuracy
from dabs_rq.protocol import option_fields
from dabs_rq.records import intervals as compare
from dabs_rq.records import record
from dabs_rq.records.record import Record
from dabs_rq.run import Run
from dabs_rq.run.compose import load_protocol
from tests.test_pretrain import SMALL
from tests.test_records_and_table import VALUES


@pytest.fixture
def words(tmp_path: Path, miniature: Callable[[str], Path]) -> list[str]:
    """A small run on the miniature of sensor."""
    places = [f"data={miniature('sensor')}", f"runs={tmp_path / 'runs'}", f"out={tmp_path / 'out'}"]
    budget = ["pretrain.steps=2", "transfer.max_examples=60", "transfer.strengths=[1]"]
    return ["domain=sensor", "method=rq", *places, *SMALL, *budget]


def a_record(score: float, standard_error: float) -> Record:
    return Record(**VALUES | {"score": score, "standard_error": standard_error})


def axes(over: str, *words: str) -> dict[str, tuple[Any, ...]]:
    return {axis.option: axis.values for axis in settings.axes(Run.of(words), over)}


def test_values_are_given_or_those_declared_with_the_option_and_the_runs_own_is_first() -> None:
    assert axes("method.granularity") == {"method.granularity": ("channel", "instance")}
    assert axes("method.bins") == {"method.bins": (8, 2, 4, 16)}
    assert axes("method.bins", "method.bins=4") == {"method.bins": (4, 2, 8, 16)}
    assert axes("method.views,method.p=0.5,0.75,pretrain.steps=1,2") == {
        "method.views": (2, 1),
        "method.p": (0.5, "0.75"),
        "pretrain.steps": ("1", "2"),
    }
    assert axes("method.gradient", "protocol=published")["method.gradient"][0] == "extremes"
    assert axes("protocol.padding_mask") == {"protocol.padding_mask": (True, False)}


def test_protocol_means_all_of_its_options() -> None:
    found = axes("protocol", "table.columns=dabs2", f"method={','.join(registry.method_names())}")
    assert set(found) == {f"protocol.{one.name}" for one in option_fields(type(load_protocol("corrected")))}
    assert all(len(values) >= 2 for values in found.values())


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ("", "say what to compare"),
        ("method.bin", "Did you mean 'method.bins'"),
        ("protocol.emix_weighting", "belongs to method emix, which was not chosen"),
        ("pretrain.steps", "declares no values"),
        ("domain=sensor,text", "domain cannot be compared"),
        ("seeds=0,1", "seeds cannot be compared"),
        ("encoder.name=transformer", "encoder.name cannot be compared"),
    ],
)
def test_what_cannot_be_compared_is_refused(over: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        axes(over, "method=rq")


@pytest.mark.parametrize("each", [False, True])
def test_equal_settings_are_one_cell(each: bool) -> None:
    run = Run.of(["domain=digits", "method=rq"])
    found = ablate.ablation(run, "method.bins=8,08,4,04.0,16", each=each)
    assert [vars(cell.run.options.method.options)["bins"] for cell in found.cells] == [8, 4, 16]
    references = {found.experiment.reference_of(cell.name) for cell in found.cells}
    assert references == {found.cells[0].name}
    for over in ("method.bins=8,08", "method.bins=4,04", "suite.workers=1,2"):
        with pytest.raises(OptionError, match=r"nothing to compare: .* has the same results as"):
            ablate.ablation(run, over, each=each)


def test_a_grid_and_one_at_a_time() -> None:
    found = settings.axes(Run.of([]), "method.views,method.bins=4,8")
    (grid,) = settings.comparisons(found, each=False)
    assert [tuple(setting.values()) for setting in grid.settings] == [(2, 8), (2, 4), (1, 8), (1, 4)]
    alone = settings.comparisons(found, each=True)
    assert [list(one.settings) for one in alone] == [
        [{"method.views": 2}, {"method.views": 1}],
        [{"method.bins": 8}, {"method.bins": 4}],
    ]


@pytest.mark.slow
def test_the_command_computes_a_grid_once_and_writes_it_with_intervals(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["ablate", *words, "seeds=[0,1]", "--over", "method.granularity,method.views"]
    assert main(command) == 0
    (folder,) = (tmp_path / "out").glob("ablation-sensor-rq-*")
    shown = (folder / "ablation.md").read_text()
    said = capsys.readouterr().out
    assert shown in said and f"wrote {folder / 'ablation'}.csv, .md, .tex, .html and figures" in said
    assert "over seeds (Student's t)" in shown and "seeds 0, 1" in shown

    assert main(command) == 0 and "nothing left to compute" in capsys.readouterr().out
    frame = pd.read_csv(folder / "ablation.csv", na_values="-")
    assert frame["cell"].tolist() == [
        "rq",
        "rq method.views=1",
        "rq method.granularity=instance",
        "rq method.granularity=instance method.views=1",
    ]
    assert frame["title"][1] == "RQ, method.granularity=channel, method.views=1" and set(frame["probe"]) == {"lbfgs"}
    assert (frame["low"] <= frame["score"]).all() and (frame["score"] <= frame["high"]).all()
    assert frame["difference"].isna().tolist() == [True, False, False, False]
    assert frame["difference"].iloc[1] == pytest.approx(frame["score"].iloc[1] - frame["score"].iloc[0], abs=1e-3)
    assert (frame["seeds"] == 2).all() and (frame["n_examples"] == 60).all()
    of_default = [one for one in record.read_all(tmp_path / "runs")[0] if one.variant != "default"]
    assert len({one.variant for one in of_default}) == 4  # small budgets differ from configs/, so all are variants
    assert main(["report", *words, "seeds=[0,1]"]) == 0
    assert f"{folder.name}/ablation.html" in next((tmp_path / "out").rglob("report.html")).read_text()


def test_a_dry_run_writes_nothing(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ablate", *words, "--over", "method.views", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "pretrain sensor with rq method.views=1, seed 0" in said and not (tmp_path / "runs").exists()


def test_only_what_an_option_moves_is_computed(words: list[str]) -> None:
    found = ablate.ablation(Run.of(words), "protocol.correlation,protocol.pamap2_windows", each=True)
    assert {cell.title for cell in found.cells} == {"RQ", "RQ, protocol.pamap2_windows=draws"} and not found.errors


def test_one_at_a_time_the_unchanged_setting_is_one_cell_with_the_tasks_of_all() -> None:
    run = Run.of(["domain=images", "method=emix,rq", "tasks=cifar10,traffic_sign"])
    found = ablate.ablation(run, "method.bins=8,4,protocol.gtsrb_split", each=True)
    tasks = {cell.name: [task.name for task in cell.run.tasks] for cell in found.cells}
    assert tasks == {
        "rq": ["cifar10", "traffic_sign"],
        "rq method.bins=4": ["cifar10", "traffic_sign"],
        "emix": ["traffic_sign"],
        "emix protocol.gtsrb_split=image": ["traffic_sign"],
        "rq protocol.gtsrb_split=image": ["traffic_sign"],
    }
    assert {name: found.experiment.reference_of(name) for name in tasks}["emix protocol.gtsrb_split=image"] == "emix"


def test_a_setting_that_cannot_be_is_reported_and_the_others_go_on(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    found = ablate.ablation(Run.of(words), "method.bins=1,4")
    assert [cell.name for cell in found.cells] == ["rq method.bins=4"] and "method.bins=1" in found.errors[0]
    with pytest.raises(OptionError, match=r"nothing to compare.*method\.bins=1"):
        ablate.ablation(Run.of(words), "method.bins=1")


def test_the_interval_of_one_seed_is_that_of_its_test_examples_and_of_several_students() -> None:
    assert compare.interval([50.0], [2.0]) == pytest.approx((50 - 1.96 * 2, 50 + 1.96 * 2))
    low, high = compare.interval([1.0, 2.0, 3.0], [9.0, 9.0, 9.0])
    assert (low, high) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5))


def test_a_difference_is_paired_over_the_same_examples(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    targets = generator.integers(2, size=400)
    first = generator.normal(size=400) + 2.0 * targets - 1
    second = first + 0.1 * generator.normal(size=400)
    ids = [str(i) for i in range(400)]
    for name, outputs in (("a", first), ("b", second)):
        score, error = accuracy(outputs, targets), 0.02
        record.write(tmp_path / name, a_record(score, error), ids, targets, outputs)
    a, b = tmp_path / "a" / "pamap2.json", tmp_path / "b" / "pamap2.json"
    right = [(one >= 0) == targets for one in (first, second)]
    by_hand = np.std(right[1].astype(float) - right[0]) / 20
    assert compare.difference_error("accuracy", a, b) == pytest.approx(by_hand)
    assert 0 < compare.difference_error("pearson", a, b) < 0.02
    record.write(tmp_path / "b", a_record(0.5, 0.02), ids[::-1], targets, second)
    assert compare.difference_error("accuracy", a, b) == pytest.approx(0.02 * 2**0.5)
    b.with_suffix(".parquet").write_bytes(b"half")
    with pytest.raises(RecordError, match="no readable predictions"):
        compare.difference_error("accuracy", a, b)


def test_without_a_domain_only_those_that_declare_a_protocol_option_are_compared() -> None:
    run = Run.of(["method=none"])
    (comparison,) = settings.comparisons(settings.axes(run, "protocol.gtsrb_split"), each=False)
    assert {domain for domain, _, _ in ablate._affected(run, comparison)} == {"images"}


@pytest.mark.parametrize("methods", ["none,rq", "rq,none"])
def test_a_method_without_the_option_is_left_out(methods: str, words: list[str]) -> None:
    found = ablate.ablation(Run.of([*words, f"method={methods}"]), "method.bins=4,8")
    assert {cell.run.method.name for cell in found.cells} == {"rq"}
