"""Networks in files: the examples, columns of one table, checkpoints with a name, and the page about them."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from safetensors.torch import save_file
from torch import nn

import dabs_rq
from dabs_rq import cli, registry, table
from dabs_rq.checkpoint.dabs import to_dabs
from dabs_rq.encoders.transformer import Transformer
from dabs_rq.errors import CheckpointError, OptionError, PluginError
from dabs_rq.networks import load_hugging_face, load_weights
from dabs_rq.records import provenance
from dabs_rq.run import Run
from dabs_rq.spec import Grid
from dabs_rq.suite import plan, verify
from dabs_rq.transfer.transfer import transfer
from tests.page_commands import commands

EXAMPLES = Path(__file__).parents[1] / "examples"
PAGE = Path(__file__).parents[1] / "docs" / "score-your-encoder.md"
FEW = (
    *("transfer.max_examples=80", "transfer.also=[]", "suite.workers=1"),
    *("trainer.progress=false", "trainer.accelerator=cpu"),
)
SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


def cnn() -> nn.Module:
    """The network of examples/encoders/my_cnn.py."""
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 32, 5, stride=2), nn.ReLU(), nn.Conv2d(32, 64, 5, stride=2), nn.ReLU())
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()


def write_weights(encoders: Path) -> None:
    """Write the weights of the examples beside them, as their authors would."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    save_file(cnn().state_dict(), encoders / "my_cnn.safetensors")
    torch.manual_seed(0)
    vision = transformers.ViTConfig(image_size=48, patch_size=16, **SMALL)
    transformers.ViTModel(vision, add_pooling_layer=False).save_pretrained(encoders / "hf_vision")
    audio = transformers.ASTConfig(
        num_mel_bins=64, max_length=64, patch_size=16, time_stride=16, frequency_stride=16, **SMALL
    )
    transformers.ASTModel(audio).save_pretrained(encoders / "hf_audio")
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz"]
    pieces += [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    words = Tokenizer(models.WordPiece({piece: place for place, piece in enumerate(pieces)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    own = transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]", model_max_length=64,
    )  # fmt: skip
    own.save_pretrained(encoders / "hf_text")
    text = transformers.BertConfig(vocab_size=len(pieces), max_position_embeddings=64, **SMALL)
    transformers.BertModel(text).save_pretrained(encoders / "hf_text")
    with contextlib.suppress(ImportError):
        import timm

        save_file(timm.create_model("resnet10t", num_classes=0).state_dict(), encoders / "timm_resnet.safetensors")


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outside = tmp_path_factory.mktemp("outside")
    shutil.copytree(EXAMPLES, outside / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    write_weights(outside / "examples" / "encoders")
    return outside / "examples"


@pytest.fixture(autouse=True)
def found(examples: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """DABS_RQ_PATH names that copy."""
    monkeypatch.setenv(registry.PATH_VARIABLE, str(examples))
    registry.refresh()
    yield
    registry.refresh()


@pytest.fixture
def words(tmp_path: Path, miniature: Callable[[str], Path], with_data: Callable[..., Path]) -> Callable[..., list[str]]:
    """words(domain, *words): of a command on few examples of a miniature, which is used as if it were real data."""

    def words(domain: str, *more: str) -> list[str]:
        runs = with_data(tmp_path / "runs", domain)
        places = (f"data={miniature(domain)}", f"runs={runs}", f"out={tmp_path / 'out'}")
        return [f"domain={domain}", *places, *FEW, *more]

    return words


def frame_of(out: Path) -> pd.DataFrame:
    (file,) = out.glob("variant-*/table.csv")
    return pd.read_csv(file, na_values="-").set_index("task")


# ---- the table -----------------------------------------------------------------------------------------------------


def dabs_checkpoint(path: Path) -> Path:
    torch.manual_seed(0)
    pictures = (Grid(name="image", height=32, width=32, channels=3, patch=4),)
    encoder = Transformer(pictures, width=16, depth=1, heads=2, head_width=8, mlp_width=16, out_width=8)
    torch.save({"state_dict": to_dabs(encoder.state_dict())}, path)
    return path


def test_three_networks_are_columns_of_one_table(
    words: Callable[..., list[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    miniature: Callable[[str], Path],
) -> None:
    options = {"transfer.max_examples": 80, "transfer.also": []}
    dabs_rq.evaluate(
        cnn(), domain="images", tasks=["dtd"], data=miniature("images"), runs=tmp_path / "runs", name="my CNN",
        options=options,
    )  # fmt: skip
    ckpt = dabs_checkpoint(tmp_path / "dabs.ckpt")
    of_dabs = (f"checkpoint={ckpt}", "encoder.heads=2", "encoder.head_width=8")
    assert cli.main(["transfer", *words("images", "tasks=dtd", *of_dabs, "name=DABS")]) == 0
    assert cli.main(["transfer", *words("images", "tasks=dtd", *of_dabs)]) == 0
    assert cli.main(["suite", *words("images", "tasks=dtd", "encoders=hf_vision", "method=none")]) == 0
    capsys.readouterr()
    assert cli.main(["table", *words("images")]) == 0
    said = capsys.readouterr().out
    assert re.search(r"None +\| +e-Mix +\| +RQ +\| +Raw +\| +DABS +\| +ViT +\| +my CNN", said)
    assert re.search(r"Not shown:\n  1 record of checkpoint-\w+, which has no name: transfer it again with NAME=", said)
    shown = table.build(Run.of(words("images"))).frame.set_index("task")
    columns = ["none", "DABS", "hf_vision", "my CNN"]
    assert shown.loc["dtd", columns].notna().all() and shown.loc["cifar10", columns].isna().all()
    assert shown.loc["dtd", ["emix", "rq", "raw"]].isna().all()
    assert not any(":" in path.name for path in (tmp_path / "runs").rglob("*"))

    assert cli.main(["table", *words("images", "encoders=my CNN", "method=none")]) == 0
    assert "1 record of DABS, which is not chosen: add it by ENCODERS=" in capsys.readouterr().out
    assert cli.main(["table", *words("images", "encoders=my CN")]) == 2
    assert "unknown network 'my CN'. Did you mean 'my CNN'" in capsys.readouterr().err


def test_what_a_table_leaves_out_is_named(
    words: Callable[..., list[str]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for more in (("seeds=3",), (), ("transfer.probe=adamw", "transfer.epochs=1")):
        assert cli.main(["transfer", *words("images", "tasks=dtd", "encoder=my_cnn", *more)]) == 0
    capsys.readouterr()
    assert cli.main(["table", *words("images")]) == 0
    said = capsys.readouterr().out
    assert "1 record of seed 3, which is not chosen: add it by SEEDS=" in said
    assert re.search(r"1 record of my_cnn with other options than these \(variant \w{16}\): give the same", said)
    assert cli.main(["table", *words("images", "seeds=4", f"out={tmp_path / 'elsewhere'}")]) == 0
    said = capsys.readouterr().out
    assert "My CNN" not in said.split("Not shown")[0] and "1 record of seed 3" in said  # no column of dashes alone


def test_the_report_shows_networks(words: Callable[..., list[str]], tmp_path: Path) -> None:
    assert cli.main(["transfer", *words("images", "tasks=dtd", "encoder=my_cnn")]) == 0
    assert cli.main(["report", *words("images", "method=none", "encoders=my_cnn")]) == 0
    (page,) = (tmp_path / "out").rglob("report.html")
    assert "My CNN" in page.read_text(encoding="utf-8")


def test_means_do_not_lose_rows_to_a_network_that_serves_some() -> None:
    frame = pd.DataFrame(
        {"domain": ["a", "a", "b"], "none": [1.0, 3.0, 5.0], "rq": [3.0, 5.0, 7.0], "net": [9.0, np.nan, 9.0]}
    )
    found = table.contents.averages(frame, [["none", "rq", "net"]], ["net"]).set_index(["what", "domain"])
    assert found.loc[("mean", "a")].tolist()[:3] == [2, 2.0, 4.0] and np.isnan(found.loc[("mean", "a"), "net"])
    assert found.loc[("mean", "b"), "net"] == 9
    assert found.loc[("rank", "-"), ["rows", "none", "rq"]].tolist() == [3, 2.0, 1.0]
    alone = table.contents.averages(frame[["domain", "net"]], [["net"]], ["net"]).set_index("domain")
    assert alone.loc["a", ["rows", "net"]].tolist() == [1, 9.0]


# ---- the examples --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "domain", "task"),
    [
        ("my_cnn", "images", "dtd"),
        ("hf_vision", "images", "dtd"),
        pytest.param("hf_audio", "speech", "audio_mnist", marks=pytest.mark.slow),
        ("hf_text", "text", "rte"),
        pytest.param("timm_resnet", "images", "dtd", marks=pytest.mark.slow),
    ],
)
def test_an_example_is_scored(name: str, domain: str, task: str, words: Callable[..., list[str]]) -> None:
    if name == "timm_resnet":
        pytest.importorskip("timm")
    run = Run.of(words(domain, f"tasks={task}", f"encoder={name}", "method=rq"))  # as make gives a method
    (file,), errors = transfer(run, 0)
    assert not errors and file.parent.parent.parent.name == name
    planned = plan.build_plan(Run.of(words(domain, f"tasks={task}", "method=none", f"encoders={name}")))
    assert planned.counts[domain, "transfer"]["done"] == 1 and "with none" in planned.jobs[1].title


@pytest.mark.parametrize("name", ["my_cnn", "hf_vision", "hf_audio", "hf_text", "timm_resnet"])
def test_an_example_is_at_most_twenty_lines(name: str) -> None:
    text = (EXAMPLES / "encoders" / f"{name}.py").read_text(encoding="utf-8")
    assert len([line for line in text.splitlines() if line.strip()]) <= 20


def test_a_domain_that_a_network_does_not_serve(words: Callable[..., list[str]]) -> None:
    with pytest.raises(OptionError, match="encoder=my_cnn serves only images, not domain=sensor"):
        transfer(Run.of(words("sensor", "encoder=my_cnn")), 0)
    both = Run.of(words("images", "encoders=my_cnn", "method=none")).replace(domain=["images", "sensor"])
    planned = plan.build_plan(both)
    assert [job.domain for job in planned.jobs if job.cell == "my_cnn"] == ["images"]


def test_a_network_with_weights_is_not_pretrained(
    words: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["pretrain", *words("images", "encoder=my_cnn", "method=rq")]) == 2
    assert "brings its weights, and no method trains it" in capsys.readouterr().err


def test_an_encoder_to_train_is_scored_with_its_initial_weights(
    words: Callable[..., list[str]], tmp_path: Path
) -> None:
    assert cli.main(["suite", *words("sensor", "encoders=convolution", "encoder=convolution", "method=none")]) == 0
    shown = frame_of(tmp_path / "out").loc["pamap2"]
    assert shown["convolution"] == shown["none"]  # none is these weights


def test_a_changed_file_of_weights_is_scored_again(
    words: Callable[..., list[str]], examples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(examples / "encoders", tmp_path / "mine" / "encoders")
    monkeypatch.setenv(registry.PATH_VARIABLE, str(tmp_path / "mine"))
    registry.refresh()
    run = Run.of(words("images", "tasks=dtd", "encoder=my_cnn"))
    suite = Run.of(words("images", "tasks=dtd", "method=none", "encoders=my_cnn"))
    (file,), _ = transfer(run, 0)
    before = dabs_rq.results(tmp_path / "runs")["checkpoint"].tolist()
    state = {name: 2 * tensor for name, tensor in cnn().state_dict().items()}
    save_file(state, tmp_path / "mine" / "encoders" / "my_cnn.safetensors")
    assert [job.step for job in plan.build_plan(suite).jobs if job.cell] == ["transfer"]
    (cell,) = (one for one in verify.verify(suite) if one.method == "my_cnn")
    assert cell.state == "stale" and cell.reasons[0].startswith("encoder: the record is of ") and cell.file == file
    transfer(run, 0)
    assert (
        dabs_rq.results(tmp_path / "runs")["checkpoint"].tolist() != before
        and file.with_name("dtd.json.stale").exists()
    )


def test_a_network_is_verified_and_scored_again_on_request(
    words: Callable[..., list[str]],
    examples: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(examples / "encoders", tmp_path / "mine" / "encoders")
    monkeypatch.setenv(registry.PATH_VARIABLE, str(tmp_path / "mine"))
    registry.refresh()
    given = words("images", "tasks=dtd", "encoder=my_cnn")
    (file,), _ = transfer(Run.of(given), 0)
    (cell,) = verify.verify(Run.of(given))
    assert (cell.method, cell.state, cell.file) == ("my_cnn", "fresh", file)
    module = tmp_path / "mine" / "encoders" / "my_cnn.py"
    module.write_text(module.read_text(encoding="utf-8") + "\nOTHER = 1\n", encoding="utf-8")
    registry.refresh()
    provenance.refresh()
    (cell,) = verify.verify(Run.of(given))
    assert cell.state == "stale" and cell.reasons[0].startswith("code: ") and "my_cnn" in cell.reasons[0]
    notes = "\n".join(table.build(Run.of(words("images", "encoders=my_cnn", "method=none"))).notes)
    assert re.search(r"to compute them again: `make suite REFRESH=1 DOMAIN=images .*ENCODER=my_cnn.*`\.", notes)
    assert cli.main(["suite", *given, "--refresh"]) == 0
    assert file.with_name("dtd.json.stale").exists() and verify.verify(Run.of(given))[0].state == "fresh"
    module.write_text("raise RuntimeError('gone')\n", encoding="utf-8")
    registry.refresh()
    with pytest.raises(PluginError, match="RuntimeError: gone"):
        verify.verify(Run.of(given))


def test_a_network_waits_for_a_tokenizer_that_is_nowhere(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    places = (f"data={tmp_path / 'data'}", f"runs={tmp_path / 'runs'}")
    planned = plan.build_plan(Run.of(["domain=text", *places, *FEW, "method=none", "encoders=hf_text"]))
    assert not planned.jobs and planned.counts["text", "transfer"]["waiting"] == 20
    assert any(text.startswith("tokenizer bert-base-uncased is missing") for text in planned.missing)


# ---- weights that do not fit ----------------------------------------------------------------------------------------


def test_weights_that_are_not_there_or_of_another_network(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    with pytest.raises(CheckpointError, match=r"no weights at .+weights\.safetensors\. Expected: a state dict"):
        load_weights(cnn(), path)
    save_file({"encoder.weight": torch.zeros(3)}, path)
    with pytest.raises(CheckpointError, match=r"the weights of this Sequential: Missing.+ tensors: encoder\.weight"):
        load_weights(cnn(), path)
    path.write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="damaged, or no state dict"):
        load_weights(cnn(), path)
    torch.save({"epoch": 3, "state_dict": cnn().state_dict()}, path)
    with pytest.raises(CheckpointError, match="holds epoch, state_dict, not tensors by name alone"):
        load_weights(cnn(), path)
    torch.save(cnn(), path)  # a pickled module
    with pytest.raises(CheckpointError, match="damaged, or no state dict"):
        load_weights(cnn(), path)
    torch.save(cnn().state_dict(), path)
    assert not load_weights(cnn().train(), path).training


def test_models_of_hugging_face_that_are_not_there(tmp_path: Path, examples: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no model at .+nowhere"):
        load_hugging_face(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="no folder here and was asked of the hub"):
        load_hugging_face("somebody/something")
    with pytest.raises(CheckpointError, match=r"lacks 2 tensors of its ViTModel.+: pooler\.dense\.bias, pooler"):
        load_hugging_face(examples / "encoders" / "hf_vision")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="cannot be loaded by AutoModel"):
        load_hugging_face(tmp_path)


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (("name=mine",), "names the network of a checkpoint: give checkpoint=file too"),
        (("encoder=my_cnn", "name=other"), "names the network of a checkpoint"),
        (("name=my_cnn",), "is the name of an encoder file"),
        (("checkpoint=nowhere.ckpt", "name=rq"), "is the name of a method"),
        (("checkpoint=nowhere.ckpt", "name=mine"), "no checkpoint at nowhere.ckpt"),
        (("encoder=my_cnnn",), "Did you mean 'my_cnn'"),
    ],
)
def test_names_and_files_that_do_not_fit(
    more: tuple[str, ...], text: str, words: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["transfer", *words("images", "tasks=dtd", *more)]) in (1, 2)
    assert text in capsys.readouterr().err


# ---- the page ------------------------------------------------------------------------------------------------------


def blocks() -> list[str]:
    """The Python of the page that is not run when the site is built."""
    return re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_file_on_the_page_is_the_example() -> None:
    assert blocks()[-1] == (EXAMPLES / "encoders" / "my_cnn.py").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_pages_code_does_what_it_says(
    examples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(examples, tmp_path / "examples")
    assert cli.main(["pretrain", "domain=images", "method=none", "trainer.accelerator=cpu"]) == 0
    (made,) = (tmp_path / "runs").rglob("encoder.safetensors")
    shutil.copy(made, tmp_path / "encoder.safetensors")
    given: dict[str, Any] = {"dabs_rq": dabs_rq, "images": np.zeros((4, 3, 32, 32), np.uint8)}
    loading, _ = blocks()
    exec(loading, given)
    assert given["features"].shape == (4, 64)
    dabs_rq.evaluate(cnn(), domain="images", tasks=["dtd"], name="my CNN")

    ran = commands(PAGE.stem)
    assert [one.words[0] for one in ran] == ["transfer", "suite", "transfer", "table"]
    for one in ran:
        for name, value in one.environment.items():
            monkeypatch.setenv(name, value)
        registry.refresh()
        few = ("transfer.also=[]",) if one.words[0] == "suite" else ()
        assert cli.main([*one.words, "trainer.accelerator=cpu", "trainer.progress=false", "tasks=dtd", *few]) == 0, one
    said = capsys.readouterr().out
    assert re.search(r"ViT +\| +my CNN +\| +my checkpoint +\| +My CNN|My CNN", said.split("Dataset")[-1])
