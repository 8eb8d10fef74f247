"""A method with its own optimizer and schedule, and an encoder that is no transformer, found through DABS_RQ_PATH."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dabs_rq import checkpoint, registry
from dabs_rq.data.examples import Examples
from dabs_rq.encoders.base import Encoder
from dabs_rq.encoders.transformer import Transformer
from dabs_rq.errors import CheckpointError, OptionError, ResourceError
from dabs_rq.methods.base import Batch, build_method
from dabs_rq.pretrain.pretrain import build, pretrain
from dabs_rq.records import record
from dabs_rq.run import Run
from dabs_rq.run.splits import Splits
from dabs_rq.spec import Series, Tokens
from dabs_rq.suite import cost
from dabs_rq.transfer import features
from dabs_rq.transfer.transfer import transfer
from dabs_rq.typed import legal_values
from tests import plugin_files
from tests.test_pretrain import SMALL, losses

SERIES = Series(name="sensor", length=20, channels=3, segment=5)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv(registry.PATH_VARIABLE, str(plugin_files.write(tmp_path / "mine")))
    registry.refresh()
    yield tmp_path / "mine"
    registry.refresh()


@pytest.fixture
def run(tmp_path: Path, miniature: Callable[[str], Path], with_data: Callable[..., Path]) -> Callable[..., Run]:
    def make(*words: str) -> Run:
        data = f"data={miniature('sensor')}"
        sizes = [word for word in SMALL if not (word.startswith("encoder.") and "encoder=convolutional" in words)]
        runs = with_data(tmp_path / "runs", "sensor")
        return Run.of(["domain=sensor", f"runs={runs}", data, *sizes, "transfer.max_examples=60", *words])

    return make


def convolutional(inputs: tuple[Any, ...] = (SERIES,), **options: Any) -> tuple[Encoder, Any]:
    spec = registry.encoder("convolutional")
    chosen = spec.options(**options)
    torch.manual_seed(0)
    return spec.build(chosen, inputs, True), chosen


# ---- the method ----------------------------------------------------------------------------------------------------


def tensors(file: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(file)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_method_brings_its_optimizer_its_schedule_and_a_step_of_its_own(
    accumulate: int, run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []
    real = torch.optim.AdamW.step

    def watched(self: Any, closure: Any = None) -> Any:
        rates.append(self.param_groups[0]["lr"])
        assert self.param_groups[0]["betas"] == (0.5, 0.99) and self.param_groups[0]["weight_decay"] == 0
        return real(self, closure)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    one = run("method=cosine", "pretrain.steps=4", f"pretrain.accumulate={accumulate}", "pretrain.lr=0.01")
    saved = tensors(pretrain(one, 0))
    assert rates == pytest.approx([0.05 * (1 + math.cos(math.pi * step / 4)) for step in range(4)])
    assert saved["method.steps"].tolist() == [1, 2, 3, 4] + [0] * 60
    assert not torch.equal(saved["method.follower"], saved["encoder.head.1.weight"])


def test_an_interrupted_training_goes_on_with_its_schedule_and_its_own_state(
    run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("method=cosine", "pretrain.steps=9", "pretrain.checkpoint_every=4", "pretrain.lr=0.01")
    undisturbed = run(*words, f"runs={tmp_path / 'undisturbed'}")
    expected = tensors(pretrain(undisturbed, 0))
    disturbed = run(*words, f"runs={tmp_path / 'disturbed'}")
    kind = registry.method("cosine").build
    with monkeypatch.context() as patched:
        real, calls = kind.loss, []

        def fails_late(self: Any, *rest: Any) -> Any:
            calls.append(1)
            if len(calls) > 6:
                raise MemoryError("out of memory")
            return real(self, *rest)

        patched.setattr(kind, "loss", fails_late)
        with pytest.raises(ResourceError):
            pretrain(disturbed, 0)
    found = tensors(pretrain(disturbed, 0))
    assert losses(disturbed) == losses(undisturbed)
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


def test_augmented_batches_are_what_the_loss_sees(run: Callable[..., Run], tmp_path: Path) -> None:
    runs = [run("method=cosine", "pretrain.steps=2", f"method.noise={noise}") for noise in ("none", "normal")]
    for one in runs:
        pretrain(one, 0)
    assert losses(runs[0]) != losses(runs[1])


def test_options_of_a_method_are_checked_by_their_types(run: Callable[..., Run]) -> None:
    one = run("method=cosine")
    _, method = build(one, 0)
    assert method.options == registry.method("cosine").options()
    for wrong, text in (
        ("method.noise=salt", r"method\.noise is one of none, normal; got 'salt'"),
        ("method.beta=0", r"method\.beta is above 0; got '0'"),
        ("method.weighting=heavy", r"method\.weighting is one of per_example, batch_mean; got 'heavy'"),
    ):
        with pytest.raises(OptionError, match=text):
            run("method=cosine", wrong)
    options = registry.method("cosine").options
    assert legal_values(options, "noise") == ("none", "normal") and legal_values(options, "beta") == ()
    assert legal_values(options, "weighting") == ("per_example", "batch_mean")
    assert legal_values(options, "views_together") == (False, True)
    declared = {field.name: field.metadata for field in dataclasses.fields(options)}
    assert declared["weighting"] == {"protocol": "emix_weighting"} and declared["beta"] == {"values": (0.5, 0.9)}


def test_an_option_that_follows_a_protocol_option_nobody_declares_is_refused(run: Callable[..., Run]) -> None:
    registry.refresh()
    plain = plugin_files.COSINE.replace(", protocol=emix.EMixProtocol", "").replace('"cosine"', '"plain"')
    (Path(os.environ[registry.PATH_VARIABLE]) / "methods" / "plain.py").write_text(plain)
    with pytest.raises(OptionError, match=r"'weighting' of .*plain follows the protocol option 'emix_weighting'"):
        run("method=plain")


def test_columns_are_in_the_declared_order(folder: Path) -> None:
    names = registry.method_names()
    assert names[:5] == ("none", "emix", "rq", "raw", "rq_embeddings") and names[-1] == "told"
    assert names.index("capri") < names.index("cosine") < names.index("moco")
    assert [registry.method(name).order for name in names] == sorted(registry.method(name).order for name in names)
    cosine, rq = registry.method("cosine"), registry.method("rq")
    assert cosine.note_for(cosine.options()) == "A test." and registry.method("none").note_for(None) is None
    assert rq.published_title == "Ours" and registry.method("emix").published_title is None
    said = rq.note_for(rq.options())
    assert said and said.endswith("Gradient of the quantizer: detach (chosen on small prototypes).")
    other = rq.note_for(rq.options(gradient="extremes"))
    assert other and other.endswith("Gradient of the quantizer: extremes.")


def test_an_option_called_name_and_options_that_are_no_dataclass_are_refused() -> None:
    named = dataclasses.make_dataclass("Named", [("name", str, "x")], frozen=True)
    for spec in (registry.method("rq"), registry.encoder("transformer")):
        with pytest.raises(OptionError, match="an option cannot be called 'name'"):
            dataclasses.replace(spec, options=named)
        with pytest.raises(OptionError, match="options must be a dataclass"):
            dataclasses.replace(spec, options=dict)


def test_a_broken_file_does_not_hide_the_message_about_an_unknown_option(run: Callable[..., Run], folder: Path) -> None:
    (folder / "methods" / "broken.py").write_text("this is not Python")
    (folder / "encoders" / "broken.py").write_text("this is not Python")
    for word in ("protocol.no=1", "method.no=1", "encoder.no=1"):
        with pytest.raises(OptionError, match=f"unknown option '{word[:-2]}'"):
            run("method=rq", word)


def test_two_methods_with_the_same_protocol_option_are_not_chosen_together(
    run: Callable[..., Run], folder: Path
) -> None:
    emix = Path(registry.PACKAGE, "methods", "emix.py").read_text().replace('name="emix"', 'name="twin"')
    (folder / "methods" / "twin.py").write_text(emix)
    with pytest.raises(OptionError, match=r"'emix_weighting' is declared by dabs_rq\.methods\.emix and .*\.twin\."):
        run("method=[emix,twin]")


# ---- targets -------------------------------------------------------------------------------------------------------


def labelled(one: Run, monkeypatch: pytest.MonkeyPatch, targets: np.ndarray | None) -> None:
    plain = one.splits.unlabelled("train")
    assert isinstance(plain, Examples)
    examples = Examples(plain.ids, plain.inputs, None if targets is None else targets[: len(plain)])
    monkeypatch.setattr(Splits, "unlabelled", lambda *_: examples)


def test_targets_reach_a_method_that_reads_them_and_no_other(
    run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    labelled(run("method=emix"), monkeypatch, np.arange(40) % 2)
    seen: list[Any] = []
    real = Batch.__init__

    def watched(self: Batch, *arguments: Any, **named: Any) -> None:
        real(self, *arguments, **named)
        seen.append(self.targets)

    monkeypatch.setattr(Batch, "__init__", watched)
    for method in ("told", "emix"):
        pretrain(run(f"method={method}", "pretrain.steps=2"), 0)
    assert [targets is not None and len(targets) for targets in seen] == [8, 8, False, False]


def test_a_method_that_reads_targets_needs_some(run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    one = run("method=told", "pretrain.steps=2")
    labelled(one, monkeypatch, None)
    with pytest.raises(OptionError, match=r"'told' reads targets, but .* 'sensor', PAMAP2.*, has none: choose"):
        pretrain(one, 0)


# ---- the encoder ---------------------------------------------------------------------------------------------------


def test_an_encoder_is_found_by_name(folder: Path) -> None:
    assert registry.encoder_names() == ("convolutional", "raw", "resnet18", "resnet50", "transformer")
    assert registry.module_of_encoder("transformer") == "dabs_rq.encoders.transformer"
    assert registry.module_of_encoder("convolutional").startswith(registry.EXTRA)
    with pytest.raises(OptionError, match=r"unknown encoder 'transfomer'. Did you mean 'transformer'\?"):
        registry.encoder("transfomer")
    (folder / "encoders" / "wrong.py").write_text("ENCODER = 1")
    registry.refresh()
    with pytest.raises(OptionError, match=r"wrong\.py must define ENCODER, of type EncoderSpec; got int"):
        registry.encoder("wrong")


def test_an_encoder_without_tokens_fits_only_methods_that_need_none() -> None:
    encoder, _ = convolutional()
    for name in ("none", "told"):
        spec = registry.method(name)
        assert build_method(spec, spec.options(), encoder).encoder is encoder
    rq = registry.method("rq")
    with pytest.raises(OptionError, match=r"'rq' needs a TokenEncoder; got Convolutional"):
        build_method(rq, rq.options(), encoder)
    with pytest.raises(OptionError, match=r"batch\.tokens .* Convolutional has no tokens"):
        _ = Batch((torch.zeros(2, 20, 3),), encoder).tokens


@pytest.mark.parametrize(
    ("serves", "refused"), [("both", ()), ("token ids", ("sensor",)), ("real values", ("words", "more"))]
)
def test_a_method_refuses_inputs_that_it_does_not_serve(serves: Any, refused: tuple[str, ...]) -> None:
    words, more = (Tokens(name=name, length=6, vocabulary=9) for name in ("words", "more"))
    torch.manual_seed(0)
    encoder = Transformer((words, SERIES, more), width=8, depth=1, heads=1, head_width=8, mlp_width=8)
    spec = dataclasses.replace(registry.method("emix"), serves=serves)
    assert spec.refused(encoder.inputs) == refused
    if refused:
        expected = f"method 'emix' takes {serves} only, not the input {', '.join(refused)} of this domain"
        with pytest.raises(OptionError, match=expected):
            build_method(spec, spec.options(), encoder)
    else:
        build_method(spec, spec.options(), encoder)


def test_an_encoder_comes_back_from_its_checkpoint(tmp_path: Path, folder: Path) -> None:
    encoder, options = convolutional(channels=6, scale=2.0)
    inputs = (torch.randn(9, 20, 3),)
    encoder.train()(inputs)  # moves the running statistics, which are tensors without dimensions and buffers
    file = tmp_path / "encoder.safetensors"
    checkpoint.save(file, encoder, "convolutional", options, {"x": torch.ones(2)}, {"seed": 0})
    back = checkpoint.load_encoder(file, inputs=(SERIES,))
    assert type(back) is type(encoder) and not back.training and back.architecture == encoder.architecture
    assert torch.equal(back.features(inputs), encoder.eval().features(inputs))
    described = checkpoint.verified(file)["encoder"]
    assert described["name"] == "convolutional" and described["options"] == {"channels": 6, "scale": 2.0}
    with pytest.raises(CheckpointError, match="DABS has only the transformer"):
        checkpoint.export_dabs(file, tmp_path / "dabs.ckpt")

    source = folder / "encoders" / "convolutional.py"
    source.write_text(source.read_text().replace('"network": "convolution"', '"network": "convolution of length 5"'))
    registry.refresh()
    with pytest.raises(CheckpointError, match=r"another version of encoder 'convolutional': its architecture was"):
        checkpoint.load_encoder(file)
    source.write_text(source.read_text().replace("channels: Annotated[int, Ge(1)]", "width: int"))
    registry.refresh()
    with pytest.raises(CheckpointError, match=r"cannot be built: encoder\.channels is unknown"):
        checkpoint.load_encoder(file)
    source.unlink()
    registry.refresh()
    with pytest.raises(CheckpointError, match=r"encoder 'convolutional', which cannot be built.*DABS_RQ_PATH"):
        checkpoint.load_encoder(file)
    assert checkpoint.verified(file)["encoder"] == described  # needs no network


def test_transfer_probes_an_encoder_that_is_no_transformer(run: Callable[..., Run], tmp_path: Path) -> None:
    one = run("method=none")
    encoder, options = convolutional(one.inputs)
    file = tmp_path / "given.safetensors"
    checkpoint.save(file, encoder, "convolutional", options, {}, {})
    (made, *_), errors = transfer(run("method=none", f"checkpoint={file}"), 0)
    found = record.read(made)
    assert not errors and found.status == "ok" and found.checkpoint == checkpoint.weights_hash(encoder)
    reencoded = run("method=none", f"checkpoint={file}", "protocol=published", "transfer.epochs=1")
    assert not transfer(reencoded, 0)[1]


def test_a_method_for_any_encoder_trains_one_that_is_no_transformer(
    run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = run("method=told", "pretrain.steps=3", "encoder=convolutional", "encoder.channels=4")
    labelled(one, monkeypatch, np.arange(40) % 2)
    file = pretrain(one, 0)
    trained = checkpoint.load_encoder(file, inputs=one.inputs)
    assert type(trained).__name__ == "Convolutional" and trained.width == 4 and len(losses(one)) == 3
    assert not torch.equal(trained.convolution.weight, build(one, 0)[0].convolution.weight)  # type: ignore[union-attr, arg-type]


def test_the_cost_of_an_encoder_that_is_no_transformer(run: Callable[..., Run]) -> None:
    words = ("method=none,told", "pretrain.steps=10", "encoder=convolutional", "encoder.channels=4")
    (found,) = cost.costs(run(*words))
    one = 2 * 4 * 5 * 52 * (320 - 4)  # channels, kernel, channels of the input, places
    encoded = found.encoding / one
    assert encoded == pytest.approx(round(encoded)) and encoded > 0
    # The convolution forwards and backwards (its input needs no gradient), and the predictor three times.
    assert found.pretraining["told"] == pytest.approx(10 * 8 * (2 * one + 3 * 2 * 4), rel=0.01)


def test_features_of_encoders_of_other_architecture_are_kept_apart(tmp_path: Path) -> None:
    from dabs_rq.data.columns import Windows

    recording = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    column = Windows([recording], np.zeros(5, np.int64), np.arange(5), 20, series_key="made up")
    examples = Examples([str(row) for row in range(5)], (column,))
    one, other = convolutional(scale=1.0)[0], convolutional(scale=3.0)[0]
    weights = checkpoint.weights_hash(one)
    assert weights == checkpoint.weights_hash(other)
    kept = [features.cached(encoder, weights, examples, tmp_path) for encoder in (one, other)]
    assert not np.allclose(kept[0], kept[1]) and len(list(tmp_path.glob("*.npz"))) == 2
