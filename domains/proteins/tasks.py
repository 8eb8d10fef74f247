"""Four tasks of TAPE: fold and secondary structure, stability and fluorescence of a protein.

As in DABS, a probe trains on TAPE's training file, and the reported score is of its validation file. TAPE's test files
are further splits, if they are there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from dabs_rq.data.examples import Examples
from dabs_rq.data.readers.index import class_number, shuffled
from dabs_rq.data.requests import Request, missing_text
from dabs_rq.domain import Task
from dabs_rq.domains.proteins import tape
from dabs_rq.domains.proteins.tape import Protein
from dabs_rq.errors import DataError, MissingDataError, shown
from dabs_rq.spec import Multiclass, PerToken, Regression, Source, Target

FOLDS = Multiclass(1195)
STRUCTURES = PerToken(3)  # helix, strand, other
FILES = {"train": "train", "test": "valid"}  # DABS reports the validation file
Label = Callable[[Protein, Request], Any]  # the target of a protein


def load(request: Request, *, source: Source, folder: str, files: Mapping[str, str], label: Label) -> Examples:
    """Load the proteins of a file, in the order in which DABS shuffles it. files: split -> the end of its name."""
    root = request.folder(source)
    path = f"{folder}/{folder}_{files[request.split]}.json"
    if not (root / path).exists():
        raise MissingDataError(missing_text(source, request.root, [root / path]))
    spans, targets = [], []
    for protein in tape.proteins(root / path):
        spans.append(protein.span)
        targets.append(label(protein, request))
    rows = shuffled(len(spans))
    return Examples(
        ids=tape.ids(path, rows),
        inputs=(tape.column(root, path, np.array(spans, np.int64), rows, request.inputs[0]),),
        targets=np.array(targets)[rows],
    )


def fold(protein: Protein, request: Request) -> int:
    return class_number(protein.field("fold_label"), FOLDS, f"{protein.where}, fold_label")


def number(protein: Protein, request: Request, *, field: str) -> float:
    """Return the number in a field, which holds a list of one."""
    value = protein.field(field)
    numbers = [one for one in value if type(one) in (int, float)] if isinstance(value, list) else []
    if not (isinstance(value, list) and len(value) == len(numbers) == 1 and math.isfinite(numbers[0])):
        raise DataError(f"{protein.where}: expected a list of one finite number as {field}, found {shown(value)}")
    return float(numbers[0])


def structure(protein: Protein, request: Request) -> np.ndarray:
    """Return the structure of each residue, (tokens,), as protocol.structure_padding and structure_valid_mask say."""
    (length,), protocol = request.inputs[0].shape, request.protocol
    states = _list(protein, "ss3")
    if wrong := [state for state in states if type(state) is not int or not 0 <= state < STRUCTURES.classes]:
        most = STRUCTURES.classes - 1
        raise DataError(f"{protein.where}: expected whole numbers from 0 to {most} in ss3, found {shown(wrong[0])}")
    known = np.array(states, np.int64)
    if protocol.structure_valid_mask:
        valid = _list(protein, "valid_mask")
        if wrong := [one for one in valid if one not in (0, 1)]:
            raise DataError(f"{protein.where}: expected true or false in valid_mask, found {shown(wrong[0])}")
        known[~np.array(valid, bool)] = -1
    counts = request.split == "train" and protocol.structure_padding == "class"
    targets = np.full(length, STRUCTURES.classes if counts else -1, np.int64)
    targets[: len(known)] = known[:length]
    return targets


def _list(protein: Protein, field: str) -> list[Any]:
    """Return a field that has an entry for each residue."""
    value = protein.field(field)
    if not isinstance(value, list) or len(value) != protein.length:
        found = f"{len(value)}" if isinstance(value, list) else shown(value)
        raise DataError(f"{protein.where}: expected {protein.length} entries in {field}, as residues, found {found}")
    return value


def _task(
    name: str,
    row: str,
    folder: str,
    title: str,
    fields: str,
    target: Target,
    label: Label,
    sizes: tuple[int, int],
    *,
    citation: str,
    metric: str = "accuracy",
    tests: Mapping[str, str],
    unused_outputs: int = 0,
    batch_size: int | None = None,
    note: str | None = None,
) -> Task:
    """Declare a task. tests: TAPE's test files, split -> the end of the name."""
    further = "".join(f"\n{folder}/{folder}_{end}.json      scored as split {split}" for split, end in tests.items())
    source = tape.source(
        folder,
        title,
        fields,
        size="a part of the 120 MB of TAPE's supervised sources",
        licence="that of each component, see https://github.com/songlab-cal/tape",
        citation=citation,
        further=f"\nIf they are there:{further}",
    )
    return Task(
        name=name,
        row=row,
        source=source,
        target=target,
        metric=metric,
        load=partial(load, source=source, folder=folder, files=FILES | dict(tests), label=label),
        sizes=dict(zip(FILES, sizes, strict=True)),
        extra_splits=tuple(tests),
        unused_outputs=unused_outputs,
        batch_size=batch_size,
        note=note,
    )


TASKS = (
    _task(
        "scop",
        "SCOP Fold",
        "remote_homology",
        "remote homology, the fold of a protein",
        "primary, fold_label",
        FOLDS,
        fold,
        (12_312, 736),
        citation="Hou, Adhikari and Cheng 2018, DeepSF: deep convolutional neural network for mapping protein "
        "sequences to folds, Bioinformatics 34",
        tests={f"{kind}_holdout": f"test_{kind}_holdout" for kind in ("fold", "superfamily", "family")},
    ),
    _task(
        "secondary_struct",
        "Secondary Structure",
        "secondary_structure",
        "secondary structure, a class per residue",
        "primary, ss3, valid_mask",
        STRUCTURES,
        structure,
        (8_678, 2_170),
        citation="Klausen et al. 2019, NetSurfP-2.0, Proteins 87",
        metric="token_accuracy",
        tests={"cb513": "cb513", "ts115": "ts115", "casp12": "casp12"},
        unused_outputs=1,
        note="the share of residues whose structure, helix, strand or other, is right.",
    ),
    _task(
        "stability",
        "Stability",
        "stability",
        "stability of designed proteins",
        "primary, stability_score (a list of one)",
        Regression(),
        partial(number, field="stability_score"),
        (53_614, 2_512),
        citation="Rocklin et al. 2017, Global analysis of protein folding, Science 357",
        metric="spearman",
        tests={"tape_test": "test"},
    ),
    _task(
        "fluorescence",
        "Fluorescence",
        "fluorescence",
        "fluorescence of mutants of a protein",
        "primary, log_fluorescence (a list of one)",
        Regression(),
        partial(number, field="log_fluorescence"),
        (21_446, 5_362),
        citation="Sarkisyan et al. 2016, Local fitness landscape of the green fluorescent protein, Nature 533",
        metric="spearman",
        tests={"tape_test": "test"},
        batch_size=512,
    ),
)
