"""The HIV screen: 41,127 molecules of the Drug Therapeutics Program, here without their labels."""

from __future__ import annotations

from dabs_rq.data.examples import Examples
from dabs_rq.data.requests import Request
from dabs_rq.domain import Pretraining
from dabs_rq.files import digest
from dabs_rq.spec import Archive, Source

from . import smiles

FILE = "HIV.csv"
URL = f"https://deepchemdata.s3-us-west-1.amazonaws.com/datasets/{FILE}"
HELD_OUT = 20  # one molecule in 20 is for validation

SOURCE = Source(
    name="moleculenet_hiv",
    title="MoleculeNet, HIV screen",
    url=URL,
    folder="molecules/hiv",
    layout=f"{FILE}      columns smiles, activity, HIV_active",
    needs=(FILE,),
    licence="not stated in the file; see https://moleculenet.org",
    size="2 MB",
    citation="Wu et al. 2018, MoleculeNet: a benchmark for molecular machine learning, Chemical Science 9",
    archives=(Archive(URL),),
)


def load(request: Request) -> Examples:
    """Read the molecules of a split in the order of the file. The split of a molecule depends on its SMILES alone."""
    root = request.folder(SOURCE)
    chosen = [
        molecule
        for molecule in smiles.read(root / FILE, "HIV_active")
        if (int(digest(molecule.smiles), 16) % HELD_OUT == 0) == (request.split == "validation")
    ]
    column = smiles.column(chosen, root, FILE, request.inputs[0])
    return Examples(ids=[f"{FILE}:{molecule.line}" for molecule in chosen], inputs=(column,))


HIV = Pretraining(source=SOURCE, load=load)
