"""The suite's plan, what its dry run says, and what one failure costs."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from dabs_rq import cli, registry, table
from dabs_rq.data.examples import Examples
from dabs_rq.domain import Task
from dabs_rq.errors import OptionError
from dabs_rq.pretrain.pretrain import pretrain
from dabs_rq.records import record
from dabs_rq.run import Run
from dabs_rq.run.splits import Splits
from dabs_rq.suite import local as executors
from dabs_rq.suite.jobs import Job, Outcome, run_job
from dabs_rq.suite.plan import STEPS, Plan, build_plan, describe_plan
from dabs_rq.suite.suite import suite
from dabs_rq.transfer.transfer import transfer
from tests.test_pretrain import SMALL

BUDGET = ("pretrain.steps=3", "transfer.max_examples=60", "transfer.strengths=[1]", "transfer.also=[]")


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, miniature: Callable[[str], Path], with_data: Callable[..., Path]
) -> Run:
    """A run of one domain, its miniature used as if it were real data, of which `none` is computed. Only to be read."""
    runs = with_data(tmp_path_factory.mktemp("suite") / "runs", "sensor")
    words = ["domains=[sensor]", "method=none,emix,rq", f"data={miniature('sensor')}", f"runs={runs}", *SMALL, *BUDGET]
    outcome = suite(Run.of([*words, "methods=[none]", "suite.executor=in_process"]))
    assert outcome.state == "done"
    return Run.of(words)


@pytest.fixture
def run(finished: Run, tmp_path: Path) -> Run:
    """The same in a folder of its own, to be changed."""
    shutil.copytree(finished.places.runs, tmp_path / "runs", symlinks=True)
    return Run.of([*finished.words, f"runs={tmp_path / 'runs'}"])


def names(made: Plan) -> list[str]:
    return [job.name for job in made.jobs]


def counts(made: Plan, domain: str, step: str) -> tuple[int, ...]:
    return tuple(made.counts[domain, step][state] for state in ("done", "to do", "waiting"))


# ---- the plan ------------------------------------------------------------------------------------------------------


def test_every_job_comes_after_those_it_waits_for(tmp_path: Path) -> None:
    jobs = build_plan(
        Run.of([f"runs={tmp_path}", "seeds=[0,1]", "domains=[sensor,images]", "method=none,emix,rq"])
    ).jobs
    assert len(jobs) == 2 * (1 + 2 * 3 * 2) and len({job.name for job in jobs}) == len(jobs)
    seen: set[str] = set()
    for job in jobs:
        assert set(job.after) <= seen
        seen.add(job.name)
    assert [job.name for job in jobs][:3] == [
        "prepare images",
        "pretrain images with none, seed 0",
        "transfer images with none, seed 0",
    ]
    assert not list(tmp_path.iterdir())  # planning writes nothing, no miniature either


def test_what_is_done_is_not_planned_again(finished: Run) -> None:
    made = build_plan(finished)
    assert counts(made, "sensor", "pretrain") == counts(made, "sensor", "transfer") == (1, 2, 0)
    assert names(made) == [
        "prepare sensor",
        "pretrain sensor with emix, seed 0",
        "transfer sensor with emix, seed 0",
        "pretrain sensor with rq, seed 0",
        "transfer sensor with rq, seed 0",
    ]
    assert made.jobs[0].run.methods == ("emix", "rq") and made.jobs[0].prepares == ("pamap2",)
    assert not build_plan(Run.of([*finished.words, "methods=[none]"])).jobs
    # Other options are another variant, of which nothing is done.
    assert counts(build_plan(Run.of([*finished.words, "pretrain.steps=4"])), "sensor", "pretrain") == (0, 3, 0)


def test_a_damaged_checkpoint_is_to_do_and_stays_where_it_is(run: Run) -> None:
    file = run.replace(method="none", domain="sensor").checkpoint_file(0)
    file.write_bytes(file.read_bytes()[:100])
    made = build_plan(run)
    assert counts(made, "sensor", "pretrain") == (0, 3, 0) and counts(made, "sensor", "transfer") == (0, 3, 0)
    assert file.exists()
    outcome = suite(Run.of([*run.words, "methods=[none]", "suite.executor=in_process"]))
    assert outcome.state == "done" and counts(build_plan(run), "sensor", "transfer") == (1, 2, 0)


@pytest.mark.parametrize("key, value", [("checkpoint", "0123456789abcdef"), ("format", 0)])
def test_a_record_of_other_weights_or_that_cannot_be_read_is_to_do(run: Run, key: str, value: object) -> None:
    one = run.replace(method="none", domain="sensor")
    file = one.places.records(one.identity(0)) / "pamap2.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    made = build_plan(Run.of([*run.words, "methods=[none]"]))
    assert counts(made, "sensor", "pretrain") == (1, 0, 0) and counts(made, "sensor", "transfer") == (0, 1, 0)
    assert names(made) == ["prepare sensor", "transfer sensor with none, seed 0"]


def test_a_damaged_record_of_a_further_split_is_to_do(run: Run) -> None:
    one = run.replace(method="none", domain="sensor")
    file = one.places.records(one.identity(0)) / "pamap2@subject106.parquet"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    one = Run.of([*run.words, "methods=[none]"])
    assert names(build_plan(one)) == ["prepare sensor", "transfer sensor with none, seed 0"]
    assert suite(one).state == "done" and file.read_bytes() == whole and not build_plan(one).jobs


def test_a_transfer_that_ends_between_two_splits_is_to_do(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Run.of([*run.words, "methods=[none]", "suite.executor=in_process"])
    of_method = one.replace(method="none", domain="sensor")
    folder = of_method.record_file("pamap2", 0).parent
    shutil.rmtree(folder)
    write = record.write

    def write_one(*given: Any) -> Path:
        if list(folder.glob("*.json")):
            raise OSError(errno.ENOSPC, "no space left")
        return write(*given)

    monkeypatch.setattr(record, "write", write_one)
    assert suite(one).state == "failed" and len(list(folder.glob("*.json"))) == 1
    monkeypatch.undo()
    assert suite(one).state == "done" and len(list(folder.glob("*.json"))) == 2


def put_tokenizer(root: Path, name: str) -> None:
    (root / "text/tokenizers" / name).mkdir(parents=True, exist_ok=True)
    (root / "text/tokenizers" / name / "tokenizer.json").write_text("{}")


def test_what_has_no_data_waits_and_says_for_what(tmp_path: Path) -> None:
    root, source = tmp_path / "root", registry.task("images", "dtd").source
    for need in source.needs:
        (root / source.folder / need).mkdir(parents=True)
    put_tokenizer(root, "bert-base-uncased")
    made = build_plan(
        Run.of([f"data={root}", f"runs={tmp_path / 'runs'}", "domains=[images,text]", "method=none,emix,rq"])
    )
    assert counts(made, "images", "pretrain") == (0, 1, 2) and counts(made, "images", "transfer") == (0, 1, 17)
    assert names(made)[:3] == [
        "prepare images",
        "pretrain images with none, seed 0",
        "transfer images with none, seed 0",
    ]
    assert made.jobs[2].run.options.tasks == ("dtd",)
    needed = {text.partition(" is not under")[0]: purposes for text, purposes in made.missing.items()}
    assert needed["ImageNet-1k (ILSVRC 2012)"] == ["images pretraining"]
    assert ["cifar10"] in needed.values() and len(needed) == 6
    # What the hub has may be had from there.
    assert counts(made, "text", "pretrain") == (0, 3, 0) and counts(made, "text", "transfer") == (0, 30, 0)


@pytest.mark.parametrize("empty", [False, True])
def test_what_has_no_tokenizer_waits_for_it(empty: bool, tmp_path: Path) -> None:
    """The hub is not asked in tests. A folder without a file is no tokenizer either."""
    root = tmp_path / "root"
    root.mkdir()
    words = [f"data={root}", f"runs={tmp_path / 'runs'}", "domains=[text,multilingual,vqa,sensor]", "method=none,rq"]
    put_tokenizer(root, "xlm-roberta-base")
    if empty:
        (root / "text/tokenizers/bert-base-uncased").mkdir()
    made = build_plan(Run.of(words))
    assert counts(made, "text", "pretrain") == (0, 0, 2) and counts(made, "text", "transfer") == (0, 0, 20)
    assert counts(made, "multilingual", "pretrain") == (0, 2, 0), "this one has its tokenizer"
    assert not [name for name in names(made) if " text" in name or " vqa" in name]
    ((said, purposes),) = [(text, needs) for text, needs in made.missing.items() if text.startswith("tokenizer")]
    assert said.startswith("tokenizer bert-base-uncased is missing: ") and purposes == ["text", "vqa"]
    shown = describe_plan(made)
    assert f"{root / 'text/tokenizers/bert-base-uncased'}" in said and f"  {said} (for text, vqa)\n" in f"{shown}\n"
    put_tokenizer(root, "bert-base-uncased")
    assert counts(build_plan(Run.of(words)), "text", "transfer") == (0, 20, 0)


def test_without_a_tokenizer_no_job_fails_and_the_cells_are_dashes(
    miniature: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "root"
    shutil.copytree(miniature("sensor"), root)
    words = [f"data={root}", f"runs={tmp_path / 'runs'}", f"out={tmp_path / 'out'}", "domains=[text,sensor]", *BUDGET]
    assert cli.main(["suite", *words, *SMALL, "methods=[none]", "suite.executor=in_process"]) == 0
    shown = capsys.readouterr()
    assert "failed" not in shown.out + shown.err and "  tokenizer bert-base-uncased is missing: " in shown.out
    (written,) = (tmp_path / "out").rglob("table.csv")
    lines = written.read_text().splitlines()
    assert [line.split(",")[4] for line in lines if line.startswith("text,")] == ["-"] * 10
    assert [line.split(",")[4] for line in lines if line.startswith("sensor,")] != ["-"]


@pytest.mark.parametrize(
    "words, expected",
    [
        (["tasks=[dtd,pamap2]"], {"images": ["dtd"], "sensor": ["pamap2"]}),
        (["tasks=[cifar10]", "domains=[images,sensor]"], {"images": ["cifar10"]}),
        (["domain=xray"], {"xray": ["chexpert", "xray8"]}),
        (["domain=xray", "domains=[sensor]"], {"sensor": ["pamap2"]}),
    ],
)
def test_domains_and_tasks_are_chosen_by_name(words: list[str], expected: dict[str, list[str]], tmp_path: Path) -> None:
    made = build_plan(Run.of([*words, "methods=[rq]", f"runs={tmp_path}"]))
    assert {domain: made.counts[domain, "transfer"]["to do"] for domain, _ in made.counts} == {
        domain: len(tasks) for domain, tasks in expected.items()
    }
    for job in made.jobs:
        if job.step == "transfer":
            assert [task.name for task in job.run.tasks] == expected[job.domain]


@pytest.mark.parametrize(
    "words, message",
    [
        (["tasks=[dtdd]"], "Did you mean 'dtd'"),
        (["tasks=[dtd]", "domains=[sensor]"], "unknown task of the chosen domains 'dtd'.*Known: pamap2"),
        (["checkpoint=some.ckpt"], "transfer domain=... checkpoint=file"),
    ],
)
def test_what_no_suite_can_do_is_refused(words: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=message):
        build_plan(Run.of([*words, f"runs={tmp_path}"]))


def test_a_dry_run_tells_counts_jobs_and_what_is_missing(finished: Run, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(finished.places.runs.rglob("*"))
    words = [*finished.words, "domains=[images,sensor]", "seeds=[0,1]"]
    assert cli.main(["suite", "--dry-run", *words]) == 0
    shown = capsys.readouterr().out
    counted = shown.partition("jobs left")[0].splitlines()
    rows = {line.split()[0]: line.split()[1:] for line in counted if line.startswith(("images", "sensor", "all"))}
    assert rows == {
        "images": ["1", "0", "2", "4", "0", "0", "36"],
        "sensor": ["1", "1", "5", "0", "1", "5", "0"],
        "all": ["2", "1", "7", "4", "1", "5", "36"],
    }
    assert "14 jobs left" in shown and "  transfer sensor with rq, seeds 0, 1\n" in shown and "CIFAR-10" in shown
    assert sorted(finished.places.runs.rglob("*")) == before


# ---- running -------------------------------------------------------------------------------------------------------


def test_a_suite_with_nothing_left_runs_nothing(finished: Run, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = suite(Run.of([*finished.words, "methods=[none]"]))
    assert outcome == Outcome(seconds=outcome.seconds) and capsys.readouterr().out == "nothing left to compute\n"


def unforeseen(*_: object) -> Any:
    return {}["no such thing"]


def not_finite(method: Any, *_: object) -> Any:
    return method.encoder.positions.sum() * torch.nan, {}


@pytest.mark.parametrize(
    ("loss", "why", "foreseen"),
    [
        (unforeseen, "KeyError: 'no such thing'", False),
        (not_finite, "TrainingError: the loss is not finite", True),
    ],
)
def test_a_pretraining_that_fails_costs_what_waits_for_it_and_nothing_else(
    loss: Callable[..., Any],
    why: str,
    foreseen: bool,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from dabs_rq.methods.emix import EMix

    monkeypatch.setattr(EMix, "loss", loss)
    code = cli.main(["suite", *run.words, "suite.executor=in_process", f"out={run.places.runs}"])
    shown = capsys.readouterr()
    assert code == 1
    assert f"  pretrain sensor with emix, seed 0: {why}" in shown.err
    assert ("Traceback" in shown.err) != foreseen
    assert "  transfer sensor with emix, seed 0 waits for pretrain sensor with emix, seed 0" in shown.out
    assert "[3/5] transfer sensor with emix, seed 0: waiting" in shown.out
    assert names(build_plan(run)) == ["prepare sensor", *(f"{step} sensor with emix, seed 0" for step in STEPS)]


def test_a_task_that_cannot_be_read_costs_itself_and_nothing_else(
    tmp_path: Path, miniature: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Splits.labelled

    def labelled(self: Splits, task: Task) -> tuple[Examples, Examples]:
        return {}["no such column"] if task.name == "dtd" else real(self, task)

    monkeypatch.setattr(Splits, "labelled", labelled)
    words = ["domains=[images]", "tasks=[dtd,cifar10]", "methods=[none]", "suite.executor=in_process"]
    outcome = suite(Run.of([*words, f"data={miniature('images')}", f"runs={tmp_path}", *SMALL, *BUDGET]))
    assert outcome.errors == ["transfer images with none, seed 0: dtd: KeyError: 'no such column'"]
    assert not outcome.waiting and [file.stem for file in tmp_path.rglob("records/**/*.json")] == ["cifar10"]


def test_a_table_that_cannot_be_written_is_told_beside_what_else_failed(
    finished: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(target: Path, text: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    monkeypatch.setattr(table, "write_text", full)
    words = [*finished.words, "methods=[none]", f"out={tmp_path}"]
    assert cli.main(["suite", *words]) == 1
    assert "failed (the others are done" in (shown := capsys.readouterr().err)
    assert "  the table: OSError: [Errno 28] No space left on device: " in shown and "table.csv" in shown
    assert cli.main(["table", *words]) == 1
    assert capsys.readouterr().err.startswith("error: [Errno 28] No space left on device: ")


def test_the_plan_agrees_with_what_the_jobs_themselves_keep(finished: Run, capsys: pytest.CaptureFixture[str]) -> None:
    one = finished.replace(method="none", domain="sensor")
    pretrain(one, 0)
    transfer(one, 0)
    assert "pretrained already" in (shown := capsys.readouterr().out) and "accuracy" not in shown


def test_an_interrupt_tells_what_is_left(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(jobs: list[Job], logs: Path | None) -> Iterator[tuple[Job, Outcome | None]]:
        yield jobs[0], None
        yield jobs[0], Outcome()
        raise KeyboardInterrupt

    monkeypatch.setattr(executors, "in_process", interrupted)
    assert cli.main(["suite", *run.words, "suite.executor=in_process"]) == 130
    shown = capsys.readouterr().err
    assert "4 of 5 jobs left" in shown and "  transfer sensor with rq, seed 0\n" in shown and "prepare" not in shown


def test_a_job_that_raises_anything_is_an_outcome() -> None:
    two = Run.of(["domain=sensor,text", "method=rq"])
    assert "OptionError" in run_job(Job("pretrain", "sensor", two, "rq")).errors[0]
