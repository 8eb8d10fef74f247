"""A full disk, places that are files, options out of range, and checkpoints that somebody else made: each is our error,
leaves nothing half-written, and costs one cell at most."""

from __future__ import annotations

import json
import os
import resource
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dabs_rq import checkpoint, cli
from dabs_rq.checkpoint.dabs import to_dabs
from dabs_rq.encoders.transformer import ENCODER, Options, Transformer
from dabs_rq.errors import CheckpointError, OptionError, RecordError, WriteError
from dabs_rq.files import atomic_folder, atomic_path, write_text
from dabs_rq.methods.losses import info_nce
from dabs_rq.pretrain.loop import AtomicCheckpointIO
from dabs_rq.records import record
from dabs_rq.run import Run
from dabs_rq.spec import Series
from dabs_rq.suite.plan import build_plan
from tests.test_records_and_table import put

SMALL = Options(width=8, depth=1, heads=1, head_width=4, mlp_width=8, out_width=4)
INPUTS = (Series(name="series", length=8, channels=2, segment=4),)


def save(file: Path) -> None:
    checkpoint.save(file, ENCODER.build(SMALL, INPUTS, True), "transformer", SMALL, {}, {})


# ---- a disk that is full ---------------------------------------------------------------------------------------------


@contextmanager
def at_most(size: int) -> Iterator[None]:
    """Let no file grow above `size` bytes, as a full disk or a quota does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def export(folder: Path) -> None:
    checkpoint.export_dabs(folder.parent / "whole.safetensors", folder / "x")


def arrays(folder: Path) -> None:
    with atomic_path(folder / "x") as temporary, temporary.open("wb") as stream:
        np.savez(stream, features=np.zeros(10_000))


def folder_of_files(folder: Path) -> None:
    with atomic_folder(folder / "x") as temporary:
        (temporary / "y").write_bytes(bytes(10_000))


def test_a_kill_at_the_moment_a_folder_is_visible_leaves_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.rmtree", lambda *_, **__: None)  # what comes after a kill does not happen
    folder_of_files(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["x"]


WRITERS: dict[str, Callable[[Path], object]] = {
    "text": lambda folder: write_text(folder / "x", "text " * 1000),
    "checkpoint": lambda folder: save(folder / "x"),
    "export": export,
    "resume point": lambda folder: AtomicCheckpointIO().save_checkpoint({"a": torch.zeros(10_000)}, folder / "x"),
    "arrays": arrays,
    "folder": folder_of_files,
    "record": lambda folder: put(folder, reason=None, hardware="x" * 5000),
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("size", [0, 1, 700])
def test_nothing_half_written_is_left_on_a_full_disk(writer: str, size: int, tmp_path: Path) -> None:
    save(tmp_path / "whole.safetensors")
    folder = tmp_path / "folder"
    folder.mkdir()
    with at_most(size), pytest.raises(WriteError, match=str(folder)) as caught:
        WRITERS[writer](folder)
    assert "cannot be written" in str(caught.value) and not list(folder.iterdir())


def test_a_record_on_a_full_disk_leaves_the_earlier_one(tmp_path: Path) -> None:
    file = put(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with at_most(2000), pytest.raises(WriteError):
        put(tmp_path, hardware="x" * 5000)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before and record.read(file)


# ---- options ---------------------------------------------------------------------------------------------------------

WORDS = [
    *("encoder.depth=-1", "encoder.depth=0", "encoder.depth=1000000000", "encoder.width=nan", "encoder.heads=10000000"),
    *("method.temperature=-1", "method.temperature=0", "method.temperature=nan", "method.temperature=inf"),
    *("method.temperature=1e-300", "method.temperature=1e300", "method.bins=1", "method.bins=99999999999999999999"),
    *("tasks=[]", "domain=[]", "method=[]", "seeds=[]", "seeds=[-1]", "seeds=[nan]", "seeds=[true]"),
    *("pretrain.steps=0", "pretrain.steps=-5", "pretrain.steps=1e30", "pretrain.batch_size=99999999999999999999"),
    *("pretrain.lr=nan", "pretrain.lr=inf", "pretrain.lr=0", "pretrain.lr=1e300", "pretrain.weight_decay=-1"),
    *("transfer.strengths=[0]", "transfer.strengths=[nan]", "transfer.strengths=[1e300]", "transfer.max_examples=0"),
    *("loader.workers=-1", "loader.workers=10000000000", "loader.cache_gb=inf", "trainer.threads=1000000000"),
    *("trainer.devices=0", "trainer.precision=17", "trainer.accelerator=abacus", "suite.workers=1e9", "suite.cpus=-1"),
    *("out=a\0b", "runs=a\0b", "checkpoint=a\0b", "data=a\0b", "scale=a\0b", f"out={'x' * 5000}", f"runs={'x' * 5000}"),
]


@pytest.mark.parametrize("word", WORDS, ids=lambda word: ascii(word[:40]))
def test_an_option_out_of_its_range_is_refused(word: str) -> None:
    name = word.partition("=")[0]
    with pytest.raises(OptionError, match=name):
        Run.of([*(["domain=sensor"] if name != "domain" else []), *(["method=rq"] if name != "method" else []), word])


@pytest.mark.parametrize("size", ["width", "depth", "heads", "head_width", "mlp_width", "out_width"])
def test_a_transformer_needs_positive_sizes(size: str) -> None:
    with pytest.raises(ValueError, match=f"{size} is at least 1; got -1"):
        Transformer(INPUTS, **{size: -1})  # type: ignore[arg-type]


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_loss_needs_a_positive_temperature(temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature is above 0"):
        info_nce(torch.eye(3), torch.eye(3), temperature)


@pytest.mark.parametrize("name", ["out", "runs"])
@pytest.mark.parametrize("below", ["", "/a/b"])
@pytest.mark.parametrize("command", ["table", "report", "suite"])
def test_a_place_that_is_a_file_is_named(
    command: str, below: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("the user's")
    words = [command, "domain=sensor", f"{name}={tmp_path / 'file'}{below}"]
    assert cli.main(words) == 2
    assert f"leads through a file, {tmp_path / 'file'}; give a folder" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "the user's"


def test_export_to_a_folder_or_through_a_file_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "encoder.safetensors")
    (tmp_path / "file").write_text("")
    assert cli.main(["export", f"checkpoint={tmp_path / 'encoder.safetensors'}", f"out={tmp_path}"]) == 2
    assert cli.main(["export", f"checkpoint={tmp_path / 'encoder.safetensors'}", f"out={tmp_path / 'file' / 'x'}"]) == 1
    shown = capsys.readouterr().err
    assert "is a folder; give a file" in shown and "cannot be written" in shown


# ---- checkpoints -----------------------------------------------------------------------------------------------------


def described(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the description of a checkpoint, and nothing else."""
    whole = file.read_bytes()
    size = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + size])
    about = json.loads(header["__metadata__"]["dabs_rq"])
    change(about)
    header["__metadata__"]["dabs_rq"] = json.dumps(about)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write_bytes(len(text).to_bytes(8, "little") + text + whole[8 + size :])


