"""The names of our encoder's tensors in DABS's checkpoints, both ways. The tensors are the same, shape and order."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

_BLOCK = r"blocks\.(\d+)\."
# (pattern of our name, DABS's name with the pattern's groups)
_NAMES = (
    (r"positions", "pos_embedding"),
    (r"class_token", "cls_token"),
    (r"embeddings\.(\d+)\.projection\.(weight|bias)", r"embed_modules.\1.embed.1.\2"),
    (r"embeddings\.(\d+)\.table", r"embed_modules.\1.embed.weight"),
    (_BLOCK + r"attention\.norm\.(weight|bias)", r"transformer.layers.\1.0.norm.\2"),
    (_BLOCK + r"attention\.to_qkv\.weight", r"transformer.layers.\1.0.fn.to_qkv.weight"),
    (_BLOCK + r"attention\.to_out\.(weight|bias)", r"transformer.layers.\1.0.fn.to_out.0.\2"),
    (_BLOCK + r"feed_forward\.norm\.(weight|bias)", r"transformer.layers.\1.1.norm.\2"),
    (_BLOCK + r"feed_forward\.expand\.(weight|bias)", r"transformer.layers.\1.1.fn.net.0.\2"),
    (_BLOCK + r"feed_forward\.contract\.(weight|bias)", r"transformer.layers.\1.1.fn.net.3.\2"),
    (r"head\.([01])\.(weight|bias)", r"mlp_head.\1.\2"),
)


def dabs_name(name: str) -> str:
    """DABS's name of one of our encoder's tensors. Raises KeyError for a name that is none of ours."""
    for pattern, theirs in _NAMES:
        if match := re.fullmatch(pattern, name):
            return match.expand(theirs)
    raise KeyError(name)


def from_dabs(state: Mapping[str, Tensor], names: list[str]) -> dict[str, Tensor]:
    """Tensors of a DABS state dict (without the "model." prefix) under our `names`.

    Raises KeyError naming every tensor that is missing, and every one that is left over.
    """
    wanted = {dabs_name(name): name for name in names}
    missing, extra = sorted(set(wanted) - set(state)), sorted(set(state) - set(wanted))
    if missing or extra:
        raise KeyError(f"missing: {', '.join(missing) or 'none'}; unexpected: {', '.join(extra) or 'none'}")
    return {ours: state[theirs] for theirs, ours in wanted.items()}
