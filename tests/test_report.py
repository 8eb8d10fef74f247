"""The report: its page says what the table says, needs nothing else, and leaves nothing out in silence."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from dabs_rq import cli, registry, report, table
from dabs_rq.errors import OptionError
from dabs_rq.files import digest
from dabs_rq.pretrain import logs
from dabs_rq.report import curves, figure, scores
from dabs_rq.run import Run
from dabs_rq.table.columns import method_title
from tests import report_run
from tests.report_run import REASON, WORDS
from tests.test_records_and_table import answers, fill
from tests.test_registry import add_domain, add_method, extra  # noqa: F401

QUICK = ("domains=[sensor]", "methods=[none,emix]")  # without the quantizer at work


@pytest.fixture(scope="module")
def written(miniature: Callable[[str], Path]) -> report.Report:
    return report_run.written(miniature)


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Run]:
    return lambda *words: Run.of([f"runs={tmp_path / 'runs'}", f"out={tmp_path / 'out'}", *words])


class Page(HTMLParser):
    """Rows of the table (domain, title, numbers or None), addresses that are loaded or linked to, and all text."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.rows: list[tuple[str, str, list[float | None]]] = []
        self.loaded: list[str] = []
        self.linked: list[str] = []
        self.text = ""
        self._title = False
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        if tag == "tr" and values.get("data-domain") is not None:
            self.rows.append((str(values["data-domain"]), "", []))
        self._title = tag == "th" and values.get("scope") == "row"
        if tag == "td" and values.get("class") == "number":
            value = values.get("data-value")
            self.rows[-1][2].append(None if value is None else float(value))
        (self.linked if tag == "a" else self.loaded).extend(
            str(values[key]) for key in ("src", "href") if key in values
        )

    def handle_data(self, data: str) -> None:
        if self._title:
            domain, _, numbers = self.rows[-1]
            self.rows[-1] = domain, data, numbers
            self._title = False
        self.text += data

    def records(self) -> dict[str, dict[str, list[str]]]:
        """Title of each cell that opens -> its facts."""
        known = json.loads(re.search(r'\{"cells".*\}', self.text)[0])  # type: ignore[index]
        strings = known["strings"]
        return {
            strings[one["title"]]: {
                strings[label]: [strings[place] for place in places] for label, places in one["facts"]
            }
            for one in known["cells"]
        }


# ---- what the page says ----------------------------------------------------------------------------------------------


def test_the_numbers_are_those_of_the_table(written: report.Report) -> None:
    lines = list(csv.DictReader((written.page.parent / "table.csv").open()))
    rows = Page(written.page).rows
    assert len(lines) == 12 and any(line["rq"] != "-" for line in lines)
    for line, (domain, title, numbers) in zip(lines, rows, strict=False):
        assert (domain, title) == (line["domain"], line["row"])
        expected = [None if line[method] == "-" else float(line[method]) for method in ("none", "emix", "rq")]
        assert numbers == [None if value is None else pytest.approx(value, abs=0.00501) for value in expected]
    averages = [(domain, title) for domain, title, _ in rows[len(lines) :]]
    assert averages == [("text", "Mean of 2 rows"), ("", "Average rank in 3 rows")]
    assert written.page.parent.name.startswith("variant-") and "pretrain.steps=3" in Page(written.page).text


def test_a_cell_opens_its_record(written: report.Report) -> None:
    known = Page(written.page).records()
    facts = known["PAMAP2, RQ"]
    (file,) = facts["Record"]
    record = json.loads(Path(file).read_text())
    shown = {name: facts[name] for name in ("Accuracy", "Standard error", "Checkpoint", "Training split", "Test split")}
    assert shown == {
        "Accuracy": [f"{100 * record['score']:.2f}"],
        "Standard error": [f"{100 * record['standard_error']:.2f}"],
        "Checkpoint": [record["checkpoint"]],
        "Training split": [record["train_split"]],
        "Test split": [record["test_split"]],
    }
    assert "strength 1" in facts["Probe"][0] and "pretrain.steps=3" in facts["Options that differ"][0]
    assert f"torch {record['versions']['torch']}" in facts["Versions"][0] and facts["Commit"] == [record["commit"]]
    assert known["COLA, RQ"]["Pearson Corr."] == [f"no score: {REASON}"]
    assert not any(title.startswith("WNLI") for title in known)


