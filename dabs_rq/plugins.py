"""Finds the files that declare domains, methods, encoders and tasks: ours, and those of plug-in folders.

What the files must be called: see `dabs_rq.registry`.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from dabs_rq.errors import OptionError, unknown
from dabs_rq.files import digest

Files = dict[str, tuple[Path, str]]  # name -> (file, name of its module)
PATH_VARIABLE = "DABS_RQ_PATH"
EXTRA = "_dabs_rq_"  # prefix of the package names of plug-in folders
SHARED = {"method": ("base", "losses"), "encoder": ("base", "embed")}  # modules that declare no method or encoder
_PACKAGE = Path(__file__).parent


def _extra_folders() -> tuple[Path, ...]:
    folders = [Path(part).resolve() for part in os.environ.get(PATH_VARIABLE, "").split(os.pathsep) if part]
    for folder in folders:
        if not folder.is_dir():
            raise OptionError(f"{PATH_VARIABLE} names {folder}, which is not a folder")
    return tuple(folders)


def _builtin_domains() -> Path:
    """Return the folder beside this package, and let `import domains` mean it: the working folder comes first on
    Python's path, and may hold another folder of that name."""
    folder = _PACKAGE.parent / "domains"
    if not (folder / "__init__.py").is_file():
        raise OptionError(f"{folder} is missing: install dabs_rq again")
    loaded = sys.modules.get("domains")
    if loaded is None or not getattr(loaded, "__file__", None):
        spec = importlib.util.spec_from_file_location(
            "domains", folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        assert spec is not None and spec.loader is not None
        sys.modules["domains"] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    elif Path(str(loaded.__file__)).resolve() != (folder / "__init__.py").resolve():
        raise OptionError(
            f"another package called 'domains' is imported already, from {loaded.__file__}; dabs_rq needs its own, "
            f"{folder}. Import dabs_rq.registry first, or rename the other one."
        )
    return folder


def _extra(*parts: str) -> list[tuple[Path, str]]:
    """Return the subfolder `parts` of each plug-in folder, with the name of its package."""
    return [(folder.joinpath(*parts), f"{EXTRA}{digest(str(folder))}_{'_'.join(parts)}") for folder in _extra_folders()]


def _find(kind: str, places: list[tuple[Path, str]], pattern: str) -> Files:
    """Find all files of one kind in `places` (folder, name of its package), sorted by name."""
    files: Files = {}
    for folder, package in places:
        for file in sorted(folder.glob(pattern)):
            if pattern == "*.py" and (file.name.startswith("_") or file.stem in SHARED[kind]):
                continue
            name = file.parent.name if file.name == "__init__.py" else file.stem
            if name in files:
                raise OptionError(f"{kind} {name!r} is declared twice: {files[name][0]} and {file}. Rename one.")
            files[name] = (file, f"{package}.{name}")
    return dict(sorted(files.items()))


def domain_files() -> Files:
    return _find("domain", [(_builtin_domains(), "domains"), *_extra("domains")], "*/__init__.py")


def method_files() -> Files:
    return _find("method", [(_PACKAGE / "methods", "dabs_rq.methods"), *_extra("methods")], "*.py")


def encoder_files() -> Files:
    return _find("encoder", [(_PACKAGE / "encoders", "dabs_rq.encoders"), *_extra("encoders")], "*.py")


def added_task_files(domain_name: str) -> Files:
    """Find the tasks that plug-in folders add to a domain."""
    domains = domain_files()
    for folder, _ in _extra("tasks"):
        for init in sorted(folder.glob("*/*/__init__.py")):
            if (domain_folder := init.parent.parent).name not in domains:
                problem = unknown("domain", domain_folder.name, domains)
                raise OptionError(f"{domain_folder} does not have the name of a domain: {problem}")
    return _find("task", _extra("tasks", domain_name), "*/__init__.py")
