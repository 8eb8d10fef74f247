"""Finds domains, methods and encoders on disk: a domain is a folder, a method or an encoder is a file. (A metric is a
file too; `dabs_rq.metrics` finds it.)

`domains/<name>/__init__.py` exports DOMAIN, `dabs_rq/methods/<name>.py` exports METHOD, `dabs_rq/encoders/<name>.py`
exports ENCODER; each object's `name` equals the name of its folder or file. Plug-in folders, listed in DABS_RQ_PATH
and separated like PATH, may hold further `domains/<name>/`, `methods/<name>.py`, `encoders/<name>.py` and
`metrics/<name>.py`, and `tasks/<domain>/<name>/__init__.py` with a TASK for an existing domain. Such a task follows the
domain's own tasks.
"""

from __future__ import annotations

import dataclasses
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from dabs_rq import plugins
from dabs_rq.domain import Domain, Task
from dabs_rq.errors import MissingDataError, OptionError, unknown
from dabs_rq.files import digest
from dabs_rq.plugins import (
    EXTRA,
    added_task_files,
    constant_of,
    domain_files,
    encoder_files,
    find_declared,
    load_module,
    method_files,
    once,
    usable_names,
)

if TYPE_CHECKING:
    from dabs_rq.encoders.base import EncoderSpec
    from dabs_rq.methods.base import MethodSpec
    from dabs_rq.spec import TableName

PACKAGE: Path = Path(__file__).parent
PATH_VARIABLE = plugins.PATH_VARIABLE


def refresh() -> None:
    """Forget all modules imported from plug-in folders, so that changed files are read again."""
    plugins.refresh()
    for name in [name for name in sys.modules if name.startswith(EXTRA)]:
        del sys.modules[name]
    importlib.invalidate_caches()


@once
def domain_names() -> tuple[str, ...]:
    """List the names of all domains, sorted. A plug-in that cannot be used costs a warning."""
    return usable_names(domain_files(), lambda name: find_declared("domain", domain_files(), "DOMAIN", Domain, name))


@once
def method_names() -> tuple[str, ...]:
    """List the names of all methods, sorted by their declared order, then by name. A plug-in that cannot be used costs
    a warning."""
    return tuple(sorted(usable_names(method_files(), method), key=lambda name: (method(name).order, name)))


@once
def encoder_names() -> tuple[str, ...]:
    """List the names of all encoders, sorted. A plug-in that cannot be used costs a warning."""
    return usable_names(encoder_files(), encoder)


@once
def domain(name: str, sources: str | None = None) -> Domain:
    """Return the domain called `name`, with a set of sources. Raises OptionError, with the nearest match, if no domain
    has that name, and if the domain has no such set."""
    if sources is not None:
        return domain(name).with_sources(sources)
    files = domain_files()
    declared = find_declared("domain", files, "DOMAIN", Domain, name)
    own_names, added = {task.name for task in declared.tasks}, added_task_files(name)
    for task_name, (file, _) in added.items():
        if task_name in own_names:
            raise OptionError(f"task {task_name!r} is declared twice: {files[name][0]} and {file}. Rename one.")
    usable = usable_names(added, lambda task_name: constant_of(*added[task_name], "TASK", Task, task_name))
    tasks = tuple(constant_of(*added[task_name], "TASK", Task, task_name) for task_name in usable)
    other_sources = {
        key: dataclasses.replace(chosen, tasks=(*chosen.tasks, *tasks))
        for key, chosen in declared.other_sources.items()
    }
    return dataclasses.replace(declared, tasks=(*declared.tasks, *tasks), other_sources=other_sources)


@once
def domains(sources: str | None = None) -> tuple[Domain, ...]:
    """Return all domains that have a set of sources, sorted by name. Raises OptionError if two of them declare a task
    of the same name."""
    all_domains = tuple(domain(name, sources) for name in domain_names() if domain(name).has_sources(sources))
    owner: dict[str, str] = {}
    for declared in all_domains:
        for task in declared.tasks:
            if task.name in owner:
                raise OptionError(
                    f"task {task.name!r} is declared by domains {owner[task.name]!r} and {declared.name!r}"
                )
            owner[task.name] = declared.name
    return all_domains


