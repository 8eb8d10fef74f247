"""The made-up ImageNet of the images domain, in its native layout."""

from __future__ import annotations

from pathlib import Path

from dabs_rq.domains.images import miniature as images
from dabs_rq.miniature.writers import generator

# The digest of domains/images/miniature.py, which draws the pictures: with it this file changes, and so the version of
# the made-up data.
DRAWN_BY = "6b509b8e6d0737b1"


def write(root: Path, seed: int) -> None:
    """Write 2,060 training and 100 validation pictures of 20 classes below `root`, the same bytes for the same seed."""
    draw = images._imagenet
    draw(root / "natural_images", generator(seed, draw.__name__))
