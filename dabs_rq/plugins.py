"""Finds and imports the modules that declare domains, methods, encoders, metrics and tasks: ours, those of installed
packages, and those of plug-in folders, in this order.

An installed package names its modules in the entry points dabs_rq.domains, dabs_rq.methods, dabs_rq.encoders and
dabs_rq.metrics, for example `mine = "my_package.mine"`. What files and folders must be called: see `dabs_rq.registry`.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any, ParamSpec, TypeVar

from dabs_rq.errors import DabsRqError, OptionError, PluginError, PluginWarning, first_line, unknown
from dabs_rq.files import digest

Files = dict[str, tuple[Path, str]]  # name -> (file, name of its module)
PATH_VARIABLE = "DABS_RQ_PATH"
EXTRA = "_dabs_rq_"  # prefix of the package names of plug-in folders
# Modules that declare no method, encoder or metric.
SHARED = {
    "method": ("base", "corruption", "lars", "losses", "pictures", "views"),
    "encoder": ("base", "embed", "resnet"),
    "metric": ("base", "classes", "correlation", "ties"),
}
KINDS = ("domains", "methods", "encoders", "metrics", "tasks")  # the subfolders of a plug-in folder
_PACKAGE = Path(__file__).parent
DOMAINS = _PACKAGE / "domains"

P = ParamSpec("P")
T = TypeVar("T")
_known: dict[tuple[Any, ...], Any] = {}


def once(find: Callable[P, T]) -> Callable[P, T]:
    """Cache the results of `find` by arguments and by the value of DABS_RQ_PATH, until `refresh`."""

    @wraps(find)
    def cached_find(*arguments: P.args, **named: P.kwargs) -> T:
        key = (os.environ.get(PATH_VARIABLE, ""), find.__qualname__, *arguments, *named.items())
        if key not in _known:
            _known[key] = find(*arguments, **named)
        return _known[key]

    return cached_find


def is_added(module: str) -> bool:
    """Return whether a module is not one of this package."""
    return module.partition(".")[0] != "dabs_rq"


def plugin_error(file: Path, error: BaseException) -> PluginError:
    """Make the error for a plug-in that cannot be imported: the file and line of the plug-in where it failed."""
    folder = file.parent
    if isinstance(error, SyntaxError) and error.filename:
        return PluginError(f"{error.filename}, line {error.lineno}: {type(error).__name__}: {error.msg}")
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).parent == folder]
    place = f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else str(file)
    return PluginError(f"{place}: {type(error).__name__}: {first_line(error)}")


def leave_out(problem: object) -> None:
    """Say that a plug-in is left out, and why."""
    warnings.warn(f"{problem}. This plug-in is left out.", PluginWarning, stacklevel=3)


def _extra_folders() -> tuple[Path, ...]:
    folders = [Path(part).resolve() for part in os.environ.get(PATH_VARIABLE, "").split(os.pathsep) if part]
    for folder in folders:
        if not folder.is_dir():
            raise OptionError(f"{PATH_VARIABLE} names {folder}, which is not a folder")
        if not any((folder / kind).exists() for kind in KINDS) and any(folder.iterdir()):
            above = f" Name the folder above it, {folder.parent}." if folder.name in KINDS else ""
            raise OptionError(f"{PATH_VARIABLE} names {folder}, which holds none of {'/, '.join(KINDS)}/.{above}")
    return tuple(folders)


def _extra(*parts: str) -> list[tuple[Path, str]]:
    """Return the subfolder `parts` of each plug-in folder, with the name of its package."""
    return [(folder.joinpath(*parts), f"{EXTRA}{digest(str(folder))}_{'_'.join(parts)}") for folder in _extra_folders()]


def _find(kind: str, own: Path | None, pattern: str, *subfolder: str) -> Files:
    """Find all modules of one kind, sorted by name.

    own: the folder of those of this package. pattern: of files below a folder. subfolder: of plug-in folders.
    """
    files: Files = {}

    def add(name: str, file: Path, module: str) -> None:
        if name in files:
            raise OptionError(f"{kind} {name!r} is declared twice: {files[name][0]} and {file}. Rename one.")
        files[name] = (file, module)

    if own is not None:
        for name, file in _matching(kind, own, pattern):
            add(name, file, f"dabs_rq.{own.name}.{name}")
        for name, file, module in _installed(f"dabs_rq.{own.name}"):
            add(name, file, module)
    for folder, package in _extra(*subfolder):
        if folder.exists() and not folder.is_dir():
            raise OptionError(f"{folder} is a file; a folder is expected there")
        for name, file in _matching(kind, folder, pattern):
            add(name, file, f"{package}.{name}")
    return dict(sorted(files.items()))


def _matching(kind: str, folder: Path, pattern: str) -> list[tuple[str, Path]]:
    """List (name, file) of the modules below a folder."""
    if pattern != "*.py":
        return [(file.parent.name, file) for file in sorted(folder.glob(pattern))]
    files = [file for file in sorted(folder.glob(pattern)) if not file.name.startswith("_")]
    return [(file.stem, file) for file in files if file.stem not in SHARED[kind]]


@once
def _installed(group: str) -> tuple[tuple[str, Path, str], ...]:
    """List (name, file, module) of the entry points of a group, sorted. One that leads nowhere is left out."""
    found = []
    for point in sorted(importlib.metadata.entry_points(group=group), key=lambda point: (point.name, point.value)):
        try:
            spec = importlib.util.find_spec(point.module)
        except (Exception, SystemExit) as error:
            leave_out(f"entry point {point.name} = {point.value} of {group}: {type(error).__name__}: {error}")
            continue
        if spec is None or spec.origin is None:
            leave_out(f"entry point {point.name} = {point.value} of {group}: there is no module {point.module}")
            continue
        found.append((point.name, Path(spec.origin), point.module))
    return tuple(found)


def installed_packages() -> frozenset[str]:
    """List the top-level packages of installed plug-ins."""
    groups = [f"dabs_rq.{kind}" for kind in KINDS if kind != "tasks"]
    return frozenset(module.partition(".")[0] for group in groups for _, _, module in _installed(group))


def refresh() -> None:
    """Forget what was found."""
    _known.clear()


@once
def domain_files() -> Files:
    if not (DOMAINS / "__init__.py").is_file():
        raise OptionError(
            f"{DOMAINS} is not a folder with domains. In a clone it is a symbolic link: clone with core.symlinks=true"
        )
    _tell_misplaced("domains", "*.py", "a domain is a folder with an __init__.py")
    return _find("domain", DOMAINS, "*/__init__.py", "domains")


@once
def method_files() -> Files:
    _tell_misplaced("methods", "*/__init__.py", "a method is a file methods/<name>.py")
    return _find("method", _PACKAGE / "methods", "*.py", "methods")


@once
def encoder_files() -> Files:
    _tell_misplaced("encoders", "*/__init__.py", "an encoder is a file encoders/<name>.py")
    return _find("encoder", _PACKAGE / "encoders", "*.py", "encoders")


@once
def metric_files() -> Files:
    _tell_misplaced("metrics", "*/__init__.py", "a metric is a file metrics/<name>.py")
    return _find("metric", _PACKAGE / "metrics", "*.py", "metrics")


@once
def added_task_files(domain_name: str) -> Files:
    """Find the tasks that plug-in folders add to a domain."""
    _tell_misplaced("tasks", "*/*.py", "a task is a folder tasks/<domain>/<name>/ with an __init__.py")
    domains = domain_files()
    for folder, _ in _extra("tasks"):
        for init in sorted(folder.glob("*/*/__init__.py")):
            if (domain_folder := init.parent.parent).name not in domains:
                problem = unknown("domain", domain_folder.name, domains)
                leave_out(f"{domain_folder} does not have the name of a domain: {problem.removesuffix('.')}")
    return _find("task", None, "*/__init__.py", "tasks", domain_name)


def _tell_misplaced(kind: str, pattern: str, expected: str) -> None:
    """Say which files of plug-in folders lie where none is read."""
    for folder, _ in _extra(kind):
        for file in sorted(folder.glob(pattern)):
            if not (file.parent if file.name == "__init__.py" else file).name.startswith("_"):
                leave_out(f"{file}: {expected}")


def load_module(file: Path, module: str) -> ModuleType:
    """Import a module that was found. Raises PluginError, with file and line, if a plug-in cannot be imported."""
    package = module.rpartition(".")[0]
    if package.startswith(EXTRA) and package not in sys.modules:
        # Modules of a plug-in folder may import each other, which needs a package; it has no file.
        sys.modules[package] = ModuleType(package)
        folder = file.parent.parent if file.name == "__init__.py" else file.parent
        sys.modules[package].__path__ = [str(folder)]
    if not is_added(module):
        return importlib.import_module(module)
    try:
        return importlib.import_module(module)
    except (Exception, SystemExit) as error:
        raise plugin_error(file, error) from error


def constant_of(file: Path, module: str, constant: str, kind: type, name: str) -> Any:
    """Return the object that a module declares under the name `constant`. Raises PluginError if it is another one."""
    value = getattr(load_module(file, module), constant, None)
    if not isinstance(value, kind):
        raise PluginError(f"{file} must define {constant}, of type {kind.__name__}; got {type(value).__name__}")
    declared = value.name  # type: ignore[attr-defined]
    if declared != name:
        raise PluginError(
            f"{file}: {constant}.name is {declared!r}, but its folder or file is called {name!r}: make them equal"
        )
    return value


def find_declared(what: str, files: Files, constant: str, kind: type, name: str) -> Any:
    """Import the object called `name`. Raises OptionError, with the nearest match, if no file has that name."""
    if name not in files:
        raise OptionError(unknown(what, name, files))
    return constant_of(*files[name], constant, kind, name)


def usable_names(files: Files, find: Callable[[str], Any]) -> tuple[str, ...]:
    """List the names in `files` without the plug-ins that cannot be used; a warning says why. Our own modules are not
    imported."""
    names = []
    for name, (_, module) in files.items():
        if is_added(module):
            try:
                find(name)
            except DabsRqError as error:
                leave_out(error)
                continue
        names.append(name)
    return tuple(names)
