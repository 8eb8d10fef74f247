"""The hub: asked once, within a limit of time, and not at all if it is not to be asked."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from dabs_rq import cli
from dabs_rq.data.readers import hub, tokenizer
from dabs_rq.errors import MissingDataError
from dabs_rq.run import Run
from dabs_rq.suite import suite


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a hub that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        monkeypatch.delenv("DABS_RQ_HUB_ASKED", raising=False)
        monkeypatch.setattr(hub, "_timeout", 0.5)
        yield address
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    os.environ.pop("DABS_RQ_HUB_ASKED", None)


def test_a_hub_that_never_answers_is_asked_once_and_named(
    silent: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    started = time.monotonic()
    for name in ("bert-base-uncased", "xlm-roberta-base"):
        with pytest.raises(MissingDataError, match=f"tokenizer '{name}' is not at"):
            tokenizer._load_tokenizer(name, tmp_path / name, None)
    shown = capsys.readouterr().out
    assert time.monotonic() - started < 30
    assert shown.count(f"asking {silent} for the tokenizer") == 1
    assert shown.count(f"{silent} does not answer") == 1
    assert hub.is_offline() and os.environ["HF_HUB_OFFLINE"] == "1", "processes of this run do not ask again"


def test_a_hub_that_is_not_to_be_asked_is_not(
    silent: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub, "client", lambda _: pytest.fail("asked"))
    hub.reach("anything")
    assert not capsys.readouterr().out


@pytest.mark.parametrize("offline", [True, False])
def test_tokenizers_are_listed_as_sources_are(
    tmp_path: Path, offline: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    words = ["domain=text", f"data={tmp_path}", f"runs={tmp_path / 'runs'}"]
    for command in (["domains"], ["data", "list"]):
        assert cli.main([*command, *words]) == 0
        shown = capsys.readouterr().out
        (line,) = [line for line in shown.splitlines() if str(tmp_path / tokenizer.TOKENIZERS) in line]
        assert ("missing" in line) == offline and "google-bert/bert-base-uncased" in line
    planned = suite.dry_run(Run.of([*words, "method=none"]))
    assert ("tokenizer bert-base-uncased is missing" in planned) == offline
