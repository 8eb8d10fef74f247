"""Checks that a file without a published checksum is at least what its name says: whole, and not a web page."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from pathlib import Path

CHUNK = 1 << 20
ZIPPED, GZIPPED, PARQUET = (".zip", ".npz"), (".tar.gz", ".tgz"), (".parquet",)


def fault(file: Path) -> str | None:
    """Describe why a file is not a whole archive or table of its kind; None if it is, or if its kind is unknown.

    Zip and gzip carry checksums of their contents, which are compared; of a parquet file only the index is read.
    """
    if file.name.endswith(ZIPPED):
        return _fault_of_zip(file)
    if file.name.endswith(GZIPPED):
        return _fault_of_gzip(file)
    return _fault_of_parquet(file) if file.name.endswith(PARQUET) else None


def _fault_of_zip(file: Path) -> str | None:
    try:
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        return f"{file.name} is damaged or not a zip archive ({error})"
    return f"{file.name}: {damaged!r} in it is damaged" if damaged else None


def _fault_of_gzip(file: Path) -> str | None:
    try:
        with gzip.open(file) as stream:
            while stream.read(CHUNK):
                pass
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        return f"{file.name} is damaged or not a gzip archive ({error})"
    return None


def _fault_of_parquet(file: Path) -> str | None:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        parquet.read_metadata(file)
    except (pa.ArrowInvalid, OSError) as error:
        return f"{file.name} is damaged or not a parquet table ({error})"
    return None
