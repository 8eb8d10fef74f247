"""The quantizer by its properties, and against a slow dense reference. Reference vectors: test_quantize_golden.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from torch import Tensor

from dabs_rq.quantize import RandomizedQuantization, draw, randomized_quantization

VALUES = st.integers(-1000, 1000).map(lambda value: value / 8)
# (examples, channels, positions), on a grid, so that ties are common.
X = arrays(np.float64, array_shapes(min_dims=3, max_dims=3, max_side=6), elements=VALUES).map(torch.from_numpy)
SEEDS = st.integers(0, 2**31)
BINS = st.integers(2, 12)
examples = settings(max_examples=40, deadline=None, derandomize=True)
Draws = tuple[Tensor, Tensor, None]


def draws(x: Tensor, bins: int, seed: int, dtype: torch.dtype = torch.float64) -> Draws:
    """Fine draws, so that an edge all but never lies within rounding of a value."""
    generator = torch.Generator().manual_seed(seed)
    shape = x.shape[:2]
    edges = torch.rand(*shape, bins - 1, generator=generator, dtype=dtype)
    return edges, torch.rand(*shape, bins, generator=generator, dtype=dtype), None


def normal(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1)).to(dtype)


def seeded(x: Tensor, seed: int = 3, **options: Any) -> Any:
    return randomized_quantization(x, generator=torch.Generator().manual_seed(seed), **options)


def dense(x: Tensor, u_edges: Tensor, u_values: Tensor, real: Tensor) -> Tensor:
    """(B, C, N): every value compared with every bin, differentiated by autograd. `real` (B, N)."""
    mask = real[:, None, :].expand_as(x)
    low = torch.where(mask, x, torch.inf).amin(-1, keepdim=True)
    high = torch.where(mask, x, -torch.inf).amax(-1, keepdim=True)
    inner = u_edges.sort(-1).values * (high - low) + low
    left, right = torch.cat([low, inner], -1), torch.cat([inner, high + 1e-6], -1)
    values = left + u_values * (right - left)
    inside = (x[..., None] >= left[:, :, None]) & (x[..., None] < right[:, :, None])
    out = (inside * values[:, :, None]).sum(-1)
    return torch.where(mask, out, x)


# ---- properties --------------------------------------------------------------------------------------------------


@examples
@given(X, BINS, SEEDS, st.tuples(st.floats(0.1, 50), st.floats(-100, 100)))
def test_a_positive_affine_map_of_the_input_maps_the_output(x: Tensor, bins: int, seed: int, by: Any) -> None:
    (a, b), drawn = by, draws(x, bins, seed)
    once = randomized_quantization(x, bins, draws=drawn)
    mapped = randomized_quantization(a * x + b, bins, draws=drawn)
    torch.testing.assert_close(mapped, a * once + b, atol=1.1e-6 * (1 + a), rtol=1e-9)


@examples
@given(X, BINS, SEEDS)
def test_permuted_positions_give_permuted_outputs(x: Tensor, bins: int, seed: int) -> None:
    drawn = draws(x, bins, seed)
    order = torch.randperm(x.shape[2], generator=torch.Generator().manual_seed(seed))
    out = randomized_quantization(x, bins, draws=drawn)
    assert torch.equal(randomized_quantization(x[:, :, order], bins, draws=drawn), out[:, :, order])


@examples
@given(X, BINS, SEEDS, st.sampled_from(["random", "uniform"]), st.sampled_from(["inside_random", "middle"]))
def test_order_and_range_are_kept_with_one_value_per_bin(
    x: Tensor, bins: int, seed: int, spacing: str, collapse: str
) -> None:
    out, regions = seeded(x, seed, bins=bins, spacing=spacing, collapse=collapse, return_regions=True)
    for values, found, bin_of in zip(x.flatten(0, 1), out.flatten(0, 1), regions.flatten(0, 1), strict=True):
        order = values.argsort()
        assert (found[order].diff() >= -1e-9).all()
        assert values.min() - 1e-9 <= found.min() and found.max() <= values.max() + 1e-6
        assert len(found.unique()) <= len(bin_of.unique()) <= bins
        assert all(len(found[values == value].unique()) == 1 for value in values.unique()), "ties share a bin"


@examples
@given(X, BINS, SEEDS)
def test_examples_and_channels_do_not_know_of_each_other(x: Tensor, bins: int, seed: int) -> None:
    u_edges, u_values, _ = draws(x, bins, seed)
    out = randomized_quantization(x, bins, draws=(u_edges, u_values, None))
    for i in range(x.shape[0]):
        alone = (u_edges[i : i + 1], u_values[i : i + 1], None)
        assert torch.equal(randomized_quantization(x[i : i + 1], bins, draws=alone)[0], out[i])
        for c in range(x.shape[1]):
            single = (u_edges[i, c][None], u_values[i, c][None], None)
            assert torch.equal(randomized_quantization(x[i, c][None], bins, channel_dim=0, draws=single)[0], out[i, c])


@examples
@given(X, BINS, SEEDS, st.data())
def test_outputs_and_gradients_equal_the_dense_reference(x: Tensor, bins: int, seed: int, data: st.DataObject) -> None:
    real = data.draw(arrays(np.bool_, (x.shape[0], x.shape[2]))) | (np.arange(x.shape[2]) == 0)
    u_edges, u_values, _ = draws(x, bins, seed)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    mask = torch.from_numpy(real)
    out = randomized_quantization(ours, bins, draws=(u_edges, u_values, None), mask=mask)
    expected = dense(theirs, u_edges, u_values, mask)
    torch.testing.assert_close(out, expected, atol=1e-9, rtol=1e-9)
    weights = torch.linspace(-1, 2, x.numel(), dtype=torch.float64).reshape(x.shape)
    for result in (out, expected):
        (result * weights).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-9, rtol=1e-9)


# ---- shapes, layouts, types --------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 4), (2, 3, 0), (0,), (0, 5)])
@pytest.mark.parametrize("p", [1.0, 0.5])
def test_empty_tensors_come_back_empty(shape: tuple[int, ...], p: float) -> None:
    x = torch.zeros(shape).requires_grad_()
    out, regions = randomized_quantization(x, channel_dim=1 if len(shape) > 1 else 0, p=p, return_regions=True)
    assert out.shape == regions.shape == shape and regions.dtype == torch.uint8
    out.sum().backward()


def test_constant_and_one_element_channels_stay_within_the_margin() -> None:
    for x in (torch.full((2, 3, 5), 0.25), torch.zeros(2, 3, 5), normal(4, 7, 1), normal(4, 7)):
        out = seeded(x)
        assert (out >= x).all() and (out <= x + 1.1e-6).all()


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 5), (3, 4, 5, 6), (3, 4, 5, 6, 2)])
def test_any_rank_and_any_place_of_the_channels(shape: tuple[int, ...]) -> None:
    x = normal(*shape)
    expected = seeded(x.reshape(3, 4, -1)).reshape(shape)
    assert torch.equal(seeded(x), expected)
    for place in (*range(2, len(shape)), -1):
        assert torch.equal(seeded(x.movedim(1, place), channel_dim=place), expected.movedim(1, place))
        contiguous = x.movedim(1, place).contiguous()
        assert torch.equal(seeded(contiguous, channel_dim=place), expected.movedim(1, place))
    for place in (0, 1 - len(shape)):
        assert torch.equal(seeded(x[0], channel_dim=place), seeded(x[:1])[0])


def test_memory_layout_does_not_matter() -> None:
    x = normal(3, 4, 6, 5)
    wide = torch.zeros(6, 8, 12, 10)
    wide[::2, ::2, ::2, ::2] = x
    others = [x.to(memory_format=torch.channels_last), x.permute(3, 1, 0, 2).contiguous().permute(2, 1, 3, 0)]
    for other in (*others, wide[::2, ::2, ::2, ::2], x.flip(0).flip(0)):
        assert torch.equal(other, x) and torch.equal(seeded(other), seeded(x))
    assert torch.equal(seeded(x[:1].expand(3, 4, 6, 5)), seeded(x[:1].repeat(3, 1, 1, 1)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_equal_float32_of_the_same_values(dtype: torch.dtype) -> None:
    x = normal(4, 5, 20, dtype=dtype)
    out, expected = seeded(x), seeded(x.float())
    assert out.dtype == dtype
    torch.testing.assert_close(out, expected.to(dtype), rtol=1e-6 if dtype == torch.float64 else 0, atol=1e-6)


LARGE = {torch.float32: (1e8, 2.0**24, 1e37, 3e38), torch.float16: (4096, 6e4), torch.bfloat16: (512, 1e6)}


@pytest.mark.parametrize("dtype", LARGE)
@pytest.mark.parametrize("collapse", ["inside_random", "middle"])
def test_large_values_are_not_lost_where_the_margin_vanishes(dtype: torch.dtype, collapse: str) -> None:
    fractions = torch.rand(4, 5, 50, generator=torch.Generator().manual_seed(1))
    for size in LARGE[dtype]:
        for values in (fractions * size, -fractions * size, torch.full((4, 5, 9), size)):
            x = values.to(dtype)
            out = seeded(x, collapse=collapse)
            low, high = x.amin(2, keepdim=True).float(), x.amax(2, keepdim=True).float()
            assert (out.float() >= low - 1e-6 * size).all() and (out.float() <= high + 1e-6 * size).all()
            assert (out[(x == high).expand_as(out)] != 0).all()


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf, [3e38, -3e38]])
@pytest.mark.parametrize("options", [{}, {"spacing": "uniform", "collapse": "middle"}, {"collapse": "all_zeros"}])
def test_what_is_not_finite_spoils_its_own_channel_only(bad: Any, options: dict[str, str]) -> None:
    clean = normal(3, 4, 6)
    x = clean.clone()
    x[1, 2, :2] = torch.tensor(bad)
    x.requires_grad_()
    out = seeded(x, **options)
    assert out[1, 2].isnan().all()
    other = torch.ones(3, 4, dtype=torch.bool)
    other[1, 2] = False
    assert torch.equal(out[other], seeded(clean, **options)[other])
    out.sum().backward()
    assert x.grad is not None and x.grad[other].isfinite().all()
    whole = seeded(x, granularity="instance", **options)
    assert whole[1].isnan().all() and whole[[0, 2]].isfinite().all()
    assert torch.equal(seeded(x, p=0.0, **options).isnan(), x.isnan()), "an example that is passed over keeps its own"


def test_uniform_spacing_has_bins_of_one_width() -> None:
    for bins in range(2, 65):
        steps = torch.arange(10 * bins + 1)
        x = steps.double()[None, None] / (10 * bins)
        out, regions = randomized_quantization(x, bins, spacing="uniform", collapse="middle", return_regions=True)
        off_edge = steps % 10 != 0  # an edge itself may fall on either side by rounding
        assert torch.equal(regions[0, 0].long()[off_edge], (steps // 10)[off_edge])
        torch.testing.assert_close(out, (regions + 0.5).double() / bins, atol=1e-6, rtol=1e-6)


def test_collapse_to_zeros_and_to_one_of_many_bins() -> None:
    x = normal(2, 3, 500)
    assert (seeded(x, collapse="all_zeros") == 0).all()
    regions = seeded(x, bins=300, spacing="uniform", return_regions=True)[1]
    assert regions.dtype == torch.int32 and regions.max() == 299


# ---- mask, p, granularity, generator -----------------------------------------------------------------------------


@pytest.mark.parametrize("granularity", ["channel", "instance"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_padding_stays_as_it_is_and_is_not_seen(granularity: str, dtype: torch.dtype) -> None:
    x, lengths = normal(4, 6, 5, dtype=dtype), (6, 3, 1, 0)
    mask = torch.arange(6) < torch.tensor(lengths)[:, None]
    options: dict[str, Any] = {"channel_dim": -1, "granularity": granularity}
    channels = 5 if granularity == "channel" else 1
    drawn = torch.rand(4, channels, 7), torch.rand(4, channels, 8), None
    out = randomized_quantization(x, mask=mask, draws=drawn, **options)
    assert torch.equal(out[~mask], x[~mask])
    for value in (1e6, -1e6, torch.nan, torch.inf):
        other = torch.where(mask[..., None], x, value)
        assert torch.equal(randomized_quantization(other, mask=mask, draws=drawn, **options)[mask], out[mask])
    for i, length in enumerate(lengths[:3]):
        own = drawn[0][i : i + 1], drawn[1][i : i + 1], None
        alone = randomized_quantization(x[i : i + 1, :length], draws=own, **options)
        assert torch.equal(alone[0], out[i, :length])
    x.requires_grad_()
    (grad,) = torch.autograd.grad(randomized_quantization(x, mask=mask, draws=drawn, **options).sum(), x)
    assert (grad[~mask] == 1).all() and grad[mask].isfinite().all()


def test_a_generator_decides_everything_and_the_global_one_stays_untouched() -> None:
    x, before = normal(3, 4, 9), torch.get_rng_state()
    assert torch.equal(seeded(x, 1, p=0.5), seeded(x, 1, p=0.5))
    assert not torch.equal(seeded(x, 1), seeded(x, 2))
    assert torch.equal(torch.get_rng_state(), before)
    randomized_quantization(x)
    assert not torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("part", [(0, 1), (1, 2)])
@pytest.mark.parametrize(
    "options",
    [{}, {"channel_dim": 0, "p": 0.5}, {"channel_dim": -1, "granularity": "instance", "spacing": "uniform", "p": 0.5}],
    ids=str,
)
def test_draws_made_before_are_those_of_the_generator(options: dict[str, Any], part: tuple[int, int]) -> None:
    x = normal(4, 3, 9)
    before, in_call = (torch.Generator().manual_seed(3) for _ in range(2))
    given = draw(x.shape, 5, generator=before, part=part, **options)
    expected = randomized_quantization(x, 5, generator=in_call, part=part, **options)
    assert torch.equal(randomized_quantization(x, 5, draws=given, **options), expected)
    assert torch.equal(before.get_state(), in_call.get_state())


def test_p_is_the_share_of_examples_quantized_whole() -> None:
    x = normal(400, 3, 9)
    assert torch.equal(seeded(x, p=0.0), x)
    out = seeded(x, p=0.5)
    kept = (out == x).flatten(1).all(1)
    assert 150 < kept.sum() < 250 and torch.equal(out[~kept], seeded(x)[~kept])
    mask = torch.arange(9) < 6
    masked = seeded(x, p=0.5, mask=mask.expand(400, 9))
    assert torch.equal(masked[kept], x[kept]) and torch.equal(masked[..., ~mask], x[..., ~mask])
    assert (masked != x)[~kept][..., mask].flatten(1).any(1).all()
    channels = (seeded(x[:, 0], p=0.5, channel_dim=0) == x[:, 0]).all(1)
    assert 150 < channels.sum() < 250, "without a batch, p acts on each channel"


def test_granularity_instance_has_one_set_of_bins_for_all_channels() -> None:
    x = normal(3, 4, 50)
    out, regions = seeded(x, granularity="instance", return_regions=True)
    for found, bin_of in zip(out, regions, strict=True):
        assert len(found.unique()) == len(torch.stack([found, bin_of.float()]).flatten(1).unique(dim=1).T) <= 8
    assert torch.equal(out, seeded(x.reshape(3, 1, 200)).reshape(3, 4, 50))
    assert torch.equal(seeded(x[0], granularity="instance", channel_dim=0), seeded(x[:1], granularity="instance")[0])


# ---- gradients ---------------------------------------------------------------------------------------------------


def test_gradient_reaches_the_extremes_only_and_its_sum_is_kept() -> None:
    x, weights = normal(4, 5, 30).requires_grad_(), normal(4, 5, 30).flip(2)
    extreme = (x == x.amin(2, keepdim=True)) | (x == x.amax(2, keepdim=True))
    for collapse in ("inside_random", "middle"):
        (grad,) = torch.autograd.grad((seeded(x, collapse=collapse) * weights).sum(), x)
        assert torch.equal(grad != 0, extreme)
        torch.testing.assert_close(grad.sum(2), weights.sum(2), atol=1e-5, rtol=1e-5)


def test_gradient_agrees_with_finite_differences() -> None:
    x = normal(2, 3, 7, dtype=torch.float64).requires_grad_()
    drawn = draws(x, 4, 0)
    assert torch.autograd.gradcheck(lambda x: randomized_quantization(x, 4, draws=drawn), (x,), eps=1e-7, atol=1e-5)


def test_other_gradients_are_the_identity_or_nothing() -> None:
    x, weights = normal(4, 5, 30).requires_grad_(), normal(4, 5, 30)

    def gradient(**options: Any) -> Tensor | None:
        out = seeded(x, **options)
        assert torch.equal(out, seeded(x, **options | {"gradient": "extremes"}))
        return torch.autograd.grad((out * weights).sum(), x, allow_unused=True)[0]

    for options in ({}, {"p": 0.5}, {"collapse": "all_zeros"}):
        assert torch.equal(gradient(gradient="straight_through", **options), weights)
        assert gradient(gradient="detach", **options) is None
    assert (gradient(collapse="all_zeros") == 0).all()


# ---- use ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spacing": "even"}, "spacing is one of random, uniform; got 'even'"),
        ({"collapse": "max"}, "collapse is one of inside_random, middle, all_zeros; got 'max'"),
        ({"granularity": "batch"}, "granularity is one of channel, instance; got 'batch'"),
        ({"gradient": "all"}, "gradient is one of extremes, straight_through, detach; got 'all'"),
        ({"bins": 1}, "bins is at least 2; got 1"),
        ({"p": 1.5}, r"p is a probability; got 1\.5"),
        ({"p": float("nan")}, "p is a probability; got nan"),
        ({"channel_dim": 3}, r"channel_dim 3 does not exist in shape \(2, 3, 4\)"),
        ({"channel_dim": -4}, "channel_dim -4 does not exist"),
        ({"mask": torch.ones(2, 3, dtype=torch.bool)}, r"mask must be bool \(2, 4\); got torch.bool \(2, 3\)"),
        ({"mask": torch.ones(2, 4)}, r"mask must be bool \(2, 4\); got torch.float32 \(2, 4\)"),
        ({"mask": torch.ones(2, 4, dtype=torch.bool), "channel_dim": 0}, r"mask must be bool \(3, 4\)"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        randomized_quantization(normal(2, 3, 4), **options)


def test_integers_are_refused_with_what_to_do() -> None:
    for dtype in (torch.uint8, torch.int64, torch.bool):
        with pytest.raises(TypeError, match=r"must be floating point; got torch\..*x\.float\(\) / 255"):
            randomized_quantization(torch.ones(2, 3, 4, dtype=dtype))


def test_the_module_is_the_function_in_train_and_eval_mode() -> None:
    x, mask = normal(3, 6, 4), torch.rand(3, 6) < 0.7
    module = RandomizedQuantization(4, channel_dim=-1, collapse="middle")
    for mode in (True, False):
        out = module.train(mode)(x, generator=torch.Generator().manual_seed(3), mask=mask)
        assert torch.equal(out, seeded(x, bins=4, channel_dim=-1, collapse="middle", mask=mask))
    assert repr(module) == "RandomizedQuantization(bins=4, channel_dim=-1, collapse='middle')"
    assert not list(module.parameters()) and not module.state_dict()


def test_compiles_to_one_graph_forward_and_backward() -> None:
    torch._dynamo.reset()
    x, mask = normal(3, 6, 4).requires_grad_(), torch.arange(6) < torch.tensor([6, 3, 0])[:, None]
    drawn = torch.rand(3, 4, 7), torch.rand(3, 4, 8), torch.tensor([0.1, 0.2, 0.9])

    def run(function: Any) -> list[Tensor]:
        out = function(x, channel_dim=2, mask=mask, draws=drawn, p=0.5)
        return [out, *torch.autograd.grad((out * out.detach().flip(1)).sum(), x)]

    compiled = torch.compile(randomized_quantization, fullgraph=True, backend="aot_eager")
    for found, expected in zip(run(compiled), run(randomized_quantization), strict=True):
        torch.testing.assert_close(found, expected)


def test_given_draws_are_checked_and_those_not_needed_are_ignored() -> None:
    x = torch.randn(2, 3, 7)
    edges, values = torch.rand(2, 3, 7), torch.rand(2, 3, 8)
    middle = randomized_quantization(x, collapse="middle", draws=(edges, None, None))
    assert torch.equal(middle, randomized_quantization(x, collapse="middle", draws=(edges, values, torch.zeros(2))))
    with pytest.raises(ValueError, match=r"draws: values of shape \(2, 3, 8\) expected; got None"):
        randomized_quantization(x, draws=(edges, None, None))
    with pytest.raises(ValueError, match=r"draws: edges of shape \(2, 3, 3\) expected; got \(2, 3, 7\)"):
        randomized_quantization(x, bins=4, draws=(edges, values, None))
