"""What is found and what is refused: domains, methods, folders in DABS_RQ_PATH, and declarations that do not fit."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from dabs_rq import plugins, registry, table
from dabs_rq.data.examples import Examples
from dabs_rq.data.requests import Request
from dabs_rq.domain import Domain, Pretraining, Task
from dabs_rq.errors import MissingDataError, OptionError, PluginError, PluginWarning
from dabs_rq.records import provenance
from dabs_rq.run import Run
from dabs_rq.spec import Binary, Grid, Multiclass, Multilabel, Regression, Series, Source, Target

DOMAIN = """
from dabs_rq.run import Run
from dabs_rq.domain import Domain, Pretraining, Task
from dabs_rq.spec import Binary, Series, Source

from .source import load

NOISE = Source(
    name="noise", title="Noise", url="", folder="noise", layout="", needs=(), licence="", size="", citation=""
)
INPUTS = (Series(name="noise", length=8, channels=1, segment=2),)
DOMAIN = Domain(
    name="{name}",
    title="Noise",
    inputs={{"mini": INPUTS, "paper": INPUTS}},
    pretraining=Pretraining(source=NOISE, load=load),
    tasks=(Task(name="{task}", row="Noise", source=NOISE, target=Binary(), metric="accuracy", load=load),),
    batch_size=4,
)
"""
METHOD = """
from dataclasses import dataclass

from dabs_rq.run import Run
from dabs_rq.methods.base import MethodSpec
{more}

@dataclass
class Options:
    strength: float = 1.0


METHOD = MethodSpec(name="{name}", title="Ours", options=Options, build=dict)
"""


TASK = """
from dabs_rq.domain import Task
from dabs_rq.spec import Binary, Source

from ._shared import TITLE

SOURCE = Source(
    name="{name}", title=TITLE, url="", folder="{folder}", layout="", needs=(), licence="", size="", citation=""
)
TASK = Task(
    name="{name}", row="Ours", source=SOURCE, target=Binary(), metric="accuracy", load=lambda request: "examples"
)
"""
WRITE = """
def write(root, seed):
    (root / "{folder}").mkdir(parents=True)
    (root / "{folder}" / "file").write_text(f"{text} {{seed}}")
"""


@pytest.fixture
def extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder that DABS_RQ_PATH names."""
    folder = tmp_path / "extra"
    folder.mkdir()
    monkeypatch.setenv(registry.PATH_VARIABLE, str(folder))
    registry.refresh()
    yield folder
    registry.refresh()


