"""Bundles: what they hold, that they are checked, and that nothing private leaves the machine."""

from __future__ import annotations

import dataclasses
import getpass
import hashlib
import io
import json
import re
import shutil
import socket
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from huggingface_hub import ModelCard
from hypothesis import given
from hypothesis import strategies as st

from dabs_rq import checkpoint, cli
from dabs_rq.errors import DabsRqError, DataError, OptionError, RecordError
from dabs_rq.records import record
from dabs_rq.run import Run
from dabs_rq.share import bundle, private
from dabs_rq.share.cells import choose
from dabs_rq.table import ours
from dabs_rq.table.columns import run_of
from tests import shared_run
from tests.test_records_and_table import fill

SUFFIXES = (".tar.gz", ".zip")


@pytest.fixture
def runs(miniature: Callable[[str], Path]) -> Path:
    return shared_run.computed(miniature)


@pytest.fixture
def packed(runs: Path, tmp_path: Path) -> Callable[..., Path]:
    """packed(suffix): a bundle of the run."""

    def pack(suffix: str = ".tar.gz", name: str = "bundle") -> Path:
        return bundle.pack(choose(shared_run.of(runs)), tmp_path / f"{name}{suffix}")[0]

    return pack


def unpacked(file: Path, into: Path) -> dict[str, bytes]:
    shutil.unpack_archive(file, into)
    return {one.relative_to(into).as_posix(): one.read_bytes() for one in into.rglob("*") if one.is_file()}


