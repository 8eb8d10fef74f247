"""Extracts untrusted archives: writes only inside the target folder, and limits the size of the contents.

Refuses names and links that point outside the folder, devices, and contents out of proportion to the archive. Skips
other symbolic links with a warning: no dataset here needs one, and without links no path can leave the folder.
"""

from __future__ import annotations

import gzip
import posixpath
import re
import stat
import tarfile
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from dabs_rq.errors import DataError, DataWarning
from dabs_rq.files import check_regular, explained
from dabs_rq.sources.download import CHUNK, check_free_space
from dabs_rq.sources.structure import GZIPPED

ZIP, PLAIN_TAR = (".zip",), (".tar",)
# Text compresses up to about 20 : 1, deflate reaches at most 1032 : 1; the datasets have 2 kB or more per file.
RATIO, SMALLEST = 100, 64 << 20
BYTES_PER_MEMBER, FEWEST_MEMBERS = 256, 10_000
HEADER = 1 << 20  # the largest header of a tar archive with a long name or further facts about a file, in bytes
_HEADERS = (b"x", b"g", b"X", b"L", b"K")  # their types


def is_archive(name: str) -> bool:
    return name.endswith((*ZIP, *GZIPPED, *PLAIN_TAR))


def extract(file: Path, into: Path) -> None:
    """Extract `file` into the empty folder `into`. Raises DataError for one that is damaged or refused."""
    check_regular(file)
    limits = _Limits.of(file)
    advice = "It may be a web page that was sent instead. Move it away and fetch again."
    with explained(file, "damaged or not an archive", advice):
        links = _extract_zip(file, into, limits) if file.name.endswith(ZIP) else _extract_tar(file, into, limits)
    if links:
        warnings.warn(f"{file}: skipped {links} symbolic links", DataWarning, stacklevel=2)


@dataclass
class _Limits:
    """The bytes and members that an archive may still unpack to, in proportion to its own size."""

    file: Path
    bytes: int
    members: int

    @classmethod
    def of(cls, file: Path) -> _Limits:
        size = file.stat().st_size
        return cls(file, max(RATIO * size, SMALLEST), FEWEST_MEMBERS + size // BYTES_PER_MEMBER)

    def take(self, name: str, size: int) -> None:
        """Raise DataError if the member `name` of `size` bytes exceeds a limit or would be written outside."""
        if name.startswith(("/", "\\")) or re.match("[A-Za-z]:", name) or ".." in re.split(r"[/\\]", name):
            raise self.refused(f"{name!r} would be written outside the folder")
        self.bytes -= size
        self.members -= 1
        if self.bytes < 0:
            raise self.refused(f"it unpacks to more than {RATIO} times its size")
        if self.members < 0:
            raise self.refused(f"it holds more than {FEWEST_MEMBERS:,} files and one per {BYTES_PER_MEMBER} bytes")

    def link(self, name: str, points_to: str) -> None:
        """Raise DataError if the link's target, relative to the top of the archive, is outside the archive."""
        if posixpath.normpath(points_to).startswith(("/", "..")):
            raise self.refused(f"{name!r} is a link to {points_to!r}, outside the folder")

    def refused(self, why: str) -> DataError:
        return DataError(f"{self.file}: refused, {why}. This is not the publisher's file: do not use it.")


def _extract_zip(file: Path, into: Path, limits: _Limits) -> int:
    links = 0
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        for member in members:
            limits.take(member.filename, member.file_size)
            if member.flag_bits & 1:
                raise limits.refused(f"{member.filename!r} is encrypted")
        check_free_space(into, sum(member.file_size for member in members), f"the contents of {file.name}")
        for member in members:
            mode = member.external_attr >> 16
            if stat.S_ISLNK(mode):
                target = archive.read(member).decode(errors="replace") if member.file_size < 4096 else "..."
                limits.link(member.filename, posixpath.join(posixpath.dirname(member.filename), target))
                links += 1
            elif stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise limits.refused(f"{member.filename!r} is neither a file nor a folder")
            else:
                archive.extract(member, into)
    return links


class _Member(tarfile.TarInfo):
    """A member of a tar archive whose own headers are small: tarfile reads them into memory."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _HEADERS and not 0 <= self.size <= HEADER:
            raise tarfile.ReadError(f"a header of {self.size:,} bytes, expected at most {HEADER:,}")
        return super()._proc_member(archive)  # type: ignore[misc]


class _Counted:
    """The bytes of a tar archive, limited in all, headers included."""

    def __init__(self, stream: Any, limits: _Limits) -> None:
        self.stream, self.limits = stream, limits
        self.left = limits.bytes + 3 * 512 * limits.members

    def read(self, size: int) -> bytes:
        content = self.stream.read(size)
        self.left -= len(content)
        if self.left < 0:
            raise self.limits.refused(f"it unpacks to more than {RATIO} times its size")
        return content


def _extract_tar(file: Path, into: Path, limits: _Limits) -> int:
    """Extract in one pass, through gzip's own reader, which verifies the checksum at the end of the file."""
    check_free_space(into, file.stat().st_size, f"the contents of {file.name}")
    links = 0
    with (
        gzip.open(file) if file.name.endswith(GZIPPED) else file.open("rb") as stream,
        tarfile.open(fileobj=cast(IO[bytes], _Counted(stream, limits)), mode="r|", tarinfo=_Member) as tar,
    ):
        for member in tar:
            limits.take(member.name, member.size)
            if member.issym():
                limits.link(member.name, posixpath.join(posixpath.dirname(member.name), member.linkname))
                links += 1
                continue
            if member.islnk():
                limits.link(member.name, member.linkname)
            elif not (member.isfile() or member.isdir()):
                raise limits.refused(f"{member.name!r} is neither a file nor a folder")
            tar.extract(member, into, filter="data")
        while rest := cast(IO[bytes], tar.fileobj).read(
            CHUNK
        ):  # only zeros are legal; other data follow a damaged header
            limits.take("", len(rest))
            if rest.strip(b"\0"):
                raise tarfile.ReadError("data after the last file")
    return links
