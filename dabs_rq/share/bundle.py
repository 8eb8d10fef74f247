"""Bundles: the contents of `dabs_rq.share.contents` as one archive, .tar.gz or .zip, and their verification.

Nothing of a bundle is unpickled, and it unpacks only below a temporary folder, within the limits of
`dabs_rq.sources.archives`.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dabs_rq import checkpoint
from dabs_rq.errors import DabsRqError, OptionError, RecordError, first_line
from dabs_rq.files import atomic_path, explained
from dabs_rq.records import recheck, record
from dabs_rq.records.record import Record
from dabs_rq.share import contents
from dabs_rq.share.cells import Chosen
from dabs_rq.sources import archives
from dabs_rq.sources.structure import GZIPPED
from dabs_rq.table import ours

SUFFIXES = (".tar.gz", ".zip")
NAME = "dabs_rq-bundle"
_MAX_MANIFEST = 64 << 20  # of 500,000 files
_SHOWN = 10  # faults that an error lists


def is_bundle(file: Path) -> bool:
    return file.name.endswith((*GZIPPED, *SUFFIXES))


def pack(chosen: Chosen, out: Path | None) -> tuple[Path, list[str]]:
    """Write the bundle of the chosen results. Returns its file, and what is missing in it.

    out: a file .tar.gz or .zip, a folder, or None for the folder of the run's table. Equal contents give equal bytes.
    Raises RecordError if the file is there and no bundle, and as `contents.write`.
    """
    file = chosen.run.places.table if out is None else out
    if not file.name.endswith(SUFFIXES):
        if file.is_file() or file.suffix in (".tgz", ".tar", ".gz"):
            raise OptionError(f"out={file}: give a file {' or '.join(SUFFIXES)}, or a folder")
        file = file / f"{NAME}{SUFFIXES[0]}"
    ours.check_replaceable([file], file.suffix)
    with tempfile.TemporaryDirectory(prefix="dabs_rq-") as temporary:
        folder = Path(temporary)
        missing = contents.write(chosen, folder)
        with atomic_path(file) as target:
            (_write_zip if file.suffix == ".zip" else _write_tar)(folder, target)
    return file, missing


def _write_tar(folder: Path, target: Path) -> None:
    with (
        target.open("wb") as opened,
        gzip.GzipFile("", "wb", 6, opened, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name, file in contents.files_of(folder):
            member = tarfile.TarInfo(name)  # its date, owner and group are 0 and empty
            member.size = file.stat().st_size
            with file.open("rb") as content:
                tar.addfile(member, content)


def _write_zip(folder: Path, target: Path) -> None:
    with zipfile.ZipFile(target, "w") as archive:
        for name, file in contents.files_of(folder):
            member = zipfile.ZipInfo(name)  # of 1980-01-01
            member.create_system = 3  # Unix, whatever wrote it
            member.external_attr = 0o100644 << 16
            stored = name == contents.MANIFEST  # so that the file's beginning says whose it is
            member.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
            member.file_size = file.stat().st_size
            with file.open("rb") as content, archive.open(member, "w") as packed:
                shutil.copyfileobj(content, packed)


@dataclass(frozen=True)
class Checked:
    """A bundle that holds what it says. manifest: see `contents`. records: (file, record), their scores recomputed.
    checkpoints: how many there are, their weights checked. without: records whose checkpoint is not in the bundle."""

    manifest: dict[str, Any]
    records: Sequence[tuple[Path, Record]]
    checkpoints: int
    without: int


@contextlib.contextmanager
def unpacked(file: Path) -> Iterator[Path]:
    """Yield a folder with the contents of a bundle, their hashes checked; delete it when the block ends.

    Raises DataError for an archive that is damaged or refused, RecordError for one that is no intact bundle.
    """
    if not is_bundle(file):
        raise OptionError(f"{file} is no bundle by its name; expected a file {' or '.join(SUFFIXES)}")
    with tempfile.TemporaryDirectory(prefix="dabs_rq-") as temporary:
        folder = Path(temporary)
        archives.extract(file, folder)
        check_files(file, folder)
        yield folder


def check(file: Path) -> Checked:
    """Verify a bundle: hashes, weights, and every score from its predictions. Raises as `unpacked` does."""
    with unpacked(file) as folder:
        return check_contents(file, folder)


def check_files(bundle: Path, folder: Path) -> dict[str, Any]:
    """Check the files of a bundle's folder against its manifest, and return that. Raises RecordError."""
    manifest = _read_manifest(bundle, folder)
    found = dict(contents.files_of(folder))
    listed = manifest["files"]
    faults = [f"{name!r} is missing" for name in listed if name not in found]
    faults += [f"{name!r} is not in its manifest" for name in found if name not in listed and name != contents.MANIFEST]
    faults += [
        f"{name!r} has changed (SHA-256)"
        for name, file in found.items()
        if name in listed and contents.sha256(file) != listed[name].get("sha256")
    ]
    _raise(bundle, faults)
    return manifest


def _read_manifest(bundle: Path, folder: Path) -> dict[str, Any]:
    file = folder / contents.MANIFEST
    if not file.is_file() or file.stat().st_size > _MAX_MANIFEST:
        raise RecordError(
            f"{bundle} is no bundle of dabs_rq: expected a {contents.MANIFEST} of at most {_MAX_MANIFEST:,} bytes at "
            "its top"
        )
    with explained(f"{bundle}: {contents.MANIFEST}", "damaged or not a manifest", error=RecordError):
        manifest = json.loads(file.read_text(encoding="utf-8"))
        if manifest["format"] != contents.FORMAT:
            raise RecordError(f"{bundle} has format {manifest['format']!r}; this version reads {contents.FORMAT}")
        if not all(isinstance(one.get("sha256"), str) for one in manifest["files"].values()):
            raise TypeError("each file needs its sha256")
        missing = manifest["missing"]
        if not (isinstance(missing, list) and all(isinstance(what, str) and what.isprintable() for what in missing)):
            raise TypeError("missing is a list of texts")
        if not isinstance(manifest["made_up_data"], bool):
            raise TypeError("made_up_data is true or false")
        return manifest


def check_contents(bundle: Path, folder: Path) -> Checked:
    """Recompute every score in a bundle's folder from its predictions, and check the weights. Raises RecordError."""
    faults: list[str] = []
    records: list[tuple[Path, Record]] = []
    weights: set[str] = set()
    for name, file in contents.files_of(folder):
        try:
            if name.startswith(f"{contents.RUNS}/") and file.suffix == ".json":
                result = record.read(file)
                recheck.predictions(file, result)
                records.append((file, result))
            elif file.suffix == ".safetensors":
                weights.add(checkpoint.verified(file)["weights"])
        except DabsRqError as error:
            faults.append(first_line(error).replace(f"{folder}/", ""))
    manifest = _read_manifest(bundle, folder)
    if not records and not faults:
        faults.append("it holds no record")
    elif not faults and manifest["made_up_data"] != any(result.made_up_data for _, result in records):
        faults.append(f"its manifest has made_up_data {manifest['made_up_data']}, and its records say otherwise")
    _raise(bundle, faults)
    without = sum(result.checkpoint not in weights for _, result in records)
    return Checked(manifest, records, len(weights), without)


def _raise(bundle: Path, faults: list[str]) -> None:
    if faults:
        more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise RecordError(f"{bundle} is not intact: {'; '.join(faults[:_SHOWN])}{more}. Fetch or pack it again.")
