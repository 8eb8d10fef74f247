"""docs/own-data.md: its files, its tables and its commands do what it says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from dabs_rq import cli, metrics, registry
from dabs_rq.data.readers.cells import Numbers, Picture, Recording, Text
from dabs_rq.data.readers.rows import Columns
from dabs_rq.domain import Task
from dabs_rq.miniature import write as made_up_data
from dabs_rq.pretrain.pretrain import pretrain
from dabs_rq.records import record
from dabs_rq.run import Run
from dabs_rq.spec import Binary, Multiclass, Multilabel, Regression, Target
from dabs_rq.transfer.transfer import transfer
from dabs_rq.typed import field_names
from tests.page_commands import commands

PAGE = (registry.PACKAGE.parent / "docs" / "own-data.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^```python\n# (\S+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
SMALL = (
    *("encoder.width=16", "encoder.depth=1", "encoder.heads=2", "encoder.head_width=8", "encoder.mlp_width=16"),
    *("pretrain.steps=2", "pretrain.batch_size=8", "transfer.strengths=[1.0]", "trainer.accelerator=cpu"),
    *("trainer.progress=false", "suite.workers=1"),
)


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The files of the page in a folder that DABS_RQ_PATH names."""
    folder = tmp_path / "mine"
    for name, text in FILES.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    monkeypatch.setenv(registry.PATH_VARIABLE, str(folder))
    registry.refresh()
    yield folder
    registry.refresh()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with the page's own data."""
    folder, generator = tmp_path / "data", np.random.default_rng(0)
    for label, name in enumerate(("daisy", "rose", "tulip")):
        (folder / "flowers" / name).mkdir(parents=True)
        for number in range(10):
            pixels = generator.integers(0, 100, (20, 24, 3), np.uint8)
            pixels[..., label] += 150
            Image.fromarray(pixels).save(folder / "flowers" / name / f"{number}.png")
    words = ("bad", "weak", "fair", "good", "great")
    lines = [f"{number % 20},{words[number % 5]} {number},{number % 5 + 1}" for number in range(60)]
    (folder / "reviews").mkdir()
    (folder / "reviews" / "reviews.csv").write_text("\n".join(["author,review,stars", *lines]) + "\n")
    (folder / "machines").mkdir()
    values = generator.normal(size=(80, 24))
    faults = np.arange(80) % 2
    values[faults == 1] += np.sin(np.arange(24))
    columns = {"values": values.tolist(), "fault": faults, "split": ["train"] * 60 + ["test"] * 20}
    parquet.write_table(pa.table(columns), folder / "machines" / "labelled.parquet")
    parquet.write_table(pa.table({"values": values.tolist()}), folder / "machines" / "unlabelled.parquet")
    return folder


def test_a_task_takes_about_ten_lines() -> None:
    lengths = {}
    for name, text in FILES.items():
        lines = [line for line in text.splitlines() if line and not line.startswith(("from ", "import "))]
        lengths[name.split("/")[-2]] = len(lines)
    assert lengths["flowers"] <= 11 and lengths["reviews"] <= 11  # as the formatter writes them, without imports


@pytest.mark.parametrize(("domain", "task", "also"), [
    ("images", "flowers", {"accuracy"}),
    ("text", "reviews", {"r2", "pearson"}),
    ("machines", "faults", {"f1_positive"}),
])  # fmt: skip
def test_a_task_of_the_page_has_a_score(
    domain: str, task: str, also: set[str], mine: Path, root: Path, tmp_path: Path
) -> None:
    if domain == "text":
        made_up_data.ensure("text", tmp_path / "made_up")
        (root / "text").mkdir()
        (tmp_path / "made_up" / "text" / "tokenizers").rename(root / "text" / "tokenizers")
    run = Run.of([f"domain={domain}", "method=none", f"tasks={task}", f"data={root}", f"runs={tmp_path}/runs", *SMALL])
    pretrain(run, 0)
    files, errors = transfer(run, 0)
    assert not errors
    result, *_ = map(record.read, files)
    assert result.score is not None and result.also.keys() == also and not result.made_up_data
    if task == "flowers":
        assert result.score > 0.6 and (result.n_train, result.n_examples) == (24, 6)


def test_the_suite_of_the_pages_domain(mine: Path, root: Path, tmp_path: Path) -> None:
    (suite,) = (one for one in commands("own-data") if one.words[:1] == ("suite",))
    words = [word for word in suite.words if not word.startswith("data=")]
    places = [f"data={root}", f"runs={tmp_path / 'runs'}", f"out={tmp_path / 'out'}"]
    assert cli.main([*words, *places, *SMALL]) == 0
    table = next((tmp_path / "out").rglob("table.md")).read_text(encoding="utf-8")
    assert cli.main(["report", *words[1:], *places, *SMALL]) == 0
    page = next((tmp_path / "out").rglob("report.html")).read_text(encoding="utf-8")
    assert "Faults" in page and "Avg. AUROC" in page and "F1 of yes" in page
    assert re.search(r"Faults *\| Machines *\| Avg\. AUROC *\| *\**\d", table)


def test_the_metric_of_the_page(mine: Path) -> None:
    outputs, targets = np.eye(3)[[0, 1, 1]], np.array([0, 0, 1])
    assert metrics.metric("costs").compute(outputs, targets) == pytest.approx(3 / 5)


def cells_of(header: str) -> dict[str, str]:
    """The rows of the page's table with that header: first cell -> the others."""
    lines = PAGE.splitlines()
    rows = lines[lines.index(header) + 2 :]
    end = next(number for number, line in enumerate([*rows, ""]) if not line.startswith("|"))
    return {cells[1].strip(): "|".join(cells[2:-1]) for cells in (line.split("|") for line in rows[:end])}


def named(text: str) -> list[str]:
    return re.findall(r"`([a-z_0-9]+)`", text)


def test_the_tables_of_the_page_name_all_fields_and_metrics() -> None:
    of_task = [name for cell in cells_of("| field of `Task` | says |") for name in named(cell)]
    assert set(of_task) <= set(field_names(Task)) and {"name", "source", "target", "metric", "load"} <= set(of_task)
    of_columns = cells_of("| field of `Columns` | says |")
    known = [name for cell in of_columns for name in named(cell)]
    described = [*known, *named(of_columns["`target`, `label`"])]
    assert set(field_names(Columns)) - {"labelled_by"} <= set(described) and set(known) <= set(field_names(Columns))
    targets: dict[str, Target] = {
        "Multiclass": Multiclass(6), "Binary": Binary(), "Multilabel": Multilabel(("a",)), "Regression": Regression(),
    }  # fmt: skip
    rows = cells_of("| target | metrics |")
    assert {kind: tuple(sorted(named(rows[f"`{kind}`"]))) for kind in targets} == {
        kind: metrics.fitting(target) for kind, target in targets.items()
    }
    assert all(f"`{cells.__name__}" in PAGE for cells in (Picture, Recording, Text, Numbers))
