"""MoCo-v3 and supervised training on pictures: what runs through the training loop, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from dabs_rq import checkpoint, registry
from dabs_rq.errors import CheckpointError, DataError, OptionError
from dabs_rq.methods.base import Batch, build_method
from dabs_rq.pretrain.pretrain import pretrain
from dabs_rq.ranks import Ranks
from dabs_rq.records import record
from dabs_rq.run import Run
from dabs_rq.spec import Grid, Multiclass, Tokens
from dabs_rq.transfer.classifier import read_classifier
from dabs_rq.transfer.transfer import transfer
from tests.test_contract_methods import resnet, transformer

PICTURE = (Grid(name="image", height=16, width=16, channels=3, patch=4),)
GREY = (Grid(name="image", height=16, width=16, channels=1, patch=4),)
NARROW = {"hidden": 8, "dimension": 4}
SMALL = ["domain=imagenet", "encoder=resnet18", "encoder.stem=small", "encoder.width=8", "pretrain.max_examples=96"]
SMALL += ["pretrain.batch_size=16", "transfer.max_examples=48", "trainer.progress=false", "trainer.accelerator=cpu"]
SMALL += ["trainer.health_every=0", "loader.prepare=never", "transfer.also=[]"]


def built(name: str, inputs: Any = PICTURE, **options: Any) -> Any:
    spec = registry.method(name)
    narrow = NARROW if name == "moco" else {}
    return build_method(spec, spec.options(**narrow, **options), resnet(inputs))


def batch(method: Any, rows: int = 12) -> Batch:
    images = torch.rand(rows, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return Batch((images,), method.encoder, targets=torch.arange(rows) % 3)


@pytest.mark.parametrize("name", ["moco", "supervised"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rq": "instance", "p_per": "channel"}, r"method\.rq=instance has one quantizer .*p_per=picture"),
        (
            {"augment": "full", "inputs": (Grid(name="x", height=16, width=16, channels=1, patch=4),)},
            "1 channels, not 3",
        ),
    ],
)
def test_options_that_exclude_each_other_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        built(name, **options)


@pytest.mark.parametrize("name", ["moco", "supervised"])
def test_tokens_and_encoders_with_a_projection_are_refused(name: str) -> None:
    spec = registry.method(name)
    text = (Tokens(name="text", length=8, vocabulary=9),)
    with pytest.raises(OptionError, match=rf"method '{name}' takes one picture; .*Tokens"):
        build_method(spec, spec.options(), transformer(text))
    with pytest.raises(OptionError, match=r"leaves the projection of Transformer untrained: .*resnet18"):
        build_method(spec, spec.options(), transformer(PICTURE))


@pytest.mark.parametrize("name", ["moco", "supervised"])
def test_a_batch_too_small_for_batch_norm_is_refused(name: str) -> None:
    method = built(name).train()
    one = batch(method, 1)
    one.ranks = Ranks(0, 2, gathers=False)
    with pytest.raises(OptionError, match=r"at least 2 examples at a time; each of 2 devices has 1 of a batch of 2\."):
        method.loss(one, torch.Generator())


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (None, "needs one class per example .*; found none"),
        (np.zeros((4, 2), np.int64), r"found int64 \(4, 2\)"),
        (np.array([0.0, 1.0]), r"found float64 \(2,\)"),
        (
            np.array([0, 2, 3]),
            r"example 2 of the pretraining source has label 3; labels are 0 to 2\. .*method\.classes",
        ),
        (np.array([0, -1]), "example 1 .* has label -1"),
    ],
)
def test_labels_outside_the_classes_are_refused_before_training(targets: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        built("supervised", classes=3).begin(None, 0, targets)


def test_a_batch_that_the_devices_do_not_divide_is_refused(miniature: Callable[[str], Path], tmp_path: Path) -> None:
    words = [*SMALL, f"data={miniature('imagenet')}", f"runs={tmp_path}", "method=moco", "trainer.devices=3"]
    with pytest.raises(OptionError, match="3 devices share every batch equally, but a batch has 16 examples"):
        pretrain(Run.of(words), 0)


def test_queries_and_keys_are_quantized_apart_in_the_batch_and_alike_per_view() -> None:
    for draws, different in (("batch", 4), ("view", 2)):
        method, seen = built("moco", augment="none", draws=draws), []
        for network in (method.encoder, method.momentum_encoder):
            network.network.conv1.register_forward_pre_hook(lambda _, arguments, to=seen: to.append(arguments[0]))
        method.train().loss(batch(method), torch.Generator().manual_seed(0))
        first = [float(one.double().sum()) for one in seen]
        assert len(first) == 4 and len(set(first)) == different, "two passes of two networks"
        assert (first[0] == first[2] and first[1] == first[3]) is (draws == "view")


def test_the_momentum_encoder_moves_once_a_step_and_only_its_parameters() -> None:
    method = built("moco", momentum=0.5, momentum_schedule="constant").train()
    averaged = method.momentum_encoder
    with torch.no_grad():
        for parameter in method.encoder.parameters():
            parameter.add_(1.0)
    before = {name: value.clone() for name, value in averaged.state_dict().items()}
    for _ in range(2):  # two batches of one step, as with pretrain.accumulate=2
        method.loss(batch(method), torch.Generator().manual_seed(0))
    for name, parameter in averaged.named_parameters():
        torch.testing.assert_close(parameter.detach(), before[name] + 0.5)
    moved, own = averaged.network.bn1.running_mean, method.encoder.network.bn1.running_mean
    assert not torch.equal(moved, before["network.bn1.running_mean"]), "from its own passes, in train mode"
    assert not torch.allclose(moved, (own + before["network.bn1.running_mean"]) / 2)
    assert averaged.network.bn1.num_batches_tracked == 4


def test_a_resumed_training_continues_the_schedules() -> None:
    method = built("moco")

    class Budget:
        steps, lr, weight_decay, batch_size = 10, 1.0, 0.0, 256

    method.begin(Budget(), 5, None)
    assert method.momentum() == pytest.approx(1 - 0.01 / 2)
    method.after_step(6)
    assert method.momentum() > 1 - 0.01 / 2


@pytest.mark.parametrize("crops", ["input", "whole"])
def test_an_interrupted_training_has_the_weights_of_one_that_was_not(
    crops: str, miniature: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*SMALL, f"data={miniature('imagenet')}", "method=moco", "pretrain.steps=4", "pretrain.lr=30"]
    words += ["method.hidden=8", "method.dimension=4", "method.augment=full", "pretrain.checkpoint_every=2"]
    words.append(f"method.crops={crops}")
    whole = checkpoint.describe(pretrain(Run.of([*words, f"runs={tmp_path / 'whole'}"]), 0))["weights"]
    run = Run.of([*words, f"runs={tmp_path / 'parts'}"])
    method_type: Any = registry.method("moco").build
    after = method_type.after_step

    def interrupted(self: Any, step: int) -> None:
        after(self, step)
        if step == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(method_type, "after_step", interrupted)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        pretrain(run, 0)
    monkeypatch.setattr(method_type, "after_step", after)
    assert (run.checkpoint_folder(0) / "resume.ckpt").exists()
    assert checkpoint.describe(pretrain(run, 0))["weights"] == whole


def test_a_classifier_is_scored_by_its_own_outputs(miniature: Callable[[str], Path], tmp_path: Path) -> None:
    words = [
        *SMALL,
        f"data={miniature('imagenet')}",
        f"runs={tmp_path}",
        "pretrain.steps=3",
        "transfer.features=cached",
    ]
    run = Run.of([*words, "method=supervised", "transfer.probe=classifier"])
    pretrain(run, 0)
    (file,), errors = transfer(run, 0)
    assert not errors
    own = checkpoint.own_tensors(run.checkpoint_file(0))
    assert own["classifier.weight"].shape == (1000, 64)
    result = record.read(file)
    assert result.probe == {"probe": "classifier"} and result.also.keys() == {"accuracy_top5"}
    outputs = record.predictions(file).outputs
    encoder = checkpoint.load_encoder(run.checkpoint_file(0))
    images = torch.from_numpy(run.splits.of_task(run.tasks[0], "test").inputs[0].take(np.arange(4))).float() / 255
    with torch.no_grad():
        expected = encoder((images,)) @ own["classifier.weight"].T + own["classifier.bias"]
    np.testing.assert_allclose(outputs[:4], expected.numpy(), atol=1e-4)


def test_a_classifier_that_is_missing_or_of_other_classes_is_refused(tmp_path: Path) -> None:
    file, spec = tmp_path / "encoder.safetensors", registry.encoder("resnet18")
    options = spec.options(stem="small", width=8)
    for own, message in (
        ({}, "holds none: give method=supervised"),
        ({"classifier.weight": torch.zeros(7, 64), "classifier.bias": torch.zeros(7)}, r"\(7, 64\), .* \(10, 64\)"),
    ):
        checkpoint.save(file, resnet(PICTURE), "resnet18", options, own, {})
        with pytest.raises(OptionError, match=message):
            read_classifier(file, 64, Multiclass(10))


def test_a_classifier_that_was_changed_is_refused(tmp_path: Path) -> None:
    """The hash of the weights is of the encoder; the classifier that is scored has a hash of its own."""
    file, spec = tmp_path / "encoder.safetensors", registry.encoder("resnet18")
    own = {"classifier.weight": torch.zeros(10, 64), "classifier.bias": torch.zeros(10)}
    checkpoint.save(file, resnet(PICTURE), "resnet18", spec.options(stem="small", width=8), own, {})
    content = load_file(file)
    with safe_open(file, framework="pt") as opened:
        metadata = opened.metadata()
    save_file(content | {"method.classifier.bias": torch.ones(10)}, file, metadata=metadata)
    for read in (lambda: read_classifier(file, 64, Multiclass(10)), lambda: checkpoint.verified(file)):
        with pytest.raises(CheckpointError, match="is damaged: its method's tensors hash to"):
            read()
