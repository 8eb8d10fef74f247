"""The examples, found from a folder outside of the repository: a method, a domain, a task, the quantizer alone."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from dabs_rq import cli, registry
from dabs_rq.checkpoint.dabs import dabs_name
from dabs_rq.data.examples import Examples
from dabs_rq.data.requests import Request
from dabs_rq.domain import Domain
from dabs_rq.encoders.transformer import Transformer
from dabs_rq.errors import DataError, OptionError
from dabs_rq.methods.base import Batch
from dabs_rq.miniature import write as miniature
from dabs_rq.run import Run
from dabs_rq.run.compose import load_protocol
from dabs_rq.spec import Grid, Tokens
from dabs_rq.typed import checked
from tests.golden_cases import Case, names
from tests.page_commands import commands
from tests.test_encoder import reference_encoder

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
PAGES = ("add-a-method", "add-a-domain", "add-a-task", "add-an-encoder")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder outside of the repository with a copy of the examples."""
    outside = tmp_path_factory.mktemp("outside")
    shutil.copytree(EXAMPLES, outside / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    return outside


@pytest.fixture(autouse=True)
def found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """DABS_RQ_PATH names that copy."""
    monkeypatch.setenv(registry.PATH_VARIABLE, str(folder / "examples"))
    registry.refresh()
    yield
    registry.refresh()


# ---- the method ----------------------------------------------------------------------------------------------------


@pytest.fixture
def shed() -> ModuleType:
    return sys.modules[registry.method("shed").build.__module__]


def built(shed: ModuleType, case: Case, **options: Any) -> Any:
    """The method around the encoder of a reference step, in eval mode as there."""
    encoder = reference_encoder(case, "param/model.")
    chosen = shed.Options(corruption_rate=case.settings["corruption_rate"], within_inputs=False)
    method = shed.Shed(chosen, encoder, encoder.inputs).eval()
    method.predictor.load_state_dict(case.below("param/predictor."))
    return method


@pytest.mark.parametrize("name", [name for name in names("shed") if "permute" in name])
def test_shed_moves_what_the_reference_moves(name: str, shed: ModuleType) -> None:
    case = Case(name)
    shuffled, chosen = shed.shuffle(case["embs"], case["u"], case.settings["corruption_rate"])
    assert torch.equal(shuffled, case["permuted_embs"])
    assert torch.equal(chosen.long(), case["is_permuted"])


def test_sheds_objective_is_the_references(shed: ModuleType) -> None:
    case, of = Case("shed/objective"), Case("shed/step_image")
    method = built(shed, of)
    method.predictor.load_state_dict(case.below("param/predictor."))
    encoded = case["embs"].requires_grad_()
    loss, logs = method.detection_loss(encoded, case["is_permuted"].bool())
    close(loss, case["loss"].reshape(()), 1e-5)
    close(logs["accuracy"], case["acc"].reshape(()), 1e-5)
    loss.backward()
    close_gradient(encoded.grad, case["grad_embs"])
    for key, expected in case.below("grad/predictor.").items():
        close_gradient(method.predictor.get_parameter(key).grad, expected)


@pytest.mark.parametrize("name", [name for name in names("shed") if "step" in name])
def test_a_step_of_shed_is_the_references(name: str, shed: ModuleType) -> None:
    case = Case(name)
    method = built(shed, case)
    inputs = tuple(case[f"input/{i}"] for i in range(len(method.inputs)))
    generator = torch.Generator().manual_seed(case.settings["torch_seed"])
    loss, logs = method.loss(Batch(inputs, method.encoder), generator)
    close(loss.detach(), case["loss"].reshape(()), 1e-5)
    close(logs["accuracy"], case["acc"].reshape(()), 1e-5)
    loss.backward()
    found = {f"model.{dabs_name(ours)}": one.grad for ours, one in method.encoder.named_parameters()}
    found |= {f"predictor.{ours}": one.grad for ours, one in method.predictor.named_parameters()}
    assert case.below("grad/")
    for key, expected in case.below("grad/").items():
        close_gradient(found[key], expected)
    for key, norm in case.settings["grad_norms"].items():
        assert (found[key] is None) == (norm is None), key
        if norm is not None:
            assert float(found[key].norm()) == pytest.approx(norm, rel=1e-3, abs=1e-6), key


def close(found: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)


def close_gradient(found: torch.Tensor | None, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-4 * float(expected.abs().max()), rtol=1e-4)


def test_shed_leaves_padding_where_it_is(shed: ModuleType) -> None:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([20, 13, 7, 6, 1])
    mask = torch.arange(20) < lengths[:, None]
    tokens = torch.arange(20.0).expand(5, 20)[..., None].clone()
    shuffled, moved = shed.shuffle(tokens, torch.rand(5, 20, generator=generator), 0.15, mask)
    assert torch.equal(shuffled[~mask], tokens[~mask])
    assert torch.equal(moved, (shuffled != tokens)[..., 0])
    # 15 % of the real ones, rounded up; one alone has nowhere to go.
    assert moved.sum(1).tolist() == [3, 2, 2, 0, 0]
    assert torch.equal(shuffled.sort(1).values, tokens)


@pytest.mark.parametrize("within", [True, False])
def test_sheds_tokens_stay_within_their_input_if_told_to(within: bool, shed: ModuleType) -> None:
    pictures = Grid(name="image", height=8, width=8, channels=1, patch=2)
    words = Tokens(name="text", length=10, vocabulary=50)
    encoder = Transformer((pictures, words), width=16, depth=1, heads=2, head_width=8, mlp_width=16, out_width=4)
    method = shed.Shed(shed.Options(corruption_rate=0.5, within_inputs=within), encoder, encoder.inputs)
    batch = Batch((torch.rand(6, 1, 8, 8), torch.arange(60).view(6, 10) % 50), encoder)
    encoded: list[torch.Tensor] = []
    encoder.encode, encode = lambda *given: encoded.append(given[0]) or encode(*given), encoder.encode
    method.loss(batch, torch.Generator().manual_seed(0))
    origin = torch.cdist(encoded[0], batch.tokens).argmin(2)  # (6, 26): where each token comes from
    assert (origin != torch.arange(26)).any()
    assert ((origin < 16) == (torch.arange(26) < 16)).all() == within


def test_sheds_options_are_checked() -> None:
    options = registry.method("shed").options
    assert Run.of(["method=shed", "domain=sensor"]).method.options.within_inputs is True
    assert Run.of(["method=shed", "domain=sensor", "protocol=published"]).method.options.within_inputs is False
    for wrong, text in ((0.0, "is above 0; got 0.0"), (1.5, "is at most 1; got 1.5")):
        with pytest.raises(OptionError, match=rf"method\.corruption_rate {text}"):
            checked(options, vars(options(corruption_rate=wrong)), "method.")


# ---- the domain ----------------------------------------------------------------------------------------------------


@pytest.fixture
def proteins() -> Domain:
    return registry.domain("proteins")


def request(domain: Domain, root: Path, split: str) -> Request:
    protocol = load_protocol("corrected")
    return Request(root=root, split=split, inputs=domain.inputs["mini"], protocol=protocol, prepare=lambda one: one)


def write_proteins(root: Path, swissprot: str = ">sp|P1|ONE\nMK\n", scope: str = ">d1 a.1.1.1 (A:) one\nmk\n") -> None:
    domain = registry.domain("proteins")
    for source, text in ((domain.pretraining.source, swissprot), (domain.tasks[0].source, scope)):
        file = root / source.folder / source.needs[0]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(gzip.compress(text.encode()) if file.suffix == ".gz" else text.encode())


def decoded(examples: Examples) -> dict[str, list[int]]:
    arrays = [examples.inputs[0].take(np.array([row]))[0].tolist() for row in range(len(examples))]
    return dict(zip(examples.ids.to_pylist(), arrays, strict=True))


def test_residues_become_ids(proteins: Domain, tmp_path: Path) -> None:
    long = "ACDZ" * 40
    text = f">sp|P00001|ONE Made up OS=Nobody\nMKAA\nCd\n\n>sp|P00002|TWO\n{long[:60]}\n{long[60:]}\n"
    write_proteins(tmp_path, text)
    found: dict[str, list[int]] = {}
    for split in ("train", "validation"):
        found |= decoded(proteins.pretraining.load(request(proteins, tmp_path, split)))  # type: ignore[arg-type]
    assert found["P00001"] == [13, 11, 1, 1, 3, 4] + [0] * 58
    assert found["P00002"] == ([1, 3, 4, 26] * 16)


def test_superfamilies_are_kept_whole(proteins: Domain, tmp_path: Path) -> None:
    records = [(f"d{i}x{j}", f"{kind}.{i}.2.{j}") for kind in "abz" for i in range(5) for j in range(3)]
    write_proteins(tmp_path, scope="".join(f">{name}{sccs[0]} {sccs} (A:) x\nmkv\n" for name, sccs in records))
    task = proteins.tasks[0]
    train, test = (task.load(request(proteins, tmp_path, split)) for split in ("train", "test"))
    assert (len(train), len(test)) == (24, 6)  # class z is none of folds
    assert set(train.groups.tolist()).isdisjoint(test.groups.tolist())
    for part in (train, test):
        assert part.targets.tolist() == [int("ab".index(name[-1])) for name in part.ids.to_pylist()]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ({"swissprot": ""}, "contains no protein"),
        ({"swissprot": "MK\n"}, ":1: expected a line that starts with >, found 'MK'"),
        ({"swissprot": ">sp|P1|ONE\n>sp|P2|TWO\nMK\n"}, ":1: a protein without residues: >sp|P1|ONE"),
        ({"swissprot": ">P1 one\nMK\n"}, ":1: expected >sp|accession|name, found >P1"),
        ({"swissprot": ">sp|P1|ONE\nM-K*\n"}, ":1: residues are letters, found * -"),
        ({"scope": ">d1 globin\nmk\n"}, ":1: expected >name class.fold.superfamily.family ..., found >d1 globin"),
        ({"scope": ">d1 a.1.1.1\nmk\n>d1 a.1.1.1\nmk\n"}, ":3: d1 occurs twice, first in line 1"),
    ],
)
def test_damaged_fasta_files_are_named(texts: dict[str, str], expected: str, proteins: Domain, tmp_path: Path) -> None:
    write_proteins(tmp_path, **texts)
    declared = proteins.pretraining if "swissprot" in texts else proteins.tasks[0]
    with pytest.raises(DataError) as error:
        for split in ("train", "validation"):
            decoded(declared.load(request(proteins, tmp_path, split)))  # type: ignore[arg-type]
    assert expected in str(error.value) and declared.source.needs[0] in str(error.value)


