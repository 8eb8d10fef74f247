"""Raw inputs as features: how many there are, what averaging keeps, and bags of ids without padding."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dabs_rq.encoders.embed import to_model_input
from dabs_rq.encoders.raw import LIMIT, Options, Raw, build
from dabs_rq.spec import Grid, Input, Series, Tabular, Tokens


def raw(*inputs: Input, mask_padding: bool = True) -> Raw:
    return build(Options(), inputs, mask_padding)


def grid(height: int, width: int, channels: int) -> Grid:
    return Grid(name="picture", height=height, width=width, channels=channels, patch=1)


def series(length: int, channels: int) -> Series:
    return Series(name="signal", length=length, channels=channels, segment=1)


def tokens(vocabulary: int, pad: int | None = 0) -> Tokens:
    return Tokens(name="text", length=8, vocabulary=vocabulary, pad=pad)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 3))
def test_a_small_picture_is_flattened_as_it_is(height: int, width: int, channels: int) -> None:
    encoder, pictures = raw(grid(height, width, channels)), torch.rand(2, channels, height, width)
    assert encoder.width == height * width * channels
    torch.testing.assert_close(encoder.features((pictures,)), pictures.flatten(1))


@given(st.integers(1, 9), st.integers(1, 3))
def test_a_short_series_is_flattened_channel_by_channel(length: int, channels: int) -> None:
    encoder, signals = raw(series(length, channels)), torch.randn(2, length, channels)
    assert encoder.width == length * channels
    torch.testing.assert_close(encoder.features((signals,)), signals.movedim(2, 1).flatten(1))


@given(st.integers(1, 6000), st.integers(1, 6000), st.sampled_from([1, 2, 3, 52, LIMIT]))
def test_the_width_of_a_picture_is_at_most_the_limit_and_its_size_if_that_is_below(
    height: int, width: int, channels: int
) -> None:
    found = raw(grid(height, width, channels)).width
    assert channels <= found <= LIMIT
    if height * width * channels <= LIMIT:
        assert found == height * width * channels


@given(st.integers(1, 200_000), st.sampled_from([1, 3, 52, LIMIT]))
def test_the_width_of_a_series_is_at_most_the_limit_and_its_size_if_that_is_below(length: int, channels: int) -> None:
    found = raw(series(length, channels)).width
    assert found == channels * min(length, LIMIT // channels)


@pytest.mark.parametrize(("height", "width"), [(64, 256), (1, 10_000), (10_000, 1)])
def test_a_large_picture_is_averaged_over_neighbours(height: int, width: int) -> None:
    """A ramp stays a ramp, and the mean of all pixels stays where the neighbourhoods are equally large."""
    encoder = raw(grid(height, width, 1))
    ramp = torch.linspace(0, 1, height * width).view(1, 1, height, width)
    found = encoder.features((ramp,))
    assert found.shape == (1, encoder.width) and LIMIT / 2 < encoder.width <= LIMIT
    assert (found.diff() > 0).all() and float(found.mean()) == pytest.approx(0.5, abs=1e-3)


def test_a_long_series_is_averaged_over_neighbouring_steps() -> None:
    signals = torch.randn(2, 2 * LIMIT, 1)
    pairs = signals.view(2, LIMIT, 2).mean(2)
    torch.testing.assert_close(raw(series(2 * LIMIT, 1)).features((signals,)), pairs)


def test_a_text_is_the_share_of_each_id_without_padding() -> None:
    ids = torch.tensor([[2, 2, 2, 4, 0, 0, 0, 0], [0] * 8])
    assert raw(tokens(5)).features((ids,)).tolist() == [[0, 0, 0.75, 0, 0.25], [0] * 5]
    with_padding = [[0.5, 0, 0.375, 0, 0.125], [1, 0, 0, 0, 0]]
    assert raw(tokens(5), mask_padding=False).features((ids,)).tolist() == with_padding
    assert raw(tokens(5, pad=None)).features((ids,)).tolist() == with_padding


@given(st.sampled_from([7, LIMIT, LIMIT + 1, 30_522]), st.data())
def test_a_bag_of_ids_sums_to_one(vocabulary: int, data: st.DataObject) -> None:
    ids = torch.tensor([data.draw(st.lists(st.integers(0, vocabulary - 1), min_size=8, max_size=8))])
    found = raw(tokens(vocabulary)).features((ids,))
    assert found.shape == (1, min(vocabulary, LIMIT)) and (found >= 0).all()
    assert float(found.sum()) == pytest.approx(0.0 if (ids == 0).all() else 1.0)


def test_ids_beyond_the_limit_share_features() -> None:
    ids = torch.tensor([[1, LIMIT + 1, 2, LIMIT + 3, 0, 0]])
    found = raw(tokens(30_522)).features((ids,))[0]
    assert found[:5].tolist() == [0, 0.5, 0.25, 0.25, 0]


def test_a_row_of_a_table_is_its_own_feature() -> None:
    rows = torch.arange(12.0).reshape(2, 6, 1)
    encoder = raw(Tabular(name="row", features=6))
    assert encoder.width == 6 and torch.equal(encoder.features((rows,)), rows[..., 0])
    wide = raw(Tabular(name="row", features=2 * LIMIT))
    assert wide.features((torch.ones(1, 2 * LIMIT, 1),)).shape == (1, wide.width) == (1, LIMIT)


def test_the_inputs_of_an_example_stand_side_by_side() -> None:
    specs = (grid(2, 3, 1), tokens(5))
    pictures, ids = torch.full((1, 1, 2, 3), 255, dtype=torch.uint8), torch.tensor([[3, 3, 3, 3, 0, 0]])
    encoder = raw(*specs)
    found = encoder.features((to_model_input(pictures), to_model_input(ids)))
    assert encoder.width == 11 == math.prod(found.shape) and found.tolist() == [[1.0] * 6 + [0, 0, 0, 1, 0]]
    assert not list(encoder.parameters())
