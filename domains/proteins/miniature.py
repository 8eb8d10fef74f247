"""Made-up proteins in TAPE's layout.

A protein is a chain of helices, strands and loops, whose order is that of its fold. In a helix every third or fourth
residue is hydrophobic, in a strand every second; each family has its own frequencies of letters. So the structure of a
residue shows in the residues around it, and some folds differ only in the order of residues. A stable protein has more
helices and strands. A fluorescent one is a mutant of a common parent, and each position of it has an effect of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dabs_rq.domains.proteins.tape import FOLDER
from dabs_rq.miniature.writers import Rng, generator, rounded, run, write_json

OILY, WET, LOOP, SMALL = "LIVFAMWY", "EKRQDSTN", "GPNDS", "CGPKH"  # OILY: hydrophobic, WET: hydrophilic
PLANS = ("H", "E", "HE", "EEEHHH", "HEEHHE", "M", "S", "HHE")  # H helix, E strand, M membrane helix, S small
STATES = {"H": 0, "M": 0, "E": 1, "S": 2}
COUNTS = {
    "pfam": {"train": 2_400, "valid": 4_000},
    "remote_homology": {"train": 1_000, "valid": 200, "test_fold_holdout": 100},
    "secondary_structure": {"train": 300, "valid": 80, "cb513": 40},
    "stability": {"train": 800, "valid": 200, "test": 100},
    "fluorescence": {"train": 800, "valid": 200, "test": 100},
}
FAMILIES = 12  # of each fold
PARENT = 60  # residues of the parent of the fluorescent proteins, so that no mutation is cut away
Chain = tuple[str, list[int]]  # residues, and the state of each
Frequencies = dict[str, np.ndarray]  # cumulative, of the letters of each kind


def write(root: Path, seed: int, processes: int = 1) -> None:
    """Write all files below `root`, the same bytes for the same seed: 10,500 proteins."""
    run([(_write, root, seed, folder, split) for folder in COUNTS for split in COUNTS[folder]], processes)


def _write(root: Path, seed: int, folder: str, split: str) -> None:
    rng = generator(seed, folder, split)
    made = _mutants(seed, rng) if folder == "fluorescence" else _proteins(seed, rng, folder)
    records = [next(made) for _ in range(COUNTS[folder][split])]
    numbered = [{**record, "protein_length": len(record["primary"]), "id": str(i)} for i, record in enumerate(records)]
    write_json(root / FOLDER / folder / f"{folder}_{split}.json", numbered)


def _proteins(seed: int, rng: Rng, folder: str) -> Iterator[dict[str, Any]]:
    folds = range(len(PLANS))
    families = [[_frequencies(generator(seed, "family", fold, i)) for i in range(FAMILIES)] for fold in folds]
    while True:
        fold, family = int(rng.integers(len(PLANS))), int(rng.integers(FAMILIES))
        residues, states = _chain(PLANS[fold], families[fold][family], rng)
        record: dict[str, Any] = {"primary": residues}
        if folder == "pfam":
            record |= {"clan": 7 * fold + 2, "family": FAMILIES * fold + family}
        elif folder == "remote_homology":
            record |= {"fold_label": 140 * fold + 5, "class_label": fold % 7}
        elif folder == "secondary_structure":
            record |= {"ss3": states, "valid_mask": _valid(len(states), rng)}
        else:
            structured = 1 - states.count(2) / len(states)
            record["stability_score"] = [float(rounded(4 * structured - 2 + 0.3 * rng.normal(), 4))]
        yield record


def _valid(length: int, rng: Rng) -> list[bool]:
    """The ends of a protein, and some residues within, have no reliable structure."""
    valid = rng.random(length) > 0.03
    valid[: rng.integers(4)] = False
    valid[length - rng.integers(4) :] = False
    return [bool(one) for one in valid]


def _mutants(seed: int, rng: Rng) -> Iterator[dict[str, Any]]:
    fixed = generator(seed, "parent")
    parent, _ = _chain("E", _frequencies(fixed), fixed, length=PARENT)
    effects = rounded(fixed.exponential(0.35, size=PARENT))
    while True:
        places = rng.choice(PARENT, size=int(rng.integers(2, 13)), replace=False)
        letters = list(parent)
        for place in places:
            others = (OILY + WET).replace(parent[place], "")
            letters[place] = others[int(rng.integers(len(others)))]
        lost = sum(effects[place] for place in places)
        score = rounded(3.7 - min(2.4, lost) + 0.1 * rng.normal(), 4)
        yield {"primary": "".join(letters), "log_fluorescence": [float(score)]}


def _frequencies(rng: Rng) -> Frequencies:
    kinds = (OILY, WET, LOOP, SMALL)
    return {letters: rounded(rng.dirichlet(np.full(len(letters), 3.0)).cumsum()) for letters in kinds}


def _chain(plan: str, frequencies: Frequencies, rng: Rng, length: int | None = None) -> Chain:
    """Draw a protein of a family, of 40 to 140 residues unless `length` is given."""
    length = int(rng.integers(40, 141)) if length is None else length
    residues, states, part = "", list[int](), int(rng.integers(len(plan)))
    while len(residues) < length:
        kind = plan[part % len(plan)]
        piece, loop = _part(kind, frequencies, rng), _letters(LOOP, int(rng.integers(2, 6)), frequencies, rng)
        residues += piece + loop
        states += [STATES[kind]] * len(piece) + [2] * len(loop)
        part += 1
    unknown = rng.random(length) < 0.005
    return "".join("X" if x else letter for letter, x in zip(residues, unknown, strict=False)), states[:length]


def _part(kind: str, frequencies: Frequencies, rng: Rng) -> str:
    if kind == "S":  # small proteins, rich in cysteine
        sizes = rng.integers(3, 6), rng.integers(2, 5)
        return "".join(_letters(a, int(n), frequencies, rng) for a, n in zip((SMALL, WET), sizes, strict=True))
    if kind == "M":  # crosses a membrane
        return _letters(OILY, int(rng.integers(17, 23)), frequencies, rng)
    length = int(rng.integers(9, 16) if kind == "H" else rng.integers(5, 9))
    turn = 2 * np.pi / (3.6 if kind == "H" else 2.0)
    oily = rounded(np.cos(turn * np.arange(length) + rng.uniform(-0.5, 0.5))) > 0
    oily ^= rng.random(length) < 0.1
    inside, outside = (_letters(letters, length, frequencies, rng) for letters in (OILY, WET))
    return "".join(inside[i] if is_oily else outside[i] for i, is_oily in enumerate(oily))


def _letters(letters: str, count: int, frequencies: Frequencies, rng: Rng) -> str:
    drawn = np.searchsorted(frequencies[letters], rng.random(count)).clip(max=len(letters) - 1)
    return "".join(letters[i] for i in drawn)
