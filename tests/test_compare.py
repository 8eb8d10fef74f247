"""Two runs compared: what is paired, what differs, and what is only in one of them."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import sys
import zipfile
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from dabs_rq import cli, registry
from dabs_rq.errors import OptionError, RecordError
from dabs_rq.experiment import compare as of_experiment
from dabs_rq.experiment.compare import Result
from dabs_rq.records import record
from dabs_rq.records.significance import scored
from dabs_rq.report import comparison
from dabs_rq.share import bundle, compared
from dabs_rq.share.cells import choose
from dabs_rq.share.compare import Pair, compare
from tests import shared_run


@pytest.fixture
def a(miniature: Callable[[str], Path]) -> Path:
    return shared_run.computed(miniature)


@pytest.fixture
def b(a: Path, tmp_path: Path) -> Path:
    """A copy of the run, to be changed."""
    return shared_run.copied(a, tmp_path / "theirs" / "runs")


def pair(a: Path, b: Path, task: str, method: str = "rq") -> Pair:
    (found,) = (one for one in compare(a, b).pairs if (one.key.task, one.key.method) == (task, method))
    return found


def test_a_run_equals_itself_also_as_a_bundle(a: Path, tmp_path: Path) -> None:
    file, _ = bundle.pack(choose(shared_run.of(a)), tmp_path / "b.zip")
    for place in (a, file):
        found = compare(a, place)
        assert len(found.pairs) == 6 and not found.errors
        assert all(one.difference == 0 and one.a == one.b and not one.differences for one in found.pairs)
        assert not found.only["B"] and len(found.only["A"]) == len({key.split for key, _ in found.only["A"]} - {"test"})


def test_differences_are_paired_by_example_and_have_intervals(a: Path, b: Path) -> None:
    def worse(outputs: np.ndarray) -> np.ndarray:
        outputs[:10] = -outputs[:10]
        return outputs

    file = shared_run.rewritten(shared_run.file_of(b, "digits", "rq"), worse)
    found = pair(a, b, "digits")
    mine, theirs = record.read(shared_run.file_of(a, "digits", "rq")), record.read(file)
    assert mine.score is not None and theirs.score is not None and theirs.score != mine.score
    assert found.difference == pytest.approx(100 * (theirs.score - mine.score))
    assert found.low < found.difference < found.high and "McNemar" in found.basis and found.seeds == (0,)
    task = registry.task("digits", "digits")
    results = [Result(record.read(one), one) for one in (shared_run.file_of(a, "digits", "rq"), file)]
    by_experiment = of_experiment.numbers(task, results[1:], results[:1])
    assert by_experiment["difference"] == pytest.approx(found.difference)
    assert scored(task, mine, record.predictions(results[0].file)).examples


def test_several_seeds_are_paired_by_seed_and_other_seeds_are_told(a: Path, b: Path) -> None:
    for seed in (0, 1):
        shared_run.rewritten(shared_run.file_of(b, "sst2", "rq", seed), lambda outputs: -outputs)
    scores = [record.read(shared_run.file_of(b, "sst2", "rq", seed)).score or 0 for seed in (0, 1)]
    found = pair(a, b, "sst2")
    assert found.seeds == (0, 1) and found.a == pytest.approx(75) and found.b == pytest.approx(50 * sum(scores))
    assert found.difference == pytest.approx(found.b - 75) and "2 seeds" in found.basis
    file = shared_run.file_of(b, "sst2", "rq", 1)
    other = file.parent.with_name("seed-7")
    file.parent.rename(other)
    shared_run.rewritten(other / file.name, seed=7)
    found = pair(a, b, "sst2")
    assert (found.seeds, found.seeds_a, found.seeds_b) == ((0,), (0, 1), (0, 7))


def test_other_test_examples_are_told_and_not_paired(a: Path, b: Path) -> None:
    file = shared_run.file_of(b, "digits", "rq")
    result, stored = record.read(file), record.predictions(file)
    ids = [f"other-{one}" for one in stored.ids]
    values = dataclasses.replace(result, test_labels=shared_run.labels(ids, stored.targets), train_labels="0" * 16)
    record.write(file.parent, values, ids, stored.targets, stored.outputs)
    found = pair(a, b, "digits")
    assert np.isnan([found.difference, found.low, found.high, found.p]).all() and found.a == found.b
    assert found.basis.startswith("not paired: 40 (") and "training examples" in found.differences


def test_what_else_differs_is_listed(a: Path, b: Path, tmp_path: Path) -> None:
    file = shared_run.file_of(b, "digits", "rq")
    result = record.read(file)
    module = next(iter(result.code))
    shared_run.rewritten(
        file,
        variant="0123456789abcdef",
        options=result.options | {"pretrain.steps": 9, "runs": "/elsewhere", "suite.workers": 8, "table.spread": "x"},
        versions=result.versions | {"torch": "9.9"},
        code=result.code | {module: "0" * 16},
        commit="f" * 40,
    )
    differs = pair(a, b, "digits").differences
    assert differs["options"] == ("pretrain.steps: 2 / 9",)
    assert differs["libraries"] == (f"torch {result.versions['torch']} / 9.9",)
    assert differs["code"] == (module,) and "commit" in differs and "variant" in differs
    assert not pair(a, b, "cola").differences
    text = compared.to_markdown(compare(a, b))
    assert "- options: pretrain.steps: 2 / 9 (digits/digits with rq)" in text


def test_cells_of_one_run_alone_and_broken_records_are_listed(
    a: Path, b: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = shared_run.file_of(b, "cola", "none")
    for file in (gone, gone.with_suffix(".parquet")):
        file.unlink()
    failed = shared_run.file_of(b, "sst2", "none", 1)
    failed.write_text(json.dumps(json.loads(failed.read_text()) | {"score": None, "status": "failed", "reason": "NaN"}))
    broken = shared_run.file_of(b, "digits", "none")
    broken.write_text(json.dumps(json.loads(broken.read_text()) | {"score": 0.99}))
    assert cli.main(["compare", str(a), str(b), f"out={tmp_path / 'out'}"]) == 1
    told = capsys.readouterr()
    assert "only in A:" in told.out and "text/cola with none" in told.out and "| text/cola with rq" in told.out
    assert "differs from its predictions: score 0.99" in told.err
    assert "B: text/sst2 with none, seed 1: no score (NaN)" in told.out and "NaN" not in told.err
    with (tmp_path / "out" / "compare.csv").open() as opened:
        lines = list(csv.DictReader(opened))
    sides = {(line["task"], line["method"], line["split"]): line["in"] for line in lines}
    assert (
        sides["cola", "none", "test"] == sides["digits", "none", "test"] == "A"
        and sides["cola", "rq", "test"] == "both"
    )
    text = (tmp_path / "out" / "compare.md").read_text()
    assert "## Only in A" in text and "## Without a score" in text and "## Left out" in text and f"- B: {b}" in text


def test_what_is_left_out_of_a_bundle_is_named_without_its_temporary_folder(
    a: Path, b: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, _ = bundle.pack(choose(shared_run.of(a)), tmp_path / "b.zip")
    with zipfile.ZipFile(file) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    name = next(name for name in files if name.endswith("/digits.json"))
    files[name] = json.dumps(json.loads(files[name]) | {"score": 0.99}).encode()
    manifest = json.loads(files["manifest.json"])
    manifest["files"][name]["sha256"] = hashlib.sha256(files[name]).hexdigest()
    with zipfile.ZipFile(file, "w") as archive:
        for one, content in (files | {"manifest.json": json.dumps(manifest).encode()}).items():
            archive.writestr(one, content)
    (error,) = compare(a, file).errors
    assert error.startswith(f"B: {file}: {name} differs from its predictions: score 0.99")


def test_a_reason_cannot_steer_the_terminal(
    a: Path, b: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = shared_run.file_of(b, "sst2", "none", 1)
    values = {"score": None, "status": "failed", "reason": "\x1b[2J\x9b"}
    failed.write_text(json.dumps(json.loads(failed.read_text()) | values))
    assert cli.main(["compare", str(a), str(b), f"out={tmp_path / 'out'}"]) == 0
    told = capsys.readouterr().out + (tmp_path / "out" / "compare.md").read_text()
    assert r"no score (\x1b[2J\x9b)" in told and "\x1b" not in told and "\x9b" not in told


class Page(HTMLParser):
    """The rows of the table of cells, the elements of a page, and its text."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_has_every_cell_its_plots_and_what_differs(a: Path, b: Path, tmp_path: Path) -> None:
    def worse(outputs: np.ndarray) -> np.ndarray:
        outputs[:20] = -outputs[:20]
        return outputs

    file = shared_run.file_of(b, "digits", "rq")
    shared_run.rewritten(file, worse, options=record.read(file).options | {"pretrain.steps": 9}, commit="f" * 40)
    found = compare(a, b)
    page = Page(comparison.write(found, tmp_path))
    rows = [attrs for tag, attrs in page.elements if tag == "tr" and "data-domain" in attrs]
    assert len(rows) == len(found.pairs) == 6
    (changed,) = (one for one in found.pairs if one.difference)
    assert f"{changed.difference:+.2f}" in page.text and f"[{changed.low:+.2f}, {changed.high:+.2f}]" in page.text
    assert "pretrain.steps: 2 / 9" in page.text and "f" * 40 in page.text and str(b) in page.text
    assert "digits/digits with rq" in page.text and "McNemar" in page.text
    assert f"{sum(one.made_up for one in found.pairs)} of 6 cells are of made-up miniature data" in page.text
    labels = [attrs["aria-label"] for tag, attrs in page.elements if attrs.get("role") == "img"]
    assert labels[0].startswith("Scores of B against those of A in 6 cells") and len(labels) == 3
    figures = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {f"compare-{name}.{kind}" for name in ("scores", "digits", "text") for kind in ("pdf", "svg")} <= figures
    links = {attrs["href"] for tag, attrs in page.elements if tag == "a"}
    targets = {f"#{attrs['id']}" for _, attrs in page.elements if "id" in attrs}
    assert all((tmp_path / link).exists() for link in links if link[0] != "#")
    assert {link for link in links if link[0] == "#"} <= targets


