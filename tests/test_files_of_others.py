"""No command deletes, overwrites or hides files that it did not write; where only `out=` is writable, tables work."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from dabs_rq import cli, registry, report, table
from dabs_rq.errors import DataWarning, RecordError
from dabs_rq.experiment import cells, results
from dabs_rq.files import atomic_path, locked_folder
from dabs_rq.pretrain.pretrain import pretrain
from dabs_rq.report import experiment as page
from dabs_rq.run import Run
from dabs_rq.table import ours
from tests.test_pretrain import SMALL
from tests.test_records_and_table import put

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield


def contents(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


OTHERS = (
    *(".notes.tmp", ".table.csv.backup.tmp", ".table.csv.deadbeef.tmp", ".lock", "figures/scores-mine.pdf"),
    *("figures/quantizer-old.svg", "figures/pretraining-x.pdf", "figures/.keep.tmp"),
)


def test_what_is_in_the_users_folder_stays(tmp_path: Path) -> None:
    out = tmp_path / "mine"
    for name in OTHERS:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(f"the user's {name}")
    before = contents(out)
    run = Run.of(["domain=sensor", f"out={out}"])
    table.write(run, table.build(run))
    report.write(run)
    report.write(run)
    after = contents(out)
    assert {name: after.get(name) for name in before} == before


def test_only_figures_in_the_list_that_have_not_changed_are_removed(tmp_path: Path) -> None:
    run = Run.of(["domain=sensor", f"runs={tmp_path / 'runs'}", f"out={tmp_path / 'out'}"])
    row(run, "emix")
    figures = report.write(run).page.parent / "figures"
    drawn = sorted(file.name for file in figures.glob("*.svg"))
    assert drawn
    changed, *_ = drawn
    (figures / changed).write_text("the user's own")
    other = Run.of(["domain=digits", "method=none", f"out={tmp_path / 'out'}"])
    report.write(other)
    assert (figures / changed).read_text() == "the user's own" or not (figures / changed).exists()


def test_a_lock_lies_in_the_folder_and_removes_only_our_own_leftovers(tmp_path: Path) -> None:
    folder = tmp_path / "above" / "out"
    folder.mkdir(parents=True)
    ours = [folder / ".table.csv.0123456789ab.dabs_rq.tmp", folder / ".x.0123456789ab.dabs_rq.tmp"]
    theirs = [folder / ".x.0123456789ab.tmp", folder / ".table.csv.zzzzzzzzzzzz.dabs_rq.tmp", folder / "x.tmp"]
    for file in (*ours, *theirs):
        file.write_text("x")
    with locked_folder(folder), atomic_path(folder / "table.csv") as temporary:
        temporary.write_text("new")
        assert [entry.name for entry in folder.parent.iterdir()] == ["out"]
    assert not any(file.exists() for file in ours) and all(file.exists() for file in theirs)
    assert [entry.name for entry in folder.parent.iterdir()] == ["out"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_table_is_written_where_only_out_is_writable(tmp_path: Path) -> None:
    out = tmp_path / "above" / "out"
    out.mkdir(parents=True)
    out.parent.chmod(0o500)
    assert cli.main(["table", "domain=sensor", f"out={out}"]) == 0 and (out / "table.csv").exists()


@pytest.mark.parametrize("link", ["same", "symbolic", "hard", "relative"])
def test_export_never_overwrites_its_own_checkpoint(
    link: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, target = tmp_path / "encoder.safetensors", tmp_path / "other.ckpt"
    file.write_bytes(b"weights")
    if link == "same":
        target = file
    elif link == "symbolic":
        target.symlink_to(file)
    elif link == "hard":
        target.hardlink_to(file)
    else:
        target = Path("../" + tmp_path.name) / file.name
    assert cli.main(["export", f"checkpoint={file}", f"out={target}"]) == 2
    assert "is the checkpoint itself" in capsys.readouterr().err and file.read_bytes() == b"weights"


def test_export_replaces_only_what_it_wrote(
    tmp_path: Path, miniature: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run.of(["domain=digits", "method=none", f"runs={tmp_path}", *SMALL])
    words = ["export", f"checkpoint={pretrain(run, 0)}", f"out={tmp_path / 'mine.pth'}"]
    theirs = {"epoch": 4, "state_dict": {"model.pos_embedding": torch.zeros(2)}}
    for mine in (b"a thesis", b"PK\x03\x04", theirs, {"state_dict": theirs["state_dict"]}):
        torch.save(mine, tmp_path / "mine.pth") if isinstance(mine, dict) else (tmp_path / "mine.pth").write_bytes(mine)
        before = (tmp_path / "mine.pth").read_bytes()
        assert cli.main(words) == 1 and (tmp_path / "mine.pth").read_bytes() == before
        assert "is there already" in (told := capsys.readouterr().err) and "Give another file: out=" in told
    (tmp_path / "mine.pth").unlink()
    assert cli.main(words) == cli.main(words) == 0


@pytest.mark.parametrize("content", [None, "raise SystemExit('not ours')"])
def test_a_folder_called_domains_hides_nothing(content: str | None, tmp_path: Path) -> None:
    (tmp_path / "domains" / "sensor").mkdir(parents=True)
    if content is not None:
        (tmp_path / "domains" / "__init__.py").write_text(content)
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    code = "from dabs_rq import registry; print(*registry.domain_names()); print(registry.domain('sensor').title)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [" ".join(registry.domain_names()), registry.domain("sensor").title]


# ---- tables ---------------------------------------------------------------------------------------------------------


def row(run: Run, method: str) -> None:
    """Write a record of PAMAP2 that belongs to `run`."""
    one = run.replace(domain="sensor", method=method)
    values = {**one.identity(0)._asdict(), "options": dict(one.values)}
    put(one.record_file("pamap2", 0).parent, **values)


def test_a_table_with_less_says_so_and_an_empty_one_replaces_none(tmp_path: Path) -> None:
    run = Run.of([f"runs={tmp_path / 'runs'}", f"out={tmp_path / 'out'}"])
    for method in ("none", "rq"):
        row(run, method)
    folder = table.write(run, table.build(run))
    whole = (folder / "table.csv").read_text()

    fewer = run.replace(method=["none"])
    with pytest.warns(DataWarning, match="had more than the table that replaces it: columns rq"):
        table.write(fewer, table.build(fewer))
    table.write(run, table.build(run))
    assert (folder / "table.csv").read_text() == whole

    empty = run.replace(runs=str(tmp_path / "elsewhere"))
    with pytest.raises(RecordError, match=r"has results in 1 rows, and no record for a new table was found; it stays"):
        table.write(empty, table.build(empty))
    assert (folder / "table.csv").read_text() == whole


@pytest.mark.parametrize("out", [True, False])
@pytest.mark.parametrize("options", [(), ("table.probes=all",), ("transfer.epochs=3",)])
def test_a_selection_of_domains_leaves_the_table_of_all(out: bool, options: tuple[str, ...], tmp_path: Path) -> None:
    words = [f"runs={tmp_path / 'runs'}", *([f"out={tmp_path / 'out'}"] if out else []), *options]
    run = Run.of(words)
    row(run, "rq")
    folder = table.write(run, table.build(run))
    before = contents(folder)
    for domains in (["images"], ["images", "sensor"]):
        some = run.replace(domain=domains)
        chosen = table.write(some, table.build(some))
        assert chosen != folder and "-".join(domains) in chosen.parts
    assert {name: contents(folder).get(name) for name in before} == before


# ---- files of others under the names of ours -------------------------------------------------------------------------

ROWS = "domain,task,rq\nimages,mine,1\n"
NAMES = {
    "table.csv": ROWS,
    "table.tex": "\\documentclass{article}\n",
    "table.md": "# My notes\n| Dataset | Score |\n",
    "averages.csv": "a,b\n1\n",
    "comparisons.csv": "\0\xff",
    "report.html": "<!doctype html>\n<title>My thesis</title>\n",
    ".figures.json": "[1]",
}


def name_of_mine(command: str, name: str, tmp_path: Path, make: Callable[[Path], object]) -> str:
    """Put something of the user's under a name of ours, run the command, and return the error."""
    out = tmp_path / "out"
    (out / name).parent.mkdir(parents=True)
    make(out / name)
    before = contents(out)
    with pytest.raises(RecordError) as refused:
        run = Run.of(["domain=sensor", f"out={out}"])
        report.write(run) if command == "report" else table.write(run, table.build(run))
    assert {one: contents(out).get(one) for one in before} == before
    return str(refused.value)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_the_user_under_a_name_of_ours_is_not_replaced(name: str, tmp_path: Path) -> None:
    command = "report" if name in ("report.html", ".figures.json") else "table"
    told = name_of_mine(command, name, tmp_path, lambda file: file.write_bytes(NAMES[name].encode("latin1")))
    assert f"out/{name} is there already" in told and "Give another folder: out=" in told and "elete" not in told
    if command == "table":
        assert [file.name for file in (tmp_path / "out").iterdir()] == [name], "nothing else is written either"


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda file: file.symlink_to("nowhere")])
def test_what_is_no_file_under_a_name_of_ours_is_not_replaced(make: Callable[[Path], object], tmp_path: Path) -> None:
    assert "table.csv is there already" in name_of_mine("table", "table.csv", tmp_path, make)
    assert (tmp_path / "out" / "table.csv").is_symlink() or (tmp_path / "out" / "table.csv").exists()


