"""DABS's own checkpoints: golden features from a file as DABS writes it, strictness, and files that want to run."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dabs_rq import checkpoint
from dabs_rq.checkpoint.dabs import to_dabs
from dabs_rq.cli import main
from dabs_rq.encoders.transformer import Transformer
from dabs_rq.errors import CheckpointError
from dabs_rq.pretrain.pretrain import pretrain
from dabs_rq.records import record
from dabs_rq.run import Run
from dabs_rq.spec import Grid, Series, Tokens
from dabs_rq.transfer.transfer import transfer
from tests.golden_cases import Case, names
from tests.test_encoder import inputs_of
from tests.test_pretrain import SMALL

OPTIONS = {"heads": 2, "head_width": 16}  # of the golden encoders used here
IMAGE = "encoder/image"


class Progress:
    """Stands for the objects that a Lightning file of that time holds."""

    def __init__(self) -> None:
        self.epochs = [1, 2]


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(Path(os.environ["EVIL_FOLDER"])),)


def lightning_file(path: Path, name: str = IMAGE, **changes: Any) -> Path:
    """A file with the keys of a Lightning checkpoint; `changes` to its state dict, None deletes a tensor."""
    state = {f"model.{key}": tensor for key, tensor in Case(name).below("param/").items()}
    state |= {"non_linear_evaluator.1.weight": torch.zeros(3, 32), "predictor.weight": torch.zeros(2)} | changes
    content = {
        "epoch": 4,
        "global_step": 99999,
        "state_dict": {key: tensor for key, tensor in state.items() if tensor is not None},
        "callbacks": {Progress: {"best": Progress()}},
        "optimizer_states": [],
        "hyper_parameters": argparse.Namespace(lr=1e-4, where=Path("/somewhere")),
    }
    torch.save(content, path)
    return path


def pooled(encoder: Transformer, case: Case) -> torch.Tensor:
    inputs = tuple(case[f"input/{i}"] for i in range(len(encoder.inputs)))
    return encoder.encode(encoder.embed(inputs), encoder.mask(inputs)).pooled


@pytest.mark.parametrize("name", [name for name in names("encoder") if "_" not in name])
@pytest.mark.parametrize("bare", [False, True])
def test_a_file_of_dabs_gives_the_reference_features(name: str, bare: bool, tmp_path: Path) -> None:
    case = Case(name)
    path = tmp_path / "epoch=4-step=99999.ckpt"
    if bare:
        torch.save(case.below("param/"), path)
    else:
        lightning_file(path, name)
    encoder = checkpoint.load_encoder(path, inputs=inputs_of(case.settings["specs"]), **OPTIONS)
    torch.testing.assert_close(pooled(encoder, case), case["prehead"], atol=1e-5, rtol=1e-5)


def test_the_vocabulary_is_that_of_the_file(tmp_path: Path) -> None:
    path = lightning_file(tmp_path / "text.ckpt", "encoder/tokens")
    declared = (Tokens(name="text", length=16, vocabulary=30522),)
    encoder = checkpoint.load_encoder(path, inputs=declared, **OPTIONS)
    assert encoder.inputs == (Tokens(name="text", length=16, vocabulary=61),)


def test_there_and_back_is_exact(tmp_path: Path) -> None:
    inputs = inputs_of(Case(IMAGE).settings["specs"])
    torch.manual_seed(1)
    ours = Transformer(inputs, width=32, depth=2, heads=2, head_width=16, mlp_width=64, out_width=24)
    torch.save({"state_dict": to_dabs(ours.state_dict())}, tmp_path / "exported.ckpt")
    theirs = checkpoint.load_encoder(tmp_path / "exported.ckpt", inputs=inputs, **OPTIONS)
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, theirs.state_dict()[name])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model.cls_token": None}, "cls_token is missing"),
        ({"model.transformer.layers.1.0.norm.bias": None}, r"missing: transformer\.layers\.1\.0\.norm\.bias"),
        ({"model.extra": torch.zeros(1)}, "unexpected: extra"),
        ({"somebody.weight": torch.zeros(1)}, r"neither to the encoder.*somebody\.weight"),
        ({"model.pos_embedding": torch.zeros(1, 10, 32)}, r"another size: pos_embedding is \(1, 10, 32\) instead of"),
    ],
)
def test_what_does_not_fit_is_named(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = lightning_file(tmp_path / "dabs.ckpt", **changes)
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load_encoder(path, inputs=inputs_of(Case(IMAGE).settings["specs"]), **OPTIONS)


def test_an_encoder_of_tabular_inputs_is_loaded(tmp_path: Path) -> None:
    case = Case("encoder_tabular")
    torch.save({f"model.{name}": tensor for name, tensor in case.below("param/").items()}, tmp_path / "dabs.ckpt")
    inputs = inputs_of(case.settings["specs"])
    sizes = {"heads": case.settings["model"]["heads"], "head_width": case.settings["model"]["dim_head"]}
    encoder = checkpoint.load_encoder(tmp_path / "dabs.ckpt", inputs=inputs, **sizes)
    torch.testing.assert_close(encoder((case["input/0"],)), case["output"], atol=1e-5, rtol=1e-5)


def test_what_the_file_cannot_tell_is_asked_for(tmp_path: Path) -> None:
    path = lightning_file(tmp_path / "dabs.ckpt")
    with pytest.raises(CheckpointError, match="give inputs="):
        checkpoint.load_encoder(path)
    with pytest.raises(CheckpointError, match="attention is 32 wide, which is not heads=8 x head_width=64"):
        checkpoint.load_encoder(path, inputs=inputs_of(Case(IMAGE).settings["specs"]))


def test_nothing_in_a_file_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVIL_FOLDER", str(tmp_path / "was-here"))
    inputs = inputs_of(Case(IMAGE).settings["specs"])
    path = tmp_path / "evil.ckpt"
    torch.save({"state_dict": Case(IMAGE).below("param/"), "callbacks": Evil()}, path)
    try:
        checkpoint.load_encoder(path, inputs=inputs, **OPTIONS)
    except CheckpointError as error:
        assert str(path) in str(error)
    assert not (tmp_path / "was-here").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half a file", b"not a checkpoint at all"])
def test_a_damaged_file_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "dabs.ckpt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"dabs\.ckpt"):
        checkpoint.load_encoder(path, inputs=(Grid(name="image", height=8, width=8, channels=3, patch=4),))
    torch.save(torch.nn.Linear(2, 2), path)
    with pytest.raises(CheckpointError, match="holds a Linear, perhaps a whole pickled module"):
        checkpoint.load_encoder(path, inputs=(Grid(name="image", height=8, width=8, channels=3, patch=4),))


def test_our_checkpoints_can_be_exported_and_come_back_as_they_were(
    tmp_path: Path, miniature: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run.of(["domain=sensor", "method=none", f"data={miniature('sensor')}", f"runs={tmp_path}", *SMALL])
    ours, theirs = pretrain(run, 0), tmp_path / "exported" / "dabs.ckpt"
    assert main(["export", f"checkpoint={ours}", f"out={theirs}"]) == 0
    assert str(theirs) in capsys.readouterr().out
    content = torch.load(theirs, weights_only=True)["state_dict"]
    assert "model.transformer.layers.0.0.fn.to_qkv.weight" in content and "model.mlp_head.1.bias" in content
    back = checkpoint.load_encoder(theirs, inputs=run.inputs, heads=2, head_width=8)
    assert checkpoint.weights_hash(back) == checkpoint.weights_hash(checkpoint.load_encoder(ours))
    assert main(["export", f"checkpoint={ours}"]) == 2


def test_transfer_runs_from_a_file_of_dabs(tmp_path: Path, miniature: Callable[[str], Path]) -> None:
    sensor = (Series(name="sensor", length=320, channels=52, segment=5),)
    torch.manual_seed(0)
    encoder = Transformer(sensor, width=16, depth=1, heads=2, head_width=8, mlp_width=16, out_width=8)
    path = tmp_path / "epoch=4-step=99999.ckpt"
    torch.save({"state_dict": to_dabs(encoder.state_dict())}, path)
    words = [f"data={miniature('sensor')}", f"runs={tmp_path / 'runs'}", f"checkpoint={path}", *SMALL]
    (file, *_), errors = transfer(Run.of(["domain=sensor", *words, "transfer.max_examples=120"]), 0)
    assert not errors
    assert record.read(file).method == f"checkpoint-{checkpoint.weights_hash(encoder)}"


def test_a_checkpoint_of_the_other_scale_says_so(tmp_path: Path, miniature: Callable[[str], Path]) -> None:
    image = (Grid(name="image", height=224, width=224, channels=3, patch=16),)
    encoder = Transformer(image, width=16, depth=1, heads=2, head_width=8, mlp_width=16, out_width=8)
    path = tmp_path / "dabs.ckpt"
    torch.save({"state_dict": to_dabs(encoder.state_dict())}, path)
    run = Run.of(["domain=images", f"data={miniature('images')}", f"checkpoint={path}", f"runs={tmp_path}", *SMALL])
    with pytest.raises(CheckpointError, match=r"fits the inputs of scale=paper"):
        transfer(run, 0)
