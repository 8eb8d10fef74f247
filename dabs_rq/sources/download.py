"""Downloads large files: resumes interrupted downloads and checks complete ones.

An incomplete file is called `<name>.part` and is renamed when it is complete; `check` compares it with the published
size and checksum. HTTP is httpx2's, which also compares the received length with the announced one.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dabs_rq.errors import DataError
from dabs_rq.files import write_text
from dabs_rq.run.options import NetworkOptions
from dabs_rq.sources import structure
from dabs_rq.spec import Archive

if TYPE_CHECKING:
    import httpx2

ATTEMPTS = 5  # successive attempts without progress
ATTEMPTS_BEFORE_MIRROR = 2  # of these at an address that has another one after it
PAUSE = 1.0  # seconds before the second attempt, doubled before every further one
WINDOW = 30.0  # seconds over which the speed is measured
CHUNK = 1 << 20
SPARE = 100_000_000  # bytes that stay free on the disk


class _TryAgain(Exception):
    """An attempt that failed for a temporary reason."""


def obtain(archive: Archive, target: Path, limits: NetworkOptions = NetworkOptions()) -> None:  # noqa: B008 (frozen)
    """Download a file to `target` from the first of its addresses that serves it right, and check it.

    Only size and checksum decide what is accepted (the structure, where no checksum is published), never the address.
    Raises DataError, naming what each address did, if none serves it.
    """
    problems = []
    for number, address in enumerate(archive.addresses, 1):
        last = number == len(archive.addresses)
        print(f"downloading {address}", flush=True)
        try:
            _obtain_from(replace(archive, url=address), target, ATTEMPTS if last else ATTEMPTS_BEFORE_MIRROR, limits)
        except DataError as error:
            problems.append(str(error))
            if not last:
                print(f"{error}\ntrying the next address", file=sys.stderr, flush=True)
        else:
            if problems:
                _aside(target).unlink(missing_ok=True)  # what an earlier address sent
            return
    raise DataError(problems[0] if len(problems) == 1 else "\n".join([f"no address serves {archive.name}:", *problems]))


def _obtain_from(archive: Archive, target: Path, attempts: int, limits: NetworkOptions) -> None:
    joined = size_of(part_of(target)) > 0
    download(archive, target, attempts, limits)
    try:
        check(archive, target)
    except DataError:
        if not joined:
            raise
        download(archive, target, attempts, limits)  # the first part may have come from another address, or be damaged
        check(archive, target)


def download(
    archive: Archive,
    target: Path,
    attempts: int = ATTEMPTS,
    limits: NetworkOptions = NetworkOptions(),  # noqa: B008 (frozen)
) -> None:
    """Download `archive.url` to `target`, resuming `<target>.part` if it exists.

    Raises DataError if the server refuses or offers another size than declared, if so many successive `attempts` make
    no progress (less than the minimum speed is none), if it is too slow or sends without an end, or if the disk is too
    full. Does not check the content: see `check`.
    """
    import httpx2

    target.parent.mkdir(parents=True, exist_ok=True)
    part = part_of(target)
    farthest, failures, began = size_of(part), 0, time.monotonic()
    headers = {"User-Agent": "dabs_rq", "Accept-Encoding": "identity"}
    with httpx2.Client(headers=headers, follow_redirects=True, timeout=limits.timeout) as client:
        while True:
            try:
                _receive(client, archive, part, limits)
                break
            except (httpx2.TransportError, _TryAgain) as error:
                ended = time.monotonic()
                gained = size_of(part) - farthest
                failures = 0 if gained > limits.min_speed * (ended - began) else failures + 1
                farthest, began = max(farthest, size_of(part)), ended
                if failures >= attempts or isinstance(error, httpx2.UnsupportedProtocol):
                    raise DataError(
                        f"{archive.url}: {str(error) or type(error).__name__}, after {size_of(part):,} bytes and "
                        f"{failures} attempts without progress. They are kept in {part}: run the same command later to "
                        f"resume. {_manual_hint(target)}"
                    ) from error
                time.sleep(PAUSE * 2**failures)
            except (httpx2.HTTPError, httpx2.InvalidURL) as error:
                raise DataError(f"{archive.url}: {error}. {_manual_hint(target)}") from error
    with part.open("rb") as written:
        os.fsync(written.fileno())
    part.replace(target)
    _version_of(part).unlink(missing_ok=True)


def check(archive: Archive, file: Path) -> None:
    """Compare a file with its declared size and checksum. If it differs, rename it to `<name>.wrong` and raise
    DataError."""
    if problem := difference(archive, file):
        aside = _aside(file)
        file.replace(aside)
        raise DataError(
            f"{archive.url}: {problem}. It is kept as {aside} and not used. Fetch again; if that gives the same file, "
            f"the publisher has changed it, or a proxy answers in their place."
        )


def _aside(file: Path) -> Path:
    return file.with_name(f"{file.name}.wrong")


def difference(archive: Archive, file: Path) -> str | None:
    """Describe how a file differs from its declared size and checksum, or without a checksum what is wrong with its
    structure; None if nothing is."""
    if archive.size is not None and (size := size_of(file)) != archive.size:
        return f"{file.name} has {size:,} bytes, {archive.size:,} are declared"
    for name in ("sha256", "md5"):
        if (declared := getattr(archive, name)) is not None:
            with file.open("rb") as content:
                checksum = hashlib.file_digest(content, name).hexdigest()
            return None if checksum == declared else f"{file.name} has {name} {checksum}, {declared} is declared"
    return structure.fault(file)


def check_free_space(folder: Path, needed: int, what: str) -> None:
    """Raise DataError unless `needed` bytes, and some to spare, are free on the disk of `folder`."""
    free = shutil.disk_usage(folder).free
    if free < needed + SPARE:
        raise DataError(f"{what} needs {megabytes(needed)} under {folder}, {megabytes(free)} are free there")


def megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def part_of(target: Path) -> Path:
    """Return the path of an incomplete download."""
    return target.with_name(f"{target.name}.part")


def size_of(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _version_of(part: Path) -> Path:
    """Return the path that stores the server's version (ETag or date) of the file that `part` belongs to."""
    return part.with_name(f"{part.name}.version")


