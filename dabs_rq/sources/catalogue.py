"""Lists domains, their sources and tasks, and the state of their data under the data root."""

from __future__ import annotations

from pathlib import Path

from dabs_rq import registry
from dabs_rq.data.readers.tokenizer import describe_place
from dabs_rq.domain import Installed
from dabs_rq.run import Run
from dabs_rq.run.options import TableOptions
from dabs_rq.spec import Source


def listing(run: Run) -> str:
    """Return the text that `python -m dabs_rq domains` prints."""
    root = run.places.data
    lines = []
    sources = run.options.scale.sources
    names = run.options.domains or [domain.name for domain in registry.domains(sources)]
    for domain in registry.chosen_domains(names, sources):
        inputs = run.inputs_of(domain)
        lines.append(f"{domain.name}: {domain.title}, input {', '.join(map(str, inputs))}")
        if not domain.tables:
            lines.append(f"  outside the tables: computed and shown only with domain={domain.name}")
        elif TableOptions.columns not in domain.tables:
            others = " or ".join(f"table.columns={table} (make: TABLE={table})" for table in domain.tables)
            lines.append(f"  outside the table of the RQ paper: computed and shown with {others}")
        lines += _source("pretraining", domain.pretraining.source, root, domain.installed)
        for task in domain.tasks:
            target = type(task.target).__name__.lower()
            what = f"{task.name} ({task.row}; {target}, {task.metric})"
            lines += _source(what, task.source, root, domain.installed)
        for tokenizer in run.tokenizers_of(domain):
            lines += [f"  tokenizer {tokenizer}", f"      {describe_place(tokenizer, root)}"]
        lines.append("")
    lines.append(f"methods: {', '.join(registry.method_names())}")
    if root is None:
        lines.append(
            "Without data=, every command uses made-up miniature data where data do not come with packages. "
            "Add data=/root to see which data exist."
        )
    return "\n".join(lines)


def _source(what: str, source: Source, root: Path | None, installed: Installed | None) -> list[str]:
    if installed is not None:
        return [f"  {what}", f"      installed: {source.title}, {source.size}, real data of {installed.about}"]
    origin = f"      from {source.url}; registration: {source.registration or 'none needed'}"
    if root is None:
        return [f"  {what}", f"      {source.title}, {source.size}, {source.folder}", origin]
    missing, state = source.missing(root), str(source.state(root))
    if state == "missing" and source.hub:
        state = f"not under the root, loaded from the hub ({source.hub}) when first used"
    published = f", {source.size}" if missing else ""  # the publisher's size says nothing about what is there
    lines = [f"  {what}", f"      {state}: {source.title}{published}, {root / source.folder}"]
    if missing:
        lines += [f"      expected: {', '.join(map(str, missing))}", origin]
    return lines
