"""MoCo-v3 against vectors of the reference implementation: steps, LARS, losses of several processes, schedules, and
the quantizer where it is called."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from dabs_rq.methods import lars, moco, pictures, supervised
from dabs_rq.methods.pictures import Views
from dabs_rq.methods.views import Recipe
from dabs_rq.ranks import Ranks
from dabs_rq.spec import Grid
from tests import quick
from tests.imagenet_golden import Vectors, cases, method_of, our_name, step_loss, views

STEPS = [name for name in cases() if name.startswith("steps_")]


class Budget:
    """The rate of the vectors is of their whole batch; a method scales pretrain.lr by the batch over 256."""

    def __init__(self, settings: dict[str, Any]) -> None:
        schedule = settings["schedule"]
        self.batch_size = settings["view_shape"][0]
        self.lr = schedule["base_lr"] * pictures.SCALED_TO / self.batch_size
        self.weight_decay = settings["optimizer"]["weight_decay"]
        self.steps = schedule["epochs"] * schedule["iters_per_epoch"]


def trained(settings: dict[str, Any]) -> tuple[moco.MoCo, torch.optim.Optimizer, Any]:
    method, budget = method_of(settings, tuple(settings["view_shape"][1:])), Budget(settings)
    optimizer = method.optimizer([one for one in method.parameters() if one.requires_grad], budget)
    scheduler = method.schedule(optimizer, budget.steps)
    first = settings["steps"][0]["iteration"]
    method.begin(budget, first, None)
    for _ in range(first):
        optimizer.step()  # without gradients it changes nothing
        scheduler.step()
    return method, optimizer, scheduler


def close(ours: Tensor, theirs: Tensor, relative: float, least: float = 0.0) -> None:
    """Compare to `relative` of the largest entry, or of `least` if that is larger."""
    largest = max(float(theirs.abs().max()), least)
    torch.testing.assert_close(ours.to(theirs.dtype), theirs, atol=relative * largest, rtol=0)


def renamed(settings: dict[str, Any], name: str) -> str:
    ours = our_name(name)
    if settings["network"] == "tiny" or ours.startswith(("predictor", "projector", "momentum_projector")):
        return ours
    return ours.replace("encoder.", "encoder.network.", 1)


@pytest.mark.parametrize("name", quick.others_slow(STEPS, [name for name in STEPS if "resnet50" not in name]))
def test_steps_equal_the_references(name: str) -> None:
    vectors = Vectors(name)
    settings = vectors.settings
    method, optimizer, scheduler = trained(settings)
    given = views(settings)
    parameters = dict(method.named_parameters())
    own = [renamed(settings, one) for one, _ in settings["parameters"]]
    for number, step in enumerate(settings["steps"]):
        assert method.momentum() == pytest.approx(step["m"], rel=1e-12)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(step["lr"], rel=1e-9)
        optimizer.zero_grad()
        loss, (q1, q2, k1, k2) = step_loss(method, given)
        loss.backward()
        torch.testing.assert_close(loss.detach(), vectors[f"step{number}/loss"].float(), rtol=1e-5, atol=0)
        for key, tensor in {"q1": q1, "q2": q2, "k1": k1, "k2": k2}.items():
            close(tensor.detach(), vectors[f"step{number}/{key}"], 1e-3)
        norms = torch.stack([parameters[one].grad.double().norm() for one in own])
        close(norms, vectors[f"step{number}/grad_norms"], 1e-3)
        for key, gradient in vectors.below(f"step{number}/grad/").items():
            close(parameters[renamed(settings, key)].grad, gradient, 1e-3)
        optimizer.step()
        scheduler.step()
        method.after_step(step["iteration"] + 1)
        state = method.state_dict()
        for key, expected in vectors.below(f"step{number}/after/").items():
            close(state[renamed(settings, key)], expected, 1e-4, least=0.01)
        for part, names in (
            ("after_norms", [one for one, _ in settings["parameters"]]),
            ("momentum_norms", [f"momentum_encoder.{one}" for one in settings["momentum_parameters"]]),
            ("buffer_norms", settings["buffers"]),
        ):
            found = torch.stack([state[renamed(settings, one)].double().norm() for one in names])
            expected = vectors[f"step{number}/{part}"]
            for one, mine, theirs in zip(names, found, expected, strict=True):
                assert abs(mine - theirs) <= 1e-4 * max(float(theirs), 0.01), (number, part, one, mine, theirs)
    for key, expected in vectors.below("mu/").items():
        close(optimizer.state[parameters[renamed(settings, key)]]["momentum"], expected, 1e-3)


@pytest.mark.parametrize("name", [name for name in cases() if name.startswith("lars/")])
def test_lars_equals_the_references(name: str) -> None:
    vectors = Vectors(name)
    settings = vectors.settings
    parameters = {key: torch.nn.Parameter(value) for key, value in vectors.below("initial/").items()}
    divided = lars.groups(parameters.values(), settings["weight_decay"])
    optimizer = lars.LARS(divided, 0.0, momentum=settings["momentum"], trust=settings["trust_coefficient"])
    for step, rate in enumerate(settings["lr"]):
        for group in optimizer.param_groups:
            group["lr"] = rate
        for key, parameter in parameters.items():
            left_out = step in settings["no_gradient"].get(key, [])
            parameter.grad = None if left_out else vectors[f"grad/{key}"][step].clone()
        optimizer.step()
        for key, parameter in parameters.items():
            torch.testing.assert_close(parameter.detach(), vectors[f"after/{key}"][step], atol=1e-6, rtol=0)
    for key, parameter in parameters.items():
        torch.testing.assert_close(optimizer.state[parameter]["momentum"], vectors[f"mu/{key}"], atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", [name for name in cases() if name.startswith("loss_ranks/")])
def test_the_mean_of_the_processes_losses_is_the_loss_of_the_whole_batch(name: str) -> None:
    vectors = Vectors(name)
    queries = vectors["q"].flatten(0, 1).requires_grad_()
    loss = moco.contrastive(queries, vectors["k"].flatten(0, 1), vectors.settings["T"])
    loss.backward()
    torch.testing.assert_close(loss.detach(), vectors["loss"].mean().float(), rtol=1e-5, atol=1e-6)
    assert queries.grad is not None
    close(vectors.settings["processes"] * queries.grad, vectors["grad_q"].flatten(0, 1), 1e-3)


@pytest.mark.parametrize("name", ["small", "r50_100", "r50_300", "r50_1000"])
def test_rate_and_momentum_follow_the_references_schedules(name: str) -> None:
    vectors = Vectors(f"schedules/{name}")
    settings = vectors.settings
    steps = settings["epochs"] * settings["iters_per_epoch"]
    for i, rate, momentum in zip(vectors["iteration"].tolist(), vectors["lr"], vectors["m"], strict=True):
        ours = settings["base_lr"] * moco.rate(i, steps, settings["warmup_epochs"] / settings["epochs"])
        assert ours == pytest.approx(float(rate), rel=1e-12, abs=1e-15)
        assert moco.momentum_at(i, steps, settings["m"]) == pytest.approx(float(momentum), rel=1e-12)


def test_the_published_rate_is_scaled_by_the_batch_and_starts_at_zero() -> None:
    settings = Vectors("steps_tiny").settings
    method = method_of(settings, tuple(settings["view_shape"][1:]))
    budget = Budget(settings)
    budget.lr, budget.batch_size = 0.6, 4096
    optimizer = method.optimizer(list(method.encoder.parameters()), budget)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(9.6)
    method.schedule(optimizer, 31_200)
    assert optimizer.param_groups[0]["lr"] == 0.0


def test_the_supervised_rate_falls_after_each_third() -> None:
    vectors = Vectors("schedules/supervised")
    per_epoch = 5004
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=vectors.settings["base_lr"])
    factor = supervised.Supervised.schedule(None, optimizer, 90 * per_epoch).lr_lambdas[0]  # type: ignore[arg-type]
    for epoch, rate in enumerate(vectors["lr"].tolist()):
        for step in (epoch * per_epoch, (epoch + 1) * per_epoch - 1):
            assert vectors.settings["base_lr"] * factor(step) == pytest.approx(rate, rel=1e-12)


TRANSFORMS = [name for name in cases() if name.startswith("views/transform/")]


def quantized(views: Views, image: Tensor, seed: int) -> Tensor:
    drawn = views.draw_bins(image, Recipe(), torch.Generator().manual_seed(seed), Ranks())
    return views.quantize(image, drawn)


def quantizer(settings: dict[str, Any], **options: Any) -> Views:
    picture = Grid(name="image", height=1, width=1, channels=3, patch=1)
    chosen = {"rq": settings["granularity"], "bins": settings["region_num"], "p": settings.get("p", 1.0), **options}
    return Views(moco.Options(**chosen), picture)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_one_pictures_quantizer_equals_the_references_transform(name: str) -> None:
    vectors = Vectors(name)
    settings = vectors.settings
    per = "picture" if settings["granularity"] == "instance" else "channel"
    normalised = settings["position"] == "normalized"
    made = quantizer(settings, p_per=per, place="after" if normalised else "before")
    image = Vectors("views/image")["unit"][None]
    out = quantized(made, image, settings["torch_seed"])[0]
    mean, std = (torch.tensor(Vectors("views/image").settings[key])[:, None, None] for key in ("mean", "std"))
    torch.testing.assert_close((out - mean) / std if normalised else out, vectors["out"], atol=2e-6, rtol=0)


def test_only_a_whole_pictures_quantizer_depends_on_its_place() -> None:
    image = Vectors("views/image")["unit"][None]
    for granularity, equal in (("channel", True), ("instance", False)):
        settings = {"granularity": granularity, "region_num": 8}
        before, after = (quantized(quantizer(settings, place=place), image, 1) for place in ("before", "after"))
        assert torch.allclose(before, after, atol=1e-5) is equal


@pytest.mark.parametrize("granularity", ["channel", "instance"])
def test_a_batchs_four_draws_equal_the_references(granularity: str) -> None:
    vectors = Vectors(f"views/forward/{granularity}")
    settings = vectors.settings
    given = vectors["x1"], vectors["x2"]
    options = {"rq": granularity, "bins": settings["region_num"], "place": "before", "draws": "batch"}
    method = method_of(settings, tuple(given[0].shape[1:]), **options)
    inputs: list[Tensor] = []
    for network in (method.encoder, method.momentum_encoder):
        network.conv1.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
    generator = torch.Generator().manual_seed(settings["torch_seed"])
    loss, seen = step_loss(method, given, generator)
    loss.backward()
    for i, quantized in enumerate(inputs):
        torch.testing.assert_close(quantized, vectors[f"quantized/{i}"], atol=1e-6, rtol=1e-6)
    for key, tensor in zip(("q1", "q2", "k1", "k2"), seen, strict=True):
        close(tensor.detach(), vectors[key], 1e-3)
    torch.testing.assert_close(loss.detach(), vectors["loss"].float(), rtol=1e-5, atol=0)
    parameters = dict(method.named_parameters())
    norms = torch.stack([parameters[our_name(one)].grad.double().norm() for one, _ in settings["parameters"]])
    close(norms, vectors["grad_norms"], 1e-3)


def test_the_published_model_has_the_references_shapes() -> None:
    from dabs_rq import registry
    from dabs_rq.methods.base import build_method

    settings = cases()["model/resnet50"]
    with torch.device("meta"):
        picture = Grid(name="image", height=224, width=224, channels=3, patch=16)
        encoder_spec, spec = registry.encoder("resnet50"), registry.method("moco")
        encoder = encoder_spec.build(encoder_spec.options(zero_init_residual=True), (picture,), True)
        method = build_method(spec, spec.options(), encoder)
    trained = [one for one in method.parameters() if one.requires_grad]
    assert sum(one.numel() for one in trained) == settings["parameters"]["trained"]
    matrices, others = lars.groups(trained, 1e-6)
    assert len(matrices["params"]) == settings["lars_scaled_tensors"] and matrices["weight_decay"] == 1e-6
    assert len(others["params"]) == settings["plain_tensors"]
    assert others["weight_decay"] == 0 and others["trust"] is None
    state = method.state_dict()
    assert len(state) == settings["keys"]
    for name, shape in settings["head"].items():
        assert list(state[our_name(name)].shape) == shape
    assert math.isclose(spec.options().momentum, 0.99)
