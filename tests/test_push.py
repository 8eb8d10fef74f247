"""Sending a bundle's contents to a local server with the hub's endpoints."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from dabs_rq import cli
from dabs_rq.share import bundle
from dabs_rq.share.cells import choose
from tests import shared_run
from tests.hub_server import Hub

TOKEN = "hf_secretsecretsecret"
REPO = "jane/encoders"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A local hub. The hub's library asks it, with a token of its own."""
    server = Hub(TOKEN)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # a storage with a protocol of its own
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    yield server
    server.http.shutdown()


@pytest.fixture
def words(miniature: Callable[[str], Path]) -> list[str]:
    runs = shared_run.computed(miniature)
    return ["push", "--repo", REPO, *shared_run.WORDS, f"runs={runs}", "domains=[digits]", "seeds=0"]


def test_the_contents_of_a_bundle_are_sent_in_one_commit(
    hub: Hub, words: list[str], miniature: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.repositories[REPO] = {".gitattributes": b"", "notes.txt": b"theirs"}
    hub.large = (".safetensors", ".parquet")
    assert cli.main(words) == 0
    sent = hub.repositories[REPO]
    manifest = json.loads(sent["manifest.json"])
    assert sent.keys() == {".gitattributes", "notes.txt", "manifest.json", *manifest["files"]}
    assert all(len(sent[name]) == one["bytes"] for name, one in manifest["files"].items())
    assert len(hub.objects) >= 3, "large files go another way"
    assert [path for method, path in hub.asked if "/commit/" in path] == [f"/api/models/{REPO}/commit/main"]
    told = capsys.readouterr()
    assert f"committed {hub.url}/{REPO}/commit/1" in told.out and TOKEN not in told.out + told.err


def test_a_second_bundle_replaces_the_files_of_the_first_and_no_others(
    hub: Hub, words: list[str], miniature: Callable[[str], Path], tmp_path: Path
) -> None:
    hub.repositories[REPO] = {"notes.txt": b"theirs"}
    file, _ = bundle.pack(choose(shared_run.of(shared_run.computed(miniature))), tmp_path / "all.zip")
    assert cli.main(["push", "--repo", REPO, "--bundle", str(file)]) == 0
    first = set(hub.repositories[REPO])
    assert any("/text/" in name for name in first)
    assert cli.main(words) == 0
    second = hub.repositories[REPO]
    assert second.keys() < first and not any("/text/" in name for name in second) and second["notes.txt"] == b"theirs"


@pytest.mark.parametrize("files", [{"notes.txt": {}, "runs/old.json": {}}, [{}], 7, {}])
def test_a_manifest_cannot_have_other_files_removed(hub: Hub, words: list[str], files: Any) -> None:
    manifest = json.dumps({"made_by": "dabs_rq 1", "files": files}).encode()
    hub.repositories[REPO] = {"notes.txt": b"theirs", "runs/old.json": b"", "manifest.json": manifest}
    known = isinstance(files, dict)
    assert cli.main(words) == (0 if known else 1)
    sent = hub.repositories[REPO]
    assert sent["notes.txt"] == b"theirs" and ("README.md" in sent) is known
    assert ("runs/old.json" in sent) is (not files or not known)


def test_a_dry_run_lists_what_would_be_sent_and_asks_nobody(
    hub: Hub, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert cli.main([*words, "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "README.md" in told and f"bytes, to {REPO} at {hub.url}" in told and "nothing was sent" in told
    assert not hub.asked


def test_a_repository_that_is_not_there_is_made_only_if_asked(
    hub: Hub, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 1
    assert f"has no model repository {REPO}" in capsys.readouterr().err and not hub.repositories
    assert cli.main([*words, "--create"]) == 0
    assert hub.private == {REPO: "private"} and "README.md" in hub.repositories[REPO]


def test_files_of_somebody_else_in_the_repository_stay(
    hub: Hub, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = {"README.md": b"their card", "manifest.json": b'{"made_by": "somebody else"}'}
    hub.repositories[REPO] = dict(theirs)
    assert cli.main(words) == 1
    assert "has README.md, manifest.json, which no bundle of dabs_rq wrote" in capsys.readouterr().err
    assert hub.repositories[REPO] == theirs


@pytest.mark.parametrize(
    ("status", "told"),
    [(401, "the token is not valid"), (403, "this token may not write there"), (418, "refused jane/encoders (418)")],
)
def test_a_refusal_is_told_without_the_token(
    status: int, told: str, hub: Hub, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    hub.repositories[REPO] = {}
    hub.status = status
    assert cli.main(words) == 1
    shown = capsys.readouterr()
    assert told in shown.err and "Nothing was committed" in shown.err and TOKEN not in shown.out + shown.err


def test_a_wrong_token_is_told_without_showing_it(
    hub: Hub, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.repositories[REPO] = {}
    monkeypatch.setenv("HF_TOKEN", "hf_another")
    assert cli.main(words) == 1
    shown = capsys.readouterr()
    assert "the token is not valid" in shown.err and "hf_another" not in shown.out + shown.err


def test_a_hub_that_does_not_answer_is_given_up(hub: Hub, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    hub.repositories[REPO] = {}
    hub.delay = 5
    assert cli.main([*words, "network.hub_timeout=0.2"]) == 1
    assert "does not answer" in capsys.readouterr().err
    hub.http.shutdown()
    hub.http.server_close()
    assert cli.main(words) == 1
    assert "does not answer" in capsys.readouterr().err


def test_without_a_token_or_offline_nothing_is_asked(
    hub: Hub, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    assert cli.main(words) == 1
    assert "no token for the hub: set HF_TOKEN" in capsys.readouterr().err
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert cli.main(words) == 1
    assert "HF_HUB_OFFLINE is set" in capsys.readouterr().err and not hub.asked


@pytest.mark.parametrize("repo", ["", "encoders", "jane/", "jane/en coders", "a/b/c", "../x"])
def test_a_name_that_is_no_repository_is_refused(
    repo: str, hub: Hub, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["push", "--repo", repo, *words[3:]]) == 2
    assert "repo" in capsys.readouterr().err and not hub.asked
    assert cli.main(["push", *words[3:]]) == 2


def test_a_bundle_that_is_not_intact_is_not_sent(hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "b.zip").write_bytes(b"not a bundle")
    hub.repositories[REPO] = {}
    assert cli.main(["push", "--repo", REPO, "--bundle", str(tmp_path / "b.zip")]) == 1
    assert "b.zip" in capsys.readouterr().err and not hub.asked
