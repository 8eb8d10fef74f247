"""trainer.compile=step: every method's loss on every domain is one graph, with the losses of the eager form."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dabs_rq.errors import OptionError
from dabs_rq.methods.base import Method
from dabs_rq.methods.emix import EMix
from dabs_rq.pretrain import loop
from dabs_rq.pretrain.compiled import CompiledLoss
from dabs_rq.pretrain.pretrain import pretrain
from dabs_rq.run import Run
from tests import quick
from tests.test_contract_methods import DOMAINS, TRAINING, batch_of, draws, inputs_of, method_of, raw
from tests.test_pretrain import losses, run  # noqa: F401

EVERY = quick.others_slow(
    [(name, domain) for domain in DOMAINS for name in TRAINING],
    quick=[("emix", "vqa"), ("rq", "sensor"), ("shed", "text")],
)


@pytest.fixture(autouse=True)
def forget_graphs() -> Iterator[None]:
    """Forget the graphs of earlier tests before a test, and its own after it."""
    forget()
    yield
    forget()


def forget() -> None:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()


def step(method: Method, loss: Callable[..., Any], domain: str, seed: int) -> tuple[Tensor, dict[str, Tensor], Any]:
    """The loss of a batch in train mode, what it logs, and every gradient."""
    method.zero_grad()
    torch.manual_seed(seed)  # dropout
    value, logs = loss(batch_of(method, raw(inputs_of(domain), seed=seed)), draws())
    value.backward()
    gradients = {name: one.grad for name, one in method.named_parameters() if one.grad is not None}
    return value.detach(), logs, gradients


@pytest.mark.parametrize(("name", "domain"), EVERY)
def test_every_method_on_every_domain_is_one_graph(name: str, domain: str) -> None:
    eager, method = (method_of(name, inputs_of(domain)).train() for _ in range(2))
    for one in (eager, method):
        for module in one.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.1
    compiled = CompiledLoss(method, backend="aot_eager")
    with torch._dynamo.config.patch(error_on_recompile=True):
        for seed in (1, 2):
            torch.testing.assert_close(step(method, compiled, domain, seed), step(eager, eager.loss, domain, seed))
    frames = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert frames == 1, f"method {name!r}: {frames} graphs instead of one"


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [("sensor", "rq", "pretrain.accumulate=2"), ("text", "emix", "encoder.dropout=0.1")], ids=" ".join
)
def test_a_compiled_training_has_the_losses_of_the_eager_one(
    words: tuple[str, ...],
    run: Callable[..., Run],  # noqa: F811
    tmp_path: Path,
) -> None:
    steps = ("pretrain.steps=4", "trainer.health_every=2")
    eager = run(*words, *steps)
    compiled = run(*words, *steps, "trainer.compile=step", f"runs={tmp_path / 'compiled'}")
    assert compiled.composed.variant(of_pretraining=True) == eager.composed.variant(of_pretraining=True)
    for one in (eager, compiled):
        pretrain(one, 0)
    assert len(losses(eager)) == 4
    assert losses(compiled) == pytest.approx(losses(eager), rel=1e-5)


def test_a_loss_that_cannot_be_one_graph_is_refused_in_words(
    run: Callable[..., Run],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = run("sensor", "emix", "pretrain.steps=2", "trainer.compile=step")
    real = EMix.loss_of

    def reads(self: EMix, *given: Any) -> Any:
        loss, logs = real(self, *given)
        return loss * (2 if float(loss) > 0 else 1), logs

    with monkeypatch.context() as patched:
        patched.setattr(EMix, "loss_of", reads)
        with pytest.raises(OptionError, match=r"compile=step makes no graph of EMix .*Use trainer\.compile=true"):
            pretrain(one, 0)
    with monkeypatch.context() as patched:
        patched.setattr(EMix, "loss", lambda self, *given: Method.loss(self, *given))
        with pytest.raises(OptionError, match=r"EMix has a loss of its own\. Use trainer"):
            pretrain(one, 0)
    with pytest.raises(OptionError, match="exchange between 2 devices would cut"):
        pretrain(run("sensor", "emix", "trainer.compile=step", "trainer.devices=2"), 0)
    with pytest.raises(OptionError, match=r"trainer\.compile is one of step; got 'all'"):
        run("sensor", "emix", "trainer.compile=all")


@pytest.mark.parametrize(("accumulate", "graphs"), [(1, True), (2, False)])
def test_cuda_graphs_are_for_gpus_and_for_steps_of_one_batch(
    accumulate: int,
    graphs: bool,
    run: Callable[..., Run],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(torch, "compile", lambda function, **how: asked.append(how) or function)
    one = run("sensor", "emix", "pretrain.steps=1", "trainer.compile=step", f"pretrain.accumulate={accumulate}")
    pretrain(one, 0)
    monkeypatch.setattr(loop, "uses_gpu", lambda _: True)
    pretrain(run("sensor", "emix", *one.words, "seeds=[1]"), 1)
    assert [how["fullgraph"] for how in asked] == [True, True]
    assert [how["options"].get("triton.cudagraphs", False) for how in asked] == [False, graphs]
