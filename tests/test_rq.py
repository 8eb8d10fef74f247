"""Randomized quantization after a block of the transformer: what is quantized, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from dabs_rq.encoders.transformer import Transformer
from dabs_rq.errors import OptionError
from dabs_rq.methods import rq
from dabs_rq.methods.base import Batch
from dabs_rq.methods.losses import info_nce
from dabs_rq.quantize import randomized_quantization
from dabs_rq.spec import Grid, Tokens

PICTURE = Grid(name="image", height=8, width=8, channels=3, patch=4)
TEXT = Tokens(name="text", length=6, vocabulary=50, pad=0)
SIZES: dict[str, Any] = {"width": 16, "depth": 3, "heads": 2, "head_width": 8, "mlp_width": 16, "out_width": 8}


def encoder_of(*inputs: Grid | Tokens) -> Transformer:
    torch.manual_seed(0)
    return Transformer(inputs, **SIZES, dropout=0.0)


def method_of(encoder: Transformer, **options: Any) -> rq.RandomizedQuantizationMethod:
    given = {"level": "embedding", "gradient": "straight_through"} | options
    return rq.build(rq.Options(**given), encoder, encoder.inputs)


def rest(encoder: Transformer, tokens: Tensor, mask: Tensor | None, first: int) -> Tensor:
    """The projection of the tokens after block `first`."""
    for block in encoder.blocks[first:]:
        tokens = block(tokens, mask)
    return encoder.project(encoder._pooled(tokens, mask))


@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("after", [1, 2, 3])
def test_the_output_of_the_block_is_quantized_and_its_class_token_is_not(after: int, views: int) -> None:
    encoder = encoder_of(PICTURE, TEXT)
    ids = torch.tensor([[5, 6, 7, 0, 0, 0], [8, 9, 10, 11, 12, 0]])
    inputs = (torch.rand(2, 3, 8, 8), ids)
    method = method_of(encoder, after_block=after, views=views)
    loss, _ = method.loss(Batch(inputs, encoder), torch.Generator().manual_seed(3))

    mask = encoder.mask(inputs)
    assert mask is not None
    with_class = torch.cat([torch.ones(2, 1, dtype=torch.bool), mask], dim=1)
    tokens = torch.cat([encoder.class_token.expand(2, 1, -1), encoder.embed(inputs)], dim=1) + encoder.positions
    for block in encoder.blocks[:after]:
        tokens = block(tokens, with_class)
    generator = torch.Generator().manual_seed(3)
    projections = []
    for view in range(2):
        quantized = tokens
        if view < views:
            picture, text = (
                randomized_quantization(
                    part, 8, channel_dim=2, gradient="straight_through", generator=generator, mask=real
                )
                for part, real in ((tokens[:, 1:5], mask[:, :4]), (tokens[:, 5:], mask[:, 4:]))
            )
            quantized = torch.cat([tokens[:, :1], picture, text], dim=1)
        projections.append(rest(encoder, quantized, with_class, after))
    expected, _ = info_nce(*projections, 0.2)
    torch.testing.assert_close(loss, expected)


def test_blocks_before_the_quantizer_are_trained() -> None:
    encoder = encoder_of(PICTURE)
    method = method_of(encoder, after_block=2)
    loss, _ = method.loss(Batch((torch.rand(4, 3, 8, 8),), encoder), torch.Generator().manual_seed(0))
    loss.backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())
    assert not encoder.blocks[1]._forward_hooks, "features after pretraining are not quantized"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"after_block": 4}, "has 3 blocks"),
        ({"after_block": 1, "level": "input"}, "needs method.level=embedding"),
        ({"after_block": 1, "level": "auto"}, "needs method.level=embedding"),
        ({"after_block": 1, "gradient": "detach"}, "blocks before it would not be trained"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        method_of(encoder_of(PICTURE), **options)


def test_the_note_says_where_the_quantizer_is() -> None:
    assert "tokens after block 2" in rq.note(rq.Options(level="embedding", gradient="extremes", after_block=2))
