"""BBBP: does a molecule pass from the blood into the brain."""

from __future__ import annotations

import numpy as np

from dabs_rq.data.examples import Examples
from dabs_rq.data.readers.index import split_80_20
from dabs_rq.data.requests import Request
from dabs_rq.domain import Task
from dabs_rq.errors import DataError, shown
from dabs_rq.spec import Archive, Binary, Source

from . import smiles
from .smiles import Molecule

FILE = "BBBP.csv"
URL = f"https://deepchemdata.s3-us-west-1.amazonaws.com/datasets/{FILE}"

SOURCE = Source(
    name="moleculenet_bbbp",
    title="MoleculeNet, passage into the brain",
    url=URL,
    folder="molecules/bbbp",
    layout=f"{FILE}      columns num, name, p_np, smiles",
    needs=(FILE,),
    licence="not stated in the file; see https://moleculenet.org",
    size="0.2 MB",
    citation="Martins et al. 2012, A Bayesian approach to in silico blood-brain barrier penetration modeling, Journal "
    "of Chemical Information and Modeling 52",
    archives=(Archive(URL),),
)


def load(request: Request) -> Examples:
    """Read the labelled molecules: 80 % of the isomers' groups are "train", the others "test".

    Molecules of the same characters, in any order, are one group: isomers, and one molecule written in two ways.
    """
    root = request.folder(SOURCE)
    groups: dict[str, list[Molecule]] = {}
    for molecule in smiles.read(root / FILE, "p_np"):
        if molecule.label not in ("0", "1"):
            raise DataError(f"{root / FILE}:{molecule.line}: expected p_np 0 or 1, found {shown(molecule.label)}")
        groups.setdefault("".join(sorted(molecule.smiles)), []).append(molecule)
    names = sorted(groups)
    selected = sorted(split_80_20([names], request.split))
    molecules = [molecule for name in selected for molecule in groups[name]]
    return Examples(
        ids=[f"{FILE}:{molecule.line}" for molecule in molecules],
        inputs=(smiles.column(molecules, root, FILE, request.inputs[0]),),
        targets=np.array([int(molecule.label) for molecule in molecules], np.int64),
        groups=np.repeat([names.index(name) for name in selected], [len(groups[name]) for name in selected]),
    )


TASK = Task(
    name="bbbp",
    row="BBB Passage",
    source=SOURCE,
    target=Binary(),
    metric="accuracy",
    load=load,
    note="isomers are in one split.",
)