def test_a_file_that_is_no_gzip_is_named(proteins: Domain, tmp_path: Path) -> None:
    write_proteins(tmp_path)
    source = proteins.pretraining.source
    (tmp_path / source.folder / source.needs[0]).write_bytes(b">sp|P1|ONE\nMK\n")
    with pytest.raises(DataError, match=r"fasta\.gz: not a FASTA file, or damaged \(Not a gzipped file"):
        proteins.pretraining.load(request(proteins, tmp_path, "train"))


def test_equal_seeds_write_equal_proteins(tmp_path: Path) -> None:
    contents = []
    for place, seed in (("one", 0), ("two", 0), ("three", 1)):
        miniature.write("proteins", tmp_path / place, seed)
        contents.append([file.read_bytes() for file in sorted((tmp_path / place).rglob("*.fa*"))])
    assert contents[0] == contents[1] and len(contents[0]) == 2
    assert all(one != other for one, other in zip(contents[0], contents[2], strict=True))


# ---- the quantizer alone -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_quantizer_in_a_training_loop(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", str(EXAMPLES / "quantizer_in_a_training_loop.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    accuracies = [float(line.split()[-2]) for line in done.stdout.splitlines()]
    assert len(accuracies) == 4 and accuracies[-1] > accuracies[0] + 30


