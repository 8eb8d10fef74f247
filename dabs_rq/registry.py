"""Finds domains, methods and encoders by looking: a domain is one folder, a method or an encoder one file.

`domains/<name>/__init__.py` exports DOMAIN, `dabs_rq/methods/<name>.py` exports METHOD, `dabs_rq/encoders/<name>.py`
exports ENCODER; the name inside is the name of the folder or file. Folders named in DABS_RQ_PATH (separated like PATH)
may hold `domains/<name>/`, `methods/<name>.py` and `encoders/<name>.py` of their own, and
`tasks/<domain>/<name>/__init__.py` with a TASK for a domain that there is: it comes after those that the domain
declares.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from dabs_rq.domain import Domain, Task
from dabs_rq.errors import MissingDataError, OptionError, unknown
from dabs_rq.files import digest

if TYPE_CHECKING:
    from dabs_rq.encoders.base import EncoderSpec
    from dabs_rq.methods.base import MethodSpec

Files = dict[str, tuple[Path, str]]  # name -> (file, name of its module)
PACKAGE: Path = Path(__file__).parent
PATH_VARIABLE = "DABS_RQ_PATH"
EXTRA = "_dabs_rq_"  # how the packages of those folders are called
SHARED = {"method": ("base", "losses"), "encoder": ("base", "embed")}  # modules beside them that declare none


T = TypeVar("T")
_known: dict[tuple[str, ...], Any] = {}


def _once(find: Callable[..., T]) -> Callable[..., T]:
    """Calls `find` once for each name and value of DABS_RQ_PATH."""

    @wraps(find)
    def found(*names: str) -> T:
        key = (os.environ.get(PATH_VARIABLE, ""), find.__name__, *names)
        if key not in _known:
            _known[key] = find(*names)
        return _known[key]

    return found


def refresh() -> None:
    """Forget what was imported from the folders of DABS_RQ_PATH: files there have changed."""
    _known.clear()
    for name in [name for name in sys.modules if name.startswith(EXTRA)]:
        del sys.modules[name]
    importlib.invalidate_caches()


def _extra_folders() -> tuple[Path, ...]:
    named = [Path(part).resolve() for part in os.environ.get(PATH_VARIABLE, "").split(os.pathsep) if part]
    for folder in named:
        if not folder.is_dir():
            raise OptionError(f"{PATH_VARIABLE} names {folder}, which is no folder")
    return tuple(named)


def _builtin_domains() -> Path:
    spec = importlib.util.find_spec("domains")
    assert spec is not None and spec.submodule_search_locations
    return Path(next(iter(spec.submodule_search_locations)))


def _extra(*parts: str) -> list[tuple[Path, str]]:
    """A folder of each of those, and the name of its package."""
    return [(folder.joinpath(*parts), f"{EXTRA}{digest(str(folder))}_{'_'.join(parts)}") for folder in _extra_folders()]


def _find(kind: str, places: list[tuple[Path, str]], pattern: str) -> Files:
    """Everything of one kind in `places` (folder, name of its package), sorted by name."""
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


def _domain_files() -> Files:
    return _find("domain", [(_builtin_domains(), "domains"), *_extra("domains")], "*/__init__.py")


def _method_files() -> Files:
    return _find("method", [(PACKAGE / "methods", "dabs_rq.methods"), *_extra("methods")], "*.py")


def _encoder_files() -> Files:
    return _find("encoder", [(PACKAGE / "encoders", "dabs_rq.encoders"), *_extra("encoders")], "*.py")


def _added_task_files(domain_name: str) -> Files:
    """The tasks that folders in DABS_RQ_PATH add to that domain."""
    domains = _domain_files()
    for folder, _ in _extra("tasks"):
        for inside in sorted(folder.glob("*/*/__init__.py")):
            if (named := inside.parent.parent).name not in domains:
                raise OptionError(f"{named} is named after no domain: {unknown('domain', named.name, domains)}")
    return _find("task", _extra("tasks", domain_name), "*/__init__.py")


def _import(file: Path, module: str) -> ModuleType:
    package = module.rpartition(".")[0]
    if package.startswith(EXTRA) and package not in sys.modules:
        # A package without a file of its own, so that what lies in an extra folder may import its neighbours.
        sys.modules[package] = ModuleType(package)
        place = file.parent.parent if file.name == "__init__.py" else file.parent
        sys.modules[package].__path__ = [str(place)]
    return importlib.import_module(module)


def _constant(file: Path, module: str, constant: str, kind: type, name: str) -> Any:
    value = getattr(_import(file, module), constant, None)
    if not isinstance(value, kind):
        raise OptionError(f"{file} must define {constant}, a {kind.__name__}; got {type(value).__name__}")
    declared = value.name  # type: ignore[attr-defined]
    if declared != name:
        raise OptionError(f"{file}: {constant}.name is {declared!r}, but its place says {name!r}. Make them equal.")
    return value


def domain_names() -> tuple[str, ...]:
    """Names of all domains, sorted, without importing them."""
    return tuple(_domain_files())


def method_names() -> tuple[str, ...]:
    """Names of all methods, by the order that they declare, then by name. A file that cannot be imported comes
    last, so that the others can still be used."""
    return tuple(sorted(_method_files(), key=lambda name: (_order(name), name)))


def _order(name: str) -> int:
    try:
        return method(name).order
    except Exception:
        return sys.maxsize


def encoder_names() -> tuple[str, ...]:
    """Names of all encoders, sorted, without importing them."""
    return tuple(_encoder_files())


@_once
def domain(name: str) -> Domain:
    """The domain called `name`. Raises OptionError, naming the nearest match, if there is none."""
    files = _domain_files()
    if name not in files:
        raise OptionError(unknown("domain", name, files))
    declared = _constant(*files[name], "DOMAIN", Domain, name)
    own, added = {task.name for task in declared.tasks}, _added_task_files(name)
    for task_name, (file, _) in added.items():
        if task_name in own:
            raise OptionError(f"task {task_name!r} is declared twice: {files[name][0]} and {file}. Rename one.")
    tasks = (_constant(*place, "TASK", Task, task_name) for task_name, place in added.items())
    return dataclasses.replace(declared, tasks=(*declared.tasks, *tasks))


@_once
def domains() -> tuple[Domain, ...]:
    """All domains, sorted by name. Raises OptionError if two of them declare a task of the same name."""
    every = tuple(domain(name) for name in domain_names())
    owner: dict[str, str] = {}
    for declared in every:
        for task in declared.tasks:
            if task.name in owner:
                raise OptionError(
                    f"task {task.name!r} is declared by domains {owner[task.name]!r} and {declared.name!r}"
                )
            owner[task.name] = declared.name
    return every


def task(domain_name: str, name: str) -> Task:
    """One task of a domain."""
    tasks = {task.name: task for task in domain(domain_name).tasks}
    if name not in tasks:
        raise OptionError(unknown(f"task of domain {domain_name!r}", name, tasks))
    return tasks[name]


@_once
def method(name: str) -> MethodSpec:
    """The method called `name`. Raises OptionError, naming the nearest match, if there is none."""
    from dabs_rq.methods.base import MethodSpec

    files = _method_files()
    if name not in files:
        raise OptionError(unknown("method", name, files))
    return _constant(*files[name], "METHOD", MethodSpec, name)


@_once
def encoder(name: str) -> EncoderSpec:
    """The encoder called `name`. Raises OptionError, naming the nearest match, if there is none."""
    from dabs_rq.encoders.base import EncoderSpec

    files = _encoder_files()
    if name not in files:
        raise OptionError(unknown("encoder", name, files))
    return _constant(*files[name], "ENCODER", EncoderSpec, name)


def module_of_domain(name: str) -> str:
    """The name of the module that declares a domain."""
    return _domain_files()[domain(name).name][1]


def module_of_method(name: str) -> str:
    """The name of the module that declares a method."""
    return _method_files()[method(name).name][1]


def module_of_encoder(name: str) -> str:
    """The name of the module that declares an encoder."""
    return _encoder_files()[encoder(name).name][1]


def module_of_task(domain_name: str, name: str) -> str:
    """The name of the module that declares a task: the domain's own, or, for an added task, its own."""
    added = _added_task_files(domain_name)
    return added[name][1] if name in added else module_of_domain(domain_name)