def test_a_figure_of_the_user_under_a_name_of_ours_is_not_replaced(tmp_path: Path) -> None:
    run = Run.of(["domain=sensor", f"runs={tmp_path / 'runs'}", f"out={tmp_path / 'out'}"])
    row(run, "emix")
    figures = report.write(run).page.parent / "figures"
    for kind, mine in (("svg", "<svg><text>mine</text></svg>"), ("pdf", "%PDF-1.4 /Creator (Inkscape)")):
        (drawn, *_) = sorted(figures.glob(f"*.{kind}"))
        ours_before = drawn.read_bytes()
        drawn.write_text(mine)
        drawn.with_suffix(".svg").write_text("mine") if kind == "pdf" else None
        with pytest.raises(RecordError, match=rf"figures/{drawn.stem}\.(pdf|svg) is there already"):
            report.write(run)
        assert drawn.read_text() == mine
        drawn.write_bytes(ours_before)
        if kind == "pdf":
            drawn.with_suffix(".svg").unlink()


def test_every_file_that_we_write_is_known_as_ours(tmp_path: Path, with_data: Callable[..., Path]) -> None:
    """A table with results and one without any, and their reports: commands run again on all of them."""
    run = Run.of(["domain=sensor", f"runs={with_data(tmp_path / 'runs', 'sensor')}", f"out={tmp_path / 'out'}"])
    row(run, "rq")
    folder = report.write(run).page.parent
    written = [file for file in folder.rglob("*") if file.is_file() and file.suffix != ".lock"]
    assert {file.suffix for file in written} == {".csv", ".tex", ".md", ".html", ".json", ".svg", ".pdf"}
    assert [file.name for file in written if not ours.is_ours(file)] == []
    empty = Run.of(["domain=digits", f"runs={tmp_path / 'none'}", f"out={tmp_path / 'empty'}"])
    folder = table.write(empty, table.build(empty))
    assert [file.name for file in folder.glob("*.*") if file.suffix != ".lock" and not ours.is_ours(file)] == []