def _receive(client: httpx2.Client, archive: Archive, part: Path, limits: NetworkOptions) -> None:
    """Try once to download the rest of `part`."""
    offset, version = size_of(part), ""
    if _version_of(part).exists():
        version = _version_of(part).read_text(encoding="utf-8")
    elif archive.md5 is None and archive.sha256 is None:
        offset = 0  # nothing could detect that both parts are of different files
    if offset and offset == archive.size:
        return
    headers = {}
    if offset:
        exact = version and not version.startswith("W/")  # a weak tag does not identify bytes
        headers = {"Range": f"bytes={offset}-"} | ({"If-Range": version} if exact else {})
    with client.stream("GET", archive.url, headers=headers) as response:
        start, total = _span(response, archive, part, offset)
        if start is None:
            return
        if start:
            _check_version(response, archive, part, version)
        if archive.size is not None and total not in (None, archive.size):
            raise DataError(
                f"{archive.url}: the server offers {total:,} bytes, {archive.size:,} are declared. The publisher may "
                f"have changed the file. {_manual_hint(part.with_suffix(''))}"
            )
        expected = total if total is not None else archive.size
        check_free_space(part.parent, max((expected or start) - start, 0), f"the download of {archive.name}")
        _keep_version(response, part)
        _write(response, part, start, expected, limits)
    if total is not None and size_of(part) < total:
        raise _TryAgain(f"the connection ended at {size_of(part):,} of {total:,} bytes")


