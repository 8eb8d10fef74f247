"""A small made-up copy of CheXpert and ChestX-ray8, in their native layouts.

A patient has an anatomy, an examination ten findings, whose labels cut severities in two, a picture an exposure.
"""

from __future__ import annotations

from pathlib import Path
from statistics import NormalDist

import numpy as np

from dabs_rq.miniature.scenes import Canvas, Factors, draw, each, uniform, wave
from dabs_rq.miniature.writers import Rng, generator, place_in_run, rounded, run, write_lines, write_pictures

RELEASE = "CheXpert-v1.0-small"
STUDIES = {"train": 1540, "valid": 240}
VIEWS = (("frontal",), ("frontal",), ("frontal",), ("frontal", "lateral"), ("frontal", "frontal"), ("lateral",))
CHEXPERT_SIZES = ((48, 58), (58, 48), (48, 48))  # height, width
COLUMNS = """No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,Edema,Consolidation,Pneumonia,\
Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices"""
XRAY8_HEADER = """Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,\
OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"""
XRAY8_UNSEEN = {"Emphysema": 0.03, "Fibrosis": 0.03, "Hernia": 0.01, "Pleural_Thickening": 0.04}  # nothing shows them
FINDINGS = dict.fromkeys(("Atelectasis", "Cardiomegaly", "Edema", "Infiltration"), 0.25)  # how often each occurs
FINDINGS |= dict.fromkeys(("Consolidation", "Mass", "Nodule", "Pneumonia", "Pneumothorax"), 0.2) | {"Effusion": 0.3}
SPOTS = (  # dense ones in the lungs: finding, radius, density
    *(("Consolidation", 0.34, 0.8), ("Mass", 0.28, 1.2), ("Nodule", 0.2, 1.5), ("Pneumonia", 0.2, 0.7)),
    *(("Pneumonia", 0.16, 0.7), ("Infiltration", 0.4, 0.45), ("Infiltration", 0.34, 0.45)),
)
# What differs between patients, and between pictures: from, to, in half pictures.
ANATOMY = {"width": (0.88, 1.1), "lung_width": (0.28, 0.36), "lung_height": (0.58, 0.74), "heart": (0.24, 0.32)}
ANATOMY |= {"heart_tilt": (0.2, 0.7), "diaphragm": (0.38, 0.52), "ribs": (2.8, 4.0), "rib_slope": (0.15, 0.5)}
ANATOMY |= {"rib_contrast": (0.03, 0.12), "thickness": (0.0, 0.15)}
EXPOSURE = dict.fromkeys(("x", "y"), (-0.08, 0.08)) | {"turn": (-0.06, 0.06), "breath": (-0.05, 0.05)}
EXPOSURE |= {"zoom": (0.88, 1.1), "gamma": (0, 0.6), "light": (0.7, 1.1), "slope": (-0.12, 0.12), "noise": (0.01, 0.06)}


def write(root: Path, seed: int, processes: int = 1) -> None:
    """Write both sources below `root`: about 5,400 pictures, the same bytes for the same seed."""
    jobs = [(_chexpert, root / "medical_images" / "chexpert", seed, part) for part in STUDIES]
    run([*jobs, (_xray8, root / "medical_images" / "xray8", seed)], processes)


def _chexpert(folder: Path, seed: int, part: str) -> None:
    rng, studies = generator(seed, "chexpert", part), STUDIES[part]
    several = [1, 1, 1, 1, 1, 2, 2, 2, 3, 3] if part == "train" else [1]  # studies of a patient
    patient = np.repeat(np.arange(studies), rng.choice(several, studies))[:studies]
    anatomy, state = _patients(rng, patient)
    views = [VIEWS[kind] for kind in rng.choice(len(VIEWS), studies, p=[0.22, 0.2, 0.2, 0.28, 0.07, 0.03])]
    study, view = np.repeat(np.arange(studies), [*map(len, views)]), np.concatenate(views)
    sizes = [CHEXPERT_SIZES[i] for i in rng.integers(len(CHEXPERT_SIZES), size=len(study))]
    shown = _pictures(rng, anatomy, state, study, view == "lateral")
    visit, shown_as, first = place_in_run(patient), place_in_run(study), 1 if part == "train" else 64541
    sex, age = rng.choice(["Female", "Male"], studies), rng.integers(18, 91, studies)
    position, cells = rng.choice(["AP", "PA"], studies, p=[0.8, 0.2]), _cells(rng, state, report=part == "train")
    rows, paths = [f"Path,Sex,Age,Frontal/Lateral,AP/PA,{COLUMNS}"], []
    for i, k in enumerate(study.tolist()):
        paths.append(f"{part}/patient{first + patient[k]:05d}/study{visit[k] + 1}/view{shown_as[i] + 1}_{view[i]}.jpg")
        about = f"{sex[patient[k]]},{age[patient[k]]},{view[i].title()},{position[k] if view[i] == 'frontal' else ''}"
        rows.append(f"{RELEASE}/{paths[-1]},{about},{','.join(cells[k])}")
    write_pictures(folder / RELEASE, paths, draw(_paint, rng, shown, sizes, channels=1))
    write_lines(folder / RELEASE / f"{part}.csv", rows)


