"""Says which sources a scale reads in place of those of the published table, for the notes below a table."""

from __future__ import annotations

from dabs_rq.domain import Domain, Task


def substitutions(own: Domain, used: Domain) -> tuple[str, ...]:
    """Return a sentence for each substitution: sources of `used` in place of those of `own`, which is the same domain
    with its own sources, and rows of `own` that `used` lacks. Empty if both have the same sources and rows."""
    said = []
    if used.pretraining.source != own.pretraining.source:
        said.append(f"pretraining on {used.pretraining.source.title} in place of {own.pretraining.source.title}")
    own_tasks = {task.name: task for task in own.tasks}
    for task in used.tasks:
        if task.in_place_of is not None:
            said.append(f"{_named(task)} in place of {_named(own_tasks[task.in_place_of])}")
    covered = {task.in_place_of or task.name for task in used.tasks}
    if left_out := [task.row for task in own.tasks if task.name not in covered]:
        said.append(f"no row for {', '.join(left_out)}")
    return tuple(f"{own.title}: {text}." for text in said)


def _named(task: Task) -> str:
    """Return the row of a task with its source."""
    title = task.source.title
    return title if title.startswith(task.row) else f"{task.row} ({title})"
