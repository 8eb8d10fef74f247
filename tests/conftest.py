"""Fixtures: miniature data written once per test session, and requests for readers."""

from __future__ import annotations

import atexit
import dataclasses
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from dabs_rq import registry
from dabs_rq.data.examples import Examples
from dabs_rq.data.prepared import Store
from dabs_rq.data.readers.tokenizer import with_vocabulary
from dabs_rq.data.requests import Request
from dabs_rq.files import write_once
from dabs_rq.miniature import write as made_up_data
from dabs_rq.run.compose import load_protocol
from tests.browser import browser  # noqa: F401

# Tests run beside each other on a busy machine, so no example has a deadline.
hypothesis.settings.register_profile(
    "dabs_rq", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], derandomize=True
)
hypothesis.settings.load_profile("dabs_rq")

# Read when those libraries are imported, which is later: no test needs a network or leaves anything behind.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_CACHE"] = tempfile.mkdtemp(prefix="dabs-rq-tests-")
atexit.register(shutil.rmtree, os.environ["HF_DATASETS_CACHE"], ignore_errors=True)


@pytest.fixture(scope="session")
def miniature(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Callable[[str], Path]:
    """The data root of a domain's miniature, or of its installed data, written once for all workers. Copy before
    changing anything in it."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent

    def root(domain: str) -> Path:
        folder = shared / f"miniature-{domain}"
        if (installed := registry.domain(domain).installed) is not None:
            write_once(folder, installed.write, f"writing {folder}")
        else:
            made_up_data.ensure(domain, folder)
        return folder

    return root


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A prepared cache of the miniatures for all workers."""
    base = tmp_path_factory.getbasetemp()
    return (base if worker_id == "master" else base.parent) / "prepared"


@pytest.fixture(scope="session")
def with_data(miniature: Callable[[str], Path], prepared: Path) -> Callable[..., Path]:
    """with_data(runs, *domains): the folder `runs`, in which these miniatures or installed data are written already,
    and prepared arrays are those of all tests."""

    def with_data(runs: Path, *domains: str) -> Path:
        places = {runs / "prepared": prepared}
        for name in domains:
            if (installed := registry.domain(name).installed) is not None:
                places[runs / "installed" / f"{name}-{installed.key}"] = miniature(name)
            else:
                places[runs / "miniature" / f"{name}-{registry.miniature_version(name)}"] = miniature(name)
        for place, target in places.items():
            target.mkdir(exist_ok=True)
            if not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to(target)
        return runs

    return with_data


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Examples]:
    """read(load, root, domain, split, protocol="corrected", made_up=True, strict=False, prepare="never", kept=None,
    **options): the examples of one split, with protocol options overridden by `options`. kept: the prepared cache."""

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
        kept: Path | None = None,
        **options: Any,
    ) -> Examples:
        chosen = dataclasses.replace(load_protocol(protocol), **options)
        request = Request(
            root=root,
            split=split,
            inputs=with_vocabulary(registry.domain(domain).inputs[scale], root, chosen),
            protocol=chosen,
            prepare=Store(kept or tmp_path / "prepared", policy=prepare).prepare,
            made_up=made_up,
            strict=strict,
        )
        return load(request)

    return read