def _cells(rng: Rng, state: Factors, report: bool) -> np.ndarray:
    """(n, 14) cells: 1.0, 0.0, and in a report -1.0 for what is hard to tell, mostly nothing for what is absent."""
    also = {"Enlarged Cardiomediastinum": state["Cardiomegaly"] - 0.7, "Pleural Effusion": state["Effusion"]}
    opacities = ("Atelectasis", "Consolidation", "Edema", "Infiltration", "Pneumonia")
    for name, parts in {"Lung Opacity": opacities, "Lung Lesion": ("Mass", "Nodule")}.items():
        also[name] = np.max([state[part] for part in parts], axis=0)
    for name, high in {"Pleural Other": 0.03, "Fracture": 0.05, "Support Devices": 1.2}.items():
        also[name] = rng.uniform(-1, high, len(state["Edema"]))
    seen = [also[name] if name in also else state[name] for name in COLUMNS.split(",")[1:]]
    states = np.stack([-np.max(seen[:-1], axis=0), *seen], axis=1)
    if not report:
        return np.where(states > 0, "1.0", "0.0")
    drawn = rng.uniform(0, 1, states.shape)
    drawn[:, 0] = 1  # "No Finding" is never uncertain and never denied
    unsure = (np.abs(states) < 0.15) & (drawn < 0.6)
    return np.select([unsure, states > 0, drawn < 0.3], ["-1.0", "1.0", "0.0"], "")


def _xray8(folder: Path, seed: int) -> None:
    rng, n = generator(seed, "xray8"), 2950
    patient = np.repeat(np.arange(n), rng.choice([1, 1, 1, 1, 2, 2, 3, 4, 6, 12], n))[:n]
    anatomy, state = _patients(rng, patient)
    drawn = draw(_paint, rng, _pictures(rng, anatomy, state, np.arange(n), False), [(48, 48)] * n, channels=1)
    found = {name: state[name] > 0 for name in FINDINGS}
    found |= {name: rng.uniform(0, 1, n) < share for name, share in XRAY8_UNSEEN.items()}
    sex, age = rng.choice(["F", "M"], n), rng.integers(5, 90, n)
    position, rows, names = rng.choice(["AP", "PA"], n, p=[0.4, 0.6]), [XRAY8_HEADER], list[str]()
    for i, (k, visit) in enumerate(zip(patient.tolist(), place_in_run(patient).tolist(), strict=True)):
        if i % 41 == 7:  # a few of the real ones have four channels
            drawn[i] = np.dstack([drawn[i]] * 3 + [np.full_like(drawn[i], 255)])
        names.append(f"{k + 1:08d}_{visit:03d}.png")
        labels = "|".join(finding for finding in sorted(found) if found[finding][i]) or "No Finding"
        about = f"{age[k] + visit // 4},{sex[k]},{position[i]},2500,2048,0.168,0.168"
        rows.append(f"{names[-1]},{labels},{visit},{k + 1},{about}")
    write_pictures(folder / "images", names, drawn)
    write_lines(folder / "metadata.csv", rows)


def _patients(rng: Rng, patient: np.ndarray) -> tuple[Factors, Factors]:
    """The anatomy and the states of every examination; `patient` says whose each is. A state is above 0 where there is
    the finding, about -3 to 3; "side" is that of what has one, -1, 1, or 0 for both."""
    n = int(patient.max()) + 1
    patients = uniform(rng, n, **ANATOMY)
    side, place = rng.choice([-1.0, 1.0], (n, len(SPOTS))), rng.uniform(-0.5, 0.5, (2, n, len(SPOTS)))
    side[:, 4], place[:, :, 4] = side[:, 3], place[:, :, 3] + 0.25  # the spots of pneumonia lie close together
    patients |= {"spot_side": side, "spot_x": 0.85 * place[0], "spot_y": place[1]}
    state: Factors = {"side": rng.choice([-1.0, 0.0, 1.0], (len(patient), 3), p=[0.4, 0.2, 0.4])}
    illness = rng.standard_normal(n)  # of which every finding shows a little
    for name, share in FINDINGS.items():
        lasting = (0.5 * illness + 0.7 * rng.standard_normal(n))[patient] + 0.5 * rng.standard_normal(len(patient))
        state[name] = rounded(lasting - NormalDist().inv_cdf(1 - share))
    return {name: values[patient] for name, values in patients.items()}, state


def _pictures(rng: Rng, patients: Factors, state: Factors, which: np.ndarray, lateral: np.ndarray | bool) -> Factors:
    """What pictures show. which: the examination of every picture; lateral: the pictures that are from the side."""
    n = len(which)
    shown = {name: np.clip(0.5 + 0.9 * state[name][which], 0, 1) for name in FINDINGS}
    shown |= {"side": state["side"][which], "lateral": np.full(n, lateral), "waves": rng.uniform(0, 1, (n, 8))}
    shown |= {name: values[which] for name, values in patients.items()}
    return shown | uniform(rng, n, **EXPOSURE)


