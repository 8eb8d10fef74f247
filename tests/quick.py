"""The domains that `make test` loops over where a loop over all of them takes long; `make test-all` takes every one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

# One of each kind: pictures of a package, pictures in files, a stream, rows, series, texts, and pictures with texts.
DOMAINS = ("digits", "imagenet", "multilingual", "particles", "sensor", "text", "vqa")


def others_slow(values: Iterable[Any], quick: Iterable[Any] = DOMAINS) -> list[Any]:
    """Parameters of a test: those that are not in `quick` are slow. A tuple is several parameters."""
    kept = list(quick)
    return [
        pytest.param(*(one if isinstance(one, tuple) else (one,)), marks=[] if one in kept else [pytest.mark.slow])
        for one in values
    ]
