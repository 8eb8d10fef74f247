"""Fetches a source: downloads its archives and extracts them to the source's folder under the data root.

    <root>/.downloads/<source>/<file>.part     incomplete download
    <root>/.downloads/<source>/<file>          complete and checked download
    <root>/.downloads/<source>/<file>.json     the paths that it was extracted to, written when they are in place
    <parent of the source's folder>/.<folder>.fetching-...   temporary folder of an extraction

Contents are moved by renaming, the source's `needs` last, so that an interrupted source never looks present.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dabs_rq.data.requests import missing_text
from dabs_rq.errors import DataError
from dabs_rq.files import remove_leftovers, write_text
from dabs_rq.run.options import NetworkOptions
from dabs_rq.sources.archives import extract, is_archive
from dabs_rq.sources.download import check, check_free_space, megabytes, obtain, part_of, size_of
from dabs_rq.spec import Archive, Source

DOWNLOADS = ".downloads"


def download_path(source: Source, archive: Archive, root: Path) -> Path:
    return root / DOWNLOADS / source.name / archive.name


def fetch(source: Source, root: Path, limits: NetworkOptions = NetworkOptions()) -> bool:  # noqa: B008 (frozen)
    """Download and extract a source's archives.

    Returns True if the source is then complete or comes from the hub; False if it needs manual steps, which are
    printed. Raises DataError if it cannot be fetched.
    """
    begun = (root / DOWNLOADS / source.name).is_dir()
    if source.archives and (begun or source.missing(root)):
        with _locked(source, root):
            _fetch_archives(source, root, limits)
    missing = source.missing(root)
    if not missing:
        print(f"{source.name}: present under {root / source.folder}")
        return True
    if source.hub:
        print(f"{source.name}: nothing to fetch, loaded from the hub ({source.hub}) when first used")
        return True
    if source.registration or not source.archives:
        print(manual_steps(source, root))
        return False
    extracted = sorted({path for archive in source.archives for path in _placed_paths(source, archive, root)})
    raise DataError(f"{missing_text(source, root, missing)}\n  the archives held: {', '.join(extracted)}")


def manual_steps(source: Source, root: Path) -> str:
    """Return the steps to get a source that cannot be downloaded automatically."""
    steps = [
        f"Get it: {source.registration or 'no registration is needed, but its links are not known to be stable'}. "
        f"{source.url} ({source.size}; {source.licence})",
        f"Put it under {root / source.folder}, in this layout:",
        f"Run again: python -m dabs_rq data fetch {source.name} data={root}",
    ]
    layout = "".join(f"\n       {line}" for line in source.layout.strip().splitlines())
    lines = [f"{source.name}: to be fetched by hand. {source.title}"]
    lines += [f"    {n}. {step}{layout if n == 2 else ''}" for n, step in enumerate(steps, 1)]
    return "\n".join([*lines, f"    still missing: {', '.join(map(str, source.missing(root)))}"])


def _fetch_archives(source: Source, root: Path, limits: NetworkOptions) -> None:
    pending = [archive for archive in source.archives if not _is_placed(source, archive, root)]
    if not pending:
        return
    _check_free_space(source, pending, root)
    for archive in pending:
        file = download_path(source, archive, root)
        print(f"{source.name}: {archive.name}, accepted by {accepted_by(archive)}", flush=True)
        if file.exists():
            check(archive, file)
        else:
            obtain(archive, file, limits)
        _place(source, archive, file, root)
    archive_bytes = sum(size_of(download_path(source, archive, root)) for archive in source.archives)
    folder = root / DOWNLOADS / source.name
    print(f"{source.name}: {folder} keeps the archives ({megabytes(archive_bytes)}), which are not needed any more")


def accepted_by(archive: Archive) -> str:
    """Say what decides whether a downloaded file is the right one."""
    if declared := archive.sha256 or archive.md5:
        return f"{'sha256' if archive.sha256 else 'md5'} {declared}"
    return ("its size and its" if archive.size else "its") + " structure (no checksum is published)"


def _check_free_space(source: Source, pending: list[Archive], root: Path) -> None:
    """Raise DataError unless the disk has room for the rest of the downloads and once more for their contents."""
    files = {archive: download_path(source, archive, root) for archive in pending}
    arrived = sum(max(size_of(file), size_of(part_of(file))) for file in files.values())
    needed = max(2 * sum(archive.size or 0 for archive in pending) - arrived, 0)
    check_free_space(root, needed, source.title)


@contextmanager
def _locked(source: Source, root: Path) -> Iterator[None]:
    """Hold a lock on the source's folder. Raises DataError if another process holds it; a killed process does not."""
    from filelock import FileLock, Timeout

    lock = root / DOWNLOADS / f"{source.folder.replace('/', '-')}.lock"
    lock.parent.mkdir(exist_ok=True)
    try:
        with FileLock(lock, timeout=0):
            remove_leftovers(root / DOWNLOADS / source.name)
            yield
    except Timeout as error:
        raise DataError(f"{source.name}: another process is fetching into {root / source.folder} ({lock})") from error