def _edge(distance: np.ndarray) -> np.ndarray:
    """0 outside, 1 inside, of a signed distance that is positive inside."""
    return np.clip(distance * np.float32(14) + np.float32(0.5), 0, 1)


def _paint(canvas: Canvas, chest: Factors, rng: Rng) -> None:
    """The density of a schematic chest: bright where bone, heart and fluid lie in the way of the rays, dark where air
    does. u and v are places in the chest, from -1 to 1."""
    u, v = canvas.place(chest["x"], chest["y"], chest["zoom"], chest["turn"])
    one = {name: each(values) for name, values in chest.items() if values.ndim == 1}
    lateral, aside = one["lateral"], np.abs(u)
    wide, middle = one["lung_width"] * (1 + 0.8 * lateral), 0.44 - 0.41 * lateral
    folds = zip(chest["waves"].T[:4], chest["waves"].T[4:], (u, v, u, v), strict=True)
    waves = [wave(each(4 * frequency + 1) * at + each(phase)) for frequency, phase, at in folds]
    texture = 0.03 * (waves[0] * waves[1] + waves[2] * waves[3])
    large = 1 + 0.5 * one["Cardiomegaly"]
    across, down = u - 0.1 * large + 0.35 * lateral, v - 0.22 - one["breath"]
    along, beside = across + one["heart_tilt"] * down, down - one["heart_tilt"] * across
    ball = 1 - ((along / 1.25) ** 2 + beside**2) / (one["heart"] * large) ** 2
    heart = np.maximum(_edge(0.25 * ball), (1 - 0.7 * lateral) * _edge(0.14 - aside + 0.1 * np.minimum(0, 0.2 - v)))
    spots = texture.copy()
    for number, (finding, radius, density) in enumerate(SPOTS):
        side, x, y = (each(chest[f"spot_{what}"][:, number]) for what in ("side", "x", "y"))
        reach = radius * (0.7 + 0.5 * one[finding])
        far = ((u - side * (middle + wide * x)) ** 2 + (v - one["lung_height"] * y + 0.15) ** 2) / reach**2
        spots += density * (1 + 0.3 * lateral) * one[finding] * np.maximum(1 - far, 0)
    air, base = np.zeros_like(u), np.ones_like(u)
    for half in (-1, 1):
        of_side = zip(("Effusion", "Atelectasis", "Pneumothorax"), chest["side"].T, strict=True)
        fluid, collapsed, free = (each(chest[finding] * (side * half >= 0)) for finding, side in of_side)
        p, q = (half * u - middle) / wide, (v + 0.1) / one["lung_height"]
        inside = 1 - (p * (1 + 0.3 * np.clip(0.5 - q, 0, 2))) ** 2 - (q * q) ** 2
        floor = one["diaphragm"] + one["breath"] - 0.14 * collapsed
        over = floor - 0.12 * np.maximum(1 - p * p, 0) - v
        # Fluid rises at the outer wall; lines of collapse lie above the diaphragm; free air lies at apex and wall.
        dense = np.minimum(1, 1.5 * fluid) * _edge(v - floor + 0.02 + 0.4 * fluid + 0.15 * fluid * p * p)
        dense += 0.7 * collapsed * _edge(0.04 - np.abs(over - 0.14 + 0.1 * p))
        dense += 0.3 * one["Edema"] * (0.6 + np.maximum(0, 1 - (p + 0.5) ** 2 - q * q))
        rim = np.minimum(1, 5 * free) * _edge(0.25 * free - 0.5 * inside - 0.08 * q)
        lung = _edge(0.5 * inside) * _edge(over)
        air += lung * np.clip(0.8 - dense - spots * (1 - rim) + free * (0.45 * rim - 0.05), 0, 1.3)
        base = np.minimum(base, _edge(-over))
    air *= (1 - 0.45 * lateral) * (1 - 0.85 * heart)
    ribs = np.clip(2 * wave(one["ribs"] * (v - one["rib_slope"] * u * u)), -1, 1) * _edge(aside - 0.15)
    density = 0.5 + one["thickness"] + 0.1 * base + texture - 0.45 * air
    density += one["rib_contrast"] * ribs * (1 - 0.7 * base) + 0.12 * _edge(0.1 - np.abs(u - 0.6 * lateral))  # spine
    density += 0.08 * (1 - lateral) * _edge(0.03 - np.abs(v + 0.75 - 0.25 * aside))  # clavicles
    density = np.clip(density * _edge(one["width"] * (1 - 0.5 * np.clip((-0.75 - v) / 0.4, 0, 1)) - aside), 0, 1.2)
    canvas.layers[:, 0] = density * (1 - one["gamma"] * (1 - density)) + 0.03
