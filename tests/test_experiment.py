"""Experiments: their files, what they compute through the suite, and the comparison that they write."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dabs_rq.cli import main
from dabs_rq.errors import OptionError
from dabs_rq.experiment import cells, results
from dabs_rq.run import Run, compose

SMALL = ["pretrain.steps=3", "transfer.max_examples=120", "transfer.strengths=[1]", "suite.executor=in_process"]
FILE = """\
title: A comparison
about: Does it work?
domains: [digits]
seeds: [0, 1]
reference: none
options: {pretrain.steps: 4}
cells:
  raw: {title: Raw, method: raw}
  none: {title: None, method: none}
  inputs: {title: RQ on inputs, method: rq, options: {method.level: input}}
  deep:
    title: Too deep
    method: rq
    options: &deep {method.level: embedding, method.gradient: extremes, method.after_block: 9}
  deep_as_well: {title: Too deep as well, method: rq, options: *deep}
"""


@pytest.fixture
def declared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configs folder with one more experiment, `small`."""
    configs = tmp_path / "configs"
    for group in ("scale", "protocol"):
        (configs / group).mkdir(parents=True)
        for file in (compose.CONFIGS / group).glob("*.yaml"):
            (configs / group / file.name).write_text(file.read_text())
    (configs / "experiment").mkdir()
    file = configs / "experiment" / "small.yaml"
    file.write_text(FILE)
    monkeypatch.setattr(compose, "CONFIGS", configs)
    return file


@pytest.mark.parametrize("name", cells.names())
def test_every_cell_of_a_declared_experiment_composes(name: str) -> None:
    experiment = cells.load(name)
    made = cells.cells(experiment, Run.of())
    assert {cell.name for cell in made} == set(experiment.cells)
    assert {cell.run.domain.name for cell in made} == set(experiment.domains)
    assert all(cell.run.options.seeds == experiment.seeds for cell in made)


def test_a_cell_has_its_own_options_then_the_commands_then_the_experiments(declared: Path) -> None:
    made = cells.cells(cells.load("small"), Run.of(["seeds=5", "pretrain.lr=0.5"]))
    assert [cell.name for cell in made] == ["raw", "none", "inputs"], "cells that the encoder cannot serve are left out"
    assert all(cell.run.options.pretrain.steps == 4 and cell.run.options.pretrain.lr == 0.5 for cell in made)
    assert all(cell.run.options.seeds == (5,) for cell in made)
    assert made[2].run.method.options.level == "input" and made[0].run.options.encoder.name == "raw"
    (given,) = {cell.run.options.pretrain.steps for cell in cells.cells(cells.load("small"), Run.of(SMALL[:1]))}
    assert given == 3


