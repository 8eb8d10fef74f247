"""Transfer and the suite: both protocols, what is kept, what is refused, what is missing."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from dabs_rq import checkpoint, registry, table
from dabs_rq.data.examples import Examples
from dabs_rq.errors import CheckpointError, MissingDataError, OptionError, TrainingError
from dabs_rq.pretrain.pretrain import pretrain
from dabs_rq.records import record
from dabs_rq.run import Run
from dabs_rq.run.options import TransferOptions
from dabs_rq.run.splits import Splits
from dabs_rq.spec import Binary
from dabs_rq.suite.suite import suite
from dabs_rq.transfer import adamw, features, regression
from dabs_rq.transfer.scores import scores
from dabs_rq.transfer.transfer import transfer
from tests.test_pretrain import SMALL

FEW = (*SMALL, "transfer.max_examples=120", "pretrain.steps=2", "transfer.epochs=2", "transfer.also=[]")


@pytest.fixture
def run(tmp_path: Path, miniature: Callable[[str], Path], with_data: Callable[..., Path]) -> Callable[..., Run]:
    """run(domain, *words): a small run of `none`, on the miniature used as if it were real data."""

    def make(domain: str, *words: str) -> Run:
        words = (f"data={miniature(domain)}", *words)
        runs = with_data(tmp_path / "runs", domain)
        return Run.of([f"domain={domain}", "method=none", f"runs={runs}", *FEW, *words])

    return make


@pytest.mark.parametrize("protocol", ["corrected", "published"])
@pytest.mark.parametrize("domain", ["images", "sensor"])
def test_both_protocols_give_a_record_per_task_with_its_predictions(
    domain: str, protocol: str, run: Callable[..., Run]
) -> None:
    one = run(domain, f"protocol={protocol}")
    weights = checkpoint.describe(pretrain(one, 0))["weights"]
    files, errors = transfer(one, 0)
    assert not errors
    records = [record.read(file) for file in files]
    assert [r.task for r in records if r.split == "test"] == [task.name for task in one.domain.tasks]
    for file, found in zip(files, records, strict=True):
        assert found.status == "ok" and found.checkpoint == weights and found.protocol == protocol
        assert found.probe["probe"] == ("adamw" if protocol == "published" else "lbfgs")
        predictions = pq.read_table(file.with_suffix(".parquet"))
        assert predictions.num_rows == found.n_examples
        outputs = np.stack(predictions["output"].to_pylist())
        targets = predictions["target"].to_numpy()
        assert found.score == pytest.approx((outputs.argmax(1) == targets).mean())
        spare = next(task.unused_outputs for task in one.domain.tasks if task.name == found.task)
        classes = next(task.target.outputs for task in one.domain.tasks if task.name == found.task)
        assert outputs.shape[1] == classes + (spare if protocol == "published" else 0)


def test_published_trains_the_probe_on_features_with_dropout_and_corrected_without(
    run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[tuple[bool, int]] = []
    real = features.encode

    def watched(encoder: Any, raw: Any, of_tokens: bool) -> Any:
        modes.append((encoder.training, len(raw[0])))
        return real(encoder, raw, of_tokens)

    monkeypatch.setattr(features, "encode", watched)
    published = run("sensor", "protocol=published", "encoder.dropout=0.1")
    pretrain(published, 0)
    transfer(published, 0)
    per_epoch = 120 // 64
    assert sum(training for training, _ in modes) == published.options.transfer.epochs * per_epoch
    modes.clear()
    corrected = run("sensor", "encoder.dropout=0.1")
    pretrain(corrected, 0)
    transfer(corrected, 0)
    assert modes and not any(training for training, _ in modes)


def test_each_mode_is_an_option_alone_and_the_impossible_pair_is_refused(run: Callable[..., Run]) -> None:
    one = run("sensor", "transfer.probe=adamw")
    pretrain(one, 0)
    (file, *_), _ = transfer(one, 0)
    found = record.read(file)
    assert found.probe["probe"] == "adamw" and found.variant != "default"
    impossible = run("sensor", "transfer.features=reencode")
    with pytest.raises(OptionError, match="features=cached"):
        transfer(impossible, 0)


def test_finished_records_are_kept_and_features_shared(
    run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = run("sensor")
    pretrain(one, 0)
    files, _ = transfer(one, 0)
    before = [file.stat().st_mtime_ns for file in files if "@" not in file.name]
    monkeypatch.setattr(features, "extract", lambda *_, **__: pytest.fail("features were computed twice"))
    again, _ = transfer(one, 0)
    assert [file.stat().st_mtime_ns for file in again] == before
    other = run("sensor", "transfer.probe=adamw")  # another probe on the same features
    assert not transfer(other, 0)[1]


PROBES = TransferOptions().also
ALL = (f"transfer.also=[{','.join(PROBES)}]",)


@pytest.mark.parametrize("protocol", ["corrected", "published"])
def test_every_task_gets_a_record_of_each_probe(protocol: str, run: Callable[..., Run]) -> None:
    one = run("images", f"protocol={protocol}", "tasks=[dtd,cifar10]", *ALL)
    pretrain(one, 0)
    files, errors = transfer(one, 0)
    own = one.options.transfer.probe
    assert not errors and [file.name for file in files if "+" not in file.name] == [f"{t.name}.json" for t in one.tasks]
    for task in one.tasks:
        of_task = [(file, record.read(file)) for file in files if file.name.startswith(task.name)]
        assert [found.probe["probe"] for _, found in of_task] == list(dict.fromkeys([own, *PROBES]))
        for file, found in of_task:
            probe = found.probe["probe"]
            assert file.name == (f"{task.name}.json" if probe == own else f"{task.name}+{probe}.json")
            assert found.task == task.name and found.status == "ok" and found.split == "test"
            outputs = record.predictions(file).outputs
            assert found.score == pytest.approx((outputs.argmax(1) == record.predictions(file).targets).mean())
        splits = {(found.train_split, found.test_split, found.n_train) for _, found in of_task}
        assert len(splits) == 1, "all probes of a task see the same examples"


def test_without_further_probes_there_is_one_record_per_task(run: Callable[..., Run]) -> None:
    one = run("sensor", "transfer.also=[]")
    pretrain(one, 0)
    (file, *_), errors = transfer(one, 0)
    of_test = [kept.name for kept in file.parent.glob("*.json") if "@" not in kept.name]
    assert not errors and of_test == [file.name] == ["pamap2.json"]


def test_a_transfer_that_was_killed_computes_only_the_missing_probe(
    run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = run("sensor", *ALL)
    pretrain(one, 0)
    real = adamw.fit_adamw

    def killed(*arguments: Any, **more: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(adamw, "fit_adamw", killed)  # lbfgs is finished, adamw is not
    with pytest.raises(KeyboardInterrupt):
        transfer(one, 0)
    folder = one.record_file("pamap2", 0).parent
    before = {file.name: file.stat().st_mtime_ns for file in folder.iterdir() if file.suffix in (".json", ".parquet")}
    assert "pamap2.json" in before and not any("+" in name for name in before)
    monkeypatch.setattr(adamw, "fit_adamw", real)
    transfer(one, 0)
    assert {name: (folder / name).stat().st_mtime_ns for name in before} == before
    missing = folder / "pamap2+adamw.json"
    score = record.read(missing).score
    before = {file: file.stat().st_mtime_ns for file in folder.glob("pamap2*.json") if file != missing}
    assert folder / "pamap2+adamw_standardised.json" in before
    missing.unlink()
    files, errors = transfer(one, 0)
    assert not errors and missing in files and record.read(missing).score == score
    assert {file: file.stat().st_mtime_ns for file in before if "@" not in file.name} == {
        file: time for file, time in before.items() if "@" not in file.name
    }


@pytest.mark.parametrize("wrong", [ValueError("not foreseen"), TrainingError("not foreseen")])
def test_a_further_probe_that_fails_does_not_stop_the_others(
    run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, wrong: Exception
) -> None:
    one = run("images", "tasks=[dtd,cifar10]", *ALL)
    pretrain(one, 0)
    real, calls = adamw.fit_adamw, iter([True, False, False, False])

    def fail_once(*arguments: Any, **more: Any) -> Any:
        if next(calls):
            raise wrong
        return real(*arguments, **more)

    monkeypatch.setattr(adamw, "fit_adamw", fail_once)
    files, errors = transfer(one, 0)
    first, second = (task.name for task in one.tasks)
    assert len(errors) == 1 and re.match(rf"{first} \(adamw\): .*not foreseen", str(errors[0]))
    expected = [f"{first}.json", f"{first}+adamw_standardised.json"]
    expected += [f"{second}{probe}.json" for probe in ("", "+adamw", "+adamw_standardised")]
    assert [file.name for file in files] == expected


def test_only_the_published_probe_itself_encodes_again_in_every_epoch(
    run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    training: list[bool] = []
    real = features.encode

    def watched(encoder: Any, raw: Any, of_tokens: bool) -> Any:
        training.append(encoder.training)
        return real(encoder, raw, of_tokens)

    monkeypatch.setattr(features, "encode", watched)
    one = run("sensor", "protocol=published", "encoder.dropout=0.1", *ALL)
    pretrain(one, 0)
    files, errors = transfer(one, 0)
    assert not errors and {record.read(file).probe["probe"] for file in files} == set(PROBES)
    assert sum(training) == one.options.transfer.epochs * (120 // 64)
    further = [file for file in files if "+" in file.name]
    for file in further:
        file.unlink()
    training.clear()
    again, errors = transfer(one, 0)
    assert not errors and further and [file for file in again if "+" in file.name] == further
    assert not training, "the further probes read the features that are kept"


def test_features_of_other_heads_are_not_shared(run: Callable[..., Run]) -> None:
    """Weights of 4 heads of 16 and of 2 heads of 32 have the same shapes and, from a seed, the same values."""
    runs = [run("sensor", f"encoder.heads={heads}", f"encoder.head_width={64 // heads}") for heads in (4, 2)]
    weights = [checkpoint.describe(pretrain(one, 0))["weights"] for one in runs]
    assert weights[0] == weights[1] and runs[0].places.features("sensor") == runs[1].places.features("sensor")
    transfer(runs[0], 0)
    kept = set(runs[0].places.features("sensor").glob("*.npz"))
    transfer(runs[1], 0)
    others = set(runs[0].places.features("sensor").glob("*.npz")) - kept
    assert len(others) == len(kept)
    values = [sorted(float(np.load(file)["features"].sum()) for file in files) for files in (kept, others)]
    assert not np.allclose(*values)


@pytest.mark.parametrize("words", [("transfer.probe=adamw",), ("protocol=published",), ()])
def test_an_accelerator_that_was_chosen_reaches_features_and_probes(
    words: tuple[str, ...], run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = run("sensor", *words)
    pretrain(one, 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    # An optimizer of torch asks a GPU that is there about itself, wherever its parameters are.
    ask = "_accelerator_graph_capture_health_check"
    monkeypatch.setattr(torch.optim.Optimizer, ask, lambda self: None, raising=False)
    files, errors = transfer(one, 0)  # trainer.accelerator=cpu; a GPU that is not there would raise
    assert files and not errors
    assert features.device("auto").type == features.device("gpu").type == "cuda"
    assert features.device("cpu").type == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert features.device("auto").type == "cpu"
    with pytest.raises(OptionError, match=r"trainer\.accelerator=gpu, but this machine has no GPU"):
        features.device("gpu")


def test_each_score_of_a_record_is_computed_on_its_own(run: Callable[..., Run]) -> None:
    """Three examples: more than half of all resamples have no correlation, and so there is no standard error."""
    task = dataclasses.replace(
        Run.of(["domain=text"]).tasks[0], target=Binary(), metric="pearson", also=("accuracy", "matthews")
    )
    outputs, targets = np.array([5.0, 5.0, -1.0], np.float32), np.array([1, 0, 0])
    found = scores(run("sensor"), task, outputs, targets)
    assert found["status"] == "ok" and found.get("reason") is None and found["standard_error"] is None
    assert found["score"] == pytest.approx(0.5) and found["also"] == pytest.approx({"accuracy": 2 / 3, "matthews": 0.5})
    constant = scores(run("sensor"), task, np.ones(3, np.float32), targets)
    assert constant["status"] == "failed" and constant["score"] is None and "vary" in constant["reason"]
    assert constant["also"] == pytest.approx({"accuracy": 1 / 3, "matthews": 0.0})


def test_a_record_of_other_weights_or_a_broken_one_is_computed_again(run: Callable[..., Run]) -> None:
    one = run("sensor")
    pretrain(one, 0)
    (file, *_), _ = transfer(one, 0)
    whole = json.loads(file.read_text())
    for text in (json.dumps(whole | {"checkpoint": "other"}), file.read_text()[:50]):
        file.write_text(text)
        transfer(one, 0)
        assert record.read(file).score == whole["score"]
    beside = file.with_suffix(".parquet")
    kept = beside.read_bytes()
    for damage in (kept[:100], kept[:300] + b"\xff" * 8 + kept[308:], None):
        beside.unlink() if damage is None else beside.write_bytes(damage)
        transfer(one, 0)
        assert record.predictions(file).ids and record.read(file).score == whole["score"]


def test_a_damaged_feature_file_is_computed_again(run: Callable[..., Run], capsys: pytest.CaptureFixture[str]) -> None:
    one = run("sensor")
    pretrain(one, 0)
    (file, *_), _ = transfer(one, 0)
    score = record.read(file).score
    for damage in (lambda whole: whole[:200], lambda whole: whole[:-3000] + b"\0" * 8 + whole[-2992:]):
        file.unlink(missing_ok=True)
        for kept in one.places.features(one.domain.name).glob("*.npz"):
            kept.write_bytes(damage(kept.read_bytes()))
        transfer(one, 0)
        assert record.read(file).score == score and "is damaged; computing it again" in capsys.readouterr().out


def test_without_a_checkpoint_the_command_that_makes_it_is_named(run: Callable[..., Run], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="make pretrain DOMAIN=sensor METHOD=none SCALE=mini"):
        transfer(run("sensor"), 0)


def test_another_checkpoint_can_be_given_and_is_filed_under_its_hash(run: Callable[..., Run]) -> None:
    file = pretrain(run("sensor"), 3)
    weights = checkpoint.describe(file)["weights"]
    (found, *_), _ = transfer(run("sensor", f"checkpoint={file}"), 0)
    assert record.read(found).method == f"checkpoint-{weights}"
    images = run("images", f"checkpoint={file}")
    with pytest.raises(CheckpointError, match="another architecture"):
        transfer(images, 0)


@pytest.mark.parametrize(
    ("targets", "reason"), [([], "empty"), ([3] * 6, "only one class"), ([0, 1, 2, 3, 4, 55], "0 to 10 expected")]
)
def test_a_split_that_teaches_nothing_is_refused_with_the_reason(
    targets: list[int], reason: str, run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = run("sensor")
    pretrain(one, 0)
    (file, *_), _ = transfer(one, 0)
    file.unlink()
    real = Splits.labelled

    def changed(self: Splits, task: object) -> tuple[Examples, Examples]:
        train, test = real(self, task)  # type: ignore[arg-type]
        part = train.select(np.arange(len(targets)))
        return Examples(part.ids, part.inputs, np.array(targets, np.int64), part.groups), test

    monkeypatch.setattr(Splits, "labelled", changed)
    files, errors = transfer(one, 0)
    assert not files
    assert isinstance(errors[0], TrainingError) and reason in str(errors[0]) and "pamap2" in str(errors[0])


def test_no_probe_step_is_an_error(run: Callable[..., Run]) -> None:
    with pytest.raises(OptionError, match=r"transfer\.epochs is at least 1; got '0'"):
        run("sensor", "protocol=published", "transfer.epochs=0")


def test_the_suite_fills_the_table_and_then_has_nothing_to_do(
    run: Callable[..., Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "domains=[sensor]",
        f"runs={tmp_path / 'runs'}",
        f"out={tmp_path / 'out'}",
        "seeds=[0,1]",
        "suite.workers=1",
    ]
    one = run("sensor", *words).replace(method="rq", domain="sensor")
    outcome = suite(one)
    assert not outcome.missing and not outcome.errors
    first = capsys.readouterr().out
    suite(one)
    again = capsys.readouterr().out
    assert first.count("accuracy") > 0 and again == "nothing left to compute\n"


def test_what_is_not_there_is_a_dash_and_a_list(tmp_path: Path, miniature: Callable[[str], Path]) -> None:
    root = tmp_path / "root"
    shutil.copytree(miniature("images") / "natural_images/dtd", root / "natural_images/dtd")
    one = Run.of(
        [
            "scale=mini",
            f"data={root}",
            f"runs={tmp_path / 'runs'}",
            f"out={tmp_path / 'out'}",
            "trainer.progress=false",
            "suite.workers=1",
        ]
    )
    outcome = suite(one)
    assert not outcome.errors
    assert any("ImageNet" in text for text in outcome.missing) and any("PAMAP2" in text for text in outcome.missing)
    folder = table.write(one, table.build(one))
    cells = pd.read_csv(folder / "table.csv").set_index("task")[["none", "emix", "rq"]]
    # `none` needs no pretraining data, so the one task that is there has its cell.
    assert float(cells.loc["dtd", "none"]) > 0
    assert (cells.drop(index="dtd") == "-").all(axis=None) and (cells.loc["dtd", ["emix", "rq"]] == "-").all()
    with pytest.raises(MissingDataError, match="is not a folder"):
        Run.of(["domain=sensor", f"data={tmp_path / 'nowhere'}"])


def test_a_damaged_file_is_named_and_the_other_tasks_go_on(
    run: Callable[..., Run], tmp_path: Path, miniature: Callable[[str], Path]
) -> None:
    root = tmp_path / "root"
    shutil.copytree(miniature("images") / "natural_images", root / "natural_images")
    for picture in (root / "natural_images/dtd/dtd/images").rglob("*.jpg"):
        picture.write_bytes(picture.read_bytes()[:200])
    one = run("images", f"data={root}", "tasks=[dtd,cifar10]")
    pretrain(one, 0)
    files, errors = transfer(one, 0)
    assert [record.read(file).task for file in files] == ["cifar10"]
    assert len(errors) == 1 and str(errors[0]).startswith("dtd: ") and ".jpg" in str(errors[0])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (ValueError("not foreseen"), "ValueError: not foreseen"),
        (MemoryError("Unable to allocate 9 TiB"), r"out of memory \(Unable to allocate 9 TiB\)\. Run fewer jobs"),
        (torch.OutOfMemoryError("CUDA out of memory."), r"out of memory \(CUDA out of memory\.\)\. Run fewer jobs"),
    ],
)
def test_whatever_one_task_raises_the_others_go_on(
    run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, wrong: Exception, message: str
) -> None:
    one = run("images", "tasks=[dtd,cifar10]")
    pretrain(one, 0)
    fit, calls = regression.fit_regression, iter([True, False])

    def fail_once(*arguments: Any) -> Any:
        if next(calls):
            raise wrong
        return fit(*arguments)

    monkeypatch.setattr(regression, "fit_regression", fail_once)
    files, errors = transfer(one, 0)
    (first, second) = [task.name for task in one.tasks]
    assert [record.read(file).task for file in files] == [second]
    assert len(errors) == 1 and re.match(f"{first}: {message}", str(errors[0]))


def test_one_failing_cell_does_not_keep_the_others_from_going_on(
    run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dabs_rq.methods.emix import EMix

    monkeypatch.setattr(EMix, "loss", lambda *_: (_ for _ in ()).throw(RuntimeError("out of memory")))
    one = run("sensor", "method=none,emix,rq", "suite.workers=1")
    outcome = suite(one)
    assert len(outcome.errors) == 1 and "emix" in outcome.errors[0] and "out of memory" in outcome.errors[0]
    rq = one.replace(method="rq", domain="sensor")
    assert rq.checkpoint_file(0).exists()


@pytest.mark.slow
@pytest.mark.parametrize("domain", [domain.name for domain in registry.domains() if domain.tables])
def test_no_score_of_the_miniature_hangs_on_rounding(
    domain: str, tmp_path: Path, miniature: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Features of a random encoder that differ by 3e-7 of their size give the same score and strength."""
    words = (f"domain={domain}", "method=none", f"data={miniature(domain)}", "transfer.also=[]")
    run = Run.of([*words, f"runs={tmp_path}"])
    pretrain(run, 0)
    real, found = features.cached, []
    for draw in range(3):
        rng = np.random.default_rng(draw)

        def noisy(*arguments: Any, rng: np.random.Generator = rng, **named: Any) -> np.ndarray:
            exact = real(*arguments, **named)
            return np.asarray(exact * (1 + 3e-7 * rng.normal(size=exact.shape)), np.float32)

        monkeypatch.setattr(features, "cached", noisy)
        files, errors = transfer(run, 0)
        assert not errors
        found.append({r.task: r for r in map(record.read, files) if r.split == "test"})
        shutil.rmtree(files[0].parent)
    for task, first in found[0].items():
        assert first.score is not None and first.probe.get("converged", True), task
        for other in found[1:]:
            assert other[task].score == pytest.approx(first.score, abs=1e-4), task  # a pair of AUROC
            assert other[task].probe.get("strength") == first.probe.get("strength"), task