DESCRIPTIONS: list[Callable[[dict[str, Any]], object]] = [
    lambda about: about.update(encoder=[]),
    lambda about: about.update(encoder={}),
    lambda about: about["encoder"].update(name=3),
    lambda about: about["encoder"].update(name=["transformer"]),
    lambda about: about["encoder"].update(options=None),
    lambda about: about["encoder"]["options"].update(depth=-1),
    lambda about: about["encoder"]["options"].update(width=60_000, mlp_width=60_000, depth=900),
    lambda about: about["encoder"]["options"].update(depth=10**400),
    lambda about: about["encoder"]["options"].update(depth="x" * 10**6),
    lambda about: about.update(inputs=3),
    lambda about: about.update(inputs=[3]),
    lambda about: about.update(inputs=[{"kind": "grid"}]),
    lambda about: about["inputs"][0].update(kind=["series"]),
    lambda about: about["inputs"][0].update(segment=0),
    lambda about: about["inputs"][0].update(length=-8),
    lambda about: about["inputs"][0].update(length=2**62, segment=1),
    lambda about: about["inputs"][0].update(length=float("nan")),
    lambda about: about.update(weights=None),
    lambda about: about.update(weights={"a": 1}),
    lambda about: about.update(about=[]),
    lambda about: about.update(format=float("inf")),
]


@pytest.mark.parametrize("change", DESCRIPTIONS)
def test_a_forged_description_is_refused(change: Callable[[dict[str, Any]], object], tmp_path: Path) -> None:
    file = tmp_path / "encoder.safetensors"
    save(file)
    described(file, change)
    with pytest.raises(CheckpointError, match=str(file)):
        checkpoint.load_encoder(file)


