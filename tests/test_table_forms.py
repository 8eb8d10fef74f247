"""What the written forms of the table show beside the numbers: domains, best results, averages, marks, seeds."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dabs_rq import cli, table
from dabs_rq.errors import OptionError
from dabs_rq.metrics import metric as metric_called
from dabs_rq.records import record
from dabs_rq.records.bootstrap import standard_error
from dabs_rq.run import Run
from tests.test_records_and_table import answers, fill

IMAGES = ("cifar10", "cu_birds", "vgg_flower", "dtd", "traffic_sign", "aircraft")


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Run]:
    return lambda *words: Run.of(
        [f"runs={tmp_path / 'runs'}", f"out={tmp_path / 'out'}", "method=none,emix,rq", *words]
    )


def predicted(metric: Any, noise: float, count: int = 300) -> tuple[float, tuple[np.ndarray, np.ndarray]]:
    """Predictions that are the better the less noise there is, and their score."""
    generator = np.random.default_rng(1)
    shape = (count, 5) if metric == "auroc" else (count,)
    targets = generator.normal(size=shape) if metric == "spearman" else generator.integers(2, size=shape)
    outputs = (targets + noise * generator.normal(size=shape)).astype(np.float32)
    return metric_called(metric).compute(outputs, targets), (targets, outputs)


# ---- domains, best results, averages -----------------------------------------------------------------------------


def test_latex_has_a_heading_for_each_domain_and_the_best_of_each_row_in_bold(run: Callable[..., Run]) -> None:
    one = run()
    for method, values in {"none": (0.25, 0.5), "emix": (0.5, 0.5), "rq": (0.75, 0.5)}.items():
        for task, value in zip(IMAGES, values, strict=False):
            fill(one, task, method, value)
    text = table.to_latex(table.build(one))
    headings = re.findall(r"\\multicolumn\{5\}\{l\}\{\\textit\{(.*)\}\} ", text)
    assert headings == [
        "Images", "Speech", "English Text", "Multilingual Text", "Sensor", "Chest X-Rays", "Vision/Language",
    ]  # fmt: skip
    images = text.partition(r"\textit{Images}")[2].partition(r"\midrule")[0]
    assert all(f"\n{row} &" in images for row in ("CIFAR-10", "Birds", "FGVC-Aircraft"))
    (cifar,) = [line for line in images.splitlines() if line.startswith("CIFAR-10 ")]
    assert cifar.count(r"\textbf") == 1 and r"\textbf{75.00}" in cifar and r"\rlap{$^{\dagger}$}" in cifar
    assert r"\textbf" not in next(line for line in images.splitlines() if line.startswith("Birds "))
    assert r"Mean of 2 rows &  & 37.50 & 50.00 & \textbf{62.50} \\" in images
    assert r"Average rank in 2 rows &  & 2.50 & 2.00 & \textbf{1.50} \\" in text


def test_averages_are_over_the_rows_that_all_methods_have(run: Callable[..., Run], tmp_path: Path) -> None:
    one = run("methods=[none,emix,rq]")
    for task, none, emix in (
        ("cifar10", 0.5, 0.75),
        ("dtd", 0.25, 0.25),
        ("aircraft", 0.5, None),
        ("pamap2", 0.5, 0.4),
    ):
        fill(one, task, "none", none)
        fill(one, task, "emix", emix)
    built = table.build(one)
    found = {(row["what"], row["domain"]): row for row in built.averages.to_dict("records")}
    assert found["mean", "images"]["rows"] == 2
    assert (found["mean", "images"]["none"], found["mean", "images"]["emix"]) == (37.5, 50)
    assert found["mean", "sensor"]["rows"] == 1 and found["mean", "speech"]["rows"] == 0
    rank = found["rank", "-"]
    assert (rank["rows"], rank["none"], rank["emix"]) == (3, pytest.approx(4.5 / 3), pytest.approx(4.5 / 3))
    assert np.isnan(rank["rq"]) and np.isnan(found["mean", "images"]["rq"])
    folder = table.write(one, built)
    lines = list(csv.DictReader((folder / "averages.csv").open()))
    assert lines[0] == {"what": "mean", "domain": "images", "rows": "2", "none": "37.5", "emix": "50.0", "rq": "-"}
    assert len(list(csv.DictReader((folder / "table.csv").open()))) == len(table.table_order())
    shown = table.to_markdown(built)
    assert "Mean of 2 rows" in shown and "Average rank in 3 rows" in shown and "Mean of 1 rows" not in shown
    without = table.build(run("table.averages=false"))
    for text in (table.to_markdown(without), table.to_latex(without), table.to_html(without)):
        assert "Average rank" not in text and "Mean of" not in text and "CIFAR-10" in text


def test_constant_answers_are_what_scores_must_beat_in_every_metric(run: Callable[..., Run]) -> None:
    one = run("methods=[rq]")
    for task, metric in (("stsb", "spearman"), ("chexpert", "auroc"), ("xray8", "auroc")):
        value, predictions = predicted(metric, 1e4 if task != "xray8" else 0.5)
        error = standard_error(metric, predictions[1], predictions[0])  # type: ignore[index]
        fill(one, task, "rq", value, predictions=predictions, standard_error=error, metric=metric)
    built = table.build(one)
    assert not built.errors
    forms = (
        (table.to_markdown(built), "°", "|"),
        (table.to_latex(built), r"\circ}$}", ""),
        (table.to_html(built), "°", "<tr>"),
    )
    for text, mark, start in forms:
        marked = [line for line in text.splitlines() if mark in line and line.startswith(start)]
        assert len(marked) == 2 and "STSB" in marked[0] and "CheXpert" in marked[1]


# ---- HTML --------------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Tags that are closed in order, and the cells of every row."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[int] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        self.seen.append((tag, values))
        if tag == "tr":
            self.rows.append(0)
        if tag in ("td", "th"):
            self.rows[-1] += int(values.get("colspan") or 1)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_html_is_a_whole_page_that_needs_nothing_else_and_can_be_read_aloud(run: Callable[..., Run]) -> None:
    one = run()
    fill(one, "cifar10", "none", 0.25)
    fill(one, "cifar10", "rq", 0.75)
    built = table.build(one)
    frame = built.frame.assign(row="<script>alert(1)</script> & co")
    text = table.to_html(dataclasses.replace(built, frame=frame, notes=(*built.notes, "<b>")))
    page = Page(text)
    tags = [tag for tag, _ in page.seen]
    assert "script" not in tags and "link" not in tags and "img" not in tags and not re.search(r"https?:|url\(", text)
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; co" in text and "&lt;b&gt;" in text
    assert tags.count("caption") == 1 and set(page.rows) == {5}
    scopes = [values.get("scope") for tag, values in page.seen if tag == "th"]
    assert all(scopes) and scopes.count("rowgroup") == 7 and scopes.count("row") == 34
    assert "<strong>75.00</strong>" in text and 'lang="en"' in text
    assert text.count('<abbr title="no result">-</abbr>') == 34 * 3 - 2


# ---- seeds -------------------------------------------------------------------------------------------------------


def test_the_spread_over_seeds_is_a_deviation_or_an_interval(run: Callable[..., Run]) -> None:
    one = run("seeds=[0,1,2]", "domains=[sensor]", "methods=[rq]")
    for seed, value in enumerate((0.5, 0.6, 0.7)):
        fill(one, "pamap2", "rq", value, seed)
    built = table.build(run("seeds=[0,1,2]", "domains=[sensor]", "methods=[rq]", "table.spread=interval"))
    half = 4.302653 * 10 / 3**0.5
    assert built.frame["rq_interval"].tolist() == [pytest.approx(half)] and built.variant == "default"
    assert f"60.00 ± {half:.2f}" in table.to_markdown(built) and any("interval of the mean" in n for n in built.notes)
    assert "60.00 ± 10.00" in table.to_markdown(table.build(one))
    with pytest.raises(OptionError, match=r"table\.spread is one of std, interval; got 'sd'"):
        run("table.spread=sd")


def test_results_of_fewer_seeds_are_named(run: Callable[..., Run]) -> None:
    one = run("seeds=[0,1,2,5]", "methods=[none,rq]")
    for seed in (0, 1, 2):
        fill(one, "pamap2", "none", 0.5, seed)
        fill(one, "dtd", "rq", 0.5, seed)
    fill(one, "pamap2", "rq", 0.5, 1)
    built = table.build(one)
    assert "Ours has 1 of 3 seeds in: PAMAP2." in built.notes and "Seeds without any result: 5." in built.notes
    (row,) = [line for line in csv.DictReader(io.StringIO(table.to_csv(built))) if line["task"] == "pamap2"]
    assert (row["none_seeds"], row["rq_seeds"], row["rq_std"]) == ("3", "1", "-")
    assert built.comparisons["basis"].tolist() == [
        "McNemar's exact test, 1000 examples of seed 1; training variance not included"
    ]


# ---- what is wrong or not there ----------------------------------------------------------------------------------


def test_without_any_record_the_table_is_dashes_and_says_so(run: Callable[..., Run]) -> None:
    built = table.build(run())
    folder = table.write(run(), built)
    assert built.frame[["none", "emix", "rq"]].isna().all(axis=None) and not built.errors
    assert any("no results yet" in note for note in built.notes)
    assert (folder / "comparisons.csv").read_text() == "task,method,against,difference,low,high,p,p_holm,basis\n"
    for form in ("table.md", "table.tex", "table.html"):
        assert "†" not in (folder / form).read_text() and "no results yet" in (folder / form).read_text()


def test_one_method_is_compared_with_nothing_and_given_twice_is_one(run: Callable[..., Run]) -> None:
    one = run("methods=[rq,rq]")
    fill(one, "pamap2", "rq", 0.5)
    built = table.build(one)
    assert built.methods == ("rq",) and built.comparisons.empty
    assert r"\textbf" not in table.to_latex(built) and "differs from" not in table.to_markdown(built)
    assert table.to_html(built)
    with pytest.raises(OptionError, match="method is empty"):
        table.build(run("methods=[]"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"score": 0.51}, "score 0.51, not 0.5"),
        ({"score": 0.51, "n_examples": 4}, "score 0.51, not 0.5; n_examples 4, not 1000"),
        ({"majority": 0.1}, "majority 0.1, not 0.5"),
        ({"metric": "pearson"}, "metric pearson, not accuracy"),
    ],
)
def test_an_edited_record_is_named_and_left_out(
    run: Callable[..., Run], values: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    one = run()
    fill(one, "pamap2", "none", 0.5)
    file = fill(one, "pamap2", "rq", 0.5)
    file.write_text(json.dumps(json.loads(file.read_text()) | values))
    built = table.build(one)
    (error,) = built.errors
    assert str(error).startswith(f"{file} differs from its predictions: {message}. Was it edited?")
    row = built.frame.set_index("task").loc["pamap2"]
    assert row["none"] == 50 and np.isnan(row["rq"]) and built.comparisons.empty
    assert cli.main(["table", *one.words]) == 1 and str(file) in capsys.readouterr().err


def test_a_score_without_its_predictions_is_not_shown(run: Callable[..., Run]) -> None:
    one = run("methods=[rq]")
    missing = fill(one, "pamap2", "rq", 0.5).with_suffix(".parquet")
    missing.unlink()
    half = fill(one, "dtd", "rq", 0.5).with_suffix(".parquet")
    half.write_bytes(half.read_bytes()[:200])
    other = fill(one, "sst2", "rq", 0.5)
    record.write(other.parent, record.read(other), ["a", "b"], np.array([0.0, 1.0]), np.array([[np.nan], [1.0]]))
    built = table.build(one)
    assert built.frame["rq"].isna().all()
    for file, text in ((half, "no readable predictions"), (other, "no score"), (missing, "no readable predictions")):
        assert any(str(file) in str(error) and text in str(error) for error in built.errors), built.errors


def test_a_record_of_what_nobody_declares_is_named(run: Callable[..., Run], tmp_path: Path) -> None:
    one = run(f"data={tmp_path}")
    fill(one, "pamap2", "rq", 0.5)
    file = fill(one, "pamap2", "rq", 0.5)
    values = json.loads(file.read_text())
    task = file.with_name("pamap3.json")
    task.write_text(json.dumps(values | {"task": "pamap3"}))
    domain = Path(str(file).replace("/sensor/", "/sensors/"))
    domain.parent.mkdir(parents=True)
    domain.write_text(json.dumps(values | {"domain": "sensors"}))
    built = table.build(one)
    assert not built.errors
    said = [note for note in built.notes if note.startswith("Not in the table and not checked")]
    assert len(said) == 2 and "task 'pamap3' of domain 'sensor'" in said[0] and "domain 'sensors'" in said[1]
    assert all(note.endswith("Ours 50.00 (seed 0).") and "DABS_RQ_PATH" in note for note in said)
    assert built.frame.set_index("task").loc["pamap2", "rq"] == 50
    moved = file.with_name("pamap4.json")
    moved.write_text(task.read_text())
    assert "does not match its path" in str(table.build(one).errors[0])


def test_inputs_that_are_quantized_apart_are_named(run: Callable[..., Run]) -> None:
    for words, said in (
        ("domain=vqa", True),
        ("domain=sensor", False),
        ("method=none,emix", False),
        ("domain=vqa,text", True),
    ):
        notes = [note for note in table.build(run(words)).notes if "quantized apart" in note]
        assert bool(notes) == said and all("Ours in " in note and "image and text" in note for note in notes)


def test_results_on_different_examples_are_named(run: Callable[..., Run]) -> None:
    one = run("methods=[none,rq]")
    fill(one, "pamap2", "none", 0.5)
    fill(one, "pamap2", "rq", 0.75, predictions=answers(0.75, 800), test_split="other")
    built = table.build(one)
    assert any("different training or test examples" in note and "PAMAP2" in note for note in built.notes)
    (compared,) = built.comparisons.to_dict("records")
    assert compared["basis"].startswith("not paired") and np.isnan(compared["p"])


def test_probes_that_were_cut_off_or_chose_the_end_of_the_grid_are_named(run: Callable[..., Run]) -> None:
    """Records without a range are of a version whose grid did not go on. One went on, and its best is inside."""
    one = run("transfer.strengths=[0.01,1.0,100.0]")
    of_grid = {"variant": one.composed.variant(of_pretraining=False)}
    sound = {"probe": "lbfgs", "converged": True, "strength": 1.0}
    fill(one, "pamap2", "none", 0.5, probe=sound, **of_grid)
    fill(one, "pamap2", "emix", 0.5, probe=sound | {"strength": 100.0}, **of_grid)
    fill(one, "pamap2", "rq", 0.5, probe=sound | {"converged": False}, **of_grid)
    fill(one, "dtd", "rq", 0.5, probe=sound | {"strength": 0.01}, **of_grid)
    fill(one, "dtd", "none", 0.5, probe=sound | {"strength": 100.0, "range": [0.01, 1e8]}, **of_grid)
    built = table.build(one)
    assert not built.errors
    notes = [note for note in built.notes if "converge" in note or "end of the grid" in note]
    assert len(notes) == 3
    assert notes[0].startswith("Ours: the probe did not converge in PAMAP2; raise transfer.max_iterations")
    assert {note.partition(":")[0] for note in notes[1:]} == {"e-Mix", "Ours"}
    assert all("in 1 of 34 rows" in note for note in notes[1:])


def test_a_full_table_with_comparisons_takes_seconds(run: Callable[..., Run]) -> None:
    one = run()
    for number, (_, task) in enumerate(table.table_order()):
        for place, method in enumerate(("none", "emix", "rq")):
            metric = {"cola": "pearson", "stsb": "spearman", "chexpert": "auroc", "xray8": "auroc"}.get(task)
            if metric:
                value, predictions = predicted(metric, 1 + place)
                fill(one, task, method, value, predictions=predictions)
            else:
                fill(one, task, method, (10 + number + place) / 100)
    started = time.process_time()
    built = table.build(one)
    taken = time.process_time() - started
    assert not built.errors and len(built.comparisons) == 34 * 3 and taken < 20