# ---- extraction ----------------------------------------------------------------------------------------------------


def _placed_file(source: Source, archive: Archive, root: Path) -> Path:
    file = download_path(source, archive, root)
    return file.with_name(f"{file.name}.json")


def _placed_paths(source: Source, archive: Archive, root: Path) -> list[str]:
    """List the paths that an archive was extracted to, relative to the source's folder; empty if it was not."""
    try:
        return json.loads(_placed_file(source, archive, root).read_text(encoding="utf-8"))["gave"]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _is_placed(source: Source, archive: Archive, root: Path) -> bool:
    paths = _placed_paths(source, archive, root)
    return bool(paths) and all((root / source.folder / path).exists() for path in paths)


def _place(source: Source, archive: Archive, file: Path, root: Path) -> None:
    target = (root / source.folder).resolve()  # it may be a link to another disk
    target.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{target.name}.fetching-"
    for leftover in target.parent.glob(f"{prefix}*"):  # of a killed process
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=prefix) as work:
        contents = _contents(source, archive, file, Path(work))
        staging = Path(work) / "staging"
        (staging / archive.into).parent.mkdir(parents=True, exist_ok=True)
        contents.rename(staging / archive.into)
        placed = [str(path.relative_to(staging)) for path in sorted((staging / archive.into).iterdir())]
        needs = (*source.needs, *source.instead)
        placed += [need for need in needs if (staging / need).exists() and need not in placed]
        _move(staging, target, {target / need for need in needs})
    write_text(_placed_file(source, archive, root), json.dumps({"url": archive.url, "gave": placed}, indent=1))


def _contents(source: Source, archive: Archive, file: Path, work: Path) -> Path:
    """Extract the wanted part of an archive into `work` and return its folder."""
    contents = work / "outer"
    contents.mkdir()
    if not is_archive(file.name):
        shutil.copyfile(file, contents / file.name)
        return contents
    extract(file, contents)
    inner = contents / archive.inner
    is_inner_itself = all((contents / need).exists() for need in source.needs)
    if archive.inner and not is_inner_itself:
        if not inner.is_file():
            raise DataError(f"{file}: expected {archive.inner} in it, found {_names(contents)}")
        contents = work / "inner"
        contents.mkdir()
        extract(inner, contents)
    if not (contents / archive.below).is_dir():
        raise DataError(f"{file}: expected the folder {archive.below} in it, found {_names(contents)}")
    return contents / archive.below


def _names(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") or "nothing"


def _move(folder: Path, target: Path, needs: set[Path]) -> None:
    """Move `folder` to `target` by renaming. If `target` exists, move the entries one by one; files replace files of
    the same name, and paths in `needs` and their parents come last."""
    if not target.exists():
        folder.rename(target)
        return

    def needed(entry: Path) -> bool:
        place = target / entry.name
        return any(place == need or place in need.parents for need in needs)

    for entry in sorted(folder.iterdir(), key=lambda entry: (needed(entry), entry.name)):
        place = target / entry.name
        if entry.is_dir() and place.is_dir():
            _move(entry, place, needs)
        elif place.is_dir() or (entry.is_dir() and place.exists()):
            kinds = ("a file", "a folder") if place.is_dir() else ("a folder", "a file")
            raise DataError(
                f"{place}: {kinds[0]} belongs here, and {kinds[1]} is in its place. Move it away, fetch again"
            )
        else:
            entry.replace(place)
