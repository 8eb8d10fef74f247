"""A small made-up HIV screen and BBBP in their native layout.

A molecule is a row of rings, chains and polar ends. It passes if its polar ends sit on rings, and does not if they sit
on chains, so the order of the characters matters: the same parts occur in both. One label in ten is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from dabs_rq.files import atomic_path

from .bbbp import FILE as BBBP
from .bbbp import SOURCE as BBBP_SOURCE
from .hiv import FILE as HIV
from .hiv import SOURCE as HIV_SOURCE

RINGS = ("c1ccccc1", "C1CCCCC1", "c1ccncc1", "C1CCNCC1", "c1ccsc1")
CHAINS = ("CC", "CCC", "C(C)C", "CC=C", "CCOC", "CSC")
POLAR = ("O", "N", "C(=O)O", "S(=O)(=O)N", "[N+](=O)[O-]")
UNLABELLED, LABELLED = 2_500, 1_000


def write(root: Path, seed: int) -> None:
    """Write both sources below `root`. Equal seeds give equal bytes."""
    rng = np.random.default_rng([seed, 0])
    rows = (f"{_molecule(bool(rng.integers(2)), rng)},CI,{rng.integers(2)}" for _ in range(UNLABELLED))
    _write(root / HIV_SOURCE.folder / HIV, "smiles,activity,HIV_active", rows)
    rng = np.random.default_rng([seed, 1])
    labels = rng.integers(2, size=LABELLED)
    wrong = rng.random(LABELLED) < 0.1
    lines = (
        f"{i + 1},made up {i},{int(label ^ wrong[i])},{_molecule(bool(label), rng)}" for i, label in enumerate(labels)
    )
    _write(root / BBBP_SOURCE.folder / BBBP, "num,name,p_np,smiles", lines)


def _molecule(passes: bool, rng: np.random.Generator) -> str:
    """Draw a molecule of two to four pairs of ring and chain, each with a polar end after one of the two."""
    parts = []
    for _ in range(rng.integers(2, 5)):
        ring, chain, polar = (str(rng.choice(kind)) for kind in (RINGS, CHAINS, POLAR))
        parts.append(f"{chain}{ring}({polar})" if passes else f"{ring}{chain}({polar})")
    return "".join(parts)


def _write(file: Path, header: str, lines: Iterable[str]) -> None:
    with atomic_path(file) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in (header, *lines)), encoding="utf-8")
