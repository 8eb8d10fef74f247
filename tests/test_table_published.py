"""The published numbers stand beside ours only where they may, and a difference only where it says something."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dabs_rq import registry, table
from dabs_rq.cli import main
from dabs_rq.errors import OptionError
from dabs_rq.run import Run
from tests.test_records_and_table import answers, fill

MRPC, SST2 = 408, 872  # test examples of the real data
ON = "table.published=true"


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Run]:
    (tmp_path / "data").mkdir()
    places = [f"runs={tmp_path / 'runs'}", f"out={tmp_path / 'out'}", f"data={tmp_path / 'data'}"]
    return lambda *words: Run.of([*places, "scale=paper", "method=none,emix,rq", *words])


def test_differences_are_shown_for_the_published_protocol_at_paper_scale(run: Callable[..., Run]) -> None:
    one = run("protocol=published", ON)
    fill(one, "mrpc", "none", 0.75, predictions=answers(0.75, MRPC))
    fill(one, "mrpc", "rq", 0.5, predictions=answers(0.5, MRPC))
    fill(one, "sst2", "rq", 0.5, predictions=answers(0.5, 200))  # not all of the real split
    fill(one, "vqa", "rq", 0.5)
    built = table.build(one)
    assert not built.errors
    frame = built.frame.set_index("task")
    published = pd.read_csv(table.PUBLISHED).set_index("task")
    for method in ("none", "emix", "rq"):
        assert frame[f"{method}_published"].tolist() == published[method].tolist()
    assert frame.loc["mrpc", "none_difference"] == pytest.approx(75 - 68.4)
    assert frame.loc["mrpc", "rq_difference"] == pytest.approx(50 - 68.9)
    shown = frame[[f"{method}_difference" for method in ("none", "emix", "rq")]].notna().sum().tolist()
    assert shown == [1, 0, 1]  # no difference of rows without a score, of VQA, and of the cut split
    notes = "\n".join(built.notes)
    assert "No difference from the published numbers in: SST2 (200 test examples, 872 expected of" in notes
    assert "; VQA (its published numbers are of other data)." in notes
    markdown, latex, html = table.to_markdown(built), table.to_latex(built), table.to_html(built)
    assert "Ours (published)" in markdown and "None (difference)" in markdown and "+6.60" in markdown
    assert r"\multicolumn{3}{c}{Published} & \multicolumn{2}{c}{Difference}" in latex and "$-$18.90" in latex
    assert r"\cmidrule(lr){3-5}\cmidrule(lr){6-8}\cmidrule(lr){9-10}" in latex
    assert '<th scope="colgroup" colspan="3">Published</th>' in html
    columns = table.to_csv(built).splitlines()[0].split(",")
    assert columns[:7] == ["domain", "task", "row", "metric", "none", "emix", "rq"]
    assert columns[-3:] == ["none_difference", "emix_difference", "rq_difference"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("protocol=corrected",), "No differences: protocol corrected is not the one"),
        (("protocol=published", "transfer.lr=0.1"), "No differences: options differ from configs/ (transfer.lr)"),
        (("protocol=published", "protocol.padding_mask=true"), "(protocol.padding_mask)"),
    ],
)
def test_otherwise_published_numbers_are_a_column_without_a_difference(
    run: Callable[..., Run], words: tuple[str, ...], reason: str
) -> None:
    one = run(*words, ON)
    variant = one.replace(method="rq").composed.variant(of_pretraining=False)
    fill(one, "mrpc", "rq", 0.5, variant=variant, predictions=answers(0.5, MRPC))
    built = table.build(one)
    frame = built.frame.set_index("task")
    assert frame.loc["mrpc", "rq"] == 50 and frame.loc["mrpc", "rq_published"] == 68.9
    assert np.isnan(frame.loc["mrpc", "rq_difference"])
    assert any(reason in note for note in built.notes)
    markdown = table.to_markdown(built)
    assert "Ours (published)" in markdown and "(difference)" not in markdown and "Difference" not in markdown


def test_the_miniature_and_the_mini_scale_never_show_them(
    tmp_path: Path, run: Callable[..., Run], capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (
        [ON],
        [ON, "protocol=published"],
        [ON, f"data={tmp_path}"],
        [ON, f"data={tmp_path}", "scale=mini", "protocol=published"],
    ):
        given = [f"runs={tmp_path / 'runs'}", f"out={tmp_path / 'out'}", *words]
        with pytest.raises(
            OptionError, match=r"table\.published=true needs a scale of the full budget \(scale=paper\) and real data"
        ):
            Run.of(given)
        assert main(["table", *given]) == 2 and "scale=mini" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    without = table.build(run("protocol=published"))
    assert not [name for name in without.frame.columns if "published" in name or "difference" in name]


def test_the_tasks_whose_published_numbers_compare_with_nothing_are_known() -> None:
    tasks = [task for domain in registry.domains() for task in domain.tasks]
    assert [task.name for task in tasks if not task.published_comparable] == ["vqa"]
