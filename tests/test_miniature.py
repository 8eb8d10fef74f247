"""The miniature of a domain with tasks of one's own: written beside what is there, once, and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from dabs_rq import registry
from dabs_rq.errors import OptionError
from dabs_rq.miniature import write as miniature
from dabs_rq.run import Run
from tests.test_registry import WRITE, add_domain, add_task, alone, extra

__all__ = ["alone", "extra"]  # fixtures


@pytest.fixture
def folder(alone: Path) -> Path:
    """An own folder with a domain whose miniature is one file, noise/file."""
    inside = add_domain(alone, "noise")
    (inside / "miniature.py").write_text(WRITE.format(folder="noise", text="domain"))
    return alone


def test_a_task_brings_its_data_along(folder: Path, tmp_path: Path) -> None:
    words = ["domain=noise", f"runs={tmp_path / 'runs'}"]
    before = Run.of(words)
    place, written = before.places.folder("noise"), before.root / "noise" / "file"
    state = written.stat()

    add_task(folder, "noise", "ours", at="below/ours", write="task")
    registry.refresh()
    after = Run.of(words)
    assert (after.places.folder("noise"), after.root) == (place, before.root)
    assert (written.stat().st_ino, written.stat().st_mtime_ns) == (state.st_ino, state.st_mtime_ns)
    ours = after.root / "below" / "ours" / "file"
    assert ours.read_text() == "task 0"

    made = ours.stat().st_mtime_ns
    add_task(folder, "noise", "more", write="more")
    registry.refresh()
    assert (Run.of(words).root / "more" / "file").read_text() == "more 0"
    assert ours.stat().st_mtime_ns == made

    (folder / "tasks" / "noise" / "ours" / "miniature.py").write_text(WRITE.format(folder="below/ours", text="another"))
    registry.refresh()
    assert Run.of(words).root == before.root and ours.read_text() == "another 0"
    assert (before.root / "more" / "file").exists() and written.stat().st_mtime_ns == state.st_mtime_ns


def test_all_of_it_at_once(folder: Path, tmp_path: Path) -> None:
    add_task(folder, "noise", "ours", write="task")
    add_task(folder, "noise", "labels", at="noise")  # other labels of the domain's own source
    miniature.write("noise", tmp_path / "data", seed=3)
    found = {str(file.relative_to(tmp_path / "data")) for file in (tmp_path / "data").glob("*/*")}
    assert found == {"noise/file", "ours/file"}
    assert (tmp_path / "data" / "ours" / "file").read_text() == "task 3"


@pytest.mark.parametrize("at", ["noise", "noise/inside", "."])
def test_the_data_of_others_are_not_overwritten(at: str, folder: Path, tmp_path: Path) -> None:
    add_task(folder, "noise", "ours", at=at, write="task")
    with pytest.raises(OptionError, match=r"task 'ours': the folder of its source, .*, is that of Noise \(noise\)"):
        miniature.write("noise", tmp_path / "data")
    assert (tmp_path / "data" / "noise" / "file").read_text() == "domain 0"


def test_two_tasks_do_not_write_the_same_folder(folder: Path, tmp_path: Path) -> None:
    add_task(folder, "noise", "one", at="same", write="one")
    add_task(folder, "noise", "two", at="same", write="two")
    with pytest.raises(OptionError, match=r"task 'one': the folder of its source, same, is that of Ours \(same\)"):
        miniature.write("noise", tmp_path / "data")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("def write(root, seed):\n    pass\n", "it wrote nothing"),
        ("def write(root, seed):\n    (root / 'stray').write_text('')\n", "it wrote stray"),
    ],
)
def test_a_generator_writes_its_own_folder_and_nothing_else(
    text: str, found: str, folder: Path, tmp_path: Path
) -> None:
    inside = add_task(folder, "noise", "ours", write="task")
    (inside / "miniature.py").write_text(text)
    with pytest.raises(OptionError, match=rf"task 'ours': its miniature.py writes .* ours, and nothing else; {found}"):
        miniature.write("noise", tmp_path / "data")
    assert sorted(path.name for path in (tmp_path / "data").iterdir() if path.name[0] != ".") == ["noise"]
    assert registry.added_tasks("noise")
