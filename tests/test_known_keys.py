"""Keys of columns within a suite: computed once, and again by the next suite or command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from dabs_rq.data import columns
from dabs_rq.data.columns import Decoded
from dabs_rq.data.known_keys import remembering
from dabs_rq.run import Run
from dabs_rq.suite.jobs import Job, run_job


def column(root: Path, **changes: Any) -> Decoded:
    items = pa.table({"path": [f"{number}.txt" for number in range(3)]})
    values: dict[str, Any] = {"items": items, "shape": (1,), "dtype": "uint8", "version": "1", **changes}
    return Decoded(decode=dict.__len__, root=root, **values)  # type: ignore[arg-type]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text("as it was")
    return tmp_path


def test_a_known_key_is_not_computed_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = column(root).key
    with remembering({}) as known:
        assert column(root).key == plain, "remembering changes no key"
    monkeypatch.setattr(columns, "digest_files", None)
    with remembering(known):
        assert column(root).key == plain
        chunked = pa.concat_tables([column(root).items.slice(0, 1), column(root).items.slice(1)])
        assert column(root, items=chunked).key == plain


@pytest.mark.parametrize(
    "changes",
    [
        {"items": pa.table({"path": ["0.txt", "2.txt", "1.txt"]})},
        {"items": pa.table({"path": ["0.txt", "1.txt", "2.txt"], "tail": [True, False, False]})},
        {"shape": (2,)},
        {"dtype": "int8"},
        {"version": "2"},
    ],
)
def test_another_column_has_another_key(root: Path, changes: dict[str, Any]) -> None:
    with remembering({}):
        assert column(root).key != column(root, **changes).key == column(root, **changes)._compute_key()


def test_the_next_command_notices_a_changed_file(root: Path) -> None:
    with remembering({}) as known:
        before = column(root).key
    (root / "1.txt").write_text("changed")
    with remembering(known):
        assert column(root).key == before, "a suite looks once"
    with remembering({}):
        assert column(root).key != before
    assert column(root).key != before


def test_the_jobs_of_a_suite_look_at_the_files_once(
    tmp_path: Path, miniature: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["domain=images", "method=rq", f"data={miniature('images')}", f"runs={tmp_path}", "tasks=[dtd]"]
    small = ["pretrain.steps=1", "pretrain.max_examples=8", "pretrain.batch_size=4", "trainer.progress=false"]
    run = Run.of([*words, *small, "transfer.max_examples=60", "transfer.also=[]", "trainer.health_every=0"])
    prepared = run_job(Job("prepare", "images", run, prepares=("dtd",)))
    assert prepared.keys and prepared.state == "done"

    def look_again(*_: Any) -> str:
        raise AssertionError("looked at the files again")

    monkeypatch.setattr(columns, "digest_files", look_again)
    trained = run_job(Job("pretrain", "images", run, "rq", 0, ("prepare",)), [prepared])
    scored = run_job(Job("transfer", "images", run, "rq", 0, ("pretrain",)), [trained])
    assert (trained.errors, scored.errors) == ([], [])
    assert run_job(Job("transfer", "images", run.replace(runs=str(tmp_path / "x")), "none", 0)).errors
