"""Notes about shown results whose code, encoder or data have changed since they were computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

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
    encoders: dict[tuple[str, str], _Encoders] = {}
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
            if (domain, method) not in encoders:
                encoders[domain, method] = _Encoders(cell, current)
            computed_by = transfer.computed_by(cell, task)
            for seed, result in by_seed.items():
                weights, of_encoder = encoders[domain, method].of_seed(seed)
                changes = kept.changes(result, task, computed_by, weights, compared)
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


class _Encoders:
    """The encoders of a cell, one per seed. What all seeds share is computed once."""

    def __init__(self, cell: Run, data: kept.CurrentData) -> None:
        self.cell, self.data = cell, data
        self.known: dict[int, tuple[str | None, list[Change]]] = {}

    @cached_property
    def computed_by(self) -> dict[str, str]:
        return pretrain.computed_by(self.cell)

    @cached_property
    def source(self) -> Callable[[], str] | None:
        """Compute the key of the pretraining examples; None if they are not on this machine."""
        return self.data.source if has_local_data(self.cell, self.cell.domain.pretraining.source) else None

    def of_seed(self, seed: int) -> tuple[str | None, list[Change]]:
        """Return the hash of an encoder, None if there is no checkpoint, and what changed since it was made."""
        if seed not in self.known:
            self.known[seed] = self._read(seed)
        return self.known[seed]

    def _read(self, seed: int) -> tuple[str | None, list[Change]]:
        if self.cell.options.scores_network:
            return None, []
        try:
            described = checkpoint.describe(self.cell.checkpoint_file(seed))
        except CheckpointError:
            return None, []
        return described["weights"], kept_encoder.changes(described, self.computed_by, self.source)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
