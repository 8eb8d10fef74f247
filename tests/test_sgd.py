"""MoCo-v3's linear probe: SGD on features of the frozen encoder."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from dabs_rq.data.batches import Order
from dabs_rq.data.examples import Examples
from dabs_rq.errors import OptionError
from dabs_rq.methods import views
from dabs_rq.run import Run
from dabs_rq.run.options import TransferOptions
from dabs_rq.spec import Grid, Multiclass
from dabs_rq.transfer import probes, sgd
from dabs_rq.transfer.features import CachedFeatures
from tests.imagenet_golden import Vectors
from tests.test_contract_methods import resnet

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(50, 6)).astype(np.float32)
TARGETS = (FEATURES[:, 0] > 0).astype(np.int64) + (FEATURES[:, 1] > 0)
OPTIONS = TransferOptions(epochs=3, batch_size=16, lr=0.1, weight_decay=0.0)


@dataclasses.dataclass
class InMemory:
    """A column of arrays."""

    arrays: np.ndarray
    key: str = "in memory"

    def __len__(self) -> int:
        return len(self.arrays)

    def take(self, rows: np.ndarray) -> np.ndarray:
        return self.arrays[rows]

    def select(self, rows: np.ndarray) -> InMemory:
        return InMemory(self.arrays[rows])


def in_memory(arrays: np.ndarray, targets: np.ndarray) -> Examples:
    return Examples(ids=[str(row) for row in range(len(arrays))], inputs=(InMemory(arrays),), targets=targets)


def fitted(options: TransferOptions = OPTIONS, test: Any = (FEATURES, TARGETS)) -> Any:
    batches = CachedFeatures(FEATURES, TARGETS, 16, 0, keep_last=True)
    return sgd.fit_sgd(batches, 6, Multiclass(3), 3, options, 0, test)


def test_the_rate_of_an_epoch_equals_the_references() -> None:
    vectors = Vectors("schedules/linear_probe")
    for epoch, rate in enumerate(vectors["lr"].tolist()):
        ours = vectors.settings["base_lr"] * sgd.rate(epoch, vectors.settings["epochs"])
        assert ours == pytest.approx(rate, rel=1e-12)


def test_the_probe_is_what_a_plain_loop_trains() -> None:
    weight, bias = torch.empty(3, 6), torch.zeros(3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.nn.Linear(6, 3)
        torch.nn.init.normal_(weight, std=0.01)
    mu = [torch.zeros_like(weight), torch.zeros_like(bias)]
    for epoch in range(3):
        for keys in Order(50, 16, 0, keep_last=True).epoch(epoch):
            rows = [row for _, row in keys]
            x, y = torch.from_numpy(FEATURES[rows]), torch.nn.functional.one_hot(torch.from_numpy(TARGETS[rows]), 3)
            error = ((x @ weight.T + bias).softmax(1) - y) / len(rows)
            for moment, gradient in zip(mu, (error.T @ x, error.sum(0)), strict=True):
                moment.mul_(0.9).add_(gradient)
            rate = 0.1 * 16 / 256 * (1 + np.cos(np.pi * epoch / 3)) / 2
            weight, bias = weight - rate * mu[0], bias - rate * mu[1]
    expected = FEATURES @ weight.numpy().T + bias.numpy()
    np.testing.assert_allclose(fitted().outputs(FEATURES), expected, atol=1e-5)


def test_it_keeps_the_smaller_last_batch_and_notes_last_and_best() -> None:
    about = fitted().about
    assert about["steps"] == 3 * 4, "50 examples are three batches of 16 and one of 2"
    assert about["best_accuracy"] >= about["last_accuracy"] and 1 <= about["best_epoch"] <= 3
    flipped = fitted(test=(FEATURES, (TARGETS + 1) % 3))
    assert flipped.about["best_accuracy"] < about["best_accuracy"]
    np.testing.assert_array_equal(flipped.outputs(FEATURES), fitted().outputs(FEATURES))


def test_an_order_keeps_its_last_batch_only_if_asked_to() -> None:
    for keep, sizes in ((True, [16, 16, 16, 2]), (False, [16, 16, 16])):
        order = Order(50, 16, 0, keep_last=keep)
        assert [len(batch) for batch in order.epoch(1)] == sizes and order.per_epoch == len(sizes)
        assert order.batch(len(sizes) + 1) == order.epoch(1)[1]
    assert Order(48, 16, 0, keep_last=True).per_epoch == 3


def test_views_are_drawn_in_eval_mode_by_seed_and_epoch() -> None:
    picture = (Grid(name="image", height=16, width=16, channels=3, patch=4),)
    examples = in_memory(np.random.default_rng(0).integers(0, 255, (10, 3, 16, 16), dtype=np.uint8), np.arange(10))
    encoder = resnet(picture).train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}

    def epoch(number: int, seed: int = 0) -> torch.Tensor:
        batches = sgd.ViewedFeatures(encoder, examples, 4, seed, 0, 0, torch.device("cpu"))
        return torch.cat([features for features, _ in batches.epoch(number)])

    assert torch.equal(epoch(0), epoch(0)) and len(epoch(0)) == 10
    assert not torch.equal(epoch(0).sum(0), epoch(1).sum(0)) and not torch.equal(epoch(0), epoch(0, seed=1))
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert views.Recipe(crop=0.08, flip=0.5) == sgd.VIEW


FIT = "Give crop_flip and reencode, or none and cached"


@pytest.mark.parametrize(
    ("probe", "words", "message"),
    [
        ("sgd", ["transfer.features=cached", "transfer.views=crop_flip"], FIT),
        ("sgd", ["transfer.features=reencode", "transfer.views=none"], FIT),
        (
            "adamw",
            ["transfer.features=reencode", "transfer.views=crop_flip"],
            "is for transfer.probe=sgd; got .*=adamw",
        ),
    ],
)
def test_probe_views_and_features_must_fit(probe: Any, words: list[str], message: str) -> None:
    run = Run.of(["domain=imagenet", "method=none", "encoder=resnet18", f"transfer.probe={probe}", *words])
    examples = in_memory(np.zeros((4, 3, 32, 32), np.uint8), np.arange(4))
    encoder = resnet(run.inputs)
    with pytest.raises(OptionError, match=message):
        probes.fit_probe(
            run,
            0,
            "sgd",
            run.tasks[0],
            encoder,
            examples,
            np.arange(4),
            lambda _: FEATURES[:4],
            (examples, TARGETS[:4]),
        )
