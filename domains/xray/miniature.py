"""A small made-up copy of CheXpert and ChestX-ray8, in their native layouts.

Both show chests of the same kind with the same ten findings (`miniature_chests`, `miniature_drawing`), of other
patients. CheXpert has studies of one or more views, frontal and lateral, and labels as a report would give them:
present, absent, uncertain where it is hard to tell, and most of what is absent not mentioned. ChestX-ray8 has one
frontal picture per examination, and many of some patients.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from domains.xray.miniature_chests import (
    Examinations,
    make_examinations,
    make_patients,
    make_pictures,
)
from domains.xray.miniature_drawing import draw

RELEASE = "CheXpert-v1.0-small"
TRAIN_STUDIES, VALID_STUDIES = 1560, 250
STUDY_SHARES = (0.5, 0.3, 0.2)  # patients with one, two and three studies
VIEWS = (("frontal",), ("frontal", "lateral"), ("frontal", "frontal"), ("lateral",))
VIEW_SHARES = (0.62, 0.28, 0.07, 0.03)
CHEXPERT_SIZES = ((80, 96), (96, 80), (80, 80))  # height, width
COLUMNS = (
    *("No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema"),
    *("Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other"),
    *("Fracture", "Support Devices"),
)
OPACITIES = ("Atelectasis", "Consolidation", "Edema", "Infiltration", "Pneumonia")

XRAY8_PICTURES = 3000
XRAY8_SIZE = 80
XRAY8_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
# As named in the table, in its order.
XRAY8_FINDINGS = (
    *("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Infiltration", "Mass", "Nodule"),
    *("Pneumonia", "Pneumothorax"),
)
XRAY8_UNSEEN = {"Emphysema": 0.03, "Fibrosis": 0.03, "Hernia": 0.01, "Pleural_Thickening": 0.04}  # nothing shows them


def write(root: Path, seed: int) -> None:
    """Write both sources below `root`: about 5,500 pictures, the same bytes for the same seed."""
    for number, writer in enumerate((_chexpert, _xray8)):
        writer(root / "medical_images", np.random.default_rng([seed, number]))


def _chexpert(medical: Path, rng: np.random.Generator) -> None:
    first = 1
    for part, studies in (("train", TRAIN_STUDIES), ("valid", VALID_STUDIES)):
        each = rng.choice(3, studies, p=STUDY_SHARES) + 1 if part == "train" else np.ones(studies, int)
        patient = np.repeat(np.arange(studies), each)[:studies]
        patients = make_patients(rng, int(patient[-1]) + 1)
        examined = make_examinations(rng, patients, patient)
        views = [VIEWS[kind] for kind in rng.choice(len(VIEWS), studies, p=VIEW_SHARES)]
        study = np.repeat(np.arange(studies), [len(shown) for shown in views])
        view = [name for shown in views for name in shown]
        wanted = make_pictures(rng, patients, examined, study, np.array([name == "lateral" for name in view]))
        sizes = [CHEXPERT_SIZES[i] for i in rng.integers(len(CHEXPERT_SIZES), size=len(study))]

        visit, shown_as = _place_among_equals(patient), _place_among_equals(study)
        paths = [
            f"{part}/patient{first + patient[k]:05d}/study{visit[k] + 1}/view{shown_as[i] + 1}_{view[i]}.jpg"
            for i, k in enumerate(study)
        ]
        _save(medical / "chexpert" / RELEASE, paths, draw(rng, wanted, sizes))
        sex, age = rng.choice(["Female", "Male"], len(patients)), rng.integers(18, 91, len(patients))
        position = rng.choice(["AP", "PA"], studies, p=[0.8, 0.2])
        cells = _reported(rng, examined) if part == "train" else _agreed(rng, examined)
        rows = [
            f"{RELEASE}/{path},{sex[patient[k]]},{age[patient[k]]},{name.title()},"
            f"{position[k] if name == 'frontal' else ''},{','.join(cells[k])}"
            for path, name, k in zip(paths, view, study, strict=True)
        ]
        header = f"Path,Sex,Age,Frontal/Lateral,AP/PA,{','.join(COLUMNS)}"
        _write_lines(medical / "chexpert" / RELEASE / f"{part}.csv", (header, *rows))
        first += len(patients)


def _observations(rng: np.random.Generator, examined: Examinations) -> np.ndarray:
    """(n, 14): above 0 where the observation is present, and the closer to 0 the harder to tell."""
    n = len(examined)
    chance = {name: rng.uniform(-1, share, n) for name, share in {"Fracture": 0.05, "Pleural Other": 0.03}.items()}
    devices = rng.uniform(-1, 1.2, n)
    by_name = {
        "Enlarged Cardiomediastinum": examined.state_of("Cardiomegaly") - 0.7,
        "Lung Opacity": np.max([examined.state_of(name) for name in OPACITIES], axis=0),
        "Lung Lesion": np.maximum(examined.state_of("Mass"), examined.state_of("Nodule")),
        "Pleural Effusion": examined.state_of("Effusion"),
        "Support Devices": devices,
        **chance,
    }
    seen = [by_name[name] if name in by_name else examined.state_of(name) for name in COLUMNS[1:]]
    nothing = -np.max([one for one, name in zip(seen, COLUMNS[1:], strict=True) if name != "Support Devices"], axis=0)
    return np.stack([nothing, *seen], axis=1)


def _reported(rng: np.random.Generator, examined: Examinations) -> np.ndarray:
    """(n, 14) cells of train.csv: 1.0, 0.0, -1.0 for what is hard to tell, mostly nothing for what is absent."""
    seen = _observations(rng, examined)
    drawn = rng.uniform(0, 1, seen.shape)
    cells = np.where(seen > 0, "1.0", np.where(drawn < 0.3, "0.0", ""))
    cells = np.where((np.abs(seen) < 0.15) & (drawn < 0.6), "-1.0", cells)
    cells[:, 0] = np.where(seen[:, 0] > 0, "1.0", "")  # never uncertain, never denied
    return cells


def _agreed(rng: np.random.Generator, examined: Examinations) -> np.ndarray:
    """(n, 14) cells of valid.csv, which radiologists filled in: all 1.0 or 0.0."""
    return np.where(_observations(rng, examined) > 0, "1.0", "0.0")


def _xray8(medical: Path, rng: np.random.Generator) -> None:
    folder, n = medical / "xray8", XRAY8_PICTURES
    each = np.minimum(rng.geometric(0.28, n), 20)  # a mean of 3.6 pictures of each patient
    patient = np.repeat(np.arange(n), each)[:n]
    patients = make_patients(rng, int(patient[-1]) + 1)
    examined = make_examinations(rng, patients, patient)
    wanted = make_pictures(rng, patients, examined, np.arange(n), np.zeros(n, bool))
    visit = _place_among_equals(patient)
    names = [f"{number + 1:08d}_{follow_up:03d}.png" for number, follow_up in zip(patient, visit, strict=True)]
    drawn = draw(rng, wanted, [(XRAY8_SIZE, XRAY8_SIZE)] * n)
    # A few of the real ones have four channels.
    opaque = np.full((XRAY8_SIZE, XRAY8_SIZE, 1), 255, np.uint8)
    coloured = [
        np.concatenate([picture[..., None].repeat(3, 2), opaque], 2) if i % 41 == 7 else picture
        for i, picture in enumerate(drawn)
    ]
    _save(folder / "images", names, coloured)

    found = {name: examined.state_of(name) > 0 for name in XRAY8_FINDINGS}
    found |= {name: rng.uniform(0, 1, n) < share for name, share in XRAY8_UNSEEN.items()}
    labels = ["|".join(name for name in sorted(found) if found[name][i]) or "No Finding" for i in range(n)]
    sex, age = rng.choice(["F", "M"], len(patients)), rng.integers(5, 90, len(patients))
    position = rng.choice(["AP", "PA"], n, p=[0.4, 0.6])
    rows = (
        f"{names[i]},{labels[i]},{visit[i]},{k + 1},{age[k] + visit[i] // 4},{sex[k]},{position[i]},"
        "2500,2048,0.168,0.168"
        for i, k in enumerate(patient)
    )
    _write_lines(folder / "metadata.csv", (XRAY8_HEADER, *rows))


# ---- what the writers share ----------------------------------------------------------------------------------------


def _place_among_equals(values: np.ndarray) -> np.ndarray:
    """0 for the first of a run of equal values, 1 for the second, and so on."""
    starts = np.flatnonzero(np.diff(values, prepend=values[0] - 1))
    return np.arange(len(values)) - np.repeat(starts, np.diff(starts, append=len(values)))


def _save(folder: Path, paths: Sequence[str], drawn: Iterable[np.ndarray]) -> None:
    for parent in sorted({(folder / path).parent for path in paths}):
        parent.mkdir(parents=True, exist_ok=True)
    for path, picture in zip(paths, drawn, strict=True):
        Image.fromarray(picture).save(folder / path, quality=85)


def _write_lines(file: Path, text: Iterable[str]) -> None:
    file.write_text("".join(f"{line}\n" for line in text), encoding="utf-8", newline="")
