"""Notes about shown results whose code, encoder or data have changed since they were computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dabs_rq import checkpoint, registry
from dabs_rq.errors import CheckpointError
from dabs_rq.pretrain import kept as kept_encoder
from dabs_rq.pretrain import pretrain
from dabs_rq.run import Run
from dabs_rq.run.changes import Change, refresh_line
from dabs_rq.run.local import has_local_data
from dabs_rq.table.columns import column_title, is_network
from dabs_rq.table.records import Row
from dabs_rq.transfer import kept, transfer

NAMED = 5  # results or modules that a note names before it counts the others
_WHAT = {"data": "the data", "encoder": "the encoder, which was pretrained again"}


def stale_notes(run: Run, cells: Mapping[tuple[str, str], Run], results: Mapping[tuple[str, str], Row]) -> list[str]:
    """Write a note for each kind of change, with the results behind which it happened, and one that says what computes
    them again.

    cells: (domain, method) -> its run. results: (domain, task) -> its row. Data are compared where they are on this
    machine.
    """
    named: dict[str, dict[str, None]] = {}
    stale: dict[str, None] = {}  # methods and networks
    data: dict[str, kept.CurrentData] = {}
    encoders: dict[tuple[str, str, int], tuple[str | None, list[Change]]] = {}
    for (domain, task_name), row in results.items():
        if not row.records:
            continue
        task = registry.task(domain, task_name)
        first = next(cell for (name, _), cell in cells.items() if name == domain)
        current = data.setdefault(domain, kept.CurrentData(first))
        compared = current if has_local_data(first, task.source) else None
        for name, by_seed in row.records.items():
            method = name.partition("+")[0]
            cell = cells[domain, method]
            for seed, result in by_seed.items():
                key = (domain, method, seed)
                if key not in encoders:
                    encoders[key] = _encoder(cell, current, seed)
                weights, of_encoder = encoders[key]
                changes = kept.changes(result, task, transfer.computed_by(cell, task), weights, compared)
                for change in (*changes, *of_encoder):
                    what = _WHAT.get(change.kind) or f"code ({_some(change.what.split(', '))})"
                    stale[method] = None
                    named.setdefault(what, {})[f"{task.row} with {column_title(name)}, seed {seed}"] = None
    notes = [f"Computed before a change of {what}: {_some(list(names))}." for what, names in named.items()]
    files = registry.encoder_names()
    lines = [refresh_line(run, run.options.seeds)] if not all(map(is_network, stale)) else []
    lines += [refresh_line(run, run.options.seeds, name) for name in stale if is_network(name) and name in files]
    if lines:
        commands = " and ".join(f"`{line}`" for line in lines)
        notes.append(f"These results are shown as they were computed; to compute them again: {commands}.")
    if [name for name in stale if is_network(name) and name not in files]:
        notes.append("To score a network again, move its records away or give it another name.")
    return notes


def _encoder(cell: Run, data: kept.CurrentData, seed: int) -> tuple[str | None, list[Change]]:
    """Return the hash of a cell's encoder, None if there is no checkpoint, and what changed since it was made."""
    if cell.options.scores_network:
        return None, []
    try:
        described = checkpoint.describe(cell.checkpoint_file(seed))
    except CheckpointError:
        return None, []
    source = data.source if has_local_data(cell, cell.domain.pretraining.source) else None
    return described["weights"], kept_encoder.changes(described, pretrain.computed_by(cell), source)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
