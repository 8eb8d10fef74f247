"""The precision of pretraining: the default of scale=paper in both protocols, by what the device can do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dabs_rq import checkpoint
from dabs_rq.pretrain import precision as module
from dabs_rq.pretrain.precision import precision
from dabs_rq.pretrain.pretrain import pretrain
from dabs_rq.run import Run
from tests.test_pretrain import interrupt, run  # noqa: F401

PAPER = ("scale=paper", "data=.", "domain=sensor", "method=rq")


def device(monkeypatch: pytest.MonkeyPatch, *, cuda: bool, bfloat16: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bfloat16 or including_emulation)
    monkeypatch.setattr(module, "multiplies_bfloat16", lambda: bfloat16)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.parametrize(
    ("words", "cuda", "bfloat16", "expected"),
    [
        (("protocol=corrected",), True, True, "bf16-mixed"),
        (("protocol=corrected",), True, False, "16-mixed"),
        (("protocol=published",), True, True, "16-mixed"),
        (("protocol=corrected", "protocol.mixed_precision=float16"), True, True, "16-mixed"),
        (("protocol=corrected", "trainer.accelerator=cpu"), True, True, "bf16-mixed"),
        (("protocol=published",), False, True, "bf16-mixed"),
        (("protocol=corrected",), False, False, "32-true"),
        (("protocol=corrected", "trainer.precision=bf16-mixed"), True, False, "bf16-mixed"),
        (("scale=mini",), True, True, "32-true"),
    ],
)
def test_the_precision_follows_protocol_and_device(
    words: tuple[str, ...], cuda: bool, bfloat16: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    device(monkeypatch, cuda=cuda, bfloat16=bfloat16)
    assert precision(Run.of([*PAPER, *words]).options) == expected


def test_only_a_float16_of_choice_makes_another_variant() -> None:
    for words, default in (((), True), (("protocol.mixed_precision=float16",), False)):
        assert (Run.of([*PAPER, *words]).composed.variant(of_pretraining=True) == "default") is default


def test_a_checkpoint_says_its_precision_and_no_run_resumes_in_another(
    run: Callable[..., Run],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    one = run("sensor", "emix", "pretrain.steps=9", "pretrain.checkpoint_every=4", "trainer.precision=mixed")
    device(monkeypatch, cuda=False, bfloat16=False)
    interrupt(one, monkeypatch)
    device(monkeypatch, cuda=False, bfloat16=True)
    assert checkpoint.describe(pretrain(one, 0))["about"]["precision"] == "bf16-mixed"
    assert "it began in precision 32-true; this device gives bf16-mixed" in capsys.readouterr().out
