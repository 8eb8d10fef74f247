"""A small made-up WM-811K in the native layout and format.

A class is the place and shape of the failed dies, not their number: size and yield of wafers vary much more.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from dabs_rq.domains.wafers.matfile import h5py_package
from dabs_rq.miniature.writers import Rng, generator, rounded, write_bytes

h5py = h5py_package()

FILE = "semiconductors/MIR-WM811K/MATLAB/WM811K.mat"
UNLABELLED = 2400
LABELLED = {  # none is the most frequent, as in the real data, though less so
    "none": 500,
    "Edge-Ring": 200,
    "Edge-Loc": 180,
    "Center": 180,
    "Loc": 170,
    "Scratch": 170,
    "Random": 130,
    "Donut": 130,
    "Near-full": 120,
}
LOT = 25  # wafers
HEADER = b"MATLAB 7.3 MAT-file, made up"


def write(root: Path, seed: int) -> None:
    """Write WM811K.mat under `root`; equal seeds give equal bytes."""
    rng = generator(seed, "wafers")
    labels = [None] * UNLABELLED + [name for name, count in LABELLED.items() for _ in range(count)]
    wafers = []
    for place, chosen in enumerate(rng.permutation(len(labels)).tolist()):
        label, lot = labels[chosen], place // LOT
        kind = label or list(LABELLED)[int(rng.integers(len(LABELLED)))]
        if place % LOT == 0:  # wafers of a lot are of one product
            size = rng.integers(20, 42, 2)
        part = label and ("Training" if rng.random() < 0.3 else "Test")
        wafers.append(_wafer(_map(rng, kind, *size.tolist()), label, f"lot{lot + 1}", part, place % LOT + 1))
    write_bytes(root / FILE, mat_file(wafers))


def _wafer(dies: np.ndarray, label: str | None, lot: str, part: str | None, number: int) -> dict[str, Any]:
    return {
        "dieSize": float((dies > 0).sum()),
        "failureType": label,
        "lotName": lot,
        "trainTestLabel": part,
        "waferIndex": float(number),
        "waferMap": dies,
    }


def mat_file(wafers: list[dict[str, Any]]) -> bytes:
    """Write a struct array `data` as MATLAB 7.3 does: a text is uint16, None is an empty array, all are transposed."""
    with h5py.File(content := io.BytesIO(), "w", userblock_size=512) as file:
        parts, struct = file.create_group("#refs#"), file.create_group("data")
        struct.attrs["MATLAB_class"] = np.bytes_("struct")
        for field in wafers[0]:
            names = [f"{field}{number}".encode() for number in range(len(wafers))]
            for name, wafer in zip(names, wafers, strict=True):
                _write_array(parts.id, name, wafer[field])
            references = [h5py.h5r.create(parts.id, name, h5py.h5r.OBJECT) for name in names]
            struct.create_dataset(field, data=np.array([references], dtype=h5py.ref_dtype))
    header = HEADER.ljust(124) + b"\x00\x02IM"
    return header + content.getvalue()[len(header) :]


def _write_array(group: Any, name: bytes, value: Any) -> None:
    """Write one array. By the functions of HDF5 itself, which are several times as fast for such small ones."""
    if value is None:
        values, kind = np.zeros(2, np.uint64), "double"
    elif isinstance(value, str):
        values, kind = np.frombuffer(value.encode("utf-16-le"), "<u2")[:, None], "char"
    else:
        values = np.ascontiguousarray(np.atleast_2d(np.asarray(value)).T)
        kind = "uint8" if values.dtype == np.uint8 else "double"
    created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    created.set_obj_track_times(False)
    space = h5py.h5s.create_simple(values.shape)
    item = h5py.h5d.create(group, name, h5py.h5t.py_create(values.dtype), space, created)
    item.write(h5py.h5s.ALL, h5py.h5s.ALL, values)
    attributes = {b"MATLAB_class": np.array(kind.encode())} | ({b"MATLAB_empty": np.uint8(1)} if value is None else {})
    for attribute, content in attributes.items():
        kept, scalar = np.asarray(content), h5py.h5s.create(h5py.h5s.SCALAR)
        h5py.h5a.create(item, attribute, h5py.h5t.py_create(kept.dtype), scalar).write(kept)


def _map(rng: Rng, kind: str, height: int, width: int) -> np.ndarray:
    """Draw a map, uint8 (height, width): 0 no die, 1 passed, 2 failed."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    radius, angle = rounded(np.hypot(x, y)), rounded(np.arctan2(y, x))
    rate = np.full((height, width), rng.uniform(0.01, 0.12))
    rate[_failing(rng, kind, x, y, radius, angle)] = rng.uniform(0.55, 0.95)
    if kind == "Random":
        rate[:] = rng.uniform(0.25, 0.5)
    elif kind == "Near-full":
        rate[:] = rng.uniform(0.8, 0.97)
    failed = rng.random((height, width)) < rate
    return np.where(radius <= 1, 1 + failed, 0).astype(np.uint8)


def _failing(rng: Rng, kind: str, x: np.ndarray, y: np.ndarray, radius: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Choose the dies that fail together: bool, the shape of the map."""
    turn, size = rng.uniform(-np.pi, np.pi), rng.uniform(0.8, 1.2)
    near = np.abs(rounded(np.angle(np.exp(1j * (angle - turn)))))
    if kind == "Edge-Ring":
        return radius > 1 - 0.14 * size
    if kind == "Edge-Loc":
        return (radius > 1 - 0.2 * size) & (near < 0.6 * size)
    if kind == "Center":
        return radius < 0.32 * size
    if kind == "Donut":
        return (radius > 0.3 * size) & (radius < 0.55 * size)
    across, along = x - 0.5 * np.cos(turn), y - 0.5 * np.sin(turn)
    if kind == "Loc":
        return rounded(np.hypot(across, along)) < 0.25 * size
    if kind == "Scratch":
        lean = rng.uniform(0, np.pi)
        distance = np.abs(rounded(across * np.sin(lean) - along * np.cos(lean)))
        return (distance < 0.06) & (rounded(np.hypot(across, along)) < 0.7 * size)
    return np.zeros(x.shape, bool)