def chosen_domains(
    names: Sequence[str] | None, sources: str | None = None, table: TableName = "rq"
) -> tuple[Domain, ...]:
    """Return the domains called `names`, with a set of sources; None chooses those that have it and whose rows belong
    to a published table, sorted by name."""
    if names is None:
        known = [domain(name) for name in domain_names()]
        names = [one.name for one in known if table in one.tables and one.has_sources(sources)]
    return tuple(domain(name, sources) for name in names)


def task(domain_name: str, name: str) -> Task:
    """Return a task of a domain, of any set of sources. Raises OptionError if the domain has no task of that name."""
    found = domain(domain_name)
    if (task := found.task(name)) is None:
        if (place := added_task_files(domain_name).get(name)) is not None:
            return constant_of(*place, "TASK", Task, name)
        raise OptionError(unknown(f"task of domain {domain_name!r}", name, [task.name for task in found.tasks]))
    return task


@once
def method(name: str) -> MethodSpec:
    """Return the method called `name`. Raises OptionError, with the nearest match, if no method has that name."""
    from dabs_rq.methods.base import MethodSpec

    return find_declared("method", method_files(), "METHOD", MethodSpec, name)


@once
def encoder(name: str) -> EncoderSpec:
    """Return the encoder called `name`. Raises OptionError, with the nearest match, if no encoder has that name."""
    from dabs_rq.encoders.base import EncoderSpec

    return find_declared("encoder", encoder_files(), "ENCODER", EncoderSpec, name)


def module_of_domain(name: str) -> str:
    """Return the name of the module that declares a domain."""
    return domain_files()[domain(name).name][1]


def module_of_method(name: str) -> str:
    """Return the name of the module that declares a method."""
    return method_files()[method(name).name][1]


def module_of_encoder(name: str) -> str:
    """Return the name of the module that declares an encoder."""
    return encoder_files()[encoder(name).name][1]


def module_of_task(domain_name: str, name: str) -> str:
    """Return the name of the module that declares a task: the plug-in's for an added task, else the domain's."""
    added = added_task_files(domain_name)
    return added[name][1] if name in added else module_of_domain(domain_name)


def added_tasks(domain_name: str) -> tuple[Task, ...]:
    """Return the tasks that plug-in folders add to a domain."""
    return tuple(task for task in domain(domain_name).tasks if task.name in added_task_files(domain_name))


@once
def miniature_version(name: str) -> str | None:
    """Hash the source files of a domain's miniature, those that all domains share among them. Returns None if the
    domain has no `miniature.py`."""
    shared = sorted(file for file in (PACKAGE / "miniature").glob("*.py") if file.name != "write.py")
    return _version(domain_files()[domain(name).name][0].parent, shared)


def _version(folder: Path, shared: Sequence[Path] = ()) -> str | None:
    sources = [*sorted(folder.glob("miniature*.py")), *shared]
    return digest(*(source.read_bytes() for source in sources)) if (folder / "miniature.py").exists() else None


def miniature(name: str) -> ModuleType:
    """Import a domain's `miniature.py`, which has `write(root, seed)`. Raises MissingDataError if it has none."""
    init, module = domain_files()[domain(name).name]
    if miniature_version(name) is None:
        file = init.parent / "miniature.py"
        raise MissingDataError(f"domain {name!r} has no miniature data: {file} is missing. Give DATA=/root.")
    return importlib.import_module(f"{module}.miniature")


def task_miniature(domain_name: str, name: str) -> tuple[ModuleType, str] | None:
    """Import the `miniature.py` of an added task, which has `write(root, seed)`, and return it with its version.

    Returns None if the task has no such file, because it reads a source of its domain.
    """
    init, module = added_task_files(domain_name)[name]
    if (version := _version(init.parent)) is None:
        return None
    load_module(init, module)
    return importlib.import_module(f"{module}.miniature"), version
