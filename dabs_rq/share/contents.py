"""What a bundle holds, as files in a folder: records, predictions, checkpoints, splits, a model card and a manifest.

    manifest.json                       what is in it, with sizes and SHA-256 hashes, and what is missing
    README.md                           the model card
    runs/<data>/<scale>/<protocol>/     records with predictions, and checkpoints, as they lie in runs/
    splits/<domain>/<task>.<split>.<labels>.json
                                        example ids, and hashes of the targets; `labels` as in records

Private facts are taken out of records and checkpoints, see `dabs_rq.share.private`. Equal results give equal files.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import warnings
from collections.abc import Collection, Iterator
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dabs_rq import checkpoint
from dabs_rq.data.examples import Examples
from dabs_rq.errors import DabsRqError, first_line
from dabs_rq.experiment.compare import Result
from dabs_rq.files import write_text
from dabs_rq.records import record
from dabs_rq.run import Run
from dabs_rq.share import private
from dabs_rq.share.card import card
from dabs_rq.share.cells import Cell, Chosen
from dabs_rq.table.columns import run_of

MANIFEST, CARD, RUNS, SPLITS = "manifest.json", "README.md", "runs", "splits"
FORMAT = 1
_FILES = (
    f"`{RUNS}/`: records (JSON), predictions (Parquet: id, target, output) and checkpoints (safetensors)",
    f"`{SPLITS}/`: the example ids of the splits, with hashes of the targets",
    f"`{MANIFEST}`: every file with its SHA-256",
    "`python -m dabs_rq bundle --check FILE` verifies the whole archive and computes every score again",
)


def write(chosen: Chosen, folder: Path) -> list[str]:
    """Write the contents of a bundle into the empty `folder`. Returns what is missing, in words.

    Raises RecordError if predictions have ids that are paths of this machine.
    """
    missing = [*map(str, chosen.errors), *chosen.without_score]
    for domain, of_domain in _by_domain(chosen).items():
        run = chosen.run.replace({"loader.prepare": "never"}, domain=domain, tasks=None)
        for cell in of_domain:
            for result in cell.results:
                _write_record(chosen.run, folder, result, chosen.places)
        missing += _write_splits(run, folder, of_domain)
        missing += _write_checkpoints(run, folder, of_domain, chosen.places)
    missing = list(dict.fromkeys(_printable(what) for what in private.without_private(missing, chosen.places)))
    files = [*_FILES, *(f"Missing: {what}" for what in missing)]
    write_text(folder / CARD, str(card(chosen, chosen.cells, chosen.name, files)))
    write_text(folder / MANIFEST, json.dumps(_manifest(folder, chosen.made_up, missing), indent=1) + "\n")
    return missing


def _printable(text: str) -> str:
    """Return the text in one line, as `bundle.check` wants it."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def _by_domain(chosen: Chosen) -> dict[str, list[Cell]]:
    groups: dict[str, list[Cell]] = {}
    for cell in chosen.cells:
        groups.setdefault(cell.domain.name, []).append(cell)
    return groups


def files_of(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield (name, file) of every file in a bundle's folder, sorted by name, the manifest first."""
    names = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if not file.is_dir()}
    for name in sorted(names, key=lambda name: (name != MANIFEST, name)):
        yield name, names[name]


def sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _manifest(folder: Path, made_up: bool, missing: list[str]) -> dict[str, Any]:
    listed = {name: {"bytes": file.stat().st_size, "sha256": sha256(file)} for name, file in files_of(folder)}
    return {
        "made_by": f"dabs_rq {metadata.version('dabs_rq')}",  # first: a bundle is known by it, see `dabs_rq.table.ours`
        "format": FORMAT,
        "made_up_data": made_up,
        "missing": missing,
        "files": listed,
    }


def _write_record(run: Run, folder: Path, result: Result, places: Collection[Path | None]) -> None:
    target = folder / RUNS / result.file.relative_to(run.places.runs)
    target.parent.mkdir(parents=True, exist_ok=True)
    values = private.without_private(dataclasses.asdict(result.record), places)
    write_text(target, json.dumps(values, indent=1, allow_nan=False) + "\n")
    private.check_ids(result.file, record.predictions(result.file).ids)
    shutil.copyfile(result.file.with_suffix(".parquet"), target.with_suffix(".parquet"))


def _write_splits(run: Run, folder: Path, cells: list[Cell]) -> list[str]:
    """Write the test splits from the predictions, and the training splits from the data if these have not changed."""
    missing = []
    for cell in {cell.task.name: cell for cell in cells}.values():
        results = [result for one in cells if one.task.name == cell.task.name for result in one.results]
        for result in {result.record.test_labels: result for result in results}.values():  # one of each test split
            stored = record.predictions(result.file)
            _write_split(folder, cell, "test", Examples(pa.array(stored.ids, pa.string()), (), stored.targets))
        labels = {result.record.train_labels for result in results}
        what = f"training split of {cell.domain.name}/{cell.task.name}"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                train, _ = run.splits.labelled(cell.task)
            if labels - {train.labels_key}:
                missing.append(f"{what}: the data have changed since the records were computed")
            if train.labels_key in labels:
                _write_split(folder, cell, "train", train)
        except (DabsRqError, OSError, ValueError) as error:
            missing.append(f"{what}: {first_line(error)}")
    return missing


def _write_split(folder: Path, cell: Cell, split: str, examples: Examples) -> None:
    target = folder / SPLITS / cell.domain.name / f"{cell.task.name}.{split}.{examples.labels_key}.json"
    ids = examples.ids.to_pylist()
    private.check_ids(target, ids)
    assert examples.targets is not None
    targets = np.ascontiguousarray(examples.targets, np.float64).tobytes()
    values = {
        "domain": cell.domain.name,
        "task": cell.task.name,
        "split": split,
        "made_up_data": cell.made_up,
        "labels": examples.labels_key,
        "targets_sha256": hashlib.sha256(targets).hexdigest(),
        "ids": ids,
    }
    write_text(target, json.dumps(values, indent=1, ensure_ascii=False) + "\n")


def _write_checkpoints(run: Run, folder: Path, cells: list[Cell], places: Collection[Path | None]) -> list[str]:
    missing = []
    records = [result.record for cell in cells for result in cell.results]
    wanted = sorted({(one.method, one.seed, one.checkpoint) for one in records})
    networks = {cell.record.method for cell in cells if cell.record.architecture}
    for method, seed, weights in wanted:
        what = f"checkpoint of {run.domain.name} with {method}, seed {seed}"
        if method in networks:
            missing.append(f"{what}: the network brings its weights, which are not in the runs folder")
            continue
        file = run_of(run, method).checkpoint_file(seed)
        try:
            if (found := checkpoint.describe(file)["weights"]) != weights:
                missing.append(f"{what}: its weights are {found} now, the record is of {weights}")
                continue
            target = folder / RUNS / file.relative_to(run.places.runs)
            checkpoint.copy(file, target, partial(private.without_private, places=places))
        except DabsRqError as error:
            missing.append(f"{what}: {first_line(error)}")
    return missing
