"""Benchmarks compare things that compute the same; what they measure goes into whole files. Nothing here is timed."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import __main__ as bench
from benchmarks import encoder, everyday, images, probe, quantizer, report, sensor, speech, step, transfer
from benchmarks.measure import Line, Spread, Target, extra_bytes, interleaved
from dabs_rq.data.prepared import Store
from dabs_rq.encoders.transformer import Transformer
from dabs_rq.methods.base import Batch
from dabs_rq.spec import Grid, Series
from dabs_rq.transfer import features
from dabs_rq.transfer.features import CachedFeatures

SMALL_IMAGE = Grid(name="image", height=8, width=8, channels=3, patch=4)
SMALL_STEP = step.Sizes(image=SMALL_IMAGE, width=16, depth=1, batch=2)
SMALL_SERIES = Series(name="sensor", length=20, channels=3, segment=5)
FIELDS = {
    *("what", "baseline", "unit", "ours", "theirs", "ratio", "target", "reached", "threads", "extrapolated"),
    *("note", "skipped", "date", "commit", "load"),
}


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """A run sets the number of threads; the next test has its own."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


# ---- both sides compute the same ---------------------------------------------------------------------------------


def test_dense_quantizer_is_ours_given_the_same_draws() -> None:
    x, draws = quantizer.draw((3, 11, 5))
    assert torch.equal(quantizer.dense(x, draws), quantizer.quantized(x, draws))


def test_dense_quantizer_has_our_gradient() -> None:
    x, draws = quantizer.draw((3, 11, 5))
    upstream = torch.randn_like(x)
    gradients = []
    for function in (quantizer.dense, quantizer.quantized):
        given = x.clone().requires_grad_()
        function(given, draws).backward(upstream)
        gradients.append(given.grad)
    torch.testing.assert_close(*gradients)


def test_the_step_of_dabs_has_our_loss_and_gradient() -> None:
    torch.manual_seed(0)
    sizes = dataclasses.replace(SMALL_STEP, dropout=0.0)
    ours = step.build(sizes.encoder(), "emix")
    theirs = step.DABSEMix(ours.options, encoder.with_einsum(ours.encoder), ours.inputs)
    inputs, found = (torch.rand(4, *SMALL_IMAGE.shape),), []
    for method in (ours, theirs):
        loss, _ = method.loss(Batch(inputs, method.encoder), torch.Generator().manual_seed(1))
        loss.backward()
        found.append([loss.detach(), *(one.grad for one in method.parameters())])
    torch.testing.assert_close(*found)


def test_operations_of_a_step_are_those_of_its_products() -> None:
    """Three times those of a forward pass of two views, but for the embedding, whose inputs need no gradient."""
    rows, tokens, width, inner, hidden = 2 * SMALL_STEP.batch, 5, SMALL_STEP.width, 8 * 64, 512
    patches = rows * (tokens - 1) * 4 * 4 * 3 * width
    block = rows * tokens * (3 * width * inner + inner * width + 2 * width * hidden) + 2 * rows * tokens**2 * inner
    head, losses = rows * width * 128, SMALL_STEP.batch**2 * 128
    assert step.operations(SMALL_STEP) == 2 * (2 * patches + 3 * (block + head + losses))


def test_a_step_changes_every_trained_parameter() -> None:
    method = step.build(SMALL_STEP.encoder())
    before = [one.detach().clone() for one in method.parameters()]
    step.training(method, method.loss, SMALL_STEP, half=False)()
    for one, (name, parameter) in zip(before, method.named_parameters(), strict=True):
        assert torch.equal(one, parameter) != parameter.requires_grad, name


def test_einsum_encoder_has_our_output_and_gradient() -> None:
    ours = Transformer((SMALL_IMAGE,), width=16, depth=2, heads=2, head_width=8, mlp_width=32, dropout=0.0)
    twin = encoder.with_einsum(ours)
    assert any(isinstance(module, encoder.EinsumAttention) for module in twin.modules())
    assert not any(isinstance(module, encoder.EinsumAttention) for module in ours.modules())
    x = torch.rand(2, *SMALL_IMAGE.shape)
    torch.testing.assert_close(ours((x,)), twin((x,)))
    for model in (ours, twin):
        model((x,)).square().mean().backward()
    for (name, parameter), other in zip(ours.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, other.grad, msg=name)


def test_einsum_attention_keeps_to_the_mask() -> None:
    ours = Transformer((SMALL_IMAGE,), width=16, depth=1, heads=2, head_width=8, mlp_width=32, dropout=0.0)
    tokens = torch.rand(2, SMALL_IMAGE.sequence_length, 16)
    mask = torch.tensor([[True, True, False, True], [True, False, False, False]])
    torch.testing.assert_close(ours.encode(tokens, mask), encoder.with_einsum(ours).encode(tokens, mask))


