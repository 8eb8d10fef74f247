"""The package as pip installs it: one top-level name, and a run outside the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from dabs_rq import registry
from tests.test_pretrain import SMALL

ROOT = registry.PACKAGE.parent
PUBLISHED = ("published.csv", "published_dabs2.csv")
PARTS = (
    *("dabs_rq", "domains", "configs", "pyproject.toml", "README.md", "LICENSE", "CITATION.cff"),
    *(f"results/{name}" for name in PUBLISHED),
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of a copy of the sources, so that the build leaves nothing in them."""
    copy = tmp_path_factory.mktemp("sources")
    for part in PARTS:
        target = copy / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, target)
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    done = subprocess.run([*command, str(copy)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (file,) = folder.glob("*.whl")
    return file


@pytest.mark.slow
def test_the_wheel_holds_one_top_level_name_and_all_our_files(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"dabs_rq"}
    for folder, pattern in (
        ("dabs_rq", "*.py"),
        ("domains", "*.py"),
        ("configs", "*.yaml"),
        ("dabs_rq/report", "*.*"),
        ("dabs_rq/share", "*"),
    ):
        inside = "" if folder.startswith("dabs_rq") else "dabs_rq/"
        ours = {file.relative_to(ROOT).as_posix() for file in (ROOT / folder).rglob(pattern) if file.is_file()}
        missing = {f"{inside}{file}" for file in ours if "__pycache__" not in file} - set(names)
        assert not missing, f"add these to package-data in pyproject.toml: {sorted(missing)}"
    assert {f"dabs_rq/table/{name}" for name in PUBLISHED} <= set(names)


@pytest.mark.slow
def test_an_installed_wheel_pretrains_probes_and_writes_the_table(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(tmp_path / "venv")}))
    libraries = sysconfig.get_path("purelib")  # this line of a .pth file does not run the .pth files in that folder
    (site / "libraries.pth").write_text(f"{libraries}\n")
    zipfile.ZipFile(wheel).extractall(site)
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "domains").mkdir(parents=True)  # a folder of the user's, which hides nothing
    python = str(tmp_path / "venv" / "bin" / "python")
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "DABS_RQ_PATH")}

    def run(*words: str) -> str:
        done = subprocess.run([python, *words], cwd=elsewhere, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert str(site) in run("-c", "import dabs_rq; print(dabs_rq.__file__)")
    assert run("-m", "dabs_rq", "--version").startswith("dabs_rq ")
    words = ["domain=sensor", "method=rq", *SMALL, "transfer.max_examples=60", "transfer.also=[]"]
    for command in ("pretrain", "transfer", "table"):
        run("-m", "dabs_rq", command, *words, "out=tables")
    (table,) = elsewhere.rglob("table.csv")
    assert pd.read_csv(table)["rq"].notna().all()
