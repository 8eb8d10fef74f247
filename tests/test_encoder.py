"""The encoder against the reference's weights, intermediates, outputs and gradients; masks and shape errors."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dabs_rq.checkpoint.dabs import dabs_name, from_dabs
from dabs_rq.encoders.transformer import Transformer
from dabs_rq.spec import Grid, Input, Series, Tabular, Tokens
from tests.golden_cases import Case, names

TOKENS = Tokens(name="text", length=6, vocabulary=11, pad=0)
SMALL: dict[str, Any] = {"width": 16, "depth": 2, "heads": 2, "head_width": 8, "mlp_width": 32, "out_width": 5}


def inputs_of(specs: list[dict[str, Any]]) -> tuple[Input, ...]:
    built: list[Input] = []
    for number, spec in enumerate(specs):
        name = f"input{number}"
        if spec["input_type"] == "2d":
            height, width = spec["input_size"]
            patch = tuple(spec["patch_size"])
            built.append(Grid(name=name, height=height, width=width, channels=spec["in_channels"], patch=patch))
        elif spec["input_type"] == "1d":
            length, segment = spec["seq_len"], spec["segment_size"]
            built.append(Series(name=name, length=length, channels=spec["in_channels"], segment=segment))
        elif spec["input_type"] == "tabular":
            built.append(Tabular(name=name, features=spec["num_features"]))
        else:
            built.append(Tokens(name=name, length=spec["seq_len"], vocabulary=spec["vocab_size"]))
    return tuple(built)


def reference_encoder(case: Case, prefix: str = "param/") -> Transformer:
    model = case.settings["model"]
    encoder = Transformer(
        inputs_of(case.settings["specs"]),
        width=model["dim"],
        depth=model["depth"],
        heads=model["heads"],
        head_width=model["dim_head"],
        mlp_width=model["mlp_dim"],
        out_width=model["out_dim"],
        pool={"mean": "mean", "cls": "class"}[model["pool"]],
        dropout=model["dropout"],
    )
    encoder.load_state_dict(from_dabs(case.below(prefix), list(encoder.state_dict())), strict=True)
    return encoder.eval()


@pytest.mark.parametrize("name", names("encoder"))
def test_reproduces_the_reference(name: str) -> None:
    case = Case(name)
    encoder = reference_encoder(case)
    inputs = tuple(case[f"input/{i}"] for i in range(len(encoder.inputs)))
    tokens = encoder.embed(inputs)
    encoded = encoder.encode(tokens, encoder.mask(inputs))
    output = encoder.project(encoded.pooled)
    for found, key in ((tokens, "embed"), (encoded.tokens, "prepool"), (encoded.pooled, "prehead"), (output, "output")):
        torch.testing.assert_close(found, case[key], atol=1e-5, rtol=1e-5)

    (output * case["w"]).sum().backward()
    norms = case.settings["grad_norms"]
    scale = max(norms.values())
    for ours, parameter in encoder.named_parameters():
        theirs = dabs_name(ours)
        assert parameter.grad is not None
        assert abs(float(parameter.grad.norm()) - norms[theirs]) <= 1e-4 * scale
        if (expected := case.get(f"grad/{theirs}")) is not None:
            torch.testing.assert_close(parameter.grad, expected, atol=1e-4 * float(expected.abs().max()), rtol=1e-4)


def test_the_published_size_has_the_published_number_of_parameters() -> None:
    image = Grid(name="image", height=224, width=224, channels=3, patch=16)
    with torch.device("meta"):
        assert sum(p.numel() for p in Transformer((image,)).parameters()) == 9_742_720


def test_padding_changes_nothing_when_masked() -> None:
    torch.manual_seed(0)
    encoder = Transformer((TOKENS,), **SMALL).eval()
    ids = torch.tensor([[3, 4, 5, 0, 0, 0]])
    mask = encoder.mask((ids,))
    assert mask is not None and mask.tolist() == [[True, True, True, False, False, False]]
    pooled = encoder.encode(encoder.embed((ids,)), mask).pooled
    with torch.no_grad():
        encoder.embeddings[0].table[0] += 100  # type: ignore[index, operator]
    torch.testing.assert_close(encoder.encode(encoder.embed((ids,)), mask).pooled, pooled)


def test_without_mask_padding_counts_as_a_token() -> None:
    encoder = Transformer((TOKENS,), **SMALL, mask_padding=False)
    assert encoder.mask((torch.zeros(2, 6, dtype=torch.long),)) is None


def test_wrong_shapes_are_named() -> None:
    encoder = Transformer((TOKENS,), **SMALL)
    with pytest.raises(ValueError, match=r"'text'.*\(B, 6\).*\(2, 7\)"):
        encoder.embed((torch.zeros(2, 7, dtype=torch.long),))
    with pytest.raises(ValueError, match="1 inputs expected"):
        encoder.embed(())
    with pytest.raises(ValueError, match=r"\(B, 6, 16\).*\(2, 6, 15\)"):
        encoder.encode(torch.zeros(2, 6, 15))
    with pytest.raises(ValueError, match="pool"):
        Transformer((TOKENS,), **SMALL, pool="max")


# ---- kept positions ----------------------------------------------------------------------------------------------


def test_all_positions_kept_in_order_change_nothing() -> None:
    torch.manual_seed(0)
    encoder = Transformer((TOKENS,), **SMALL).eval()
    ids = torch.tensor([[3, 4, 5, 0, 0, 0], [1, 2, 3, 4, 5, 0]])
    tokens, mask = encoder.embed((ids,)), encoder.mask((ids,))
    every = torch.arange(6).expand(2, -1)
    for one in (mask, None):
        whole, kept = encoder.encode(tokens, one), encoder.encode(tokens, one, every)
        torch.testing.assert_close(kept.tokens, whole.tokens)
        torch.testing.assert_close(kept.pooled, whole.pooled)


def test_kept_tokens_are_encoded_at_their_own_positions_without_the_others() -> None:
    torch.manual_seed(0)
    encoder = Transformer((TOKENS,), **SMALL).eval()
    ids = torch.tensor([[3, 4, 5, 6, 0, 0], [1, 2, 3, 4, 5, 0]])
    tokens, mask = encoder.embed((ids,)), encoder.mask((ids,))
    assert mask is not None
    kept = torch.tensor([[3, 0, 5], [1, 4, 2]])
    found = encoder.encode(tokens, mask, kept)
    assert found.tokens.shape == (2, 4, 16)
    for row in range(2):  # by hand: a shorter sequence with those positions, in a network that has no others
        alone = Transformer((Tokens(name="text", length=3, vocabulary=11, pad=0),), **SMALL).eval()
        own = {name: tensor for name, tensor in encoder.state_dict().items() if name != "positions"}
        positions = torch.cat([encoder.positions[:, :1], encoder.positions[:, 1:][:, kept[row]]], dim=1)
        alone.load_state_dict(own | {"positions": positions})
        expected = alone.encode(tokens[row : row + 1, kept[row]], mask[row : row + 1, kept[row]])
        torch.testing.assert_close(found.tokens[row : row + 1], expected.tokens)
        torch.testing.assert_close(found.pooled[row : row + 1], expected.pooled)
    # To drop a token is to mask it.
    visible = torch.zeros(2, 6, dtype=torch.bool).scatter(1, kept, True) & mask
    torch.testing.assert_close(encoder.encode(tokens, visible).pooled, found.pooled)
    with pytest.raises(ValueError, match=r"kept of shape \(2, K\).*\(3,\)"):
        encoder.encode(tokens, mask, torch.arange(3))


def test_the_architecture_says_what_the_weights_do_not() -> None:
    import json

    changes: list[dict[str, Any]] = [{"heads": 4, "head_width": 4}, {"pool": "class"}, {"mask_padding": False}]
    plain = Transformer((TOKENS,), **SMALL)
    for change in changes:
        torch.manual_seed(0)
        other = Transformer((TOKENS,), **SMALL | change)
        assert other.architecture != plain.architecture
        assert {name: one.shape for name, one in other.state_dict().items()} == {
            name: one.shape for name, one in plain.state_dict().items()
        }
    assert json.loads(json.dumps(plain.architecture)) == plain.architecture
    plain.mask_padding = False
    assert plain.architecture == Transformer((TOKENS,), **SMALL, mask_padding=False).architecture


def test_attention_on_a_cpu_is_computed_in_float32_whatever_the_rest_is(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, seen = Transformer((TOKENS,), **SMALL).eval(), []
    real = torch.nn.functional.scaled_dot_product_attention

    def noted(*qkv: torch.Tensor, **named: Any) -> torch.Tensor:
        seen.append((*(one.dtype for one in qkv), (out := real(*qkv, **named)).dtype))
        return out

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", noted)
    ids = torch.tensor([[1, 2, 3, 0, 0, 0], [4, 5, 6, 7, 8, 9]])
    expected = encoder((ids,))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = encoder((ids,))
    encoder.to(torch.bfloat16)((ids,))
    assert seen == [(torch.float32,) * 4] * (3 * SMALL["depth"])
    assert mixed.dtype == torch.bfloat16
    torch.testing.assert_close(mixed.float(), expected, atol=0.05, rtol=0.05)
