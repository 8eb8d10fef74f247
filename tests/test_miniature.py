"""A miniature has the same bytes everywhere; data of added tasks are written next to it, once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dabs_rq import registry
from dabs_rq.errors import OptionError
from dabs_rq.miniature import write as made_up
from dabs_rq.run import Run
from tests import quick
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
    made_up.write("noise", tmp_path / "data", seed=3)
    found = {str(file.relative_to(tmp_path / "data")) for file in (tmp_path / "data").glob("*/*")}
    assert found == {"noise/file", "ours/file"}
    assert (tmp_path / "data" / "ours" / "file").read_text() == "task 3"


@pytest.mark.parametrize("at", ["noise", "noise/inside", "."])
def test_the_data_of_others_are_not_overwritten(at: str, folder: Path, tmp_path: Path) -> None:
    add_task(folder, "noise", "ours", at=at, write="task")
    with pytest.raises(OptionError, match=r"task 'ours': the folder of its source, .*, is that of Noise \(noise\)"):
        made_up.write("noise", tmp_path / "data")
    assert (tmp_path / "data" / "noise" / "file").read_text() == "domain 0"


def test_two_tasks_do_not_write_the_same_folder(folder: Path, tmp_path: Path) -> None:
    add_task(folder, "noise", "one", at="same", write="one")
    add_task(folder, "noise", "two", at="same", write="two")
    with pytest.raises(OptionError, match=r"task 'one': the folder of its source, same, is that of Ours \(same\)"):
        made_up.write("noise", tmp_path / "data")


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
        made_up.write("noise", tmp_path / "data")
    assert sorted(path.name for path in (tmp_path / "data").iterdir() if path.name[0] != ".") == ["noise"]
    assert registry.added_tasks("noise")


# ---- the same bytes everywhere -------------------------------------------------------------------------------------

ENVIRONMENT = {
    # As if the processor were an old one: numpy, BLAS and the C library then take other ways to the same numbers.
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX2 FMA3 AVX512F AVX512CD AVX512_SKX",
    "OPENBLAS_CORETYPE": "Prescott",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX,-AVX2,-FMA,-FMA4,-AVX512F,-AVX512VL",
    "PYTHONHASHSEED": "5",
    "LC_ALL": "C",
}


def contents(root: Path) -> dict[str, bytes]:
    """Every file below `root`, except the marks of what is finished."""
    files = [file for file in root.rglob("*") if file.is_file() and file.name[0] != "."]
    return {file.relative_to(root).as_posix(): file.read_bytes() for file in files}


def differing(first: dict[str, bytes], second: dict[str, bytes]) -> list[str]:
    return sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))


WRITTEN = [one.name for one in registry.domains() if one.installed is None]


@pytest.mark.parametrize("domain", quick.others_slow(WRITTEN))
def test_equal_seeds_give_equal_bytes(domain: str, miniature: Callable[[str], Path], tmp_path: Path) -> None:
    """The `write(root, seed)` of a domain's miniature.py takes all that is random from `seed`, and no time, hash or
    order of files from elsewhere."""
    made_up.write(domain, tmp_path)
    assert differing(contents(miniature(domain)), contents(tmp_path)) == []


@pytest.mark.parametrize("domain", ["multilingual", pytest.param("vqa", marks=pytest.mark.slow)])
def test_another_seed_gives_other_bytes(domain: str, miniature: Callable[[str], Path], tmp_path: Path) -> None:
    made_up.write(domain, tmp_path, seed=1)
    first, second = contents(miniature(domain)), contents(tmp_path)
    assert not [name for name in first if first[name] == second.get(name)]


@pytest.mark.parametrize("domain", quick.others_slow(["multilingual", "sensor", "vqa"], quick=["vqa"]))
def test_the_bytes_do_not_depend_on_the_processor(
    domain: str, miniature: Callable[[str], Path], tmp_path: Path
) -> None:
    code = f"import pathlib, domains.{domain}.miniature as m; m.write(pathlib.Path({str(tmp_path)!r}), seed=0)"
    command = [sys.executable, "-W", "ignore", "-c", code]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | ENVIRONMENT)
    assert differing(contents(miniature(domain)), contents(tmp_path)) == []


@pytest.mark.parametrize("domain", ["multilingual", pytest.param("sensor", marks=pytest.mark.slow)])
def test_the_bytes_do_not_depend_on_the_number_of_processes(
    domain: str, miniature: Callable[[str], Path], tmp_path: Path
) -> None:
    made_up.write(domain, tmp_path, processes=2)
    assert differing(contents(miniature(domain)), contents(tmp_path)) == []


def test_a_generator_that_knows_no_processes_is_called_without(folder: Path, tmp_path: Path) -> None:
    made_up.write("noise", tmp_path / "data", seed=3, processes=2)
    assert (tmp_path / "data" / "noise" / "file").read_text() == "domain 3"


def test_the_version_follows_the_shared_modules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = registry.miniature_version("sensor")
    (tmp_path / "miniature").mkdir()
    (tmp_path / "miniature" / "scenes.py").write_text("")
    (tmp_path / "miniature" / "write.py").write_text("")
    monkeypatch.setattr(registry, "PACKAGE", tmp_path)
    registry.refresh()
    changed = registry.miniature_version("sensor")
    (tmp_path / "miniature" / "write.py").write_text("# writes no data of its own")
    registry.refresh()
    assert before != changed == registry.miniature_version("sensor")
    monkeypatch.undo()
    registry.refresh()
