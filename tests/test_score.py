"""The Python page: any network is scored by the code of transfer, and bad networks and inputs are refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import dabs_rq
from dabs_rq import table
from dabs_rq.checkpoint.dabs import to_dabs
from dabs_rq.checkpoint.files import save
from dabs_rq.encoders import transformer
from dabs_rq.encoders.transformer import Transformer
from dabs_rq.errors import CheckpointError, DataWarning, EncoderError, OptionError, ResourceError, TrainingError
from dabs_rq.networks import Network
from dabs_rq.run import Run
from dabs_rq.spec import Grid, Series, Tokens
from dabs_rq.transfer import features as transfer_features

PICTURE = Grid(name="image", height=32, width=32, channels=3, patch=4)
FEW = {"transfer.max_examples": 80, "transfer.also": []}


def cnn(width: int = 8) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, width, 5, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()


@pytest.fixture
def evaluate(tmp_path: Path, miniature: Callable[[str], Path]) -> Callable[..., pd.DataFrame]:
    """dabs_rq.evaluate on few examples of a miniature, which is used as if it were real data."""

    def evaluate(model: Any, domain: str = "images", tasks: Any = ("dtd",), **given: Any) -> pd.DataFrame:
        given = {"name": "my CNN", "device": "cpu", "progress": False, **given}
        options = FEW | given.pop("options", {})
        root = miniature(domain)
        return dabs_rq.evaluate(
            model, domain=domain, tasks=tasks, data=root, runs=tmp_path / "runs", options=options, **given
        )

    return evaluate


def test_importing_the_package_is_quick_and_loads_no_torch() -> None:
    code = "import time; t = time.perf_counter(); import dabs_rq; t = time.perf_counter() - t; import sys"
    code += "; print(t, 'torch' in sys.modules, dabs_rq.__version__)"
    shortest = 9.0
    for _ in range(3):  # the machine may be busy
        told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
        shortest = min(shortest, float(told[0]))
        assert told[1:] == ["False", dabs_rq.__version__]
    assert shortest < 0.1
    assert {"load", "features", "evaluate", "results", "__version__"} <= set(dir(dabs_rq))
    with pytest.raises(AttributeError, match="no attribute 'score'"):
        dabs_rq.score  # noqa: B018


# ---- evaluate ----------------------------------------------------------------------------------------------------


def test_a_network_has_records_like_those_of_a_method_and_a_column(
    evaluate: Callable[..., pd.DataFrame], tmp_path: Path, miniature: Callable[[str], Path]
) -> None:
    model = cnn()
    found = evaluate(model, tasks=["dtd", "cifar10"])
    assert found["task"].tolist() == ["cifar10", "dtd"] and found["method"].unique().tolist() == ["my CNN"]
    assert found["score"].between(0, 100).all() and found["own_probe"].all() and (found["n_examples"] == 80).all()
    pd.testing.assert_frame_equal(found, dabs_rq.results(tmp_path / "runs"))
    words = [f"data={miniature('images')}", f"runs={tmp_path / 'runs'}", "domain=images"]
    built = table.build(Run.of([*words, *(f"{key}={value}" for key, value in FEW.items())]))
    assert built.methods == ("none", "emix", "rq", "raw", "my CNN")
    shown = built.frame.set_index("task")["my CNN"]
    assert shown["dtd"] == pytest.approx(found.set_index("task")["score"]["dtd"])
    assert np.isnan(shown["cu_birds"])


def test_finished_tasks_are_kept_and_another_network_of_the_name_replaces_all(
    evaluate: Callable[..., pd.DataFrame], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[int] = []
    real = transfer_features.extract
    monkeypatch.setattr(
        transfer_features, "extract", lambda *given, **named: (calls.append(1), real(*given, **named))[1]
    )
    first = evaluate(cnn(), tasks=["dtd"])
    assert len(calls) == 2  # train and test
    again = evaluate(cnn(), tasks="dtd")
    assert len(calls) == 2 and again["created"].tolist() == first["created"].tolist()
    evaluate(cnn(), tasks=["dtd"], options={"transfer.probe": "adamw", "transfer.epochs": 2})
    assert len(calls) == 2  # another probe on cached features
    other = evaluate(cnn(16), tasks=["dtd", "cifar10"])
    assert len(calls) == 6 and (other["checkpoint"] != first["checkpoint"][0]).all()
    assert "dtd.json in" in (said := capsys.readouterr().out) and "kept as *.stale" in said


@pytest.mark.parametrize("change", ["setting", "pool", "size", "code", "key"])
def test_what_changes_features_beside_the_weights_is_part_of_their_key(
    change: str, evaluate: Callable[..., pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    real = transfer_features.extract
    monkeypatch.setattr(
        transfer_features, "extract", lambda *given, **named: (calls.append(1), real(*given, **named))[1]
    )

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.scale = cnn(), 1.0

        def forward(self, x: Tensor) -> Tensor:
            return self.scale * self.inner(x)

    class Squared(Scaled):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) ** 2

    model = Scaled().eval()
    evaluate(model, pool=lambda output: output)
    if change == "setting":
        model.scale = 2.0
    pool = (lambda output: output + 1) if change == "pool" else (lambda output: output)
    given = {"size": {"size": 16}, "key": {"key": "other"}}.get(change, {})
    evaluate(Squared().eval() if change == "code" else model, pool=pool, **given)
    assert len(calls) == 4


def test_the_module_is_left_as_it_was(evaluate: Callable[..., pd.DataFrame]) -> None:
    model = cnn().train()  # nothing in it depends on the mode
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    evaluate(model)
    assert all(module.training for module in model.modules())
    assert all(one.requires_grad for one in model.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_the_published_protocol_encodes_in_every_epoch(evaluate: Callable[..., pd.DataFrame]) -> None:
    model = nn.Sequential(cnn(), nn.Dropout(0.5)).eval()
    found = evaluate(model, protocol="published", options={"transfer.epochs": 2})
    assert found["probe"].tolist() == ["adamw"] and found["status"].tolist() == ["ok"]
    assert not any(module.training for module in model.modules())


def test_a_method_of_a_module_and_half_precision(evaluate: Callable[..., pd.DataFrame]) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = cnn()

        def encode_image(self, x: Tensor) -> Tensor:
            return self.inner(x)

    full = evaluate(Two().eval().encode_image, name="whole")
    half = evaluate(Two().eval().to(torch.bfloat16).encode_image, name="half")
    assert full["checkpoint"][0] != half["checkpoint"][0]
    assert abs(full["score"][0] - half["score"][0]) < 20


def test_a_function_needs_a_key_to_be_kept(
    evaluate: Callable[..., pd.DataFrame], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def brightness(x: Tensor) -> np.ndarray:
        return x.mean((2, 3)).numpy()

    assert evaluate(brightness, name=None)["method"].tolist() == ["brightness"]
    evaluate(brightness, name=None)
    assert capsys.readouterr().out.count("no weights and no key=") == 2
    assert not list((tmp_path / "runs").glob("*/*/*/features/*.npz"))
    evaluate(brightness, key="brightness 1")
    evaluate(brightness, key="brightness 1")
    assert capsys.readouterr().out.count("dtd: ") == 1
    with pytest.raises(OptionError, match="give name="):
        evaluate(lambda x: x.mean((2, 3)), name=None)


def test_texts_come_as_strings_as_the_domain_reads_them(evaluate: Callable[..., pd.DataFrame]) -> None:
    seen: list[tuple[str, ...]] = []

    def lengths(texts: list[tuple[str, ...]]) -> Tensor:
        seen.extend(texts)
        return torch.tensor([[float(len(text)) for text in pair[:1]] for pair in texts])

    for task, count in (("cola", 1), ("rte", 2)):
        seen.clear()
        found = evaluate(lengths, domain="text", tasks=[task], texts=True, name="length", key=task)
        assert found["status"].tolist() == ["ok"]
        assert {len(texts) for texts in seen} == {count} and all(text for texts in seen for text in texts)
        assert not any("[" in text or "##" in text for texts in seen for text in texts)
    with pytest.raises(OptionError, match=r"texts=True needs a domain with texts"):
        evaluate(lengths, texts=True)


def test_decoding_inverts_encoding(miniature: Callable[[str], Path]) -> None:
    from dabs_rq.data.readers.tokenizer import Encode, decode, with_vocabulary
    from dabs_rq.run.compose import load_protocol

    for domain, name, texts in (
        ("text", "bert-base-uncased", [("the film was good",), ("no",)]),
        ("text", "bert-base-uncased", [("a film", "the other"), ("one", "")]),
        ("multilingual", "xlm-roberta-base", [("the house", "a house"), ("eins zwei", "drei")]),
    ):
        declared = (Tokens(name="text", length=64, vocabulary=0, tokenizer=name),)
        (spec,) = with_vocabulary(declared, miniature(domain), load_protocol("corrected"))
        assert isinstance(spec, Tokens)
        found = decode(Encode(spec, miniature(domain))(texts), spec, miniature(domain))
        words = [tuple("".join(part.split()) for part in text) for text in texts]
        assert [tuple("".join(part.split()) for part in text) for text in found] == words


# ---- networks that are refused -----------------------------------------------------------------------------------


class Growing(nn.Module):
    """Features whose number or width depends on the number of the call."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.inner, self.what, self.calls = cnn(), what, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        found = self.inner(x)
        if self.calls <= 3:  # the first batch, which is encoded again to compare
            return found
        return found[:-1] if self.what == "number" else torch.cat([found, found], 1)