def test_cells_that_do_not_serve_a_domain_are_named_once_by_reason(declared: Path) -> None:
    told: list[str] = []
    made = cells.cells(cells.load("small"), Run.of(["domain=digits,docstrings"]), tell=told.append)
    served = [(cell.run.domain.name, cell.name) for cell in made]
    both = [(domain, name) for domain in ("digits", "docstrings") for name in ("raw", "none")]
    assert served == [*both[:2], ("digits", "inputs"), *both[2:]]
    assert [line.split(",")[0] for line in told] == ["digits: left out", "docstrings: left out", "docstrings: left out"]
    assert told[0].endswith("Too deep; Too deep as well") and "9, but the encoder has 3 blocks" in told[0]
    assert "holds token ids" in told[1] and told[1].endswith("RQ on inputs")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("reference: none", "reference: nobody", "unknown cell 'nobody'.*`reference`"),
        ("method: raw}", "method: raw, against: nobody}", r"unknown cell 'nobody'.*`cells\.raw\.against`"),
        ("method: raw", "methods: raw", r"small\.yaml: cells\.raw\.methods"),
        ("about: Does it work?", "", r"small\.yaml: about"),
        ("  inputs: {title", "  inputs: {titel", r"small\.yaml: cells\.inputs\.ti"),
        ("cells:", "cell:", "`cells` is a mapping of names to cells; got None"),
        ("method: raw}", "method: raw, published: 3}", "`published_source` says where they are from"),
        ("method: raw}", "method: raw, published: many}", r"small\.yaml: cells\.raw\.published is a number"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_its_name_and_key(
    declared: Path, old: str, new: str, message: str
) -> None:
    declared.write_text(FILE.replace(old, new, 1))
    with pytest.raises(OptionError, match=message):
        cells.load("small")


def test_a_data_root_adds_the_domains_that_lie_under_it(
    declared: Path, tmp_path: Path, miniature: Callable[[str], Path]
) -> None:
    experiment = cells.load("small")
    for words, expected in (
        ([f"data={miniature('sensor')}"], ["digits", "sensor"]),
        ([f"data={tmp_path}"], ["digits"]),
        ([f"data={miniature('sensor')}", "domain=xray"], ["xray"]),
    ):
        made = cells.cells(experiment, Run.of(words))
        assert list(dict.fromkeys(cell.run.domain.name for cell in made)) == expected


def test_unknown_names_and_options_are_refused(declared: Path) -> None:
    with pytest.raises(OptionError, match=r"unknown experiment 'smal'.*small"):
        cells.load("smal")
    declared.write_text(FILE.replace("method.level: input", "method.levels: input"))
    with pytest.raises(OptionError, match=r"unknown option 'method\.levels'"):
        cells.cells(cells.load("small"), Run.of())


def test_an_experiment_is_computed_once_and_compared(
    declared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["small", f"runs={tmp_path / 'runs'}", f"out={tmp_path / 'out'}", *SMALL]
    assert main(["experiment", *words]) == 0
    first = (tmp_path / "out/small.csv").read_bytes()
    lines = list(csv.DictReader(first.decode().splitlines()))
    assert [(line["probe"], line["cell"]) for line in lines] == [
        (probe, cell) for probe in ("lbfgs", "adamw", "adamw_standardised") for cell in ("raw", "none", "inputs")
    ]
    for line in lines:
        score, low, high = (float(line[name]) for name in ("score", "low", "high"))
        assert 0 <= low <= score <= high <= 100 and line["seeds"] == "2"
        assert (line["difference"] == "-") == (line["cell"] == "none")
        assert 1 <= float(line["effective_rank"]) <= float(line["features"])
    by_name = {(line["probe"], line["cell"]): line for line in lines}
    for probe in ("lbfgs", "adamw"):
        difference = float(by_name[probe, "inputs"]["score"]) - float(by_name[probe, "none"]["score"])
        assert float(by_name[probe, "inputs"]["difference"]) == pytest.approx(difference, abs=1e-3)
    for suffix in ("md", "tex", "html"):
        text = (tmp_path / f"out/small.{suffix}").read_text()
        assert "RQ on inputs" in text and "seeds 0, 1" in text and "Digits" in text
    assert "src=" not in (tmp_path / "out/small.html").read_text()
    assert {file.name for file in (tmp_path / "out/figures").iterdir()} == {"digits.pdf", "digits.svg"}

    capsys.readouterr()
    assert main(["experiment", *words]) == 0
    assert "nothing left to compute" in capsys.readouterr().out
    assert (tmp_path / "out/small.csv").read_bytes() == first


def test_without_matplotlib_its_page_has_the_tables(
    declared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    words = ["small", f"runs={tmp_path / 'runs'}", f"out={tmp_path / 'out'}", *SMALL]
    assert main(["experiment", *words]) == 0
    told = capsys.readouterr().out
    assert f"wrote {tmp_path / 'out/small'}.csv, .md, .tex and .html; " in told
    assert "no figures: a page with figures needs a package: pip install 'dabs_rq[report]'" in told
    page = (tmp_path / "out/small.html").read_text()
    assert "RQ on inputs" in page and "pip install" in page and "<svg" not in page


def test_a_cell_without_results_is_said(declared: Path, tmp_path: Path) -> None:
    experiment = cells.load("small")
    found = results.collect(experiment, cells.cells(experiment, Run.of([f"runs={tmp_path}"])))
    assert len(found.missing) == 9 and "digits, digits, RQ on inputs, adamw" in found.missing and found.frame.empty
    assert "- No result: digits, digits, Raw, lbfgs." in results.to_markdown(found)


def test_experiments_are_listed_with_their_titles(declared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["experiment"]) == 0
    assert capsys.readouterr().out.split() == ["small", "A", "comparison"]


def test_the_report_has_a_section_of_experiments_with_results(declared: Path, tmp_path: Path) -> None:
    places = [f"runs={tmp_path / 'runs'}", f"out={tmp_path / 'report'}", "domain=digits"]
    assert main(["report", *places, "seeds=[0]"]) == 0
    assert 'id="experiments"' not in (tmp_path / "report" / "report.html").read_text()
    assert main(["experiment", "small", f"runs={tmp_path / 'runs'}", f"out={tmp_path / 'small'}", *SMALL]) == 0
    assert main(["report", *places, *SMALL]) == 0
    (page,) = (tmp_path / "report").glob("variant-*/report.html")
    text = page.read_text()
    assert 'id="experiments"' in text and "small: A comparison." in text
    assert (page.parent / "figures" / "experiment-small-digits.svg").exists()
    for title in ("Raw", "None", "RQ on inputs"):
        assert title in text.split('id="experiments"')[1]


# ---- the ImageNet experiments

IMAGENET = ("granularity", "moco_full", "supervised")


def imagenet_cells(name: str, tmp_path: Path, *words: str) -> list[cells.Cell]:
    return cells.cells(cells.load(name), Run.of([f"data={tmp_path}", "scale=paper", *words]))


@pytest.mark.parametrize("name", IMAGENET)
def test_published_scores_compare_only_with_the_whole_recipe_on_real_data(name: str, tmp_path: Path) -> None:
    declared = cells.load(name)
    paper = imagenet_cells(name, tmp_path)
    assert all(cell.published_compares for cell in paper)
    for words in (["pretrain.batch_size=1024"], ["method.bins=4"], ["encoder.width=32"], ["encoder=resnet18"]):
        changed = imagenet_cells(name, tmp_path, *words)
        assert not any(cell.published_compares for cell in changed) and changed[0].changed == tuple(words)
    assert all(cell.published_compares for cell in imagenet_cells(name, tmp_path, "seeds=0,1", "trainer.devices=8"))
    for scale in ("mini", "small"):
        words = [f"scale={scale}"] + ([f"data={tmp_path}"] if scale == "small" else [])
        assert not any(cell.published_compares for cell in cells.cells(declared, Run.of(words)))


def test_an_experiment_of_other_scales_says_so(declared: Path) -> None:
    declared.write_text(FILE.replace("options: {", "scales: {paper: {pretrain.lr: 0.1}}\noptions: {", 1))
    with pytest.raises(OptionError, match="experiment 'small' is declared for scale=paper; got mini"):
        cells.cells(cells.load("small"), Run.of())


def test_the_published_recipes_are_the_papers(tmp_path: Path) -> None:
    for name in ("granularity", "moco_full"):
        options = imagenet_cells(name, tmp_path)[0].run.options
        pretrain, transfer = options.pretrain, options.transfer
        assert (pretrain.steps, pretrain.batch_size, pretrain.lr, pretrain.weight_decay) == (31_200, 4096, 0.6, 1e-6)
        assert (transfer.probe, transfer.epochs, transfer.batch_size, transfer.lr) == ("sgd", 90, 1024, 0.1)
        assert transfer.weight_decay == 0 and transfer.views == "crop_flip" and transfer.features == "reencode"
        encoder = options.encoder
        assert encoder.name == "resnet50" and encoder.options.zero_init_residual and encoder.options.crop == 224
        method = options.method.options
        assert (method.temperature, method.momentum, method.hidden, method.dimension) == (1.0, 0.99, 4096, 256)
        assert (method.crop_min, method.warmup, method.view_size, method.bins, method.p) == (0.2, 0.1, 224, 8, 1.0)
        assert method.crops == transfer.crops == "whole"
    options = imagenet_cells("supervised", tmp_path)[0].run.options
    pretrain = options.pretrain
    assert (pretrain.steps, pretrain.batch_size, pretrain.lr, pretrain.weight_decay) == (450_360, 256, 0.1, 1e-4)
    assert not options.encoder.options.zero_init_residual and options.trainer.precision == "32-true"
    assert options.method.options.augment == "crop_flip" and options.method.options.crop_min == 0.08
    assert options.method.options.crops == "whole"


@pytest.mark.slow
def test_the_cost_of_an_arm_is_what_one_computes_by_hand(tmp_path: Path) -> None:
    from dabs_rq.suite import cost, estimate

    (arm, _) = imagenet_cells("granularity", tmp_path, "seeds=0")
    (found,) = cost.costs(arm.run)
    by_hand = 8 * 8.2e9 * 4096 * 31_200  # forward equivalents, operations of one, pictures of a step, steps
    assert found.pretraining["moco"] == pytest.approx(by_hand, rel=0.02)
    cached = cost.costs(arm.run.replace({"method.crops": "input"}))[0].prepared
    assert cached - found.prepared == 1_281_167 * 3 * 256 * 256, "crops of whole pictures are not prepared"
    text = estimate.describe_cells([("Arm", arm.run)])
    assert "Arm " in text and "31,200 x 4096" in text and "8,3" in text


@pytest.mark.parametrize(
    ("name", "words", "noted"),
    [
        ("granularity", [], []),
        ("granularity", ["transfer.crops=input"], ["The probe"]),
        ("granularity", ["method=moco", "method.crops=input", "transfer.crops=input"], ["Pretraining", "The probe"]),
        ("granularity", ["method=moco", "method.crops=input", "scale=small"], []),
        ("granularity", ["scale=small"], []),
        ("supervised", [], []),
        ("supervised", ["method=supervised", "method.crops=input"], ["Pretraining"]),
    ],
)
def test_crops_of_the_centre_square_are_noted_where_they_are_used(
    name: str, words: list[str], noted: list[str], tmp_path: Path
) -> None:
    found = results.collect(cells.load(name), imagenet_cells(name, tmp_path, *words, f"runs={tmp_path}"))
    said = [note for note in found.notes if "random crops from the centre square of each picture" in note]
    assert [note.partition(" takes")[0] for note in said] == noted


def test_a_made_up_result_has_its_published_score_in_a_labelled_column(declared: Path, tmp_path: Path) -> None:
    declared.with_name("pictures.yaml").write_text(
        """\
title: Pictures
about: Does it run?
domains: [imagenet]
seeds: [0]
reference: plain
published_source: a paper
assumptions: [the first, the second]
options: {encoder: resnet18, encoder.stem: small, encoder.width: 8, transfer.probe: classifier, transfer.also: []}
cells:
  plain: {title: Plain, method: supervised, published: 75.56}
  rq: {title: RQ, method: supervised, options: {method.rq: channel}}
"""
    )
    words = ["pretrain.steps=2", "pretrain.batch_size=8", "pretrain.max_examples=64", "transfer.max_examples=32"]
    words += ["suite.executor=in_process", "trainer.accelerator=cpu", f"runs={tmp_path / 'runs'}"]
    assert main(["experiment", "pictures", *words, f"out={tmp_path / 'out'}"]) == 0
    text = (tmp_path / "out/pictures.md").read_text()
    assert "published, not comparable" in text and "| 75.56 " in text and "(difference)" not in text
    assert "- Assumed: the first; the second." in text
    assert (
        "- Published scores (a paper) are of the full budget on real data; these are of scale mini, with pretrain"
        in text
    )
    rows = list(csv.DictReader((tmp_path / "out/pictures.csv").open()))
    assert [(row["published"], row["from_published"]) for row in rows] == [("75.56", "-"), ("-", "-")]
    assert "Published, not comparable" in (tmp_path / "out/pictures.tex").read_text()


def test_a_dry_run_of_an_experiment_says_what_remains_and_what_it_costs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["experiment", "supervised", "--dry-run", f"runs={tmp_path}"]) == 0
    out = capsys.readouterr().out
    assert "GPU hours at 20% of the half-precision peak (assumed): V100" in out
    assert "19 jobs left" in out and "RQ, p = 0.5" in out and "240 x 64" in out and "3 cells and 3 seeds" in out
    assert not list(tmp_path.glob("*/mini"))


@pytest.mark.slow
def test_a_dry_run_costs_cells_that_need_several_blocks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["experiment", "rq_study", "--dry-run", f"runs={tmp_path}", "domain=digits", "seeds=0"]) == 0
    assert "After block 3" in capsys.readouterr().out
