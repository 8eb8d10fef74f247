"""WM811K.mat, a MATLAB file of version 7.3: HDF5, in which each wafer's map and texts are small arrays of their own.

Arrays are transposed in such a file, and texts are arrays of uint16. Only the arrays that are needed are read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from dabs_rq.errors import DataError, needing_extra, shown
from dabs_rq.files import State, explained, reading, state

HDF5 = b"\x89HDF\r\n\x1a\n"
HEADER = 512  # bytes that MATLAB writes before
STRUCT, FIELDS = "data", ("waferMap", "failureType", "lotName")
AT_ONCE = 65_536  # references that are read together
CACHE = 1 << 20  # bytes
LONGEST, LARGEST = 100, 4096  # characters of a text, dies of a side


class Wafers:
    """The wafers of a file. Raises DataError, with file and wafer (counted from 0), for what is not as published."""

    def __init__(self, file: Path) -> None:
        self.file, self.h5py = file, h5py_package()
        _check_kind(file)
        with reading(file, "damaged, or not a file of MATLAB 7.3"):
            self.opened = self.h5py.File(file, "r")
            self._limit_cache()
            group = self.opened.get(STRUCT)
            found = sorted(group) if isinstance(group, self.h5py.Group) else sorted(self.opened)
            if missing := [name for name in FIELDS if name not in found]:
                raise DataError(
                    f"{file}: expected a struct array {STRUCT!r} with the fields {', '.join(FIELDS)}; "
                    f"{', '.join(missing)} missing, found {shown(found)}"
                )
            self.fields = {name: group[name] for name in FIELDS}
        sizes = {name: field.size for name, field in self.fields.items()}
        kinds = {self.h5py.check_ref_dtype(field.dtype) for field in self.fields.values()}
        flat = all(field.ndim == 2 and 1 in field.shape for field in self.fields.values())
        possible = 0 < max(sizes.values()) < file.stat().st_size  # every wafer has arrays of its own
        if kinds != {self.h5py.Reference} or len(set(sizes.values())) != 1 or not flat or not possible:
            raise DataError(
                f"{file}: the fields of {STRUCT!r} must be columns of references of one length; found {sizes}"
            )

    def _limit_cache(self) -> None:
        """Keep little of what HDF5 learns of each array: of a million arrays that would be gigabytes."""
        config = self.opened.id.get_mdc_config()
        config.set_initial_size = True
        config.initial_size = config.min_size = config.max_size = CACHE
        self.opened.id.set_mdc_config(config)

    def __len__(self) -> int:
        return self.fields["waferMap"].size

    def failure_types(self) -> Iterator[str | None]:
        """Yield the text of each wafer's failureType; None for one that is not text, as of a wafer without a label."""
        return self._texts("failureType")

    def lot_names(self) -> Iterator[str | None]:
        return self._texts("lotName")

    def map(self, wafer: int) -> np.ndarray:
        """Read a wafer's map as MATLAB shows it: uint8 (rows, columns) of 0 no die, 1 passed, 2 failed."""
        place = f"{self.file}: wafer {wafer}"
        field = self.fields["waferMap"]
        with explained(place, "cannot be read"):
            reference = field[0, wafer] if field.shape[0] == 1 else field[wafer, 0]
            item = self._array(reference, place)
            if item.ndim != 2 or item.dtype.kind not in "uif" or not 0 < max(item.shape) <= LARGEST or not item.size:
                raise DataError(f"{place}: expected a map of dies, found {item.dtype} {item.shape}")
            values = item[()].T
        with np.errstate(invalid="ignore"):  # of NaN, which is refused below
            levels = values.clip(0, 255).astype(np.uint8)
        if (levels != values).any() or levels.max() > 2:
            raise DataError(f"{place}: expected 0, 1 and 2 in its map, found {shown(np.unique(values)[:8].tolist())}")
        return levels

    def _texts(self, name: str) -> Iterator[str | None]:
        field, wafer = self.fields[name], 0
        for start in range(0, field.size, AT_ONCE):
            part = slice(start, start + AT_ONCE)
            references = (field[0, part] if field.shape[0] == 1 else field[part, 0]).tolist()
            for reference in references:
                place = f"{self.file}: wafer {wafer}"
                with explained(place, f"its {name} cannot be read"):
                    item = self._array(reference, place)
                    if item.size == 1 and self.h5py.check_ref_dtype(item.dtype) is self.h5py.Reference:
                        item = self._array(item[()].ravel()[0], place)  # a cell
                    text = self._text(item, place)
                yield text
                wafer += 1

    def _text(self, item: Any, place: str) -> str | None:
        if item.dtype != np.uint16:
            return None
        if item.size > LONGEST:
            raise DataError(f"{place}: expected a text of a few characters, found {item.size:,}")
        return item[()].ravel().astype("<u2").tobytes().decode("utf-16-le", "replace")

    def _array(self, reference: Any, place: str) -> Any:
        if not reference or not isinstance(item := self.opened[reference], self.h5py.Dataset):
            raise DataError(f"{place}: expected a reference to an array")
        return item


def h5py_package() -> ModuleType:
    """Import h5py, which not every install has. Raises OptionError, with the command, without it."""
    with needing_extra("WM-811K", "dabs2"):
        import h5py
    return h5py


def _check_kind(file: Path) -> None:
    with reading(file, "cannot be read"), file.open("rb") as opened:
        start = opened.read(HEADER + len(HDF5))
    if HDF5 in (start[: len(HDF5)], start[HEADER:]):
        return
    kind = start[:20].decode("ascii", "replace") if start.startswith(b"MATLAB") else "no MATLAB file"
    raise DataError(
        f"{file}: expected a MATLAB 7.3 file (HDF5), found {kind!r}. In MATLAB: save('WM811K.mat', 'data', '-v7.3')"
    )


def wafers(file: Path) -> Wafers:
    """Open a file; the last one stays open in each process."""
    return _wafers(file, state(file), os.getpid())


@lru_cache(maxsize=1)
def _wafers(file: Path, changed: State, process: int) -> Wafers:
    return Wafers(file)