def test_features_encoded_in_every_epoch_are_those_kept() -> None:
    examples = transfer.made_up(23, SMALL_SERIES)
    model = Transformer((SMALL_SERIES,), width=16, depth=1, heads=2, head_width=8, mlp_width=32)
    kept = CachedFeatures(features.extract(model, examples), examples.targets, 5, seed=0)
    again = transfer.EveryEpoch(model.cpu(), examples, 5, seed=0)
    for epoch in (0, 1):
        for (a, targets), (b, same) in zip(kept.epoch(epoch), again.epoch(epoch), strict=True):
            torch.testing.assert_close(a.cpu(), b)
            assert torch.equal(targets.cpu(), same)


@pytest.mark.slow
def test_fluent_tasks_share_their_inputs(tmp_path: Path, miniature) -> None:
    (tmp_path / "data").symlink_to(miniature("speech"))
    tasks = transfer.fluent(tmp_path, limit=4)
    assert len(tasks) == 3
    for part in (0, 1):
        assert len({task[part].inputs_key for task in tasks}) == 1
        assert len(tasks[0][part]) == 4
    assert len({task[0].targets.tobytes() for task in tasks}) > 1


def test_windows_of_data_frames_are_ours(tmp_path: Path) -> None:
    sensor.write(tmp_path, rows=12_000)
    ours, frames = sensor.examples(tmp_path, draws="cloned"), sensor.frames(tmp_path)
    state = np.random.RandomState(0)  # what the draws of the published protocol start from
    found = ours.inputs[0].take(np.arange(40))
    for row in range(40):
        np.testing.assert_allclose(np.nan_to_num(sensor.window(frames, state.randint)), found[row], rtol=1e-6)


def test_spectrograms_decoded_one_by_one_are_those_prepared(tmp_path: Path) -> None:
    speech.write(tmp_path / "clips", clips=3, seconds=0.5)
    prepared = Store(tmp_path / "prepared", policy="always").prepare(speech.column(tmp_path / "clips", 3, rows=5))
    rows = prepared.take(np.arange(5)).astype(np.float32)
    for row in range(5):
        alone = speech.spectrogram(tmp_path / "clips" / f"{row % 3:05d}.flac").astype(np.float32)
        np.testing.assert_allclose(rows[row], alone, atol=4e-3)  # a unit in the last place of float16 below 4


# ---- how it is measured ------------------------------------------------------------------------------------------


def test_runs_take_turns() -> None:
    seen: list[str] = []
    spreads = interleaved(lambda: seen.append("a"), lambda: seen.append("b"), repeats=3, warm_up=False)
    assert seen == ["a", "b"] * 3
    assert [spread.repeats for spread in spreads] == [3, 3]
    assert all(spread.lower <= spread.median <= spread.upper for spread in spreads)


def test_extra_bytes_counts_what_lives_beside_the_result() -> None:
    x = torch.zeros(1 << 20)
    assert extra_bytes(lambda: x + 1) < 1 << 16
    one_more = extra_bytes(lambda: (x + 1) + 1)
    assert abs(one_more - 4 * x.numel()) < 1 << 16


@pytest.mark.parametrize(
    ("target", "reached"),
    [
        (Target("ratio", 4), True),
        (Target("ratio", 5), False),
        (Target("ours", 1, at_least=False), True),
        (Target("ours", 0.4, at_least=False), False),
        (None, None),
    ],
)
def test_target(target: Target | None, reached: bool | None) -> None:
    ours, theirs = Spread.of([0.4, 0.5, 0.9]), Spread.of([2.0, 1.9, 2.1])
    line = Line(what="", baseline="", ours=ours, theirs=theirs, target=target)
    assert line.ratio == pytest.approx(4)
    assert line.reached is reached


# ---- what is written ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_everyday_lines_measure_real_commands(tmp_path: Path) -> None:
    """A table of records under made-up seeds must show them all: a record that is refused would cost no time."""
    for line in (everyday.table(tmp_path, records=12, repeats=1), everyday.table(tmp_path, unit="MB", repeats=1)):
        assert line.ours is not None and line.ours.median > 0
    shown = (tmp_path / "out").rglob("table.csv")
    rows = list(csv.DictReader(next(shown).open(encoding="utf-8")))
    (row,) = [one for one in rows if one["task"] == "pamap2"]
    assert [row[f"{name}_seeds"] for name in ("none", "emix", "rq", "raw")] == ["850"] * 4
    cold, warm = (everyday.job(tmp_path, warm=warm, repeats=1).ours for warm in (False, True))
    assert cold is not None and warm is not None and warm.median < cold.median