@pytest.mark.parametrize("file", sorted((ROOT / "results").glob("*/**/*.*")), ids=lambda file: file.name)
def test_the_results_that_are_kept_are_known_as_ours(file: Path) -> None:
    assert ours.is_ours(file) or file.suffix == ".lock"


@pytest.mark.parametrize("file", [ROOT / "results" / "published.csv", *sorted((ROOT / "docs").rglob("*.md"))])
def test_a_page_that_somebody_wrote_is_not_ours(file: Path) -> None:
    assert not ours.is_ours(file)


def test_an_experiment_replaces_no_page_of_the_user(tmp_path: Path) -> None:
    experiment = cells.load("rq_study")
    found = results.collect(experiment, cells.cells(experiment, Run.of([f"runs={tmp_path / 'runs'}"])))
    results.write(found, tmp_path / "first")
    results.write(found, tmp_path / "first")
    assert len(list((tmp_path / "first").glob("rq_study.*"))) == 3
    for kind in ("csv", "md", "tex", "html"):
        out = tmp_path / kind
        out.mkdir()
        (out / f"rq_study.{kind}").write_text("The user's own study.\n")
        with pytest.raises(RecordError, match=rf"rq_study\.{kind} is there already"):
            (page.write if kind == "html" else results.write)(found, out)
        assert contents(out).keys() == {f"rq_study.{kind}"}
