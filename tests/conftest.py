"""Fixtures: miniature data written once per test session, and requests for readers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dabs_rq import config, registry
from dabs_rq.examples import Examples, Request
from dabs_rq.prepared import Store


@pytest.fixture(scope="session")
def miniature(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The data root of a domain's miniature (written at the first call). Copy before changing anything in it."""
    written: dict[str, Path] = {}

    def root(domain: str) -> Path:
        if domain not in written:
            written[domain] = tmp_path_factory.mktemp(f"miniature-{domain}")
            registry.miniature(domain).write(written[domain], seed=0)
        return written[domain]

    return root


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Examples]:
    """read(load, root, domain, split, protocol="corrected", made_up=True, strict=False, prepare="never", **options):
    the examples of one split, with protocol options overridden by `options`."""

    def read(
        load: Callable[[Request], Examples],
        root: Path,
        domain: str,
        split: str,
        *,
        protocol: str = "corrected",
        scale: str = "mini",
        made_up: bool = True,
        strict: bool = False,
        prepare: Any = "never",
        **options: Any,
    ) -> Examples:
        request = Request(
            root=root,
            split=split,
            inputs=registry.domain(domain).inputs[scale],  # type: ignore[index]
            protocol=dataclasses.replace(config.load_protocol(protocol), **options),
            prepare=Store(tmp_path / "prepared", policy=prepare).prepare,
            made_up=made_up,
            strict=strict,
        )
        return load(request)

    return read
