"""Made-up genomes in the publisher's layout, tab separated, with a file of each time.

A genome is a Markov chain whose next base depends on the last two; the chain is that of its genus, which each genome
bends a little. Two genera that follow each other in the list share a chain, one read forwards and one backwards: they
have the same bases and the same neighbours, and differ in order alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dabs_rq.domains.genomics.bacteria import KNOWN, LATER, OTHER, OTHERS, PRETRAINING, SAME, SOURCE
from dabs_rq.domains.genomics.reads import BASES, LENGTH
from dabs_rq.miniature.writers import Rng, generator, rounded, run, write_lines

GENOME = 3_000  # bases
# file, its genera, how the file calls them, genomes of each genus, reads of each genome
FILES = (
    (PRETRAINING[0], KNOWN.names, "in", 12, 20),
    (SAME[0], KNOWN.names, "in", 10, 20),
    (OTHER[0], OTHERS.names, "ood", 5, 7),
    (LATER, KNOWN.names, "in", 4, 10),
)


def write(root: Path, seed: int, processes: int = 1) -> None:
    """Write the four files below `root`, the same bytes for the same seed: 6,900 reads."""
    run([(_write, root, seed, *file) for file in FILES], processes)


def _write(root: Path, seed: int, file: str, genera: Sequence[str], kind: str, genomes: int, reads: int) -> None:
    rng = generator(seed, "genomics", file)
    chains = np.concatenate([_chains(seed, rng, genera, number, genomes) for number in range(len(genera))])
    letters = np.frombuffer(BASES, np.uint8)[_walk(chains, rng)]
    lines = []
    for number, genome in enumerate(letters):
        genus = genera[number // genomes]
        text = genome.tobytes().decode()
        if genera.index(genus) % 2:
            text = text[::-1]
        for start in rng.integers(GENOME - LENGTH + 1, size=reads):
            info = f"{genus}_strain_NC_{number:06d}.1_{start}"
            lines.append("\t".join((text[start : start + LENGTH], genus, info, kind)))
    order = rng.permutation(len(lines))
    header = "\t".join(("seq", "label", "seq_info", "domain"))
    write_lines(root / SOURCE.folder / file, [header, *(lines[i] for i in order)])


def _chains(seed: int, rng: Rng, genera: Sequence[str], number: int, genomes: int) -> np.ndarray:
    """Return cumulative transitions (genomes, 16, 4) of the genomes of a genus."""
    own = generator(seed, "genus", genera[number - number % 2]).dirichlet(np.full(4, 1.5), size=16)
    bent = rng.dirichlet(np.full(4, 1.5), size=(genomes, 16))
    return rounded(np.cumsum(0.85 * own + 0.15 * bent, axis=-1))


def _walk(chains: np.ndarray, rng: Rng) -> np.ndarray:
    """Draw a genome (n, GENOME) from each chain, as ids of bases."""
    last, genomes = rng.integers(16, size=len(chains)), np.empty((GENOME, len(chains)), np.int64)
    for place in range(GENOME):
        limits = chains[np.arange(len(chains)), last]
        genomes[place] = (rng.random(len(chains))[:, None] >= limits[:, :3]).sum(axis=1)
        last = 4 * (last % 4) + genomes[place]
    return genomes.T
