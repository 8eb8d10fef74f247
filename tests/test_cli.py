"""The command line: what it prints, its exit codes, and what it says about wrong words."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from dabs_rq import cli, registry
from dabs_rq.errors import DataWarning
from dabs_rq.records import record
from dabs_rq.run import Run

COMMANDS = (
    *("pretrain", "transfer", "suite", "table", "ablate", "export", "bundle", "push", "compare", "domains", "data"),
)
Output = tuple[int, str, str]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Output]:
    """call(*words): exit code, output and errors of one command line."""

    def call(*words: str) -> Output:
        try:
            code = cli.main(words)
        except SystemExit as stop:  # argparse
            code = int(stop.code or 0)
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return call


@pytest.fixture
def runs(tmp_path: Path, with_data: Callable[..., Path]) -> str:
    """runs=<folder> with the sensor domain's miniature written already."""
    return f"runs={with_data(tmp_path / 'runs', 'sensor')}"


# ---- help --------------------------------------------------------------------------------------------------------


def test_help_names_every_command_and_imports_nothing_heavy() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "dabs_rq", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert all(f"    {name} " in done.stdout for name in COMMANDS) and "key=value" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "dabs_rq.cli" in imported
    assert not imported & {"torch", "numpy", "pandas", "datasets", "pydantic", "sklearn", "pytorch_lightning"}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, call: Callable[..., Output]) -> None:
    code, out, _ = call(command, "--help")
    assert code == 0 and "--show-options" in out and "scale=mini" in out and "seeds=0,1,2" in out


