"""Pretraining: checkpoints, exact resume, what stops it; and every method on every domain."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from dabs_rq import checkpoint, registry
from dabs_rq.data.batches import Order, training_batches
from dabs_rq.data.examples import Examples
from dabs_rq.encoders.embed import to_model_input
from dabs_rq.errors import CheckpointError, OptionError, ResourceError, TrainingError
from dabs_rq.methods.base import Batch
from dabs_rq.pretrain import pretrain as pretrain_module
from dabs_rq.pretrain.pretrain import build, pretrain
from dabs_rq.run import Run, compose
from dabs_rq.run.splits import Splits
from dabs_rq.spec import Grid, Tokens
from tests import quick

SMALL = (
    "encoder.width=16",
    "encoder.depth=1",
    "encoder.heads=2",
    "encoder.head_width=8",
    "encoder.mlp_width=16",
    "pretrain.batch_size=8",
    "pretrain.max_examples=40",
    "trainer.progress=false",
    "trainer.log_every=1",
    "trainer.accelerator=cpu",
)


@pytest.fixture
def run(tmp_path: Path, miniature: Callable[[str], Path], with_data: Callable[..., Path]) -> Callable[..., Run]:
    """run(domain, method, *words): a small run on the miniature, used as if it were real data."""

    def make(domain: str, method: str, *words: str) -> Run:
        data = f"data={miniature(domain)}"
        for runs in (str(tmp_path / "runs"), *(word[5:] for word in words if word.startswith("runs="))):
            with_data(Path(runs), domain)
        return Run.of([f"domain={domain}", f"method={method}", f"runs={tmp_path / 'runs'}", data, *SMALL, *words])

    return make


def losses(run: Run, seed: int = 0) -> dict[int, float]:
    """Step -> loss over all logs of a run; a step that was logged twice must have been the same."""
    logs = sorted(run.checkpoint_folder(seed).glob("log/*/metrics.csv"))
    frame = pd.concat([pd.read_csv(log) for log in logs]).dropna(subset=["loss"])
    assert (frame.groupby("step")["loss"].nunique() == 1).all()
    return dict(zip(frame["step"], frame["loss"], strict=True))


# Their losses are of features, and the transformer of the default options has a projection: tests of their own.
NEED_ANOTHER_ENCODER = ("moco", "supervised")
VARIANTS = [(method,) for method in registry.method_names() if registry.method(method).trains] + [
    ("emix", "method.frozen_embeddings=true"),
    ("emix", "method.weighting=batch_mean"),
    ("rq", "method.gradient=extremes"),
    ("rq", "method.gradient=straight_through"),
    ("rq", "method.views=1"),
    ("rq", "method.views_together=false"),
    ("emix", "method.views_together=false"),
    ("rq", "method.level=input"),
    ("rq", "method.level=auto"),
    ("rq", "method.level=embedding", "method.after_block=1", "method.gradient=straight_through"),
    ("rq", "method.granularity=instance", "method.collapse=middle", "method.spacing=uniform", "method.p=0.5"),
]


@pytest.mark.parametrize("domain", quick.others_slow(registry.domain_names()))
@pytest.mark.parametrize("words", VARIANTS, ids=" ".join)
def test_every_method_gives_a_finite_loss_and_trains_what_it_says(
    domain: str, words: tuple[str, ...], run: Callable[..., Run]
) -> None:
    one = run(domain, *words)
    if "method.level=input" in words and any(isinstance(spec, Tokens) for spec in one.inputs):
        with pytest.raises(OptionError, match="holds token ids"):
            build(one, seed=0)
        return
    if words[0] in NEED_ANOTHER_ENCODER:
        with pytest.raises(OptionError, match=f"method '{words[0]}' "):
            build(one, seed=0)
        return
    raw, _ = training_batches(one.splits.unlabelled("train"), size=8, seed=0).batch(0)
    inputs = tuple(map(to_model_input, raw))

    def loss_of() -> tuple[torch.Tensor, torch.nn.Module]:
        encoder, built = build(one, seed=0)
        built.eval()
        value, logs = built.loss(Batch(inputs, encoder), torch.Generator().manual_seed(3))
        assert all(torch.isfinite(log).all() for log in logs.values())
        return value, built

    value, built = loss_of()
    again, _ = loss_of()
    assert torch.isfinite(value) and value.ndim == 0
    assert torch.equal(value, again)
    value.backward()
    for name, parameter in built.named_parameters():
        got = parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
        assert got == parameter.requires_grad, name
        if name.startswith("encoder.embeddings."):
            trained = built.trains_embeddings
            assert parameter.requires_grad == (
                trained if isinstance(trained, bool) else trained[int(name.split(".")[2])]
            )


def test_none_writes_the_same_kind_of_checkpoint_without_training(run: Callable[..., Run]) -> None:
    none, rq = run("sensor", "none"), run("sensor", "rq_embeddings", "pretrain.steps=3")
    files = [pretrain(none, 0), pretrain(rq, 0)]
    described = [checkpoint.describe(file) for file in files]
    assert described[0].keys() == described[1].keys()
    assert described[0]["encoder"] == described[1]["encoder"]
    initial = build(rq, seed=0)[0].state_dict()
    for name, tensor in checkpoint.load_encoder(files[0], inputs=none.inputs).state_dict().items():
        assert torch.equal(tensor, initial[name])
    trained = checkpoint.load_encoder(files[1]).state_dict()
    # Under the corrected protocol the embedding modules of rq_embeddings keep their initial values, the rest moves.
    assert torch.equal(trained["embeddings.0.projection.weight"], initial["embeddings.0.projection.weight"])
    assert not torch.equal(trained["blocks.0.attention.to_qkv.weight"], initial["blocks.0.attention.to_qkv.weight"])


@pytest.mark.parametrize(
    "words", [(), ("encoder.dropout=0.1", "protocol.pamap2_draws=cloned"), ("pretrain.accumulate=2",)]
)
def test_a_resumed_run_has_the_losses_of_an_undisturbed_one(
    words: tuple[str, ...], run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (*words, "pretrain.steps=9", "pretrain.checkpoint_every=4")
    undisturbed = run("sensor", "emix", *words, f"runs={tmp_path / 'undisturbed'}")
    expected = checkpoint.describe(pretrain(undisturbed, 0))["weights"]

    disturbed = run("sensor", "emix", *words, f"runs={tmp_path / 'disturbed'}")
    with monkeypatch.context() as patched:
        from dabs_rq.methods.emix import EMix

        real, calls = EMix.loss, []

        def fails_late(self: EMix, *rest: object) -> object:
            calls.append(1)
            if len(calls) > 6 * disturbed.options.pretrain.accumulate:
                raise MemoryError("out of memory")
            return real(self, *rest)  # type: ignore[arg-type]

        patched.setattr(EMix, "loss", fails_late)
        with pytest.raises(ResourceError, match="out of memory"):
            pretrain(disturbed, 0)
    assert not disturbed.checkpoint_file(0).exists()
    assert checkpoint.describe(pretrain(disturbed, 0))["weights"] == expected
    assert losses(disturbed) == losses(undisturbed)
    assert list(disturbed.checkpoint_folder(0).glob("log/from-step-4/metrics.csv"))
    assert not list(disturbed.checkpoint_folder(0).glob("*.ckpt"))


def interrupt(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretrain until the method fails after its resume point."""
    from dabs_rq.methods.emix import EMix

    real, calls = EMix.loss, []

    def fails_late(self: EMix, *rest: object) -> object:
        calls.append(1)
        if len(calls) > 6:
            raise MemoryError("out of memory")
        return real(self, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(EMix, "loss", fails_late)
        with pytest.raises(ResourceError, match="out of memory"):
            pretrain(run, 0)
    assert (run.checkpoint_folder(0) / "resume.ckpt").exists()


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ("config", r"pretrain\.lr was 0\.001, is 0\.01"),
        ("code", r"the code has changed \(dabs_rq\.methods\.emix\)"),
        ("data", "the examples under the data root have changed"),
        ("nothing said", "it does not say with which"),
    ],
)
def test_a_run_does_not_resume_what_began_with_other_options_code_or_data(
    changed: str,
    why: str,
    run: Callable[..., Run],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("pretrain.steps=9", "pretrain.checkpoint_every=4")
    interrupt(one := run("sensor", "emix", *words), monkeypatch)
    folder = one.checkpoint_folder(0)
    if changed == "config":
        shutil.copytree(compose.CONFIGS, tmp_path / "configs")
        scale = tmp_path / "configs" / "scale" / "mini.yaml"
        scale.write_text(scale.read_text().replace("lr: 1.0e-3", "lr: 1.0e-2", 1))
        monkeypatch.setattr(compose, "CONFIGS", tmp_path / "configs")
    elif changed == "code":
        real = pretrain_module.computed_by
        monkeypatch.setattr(pretrain_module, "computed_by", lambda one: real(one) | {"dabs_rq.methods.emix": "other"})
    else:
        point = torch.load(folder / "resume.ckpt", weights_only=True)
        point["origin"] = point["origin"] | {"examples": "others"} if changed == "data" else {}
        torch.save(point, folder / "resume.ckpt")
    again = run("sensor", "emix", *words)
    assert again.checkpoint_folder(0) == folder
    weights = checkpoint.describe(pretrain(again, 0))["weights"]
    shown = capsys.readouterr().out
    assert re.search(why, shown) and "Training starts at step 0" in shown and (folder / "resume.unused").exists()
    undisturbed = run("sensor", "emix", *words, f"runs={tmp_path / 'undisturbed'}")
    assert checkpoint.describe(pretrain(undisturbed, 0))["weights"] == weights
    logs = [sorted(path.name for path in one.checkpoint_folder(0).glob("log/*")) for one in (again, undisturbed)]
    assert logs[0] == logs[1], "no log of the training that was given up is read"


@pytest.mark.slow
def test_compiled_parts_train_as_the_others(run: Callable[..., Run], tmp_path: Path) -> None:
    words = ("pretrain.steps=3", "method.gradient=extremes")
    eager = run("sensor", "rq", *words)
    compiled = run("sensor", "rq", *words, "trainer.compile=true", f"runs={tmp_path / 'compiled'}")
    for one in (eager, compiled):
        pretrain(one, 0)
    assert list(losses(compiled).values()) == pytest.approx(list(losses(eager).values()), rel=1e-4)
    assert checkpoint.load_encoder(compiled.checkpoint_file(0), inputs=compiled.inputs).inputs == eager.inputs
    with pytest.raises(OptionError, match=r"trainer\.matmul"):
        pretrain(run("sensor", "rq", "trainer.matmul=fast"), 0)


def test_a_damaged_resume_point_is_set_aside(run: Callable[..., Run]) -> None:
    one = run("sensor", "rq", "pretrain.steps=3")
    folder = one.checkpoint_folder(0)
    folder.mkdir(parents=True)
    (folder / "resume.ckpt").write_bytes(b"half a file")
    pretrain(one, 0)
    assert (folder / "resume.unused").exists() and one.checkpoint_file(0).exists()


def test_a_finished_checkpoint_is_kept_and_a_damaged_one_made_again(run: Callable[..., Run]) -> None:
    one = run("sensor", "none")
    file = pretrain(one, 0)
    written = file.read_bytes()
    file.touch()
    changed = file.stat().st_mtime_ns
    assert pretrain(one, 0).stat().st_mtime_ns == changed
    file.write_bytes(written[: len(written) // 2])
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoint.load_encoder(file)
    pretrain(one, 0)
    checkpoint.load_encoder(file)
    assert file.with_suffix(".damaged").exists()


def test_a_loss_that_is_not_finite_stops_with_step_input_and_example(
    run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = run("sensor", "rq", "pretrain.steps=20", "protocol.pamap2_draws=cloned")
    examples = one.splits.unlabelled("train")
    assert isinstance(examples, Examples)

    class Poisoned:
        key = "poisoned"

        def __len__(self) -> int:
            return len(examples)

        def take(self, rows: np.ndarray) -> np.ndarray:
            arrays = examples.inputs[0].take(rows)
            arrays[rows == 7] = np.nan
            return arrays

        def select(self, rows: np.ndarray) -> Poisoned:
            raise AssertionError

    poisoned = Examples(examples.ids, (Poisoned(),))
    monkeypatch.setattr(Splits, "unlabelled", lambda *_: poisoned)
    order = Order(len(poisoned), 8, 0)
    step = next(number for number in range(10) if (0, 7) in order.batch(number) or (1, 7) in order.batch(number))
    with pytest.raises(TrainingError, match=rf"step {step}: input 'sensor' .* 1 examples.*{poisoned.ids[7].as_py()}"):
        pretrain(one, 0)


def test_what_cannot_train_is_refused(run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OptionError, match=r"pretrain\.steps is at least 1"):
        run("sensor", "rq", "pretrain.steps=0")
    with pytest.raises(OptionError, match=r"trainer\.logger"):
        pretrain(run("sensor", "rq", "trainer.logger=paper"), 0)
    with pytest.raises(OptionError, match=r"method\.views"):
        pretrain(run("sensor", "rq", "method.views=3"), 0)
    monkeypatch.setattr(Splits, "unlabelled", lambda *_: Examples([], (), None))
    with pytest.raises(TrainingError, match="empty"):
        pretrain(run("sensor", "rq"), 0)


def test_a_checkpoint_of_another_architecture_or_maker_is_refused(run: Callable[..., Run], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    file = pretrain(run("sensor", "none"), 0)
    image = (Grid(name="image", height=8, width=8, channels=3, patch=4),)
    with pytest.raises(CheckpointError, match=r"another architecture.*Series.*expected Grid"):
        checkpoint.load_encoder(file, inputs=image)
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        checkpoint.load_encoder(tmp_path / "missing.safetensors")
    foreign = tmp_path / "foreign.safetensors"
    tensors = load_file(file)
    save_file(tensors, foreign)
    with pytest.raises(CheckpointError, match="did not write it"):
        checkpoint.load_encoder(foreign)

    metadata = {"dabs_rq": json.dumps(checkpoint.describe(file))}
    missing = dict(tensors)
    del missing["encoder.class_token"]
    save_file(missing, foreign, metadata=metadata)
    with pytest.raises(CheckpointError, match="class_token"):
        checkpoint.load_encoder(foreign)
    save_file(tensors | {"encoder.class_token": tensors["encoder.class_token"] + 1}, foreign, metadata=metadata)
    with pytest.raises(CheckpointError, match="weights hash"):
        checkpoint.load_encoder(foreign)


def test_what_is_no_checkpoint_is_called_what_it_is_and_is_never_to_be_deleted(tmp_path: Path) -> None:
    import pickle

    from safetensors.torch import save_file

    model = tmp_path / "bert"
    model.mkdir()
    (model / "config.json").write_text("{}")
    save_file({"bert.embeddings": torch.zeros(2)}, model / "model.safetensors")
    legacy, text, older, zipped = (tmp_path / name for name in ("old.ckpt", "text", "older.safetensors", "new.ckpt"))
    torch.save({"state_dict": {}}, legacy, _use_new_zipfile_serialization=False)
    torch.save({"state_dict": {}}, zipped)
    (tmp_path / "any.pkl").write_bytes(pickle.dumps({"a": 1}))
    text.write_text("some notes")
    save_file({"a": torch.zeros(1)}, older, metadata={"dabs_rq": json.dumps({"format": 1})})
    known = {
        model: "is a folder of a Hugging Face model",
        tmp_path: "is a folder, not a checkpoint file",
        model / "model.safetensors": r"dabs_rq did not write it \(its tensors: bert\.embeddings, 1 in all\)",
        legacy: "is a pickle, perhaps a .ckpt that torch wrote before version 1.6",
        tmp_path / "any.pkl": "is a pickle",
        text: "is damaged, or it is not a safetensors file",
        older: "has checkpoint format 1; this version reads 2",
    }
    for path, message in known.items():
        for look in (checkpoint.load_encoder, checkpoint.describe, checkpoint.verified):
            with pytest.raises(CheckpointError, match=message) as error:
                look(path)
            assert str(path) in str(error.value) and "elete" not in str(error.value)
            assert path == older or "Expected: an encoder.safetensors" in str(error.value)
    with pytest.raises(CheckpointError, match=r"is a zip file, perhaps a \.ckpt of torch"):
        checkpoint.describe(zipped)


def test_a_checkpoint_is_verified_without_a_network(
    run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import load_file, save_file

    file = pretrain(run("sensor", "none"), 0)
    tensors, described = load_file(file), checkpoint.describe(file)
    metadata = {"dabs_rq": json.dumps(described)}
    expected = checkpoint.weights_hash(checkpoint.load_encoder(file))
    monkeypatch.setattr(registry, "encoder", lambda _: pytest.fail("a network was built"))
    assert checkpoint.verified(file) == described and described["weights"] == expected
    changed = tmp_path / "changed.safetensors"
    for wrong in (
        tensors | {"encoder.class_token": tensors["encoder.class_token"] + 1},
        {name: tensor for name, tensor in tensors.items() if name != "encoder.class_token"},
        tensors | {"encoder.more": torch.zeros(1)},
    ):
        save_file(wrong, changed, metadata=metadata)
        with pytest.raises(CheckpointError, match=r"is damaged: its weights hash to"):
            checkpoint.verified(changed)
    save_file(tensors | {"method.more": torch.zeros(1)}, changed, metadata=metadata)
    with pytest.raises(CheckpointError, match=r"is damaged: its method's tensors hash to"):
        checkpoint.verified(changed)
    described.pop("inputs")
    save_file(tensors, changed, metadata={"dabs_rq": json.dumps(described)})
    with pytest.raises(CheckpointError, match="is damaged: its metadata lacks inputs"):
        checkpoint.describe(changed)


def test_batches_depend_on_seed_and_number_only() -> None:
    order = Order(examples=10, size=4, seed=1)
    first = [key for number in range(order.per_epoch) for key in order.batch(number)]
    assert len(set(first)) == 8 and {epoch for epoch, _ in first} == {0}
    assert order.epoch(3) == [order.batch(3 * order.per_epoch + place) for place in range(order.per_epoch)]
    assert Order(10, 4, 2).batch(0) != order.batch(0)
    assert Order(examples=3, size=8, seed=0).per_epoch == 1
    assert dataclasses.replace(order, size=10).per_epoch == 1
