"""Results in the forms of the Hugging Face hub and of Every Eval Ever."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries

from dabs_rq import cli
from dabs_rq.errors import RecordError
from dabs_rq.run import Run
from dabs_rq.share import every_eval_ever
from dabs_rq.share.cells import choose
from tests import shared_run
from tests.test_records_and_table import fill


@pytest.fixture
def runs(miniature: Callable[[str], Path]) -> Path:
    return shared_run.computed(miniature)


def export(form: str, runs: Path, out: Path, *words: str) -> int:
    return cli.main(["export", "--format", form, *shared_run.WORDS, f"runs={runs}", f"out={out}", *words])


def test_a_model_card_has_every_score_and_says_that_the_data_are_made_up(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export("eval-results", runs, tmp_path) == 0
    assert "text/sst2 with rq: its data are made up" in capsys.readouterr().out
    assert sorted(file.name for file in tmp_path.iterdir()) == ["digits-none", "digits-rq", "text-none", "text-rq"]
    card = ModelCard.load(tmp_path / "text-rq" / "README.md")
    (result,) = (one for one in card.data.eval_results if one.dataset_config == "sst2")
    assert result.metric_type == "accuracy" and result.metric_value == pytest.approx(75)
    assert "made-up" in result.dataset_type and "MADE-UP" in result.dataset_name and "made-up-data" in card.data.tags
    assert "say nothing about the published data sets" in card.text and "75.00 [" in card.text
    assert card.data.datasets is None and not (tmp_path / "text-rq" / ".eval_results").exists()
    assert str(runs) not in card.content and "RQ" in card.text and "| Ours" not in card.text
    real = ModelCard.load(tmp_path / "digits-rq" / "README.md")
    assert "ade-up" not in real.text.split("## How")[0] and "made-up-data" not in real.data.tags


def test_results_on_data_of_the_hub_have_entries_for_its_leaderboards(
    miniature: Callable[[str], Path], tmp_path: Path
) -> None:
    words = ("domain=text", "method=rq", f"data={miniature('text')}", f"runs={tmp_path / 'runs'}")
    fill(Run.of(words), "sst2", "rq", 0.7, with_error=True, made_up_data=False, created="2026-01-02T03:04:05+00:00")
    assert cli.main(["export", "--format", "eval-results", *words, f"out={tmp_path / 'out'}"]) == 0
    text = (tmp_path / "out" / "text-rq" / ".eval_results" / "dabs_rq.yaml").read_text()
    (entry,) = parse_eval_result_entries(yaml.safe_load(text))
    assert (entry.dataset_id, entry.task_id, entry.value) == ("nyu-mll/glue", "sst2", pytest.approx(70))
    assert entry.date == "2026-01-02T03:04:05+00:00" and entry.notes is not None and "95 % interval" in entry.notes
    card = ModelCard.load(tmp_path / "out" / "text-rq" / "README.md")
    assert card.data.datasets == ["nyu-mll/glue"] and "made" not in card.data.eval_results[0].dataset_type
    assert str(miniature("text")) not in card.content


def test_every_eval_ever_has_scores_with_intervals_and_the_same_bytes_again(runs: Path, tmp_path: Path) -> None:
    assert export("every-eval-ever", runs, tmp_path) == 0
    files = sorted(tmp_path.rglob("*.json"))
    before = {file: file.read_bytes() for file in files}
    assert len(files) == 4
    (file,) = (one for one in files if "text-rq" in str(one))
    assert file.relative_to(tmp_path).parts[:3] == ("data", "dabs_rq-made-up-data", "dabs_rq")
    values = json.loads(file.read_text())
    (result,) = (one for one in values["evaluation_results"] if "sst2" in one["evaluation_name"])
    assert result["score_details"]["score"] == pytest.approx(0.75)
    interval = result["score_details"]["uncertainty"]["confidence_interval"]
    assert interval["lower"] < 0.75 < interval["upper"] and "2 seeds" in interval["method"]
    assert result["evaluation_name"].startswith("made-up.") and "MADE-UP" in result["source_data"]["dataset_name"]
    assert "MADE-UP" in values["model_info"]["name"] and str(runs) not in file.read_text()
    assert export("every-eval-ever", runs, tmp_path) == 0
    assert {file: file.read_bytes() for file in sorted(tmp_path.rglob("*.json"))} == before


def changed(values: dict[str, Any], path: tuple[Any, ...], value: object) -> dict[str, Any]:
    values = copy.deepcopy(values)
    inner: Any = values
    for part in path[:-1]:
        inner = inner[part]
    if value is None:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return values


FAULTS: tuple[tuple[tuple[Any, ...], object], ...] = (
    (("schema_version",), None),
    (("evaluation_results", 0, "score_details", "score"), "high"),
    (("evaluation_results", 0, "metric_config", "max_score"), None),
    (("source_metadata", "evaluator_relationship"), "friend"),
    (("model_info", "additional_details", "deployment_type"), None),
    (("more",), 1),
)


@pytest.mark.parametrize(("path", "value"), FAULTS)
def test_what_does_not_fit_the_schema_is_refused(path: tuple[Any, ...], value: object, runs: Path) -> None:
    chosen = choose(shared_run.of(runs))
    values = every_eval_ever.to_values(chosen, next(iter(chosen.models.values())))
    every_eval_ever.check(values)
    with pytest.raises(RecordError, match=r"schema of Every Eval Ever 0\.3\.0"):
        every_eval_ever.check(changed(values, path, value))


@pytest.mark.parametrize("form", ["eval-results", "every-eval-ever"])
def test_a_file_of_the_user_in_the_place_of_ours_stays(
    form: str, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(form, runs, tmp_path) == 0
    files = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    mine = sorted(files)[-1]
    mine.write_text("---\nlibrary_name: dabs_rq\n---\n\n# My own words\n")
    assert export(form, runs, tmp_path) == 1
    assert f"{mine} is there already" in capsys.readouterr().err and "My own words" in mine.read_text()


def test_a_selection_without_results_says_where_they_were_expected(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export("eval-results", runs, tmp_path / "out", "domains=[vqa]") == 1
    told = capsys.readouterr().err
    assert "no results of this selection" in told and str(runs) in told and not (tmp_path / "out").exists()
