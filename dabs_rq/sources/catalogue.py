"""Lists domains, their sources and tasks, and the state of their data under the data root."""

from __future__ import annotations

from pathlib import Path

from dabs_rq import registry
from dabs_rq.run import Run
from dabs_rq.spec import Source


def listing(run: Run) -> str:
    """Return the text that `python -m dabs_rq domains` prints."""
    root = None if run.made_up else Path(run.options.data or "").expanduser()
    lines = []
    for domain in registry.domains():
        if run.options.domains is not None and domain.name not in run.options.domains:
            continue
        inputs = run.inputs_of(domain)
        lines.append(f"{domain.name}: {domain.title}, input {', '.join(map(str, inputs))}")
        lines += _source("pretraining", domain.pretraining.source, root)
        for task in domain.tasks:
            target = type(task.target).__name__.lower()
            lines += _source(f"{task.name} ({task.row}; {target}, {task.metric})", task.source, root)
        lines.append("")
    lines.append(f"methods: {', '.join(registry.method_names())}")
    if root is None:
        lines.append(
            "Without data=, every command uses made-up miniature data. Add data=/root to see which data exist."
        )
    return "\n".join(lines)


def _source(what: str, source: Source, root: Path | None) -> list[str]:
    origin = f"      from {source.url}; registration: {source.registration or 'none needed'}"
    if root is None:
        return [f"  {what}", f"      {source.title}, {source.size}, {source.folder}", origin]
    missing, state = source.missing(root), str(source.state(root))
    if state == "missing" and source.hub:
        state = f"not under the root, loaded from the hub ({source.hub}) when first used"
    lines = [f"  {what}", f"      {state}: {source.title}, {source.size}, {root / source.folder}"]
    if missing:
        lines += [f"      expected: {', '.join(map(str, missing))}", origin]
    return lines
