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
from dabs_rq.run.changes import refresh_line
from dabs_rq.table.published import FILES
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
    markdown, latex = table.to_markdown(built), table.to_latex(built)
    assert "RQ (published)" in markdown and "None (difference)" in markdown and "+6.60" in markdown
    assert r"\multicolumn{3}{c}{Published} & \multicolumn{2}{c}{Difference}" in latex and "$-$18.90" in latex
    assert r"\cmidrule(lr){3-5}\cmidrule(lr){6-8}\cmidrule(lr){9-10}" in latex
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
    assert "RQ (published)" in markdown and "(difference)" not in markdown and "Difference" not in markdown


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


@pytest.fixture
def dabs2(run: Callable[..., Run]) -> Run:
    """A run of the columns of DABS 2.0 for which published numbers compare."""
    given = run("protocol=published").given
    return Run.compose({key: value for key, value in given.items() if key != "method"} | {"table.columns": "dabs2"})


def test_the_columns_of_dabs2_stand_beside_its_numbers_where_they_compare(dabs2: Run) -> None:
    assert dabs2.methods == ("none", "emix", "shed", "mae", "capri", "rq")
    fill(dabs2, "pamap2", "shed", 0.9)
    fill(dabs2, "vqa", "shed", 0.5)
    fill(dabs2, "mrpc", "shed", 0.5, predictions=answers(0.5, MRPC))
    built = table.build(dabs2)
    frame = built.frame.set_index("task")
    shown = [name.removesuffix("_published") for name in frame.columns if name.endswith("_published")]
    assert shown == ["none", "emix", "shed"]  # no number of the others is known
    assert frame.loc["pamap2", ["none_published", "emix_published", "shed_published"]].tolist() == [69.81, 79.48, 88.69]
    # DABS's numbers for VQA are of the data as they are here, unlike those of the RQ paper's table.
    assert frame.loc["vqa", "shed_published"] == 54.25 and np.isnan(frame.loc["mrpc", "shed_published"])
    averages = "Published for English Text, as the average of all its rows only: None 42.29, e-Mix 44.08, ShED 48.37."
    assert averages in built.notes
    assert any("from results/published_dabs2.csv. Difference" in note for note in built.notes)
    assert any(note.startswith("ShED: 15% of the token embeddings") for note in built.notes)
    assert frame.loc["pamap2", "shed_difference"] == pytest.approx(90 - 88.69)
    assert frame.loc["vqa", "shed_difference"] == pytest.approx(50 - 54.25)
    assert not [note for note in built.notes if "cannot be compared with ours" in note]
    assert [note for note in table.build(dabs2.replace({"table.columns": "rq"})).notes if "cannot be compared" in note]
    assert table.write(dabs2, built) == dabs2.places.table / "dabs2"


@pytest.mark.parametrize("words", [{"protocol": "corrected"}, {"scale": "mini", "protocol": "published"}])
def test_the_columns_of_dabs2_stand_alone_where_its_numbers_do_not_compare(dabs2: Run, words: dict[str, str]) -> None:
    one = Run.compose({**dabs2.given, **words})
    assert one.methods == dabs2.methods and one.composed.variant(of_pretraining=False) == "default"
    built = table.build(one)
    assert list(built.frame.columns[4:10]) == list(dabs2.methods) and built.variant == "default"
    assert not [name for name in built.frame.columns if "published" in name]


def test_the_table_is_chosen_by_name_and_commands_repeat_it(dabs2: Run, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"table\.columns is one of rq, dabs2; got 'dabs'"):
        Run.of(["table.columns=dabs"])
    line = refresh_line(dabs2, [0])
    assert " TABLE=dabs2" in line and "METHOD=" not in line
    assert " TABLE=dabs2" in refresh_line(dabs2.replace(method=["none", "shed"]), [0])  # it chooses the domains too
    assert "TABLE=" not in refresh_line(dabs2.replace(method=["none", "shed"], domain="sensor"), [0])
    mini = Run.of(["table.columns=dabs2", f"runs={tmp_path}", f"out={tmp_path}"])
    assert mini.replace(domain="sensor", method="shed").composed.variant(of_pretraining=False) == "default"


def test_every_number_of_dabs2_has_a_source_and_every_row_a_task() -> None:
    frame = pd.read_csv(FILES["dabs2"])
    assert frame["source"].notna().all()
    rows, averages = frame[frame["compares"] == "row"], frame[frame["compares"] == "average"]
    tasks = {(domain.name, task.name) for domain in registry.domains() for task in domain.tasks}
    assert set(zip(rows["domain"], rows["task"], strict=True)) <= tasks and not rows["task"].duplicated().any()
    of_rq = pd.read_csv(FILES["rq"])
    for line in averages.itertuples():  # the averages of the rows that the RQ paper lists
        own = of_rq[of_rq["domain"] == line.domain]
        assert (own["none"].mean(), own["emix"].mean()) == pytest.approx((line.none, line.emix), abs=0.01)
    both = rows.merge(of_rq, on="task", suffixes=("", "_rq"))
    both = both[both["task"] != "vqa"]
    assert len(both) == 16 and (both["none"] == both["none_rq"]).all() and (both["emix"] == both["emix_rq"]).all()


def test_the_tasks_whose_published_numbers_compare_with_nothing_are_known() -> None:
    tasks = [task for domain in registry.domains() for task in domain.tasks]
    assert [task.name for task in tasks if not task.published_comparable] == ["vqa"]
