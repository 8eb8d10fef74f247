"""Records on disk, and the table that is made of them."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dabs_rq import cli, registry, table
from dabs_rq.errors import RecordError
from dabs_rq.records import record
from dabs_rq.records.bootstrap import standard_error
from dabs_rq.records.metrics import majority, score
from dabs_rq.records.record import Record
from dabs_rq.run import Run

VALUES: dict[str, Any] = {
    "data": "miniature-0", "scale": "mini", "protocol": "corrected", "domain": "sensor", "method": "rq",
    "variant": "default", "task": "pamap2", "seed": 0, "split": "test", "metric": "accuracy", "score": 0.5,
    "made_up_data": True, "n_examples": 4, "n_train": 10, "majority": 0.5, "checkpoint": "c", "train_split": "a",
    "test_split": "b", "seconds": 1.0, "created": "2024-01-01T00:00:00+00:00", "commit": None,
    "options": {"protocol.correlation": "whole", "protocol.spearman_ties": "average", "transfer.batch_size": None},
}  # fmt: skip
TARGETS, OUTPUTS = np.array([0, 1, 1, 2]), np.eye(3)[[0, 1, 2, 0]]
SENSOR_RQ = ("domains=[sensor]", "methods=[rq]")


def put(folder: Path, **values: Any) -> Path:
    return record.write(folder, Record(**VALUES | values), list("abcd"), TARGETS, OUTPUTS)


# ---- records -----------------------------------------------------------------------------------------------------


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    extra = {"split": "subject106", "probe": {"strength": 1.0}, "options": {"seeds": [0], "data": "/a b"}}
    for values in (
        {},
        extra,
        {"score": None, "status": "failed", "reason": "one class", "task": "x"},
        {"score": -1, "metric": "pearson"},
    ):
        written = Record(**VALUES | values)
        assert record.read(put(tmp_path, **values)) == written
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {f"{stem}.{kind}" for stem in ("pamap2", "pamap2@subject106", "x") for kind in ("json", "parquet")}
    found, errors = record.read_all(tmp_path)
    assert [one.split for one in found] == ["test", "subject106", "test"] and not errors


@pytest.mark.parametrize(
    ("metric", "outputs", "targets"),
    [
        ("accuracy", np.random.default_rng(0).normal(size=(50, 7)), np.arange(50) % 7),
        ("accuracy", np.random.default_rng(0).normal(size=50), np.arange(50) % 2),
        ("auroc", np.random.default_rng(0).normal(size=(50, 3)), np.random.default_rng(1).integers(0, 2, (50, 3))),
        ("pearson", np.random.default_rng(0).normal(size=50), np.random.default_rng(1).normal(size=50)),
        ("spearman", np.random.default_rng(0).integers(0, 5, 50), np.arange(50) // 3),
    ],
)
def test_the_score_can_be_recomputed_from_the_predictions(
    tmp_path: Path, metric: Any, outputs: np.ndarray, targets: np.ndarray
) -> None:
    outputs = outputs.astype(np.float32)
    value, ids = score(metric, outputs, targets), pa.array([f"{i}.png" for i in range(50)])
    file = record.write(tmp_path, Record(**VALUES | {"score": value, "metric": metric}), ids, targets, outputs)
    predictions = pq.read_table(file.with_suffix(".parquet"))
    assert predictions.column_names == ["id", "target", "output"] and predictions["id"].to_pylist() == ids.to_pylist()
    seen = {name: np.array(predictions[name].to_pylist()) for name in ("target", "output")}
    assert np.array_equal(seen["target"], targets) and seen["output"].shape == outputs.shape
    assert score(metric, seen["output"], seen["target"]) == record.read(file).score


def test_a_record_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        put(tmp_path, score=float("nan"))
    assert not list(tmp_path.glob("*.json")) and not record.read_all(tmp_path)[0]
    put(tmp_path)
    with pytest.raises(ValueError):
        put(tmp_path, seconds=float("inf"))
    assert record.read(tmp_path / "pamap2.json") == Record(**VALUES)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".parquet"}


def edited(**values: Any) -> str:
    return json.dumps(dataclasses.asdict(Record(**VALUES)) | values)


BROKEN = [
    ("", "is not JSON"),
    (edited()[:200], "is not JSON"),
    ("\x00" * 300, "is not JSON"),
    ("[1, 2]", "a JSON object expected; got list"),
    (edited(format=2), "has record format 2; this version reads 1"),
    ("{}", "has record format None"),
    ('{"format": 1}', "missing data; missing scale; .*missing commit"),
    (edited(colour="red", size=1), "unknown colour; unknown size"),
    (edited(score=47.7), r"score 47\.7 is not a fraction"),
    (edited(score=-1.01), "score -1.01 is not a fraction"),
    (edited(score="0.5"), "score '0.5' is not a fraction"),
    (edited(score=float("nan")), "score nan is not a fraction"),
    (edited(score=None), "score None with status 'ok'"),
    (edited(status="failed"), "score 0.5 with status 'failed'"),
]


@pytest.mark.parametrize(("text", "message"), BROKEN)
def test_a_broken_record_is_named_with_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    put(tmp_path, task="other")
    file = tmp_path / "pamap2.json"
    file.write_text(text)
    with pytest.raises(RecordError, match=message) as error:
        record.read(file)
    assert str(file) in str(error.value)
    found, errors = record.read_all(tmp_path)
    assert [one.task for one in found] == ["other"] and [str(one) for one in errors] == [str(error.value)]


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(RecordError, match=r"a\.json is not JSON"):
        record.read(tmp_path / "a.json")


# ---- the table ---------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Run]:
    return lambda *words: Run.of(
        [f"runs={tmp_path / 'runs'}", f"out={tmp_path / 'out'}", "method=none,emix,rq", *words]
    )


def answers(value: float, count: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    """Targets of three classes, half of them the first, and outputs of which this share is right."""
    targets = np.repeat([0, 1, 0, 2], count // 4)
    right = np.arange(count) < round(value * count)
    return targets, np.eye(3)[np.where(right, targets, (targets + 1) % 3)]


def fill(
    run: Run,
    task: str,
    method: str,
    value: float | None,
    seed: int = 0,
    variant: str = "default",
    predictions: tuple[np.ndarray, np.ndarray] | None = None,
    with_error: bool = False,
    **more: Any,
) -> Path:
    """A record in the place where the table looks for it, with predictions (targets, outputs) that have this score.
    with_error: with the standard error that they have."""
    domain = {name: domain for domain, name in table.table_order()}[task]
    one = run.places.identity(domain, method, variant, seed)
    targets, outputs = predictions or answers(0 if value is None else value)
    given = {"metric": registry.task(domain, task).metric, "score": value, "n_examples": len(targets)}
    given |= {"status": "failed", "reason": "one class"} if value is None else {}
    given["majority"] = majority(registry.task(domain, task).target, targets)
    ids = [str(number) for number in range(len(targets))]
    if with_error:
        given["standard_error"] = standard_error(given["metric"], outputs.astype(np.float32), targets)
    given["options"] = run.replace(domain=domain, method=method).values
    values = VALUES | one._asdict() | {"task": task} | given | more
    return record.write(run.places.records(one), Record(**values), ids, targets, outputs)


def test_rows_and_columns_are_those_of_the_published_table(run: Callable[..., Run]) -> None:
    built = table.build(run())
    lines = list(csv.reader(io.StringIO(table.to_csv(built))))
    assert lines[0][:7] == ["domain", "task", "row", "metric", "none", "emix", "rq"]
    published = pd.read_csv(table.PUBLISHED)
    declared = published[published["task"].isin(task for _, task in table.table_order())]
    assert len(declared) == len(table.table_order()) == len(lines) - 1
    # STS-B is the one row whose published metric is called by another name than what it is.
    columns = ["domain", "task", "row", "metric"]
    for line, expected in zip(lines[1:], declared[columns].to_numpy().tolist(), strict=True):
        assert line[:4] == expected or (expected[1] == "stsb" and line[:3] == expected[:3])
    titles = declared.set_index("domain")["domain_title"]
    for line in table.to_markdown(built).splitlines()[2 : 2 + len(declared)]:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells[1] in set(titles)


def test_numbers_are_percent_and_what_is_missing_is_a_dash(run: Callable[..., Run]) -> None:
    one = run()
    fill(one, "pamap2", "none", 0.698)
    fill(one, "pamap2", "emix", None)
    built = table.build(one)
    (row,) = [line for line in csv.DictReader(io.StringIO(table.to_csv(built))) if line["task"] == "pamap2"]
    assert (row["none"], row["emix"], row["rq"]) == ("69.8", "-", "-")
    assert (row["none_seeds"], row["emix_seeds"], row["none_std"]) == ("1", "0", "-")
    assert "PAMAP2 & Accuracy & 69.80 & - & - \\\\" in table.to_latex(built)
    shown = next(line for line in table.to_markdown(built).splitlines() if "PAMAP2" in line)
    assert [cell.strip() for cell in shown.strip("|").split("|")] == ["PAMAP2", "Sensor", "Accuracy", "69.80", "-", "-"]
    assert "PAMAP2, e-Mix, seed 0: no score (one class)." in built.notes


def test_seeds_are_averaged_and_only_those_asked_for(run: Callable[..., Run]) -> None:
    one = run("seeds=[0,1,2]", *SENSOR_RQ)
    for seed, value in enumerate((0.5, 0.6, 0.7, 0.9)):
        fill(one, "pamap2", "rq", value, seed)
    built = table.build(one)
    (row,) = built.frame.to_dict("records")
    assert row["rq"] == pytest.approx(60) and row["rq_std"] == pytest.approx(10) and row["rq_seeds"] == 3
    assert "60.00 ± 10.00" in table.to_markdown(built) and r"60.00 $\pm$ 10.00" in table.to_latex(built)
    assert any("seeds 0, 1, 2" in note for note in built.notes)
    missing = table.build(run("seeds=[3,7]", *SENSOR_RQ)).frame.to_dict("records")[0]
    assert missing["rq"] == pytest.approx(90) and missing["rq_seeds"] == 1


def test_nothing_of_another_scale_protocol_data_or_variant_gets_in(run: Callable[..., Run], tmp_path: Path) -> None:
    plain, changed = run(*SENSOR_RQ), run("method.bins=4", *SENSOR_RQ)
    others = [
        (run("protocol=published", *SENSOR_RQ), 0.1),
        (run("scale=paper", f"data={tmp_path}", *SENSOR_RQ), 0.2),
        (run(f"data={tmp_path}", *SENSOR_RQ), 0.3),
        (changed, 0.4),
    ]
    for other, value in others:
        fill(other, "pamap2", "rq", value, variant=other.composed.variant(of_pretraining=False))
    assert table.build(plain).frame["rq"].isna().all()
    fill(plain, "pamap2", "rq", 0.5)
    for one, value in [(plain, 0.5), *others]:
        assert table.build(one).frame["rq"].tolist() == [pytest.approx(100 * value)]
    folders = [table.write(one, table.build(one)) for one in (plain, changed)]
    assert folders[0] != folders[1] and all((folder / "table.csv").exists() for folder in folders)
    assert "method.bins=4" in (folders[1] / "table.md").read_text()


def test_a_record_of_another_place_is_refused_and_named(run: Callable[..., Run]) -> None:
    one = run(*SENSOR_RQ)
    file = fill(one, "pamap2", "rq", 0.5)
    text = file.read_text()
    others: dict[str, Any] = {"scale": "paper", "protocol": "published", "data": "real-1", "variant": "ab", "seed": 1}
    others |= {"domain": "images", "method": "emix", "task": "cifar10", "split": "subject106"}
    for name, value in others.items():
        file.write_text(json.dumps(json.loads(text) | {name: value}))
        built = table.build(one)
        assert built.frame["rq"].isna().all()
        (error,) = built.errors
        assert str(file) in str(error) and "does not match its path" in str(error) and str(value) in str(error)


def test_a_broken_record_is_a_dash_and_the_command_says_so(
    run: Callable[..., Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = run()
    fill(one, "pamap2", "none", 0.25)
    broken = fill(one, "pamap2", "rq", 0.5)
    words = ["table", *one.words]
    assert cli.main(words) == 0
    broken.write_text(broken.read_text()[:100])
    assert cli.main(words) == 1
    shown = capsys.readouterr()
    assert f"error: {broken} is not JSON" in shown.err and "(skipped in the table)" in shown.err
    assert "25.00" in shown.out and f"wrote {tmp_path / 'out' / 'table.csv'}" in shown.out
    (row,) = [line for line in csv.DictReader((tmp_path / "out" / "table.csv").open()) if line["task"] == "pamap2"]
    assert (row["none"], row["rq"]) == ("25.0", "-")


# ---- LaTeX -------------------------------------------------------------------------------------------------------

SPECIAL = r"[50%] of A&B_{c} #1 $x ~y ^z \w <a> ± 'q' | * é 日 " + '"r"'


def special(run: Callable[..., Run]) -> str:
    built = table.build(run("methods=[none,rq]"))
    frame = built.frame.assign(row=SPECIAL)
    return table.to_latex(dataclasses.replace(built, frame=frame, notes=(*built.notes, SPECIAL)))


def test_latex_is_booktabs_with_special_characters_escaped(run: Callable[..., Run]) -> None:
    text = special(run)
    for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\begin{tabular}{llrr}", r"\end{tabular}"):
        assert text.count(rule) == (1 if rule != r"\midrule" else 7)
    escaped = (
        r"{[}50\%] of A\&B\_\{c\} \#1 \$x \textasciitilde{}y \textasciicircum{}z \textbackslash{}w $<$a$>$ $\pm$ 'q'"
    )
    escaped += r' \textbar{} {*} e ? "r"'
    assert text.count(escaped) == len(table.table_order()) + 1 and "|" not in text


def test_latex_compiles_in_an_article(run: Callable[..., Run], tmp_path: Path) -> None:
    if shutil.which("pdflatex") is None:
        reason = "pdflatex is missing: apt-get install texlive-latex-base texlive-latex-recommended"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    (tmp_path / "table.tex").write_text(special(run), encoding="utf-8")
    article = r"\documentclass{article}\usepackage{booktabs}\begin{document}\input{table.tex}\end{document}"
    (tmp_path / "article.tex").write_text(article)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "article.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "article.pdf").stat().st_size > 1000


def test_what_is_not_clearly_above_the_most_frequent_class_is_marked(run: Callable[..., Run]) -> None:
    one = run(*SENSOR_RQ)
    for value, marked in ((0.55, True), (0.60, False)):
        fill(one, "pamap2", "rq", value, predictions=answers(value, 280), with_error=True)
        built = table.build(one)
        row = built.frame.set_index("task").loc["pamap2"]
        assert (row["majority"], row["rq_se"]) == (50, pytest.approx(3, abs=0.1))
        shown = table.to_markdown(built)
        assert (f"{100 * value:.2f} °" in shown) == marked == ("by two standard errors" in shown)