def _span(response: httpx2.Response, archive: Archive, part: Path, offset: int) -> tuple[int | None, int | None]:
    """Return (start, total): the byte at which the response starts, None if nothing is missing, and the length of the
    whole file, None if unknown."""
    status, content_range = response.status_code, response.headers.get("Content-Range", "")
    if status == 416:
        if content_range == f"bytes */{offset}":
            return None, offset
        part.unlink(missing_ok=True)  # it is longer than the file, so it belongs to another one
        raise _TryAgain(f"the server has nothing from byte {offset:,} on")
    if status in (408, 429) or status >= 500:
        raise _TryAgain(f"the server answers {status} {response.reason_phrase}")
    if status == 206:
        matched = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", content_range)
        if not matched or int(matched[1]) != offset:
            part.unlink(missing_ok=True)
            answer = content_range or "without a range"
            raise _TryAgain(f"requested bytes from {offset:,} on, the server answers {answer}")
        return offset, None if matched[2] == "*" else int(matched[2])
    if status != 200:
        raise DataError(
            f"{archive.url}: the server answers {status} {response.reason_phrase}. {_manual_hint(part.with_suffix(''))}"
        )
    length = response.headers.get("Content-Length", "")  # absent if the server generates the file while sending it
    return 0, int(length) if length.isdigit() else None


def _version(response: httpx2.Response) -> str:
    """Return the server's version of a file: its ETag, else its date; "" if it has neither."""
    return response.headers.get("ETag", "") or response.headers.get("Last-Modified", "")


def _keep_version(response: httpx2.Response, part: Path) -> None:
    if version := _version(response):
        write_text(_version_of(part), version)
    else:
        _version_of(part).unlink(missing_ok=True)


def _check_version(response: httpx2.Response, archive: Archive, part: Path, kept: str) -> None:
    """Remove `part` and raise _TryAgain if a response that continues it may be of another file: some servers ignore
    If-Range, and a weak ETag cannot be sent in one."""
    now = _version(response)
    checked_later = archive.md5 is not None or archive.sha256 is not None
    if (kept and now and kept != now) or (kept and not now and not checked_later):
        part.unlink(missing_ok=True)
        _version_of(part).unlink(missing_ok=True)
        raise _TryAgain(
            f"the file has changed: the first part is of version {kept}, the server has {now or 'none'} now"
        )


def _write(response: httpx2.Response, part: Path, start: int, expected: int | None, limits: NetworkOptions) -> None:
    from tqdm import tqdm

    most = int(min(limits.max_gb * 1e9, start + shutil.disk_usage(part.parent).free - SPARE))

    # A server that cannot send a range sends the whole file, which replaces the part.
    with (
        part.open("ab" if start else "wb") as file,
        tqdm(desc=part.stem, total=expected, initial=start, unit="B", unit_scale=True, disable=None) as bar,
    ):
        reached = measured = start
        since = time.monotonic()
        for (
            chunk
        ) in response.iter_raw():  # without a chunk size: a partly filled chunk would be lost if the connection breaks
            reached += len(chunk)
            if expected is not None and reached > expected:
                raise DataError(f"{response.url}: sends more than the {expected:,} bytes that were expected")
            if expected is None and reached > most:
                raise DataError(
                    f"{response.url}: announces no length and sends more than {megabytes(most)}, which "
                    f"network.max_gb={limits.max_gb:g} and the free disk allow"
                )
            file.write(chunk)
            bar.update(len(chunk))
            if (seconds := time.monotonic() - since) >= WINDOW:
                if (speed := (reached - measured) / seconds) < limits.min_speed:
                    raise DataError(
                        f"{response.url}: sends {speed:,.0f} bytes per second, at least {limits.min_speed:,.0f} are "
                        f"expected (network.min_speed). {reached:,} bytes are kept in {part}: run the same command "
                        f"later to resume. {_manual_hint(part.with_suffix(''))}"
                    )
                measured, since = reached, since + seconds


def _manual_hint(target: Path) -> str:
    return f"A file that you got in another way is taken if you put it at {target}."
