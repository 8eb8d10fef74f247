"""Labels of ImageNet's flat validation archive, from the development kit of 2012.

Line i of the ground truth is the ILSVRC2012_ID of picture i. IDs are not in the order of the class folders: an ID names
a wnid in meta.mat, and a label is the rank of the wnid among the training folders.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pyarrow as pa

from dabs_rq.data.readers.index import lines
from dabs_rq.domains.images import imagenet, matlab
from dabs_rq.errors import DataError, MissingDataError
from dabs_rq.files import reading

KIT = "ILSVRC2012_devkit_t12/data"
TRUTH, META = "ILSVRC2012_validation_ground_truth.txt", "meta.mat"
MAX_BYTES = 16 << 20  # the published meta.mat has 0.4 MB
PICTURE = re.compile(r"ILSVRC2012_val_(\d{8})\.JPEG")


def is_flat(folder: Path) -> bool:
    """Return whether a split's folder holds the pictures of the validation archive themselves."""
    with os.scandir(folder) as entries:
        return any(PICTURE.fullmatch(entry.name) for entry in entries)


def labelled(root: Path, folder: Path) -> tuple[pa.Array, np.ndarray]:
    """List the pictures of the flat validation folder, relative to `root`, with their labels (n,).

    Raises: MissingDataError without the devkit, DataError if it is damaged, or names a class or a picture that is not
        there.
    """
    kit = root / KIT
    for file in (kit / TRUTH, kit / META):
        if not file.is_file():
            raise MissingDataError(
                f"{folder} holds the pictures without class folders, so their labels come from the development kit: "
                f"{file} is missing. Extract ILSVRC2012_devkit_t12.tar.gz into {root}, or sort the pictures into class "
                "folders"
            )
    rank = {wnid: label for label, wnid in enumerate(imagenet.class_folders(root / "train"))}
    wnids = read_wnids(kit / META)
    names, labels = [], []
    for number, (where, text) in enumerate(lines(kit / TRUTH), 1):
        wnid = wnids.get(int(text)) if text.isdecimal() and len(text) < 10 else None
        if wnid is None:
            raise DataError(f"{where}: {text!r} is no ILSVRC2012_ID of {kit / META}")
        if wnid not in rank:
            raise DataError(f"{where}: ILSVRC2012_ID {text} is {wnid}, which has no folder in {root / 'train'}")
        names.append(f"ILSVRC2012_val_{number:08d}.JPEG")
        labels.append(rank[wnid])
    with os.scandir(folder) as entries:
        present = {entry.name for entry in entries if PICTURE.fullmatch(entry.name)}
    if present != set(names):
        unlisted, absent = sorted(present - set(names)), sorted(set(names) - present)
        odd = f"{absent[0]} is missing" if absent else f"{unlisted[0]} has no line"
        raise DataError(f"{kit / TRUTH} has {len(names):,} lines, {folder} {len(present):,} pictures: {odd}")
    return pa.array([f"{folder.name}/{name}" for name in names], pa.string()), np.array(labels, np.int64)


def read_wnids(file: Path) -> dict[int, str]:
    """Read the wnid of each ILSVRC2012_ID of a leaf. Raises DataError if the file is damaged."""
    with reading(file, "damaged or not the meta.mat of the devkit"):
        if (size := file.stat().st_size) > MAX_BYTES:
            raise DataError(f"{file}: {size:,} bytes, expected at most {MAX_BYTES:,}")
        rows = matlab.read_structs(file.read_bytes(), "synsets", ("ILSVRC2012_ID", "WNID", "num_children"))
    wnids: dict[int, str] = {}
    for row in rows:
        number, wnid, children = row["ILSVRC2012_ID"], row["WNID"], row["num_children"]
        if not (isinstance(number, float) and isinstance(wnid, str) and isinstance(children, float)):
            raise DataError(f"{file}: synsets holds {row}, expected a number, a wnid and a number of children")
        if children == 0:
            wnids[int(number)] = wnid
    return wnids