@pytest.fixture
def alone(extra: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, and the project has no domains of its own."""
    monkeypatch.setattr(plugins, "DOMAINS", tmp_path / "none" / "domains")
    plugins.DOMAINS.mkdir(parents=True)
    (plugins.DOMAINS / "__init__.py").write_text("")
    return extra


def add_domain(folder: Path, place: str, name: str | None = None, task: str = "noise", text: str = DOMAIN) -> Path:
    inside = folder / "domains" / place
    inside.mkdir(parents=True)
    (inside / "source.py").write_text("def load(request):\n    return 'examples'\n")
    (inside / "__init__.py").write_text(text.format(name=name or place, task=task))
    return inside


def add_method(folder: Path, place: str, name: str | None = None, more: str = "", text: str = METHOD) -> Path:
    file = folder / "methods" / f"{place}.py"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text.format(name=name or place, more=more))
    return file


def add_task(folder: Path, domain: str, name: str, text: str = TASK, at: str = "", write: str | None = None) -> Path:
    """A task of that domain; with `write`, the text of what its miniature writes to the folder of its source."""
    inside = folder / "tasks" / domain / name
    inside.mkdir(parents=True)
    (inside / "_shared.py").write_text("TITLE = 'Ours'\n")
    (inside / "__init__.py").write_text(text.format(name=name, folder=at or name))
    if write is not None:
        (inside / "miniature.py").write_text(WRITE.format(folder=at or name, text=write))
    return inside


# ---- what is found -----------------------------------------------------------------------------------------------


def test_names_are_sorted_and_private_files_declare_nothing(extra: Path) -> None:
    add_method(extra, "ours")
    (extra / "methods" / "_private.py").write_text("")
    assert list(registry.domain_names()) == sorted(registry.domain_names())
    assert "ours" in registry.method_names() and "_private" not in registry.method_names()


BROKEN = {
    "x = (": r"__init__\.py, line 1: SyntaxError: '\(' was never closed",
    "\n\nraise SystemExit(1)": r"__init__\.py, line 3: SystemExit: 1",
    "import nothing_of_that_name": r"__init__\.py, line 1: ModuleNotFoundError: No module named 'nothing_of_that_name'",
    TASK.replace('"accuracy"', '"auroc"'): r"__init__\.py, line 10: ValueError: task 'broken': metric 'auroc' does not",
    TASK.replace('name="{name}", row', 'name="other", row'): r"__init__\.py: TASK\.name is 'other', but .* 'broken'",
    "TASK = 1": r"must define TASK, of type Task; got int",
}


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_task_costs_itself_and_nothing_else(text: str, extra: Path) -> None:
    whole = [task.name for task in registry.domain("sensor").tasks]
    add_task(extra, "sensor", "good")
    add_task(extra, "sensor", "broken", text=text)
    registry.refresh()
    with pytest.warns(PluginWarning, match=BROKEN[text] + r".*\. This plug-in is left out\.$"):
        assert [task.name for task in registry.domain("sensor").tasks] == [*whole, "good"]
    with pytest.raises(PluginError, match=BROKEN[text]):
        registry.task("sensor", "broken")
    assert registry.task("sensor", "good").row == "Ours"


def test_a_broken_domain_or_method_costs_itself_and_nothing_else(extra: Path) -> None:
    before = registry.domain_names(), registry.method_names()
    add_domain(extra, "broken", text="DOMAIN = None.missing")
    add_method(extra, "broken", text="\n  x = 1")
    registry.refresh()
    with pytest.warns(PluginWarning, match=r"domains/broken/__init__\.py, line 1: AttributeError"):
        assert registry.domain_names() == before[0]
    with pytest.warns(PluginWarning, match=r"methods/broken\.py, line 2: IndentationError"):
        assert registry.method_names() == before[1]
    with pytest.raises(PluginError, match="line 1: AttributeError"):
        registry.domain("broken")
    with pytest.raises(PluginError, match="line 2: IndentationError"):
        registry.method("broken")


def test_the_line_is_that_of_the_plugin_not_of_what_it_calls(extra: Path) -> None:
    add_method(extra, "ours", more='import json\njson.loads("{")')
    with pytest.raises(PluginError, match=r"methods/ours\.py, line 7: JSONDecodeError"):
        registry.method("ours")


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [
        ("domains", "mine.py", "a domain is a folder"),
        ("methods", "mine/__init__.py", "a method is a file"),
        ("encoders", "mine/__init__.py", "an encoder is a file"),
        ("tasks", "sensor/mine.py", "a task is a folder"),
    ],
)
def test_a_module_in_the_wrong_place_is_told(kind: str, name: str, expected: str, extra: Path) -> None:
    file = extra / kind / name
    file.parent.mkdir(parents=True)
    file.write_text("")
    find = {"methods": registry.method_names, "encoders": registry.encoder_names}
    with pytest.warns(PluginWarning, match=f"{name}: {expected}"):
        find.get(kind, lambda: registry.domain("sensor"))()


def test_a_file_in_place_of_a_folder_and_a_path_too_deep_are_told(extra: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_method(extra, "ours")
    monkeypatch.setenv(registry.PATH_VARIABLE, str(extra / "methods"))
    with pytest.raises(OptionError, match=rf"holds none of domains/, methods/.*Name the folder above it, {extra}\."):
        registry.method_names()
    monkeypatch.setenv(registry.PATH_VARIABLE, str(extra))
    (extra / "encoders").write_text("")
    with pytest.raises(OptionError, match="encoders is a file; a folder is expected there"):
        registry.encoder_names()


def test_installed_packages_bring_methods_domains_and_encoders(
    extra: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    add_method(site / "theirs", "installed")
    add_domain(site / "theirs", "cosmos", task="stars")
    for folder in ("theirs", "theirs/methods", "theirs/domains"):
        (site / folder / "__init__.py").write_text("")
    information = site / "theirs-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(
        "[dabs_rq.methods]\ninstalled = theirs.methods.installed\ngone = theirs.methods.gone\n"
        "[dabs_rq.domains]\ncosmos = theirs.domains.cosmos\n"
    )
    monkeypatch.syspath_prepend(site)
    registry.refresh()
    with pytest.warns(PluginWarning, match=r"entry point gone = theirs\.methods\.gone .* there is no module"):
        assert "installed" in registry.method_names()
    assert registry.method("installed").title == "Ours" and registry.domain("cosmos").tasks[0].name == "stars"
    covered = provenance.code(registry.module_of_domain("cosmos"))
    assert {"theirs.domains.cosmos", "theirs.domains.cosmos.source", "dabs_rq.domain"} <= covered.keys()
    add_method(extra, "installed")
    registry.refresh()
    with pytest.raises(OptionError, match=r"method 'installed' is declared twice: .*theirs.* and .*extra.*Rename one"):
        registry.method_names()


def test_a_domain_of_ones_own(extra: Path) -> None:
    inside = add_domain(extra, "noise")
    (inside / "miniature.py").write_text("from .source import load\n\ndef write(root, seed):\n    return load(None)\n")
    found = registry.domain("noise")
    assert found.name == "noise" and found.tasks[0].load(None) == "examples"  # type: ignore[arg-type]
    assert registry.task("noise", "noise") is found.tasks[0]
    generator, first = registry.miniature("noise"), registry.miniature_version("noise")
    assert generator.write(Path(), 0) == "examples"
    (inside / "miniature_more.py").write_text("")
    registry.refresh()
    assert registry.miniature_version("noise") != first


def test_a_method_of_ones_own_beside_what_it_shares(extra: Path) -> None:
    add_method(extra, "ours", more="from ._shared import VALUE\n")
    (extra / "methods" / "_shared.py").write_text("VALUE = 7\n")
    assert registry.method("ours").options().strength == 1.0


def test_two_folders_of_ones_own(extra: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other"
    add_domain(other, "second", task="second")
    add_domain(extra, "first", task="first")
    monkeypatch.setenv(registry.PATH_VARIABLE, f"{extra}:{other}")
    assert registry.domain("first").tasks[0].name == "first"
    assert registry.domain("second").tasks[0].name == "second"


def test_tasks_of_ones_own_come_after_the_declared_ones(extra: Path) -> None:
    declared = [task.name for task in registry.domain("sensor").tasks]
    before = table.table_order()
    add_task(extra, "sensor", "second")
    add_task(extra, "sensor", "first")
    registry.refresh()
    assert [task.name for task in registry.domain("sensor").tasks] == [*declared, "first", "second"]
    assert [task.name for task in registry.added_tasks("sensor")] == ["first", "second"]
    assert registry.added_tasks("images") == ()
    assert registry.task("sensor", "first").load(None) == "examples"  # type: ignore[arg-type]
    assert table.table_order() == [*before, ("sensor", "first"), ("sensor", "second")]
    assert registry.module_of_task("sensor", "pamap2") == "dabs_rq.domains.sensor"
    assert registry.module_of_task("sensor", "first").startswith(registry.EXTRA)


def test_a_task_for_a_domain_of_ones_own(extra: Path) -> None:
    add_domain(extra, "noise")
    add_task(extra, "noise", "more")
    assert [task.name for task in registry.domain("noise").tasks] == ["noise", "more"]


def test_published_methods_come_first(extra: Path) -> None:
    add_method(extra, "aaa")
    names = registry.method_names()
    assert names[:3] == ("none", "emix", "rq") and "aaa" in names[3:]


# ---- what is refused ---------------------------------------------------------------------------------------------


def test_unknown_names_come_with_the_nearest_and_all(extra: Path) -> None:
    add_method(extra, "ours")
    with pytest.raises(OptionError, match=r"unknown domain 'sensors'. Did you mean 'sensor'\? Known: .*sensor"):
        registry.domain("sensors")
    with pytest.raises(OptionError, match=r"unknown method 'our'. Did you mean 'ours'\? Known: .*ours"):
        registry.method("our")
    with pytest.raises(OptionError, match=r"unknown method 'zzzzzz'. Known: "):
        registry.method("zzzzzz")
    with pytest.raises(OptionError, match=r"unknown task of domain 'sensor' 'pamap'. Did you mean 'pamap2'\?"):
        registry.task("sensor", "pamap")


def test_a_domain_without_miniature(extra: Path) -> None:
    add_domain(extra, "noise")
    with pytest.raises(MissingDataError, match=r"domain 'noise' has no miniature data: .*miniature\.py is missing"):
        registry.miniature("noise")
    assert registry.miniature_version("noise") is None
    built = table.build(Run.of([]))  # its rows are dashes, the others are not disturbed
    assert built.frame.set_index("task").loc["noise", ["none", "emix", "rq"]].isna().all() and len(built.frame) > 1


def test_duplicates(extra: Path) -> None:
    add_domain(extra, "sensor")
    with pytest.raises(OptionError, match=r"domain 'sensor' is declared twice: .* and .*extra.*Rename one"):
        registry.domain("sensor")
    add_method(extra, "rq")
    with pytest.raises(OptionError, match=r"method 'rq' is declared twice"):
        registry.method_names()


def test_a_missing_or_wrong_constant(extra: Path) -> None:
    add_domain(extra, "empty", text="")
    with pytest.raises(OptionError, match=r"empty/__init__\.py must define DOMAIN, of type Domain; got NoneType"):
        registry.domain("empty")
    add_method(extra, "wrong", text="METHOD = 'wrong'")
    with pytest.raises(OptionError, match=r"wrong\.py must define METHOD, of type MethodSpec; got str"):
        registry.method("wrong")


def test_a_name_that_differs_from_its_place(extra: Path) -> None:
    add_domain(extra, "here", name="there")
    with pytest.raises(OptionError, match=r"DOMAIN\.name is 'there', but its folder or file is called 'here'"):
        registry.domain("here")
    add_method(extra, "mine", name="yours")
    with pytest.raises(OptionError, match=r"METHOD\.name is 'yours', but its folder or file is called 'mine'"):
        registry.method("mine")


def test_tasks_that_do_not_fit(extra: Path) -> None:
    add_task(extra, "sensor", "pamap2")
    with pytest.raises(OptionError, match=r"task 'pamap2' is declared twice: .*sensor.* and .*extra.*Rename one"):
        registry.domain("sensor")
    add_task(extra, "xray", "wrong", text="TASK = 'wrong'")
    with pytest.raises(OptionError, match=r"wrong/__init__\.py must define TASK, of type Task; got str"):
        registry.task("xray", "wrong")
    add_task(extra, "vqa", "cifar10")
    shutil.rmtree(extra / "tasks" / "sensor")
    shutil.rmtree(extra / "tasks" / "xray")
    registry.refresh()
    with pytest.raises(OptionError, match=r"task 'cifar10' is declared by domains 'images' and 'vqa'"):
        registry.domains()


def test_a_task_for_no_domain(extra: Path) -> None:
    add_task(extra, "image", "ours")
    with pytest.warns(PluginWarning, match=r"tasks/image does not have the name of a domain: .* mean 'images'\?"):
        registry.domain("sensor")


def test_a_folder_that_does_not_exist(extra: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(registry.PATH_VARIABLE, str(extra / "nowhere"))
    with pytest.raises(OptionError, match=r"DABS_RQ_PATH names .*nowhere, which is not a folder"):
        registry.domain_names()


def test_a_module_that_fails_is_not_kept(extra: Path) -> None:
    file = add_method(extra, "late", text="raise RuntimeError('not yet')")
    with pytest.raises(PluginError, match=r"late\.py, line 1: RuntimeError: not yet"):
        registry.method("late")
    file.write_text(METHOD.format(name="late", more="# now it is longer, so that no compiled file is taken for it"))
    assert registry.method("late").name == "late"


def test_a_task_of_two_domains(alone: Path) -> None:
    add_domain(alone, "one", task="shared")
    assert [found.name for found in registry.domains()] == ["one"]
    add_domain(alone, "two", task="shared")
    registry.refresh()
    with pytest.raises(OptionError, match=r"task 'shared' is declared by domains 'one' and 'two'"):
        registry.domains()


# ---- declarations ------------------------------------------------------------------------------------------------

SOURCE = Source(name="s", title="S", url="", folder="s", layout="", needs=(), licence="", size="", citation="")


def load(request: Request) -> Examples:
    raise NotImplementedError


def declare(target: Target, metric: str) -> Task:
    return Task(name="t", row="T", source=SOURCE, target=target, metric=metric, load=load)


@pytest.mark.parametrize(
    ("target", "metric", "legal"),
    [
        (Multiclass(3), "auroc", "accuracy or balanced_accuracy or f1 or f1_weighted"),
        (Binary(), "spearman", r"accuracy or auroc or .* or pearson"),
        (Multilabel(("a", "b")), "accuracy", "auroc or mean_average_precision"),
        (Regression(), "accuracy", "pearson or r2 or spearman"),
    ],
)
def test_a_metric_that_does_not_fit_its_target(target: Target, metric: str, legal: str) -> None:
    kind = type(target).__name__
    with pytest.raises(ValueError, match=rf"task 't': metric '{metric}' does not fit a {kind} .*takes {legal}$"):
        declare(target, metric)


def test_a_task_declared_twice_in_one_domain() -> None:
    task = declare(Binary(), "accuracy")
    inputs = (Series(name="x", length=4, channels=1, segment=2),)
    with pytest.raises(ValueError, match="domain 'd' declares these tasks twice: t"):
        Domain(
            name="d",
            title="D",
            inputs={"mini": inputs, "paper": inputs},
            pretraining=Pretraining(source=SOURCE, load=load),
            tasks=(task, task),
            batch_size=1,
        )


def test_inputs_that_do_not_divide() -> None:
    with pytest.raises(ValueError, match=r"input 'i': 32 x 30 is not a multiple of patch 4 x 4"):
        Grid(name="i", height=32, width=30, channels=3, patch=4)
    with pytest.raises(ValueError, match=r"input 'w': length 320 is not a multiple of segment 7"):
        Series(name="w", length=320, channels=52, segment=7)
    grid = Grid(name="i", height=32, width=30, channels=3, patch=(4, 5))
    assert (grid.shape, grid.sequence_length, grid.patch_values) == ((3, 32, 30), 48, 60)
