"""Two ranks (gloo, on processors) train what one process does; and what ends one of them ends both."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import psutil
import pytest
import torch
from torch import Tensor

from dabs_rq import checkpoint
from dabs_rq.errors import OptionError, TrainingError
from dabs_rq.methods import emix, rq
from dabs_rq.methods import losses as contrast
from dabs_rq.pretrain.launch import FAILURES, TORCHRUN
from dabs_rq.pretrain.pretrain import pretrain, source_batches
from dabs_rq.quantize import randomized_quantization
from dabs_rq.ranks import Ranks, detect_ranks
from dabs_rq.run import Run
from tests.ddp_ranks import gradients
from tests.stand_ins import heed_interrupts
from tests.test_pretrain import SMALL, losses

PARTS = (Ranks(0, 2), Ranks(1, 2))
# Name -> domain, method, and words of a run.
RUNS: dict[str, tuple[str, ...]] = {
    "indexed": ("domain=sensor", "method=rq", "pretrain.accumulate=2"),
    "streamed": ("domain=multilingual", "method=rq", "method.gradient=extremes", "method.p=0.5"),
    "mixed": ("domain=vqa", "method=emix"),
    "averaged": ("domain=sensor", "method=emix", "method.weighting=batch_mean", "method.frozen_embeddings=true"),
    "apart": ("domain=sensor", "method=rq", "trainer.gather_negatives=false", "method.views_together=false"),
    "undisturbed": (
        "domain=sensor",
        "method=emix",
        "encoder.dropout=0.1",
        "pretrain.steps=8",
        "pretrain.checkpoint_every=2",
    ),
    # Ranks have different numbers of real tokens, so means over them are not means of the ranks' means.
    "shuffled": ("domain=text", "method=shed"),
    "masked": ("domain=vqa", "method=mae", "method.encode=visible", "method.corruption_rate=0.5"),
    "predicted": ("domain=text", "method=capri"),
    "predicted-in-batch": ("domain=vqa", "method=capri", "method.negatives=batch"),
    # Without a GPU each rank normalises by its own half, so this is not what one process trains.
    "cropped": (
        "domain=imagenet",
        "encoder=resnet18",
        "encoder.stem=small",
        "encoder.width=8",
        "method=moco",
        "method.hidden=32",
        "method.dimension=16",
        "method.crops=whole",
    ),
    "apart-mixed": ("domain=sensor", "method=emix", "trainer.gather_negatives=false"),
}


def words(name: str, data: Path, runs: Path, *more: str) -> list[str]:
    small = (*SMALL, "pretrain.steps=4", "encoder.dropout=0")
    if any(word.startswith("encoder=") for word in RUNS[name]):  # these are the transformer's options
        small = tuple(word for word in small if not word.startswith("encoder."))
    return [f"data={data}", f"runs={runs}", *small, *RUNS[name], *more]


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory, miniature: Callable[[str], Path]) -> Path:
    """A folder where two ranks that torchrun started pretrained every one of RUNS, with their gradients."""
    folder = tmp_path_factory.mktemp("together")
    given = {name: words(name, miniature(domain_of(name)), folder / name, "trainer.devices=2") for name in RUNS}
    (folder / "runs.json").write_text(json.dumps(given))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*torchrun, "-m", "tests.ddp_ranks", str(folder / "runs.json")],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    (folder / "stdout").write_text(done.stdout)
    return folder


def domain_of(name: str) -> str:
    return RUNS[name][0].removeprefix("domain=")


def as_two_halves(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Make one process do what two ranks do by definition: partners, and negatives that are not gathered, are those of
    the same half of a batch."""

    def permutation(_: Ranks, rows: int, generator: torch.Generator) -> Tensor:
        half = rows // 2
        return torch.cat([start + torch.randperm(half, generator=generator) for start in (0, half)])

    def halved_nce(a: Tensor, b: Tensor, temperature: float) -> tuple[Tensor, ...]:
        parts = [contrast.info_nce(*pair, temperature) for pair in zip(a.chunk(2), b.chunk(2), strict=True)]
        return tuple(sum(values) / 2 for values in zip(*parts, strict=True))  # type: ignore[misc]

    def halved_emix(z_mix: Tensor, z: Tensor, share: Tensor, partner: Tensor, *rest: object) -> Tensor:
        halves = zip(z_mix.chunk(2), z.chunk(2), share.chunk(2), (partner % (len(z) // 2)).chunk(2), strict=True)
        return sum(whole(*half, *rest) for half in halves) / 2  # type: ignore[return-value]

    whole = emix.emix_loss
    monkeypatch.setattr(Ranks, "permutation", permutation)
    if name.startswith("apart"):
        monkeypatch.setattr(rq, "info_nce", halved_nce)
        monkeypatch.setattr(emix, "emix_loss", halved_emix)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in RUNS if name not in ("undisturbed", "cropped")])
def test_two_ranks_train_what_one_process_does(
    name: str, together: Path, tmp_path: Path, miniature: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    as_two_halves(monkeypatch, name)
    data = miniature(domain_of(name))
    both, alone = Run.of(words(name, data, together / name)), Run.of(words(name, data, tmp_path))
    found, expected = torch.load(together / f"{name}.pt"), gradients(alone, Ranks())
    assert found.keys() == expected.keys()
    for key, gradient in expected.items():
        torch.testing.assert_close(found[key], gradient, rtol=1e-4, atol=1e-5 * float(gradient.abs().max()), msg=key)

    pretrain(alone, 0)
    assert len(losses(alone)) == 4 and losses(both) == pytest.approx(losses(alone), rel=1e-5)
    trained = [checkpoint.load_encoder(one.checkpoint_file(0), inputs=one.inputs).state_dict() for one in (both, alone)]
    assert trained[0].keys() == trained[1].keys()
    for key, weights in trained[1].items():
        torch.testing.assert_close(trained[0][key], weights, rtol=1e-3, atol=1e-5, msg=key)


@pytest.mark.slow
def test_two_ranks_train_on_crops_of_whole_pictures(together: Path, miniature: Callable[[str], Path]) -> None:
    both = Run.of(words("cropped", miniature("imagenet"), together / "cropped", "trainer.devices=2"))
    assert len(losses(both)) == 4 and all(map(math.isfinite, losses(both)))


@pytest.mark.slow
def test_the_first_rank_alone_tells_and_writes(together: Path) -> None:
    told = (together / "stdout").read_text()
    assert told.count("wrote ") == told.count(" steps of 8") == len(RUNS)
    for name in RUNS:
        assert (
            len(list((together / name).rglob("metrics.csv")))
            == len(list((together / name).rglob("*.safetensors")))
            == 1
        )
        assert not list((together / name).rglob("*.ckpt"))
        (file,) = (together / name).rglob("*.safetensors")
        assert checkpoint.describe(file)["about"]["options"]["trainer.devices"] == 2


FRAIL = '''
"""e-Mix that fails on the second rank at its third batch, as a file beside it says: kill, raise or nan."""
import os, signal
from pathlib import Path
from dataclasses import dataclass
from dabs_rq.methods import emix
from dabs_rq.methods.base import MethodSpec

@dataclass(frozen=True)
class Options(emix.Options):
    pass

class Frail(emix.EMix):
    batches = 0

    def loss(self, batch, generator):
        self.batches += 1
        loss, logs = super().loss(batch, generator)
        if self.batches == 3 and batch.ranks.rank == 1:
            how = Path(__file__).with_name("how").read_text()
            if how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if how == "raise":
                raise ZeroDivisionError("by a test")
            if how == "nan":
                loss = loss * float("nan")
        return loss, logs

METHOD = MethodSpec(name="frail", title="Frail", options=Options, build=Frail, protocol=emix.EMixProtocol)
'''


@pytest.mark.slow
def test_what_ends_one_rank_is_told_here_and_the_resumed_run_is_as_an_undisturbed_one(
    together: Path,
    tmp_path: Path,
    miniature: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "frail.py").write_text(FRAIL)
    monkeypatch.setenv("DABS_RQ_PATH", str(tmp_path))
    undisturbed = Run.of(words("undisturbed", miniature("sensor"), together / "undisturbed"))
    run = Run.of([*words("undisturbed", miniature("sensor"), tmp_path / "runs", "trainer.devices=2"), "method=frail"])
    for how, text in (
        ("kill", "^rank 1 of 2: killed: by SIGKILL"),
        ("raise", "^rank 1 of 2: ZeroDivisionError: by a test"),
        ("nan", "^the loss is not finite at step 6: its inputs .* diverged"),
    ):
        (tmp_path / "methods" / "how").write_text(how)
        with pytest.raises(TrainingError, match=text):
            pretrain(run, 0)
        told = capfd.readouterr()
        assert ("ZeroDivisionError" in told.err) == (how == "raise") and "ChildFailedError" not in told.err
        assert not run.checkpoint_file(0).exists()
    (tmp_path / "methods" / "how").write_text("not")
    pretrain(run, 0)
    assert "resuming from step 6" in capfd.readouterr().out
    assert losses(run) == losses(undisturbed) and len(losses(run)) == 8
    weights = [checkpoint.describe(one.checkpoint_file(0))["weights"] for one in (run, undisturbed)]
    assert weights[0] == weights[1]


@pytest.mark.slow
@pytest.mark.parametrize(("end", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_ranks_end_with_the_process_that_started_them(
    end: signal.Signals, code: int, tmp_path: Path, miniature: Callable[[str], Path]
) -> None:
    long = words("indexed", miniature("sensor"), tmp_path, "trainer.devices=2", "pretrain.checkpoint_every=1")
    command = [sys.executable, "-m", "dabs_rq", "pretrain", *long, "pretrain.steps=1000000"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=heed_interrupts
    ) as process:
        assert process.stdout is not None
        waiting = time.monotonic() + 300
        while not list(tmp_path.rglob("resume.ckpt")) and time.monotonic() < waiting:
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.1)
        process.send_signal(end)
        told = process.stdout.read()  # ends when the last process that can write to it has ended
    assert process.returncode == code
    assert ("run the same command again to resume" in told) == (end == signal.SIGINT)
    assert told.count("to resume") <= 1 and "Traceback" not in told


def test_ranks_see_the_parts_of_the_same_batches(miniature: Callable[[str], Path]) -> None:
    for domain in ("sensor", "multilingual"):
        run = Run.of([f"domain={domain}", f"data={miniature(domain)}", "loader.prepare=never", *SMALL])
        batches = source_batches(run, seed=1)
        whole = [one[0] for one in islice(batches.loader(3), 12)]
        parts = [[one[0] for one in islice(batches.loader(3, ranks=ranks), 12)] for ranks in PARTS]
        for inputs, *halves in zip(whole, *parts, strict=True):
            for column, *own in zip(inputs, *halves, strict=True):
                assert len(own[0]) == 4 and torch.equal(torch.cat(own), column)


def test_parts_of_a_quantized_batch_are_those_of_the_whole() -> None:
    x = torch.randn(6, 5, 4, generator=torch.Generator().manual_seed(0))

    def view(x: Tensor, **part: tuple[int, int]) -> Tensor:
        generator = torch.Generator().manual_seed(1)
        return randomized_quantization(x, 4, channel_dim=2, p=0.5, generator=generator, **part)

    assert torch.equal(torch.cat([view(x.chunk(3)[i], part=(i, 3)) for i in range(3)]), view(x))


def test_batches_that_the_devices_cannot_share_are_refused(miniature: Callable[[str], Path]) -> None:
    for domain in ("sensor", "multilingual"):
        run = Run.of(
            [f"domain={domain}", f"data={miniature(domain)}", "loader.prepare=never", *SMALL, "trainer.devices=3"]
        )
        with pytest.raises(OptionError, match=r"3 devices .* has 8 examples: give a pretrain\.batch_size"):
            pretrain(run, 0)


def test_which_rank_this_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(*words: str, **environment: str) -> Ranks:
        with monkeypatch.context() as patched:
            for name, value in environment.items():
                patched.setenv(name, value)
            trainer = Run.of(words).options.trainer
            return detect_ranks(trainer.devices, trainer.nodes, trainer.gather_negatives)

    assert found() == found("trainer.devices=8") == Ranks()
    torchrun = {"RANK": "3", "WORLD_SIZE": "16"}
    assert found("trainer.devices=8", "trainer.nodes=2", **torchrun) == Ranks(3, 16)
    with pytest.raises(OptionError, match=r"16 processes .* trainer\.devices=8 x trainer\.nodes=1"):
        found("trainer.devices=8", **torchrun)
    srun = {"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "16", "SLURM_STEP_NUM_NODES": "2"}
    assert found("trainer.devices=8", "trainer.nodes=2", "trainer.gather_negatives=false", **srun) == Ranks(
        3, 16, False
    )
    assert found("trainer.devices=2", SLURM_PROCID="1", SLURM_STEP_NUM_TASKS="2", SLURM_STEP_NUM_NODES="2") == Ranks()
    with pytest.raises(OptionError, match=r"trainer\.nodes=2: start .* torchrun --nnodes=2"):
        found("trainer.devices=8", "trainer.nodes=2")


RANK = """
import os, sys, time
from dabs_rq.pretrain.launch import report_errors
torchrun = os.getppid()
if early := sys.argv[1] == "while starting":
    print(os.getpid(), flush=True)
while early and os.getppid() == torchrun:
    time.sleep(0.1)
with report_errors(0):
    print(os.getpid(), flush=True)
    time.sleep(120)
"""


@pytest.mark.parametrize("when", ["while starting", "later"])
def test_a_rank_ends_when_torchrun_was_killed(when: str, tmp_path: Path) -> None:
    """Here its parent is any process that waits for it."""
    code = (
        "import os, subprocess, sys\n"
        f"os.environ[{TORCHRUN!r}] = str(os.getpid())\n"
        f"subprocess.run([sys.executable, '-c', {RANK!r}, {when!r}])"
    )
    environment = os.environ | {FAILURES: str(tmp_path / "failures")}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        rank = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
        rank.wait(30)
