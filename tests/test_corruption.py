"""The choice of token positions by drawn numbers: how many, which, and never padding; and means over ranks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dabs_rq.methods.corruption import choose, count, flagged, flags, mean_over, take
from dabs_rq.ranks import Ranks
from tests.golden_cases import Case, names


@pytest.mark.parametrize("name", [name for name in names("mae") if "mask/" in name])
def test_the_chosen_positions_are_the_references(name: str) -> None:
    case = Case(name)
    chosen = choose(case["u"], case.settings["corruption_rate"])
    assert torch.equal(chosen[0].positions, case["indices_to_mask"]) and chosen[0].valid.all()
    chosen_flags = flags(chosen, case["u"].shape[1])
    assert torch.equal(chosen_flags, case["is_masked"])
    assert torch.equal(case["embs"].masked_fill(chosen_flags.unsqueeze(2), 0), case["masked_embs"])


@given(
    parts=st.lists(st.integers(1, 12), min_size=1, max_size=3),
    rate=st.floats(0.01, 0.99),
    minimum=st.integers(1, 2),
    seed=st.integers(0, 1000),
)
def test_every_part_has_its_share_of_real_tokens(parts: list[int], rate: float, minimum: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    u = torch.rand(5, sum(parts), generator=generator)
    mask = torch.rand(u.shape, generator=generator) < 0.6
    chosen = choose(u, rate, mask, parts, minimum)
    chosen_flags = flags(chosen, u.shape[1])
    assert not (chosen_flags & ~mask).any()
    pieces = (tensor.split(parts, dim=1) for tensor in (chosen_flags, mask, u))
    for part, real, draws in zip(*pieces, strict=True):
        for row in range(5):
            n = int(real[row].sum())
            k = min(n, max(minimum, math.ceil(n * rate)))
            assert int(part[row].sum()) == k == count(n, rate, minimum)
            others = draws[row][real[row] & ~part[row]]
            assert not k or not len(others) or draws[row][part[row]].min() >= others.max()
    back = flagged(chosen_flags, sum(part.positions.shape[1] for part in chosen))
    assert torch.equal(flags([back], u.shape[1]), chosen_flags)
    assert torch.equal(take(u, back.positions)[back.valid], u[chosen_flags])


def test_a_mean_over_ranks_weights_every_counted_value_alike() -> None:
    values, counted = torch.tensor([1.0, 2.0, 4.0, torch.inf]), torch.tensor([True, True, True, False])
    assert float(mean_over(values, counted, Ranks())) == pytest.approx(7 / 3)
    assert float(mean_over(values, torch.zeros(4, dtype=torch.bool), Ranks())) == 0
    own = [mean_over(values[part], counted[part], _Told(counted=counted)) for part in (slice(0, 1), slice(1, 4))]
    assert float(sum(own) / 2) == pytest.approx(7 / 3)


@dataclass(frozen=True)
class _Told(Ranks):
    """Ranks of which the first has one value and the second the others."""

    counted: Tensor = torch.empty(0)

    def gather(self, *own: Tensor) -> tuple[Tensor, ...]:
        return (torch.stack([self.counted[:1].sum(), self.counted[1:].sum()]),)
