"""SCOPe: the class of a protein domain's fold, from its residues alone."""

from __future__ import annotations

import re

import numpy as np

from dabs_rq.data.examples import Examples
from dabs_rq.data.readers.index import split_80_20
from dabs_rq.data.requests import Request
from dabs_rq.domain import Task
from dabs_rq.errors import DataError
from dabs_rq.spec import Archive, Multiclass, Source

from . import fasta

FILE = "astral-scopedom-seqres-gd-sel-gs-bib-40-2.08.fa"
URL = f"https://scop.berkeley.edu/downloads/scopeseq-2.08/{FILE}"
# All alpha, all beta, alpha/beta, alpha+beta, multi-domain, membrane and cell surface, small. The classes after g are
# not classes of folds.
CLASSES = "abcdefg"
TARGET = Multiclass(len(CLASSES))
SCCS = re.compile(r"([a-z])\.\d+\.\d+\.\d+ ")  # class.fold.superfamily.family

SOURCE = Source(
    name="scope40",
    title="SCOPe 2.08, domains of less than 40 % identity",
    url=URL,
    folder="proteins/scope",
    layout=f"{FILE}      >d1dlwa_ a.1.1.1 (A:) Protozoan/bacterial hemoglobin ...",
    needs=(FILE,),
    licence="not stated in the file; see https://scop.berkeley.edu",
    size="4 MB",
    citation="Fox et al. 2014, SCOPe: Structural Classification of Proteins - extended, Nucleic Acids Research 42",
    archives=(Archive(URL),),
)


def load(request: Request) -> Examples:
    """Read the labelled proteins: 80 % of each class's superfamilies are "train", the others "test", so that related
    proteins are in one split."""
    root = request.folder(SOURCE)
    spec = request.inputs[0]
    superfamilies: dict[str, list[fasta.Protein]] = {}
    seen: dict[str, int] = {}
    for protein in fasta.read(root / FILE, spec.shape[0]):
        where = f"{root / FILE}:{protein.line}"
        if not (sccs := SCCS.match(f"{protein.description} ")):
            raise DataError(
                f"{where}: expected >name class.fold.superfamily.family ..., found >{protein.name} "
                f"{protein.description[:40]}"
            )
        if protein.name in seen:
            raise DataError(f"{where}: {protein.name} occurs twice, first in line {seen[protein.name]}")
        seen[protein.name] = protein.line
        if sccs[1] in CLASSES:
            superfamilies.setdefault(sccs[0].rpartition(".")[0], []).append(protein)
    names = sorted(superfamilies)
    by_class = [[name for name in names if name[0] == letter] for letter in CLASSES]
    selected = sorted(split_80_20(by_class, request.split))
    proteins = [protein for name in selected for protein in superfamilies[name]]
    sizes = [len(superfamilies[name]) for name in selected]
    return Examples(
        ids=[protein.name for protein in proteins],
        inputs=(fasta.column(proteins, root, FILE, spec),),
        targets=np.repeat([CLASSES.index(name[0]) for name in selected], sizes),
        groups=np.repeat([names.index(name) for name in selected], sizes),
    )


TASK = Task(
    name="scope_class",
    row="SCOPe Class",
    source=SOURCE,
    target=TARGET,
    metric="accuracy",
    load=load,
    note="no superfamily of the test split is in the training split.",
)