# ---- the pages -----------------------------------------------------------------------------------------------------

TINY = (
    *("pretrain.steps=2", "pretrain.max_examples=64", "pretrain.batch_size=8", "transfer.max_examples=80"),
    *("trainer.progress=false", "suite.workers=1", "trainer.accelerator=cpu"),
)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    made = tmp_path_factory.mktemp("pages")
    return [f"runs={made}/runs", f"out={made}/out"]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.slow
def test_a_pages_commands_do_what_it_says(
    page: str, folder: Path, places: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = [one for one in commands(page) if one.module == "dabs_rq"]
    assert {"pretrain", "transfer"} <= {one.words[0] for one in ran}
    monkeypatch.chdir(folder)
    for one in ran:
        monkeypatch.setenv(registry.PATH_VARIABLE, one.environment[registry.PATH_VARIABLE])  # examples, as on the page
        registry.refresh()
        assert cli.main([*one.words, *places, *(TINY if one.words[0] not in ("domains", "data") else ())]) == 0, one
    capsys.readouterr()
    out = Path(places[1].removeprefix("out="))
    column, row = {
        "add-a-method": ("shed", "pamap2"),
        "add-a-domain": ("rq", "scope_class"),
        "add-a-task": ("rq", "eurosat"),
        "add-an-encoder": ("none", "pamap2"),
    }[page]
    tables = [pd.read_csv(file, na_values="-").set_index("task") for file in sorted(out.glob("variant-*/table.csv"))]
    scores = [float(table.loc[row, column]) for table in tables if column in table and table.loc[row, column] > 0]
    assert scores and max(scores) <= 100
    table = tables[0]
    published = pd.read_csv(registry.PACKAGE.parent / "results" / "published.csv")["task"].tolist()
    assert table.index[: len(published)].tolist() == published
    assert set(table.index[len(published) :]) == {"eurosat", "scope_class"}


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.slow
def test_a_pages_tests_pass(page: str, folder: Path) -> None:
    ran = [one for one in commands(page) if one.module == "pytest"]
    assert ran
    for one in ran:
        environment = os.environ | {registry.PATH_VARIABLE: str(folder / one.environment[registry.PATH_VARIABLE])}
        command = [sys.executable, "-m", "pytest", *one.words, "-q", "-p", "no:cacheprovider"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
        assert done.returncode == 0 and " passed" in done.stdout, done.stdout


def test_every_command_on_the_pages_is_tried_here() -> None:
    for page in PAGES:
        for one in commands(page):
            assert one.module in ("dabs_rq", "pytest"), one.line
