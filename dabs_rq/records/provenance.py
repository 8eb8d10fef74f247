"""Provenance of a result: commit, hashes of the code, package versions and hardware."""

from __future__ import annotations

import ast
import datetime
import importlib
import importlib.metadata
import importlib.util
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from dabs_rq import plugins, registry
from dabs_rq.files import digest

PACKAGES = ("dabs_rq", "torch", "pytorch-lightning", "datasets", "numpy", "scikit-learn", "scipy")


@cache
def provenance() -> dict[str, Any]:
    """Collect commit (with "-dirty" if files differ from it), versions and hardware, once per process."""
    return {
        "commit": _commit(),
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
        "hardware": _hardware(),
    }


@cache
def code(*modules: str) -> dict[str, str]:
    """Hash the code of `modules` and of all our modules that they import, directly or indirectly.

    Comments, docstrings and layout do not affect a hash. Hashes compare only under the same version of Python.
    """
    hashes: dict[str, str] = {}
    pending = list(modules)
    while pending:
        if (name := pending.pop()) not in hashes:
            hashes[name], imported = _read(name)
            pending += imported
    return dict(sorted(hashes.items()))


@cache
def _read(module: str) -> tuple[str, tuple[str, ...]]:
    """Hash a module's syntax tree without docstrings, and list our modules that it imports, at its top or inside
    functions, and their packages."""
    file = _file(module)
    assert file is not None
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    tree, names = ast.parse(file.read_bytes()), set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
        elif isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return digest(ast.dump(tree)), tuple(sorted(name for name in names if _file(name)))


_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@cache
def _file(module: str) -> Path | None:
    """Find the file of one of our modules without importing it; None for other names."""
    package, *rest = module.split(".")
    if package not in ("dabs_rq", *plugins.installed_packages()) and not package.startswith(registry.EXTRA):
        return None
    for folder in importlib.import_module(package).__path__:
        place = Path(folder).joinpath(*rest)
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if rest and file.is_file():
                return file
    return None


def refresh() -> None:
    """Clear the caches of source code, so that files that changed in this process are read again."""
    for cached in (code, _read, _file):
        cached.cache_clear()


def is_ours(module: str) -> bool:
    """Return whether `code` covers a module: one of the project, of a domain, or of a plug-in folder."""
    return _file(module) is not None


def now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _commit() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _hardware() -> str:
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}"
    threads = torch.get_num_threads()
    return f"{platform.machine()} CPU, {threads} thread{'' if threads == 1 else 's'}"
