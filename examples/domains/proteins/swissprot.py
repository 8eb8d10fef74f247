"""Swiss-Prot: the half a million reviewed proteins of UniProt, without labels."""

from __future__ import annotations

from dabs_rq.data.examples import Examples
from dabs_rq.data.requests import Request
from dabs_rq.domain import Pretraining
from dabs_rq.errors import DataError
from dabs_rq.files import digest
from dabs_rq.spec import Archive, Source

from . import fasta

FILE = "uniprot_sprot.fasta.gz"
URL = f"https://ftp.uniprot.org/pub/databases/uniprot/current_release/knowledgebase/complete/{FILE}"
HELD_OUT = 20  # one protein in 20 is for validation

SOURCE = Source(
    name="swissprot",
    title="UniProtKB/Swiss-Prot",
    url=URL,
    folder="proteins/swissprot",
    layout=f"{FILE}      >sp|Q6GZX4|001R_FRG3G Putative transcription factor ...",
    needs=(FILE,),
    licence="CC BY 4.0",
    size="0.1 GB",
    citation="The UniProt Consortium 2023, UniProt: the Universal Protein Knowledgebase, Nucleic Acids Research 51",
    archives=(Archive(URL),),
)


def load(request: Request) -> Examples:
    """Read the proteins of a split in the order of the file. The split of a protein depends on its accession alone."""
    root = request.folder(SOURCE)
    spec = request.inputs[0]
    proteins = []
    for protein in fasta.read(root / FILE, spec.shape[0]):
        parts = protein.name.split("|")
        if len(parts) != 3:
            raise DataError(f"{root / FILE}:{protein.line}: expected >sp|accession|name, found >{protein.name}")
        held_out = int(digest(parts[1]), 16) % HELD_OUT == 0
        if held_out == (request.split == "validation"):
            proteins.append(protein._replace(name=parts[1]))
    return Examples(ids=[protein.name for protein in proteins], inputs=(fasta.column(proteins, root, FILE, spec),))


SWISSPROT = Pretraining(source=SOURCE, load=load)  # without sizes, which change with every release