def test_what_is_missing_or_failed_is_said(written: report.Report) -> None:
    text, _, notes = Page(written.page).text.rpartition("Missing and failed\n")[2].partition("\nNotes\n")
    (error,) = written.table.errors
    assert f"Left out: {error}".replace("`", "") in text and "Was it edited?" in text
    assert "run <code>suite</code> or <code>transfer</code> again" in written.page.read_text()
    assert f"COLA, RQ, seed 0: no score ({REASON})." in text
    assert "e-Mix has no result in 9 of 12 rows: COLA, MNLI_Matched" in text
    assert "Sensor, e-Mix, seed 0: no log of pretraining in " in Page(written.page).text
    assert "Made-up miniature data: these numbers say nothing about the published data sets." in notes
    assert "<script>alert" not in written.page.read_text()


def test_the_page_needs_nothing_else(written: report.Report) -> None:
    page, text = Page(written.page), written.page.read_text()
    assert page.loaded and all(address.startswith(("data:image/png", "#")) for address in page.loaded)
    assert not re.search(r"@import|url\((?!#)|fetch\(|XMLHttpRequest", text) and "default-src 'none'" in text
    assert written.page.stat().st_size < 1_000_000
    files = [address for address in page.linked if not address.startswith("#")]
    assert {
        f"figures/{what}-sensor.{kind}" for what in ("scores", "pretraining", "quantizer") for kind in ("pdf", "svg")
    } <= set(files)
    for name in files:
        kept = (written.page.parent / name).read_bytes()
        assert kept.startswith(b"%PDF") or ElementTree.fromstring(kept).tag.endswith("svg")
    anchors = [address[1:] for address in page.linked if address.startswith("#")]
    names = re.findall(r'\bid="([^"]+)"', text)
    assert set(anchors) <= set(names) and len(names) == len(set(names))
    assert set(re.findall(r'(?:href="|url\()#([\w-]+)', text)) <= set(names)


def test_every_figure_is_named_and_takes_its_colours_from_the_page(written: report.Report) -> None:
    figures = re.findall(r"<svg.*?</svg>", written.page.read_text(), re.S)
    assert len(figures) == 3 + 1 + 3  # scores, the one pretraining, an example of each domain
    for one in figures:
        assert re.match(r'<svg [^>]*role="img" aria-label="[^"]{40,}"', one) and "var(--ink)" in one
        assert "#1f2329" not in one and "#0072b2" not in one
    assert "before randomized quantization" in figures[-1] and "image and text" in figures[-1]


def test_the_same_results_give_the_same_files(
    written: report.Report, tmp_path: Path, miniature: Callable[[str], Path]
) -> None:
    before = {file: file.read_bytes() for file in written.page.parent.rglob("*") if file.is_file()}
    stale = written.page.parent / "figures" / "scores-gone.svg"
    stale.write_text("of a domain that is gone")
    listed = written.page.parent / ".figures.json"
    listed.write_text(json.dumps(json.loads(listed.read_text()) | {stale.name: digest(stale.read_bytes())}))
    kept = stale.with_name("mine.svg")
    kept.write_text("somebody's own")
    report.write(Run.of([*WORDS, f"runs={written.page.parents[2] / 'runs'}", f"out={written.page.parents[1]}"]))
    after = {file: file.read_bytes() for file in written.page.parent.rglob("*") if file.is_file()}
    assert after.pop(kept) == b"somebody's own" and after == before
    kept.unlink()