class Functional(nn.Module):
    """Dropout that is not a module, so that only its features show it."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = cnn()

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(self.inner(x), 0.5, self.training)


class Centred(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = cnn()

    def forward(self, x: Tensor) -> Tensor:
        found = self.inner(x)
        return found - found.mean(0)


class NotFinite(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = cnn()

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) / 0


@pytest.mark.parametrize(
    ("model", "error", "text"),
    [
        (lambda: NotFinite().eval(), TrainingError, r"dtd: the feature of example .+ is not finite"),
        (lambda: Growing("number"), EncoderError, "returns 31 features for a batch of 32 examples"),
        (lambda: Growing("width"), EncoderError, r"shape \(32, 16\) for examples 32 to 63; expected \(32, 8\)"),
        (lambda: nn.Sequential(cnn(), nn.Dropout(0.5)).train(), EncoderError, r"has dropout \(1\), .+ model\.eval"),
        (lambda: nn.Sequential(nn.BatchNorm2d(3), cnn()).train(), EncoderError, r"normalisation \(0\), .+ model\.eval"),
        (lambda: Functional().train(), EncoderError, "other features for the same batch a second time"),
        (Centred, EncoderError, "other features for 16 examples alone than among 32"),
        (lambda: nn.Conv2d(3, 8, 3), EncoderError, r"shape \(32, 8, 30, 30\); expected .+mean\(\(2, 3\)\)"),
        (lambda: nn.Sequential(cnn(), nn.Linear(9, 2)), EncoderError, r"a batch of image \(32, 3, 32, 32\): Runtime"),
        (lambda: nn.Conv2d(1, 8, 3), EncoderError, "expected input.+ to have 1 channels.+size= asks for another"),
        (lambda: "resnet18", OptionError, "a torch module or a function expected; got str"),
    ],
)  # fmt: skip
def test_networks_that_cannot_be_scored(
    model: Callable[[], Any], error: type[Exception], text: str, evaluate: Callable[..., pd.DataFrame]
) -> None:
    with pytest.raises(error, match=text):
        evaluate(model(), batch_size=32)


def test_dropout_of_rate_zero_and_in_eval_mode_is_none(evaluate: Callable[..., pd.DataFrame]) -> None:
    assert evaluate(nn.Sequential(cnn(), nn.Dropout(0.0)).train(), name="zero")["status"].tolist() == ["ok"]
    assert evaluate(nn.Sequential(cnn(), nn.Dropout(0.5)).eval(), name="eval")["status"].tolist() == ["ok"]


def test_memory_that_is_too_small_names_the_batch_that_fits(evaluate: Callable[..., pd.DataFrame]) -> None:
    class Large(nn.Module):
        def __init__(self, limit: int) -> None:
            super().__init__()
            self.inner, self.limit = cnn(), limit

        def forward(self, x: Tensor) -> Tensor:
            if len(x) > self.limit:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return self.inner(x)

    with pytest.raises(ResourceError, match=r"64 examples at a time.+; 8 do: give .+batch_size=8"):
        evaluate(Large(11), batch_size=64)
    assert evaluate(Large(11), batch_size=8)["status"].tolist() == ["ok"]
    with pytest.raises(ResourceError, match="not even one does"):
        evaluate(Large(0), batch_size=64, name="none fits")


def test_a_failing_task_does_not_stop_the_others(
    evaluate: Callable[..., pd.DataFrame], miniature: Callable[[str], Path], tmp_path: Path
) -> None:
    root = tmp_path / "data"
    (root / "natural_images").mkdir(parents=True)
    (root / "natural_images" / "dtd").symlink_to(miniature("images") / "natural_images" / "dtd")
    with pytest.warns(DataWarning, match=r"cifar10: .+"):
        found = dabs_rq.evaluate(
            cnn(), domain="images", tasks=["cifar10", "dtd"], data=root, runs=tmp_path / "runs", name="my CNN",
            device="cpu", progress=False, options=FEW,
        )  # fmt: skip
    assert found["task"].tolist() == ["dtd"]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"name": "rq"}, "is the name of a method"),
        ({"name": "transformer"}, "is the name of an encoder file"),
        ({"name": "a:b"}, "cannot be the name of a column"),
        ({"name": "../x"}, "cannot be the name of a column"),
        ({"name": "none_std"}, "cannot be the name of a column"),
        ({"name": "x" * 65}, "cannot be the name of a column"),
        ({"name": "metric"}, "cannot be the name of a column"),
        ({"domain": "sensor", "tasks": None, "size": 64}, "size=64 is for pictures"),
        ({"tasks": ["dtdd"]}, "Did you mean 'dtd'"),
        ({"options": {"transfer.probs": 1}}, "unknown option 'transfer.probs'"),
    ],
)
def test_names_that_do_not_fit(given: dict[str, Any], text: str, evaluate: Callable[..., pd.DataFrame]) -> None:
    with pytest.raises(OptionError, match=text):
        evaluate(cnn(), **given)


# ---- load and features -------------------------------------------------------------------------------------------

SIZES = {"width": 16, "depth": 1, "heads": 2, "head_width": 8, "mlp_width": 16, "out_width": 8, "dropout": 0.1}


def ours(path: Path, *inputs: Any) -> Transformer:
    torch.manual_seed(0)
    encoder = Transformer(inputs, **SIZES).eval()
    save(path, encoder, "transformer", transformer.Options(**SIZES), {}, {})
    return encoder


def test_features_are_those_of_the_encoder(tmp_path: Path) -> None:
    encoder = ours(tmp_path / "encoder.safetensors", PICTURE)
    loaded = dabs_rq.load(tmp_path / "encoder.safetensors")
    pictures = np.random.default_rng(0).integers(0, 256, (10, 3, 32, 32), np.uint8)
    with torch.no_grad():
        expected = encoder.features((torch.from_numpy(pictures) / 255,)).numpy()
    for given in (
        pictures,
        torch.from_numpy(pictures),
        pictures / 255,
        torch.tensor(pictures) / 255,
    ):
        found = dabs_rq.features(loaded.train(), given, batch_size=4, device="cpu")
        assert found.dtype == np.float32 and loaded.training
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert dabs_rq.features(loaded, pictures[:0]).shape == (0, 16)


def test_a_file_of_dabs_takes_the_inputs_of_its_domain(tmp_path: Path) -> None:
    encoder = ours(tmp_path / "encoder.safetensors", Series(name="sensor", length=320, channels=52, segment=5))
    torch.save({"state_dict": to_dabs(encoder.state_dict())}, tmp_path / "dabs.ckpt")
    loaded = dabs_rq.load(tmp_path / "dabs.ckpt", domain="sensor", heads=2, head_width=8)
    batch = np.random.default_rng(0).normal(size=(3, 320, 52)).astype(np.float32)
    with torch.no_grad():
        np.testing.assert_allclose(
            dabs_rq.features(loaded, batch), encoder.features((torch.from_numpy(batch),)), atol=1e-5
        )
    with pytest.raises(CheckpointError, match=r"give inputs= \(or domain="):
        dabs_rq.load(tmp_path / "dabs.ckpt")


def test_several_inputs_are_a_tuple(tmp_path: Path) -> None:
    ours(tmp_path / "encoder.safetensors", PICTURE, Tokens(name="text", length=6, vocabulary=30, pad=0))
    loaded = dabs_rq.load(tmp_path / "encoder.safetensors")
    pictures, ids = np.zeros((2, 3, 32, 32), np.uint8), np.ones((2, 6), np.int32)
    assert dabs_rq.features(loaded, (pictures, ids)).shape == (2, 16)
    for given, text in (
        ((pictures,), "takes 2 inputs, image .+, text .+; got 1"),
        ((pictures, ids[:1]), "different numbers of examples: 2, 1"),
        ((pictures, ids + 29), "ids from 0 to 29 expected; got 30 to 30"),
        ((pictures, ids / 1), "whole numbers expected"),
    ):
        with pytest.raises(EncoderError, match=text):
            dabs_rq.features(loaded, given)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (np.zeros((2, 32, 32, 3), np.uint8), r"shape \(B, 3, 32, 32\) expected; got .+\. The channels come first"),
        (np.zeros((3, 32, 32), np.uint8), "Give a batch"),
        (np.zeros((2, 3, 16, 16), np.uint8), r"got \(2, 3, 16, 16\)"),
        (np.full((2, 3, 32, 32), 200.0), r"in \[0, 1\].+got 200 to 200: divide by 255"),
        (np.full((2, 3, 32, 32), -2.0), "undo the normalisation"),
        (np.full((2, 3, 32, 32), np.nan), "not finite"),
        (np.zeros((2, 3, 32, 32), np.int64), "uint8 or real numbers expected"),
        (["a", "b"], "an array or a tensor expected"),
    ],
)  # fmt: skip
def test_inputs_of_another_shape_or_range(given: Any, text: str, tmp_path: Path) -> None:
    ours(tmp_path / "encoder.safetensors", PICTURE)
    with pytest.raises(EncoderError, match=text):
        dabs_rq.features(dabs_rq.load(tmp_path / "encoder.safetensors"), given)


def test_a_network_of_ones_own_is_for_evaluate() -> None:
    with pytest.raises(EncoderError, match=r"got Sequential, which declares no inputs.+dabs_rq\.evaluate scores it"):
        dabs_rq.features(cnn(), np.zeros((2, 3, 32, 32)))  # type: ignore[arg-type]
    assert dabs_rq.features(Network(cnn(), (PICTURE,)), np.zeros((2, 3, 32, 32), np.uint8)).shape == (2, 8)


def test_files_that_are_no_checkpoint_are_refused_and_left_alone(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"conv.weight": torch.zeros(2)}, tmp_path / "theirs.safetensors")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    for name, text in (
        ("nowhere.safetensors", "no checkpoint at"),
        ("theirs.safetensors", r"dabs_rq did not write it \(its tensors: conv\.weight"),
        ("model", "a folder of a Hugging Face model"),
    ):
        with pytest.raises(CheckpointError, match=text) as error:
            dabs_rq.load(tmp_path / name)
        assert "delete" not in str(error.value).lower() and "remove" not in str(error.value).lower()
    assert {path.name for path in tmp_path.iterdir()} == {"theirs.safetensors", "model"}


def test_a_loaded_encoder_is_scored_like_its_file(
    evaluate: Callable[..., pd.DataFrame], tmp_path: Path, miniature: Callable[[str], Path]
) -> None:
    from dabs_rq.transfer.transfer import transfer

    ours(tmp_path / "encoder.safetensors", PICTURE)
    encoder = dabs_rq.load(tmp_path / "encoder.safetensors")
    found = evaluate(encoder, name="from Python")
    words = [f"data={miniature('images')}", f"runs={tmp_path / 'runs'}", "domain=images", "tasks=dtd"]
    words += [f"checkpoint={tmp_path / 'encoder.safetensors'}", "name=from a file", "trainer.accelerator=cpu"]
    (file,), errors = transfer(Run.of([*words, *(f"{key}={value}" for key, value in FEW.items())]), 0)
    assert not errors
    both = dabs_rq.results(tmp_path / "runs").set_index("method")
    assert both.loc["from a file", "score"] == both.loc["from Python", "score"] == found["score"][0]
    assert both.loc["from a file", "file"] == str(file)
    with pytest.raises(CheckpointError, match="sensor at scale=mini gives"):
        evaluate(encoder, domain="sensor", tasks=None)
    with pytest.raises(OptionError, match="size, pool, key and texts are for other networks"):
        evaluate(encoder, size=64)


def test_results_of_no_folder(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="is no folder"):
        dabs_rq.results(tmp_path / "nowhere")
    assert dabs_rq.results(tmp_path).empty
