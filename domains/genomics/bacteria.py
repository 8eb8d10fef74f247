"""Bacterial genomes: reads of 250 bases, and the genus that they come from.

The source has genomes of ten genera found before 2011, genomes of these and of sixty other genera found from 2011 to
2016, and later ones. DABS pretrains on the first file, and transfers to each of the two that follow, which it cuts 9:1.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dabs_rq.data.examples import Examples
from dabs_rq.data.readers.index import split_90_10
from dabs_rq.data.requests import Request, missing_text
from dabs_rq.domain import Pretraining, Task
from dabs_rq.domains.genomics import reads
from dabs_rq.domains.genomics.reads import Genera
from dabs_rq.errors import MissingDataError
from dabs_rq.spec import Archive, Source

KNOWN = Genera(
    (
        *("Bacillus", "Burkholderia", "Clostridium", "Escherichia", "Mycobacterium"),
        *("Pseudomonas", "Salmonella", "Staphylococcus", "Streptococcus", "Yersinia"),
    )
)
OTHERS = Genera(
    (
        *("Actinoplanes", "Advenella", "Alicycliphilus", "Altererythrobacter", "Anabaena", "Archangium"),
        *("Bibersteinia", "Blastochloris", "Calothrix", "Carnobacterium", "Cedecea", "Cellulophaga"),
        *("Chondromyces", "Chryseobacterium", "Collimonas", "Corallococcus", "Cyclobacterium", "Dehalobacter"),
        *("Desulfosporosinus", "Devosia", "Dyella", "Elizabethkingia", "Glaciecola", "Granulicella"),
        *("Haliscomenobacter", "Hymenobacter", "Kibdelosporangium", "Kutzneria", "Labilithrix", "Leptolyngbya"),
        *("Leptospirillum", "Lysobacter", "Mannheimia", "Massilia", "Methanobacterium", "Microbacterium"),
        *("Myroides", "Neorhizobium", "Niastella", "Oblitimonas", "Octadecabacter", "Oscillatoria"),
        *("Pandoraea", "Pelosinus", "Phaeobacter", "Piscirickettsia", "Planococcus", "Pseudonocardia"),
        *("Pseudoxanthomonas", "Rahnella", "Raoultella", "Rufibacter", "Saccharothrix", "Sandaracinus"),
        *("Singulisphaera", "Sphaerochaeta", "Sphingobacterium", "Spiroplasma", "Tannerella", "Terriglobus"),
    ),
    first=10,
)
# The publisher's file, and DABS's of the same reads.
PRETRAINING = ("before_2011_in_tr.txt", "genomicsPretrain.csv")
SAME = ("between_2011-2016_in_val.txt", "genomicsTransferID.csv")
OTHER = ("between_2011-2016_ood_val.txt", "genomicsTransferOOD.csv")
LATER = "after_2016_in_test.txt"
HELD_OUT = 0.1

SOURCE = Source(
    name="genomics_ood",
    title="Bacteria genomics for out-of-distribution detection",
    url="https://github.com/google-research/google-research/tree/master/genomics_ood",
    folder="genomics",
    layout=f"{PRETRAINING[0]}, {SAME[0]}, {OTHER[0]}\n"
    "      lines seq, label, seq_info, domain, separated by tabs, below a header\n"
    f"{LATER}      scored as a further split if it is there\n"
    f"(or as DABS writes them: {PRETRAINING[1]}, {SAME[1]}, {OTHER[1]})",
    needs=tuple(publisher for publisher, _ in (PRETRAINING, SAME, OTHER)),
    instead=tuple(dabs for _, dabs in (PRETRAINING, SAME, OTHER)),
    licence="not stated with the data; the code beside it is Apache 2.0",
    size="1.7 million lines, about 0.5 GB",
    citation="Ren et al. 2019, Likelihood Ratios for Out-of-Distribution Detection, NeurIPS, arXiv:1906.02845",
    archives=(Archive("https://storage.googleapis.com/tfds-data/downloads/genomics_ood/genomics_ood.zip"),),
)


def load(request: Request, *, files: tuple[str, str], genera: Genera) -> Examples:
    """Load the reads of a split, as protocol.genomics_split says, grouped by genome.

    "read": DABS's shuffle, cut 9:1, in shuffled order. "genome": of each genus, whole genomes with about a tenth of its
    reads are held out; of a genus with a single genome, the tenth of the reads at its end.
    Split "after_2016" is all of the publisher's test file.
    """
    folder = request.folder(SOURCE)
    publisher, dabs = files
    path = publisher if (folder / publisher).exists() else dabs
    if request.split == "after_2016":
        path = LATER
        if not (folder / path).exists():
            raise MissingDataError(missing_text(SOURCE, request.root, [folder / path]))
    found = reads.index(folder / path, genera)
    if request.split == "after_2016":
        rows = np.arange(len(found.lines))
    elif request.protocol.genomics_split == "read":
        rows = split_90_10(len(found.lines), request.split)
    else:
        rows = by_genome(found, request.split)
    lines = pa.array(found.lines[rows]).cast(pa.string())
    return Examples(
        ids=pc.binary_join_element_wise(pa.scalar(path), lines, ":"),
        inputs=(reads.column(folder, path, found, rows, request.inputs[0]),),
        targets=found.classes[rows],
        groups=found.genomes[rows],
    )


def load_unlabelled(request: Request) -> Examples:
    return replace(load(request, files=PRETRAINING, genera=KNOWN), targets=None, groups=None)


def by_genome(found: reads.Index, split: str) -> np.ndarray:
    """Return the rows of a split, in file order. It depends on the names of the genomes, not on their order."""
    state = np.random.RandomState(42)
    held = np.zeros(len(found.lines), bool)
    rank = np.argsort(np.argsort(np.array(found.names)))
    for genus in np.unique(found.classes):
        rows = np.flatnonzero(found.classes == genus)
        wanted = HELD_OUT * len(rows)
        genomes, counts = np.unique(rank[found.genomes[rows]], return_counts=True)
        if len(genomes) == 1:
            by_position = rows[np.lexsort((rows, found.positions[rows]))]
            held[by_position[len(rows) - max(1, round(wanted)) :]] = len(rows) > 1
            continue
        order = state.permutation(len(genomes))
        totals = np.cumsum(counts[order])[:-1]  # one genome at least is for training
        chosen = genomes[order[: 1 + int(np.abs(totals - wanted).argmin())]]
        held[rows[np.isin(rank[found.genomes[rows]], chosen)]] = True
    return np.flatnonzero(held == (split != "train"))


_NOTE = "the genus of a read of 250 bases"
TASKS = (
    Task(
        name="genomics_transfer_id",
        row="Genomics, Known Genera",
        source=SOURCE,
        target=KNOWN.target,
        metric="accuracy",
        load=partial(load, files=SAME, genera=KNOWN),
        sizes={"all": 100_000},
        extra_splits=("after_2016",),
        batch_size=64,
        note=f"{_NOTE}: ten genera, those of the pretraining reads.",
    ),
    Task(
        name="genomics_transfer_ood",
        row="Genomics, Other Genera",
        source=SOURCE,
        target=OTHERS.target,
        metric="accuracy",
        load=partial(load, files=OTHER, genera=OTHERS),
        sizes={"all": 600_000},
        note=f"{_NOTE}: sixty genera that the pretraining reads lack, trained and tested on themselves.",
    ),
)
BACTERIA = Pretraining(source=SOURCE, load=load_unlabelled, sizes={"all": 1_000_000})