def test_without_matplotlib_everything_but_the_figures_is_written(
    a: Path, b: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    out = tmp_path / "out"
    assert cli.main(["compare", str(a), str(b), f"out={out}"]) == 0
    told = capsys.readouterr()
    assert "no figures: a page with figures needs a package: pip install 'dabs_rq[report]'" in told.out
    assert not told.err and {file.name for file in out.glob("compare.*")} == {
        "compare.csv",
        "compare.md",
        "compare.html",
    }
    page = Page(out / "compare.html")
    assert "pip install 'dabs_rq[report]'" in page.text and not (out / "figures").exists()
    assert len([tag for tag, attrs in page.elements if tag == "tr" and "data-domain" in attrs]) == 6
    assert "svg" not in [tag for tag, _ in page.elements]


def test_without_a_common_cell_the_page_lists_what_each_has(a: Path, b: Path, tmp_path: Path) -> None:
    for method in ("none", "rq"):
        for file in b.glob(f"*/*/*/records/*/{method}/*/seed-*/*.json"):
            if json.loads(file.read_text())["domain"] == "digits":
                file.unlink()
    for file in b.glob("*/*/*/records/*/*/*/seed-*/*.json"):
        shared_run.rewritten(file, method="theirs")
    page = Page(comparison.write(compare(a, b), tmp_path))
    assert "Only in A" in page.text and "Only in B" in page.text and "with theirs" in page.text
    assert not [one for one in page.elements if one[0] in ("script", "svg", "table")]


def test_names_cannot_inject_into_the_page(a: Path, b: Path, tmp_path: Path) -> None:
    hostile = "</script><img src=x onerror=alert(1)>$x^{"
    place = tmp_path / "<b>place"
    shared_run.copied(a, place)
    for root in (place, b):
        shared_run.rewritten(shared_run.file_of(root, "digits", "rq"), method=hostile, hardware=f"{hostile}{root.name}")
    failed = shared_run.file_of(b, "sst2", "none", 1)
    failed.write_text(
        json.dumps(json.loads(failed.read_text()) | {"score": None, "status": "failed", "reason": hostile})
    )
    written = comparison.write(compare(place, b), tmp_path / "out")
    page = Page(written)
    assert not [tag for tag, _ in page.elements if tag in ("img", "b")]
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert page.text.count(hostile) > 3 and not [
        name for _, attrs in page.elements for name in attrs if name[:2] == "on"
    ]
    assert (
        hostile.replace("<", "&lt;").replace(">", "&gt;") in (tmp_path / "out/figures/compare-scores.svg").read_text()
    )


def test_a_place_without_records_is_refused_by_what_was_expected_and_found(
    a: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "table.csv").write_text("x")
    with pytest.raises(RecordError, match=r"expected records with predictions, .*<task>\.json.*found: table\.csv"):
        compare(a, tmp_path / "other")
    (tmp_path / "file.txt").write_text("x")
    with pytest.raises(OptionError, match="found a file that is no bundle"):
        compare(tmp_path / "file.txt", a)
    assert cli.main(["compare", str(a), str(tmp_path / "nowhere")]) == 2
    assert "expected a folder of runs or a bundle" in capsys.readouterr().err
    assert cli.main(["compare", str(a)]) == 2


def test_a_comparison_replaces_only_its_own_files(a: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["compare", str(a), str(a), f"out={tmp_path}"]
    assert cli.main(words) == cli.main(words) == 0
    (tmp_path / "compare.html").write_text("<h1>Two runs compared</h1>")
    assert cli.main(words) == 1 and (tmp_path / "compare.html").read_text() == "<h1>Two runs compared</h1>"
    assert "compare.html is there already" in capsys.readouterr().err
    (tmp_path / "compare.html").unlink()
    (tmp_path / "compare.md").write_text("# Two runs compared\n\nby me\n")
    before = (tmp_path / "compare.csv").read_bytes()
    assert cli.main(words) == 1
    assert "compare.md is there already" in capsys.readouterr().err
    assert (tmp_path / "compare.md").read_text().endswith("by me\n") and (
        tmp_path / "compare.csv"
    ).read_bytes() == before