# ---- wrong words -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ["the following arguments are required: command"]),
        (["pretrian"], ["invalid choice: 'pretrian'", "pretrain", "transfer", "suite", "table", "domains"]),
        (["table", "--seeds=3"], ["unknown flag --seeds=3; options are words of the form key=value"]),
        (["table", "-v"], ["unknown flag -v"]),
        (["table", "scale=mini", "--fast", "seeds=[0]"], ["unknown flag --fast"]),
        (["table", "sedes=[1]"], ["error: unknown option 'sedes'. Did you mean 'seeds'?", "--show-options"]),
        (["table", "seeds"], ["error: expected an option as key=value, such as domain=sensor; got 'seeds'"]),
        (["table", "scale=paper"], ["error: scale=paper needs the real data: give data=/root (make: DATA=/root)"]),
        (["table", "scale=big"], ["error: unknown scale 'big'.", "Known: mini, paper, small."]),
        (["suite", "methods=[non]"], ["error: unknown method 'non'. Did you mean 'none'?"]),
        (["suite", "domains=[sensors]"], ["error: unknown domain 'sensors'. Did you mean 'sensor'?"]),
        (["pretrain"], ["error: give one domain: domain=", "|sensor", "(make: DOMAIN=)"]),
        (["pretrain", "domain=senor"], ["error: unknown domain 'senor'. Did you mean 'sensor'?"]),
        (["pretrain", "domain=sensor", "pretrain.steps=x"], ["error: pretrain.steps is a whole number; got 'x'"]),
        (["table", "--show-options", "no=1"], ["error: unknown option 'no'."]),
    ],
)
def test_wrong_words_are_refused_with_what_to_do(
    words: list[str], expected: list[str], call: Callable[..., Output], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = call(*words)
    assert code == 2 and out == ""
    assert all(text in err for text in expected), err
    assert "Traceback" not in err and not list(tmp_path.iterdir())


def test_a_task_of_another_domain_is_refused(call: Callable[..., Output], runs: str) -> None:
    assert call("pretrain", "domain=sensor", "method=none", runs)[0] == 0
    code, _, err = call("transfer", "domain=sensor", "method=none", "tasks=[cifar10]", runs)
    assert code == 2 and "error: unknown task of domain 'sensor' 'cifar10'. Known: pamap2." in err


@pytest.mark.parametrize("command", ["suite", "domains"])
def test_a_data_root_that_is_not_there_is_named(command: str, call: Callable[..., Output], tmp_path: Path) -> None:
    code, _, err = call(command, "domain=sensor", f"data={tmp_path}/no where", f"runs={tmp_path}/runs")
    assert code == 1 and f"error: the data root {tmp_path}/no where is not a folder." in err
    assert "`python -m dabs_rq domains` lists which are expected where" in err and not (tmp_path / "runs").exists()


def test_data_that_are_not_there_are_explained(call: Callable[..., Output], tmp_path: Path) -> None:
    code, _, err = call("pretrain", "domain=sensor", f"data={tmp_path}", f"runs={tmp_path}/runs")
    assert code == 1 and f"error: PAMAP2 Physical Activity Monitoring is not under {tmp_path}: missing" in err
    assert "expected layout below" in err and "source: http" in err and "registration: " in err


def test_transfer_without_a_checkpoint_says_how_to_make_it(call: Callable[..., Output], tmp_path: Path) -> None:
    words = (
        "domain=sensor",
        "method=emix",
        "protocol=published",
        f"runs={tmp_path}/runs",
        f"data={tmp_path}",
        "seeds=[4]",
    )
    code, _, err = call("transfer", *words)
    assert code == 1 and f"error: no checkpoint at {tmp_path}/runs/" in err
    make = f"make pretrain DOMAIN=sensor METHOD=emix SCALE=mini PROTOCOL=published SEEDS=4 DATA={tmp_path}"
    assert f"Make it first: {make}" in err
    code, _, err = call("transfer", *words, f"checkpoint={tmp_path}/mine.safetensors")
    assert code == 1 and f"error: no checkpoint at {tmp_path}/mine.safetensors" in err


def test_an_interruption_ends_with_130(call: Callable[..., Output], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("dabs_rq.sources.catalogue.listing", interrupted)
    code, _, err = call("domains")
    assert code == 130 and "run the same command again to resume" in err


# ---- what is there -----------------------------------------------------------------------------------------------


def test_domains_lists_every_source_and_task_with_its_folder(call: Callable[..., Output]) -> None:
    code, out, _ = call("domains")
    assert code == 0 and "made-up miniature data" in out and "present" not in out
    for domain in registry.domains():
        assert f"{domain.name}: {domain.title}, input " in out
        for source in (domain.pretraining.source, *(task.source for task in domain.tasks)):
            if domain.installed is not None:
                assert f"installed: {source.title}, {source.size}, real data of {domain.installed.about}\n" in out
                continue
            assert f"{source.title}, {source.size}, {source.folder}\n" in out
            assert f"from {source.url}; registration: {source.registration or 'none needed'}\n" in out
        assert all(f"  {task.name} ({task.row}; " in out for task in domain.tasks)
    assert f"methods: {', '.join(registry.method_names())}" in out


def test_domains_says_what_is_missing_from_a_data_root(
    call: Callable[..., Output], tmp_path: Path, miniature: Callable[[str], Path]
) -> None:
    code, out, _ = call("domains", f"data={tmp_path}")
    assert code == 0 and "present: " not in out and "partial: " not in out
    for domain in [domain for domain in registry.domains() if domain.installed is None]:
        for source in (domain.pretraining.source, *(task.source for task in domain.tasks)):
            where = tmp_path / source.folder
            hub = f"not under the root, loaded from the hub ({source.hub}) when first used"
            state = hub if source.hub else "missing"
            assert f"{state}: {source.title}, {source.size}, {where}\n" in out
            assert f"expected: {where / source.needs[0]}" in out and f"from {source.url}; registration: " in out
    code, out, _ = call("domains", f"data={miniature('sensor')}", "domains=[sensor]")
    assert code == 0 and "present: PAMAP2" in out and "missing: " not in out and "images:" not in out


def test_show_options_prints_what_a_command_would_use(call: Callable[..., Output], tmp_path: Path) -> None:
    words = ("method=emix", "pretrain.steps=7", "seeds=[0,2]")
    for given in ((*words, "--show-options"), ("--show-options", *words), (*words[:1], "--show-options", *words[1:])):
        code, out, _ = call("table", *given)
        lines = out.splitlines()
        assert code == 0 and lines == sorted(lines)
        assert {"pretrain.steps=7", "method=emix", "method.weighting=per_example", "seeds=[0, 2]"} <= set(lines)
        assert {"protocol.probe=lbfgs", "transfer.probe=lbfgs", "data=null"} <= set(lines)
    code, out, _ = call("suite", "protocol=published", "--show-options")
    assert code == 0 and {"transfer.probe=adamw", "method.gradient=extremes"} <= set(out.splitlines())


@pytest.mark.parametrize(
    "words",
    [
        ("domain=sensor", "method=rq", "method.bins=4", "encoder.depth=3", "pretrain.lr=1e-5"),
        ("domain=images,sensor", "method=none,rq", "protocol.gtsrb_split=image", "seeds=0,3"),
        ("protocol=published", "method.weighting=per_example", "runs=[a,b]", "out= x ", "suite.ray_address='null'"),
    ],
)
def test_the_printed_options_are_words_for_the_same_run(call: Callable[..., Output], words: tuple[str, ...]) -> None:
    printed = call("suite", "--show-options", *words)[1].splitlines()
    given, again = Run.of(words), Run.of(printed)
    assert again.options == given.options and again.values == given.values
    for method in given.methods:
        first, second = given.replace(method=method), again.replace(method=method)
        assert first.composed.overridden == second.composed.overridden


# ---- from nothing to a table -------------------------------------------------------------------------------------


def test_pretrain_transfer_and_table_of_the_initial_encoder(
    call: Callable[..., Output], runs: str, tmp_path: Path
) -> None:
    words = ("domain=sensor", "method=none", "transfer.max_examples=200", runs)
    code, out, err = call("pretrain", *words)
    assert code == 0 and err == ""
    assert "pretrain sensor with none, seed 0, no steps: made-up miniature data, scale=mini, protocol=corrected" in out
    checkpoint = Path(out.partition("wrote ")[2].partition(" after ")[0])
    assert checkpoint.name == "encoder.safetensors" and checkpoint.exists()
    assert f"pretrained already: {checkpoint}" in call("pretrain", *words)[1]

    code, out, _ = call("transfer", *words)
    assert code == 0
    assert (
        "transfer sensor with none, seed 0, 1 of 1 tasks: made-up miniature data, scale=mini, protocol=corrected" in out
    )
    found = record.read(Path(out.partition("record: ")[2].splitlines()[0]))
    assert found.task == "pamap2" and found.made_up_data and found.n_train == 200 and found.score is not None
    assert f"pamap2: {100 * found.score:.2f} % accuracy" in out
    code, again, _ = call("transfer", *words)
    assert code == 0 and "transfer sensor" not in again and f"{found.file_name}" in again, "finished records are kept"

    only = ("domains=[sensor]", "methods=[none]")
    code, out, _ = call("table", "transfer.max_examples=200", runs, f"out={tmp_path / 'out'}", *only)
    assert code == 0 and f"{100 * found.score:.2f}" in out and "Made-up miniature data" in out
    code, out, _ = call("table", runs, f"out={tmp_path / 'out'}", *only)
    assert code == 0 and f"{100 * found.score:.2f}" not in out, "another limit is another variant"


def test_pretraining_says_its_steps_before_it_starts(
    call: Callable[..., Output], runs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dabs_rq.pretrain.loop.train", interrupted)
    words = (
        "domain=sensor",
        "pretrain.steps=9",
        "pretrain.batch_size=5",
        "pretrain.max_examples=10",
        "seeds=[3]",
        runs,
    )
    code, out, _ = call("pretrain", *words)
    start = "pretrain sensor with rq, seed 3, 9 steps of 5: made-up miniature data, scale=mini, protocol=corrected"
    assert code == 130 and start in out and "wrote" not in out


def test_warnings_about_data_are_one_line_and_said_once(
    call: Callable[..., Output], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "dabs_rq.sources.catalogue.listing",
        lambda _: "".join(str(warnings.warn(DataWarning("10 files"), stacklevel=1) or "") for _ in "ab"),
    )
    code, _, err = call("domains")
    assert code == 0 and err == "warning: 10 files\n"


def test_a_suite_of_one_domain_prints_its_rows_and_writes_all(
    call: Callable[..., Output], runs: str, tmp_path: Path
) -> None:
    words = ("domains=[sensor]", "methods=[none]", f"out={tmp_path / 'out'}", "transfer.max_examples=200", runs)
    code, out, _ = call("suite", *words, "suite.workers=1")
    assert code == 0
    rows = {line.split("|")[1].strip(): line for line in out.splitlines() if line.startswith("| ")}
    assert "%" in out and set(rows) == {"Dataset", "PAMAP2"} and rows["PAMAP2"].split("|")[4].strip() != "-"
    assert "table.md has the rows of the other domains too." in out
    assert "| CIFAR-10 " in next((tmp_path / "out").rglob("table.md")).read_text()


def make(*words: str) -> subprocess.CompletedProcess[str]:
    """What `make` would run; nothing is run."""
    root = Path(__file__).parents[1]
    return subprocess.run(["make", "-n", *words], cwd=root, capture_output=True, text=True)


def test_make_refuses_a_variable_that_it_does_not_know() -> None:
    done = make("suite", "METHODE=rq", "DOMAIN=digits")
    assert done.returncode and "unknown variable METHODE. Known: A ACTION" in done.stderr
    text = (Path(__file__).parents[1] / "Makefile").read_text()
    used = set(re.findall(r"\$\(([A-Z][A-Z_]*)\)|,([A-Z_]+)\)", text))
    names = {name for pair in used for name in pair if name} - {"MAKEFILE_LIST", "RUN", "STAMP", "VENV", "VARIABLES"}
    listed = re.search(r"VARIABLES := ((?:.*\\\n)*.*)", text)
    assert listed and {name for name in listed[1].split() if name != "\\"} == names


@pytest.mark.parametrize("given", ["0 1 2", "0,1,2", "0, 1, 2"])
def test_seeds_of_make_are_separated_by_spaces_or_commas(given: str) -> None:
    assert "'seeds=0,1,2'" in make("suite", f"SEEDS={given}").stdout


def test_setting_up_shows_what_pip_does_and_fails_if_it_fails() -> None:
    (line,) = (line for line in make("--always-make", "setup").stdout.splitlines() if " pip install " in line)
    assert not {"--quiet", "-q", "|", "||", ";"} & set(line.split())


def test_an_option_without_its_group_is_recognised(call: Callable[..., Output]) -> None:
    code, _, err = call("pretrain", "domain=digits", "stepz=3")
    assert code == 2 and "unknown option 'stepz'. Did you mean 'pretrain.steps'?" in err


def test_sources_of_one_folder_are_named_by_it(call: Callable[..., Output], tmp_path: Path) -> None:
    _, out, err = call("data", "verify", "glue", f"data={tmp_path}")
    lines = [line.partition(":")[0] for line in (out + err).splitlines()]
    assert len(lines) == len(set(lines)) and {"cola", "mnli_matched", "sst2", "wnli"} <= set(lines)


def test_a_dry_run_estimates_gpu_and_cpu_hours(call: Callable[..., Output], tmp_path: Path) -> None:
    _, out, _ = call("suite", "domain=digits", "method=none,rq", "--dry-run", f"runs={tmp_path}")
    head, _, line = out[out.index("domain    steps") :].splitlines()[:3]
    columns = re.split(r"\s{2,}", head)
    values = dict(zip(columns, re.split(r"\s{2,}", line), strict=True))
    assert float(values["CPU hours"]) == pytest.approx(500 * float(values["GPU hours"]), rel=0.5)