def repacked(files: dict[str, bytes], file: Path) -> Path:
    with tarfile.open(file, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return file


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_bundle_holds_everything_and_equal_results_give_equal_bytes(
    suffix: str, packed: Callable[..., Path], runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = packed(suffix)
    time.sleep(1.1)  # what an archive or a gzip header would tell of the time
    first = file.read_bytes()
    assert packed(suffix).read_bytes() == first, "the same results, packed over the first"
    assert packed(suffix, "another name").read_bytes() == first
    files = unpacked(file, tmp_path / "unpacked")
    manifest = json.loads(files["manifest.json"])
    assert manifest["files"].keys() | {"manifest.json"} == files.keys() and manifest["made_up_data"] is True
    kinds = [name.rpartition("/")[2] for name in files]
    assert kinds.count("encoder.safetensors") == 4 and kinds.count("sst2.parquet") == kinds.count("sst2.json") == 4
    card = ModelCard(files["README.md"].decode())
    assert len(card.data.eval_results) == 6 and "Licence: " in card.text and "python -m dabs_rq suite" in card.text
    assert cli.main(["bundle", "--check", str(file)]) == 0
    told = capsys.readouterr().out
    assert "8 scores follow" in told and "4 checkpoints have" in told and "MADE-UP DATA" in told


def test_splits_have_the_ids_and_hashes_of_the_records(packed: Callable[..., Path], runs: Path, tmp_path: Path) -> None:
    files = unpacked(packed(), tmp_path / "unpacked")
    result = record.read(shared_run.file_of(runs, "digits", "rq"))
    for split, labels, count in (
        ("train", result.train_labels, result.n_train),
        ("test", result.test_labels, result.n_examples),
    ):
        values = json.loads(files[f"splits/digits/digits.{split}.{labels}.json"])
        assert len(values["ids"]) == count and re.fullmatch("[0-9a-f]{64}", values["targets_sha256"])
    stored = record.predictions(shared_run.file_of(runs, "digits", "rq"))
    assert values["ids"] == stored.ids and values["labels"] == shared_run.labels(stored.ids, stored.targets)


def test_what_is_missing_is_named(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copied = shared_run.copied(runs, tmp_path / "runs")
    (copied / "miniature").symlink_to(runs / "miniature")
    for file in copied.glob("*/*/*/checkpoints/text/rq/*/seed-0/encoder.safetensors"):
        file.unlink()
    broken = shared_run.file_of(copied, "cola", "none")
    broken.with_suffix(".parquet").unlink()
    words = [*shared_run.WORDS, f"runs={copied}", "domains=[text]", "encoders=mine"]
    run = Run.of(words)
    of_rq = run.replace(method="rq", encoders=None).composed.variant(of_pretraining=False)
    fill(run, "rte", "rq", None, variant=of_rq, reason=f"one class in\n{tmp_path}/x")
    mine = run_of(run, "mine").replace(domain="text")
    file = shared_run.file_of(copied, "sst2", "none")
    fields = {"method": "mine", "architecture": "0" * 16, "options": mine.composed.recorded}
    network = dataclasses.replace(record.read(file), variant=mine.composed.variant(of_pretraining=False), **fields)
    record.write(mine.places.records(mine.identity(0, method="mine")), network, *record.predictions(file))
    assert cli.main(["bundle", *words, f"out={tmp_path / 'b.zip'}"]) == 1
    told = capsys.readouterr()
    assert "cola.parquet: no readable predictions" in told.err
    manifest = json.loads(unpacked(tmp_path / "b.zip", tmp_path / "unpacked")["manifest.json"])
    missing = "\n".join(manifest["missing"])
    assert "checkpoint of text with rq, seed 0: no checkpoint at <path>" in missing
    assert "training split of text/sst2: the data have changed since the records were computed" in missing
    assert "text/rte with rq, seed 0: no score (one class in <path>)" in missing
    assert "checkpoint of text with mine, seed 0: the network brings its weights" in missing
    assert "no readable predictions" in missing and all(line in told.out for line in manifest["missing"])
    assert str(tmp_path) not in missing
    assert cli.main(["bundle", "--check", str(tmp_path / "b.zip")]) == 0
    assert "are of checkpoints that are not in it" in capsys.readouterr().out


def test_a_changed_score_or_file_or_checkpoint_is_found(packed: Callable[..., Path], tmp_path: Path) -> None:
    files = unpacked(packed(), tmp_path / "unpacked")
    name = next(name for name in files if name.endswith("digits.json"))
    other = files | {name: files[name].replace(b'"n_train": ', b'"n_train": 1')}
    with pytest.raises(RecordError, match=r"digits\.json' has changed \(SHA-256\)"):
        bundle.check(repacked(other, tmp_path / "changed.tar.gz"))
    with pytest.raises(RecordError, match="is not in its manifest"):
        bundle.check(repacked(files | {"more.txt": b"x"}, tmp_path / "more.tar.gz"))
    fewer = {one: content for one, content in files.items() if one != name}
    with pytest.raises(RecordError, match=r"digits\.json' is missing"):
        bundle.check(repacked(fewer, tmp_path / "fewer.tar.gz"))
    forged = json.loads(files[name]) | {"score": 0.99}
    with pytest.raises(RecordError, match=r"differs from its predictions: score 0\.99"):
        bundle.check(repacked(signed(files | {name: json.dumps(forged).encode()}), tmp_path / "forged.tar.gz"))
    for field, text in (("method", "rq\x1b[2J"), ("hardware", "\x9b2J"), ("versions", {"torch\x07": "2"})):
        forged = json.loads(files[name]) | {field: text}
        with pytest.raises(RecordError, match="holds control characters") as refused:
            bundle.check(repacked(signed(files | {name: json.dumps(forged).encode()}), tmp_path / "forged.tar.gz"))
        assert str(refused.value).isprintable()
    for name_of_it, value, problem in (
        ("made_up_data", False, "its manifest has made_up_data False, and its records say otherwise"),
        ("made_up_data", "no", "made_up_data is true or false"),
        ("missing", "text", "missing is a list of texts"),
    ):
        manifest = json.dumps(json.loads(files["manifest.json"]) | {name_of_it: value}).encode()
        with pytest.raises(RecordError, match=problem):
            bundle.check(repacked(files | {"manifest.json": manifest}, tmp_path / "manifest.tar.gz"))
    weights = next(one for one in files if one.endswith("safetensors"))
    damaged = files[weights][:-1] + bytes([files[weights][-1] ^ 1])
    with pytest.raises(RecordError, match="is damaged: its weights hash to"):
        bundle.check(repacked(signed(files | {weights: damaged}), tmp_path / "damaged.tar.gz"))


def signed(files: dict[str, bytes]) -> dict[str, bytes]:
    """The files with a manifest that fits them, as a forger would write it."""
    manifest = json.loads(files["manifest.json"])
    manifest["files"] = {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in files.items()
        if name != "manifest.json"
    }
    return files | {"manifest.json": json.dumps(manifest).encode()}


HOSTILE = {
    "outside.tar.gz": {"../outside": b"x"},
    "absolute.tar.gz": {"/tmp/outside": b"x"},
    "large.tar.gz": {"zeros": bytes(100 << 20)},
    "none.tar.gz": {"README.md": b"no bundle"},
    "list.tar.gz": {"manifest.json": b"[]"},
    "format.tar.gz": {"manifest.json": b'{"format": 2, "files": {}, "missing": []}'},
    "empty.tar.gz": {"manifest.json": b'{"format": 1, "files": {}, "missing": [], "made_up_data": false}'},
    "escape.tar.gz": {"manifest.json": b'{"format": 1, "files": {}, "missing": ["\\u001b[2J"]}'},
    "deep.tar.gz": {"manifest.json": b"[" * 100_000},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_an_archive_that_is_no_bundle_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    file = repacked(HOSTILE[name], tmp_path / "in" / name)
    with pytest.raises((DataError, RecordError)) as refused:
        bundle.check(file)
    assert name in str(refused.value) and str(refused.value).isprintable()
    assert [one.name for one in tmp_path.iterdir()] == ["in"] and not Path("/tmp/outside").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half", b"\x1f\x8b half", b"<html>"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_damaged_archive_is_named(content: bytes, suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"half{suffix}"
    file.write_bytes(content)
    with pytest.raises(DabsRqError, match="half"):
        bundle.check(file)
    with pytest.raises(OptionError, match="is no bundle by its name"):
        bundle.check(tmp_path / "other.txt")


def test_nothing_private_is_in_a_bundle(runs: Path, tmp_path: Path) -> None:
    secret = tmp_path / "jane doe" / "home"
    copied = shared_run.copied(runs, secret / "runs")
    (secret / "runs" / "miniature").symlink_to(runs / "miniature")
    user, host = getpass.getuser(), socket.gethostname()
    file = shared_run.file_of(copied, "sst2", "rq", 1)
    values = json.loads(file.read_text())
    values["options"] |= {"runs": str(copied), "data": "~/data", "suite.ray_address": "node7:6379"}
    file.write_text(json.dumps(values))
    out, _ = bundle.pack(choose(shared_run.of(copied)), tmp_path / "b.tar.gz")
    for name, content in unpacked(out, tmp_path / "unpacked").items():
        for word in (str(secret), str(tmp_path), "jane doe", "node7", "~/data", str(runs)):
            assert word.encode() not in content, f"{word} in {name}"
    (own,) = (tmp_path / "unpacked").glob("runs/*/*/*/checkpoints/text/rq/*/seed-0/encoder.safetensors")
    (theirs,) = copied.glob("*/*/*/checkpoints/text/rq/*/seed-0/encoder.safetensors")
    described = checkpoint.verified(own)
    assert described["about"]["options"]["runs"] is None and described["about"]["data"].startswith("miniature-")
    assert described["weights"] == checkpoint.describe(theirs)["weights"]
    assert checkpoint.weights_hash(checkpoint.load_encoder(own)) == described["weights"]
    said = private.without_private({"reason": f"{user} on {host}: C:\\Users\\me\\x.wav and //nas/me/x", "task": user})
    kept = {"domain": "text", "reason": "text is empty", "also": {"pearson": 0.5}, "n": 3}
    assert private.without_private(kept, [Path("text"), Path("text").absolute(), None]) == kept
    assert said["task"] == user and "Users" not in said["reason"] and f"{host}:" not in said["reason"]


def test_an_example_id_that_is_a_path_of_this_machine_is_refused(runs: Path, tmp_path: Path) -> None:
    copied = shared_run.copied(runs, tmp_path / "runs")
    (copied / "miniature").symlink_to(runs / "miniature")
    file = shared_run.file_of(copied, "sst2", "rq")
    result, stored = record.read(file), record.predictions(file)
    ids = ["/home/jane/x.wav", *stored.ids[1:]]
    record.write(file.parent, dataclasses.replace(result), ids, stored.targets, stored.outputs)
    assert pq.read_table(file.with_suffix(".parquet"))["id"][0].as_py() == ids[0]
    with pytest.raises(RecordError, match=r"example id '/home/jane/x\.wav' is a path of this machine"):
        bundle.pack(choose(shared_run.of(copied)), tmp_path / "b.tar.gz")
    assert not (tmp_path / "b.tar.gz").exists()


NAMES = st.text(st.sampled_from("abcXYZ09_.- é"), min_size=1, max_size=8).map(str.strip).filter(lambda name: name > ".")


@given(st.lists(NAMES, min_size=2, max_size=5), st.sampled_from(["", "C:", "~jane"]))
def test_no_absolute_path_is_left_in_a_text(parts: list[str], root: str) -> None:
    place = Path(f"{root}/{'/'.join(parts)}")
    told = private.without_private({"reason": [f"{place}: no such file", f"see '{place}/x.wav'"]}, [place])
    assert told == {"reason": ["<path>: no such file", "see '<path>'"]}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_only_a_bundle_of_ours_is_replaced(suffix: str, packed: Callable[..., Path], tmp_path: Path) -> None:
    file = packed(suffix)
    assert ours.is_ours(file)
    if suffix == ".zip":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("manifest.json", '{"made_by": "me"}')
    else:
        repacked({"photo.jpg": b"mine", "manifest.json": b'{"made_by": "dabs_rq "}'}, file)
    before = file.read_bytes()
    with pytest.raises(RecordError, match="Give another file: out="):
        packed(suffix)
    assert file.read_bytes() == before and [one.name for one in tmp_path.iterdir()] == [file.name]


def test_out_may_be_a_folder_and_nothing_else_that_is_no_archive(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["bundle", *shared_run.WORDS, f"runs={runs}", "domains=[digits]"]
    assert cli.main([*words, f"out={tmp_path / 'new'}"]) == 0
    assert [one.name for one in (tmp_path / "new").iterdir()] == ["dabs_rq-bundle.tar.gz"]
    assert cli.main([*words, f"out={tmp_path / 'b.tar'}"]) == 2
    assert cli.main(["bundle", "--check", str(tmp_path / "new" / "dabs_rq-bundle.tar.gz"), "seeds=0"]) == 2
    assert cli.main(["bundle", "--check", str(tmp_path / "nothing.zip")]) == 1
    assert "nothing.zip: no such file" in capsys.readouterr().err