def test_a_figure_is_written_only_if_it_shows_something_else(tmp_path: Path) -> None:
    pdf, svg = (tmp_path / "figures" / f"line.{kind}" for kind in ("pdf", "svg"))

    def save(height: float) -> tuple[int, int]:
        with figure.style():
            plot = figure.new(2.0)
            plot.add_subplot().plot([0, height])
            figure.save(plot, pdf.parent, "line", "A line.")
        listed = {file.name: digest(file.read_bytes()) for file in (pdf, svg)}
        (tmp_path / figure.LIST).write_text(json.dumps(listed))
        return pdf.stat().st_mtime_ns, svg.stat().st_mtime_ns

    first, drawn = save(1), pdf.read_bytes()
    assert save(1) == first
    higher = save(2)
    assert set(higher).isdisjoint(first) and pdf.read_bytes() != drawn
    pdf.write_bytes(drawn)  # the PDF of the other drawing
    assert save(2) != higher and pdf.read_bytes() != drawn


# ---- any run ---------------------------------------------------------------------------------------------------------


def test_without_records(run: Callable[..., Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", *run(*QUICK).words]) == 0
    told = capsys.readouterr().out
    assert f"wrote {tmp_path / 'out' / 'report.html'}" in told and "next: python -m dabs_rq suite " in told
    page = Page(tmp_path / "out" / "report.html")
    assert page.rows == [("sensor", "PAMAP2", [None, None])] and page.records() == {}
    for text in (
        "To run first",
        "Sensor: no scores yet.",
        "None has no result in 1 of 1 rows.",
        "There are no results yet",
    ):
        assert text in page.text
    assert not list((tmp_path / "out" / "figures").glob("*"))
    assert "python -m dabs_rq suite" in page.text and not (tmp_path / "runs").exists()  # no miniature is written


def test_hidden_columns_have_intervals_and_differences(run: Callable[..., Run]) -> None:
    one = run(*QUICK)
    for method, value in (("none", 0.5), ("emix", 0.75)):
        fill(one, "pamap2", method, value, predictions=answers(value, 100), with_error=True)
    made = report.write(one)
    text = made.page.read_text()
    assert re.findall(r'<td class="number spread" data-value="[\d.]+">([^<]*)', text) == ["± 9.80", "± 8.49"]
    (pair,) = made.table.comparisons.to_dict("records")
    expected = f"+25.00 [{pair['low']:.2f}, {pair['high']:.2f}]"
    assert re.findall(r'<td class="number difference"[^>]*>([^<]*)', text) == [expected]
    assert "<strong>75.00</strong>" in text and "Difference from None" in text


def test_the_page_holds_the_table_in_other_formats_and_what_to_cite(written: report.Report) -> None:
    known = json.loads(
        re.search(r'<script type="application/json" id="texts">(.*?)</script>', written.page.read_text())[1]
    )  # type: ignore[index]
    assert {title: one["name"] for title, one in known.items()} == {
        "CSV": "table.csv",
        "LaTeX": "table.tex",
        "BibTeX": "references.bib",
    }
    for title in ("CSV", "LaTeX"):
        assert known[title]["text"] == (written.page.parent / known[title]["name"]).read_text()
    entries = re.findall(r"^@(\w+)\{(\w+),$", known["BibTeX"]["text"], re.M)
    assert entries == [("article", "tamkin2021"), ("article", "wu2022"), ("misc", "dabs_rq")]


def test_where_the_numbers_come_from_stands_on_top(written: report.Report) -> None:
    head = written.page.read_text().partition("<nav")[0]
    facts = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", head))
    record = json.loads(Path(Page(written.page).records()["PAMAP2, RQ"]["Record"][0]).read_text())
    assert record["hardware"] in facts["Machine"] and (record["commit"] or "unknown")[:12] in facts["Commit"]
    assert facts["Command"].startswith("python -m dabs_rq report ") and "pretrain.steps=3" in facts["Command"]


def test_a_record_that_does_not_hold_is_an_error(run: Callable[..., Run], capsys: pytest.CaptureFixture[str]) -> None:
    one = run(*QUICK)
    broken = fill(one, "pamap2", "none", 0.5)
    broken.write_text(broken.read_text()[:100])
    assert cli.main(["report", *one.words]) == 1
    assert f"error: {broken} is not JSON" in capsys.readouterr().err


def test_one_method_with_seeds(run: Callable[..., Run]) -> None:
    one = run("domains=[sensor]", "methods=[emix]", "seeds=[0,1,2,5]")
    for seed, value in enumerate((0.5, 0.6, 0.7)):
        fill(one, "pamap2", "emix", value, seed)
    made = report.write(one)
    ((title, facts),) = Page(made.page).records().items()
    assert facts["Accuracy"] == ["50.00", "60.00", "70.00"] and facts["Commit"] == ["unknown"]
    assert title == "PAMAP2, e-Mix: 60.00 ± 10.00"
    assert "e-Mix has scores of fewer than 4 seeds in PAMAP2." in Page(made.page).text
    (row,) = made.table.frame.to_dict("records")
    half = 4.302653 * 10 / 3**0.5
    assert scores.interval(row, "emix") == pytest.approx((60 - half, 60 + half))  # type: ignore[arg-type]


def test_an_interval_is_over_examples_where_there_is_one_seed(run: Callable[..., Run]) -> None:
    one = run(*QUICK)
    for method, value in (("none", 0.5), ("emix", 0.99)):
        fill(one, "pamap2", method, value, predictions=answers(value, 100), with_error=True)
    (row,) = table.build(one).frame.to_dict("records")
    assert scores.interval(row, "none") == pytest.approx((50 - 9.8, 50 + 9.8))  # type: ignore[arg-type]
    assert scores.interval(row, "emix") == pytest.approx((99 - 1.96 * 0.99**0.5, 100))  # type: ignore[arg-type]
    unknown = {**row, "emix_se": np.nan}, {**row, "emix": np.nan}
    assert np.isnan([scores.interval(one, "emix") for one in unknown]).all()  # type: ignore[arg-type]


def test_published_numbers_stand_beside_real_data_at_paper_scale_alone(run: Callable[..., Run], tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    paper = run("scale=paper", f"data={tmp_path / 'data'}", "domains=[sensor,xray]")
    for one in (paper, run(f"data={tmp_path / 'data'}", *QUICK)):
        fill(one, "pamap2", "none", 0.5, with_error=True)
        made = report.write(one)
        drawn = (made.page.parent / "figures" / "scores-sensor.svg").read_text()
        assert (
            (">published<" in drawn)
            == ("Hollow markers are published numbers." in Page(made.page).text)
            == (one is paper)
        )
        if one is paper:
            page = Page(made.page)
            assert "They cannot be compared: protocol corrected" in page.text and "Made-up" not in page.text
            assert "Chest X-Rays: CheXpert (v1.0, small) is not under" in page.text
            assert "ChestX-ray8 is not under" in page.text.partition("Missing and failed\n")[2]


def test_domains_and_methods_of_ones_own_appear(extra: Path, run: Callable[..., Run]) -> None:  # noqa: F811
    inside = add_domain(extra, "noise")
    (inside / "miniature.py").write_text("def write(root, seed):\n    (root / 'noise').mkdir()\n")
    (inside / "source.py").write_text(
        "import numpy as np\nfrom dabs_rq.data.columns import Windows\n"
        "from dabs_rq.data.examples import Examples\n\n\ndef load(request):\n"
        "    series = np.random.default_rng(0).normal(size=(80, 1)).astype('float32')\n"
        "    windows = Windows([series], np.zeros(10, int), np.arange(0, 80, 8), 8, 'noise')\n"
        "    return Examples([f'example {i}' for i in range(10)], (windows,), np.arange(10) % 2)\n"
    )
    add_method(extra, "own", more="")
    one = run("domains=[noise]", "methods=[own,rq]")
    fill(one, "noise", "own", 0.75)
    page = Page(report.write(one).page)
    assert page.rows == [("noise", "Noise", [75.0, None])] and "Noise, Ours" in page.records()
    assert re.search(r"Noise, example example \d\.", page.text)


def test_without_matplotlib_the_error_says_what_to_install(
    run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(OptionError, match=r"pip install 'dabs_rq\[report\]'"):
        report.write(run(*QUICK))


# ---- curves ----------------------------------------------------------------------------------------------------------


def log(folder: Path, start: int, text: str) -> None:
    (folder / f"from-step-{start}").mkdir(parents=True)
    (folder / f"from-step-{start}" / "metrics.csv").write_text(text)


def test_of_a_resumed_run_the_later_log_counts(tmp_path: Path) -> None:
    log(tmp_path, 100, "accuracy,epoch,loss,step\n0.5,0,2.5,100\n0.6,0,2.4,110\n")
    log(tmp_path, 0, "accuracy,epoch,loss,step\n0.1,0,3.0,90\n0.2,0,9.0,100\nnonsense\n0.3,0,")
    log(tmp_path, 20, "")
    found = logs.read(tmp_path)
    assert found is not None and found.columns.tolist() == ["step", "accuracy", "loss"]
    assert found["step"].tolist() == [90, 100, 110] and found["loss"].tolist() == [3.0, 2.5, 2.4]
    assert logs.read(tmp_path / "nowhere") is None


def test_long_curves_are_averaged(tmp_path: Path) -> None:
    steps = 20_000
    long = pd.DataFrame({"step": range(steps), "loss": [step % 2 for step in range(steps)], "method": "rq", "seed": 0})
    drawn = curves._draw(long, registry.domain("sensor"), tmp_path)
    assert len(drawn.svg) < 30_000 and "ends at loss 1" in drawn.svg


def test_a_log_without_a_loss_is_named(tmp_path: Path) -> None:
    """A pretraining of fewer steps than lie between two logs of the loss; its features are measured anyway."""
    one = Run.of(["domain=sensor", "method=rq", f"runs={tmp_path}"])
    folder = one.checkpoint_folder(0) / "log" / "from-step-0"
    folder.mkdir(parents=True)
    (folder / "metrics.csv").write_text("epoch,features/norm,step\n0,2.5,4\n")
    plot, missing = curves.draw({"rq": one}, one.domain, tmp_path / "figures")
    assert plot is None and len(missing) == 1 and "no loss was logged in pretraining with RQ" in missing[0]


def test_a_pretraining_whose_source_is_missing_is_not_proposed(tmp_path: Path) -> None:
    one = Run.of(["domain=sensor", "method=rq", f"runs={tmp_path / 'runs'}", f"data={tmp_path}"])
    plot, (text,) = curves.draw({"rq": one}, one.domain, tmp_path / "figures")
    assert plot is None and f"is not under {tmp_path}" in text and "make pretrain" not in text


def test_a_legend_of_eight_methods_fits_its_figure() -> None:
    with figure.style():
        plot = figure.new(3.0)
        axes = plot.add_subplot()
        labels = [*map(method_title, registry.method_names()[:8]), "most frequent class", "published"]
        for label in labels:
            axes.plot([0], [0], "o", label=label)
        legend = plot.legend(loc="outside upper center", ncols=figure.legend_columns(labels), handletextpad=0.3)
        plot.draw_without_rendering()
    box, whole = legend.get_window_extent(), plot.bbox
    assert whole.x0 <= box.x0 < box.x1 <= whole.x1 and box.y1 <= whole.y1 and len(legend.get_texts()) == 10
