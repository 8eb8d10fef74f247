"""Says what changed since a record was computed: its code, its encoder and its data. Changes nothing."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping
from pathlib import Path

from dabs_rq.domain import Task
from dabs_rq.errors import DabsRqError, RecordError, first_line
from dabs_rq.pretrain import pretrain
from dabs_rq.pretrain.kept import STALE_SUFFIX
from dabs_rq.records import record
from dabs_rq.records.record import Record
from dabs_rq.run import Run
from dabs_rq.run.changes import Change, changed_code
from dabs_rq.transfer.frozen import Frozen


class CurrentData:
    """The keys and sizes of the data that a domain reads now, each computed once. They are the same for all methods and
    seeds. Nothing is decoded or prepared."""

    def __init__(self, run: Run) -> None:
        """run: of the domain; its method, tasks and seeds do not matter."""
        self.run = run.replace({"loader.prepare": "never"}, method="none", tasks=None)
        self._source: str | None = None
        self._splits: dict[str, dict[str, str | int]] = {}

    def source(self) -> str:
        """Return the key of the pretraining examples."""
        if self._source is None:
            self._source = pretrain.source_key(self.run)
        return self._source

    def splits(self, task: Task) -> dict[str, str | int]:
        """Return the keys of a task's splits and their sizes, by record field."""
        if task.name not in self._splits:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                train, test = self.run.splits.labelled(task)
            self._splits[task.name] = {
                "n_train": len(train),
                "n_examples": len(test),
                "train_labels": train.labels_key,
                "test_labels": test.labels_key,
                "train_split": train.key,
                "test_split": test.key,
            }
        return self._splits[task.name]


def set_aside_others(folder: Path, frozen: Frozen) -> None:
    """Rename the records in `folder` that are of another network of the same name to *.stale, so that a column never
    mixes two."""
    moved = []
    for file in sorted(folder.glob("[!.]*.json")):
        with contextlib.suppress(RecordError):
            result = record.read(file)
            if (result.checkpoint, result.architecture) == (frozen.weights, frozen.architecture):
                continue
            for part in (file, file.with_suffix(".parquet")):
                with contextlib.suppress(FileNotFoundError):
                    part.replace(part.with_name(part.name + STALE_SUFFIX))
            moved.append(file.name)
    if moved:
        print(
            f"{', '.join(moved)} in {folder} are of another network called {frozen.column}; kept as *{STALE_SUFFIX}",
            flush=True,
        )


def changes(
    result: Record, task: Task, computed_by: Mapping[str, str], weights: str | None, data: CurrentData | None
) -> list[Change]:
    """List what changed since `result` was computed.

    computed_by: hashes of the code that would compute it now. weights: the hash of its encoder now, None if there is
    none to compare. data: None if they are not to be read.
    """
    listed: list[Change] = []
    if weights is not None and result.checkpoint != weights:
        what = f"the record is of {result.checkpoint}, its checkpoint has {weights} now"
        listed.append(Change("encoder", what))
    if data is not None:
        try:
            own = ("train_split", "test_split") if result.architecture else ()  # a network may have inputs of its own
            for name, now in data.splits(task).items():
                if name not in own and (was := getattr(result, name)) != now:
                    listed.append(Change("data", f"{name} was {was}, is {now}"))
        except (DabsRqError, OSError, ValueError) as error:
            listed.append(Change("data", first_line(error)))
    if modules := changed_code(result.code, computed_by, result.versions):
        listed.append(Change("code", ", ".join(modules)))
    return listed
