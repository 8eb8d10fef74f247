"""The examples, found from a folder outside of the repository: a method, a domain, a task."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import torch

from dabs_rq import cli, registry
from dabs_rq.data.examples import Examples
from dabs_rq.data.requests import Request
from dabs_rq.domain import Domain
from dabs_rq.encoders.transformer import Transformer
from dabs_rq.errors import DataError, OptionError
from dabs_rq.methods.base import Batch
from dabs_rq.miniature import write as miniature
from dabs_rq.run.compose import load_protocol
from dabs_rq.spec import Tokens
from dabs_rq.typed import checked
from tests.page_commands import commands

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
def vicreg() -> ModuleType:
    return sys.modules[registry.method("vicreg").build.__module__]


@pytest.mark.parametrize("weights", [(25.0, 25.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)])
def test_vicregs_loss_is_that_of_the_papers_pseudocode(weights: tuple[float, ...], vicreg: ModuleType) -> None:
    generator = torch.Generator().manual_seed(0)
    n, d = 7, 5
    a, b = (scale * torch.randn(n, d, generator=generator) for scale in (0.5, 1.5))
    expected = weights[0] * ((a - b) ** 2).mean()
    for z in (a, b):
        std = torch.sqrt(((z - z.mean(0)) ** 2).sum(0) / (n - 1) + 1e-4)
        expected = expected + weights[1] * torch.clamp(1 - std, min=0).mean()
        centred = z - z.mean(0)
        covariance = centred.T @ centred / (n - 1)
        apart = [float(covariance[i, j]) ** 2 for i in range(d) for j in range(d) if i != j]
        expected = expected + weights[2] * sum(apart) / d
    options = vicreg.Options(invariance=weights[0], variance=weights[1], covariance=weights[2])
    loss, terms = vicreg.vicreg_loss(a, b, options)
    torch.testing.assert_close(loss, expected)
    assert set(terms) == {"invariance", "variance", "covariance"}


def test_a_view_of_vicreg_keeps_the_share_of_real_tokens_with_the_largest_draws(vicreg: ModuleType) -> None:
    lengths = torch.tensor([20, 13, 7, 6, 1])
    mask = torch.arange(20) < lengths[:, None]
    u = torch.rand(5, 20, generator=torch.Generator().manual_seed(0))
    kept = vicreg.remaining(u, 0.25, mask)
    assert not (kept & ~mask).any() and kept.sum(1).tolist() == [15, 10, 6, 5, 1]
    for row in range(5):
        left_out = u[row][mask[row] & ~kept[row]]
        assert not len(left_out) or left_out.max() < u[row][kept[row]].min()
    assert torch.equal(vicreg.remaining(u, 0.25), vicreg.remaining(u, 0.25, torch.ones_like(mask)))


def test_vicreg_encodes_two_views_and_trains_its_expander(vicreg: ModuleType) -> None:
    words = Tokens(name="text", length=10, vocabulary=50)
    sizes = {"width": 16, "depth": 1, "heads": 2, "head_width": 8, "mlp_width": 16, "out_width": 4}
    encoder = Transformer((words,), **sizes, dropout=0.0)
    method = vicreg.VICReg(vicreg.Options(drop=0.5), encoder, encoder.inputs)
    masks: list[torch.Tensor] = []
    encoder.encode, encode = lambda *given: masks.append(given[1]) or encode(*given), encoder.encode
    loss, _ = method.loss(Batch((torch.arange(60).view(6, 10) % 50,), encoder), torch.Generator().manual_seed(0))
    loss.backward()
    assert [mask.sum(1).tolist() for mask in masks] == [[5] * 6] * 2 and not torch.equal(*masks)
    assert method.expander[0].weight.grad is not None
    assert {name.split(".")[0] for name in method.own_state()} == {"expander"}


def test_vicregs_options_are_checked() -> None:
    options = registry.method("vicreg").options
    for wrong, text in ((0.0, "is above 0; got 0.0"), (1.0, "is below 1; got 1.0")):
        with pytest.raises(OptionError, match=rf"method\.drop {text}"):
            checked(options, vars(options(drop=wrong)), "method.")


# ---- the domain ----------------------------------------------------------------------------------------------------


@pytest.fixture
def molecules() -> Domain:
    return registry.domain("molecules")


def request(domain: Domain, root: Path, split: str) -> Request:
    protocol = load_protocol("corrected")
    return Request(root=root, split=split, inputs=domain.inputs["mini"], protocol=protocol, prepare=lambda one: one)


def write_molecules(root: Path, hiv: str = "CCO,CI,0\n", bbbp: str = "1,one,1,CCO\n") -> None:
    domain = registry.domain("molecules")
    for source, header, lines in (
        (domain.pretraining.source, "smiles,activity,HIV_active\n", hiv),
        (domain.tasks[0].source, "num,name,p_np,smiles\n", bbbp),
    ):
        file = root / source.folder / source.needs[0]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(header + lines, encoding="utf-8")


def decoded(examples: Examples) -> dict[str, list[int]]:
    arrays = [examples.inputs[0].take(np.array([row]))[0].tolist() for row in range(len(examples))]
    return dict(zip(examples.ids.to_pylist(), arrays, strict=True))


def test_characters_become_ids(molecules: Domain, tmp_path: Path) -> None:
    write_molecules(tmp_path, f'C!~,CI,0\n"{"CO" * 50}",CI,0\n')
    found: dict[str, list[int]] = {}
    for split in ("train", "validation"):
        found |= decoded(molecules.pretraining.load(request(molecules, tmp_path, split)))  # type: ignore[arg-type]
    assert found["HIV.csv:2"] == [35, 1, 94] + [0] * 61
    assert found["HIV.csv:3"] == [35, 47] * 32


def test_isomers_are_kept_together(molecules: Domain, tmp_path: Path) -> None:
    isomers = [("C" * i + "O", "O" + "C" * i, "C" + "O" + "C" * (i - 1)) for i in range(2, 12)]
    lines = [f"{i},x,{i % 2},{one}" for i, one in enumerate(one for group in isomers for one in group)]
    write_molecules(tmp_path, bbbp="\n".join(lines) + "\n")
    task = molecules.tasks[0]
    train, test = (task.load(request(molecules, tmp_path, split)) for split in ("train", "test"))
    assert (len(train), len(test)) == (24, 6)
    assert set(train.groups.tolist()).isdisjoint(test.groups.tolist())
    for part in (train, test):
        assert part.targets.tolist() == [int(name.split(":")[1]) % 2 for name in part.ids.to_pylist()]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ({"hiv": ""}, "contains no molecule"),
        ({"hiv": "CCO,CI,0\n,CI,0\n"}, ":3: a line without a molecule"),
        ({"hiv": "C\u00e9,CI,0\n"}, ":2: expected a molecule in ASCII without spaces, found '\u00e9'"),
        ({"hiv": "C O,CI,0\n"}, ":2: expected a molecule in ASCII without spaces, found ' '"),
        ({"hiv": "CCO,CI\n"}, "not a csv table"),
        ({"bbbp": "1,one,1,CCO\n2,two,maybe,CCO\n"}, ":3: expected p_np 0 or 1, found 'maybe'"),
    ],
)
def test_damaged_tables_are_named(texts: dict[str, str], expected: str, molecules: Domain, tmp_path: Path) -> None:
    write_molecules(tmp_path, **texts)
    declared = molecules.pretraining if "hiv" in texts else molecules.tasks[0]
    with pytest.raises(DataError) as error:
        for split in ("train", "validation"):
            decoded(declared.load(request(molecules, tmp_path, split)))  # type: ignore[arg-type]
    assert expected in str(error.value) and declared.source.needs[0] in str(error.value)


def test_a_table_of_other_columns_is_named(molecules: Domain, tmp_path: Path) -> None:
    write_molecules(tmp_path)
    source = molecules.pretraining.source
    (tmp_path / source.folder / source.needs[0]).write_text("smiles,logP\nCCO,1\n")
    with pytest.raises(DataError, match=r"HIV\.csv.*(HIV_active|not a csv table)"):
        molecules.pretraining.load(request(molecules, tmp_path, "train"))


def test_equal_seeds_write_equal_molecules(tmp_path: Path) -> None:
    contents = []
    for place, seed in (("one", 0), ("two", 0), ("three", 1)):
        miniature.write("molecules", tmp_path / place, seed)
        contents.append([file.read_bytes() for file in sorted((tmp_path / place).rglob("*.csv"))])
    assert contents[0] == contents[1] and len(contents[0]) == 2
    assert all(one != other for one, other in zip(contents[0], contents[2], strict=True))


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
        "add-a-method": ("vicreg", "pamap2"),
        "add-a-domain": ("rq", "bbbp"),
        "add-a-task": ("rq", "eurosat"),
        "add-an-encoder": ("none", "pamap2"),
    }[page]
    tables = [pd.read_csv(file, na_values="-").set_index("task") for file in sorted(out.glob("variant-*/table.csv"))]
    scores = [float(table.loc[row, column]) for table in tables if column in table and table.loc[row, column] > 0]
    assert scores and max(scores) <= 100
    table = tables[0]
    published = pd.read_csv(registry.PACKAGE.parent / "results" / "published.csv")["task"].tolist()
    assert table.index[: len(published)].tolist() == published
    assert set(table.index[len(published) :]) == {"eurosat", "bbbp"}


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
