"""Made-up patients: what their chests are like, what is wrong with them, and how each picture of them was taken.

A patient has an anatomy and hidden causes of disease that last; an examination has findings, each with a severity that
its label cuts in two; a picture has a view, a position, an exposure and noise. All of it varies independently, but for
the causes, which several findings share, as failure of the heart shows in its size, as edema and as effusion.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

# How often each finding occurs, and how strongly it follows from heart failure, infection, tumour and collapse.
FINDINGS = {
    "Atelectasis": (0.25, (0.2, 0.0, 0.0, 0.6)),
    "Cardiomegaly": (0.25, (0.7, 0.0, 0.0, 0.0)),
    "Consolidation": (0.2, (0.0, 0.7, 0.0, 0.0)),
    "Edema": (0.25, (0.6, 0.0, 0.0, 0.0)),
    "Effusion": (0.3, (0.5, 0.0, 0.2, 0.2)),
    "Infiltration": (0.25, (0.0, 0.5, 0.0, 0.0)),
    "Mass": (0.2, (0.0, 0.0, 0.6, 0.0)),
    "Nodule": (0.2, (0.0, 0.0, 0.6, 0.0)),
    "Pneumonia": (0.2, (0.0, 0.7, 0.0, 0.0)),
    "Pneumothorax": (0.2, (0.0, 0.0, 0.0, 0.6)),
}
SPOTS = 9  # places of opacities: consolidation, mass, nodule, 3 of pneumonia, 3 of infiltration


@dataclass(frozen=True)
class Patients:
    """Arrays (n,), lengths in half pictures. causes: (n, 4) standard normal. spots: (n, SPOTS, 3), where that patient's
    opacities lie: side (-1 or 1), and place in the lung, both ways from -1 to 1."""

    width: np.ndarray
    lung_width: np.ndarray
    lung_height: np.ndarray
    taper: np.ndarray
    heart: np.ndarray
    heart_tilt: np.ndarray
    diaphragm: np.ndarray
    ribs: np.ndarray
    rib_slope: np.ndarray
    rib_contrast: np.ndarray
    thickness: np.ndarray
    causes: np.ndarray
    spots: np.ndarray

    def __len__(self) -> int:
        return len(self.width)


@dataclass(frozen=True)
class Examinations:
    """n examinations. patient: (n,) rows of the patients. state: (n, findings), above 0 where there is a finding, about
    -3 to 3. side: (n, 3), the side of effusion, atelectasis and pneumothorax, -1, 1, or 0 for both."""

    patient: np.ndarray
    state: np.ndarray
    side: np.ndarray

    def __len__(self) -> int:
        return len(self.patient)

    def state_of(self, finding: str) -> np.ndarray:
        return self.state[:, list(FINDINGS).index(finding)]

    @property
    def severity(self) -> np.ndarray:
        """(n, findings) in (0, 1): how much of each finding a picture shows, 0.5 where its label changes."""
        return 1 / (1 + np.exp(-self.state / 0.3))


@dataclass(frozen=True)
class Pictures:
    """n pictures: everything that one shows, arrays with first dimension n."""

    patient: Patients
    severity: np.ndarray
    side: np.ndarray
    spots: np.ndarray
    lateral: np.ndarray
    breath: np.ndarray
    x: np.ndarray
    y: np.ndarray
    zoom: np.ndarray
    turn: np.ndarray
    gain: np.ndarray
    gamma: np.ndarray
    offset: np.ndarray
    slope: np.ndarray
    noise: np.ndarray
    texture: np.ndarray

    def __len__(self) -> int:
        return len(self.lateral)


def take(factors: Any, rows: np.ndarray) -> Any:
    """The `rows` of every array in `factors`, in that order."""
    if isinstance(factors, np.ndarray):
        return factors[rows]
    return type(factors)(**{f.name: take(getattr(factors, f.name), rows) for f in dataclasses.fields(factors)})


def make_patients(rng: np.random.Generator, n: int) -> Patients:
    spots = np.stack(
        [rng.choice([-1.0, 1.0], (n, SPOTS)), rng.uniform(-0.5, 0.5, (n, SPOTS)), rng.uniform(-0.6, 0.6, (n, SPOTS))],
        axis=2,
    )
    # The three spots of pneumonia lie close together in one lung.
    spots[:, 3:6] = spots[:, 3:4] * (1, 0.7, 0.7) + np.array([(0, 0, 0), (0, 0.35, 0.2), (0, -0.2, 0.35)])
    return Patients(
        width=rng.uniform(0.88, 1.1, n),
        lung_width=rng.uniform(0.28, 0.36, n),
        lung_height=rng.uniform(0.58, 0.74, n),
        taper=rng.uniform(0.1, 0.5, n),
        heart=rng.uniform(0.24, 0.32, n),
        heart_tilt=rng.uniform(0.2, 0.7, n),
        diaphragm=rng.uniform(0.38, 0.52, n),
        ribs=rng.uniform(5.5, 8.0, n),
        rib_slope=rng.uniform(0.15, 0.5, n),
        rib_contrast=rng.uniform(0.03, 0.12, n),
        thickness=rng.uniform(0.0, 0.15, n),
        causes=rng.standard_normal((n, 4)),
        spots=spots,
    )


def make_examinations(rng: np.random.Generator, patients: Patients, patient: np.ndarray) -> Examinations:
    """One examination for every entry of `patient`, which are rows of `patients`."""
    weights = np.array([weights for _, weights in FINDINGS.values()])
    own = rng.standard_normal((len(patients), len(FINDINGS)))
    visit = rng.standard_normal((len(patient), len(FINDINGS)))
    state = (patients.causes @ weights.T + 0.5 * own)[patient] + 0.5 * visit
    state /= np.sqrt((weights**2).sum(1) + 0.5)
    thresholds = np.array([NormalDist().inv_cdf(1 - share) for share, _ in FINDINGS.values()])
    return Examinations(
        patient=patient,
        state=state - thresholds,
        side=rng.choice([-1.0, 0.0, 1.0], (len(patient), 3), p=[0.4, 0.2, 0.4]),
    )


def make_pictures(
    rng: np.random.Generator, patients: Patients, of: Examinations, examination: np.ndarray, lateral: np.ndarray
) -> Pictures:
    """One picture for every entry of `examination`, which are rows of `of`."""
    n = len(examination)
    patient = take(patients, of.patient[examination])
    return Pictures(
        patient=patient,
        severity=of.severity[examination],
        side=of.side[examination],
        spots=patient.spots + rng.normal(0, 0.05, patient.spots.shape) * (0, 1, 1),
        lateral=lateral,
        breath=rng.normal(0, 0.03, n),
        x=rng.normal(0, 0.05, n),
        y=rng.normal(0, 0.05, n),
        zoom=rng.uniform(0.88, 1.1, n),
        turn=rng.normal(0, 0.04, n),
        gain=rng.uniform(0.7, 1.1, n),
        gamma=rng.uniform(0.7, 1.5, n),
        offset=rng.uniform(-0.03, 0.12, n),
        slope=rng.normal(0, 0.06, (n, 2)),
        noise=rng.uniform(0.01, 0.06, n),
        texture=rng.uniform(0.02, 0.06, n),
    )
