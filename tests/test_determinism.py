"""The same seed on the same machine gives the same numbers: for any number of loader workers, processes and threads,
order of files, seed of hashes, locale and time zone. Of ranks, see test_ddp.py; of executors, test_executors.py."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dabs_rq import checkpoint, registry
from dabs_rq.pretrain.pretrain import pretrain
from dabs_rq.records import record
from dabs_rq.run import Run
from dabs_rq.transfer.transfer import transfer
from tests import quick, surroundings
from tests.test_pretrain import SMALL

BUDGET = ("pretrain.steps=4", "transfer.max_examples=80", "transfer.epochs=2", "transfer.strengths=[1]")


def outcome(words: list[str], runs: Path) -> tuple[str, list[np.ndarray]]:
    """The hash of the pretrained weights, and the outputs of every probe."""
    run = Run.of([*words, f"runs={runs}"])
    file = pretrain(run, 0)
    records, errors = transfer(run, 0)
    assert not errors
    return checkpoint.describe(file)["weights"], [record.predictions(one).outputs for one in records]


@pytest.mark.parametrize("protocol", ["corrected", pytest.param("published", marks=pytest.mark.slow)])
@pytest.mark.parametrize("domain", quick.others_slow(registry.domain_names()))
def test_workers_change_nothing(
    domain: str,
    protocol: str,
    tmp_path: Path,
    miniature: Callable[[str], Path],
    with_data: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    first = registry.domain(domain).tasks[0].name
    words = [f"domain={domain}", f"tasks=[{first}]", f"protocol={protocol}", f"data={miniature(domain)}", "method=rq"]
    words += [*SMALL, *BUDGET, "encoder.dropout=0.1"]
    expected = outcome(words, with_data(tmp_path / "0", domain))
    for workers in (0, 2):
        weights, outputs = outcome(
            [*words, f"loader.workers={workers}"], with_data(tmp_path / f"again-{workers}", domain)
        )
        assert weights == expected[0]
        assert all(np.array_equal(a, b) for a, b in zip(outputs, expected[1], strict=True))


# Name -> environment, and words of the command.
SURROUNDINGS: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "plain": ({"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": "1"}, ("loader.prepare=never",)),
    # Text files are then ASCII for Python, unless code says otherwise.
    "ascii": (
        {"PYTHONHASHSEED": "1", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "OMP_NUM_THREADS": "2"},
        ("loader.prepare=always", "loader.processes=2"),
    ),
    # Where it is installed: "I" is not the capital of "i", and a comma is in numbers.
    "backwards": (
        {"PYTHONHASHSEED": "2", "LC_ALL": "tr_TR.UTF-8", "TZ": "Asia/Kathmandu", "SURROUNDINGS_BACKWARDS": "1"},
        ("loader.workers=1", "suite.executor=processes", "suite.workers=2"),
    ),
}


def seen_in(name: str, folder: Path, words: list[str], monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What a reader sees of a suite that ran in surroundings of that name, or "here", in this process."""
    folder.mkdir()
    environment, more = ({}, ()) if name == "here" else SURROUNDINGS[name]
    places = (f"runs={folder / 'runs'}", f"out={folder / 'out'}")
    given = [str(folder / "seen.json"), *words, "suite.executor=in_process", *places, *more]
    if name == "here":
        monkeypatch.setattr(sys, "argv", ["tests.surroundings", *given])
        surroundings.main()
    else:
        done = subprocess.run(
            [sys.executable, "-m", "tests.surroundings", *given],
            cwd=Path(__file__).parents[1],
            env={one: text for one, text in os.environ.items() if one[:3] != "LC_"} | environment,
            capture_output=True,
        )
        assert done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace")[-3000:]
    return json.loads((folder / "seen.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("domains", "names"),
    [
        ("text", ("here", "ascii")),
        pytest.param(
            ",".join(one.name for one in registry.domains() if one.tables), tuple(SURROUNDINGS), marks=pytest.mark.slow
        ),
    ],
)
def test_surroundings_change_nothing(
    domains: str,
    names: tuple[str, ...],
    tmp_path: Path,
    miniature: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    for domain in domains.split(","):
        shutil.copytree(miniature(domain), root, dirs_exist_ok=True)
    first = [registry.domain(domain).tasks[0].name for domain in domains.split(",")]
    words = [f"domain={domains}", f"tasks={','.join(first)}", f"data={root}", "method=rq", *SMALL, *BUDGET]
    seen = {name: seen_in(name, tmp_path / name, words, monkeypatch) for name in names}
    plain = seen.pop(names[0])
    records = [name for name in plain if "/records/" in name]
    assert len(records) >= len(first) and any(name.endswith("table.csv") for name in plain)
    for name, other in seen.items():
        different = sorted(one for one in plain.keys() | other.keys() if plain.get(one) != other.get(one))
        assert not different, f"{name}: {different}"
