"""A small made-up Swiss-Prot and SCOPe in their native layout.

A protein is a chain of helices, strands and loops. In a helix every third or fourth residue is hydrophobic, in a strand
every second; each superfamily has its own frequencies of letters. A class is a sequence of helices and strands. Some
classes differ in composition, the others only in the order of residues.
"""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import numpy as np

from dabs_rq.files import atomic_path

from .scope import CLASSES
from .scope import FILE as SCOPE
from .scope import SOURCE as SCOPE_SOURCE
from .swissprot import FILE as SWISSPROT
from .swissprot import SOURCE as SWISSPROT_SOURCE

OILY, WET = "LIVFAMWY", "EKRQDSTN"  # hydrophobic and hydrophilic residues
LOOP, SMALL = "GPNDS", "CGPKH"
ALPHABETS = (OILY, WET, LOOP, SMALL)
PLANS = {"a": "H", "b": "E", "c": "HE", "d": "EEEHHH", "e": "HEEHHE", "f": "M", "g": "C"}
SUPERFAMILIES, MEMBERS = 10, 16  # per class, per superfamily
UNLABELLED = 2300


class Superfamily:
    """A sequence of helices and strands, with its own frequencies of residues."""

    def __init__(self, plan: str, rng: np.random.Generator) -> None:
        self.plan = plan
        # Cumulative frequencies: a draw from [0, 1) selects a letter.
        self.cumulative = {letters: rng.dirichlet(np.full(len(letters), 3.0)).cumsum() for letters in ALPHABETS}

    def protein(self, rng: np.random.Generator) -> str:
        """Generate a protein of 40 to 140 residues."""
        length, chain, part = int(rng.integers(40, 141)), "", int(rng.integers(len(self.plan)))
        while len(chain) < length:
            chain += self._part(self.plan[part % len(self.plan)], rng) + self._letters(LOOP, rng.integers(2, 6), rng)
            part += 1
        return chain[:length]

    def _part(self, kind: str, rng: np.random.Generator) -> str:
        if kind == "C":  # small proteins, rich in cysteine
            return self._letters(SMALL, rng.integers(3, 6), rng) + self._letters(WET, rng.integers(2, 5), rng)
        if kind == "M":  # a helix that crosses a membrane
            return self._letters(OILY, rng.integers(17, 23), rng)
        length = int(rng.integers(9, 16) if kind == "H" else rng.integers(5, 9))
        turn = 2 * np.pi / (3.6 if kind == "H" else 2.0)
        oily = np.cos(turn * np.arange(length) + rng.uniform(-0.5, 0.5)) > 0
        oily ^= rng.random(length) < 0.1
        inside, outside = self._letters(OILY, length, rng), self._letters(WET, length, rng)
        return "".join(inside[i] if is_oily else outside[i] for i, is_oily in enumerate(oily))

    def _letters(self, letters: str, count: int | np.integer, rng: np.random.Generator) -> str:
        drawn = np.searchsorted(self.cumulative[letters], rng.random(int(count))).clip(max=len(letters) - 1)
        return "".join(letters[i] for i in drawn)


def write(root: Path, seed: int) -> None:
    """Write both sources below `root`. Equal seeds give equal bytes."""
    rng = np.random.default_rng([seed, 0])
    lines = []
    for number in range(UNLABELLED):
        protein = Superfamily(PLANS[CLASSES[int(rng.integers(len(CLASSES)))]], rng).protein(rng)
        lines += _record(f"sp|P{number:05d}|MADE{number}_UP Made-up protein {number}", protein)
    _write(root / SWISSPROT_SOURCE.folder / SWISSPROT, lines)

    rng = np.random.default_rng([seed, 1])
    lines = []
    for kind in CLASSES:
        for family in range(1, SUPERFAMILIES + 1):
            superfamily = Superfamily(PLANS[kind], rng)
            for member in range(MEMBERS):
                name = f"d{family:02d}{member:02d}{kind}_"
                header = f"{name} {kind}.{family}.1.{member % 3 + 1} (A:) Made-up domain {{Nobody}}"
                lines += _record(header, superfamily.protein(rng).lower())
    _write(root / SCOPE_SOURCE.folder / SCOPE, lines)


def _record(header: str, residues: str) -> list[str]:
    return [f">{header}", *(residues[i : i + 60] for i in range(0, len(residues), 60))]


def _write(file: Path, lines: list[str]) -> None:
    content = "".join(f"{line}\n" for line in lines).encode()
    if file.suffix == ".gz":
        compressed = io.BytesIO()
        with gzip.GzipFile(
            fileobj=compressed, mode="wb", mtime=0
        ) as opened:  # without the time, so that bytes are reproducible
            opened.write(content)
        content = compressed.getvalue()
    with atomic_path(file) as temporary:
        temporary.write_bytes(content)
