"""What a suite is estimated to cost, against hand-made numbers and a step that is really computed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from dabs_rq import registry
from dabs_rq.encoders.base import Encoder
from dabs_rq.encoders.embed import to_model_input
from dabs_rq.methods.base import Batch, Method
from dabs_rq.pretrain.pretrain import build, pretrain, source_batches
from dabs_rq.run import Run
from dabs_rq.suite import calibrate, cost, estimate


def costs(*words: str) -> dict[str, cost.Cost]:
    return {one.domain: one for one in cost.costs(Run.of(words))}


def test_the_published_budget_by_hand(tmp_path: Path) -> None:
    images = costs("scale=paper", f"data={tmp_path}", "domains=[images]", "methods=[none,rq]")["images"]
    tokens, width, inner, mlp, depth = 14 * 14, 256, 512, 512, 12
    embedding = tokens * 16 * 16 * 3 * width
    block = (tokens + 1) * (3 * width * inner + inner * width + 2 * width * mlp) + 2 * (tokens + 1) ** 2 * inner
    forward = 2 * (embedding + depth * block)  # a multiplication and an addition
    encoded = 50_000 + 10_000 + 5994 + 5794 + 6507 + 1682 + 3760 + 1880 + 39_209 + 6667 + 3333
    assert images.encoding == pytest.approx(encoded * forward)
    assert list(images.pretraining) == ["rq"]  # none has no steps
    two_views_both_ways = 100_000 * 64 * 6 * forward
    assert images.pretraining["rq"] == pytest.approx(two_views_both_ways, rel=0.02)
    assert images.prepared == (1_281_167 + encoded) * 224 * 224 * 3
    assert images.unknown == ()


def test_a_limit_of_examples_counts_and_what_is_not_declared_is_named(tmp_path: Path) -> None:
    assert costs("domains=[multilingual]", "methods=[none]")["multilingual"].unknown == ()
    streamed = costs("scale=paper", f"data={tmp_path}", "domains=[multilingual]", "methods=[none]")["multilingual"]
    (source,) = streamed.unknown
    assert "mC4" in source
    assert streamed.prepared == 7 * (49_401 + 2000) * 128 * 4
    limits = ("transfer.max_examples=10", "pretrain.max_examples=5")
    few = costs("domains=[images]", "methods=[none]", "tasks=[dtd]", *limits)
    assert few["images"].prepared == (10 + 10 + 5) * 32 * 32 * 3


@pytest.mark.parametrize("method", [name for name in registry.method_names() if registry.method(name).trains])
def test_operations_are_those_of_a_real_step(method: str, tmp_path: Path, with_data: Callable[..., Path]) -> None:
    of_pictures = registry.method(method).encoder is Encoder
    pictures = ["domain=imagenet", "encoder=resnet18", "encoder.width=8", "pretrain.batch_size=4"]
    words = pictures if of_pictures else ["domain=sensor", "encoder.depth=4"]
    runs = with_data(tmp_path, words[0].removeprefix("domain="))
    run = Run.of([*words, f"method={method}", f"runs={runs}"])
    encoder, module = build(run, 0)
    inputs, _ = source_batches(run, 0).batch(0)
    # Torch counts attention only in the kernel that is made of matrix products.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        targets = torch.zeros(len(inputs[0])) if module.reads_targets else None
        batch = Batch(tuple(map(to_model_input, inputs)), encoder, targets=targets)
        module.loss(batch, torch.Generator().manual_seed(0))[0].backward()
    estimated = cost.Operations(run).training(run.inputs, method) * len(inputs[0])
    assert estimated == pytest.approx(counter.get_total_flops(), rel=0.01)


def test_a_method_that_needs_several_blocks_is_counted_with_all_of_them() -> None:
    after = "method.level=embedding", "method.gradient=straight_through"
    found = [costs("domain=digits", "method=rq", *after, f"method.after_block={block}")["digits"] for block in (1, 3)]
    assert found[0].pretraining["rq"] == pytest.approx(found[1].pretraining["rq"]) and found[0].pretraining["rq"] > 0


def test_the_description_has_totals_and_what_was_measured(tmp_path: Path, with_data: Callable[..., Path]) -> None:
    words = ["domains=[sensor]", "methods=[none,rq]", f"runs={with_data(tmp_path, 'sensor')}", "pretrain.steps=2"]
    assert "finished pretrainings" not in estimate.describe(Run.of(words))
    pretrain(Run.of([*words, "domain=sensor", "method=rq", "trainer.progress=false"]), 0)
    text = estimate.describe(Run.of(words))
    assert "1 finished pretrainings here ran at" in text and "2 x 64" in text and "suite.gpu_tflops" in text


def test_named_gpus_and_a_measured_step(tmp_path: Path) -> None:
    words = ["domains=[sensor,text]", "methods=[none,emix,rq]", f"runs={tmp_path}", "encoder.depth=1"]
    words.append("trainer.accelerator=cpu")
    plain = estimate.describe(Run.of(words))
    assert "H100" in plain and "measured on" not in plain
    text = estimate.describe(Run.of([*words, "suite.calibrate=always"]))
    lines = text[text.index("measured on the processor") :].replace(",", "").splitlines()
    rows = [line.split() for line in lines if line.startswith(("sensor", "text"))]
    assert [row[:2] for row in rows] == [[domain, method] for domain in ("text", "sensor") for method in ("emix", "rq")]
    for _, _, milliseconds, rate, hours in rows:
        assert 0 < float(rate) < 100  # of a processor, TFLOP/s
        assert float(hours) == pytest.approx(40 * float(milliseconds.replace(",", "")) / 3.6e6, rel=0.1)  # 40 steps


def test_cells_are_estimated_as_a_suite_and_a_shared_checkpoint_counts_once(tmp_path: Path) -> None:
    words = [f"runs={tmp_path}", "encoder.depth=1", "trainer.accelerator=cpu", "pretrain.steps=7200"]
    run = Run.of([*words, "domain=sensor", "method=emix", "suite.calibrate=always"])
    cells = [("plain", run), ("other probe", run.replace({"transfer.strengths": [1.0]}))]
    cells.append(("all of one length", run.replace(domain="digits")))
    text = estimate.describe_cells(cells).replace(",", "")
    lines = [re.split(r"\s{2,}", line) for line in text.splitlines()]
    first, second, third = (line for line in lines if len(line) == 9 and line[0].startswith(("sensor:", "digits:")))
    assert [first[0], second[0], third[0]] == ["sensor: plain", "sensor: other probe", "digits: all of one length"]
    (total,) = (line for line in lines if line[0] == "all")
    assert float(second[3]) == 0 < float(first[3])
    assert float(total[2]) == pytest.approx(float(first[3]) + float(third[3]), rel=0.1)
    assert "H100" in text and "A checkpoint that several cells use is counted for the first of them." in text
    measured = [line for line in lines if len(line) == 5 and line[1] == "emix"]
    assert [line[0] for line in measured] == [first[0], third[0]]
    hours = sum(float(line[4]) for line in measured)
    (said,) = re.findall(r"pretraining takes (\S+) hours in sequence at these rates", text)
    assert float(said) == pytest.approx(hours, rel=0.1) and hours > 0


@pytest.mark.parametrize(("precision", "half"), [("mixed", True), ("bf16-mixed", True), ("32-true", False)])
def test_a_measured_step_computes_in_the_precision_of_a_training(
    precision: str, half: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dabs_rq.pretrain.precision.multiplies_bfloat16", lambda: True)
    seen, loss = set(), Method.loss

    def watched(*given: Any) -> Any:
        seen.add(torch.is_autocast_enabled("cpu"))
        return loss(*given)

    monkeypatch.setattr(Method, "loss", watched)
    words = ["domain=sensor", "method=emix", f"runs={tmp_path}", "encoder.depth=1", f"trainer.precision={precision}"]
    run = Run.of([*words, "trainer.accelerator=cpu"])
    calibrate.measure(run, run.inputs, "emix", run.method.options, 2)
    assert seen == {half}


def test_the_hours_on_a_named_gpu_by_hand() -> None:
    assert "H100 12," in estimate._on_named_gpus(8400)  # 8400e15 / (0.2 * 989e12) / 3600 = 11.8
