"""Made-up miniature data: a domain's, and what tasks of one's own add to it.

A domain's miniature has an identity (`registry.miniature_version`) that a task of one's own does not change: its data
are written beside the others, once, into the folder of its source. So nothing that is finished becomes stale.
"""

from __future__ import annotations

import inspect
import shutil
import tempfile
from functools import partial
from pathlib import Path, PurePosixPath

from dabs_rq import registry
from dabs_rq.domain import Task
from dabs_rq.errors import OptionError
from dabs_rq.files import locked, write_once, write_text

SEED = 0


def write(domain_name: str, root: Path, seed: int = SEED, processes: int = 1) -> None:
    """Write all of a domain's miniature below `root`, an empty folder: the same bytes from any number of `processes`,
    which is only told to a generator that takes it."""
    generator = registry.miniature(domain_name)
    takes = processes > 1 and "processes" in inspect.signature(generator.write).parameters
    generator.write(root, seed=seed, **({"processes": processes} if takes else {}))
    complete(domain_name, root, seed)


def ensure(domain_name: str, root: Path) -> None:
    """Write a domain's miniature at `root` unless it is there already; one process at a time writes it. Then write what
    added tasks still lack. Raises MissingDataError for a domain without a miniature."""
    generator = registry.miniature(domain_name)
    announcement = f"writing made-up miniature data for {domain_name} to {root}"
    write_once(root, partial(generator.write, seed=SEED), announcement)
    complete(domain_name, root)


def complete(domain_name: str, root: Path, seed: int = SEED) -> None:
    """Write what tasks of one's own add and what is not below `root` yet, or is of another version of their
    `miniature.py`. Raises OptionError for a task that writes where it must not."""
    for task in registry.added_tasks(domain_name):
        if (found := registry.task_miniature(domain_name, task.name)) is None:
            continue
        generator, version = found
        mark = root / f".{task.name}-{version}"
        if mark.exists():
            continue
        _check_folder(domain_name, task)
        with locked(mark):
            if mark.exists():
                continue
            print(f"writing made-up miniature data for task {task.name} to {root / task.source.folder}")
            with tempfile.TemporaryDirectory(dir=root, prefix=f".{mark.name}.", suffix=".tmp") as building:
                generator.write(Path(building), seed=seed)
                _put(Path(building), root, task)
            write_text(mark, "")


def _put(building: Path, root: Path, task: Task) -> None:
    """Move the folder of the task's source from `building` below `root`."""
    made, place = building / task.source.folder, root / task.source.folder
    outside = [file for file in sorted(building.rglob("*")) if file.is_file() and not file.is_relative_to(made)]
    if outside or not made.is_dir():
        found = outside[0].relative_to(building) if outside else "nothing"
        raise OptionError(
            f"task {task.name!r}: its miniature.py writes the folder of its source, {task.source.folder}, "
            f"and nothing else; it wrote {found}"
        )
    shutil.rmtree(place, ignore_errors=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    made.rename(place)


def _check_folder(domain_name: str, task: Task) -> None:
    """Raise OptionError if the miniature of `task` would take the place of other data."""
    domain, added = registry.domain(domain_name), registry.added_tasks(domain_name)
    others = [one for one in domain.tasks if one not in added]
    others += [one for one in added if one is not task and registry.task_miniature(domain_name, one.name)]
    own = PurePosixPath(task.source.folder)
    for source in (domain.pretraining.source, *(one.source for one in others)):
        other = PurePosixPath(source.folder)
        if own.is_relative_to(other) or other.is_relative_to(own):
            raise OptionError(
                f"task {task.name!r}: the folder of its source, {own}, is that of {source.title} ({other}), for which "
                "there are miniature data already. Take another folder, or leave out the task's miniature.py."
            )