def tiny_lines() -> dict[str, bench.Measure]:
    return {
        "quantizer-forward": partial(quantizer.forward, shape=(2, 5, 3), repeats=2),
        "quantizer-backward": partial(quantizer.backward, shape=(2, 5, 3), repeats=2),
        "quantizer-memory": partial(quantizer.memory, shape=(2, 5, 3), repeats=1),
        "encoder": partial(encoder.step, image=SMALL_IMAGE, width=16, depth=1, batch=2, repeats=1),
        "step-float32": partial(step.of_gemm_rate, sizes=SMALL_STEP, square=16, repeats=1),
        "step-dabs": partial(step.of_dabs, sizes=SMALL_STEP, repeats=1),
        "probe-small": partial(probe.small, count=60, width=5, classes=3, repeats=1),
        "probe-voxceleb": partial(probe.large, count=200, width=5, classes=6),
        "transfer-one-task": partial(transfer.one_task, sizes=(70, 8), width=8, depth=1, epochs=2, repeats=1),
        "image-batches": partial(images.batches, images=8, pixels=4, batch=4, repeats=1),
    }


def test_lines_write_both_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = tiny_lines()
    bench.run(lines, tmp_path, list(lines))
    results = json.loads((tmp_path / "results.json").read_text())
    assert results.keys() == {"date", "machine", "threads", "torch", "lines"}
    assert results["torch"] == torch.__version__
    assert {"versions", "hardware", "processor", "processors"} <= results["machine"].keys()
    assert list(results["lines"]) == list(lines)
    for one in results["lines"].values():
        assert one.keys() == FIELDS
        assert one["ours"].keys() == {"median", "lower", "upper", "repeats"}
        assert one["reached"] in (True, False)
    assert results["lines"]["transfer-one-task"]["extrapolated"] is True
    assert results["lines"]["quantizer-forward"]["extrapolated"] is False
    table = (tmp_path / "results.md").read_text()
    printed = capsys.readouterr().out
    for name in lines:
        assert f"| {name} |" in table
        assert f"**{name}**" in table
        assert f"{name}: " in printed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.json", "results.md"]


def test_a_line_measured_again_replaces_itself_alone(tmp_path: Path) -> None:
    order = ["first", "second"]
    for name, seconds in (("second", 1.0), ("first", 2.0), ("second", 3.0)):
        report.save(tmp_path, name, Line(what="w", baseline=None, ours=Spread.of([seconds])), order)
    lines = json.loads((tmp_path / "results.json").read_text())["lines"]
    assert [(name, one["ours"]["median"]) for name, one in lines.items()] == [("first", 2.0), ("second", 3.0)]


def test_lines_of_another_machine_leave(tmp_path: Path) -> None:
    line = Line(what="w", baseline=None, ours=Spread.of([1.0]))
    report.save(tmp_path, "first", line, ["first", "second"])
    file = tmp_path / "results.json"
    results = json.loads(file.read_text())
    results["machine"]["processor"] = "another"
    file.write_text(json.dumps(results))
    report.save(tmp_path, "second", line, ["first", "second"])
    assert list(json.loads(file.read_text())["lines"]) == ["second"]


def test_a_skipped_line_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    name = "cuda-quantizer-forward"
    bench.run({name: bench.lines()[name]}, tmp_path, [name])
    one = json.loads((tmp_path / "results.json").read_text())["lines"][name]
    assert one["ours"] is None
    assert one["reached"] is None
    assert "cuda" in one["skipped"]
    assert one["skipped"] in (tmp_path / "results.md").read_text()


# ---- which lines there are ---------------------------------------------------------------------------------------


def test_lines_are_chosen_by_how_their_names_begin() -> None:
    known = bench.lines()
    assert list(bench.selected([], known)) == [name for name in known if name not in bench.LONG]
    assert set(bench.LONG) < set(known) and list(bench.selected(bench.LONG, known)) == list(bench.LONG)
    assert list(bench.selected(["start"], known)) == ["start"]
    assert all(name.startswith("quantizer-") for name in bench.selected(["quantizer"], known))
    assert len(bench.selected(["quantizer", "encoder"], known)) > len(bench.selected(["quantizer"], known))


def test_an_unknown_line_is_refused() -> None:
    with pytest.raises(SystemExit, match="no line begins with 'quant'"):
        bench.selected(["quant"], bench.lines())