def added_tasks(domain_name: str) -> tuple[Task, ...]:
    """The tasks that folders in DABS_RQ_PATH add to a domain."""
    return tuple(task for task in domain(domain_name).tasks if task.name in _added_task_files(domain_name))


def miniature_version(name: str) -> str | None:
    """The hash of the source files of a domain's miniature, those that all domains share among them; None if it has no
    `miniature.py`."""
    shared = sorted(file for file in (PACKAGE / "miniature").glob("*.py") if file.name != "write.py")
    return _version(_domain_files()[domain(name).name][0].parent, shared)


def _version(folder: Path, shared: Sequence[Path] = ()) -> str | None:
    sources = [*sorted(folder.glob("miniature*.py")), *shared]
    return digest(*(source.read_bytes() for source in sources)) if (folder / "miniature.py").exists() else None


def miniature(name: str) -> ModuleType:
    """A domain's `miniature.py`, with `write(root, seed)`. Raises MissingDataError if it has none."""
    init, module = _domain_files()[domain(name).name]
    if miniature_version(name) is None:
        file = init.parent / "miniature.py"
        raise MissingDataError(f"domain {name!r} has no miniature data: {file} is missing. Give DATA=/root.")
    return importlib.import_module(f"{module}.miniature")


def task_miniature(domain_name: str, name: str) -> tuple[ModuleType, str] | None:
    """The `miniature.py` of an added task, with `write(root, seed)`, and its version; None where the task has
    none, as one that reads a source of its domain."""
    init, module = _added_task_files(domain_name)[name]
    if (version := _version(init.parent)) is None:
        return None
    _import(init, module)
    return importlib.import_module(f"{module}.miniature"), version