def test_an_encoder_that_computes_while_it_is_built_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "encoder.safetensors")
    built = Transformer.__init__

    def computing(self: Transformer, *given: Any, **named: Any) -> None:
        assert torch.linspace(0, 1, 3).tolist()[2] == 1  # not possible without memory
        built(self, *given, **named)

    monkeypatch.setattr(Transformer, "__init__", computing)
    assert checkpoint.load_encoder(tmp_path / "encoder.safetensors").width == 8


def broken(kind: str, file: Path) -> None:
    """Put something else in place of a checkpoint."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        (file / "config.json").mkdir(parents=True)
    elif kind == "foreign":
        save_file({"a": torch.zeros(2)}, file)
    elif kind == "description":
        save(file)
        described(file, lambda about: about.update(weights=[1], encoder=3))
    elif kind == "deep":
        text = b'{"__metadata__":{"dabs_rq":"' + b"[" * 100_000 + b'"}}   '
        file.write_bytes(len(text).to_bytes(8, "little") + text)
    else:
        file.write_bytes({"empty": b"", "random": bytes(range(256)) * 9, "zip": b"PK\x05\x06" + bytes(18)}[kind])


@pytest.mark.parametrize("kind", ["pipe", "folder", "foreign", "description", "deep", "empty", "random", "zip"])
def test_a_bad_encoder_costs_its_cell_and_stops_no_plan(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["domain=sensor", "method=none,rq", f"runs={tmp_path / 'runs'}"]
    run = Run.of(words)
    broken(kind, run.replace(method="rq").checkpoint_file(0))
    names = [job.name for job in build_plan(run).jobs]
    assert "pretrain sensor with rq, seed 0" in names and "pretrain sensor with none, seed 0" in names
    file = tmp_path / "given.safetensors"
    broken(kind, file)
    assert cli.main(["transfer", *words[::2], "method=rq", f"checkpoint={file}"]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("error: ") and "Traceback" not in shown and "delete" not in shown


def dabs(file: Path) -> dict[str, torch.Tensor]:
    return dict(to_dabs(Transformer(INPUTS, width=8, depth=1, heads=1, head_width=4, mlp_width=8).state_dict()))


def test_a_file_of_dabs_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.ckpt"
    state = dabs(file)
    load = {"inputs": INPUTS, "heads": 1, "head_width": 4}
    torch.save({"state_dict": state | {"model.cls_token": torch.zeros(1).expand(1, 1, 10**9)}}, file)
    with pytest.raises(CheckpointError, match=r"its tensors have 4,.* bytes, the file only"):
        checkpoint.load_encoder(file, **load)  # type: ignore[arg-type]

    torch.save({"state_dict": state}, file)
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    with pytest.raises(CheckpointError, match="its parts are compressed"):
        checkpoint.load_encoder(file, **load)  # type: ignore[arg-type]

    bomb = b"\x80\x02c__builtin__\nbytearray\n\x8a\x05\0\0\0\0\x10\x85R."
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, bomb if name.endswith("data.pkl") else content)
    with pytest.raises(CheckpointError, match="asks for a bytearray"):
        checkpoint.load_encoder(file, **load)  # type: ignore[arg-type]


# ---- records ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"metric": "beauty"},
        {"also": {"beauty": 0.5}},
        {"probe": {"probe": ["lbfgs"]}},
        {"options": {"transfer.probe": {}}},
        {"n_train": 10**30},
        {"seed": 2**70},
    ],
)
def test_records_of_unknown_kinds_are_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    file = put(tmp_path)
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    with pytest.raises(RecordError, match=str(file)):
        record.read(file)


@pytest.mark.parametrize(
    "text", ["[" * 10**6, '{"a":' * 10**5, '{"format": 1, "probe": ' + "[" * 5000 + "]" * 5000 + "}"]
)
def test_records_too_deep_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(RecordError, match=r"x\.json"):
        record.read(tmp_path / "x.json")


def test_what_is_no_record_is_an_error_of_its_own(tmp_path: Path) -> None:
    good = put(tmp_path / "good")
    (tmp_path / "folder.json").mkdir()
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "nowhere.json").symlink_to(tmp_path / "missing")
    (tmp_path / "large.json").write_bytes(b" " * (record.MAX_BYTES + 1))
    records, errors = record.read_all(tmp_path)
    assert [one.file_name for one in records] == [good.name] and len(errors) == 4
