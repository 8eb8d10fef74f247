"""Which records are finished, so that transfer keeps them."""

from __future__ import annotations

import glob
from pathlib import Path

from dabs_rq.domain import Task
from dabs_rq.errors import RecordError
from dabs_rq.records import recheck, record
from dabs_rq.records.counts import shortfall
from dabs_rq.run import Run
from dabs_rq.run.changes import changed_options
from dabs_rq.run.options import Probe
from dabs_rq.transfer.probes import further, probes


def missing_probes(run: Run, task: Task, folder: Path, weights: str, architecture: str = "") -> list[Probe]:
    """List the probes of a task that have no record with a score for these weights in `folder`.

    architecture: of a network that is scored as it is, see `Record`.
    """
    strict = run.options.loader.strict and not run.made_up
    identity = (weights, architecture)
    return [
        probe for probe in probes(run) if not _is_finished(run, folder, task, further(run, probe), identity, strict)
    ]


def _is_finished(
    run: Run, folder: Path, task: Task, further_probe: str | None, identity: tuple[str, str], strict: bool
) -> bool:
    """Return whether the task has a record of the probe with a score for these weights and this architecture, with the
    run's options; if `strict`, one of as many examples as the source declares.

    Returns False as well if a record of any of its splits cannot be read or differs from its predictions, so that all
    its records are computed again.
    """
    file = folder / record.file_name(task.name, further_probe=further_probe)
    if not file.exists():
        return False
    try:
        test_record = record.read(file)
        if test_record.status != "ok" or (test_record.checkpoint, test_record.architecture) != identity:
            return False
        if strict and shortfall(task, test_record):
            return False
        splits = folder.glob(record.file_name(glob.escape(task.name), "*", further_probe))
        for split_file in (file, *sorted(splits)):
            if further_probe is None and "+" in split_file.stem:
                continue
            split_record = record.read(split_file)
            if changes := changed_options(run, split_record.options, of_pretraining=False):
                raise RecordError(f"{split_file} was computed with other options: {'; '.join(changes)}")
            if split_record.status == "ok":
                recheck.predictions(split_file, split_record)
    except RecordError as error:
        print(f"{error}; computing it again")
        return False
    return True
