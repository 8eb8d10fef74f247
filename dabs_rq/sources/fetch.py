"""One source from its publisher to its place under the data root.

    <root>/.downloads/<source>/<file>.part     arriving
    <root>/.downloads/<source>/<file>          complete and checked
    <root>/.downloads/<source>/<file>.json     what it gave, once that is in its place
    <beside the source's folder>/.<folder>.fetching-...   being extracted

Contents reach their place by renaming, what the source needs last: a source that was interrupted never looks present.
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
from dabs_rq.files import write_text
from dabs_rq.sources.archives import extract, is_archive
from dabs_rq.sources.download import check, download, megabytes, part_of, room, size_of
from dabs_rq.spec import Archive, Source

DOWNLOADS = ".downloads"


def download_path(source: Source, archive: Archive, root: Path) -> Path:
    return root / DOWNLOADS / source.name / archive.name


def fetch(source: Source, root: Path) -> bool:
    """Download and extract what is open of a source. True if all it needs is there then, or comes from the hub; False
    if a person has to act, to whom the steps were printed. Raises DataError if it cannot be fetched."""
    begun = (root / DOWNLOADS / source.name).is_dir()
    if source.archives and (begun or source.missing(root)):
        with _alone(source, root):
            _fetch_archives(source, root)
    missing = source.missing(root)
    if not missing:
        print(f"{source.name}: present under {root / source.folder}")
        return True
    if source.hub:
        print(f"{source.name}: nothing to fetch, loaded from the hub ({source.hub}) when first used")
        return True
    if source.registration or not source.archives:
        print(by_hand(source, root))
        return False
    given = sorted({one for archive in source.archives for one in _given(source, archive, root)})
    raise DataError(f"{missing_text(source, root, missing)}\n  what came out of the archives: {', '.join(given)}")


def by_hand(source: Source, root: Path) -> str:
    """What a person has to do to get a source that cannot be downloaded without one."""
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


def _fetch_archives(source: Source, root: Path) -> None:
    waiting = [archive for archive in source.archives if not _done(source, archive, root)]
    if not waiting:
        return
    _room(source, waiting, root)
    for archive in waiting:
        file = download_path(source, archive, root)
        if not file.exists():
            print(f"{source.name}: downloading {archive.url}", flush=True)
            download(archive, file)
        sums = "its checksum" if archive.md5 or archive.sha256 else "its size (no checksum is published)"
        print(f"{source.name}: checking {sums} and extracting {file.name}", flush=True)
        check(archive, file)
        _place(source, archive, file, root)
    kept = sum(size_of(download_path(source, archive, root)) for archive in source.archives)
    print(f"{source.name}: {root / DOWNLOADS / source.name} keeps the archives ({megabytes(kept)}); it may be deleted")


def _room(source: Source, waiting: list[Archive], root: Path) -> None:
    """Raises DataError unless there is room for what is still to come and, at least once more, its contents."""
    files = {archive: download_path(source, archive, root) for archive in waiting}
    arrived = sum(max(size_of(file), size_of(part_of(file))) for file in files.values())
    room(root, max(2 * sum(archive.size or 0 for archive in waiting) - arrived, 0), source.title)


@contextmanager
def _alone(source: Source, root: Path) -> Iterator[None]:
    """Raises DataError if another process is fetching into the same folder. A killed one leaves no lock behind."""
    from filelock import FileLock, Timeout

    lock = root / DOWNLOADS / f"{source.folder.replace('/', '-')}.lock"
    lock.parent.mkdir(exist_ok=True)
    try:
        with FileLock(lock, timeout=0):
            yield
    except Timeout as error:
        raise DataError(f"{source.name}: another process is fetching into {root / source.folder} ({lock})") from error


# ---- from an archive to its place ----------------------------------------------------------------------------------


def _note(source: Source, archive: Archive, root: Path) -> Path:
    file = download_path(source, archive, root)
    return file.with_name(f"{file.name}.json")


def _given(source: Source, archive: Archive, root: Path) -> list[str]:
    """What an archive gave, relative to the source's folder; nothing where it was never placed."""
    try:
        return json.loads(_note(source, archive, root).read_text(encoding="utf-8"))["gave"]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _done(source: Source, archive: Archive, root: Path) -> bool:
    given = _given(source, archive, root)
    return bool(given) and all((root / source.folder / one).exists() for one in given)


def _place(source: Source, archive: Archive, file: Path, root: Path) -> None:
    target = (root / source.folder).resolve()  # which may be a link to another disk
    target.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{target.name}.fetching-"
    for left in target.parent.glob(f"{prefix}*"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=prefix) as work:
        contents = _contents(archive, file, Path(work))
        made = Path(work) / "made"
        (made / archive.into).parent.mkdir(parents=True, exist_ok=True)
        contents.rename(made / archive.into)
        gave = [str(one.relative_to(made)) for one in sorted((made / archive.into).iterdir())]
        gave += [need for need in source.needs if (made / need).exists() and need not in gave]
        _move(made, target, {target / need for need in source.needs})
    write_text(_note(source, archive, root), json.dumps({"url": archive.url, "gave": gave}, indent=1))


def _contents(archive: Archive, file: Path, work: Path) -> Path:
    """The folder with what is wanted of an archive, extracted below `work`."""
    contents = work / "outer"
    contents.mkdir()
    if not is_archive(file.name):
        shutil.copyfile(file, contents / file.name)
        return contents
    extract(file, contents)
    if archive.inner:
        inner = contents / archive.inner
        if not inner.is_file():
            raise DataError(f"{file}: expected {archive.inner} in it, found {_names(contents)}")
        contents = work / "inner"
        contents.mkdir()
        extract(inner, contents)
    if not (contents / archive.below).is_dir():
        raise DataError(f"{file}: expected the folder {archive.below} in it, found {_names(contents)}")
    return contents / archive.below


def _names(folder: Path) -> str:
    names = sorted(one.name for one in folder.iterdir())
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") or "nothing"


def _move(made: Path, target: Path, needs: set[Path]) -> None:
    """Move the folder `made` to `target` by renaming: as a whole where nothing is there, else what it holds, files in
    place of those of the same name, paths in `needs` (and those above them) last."""
    if not target.exists():
        made.rename(target)
        return

    def needed(entry: Path) -> bool:
        place = target / entry.name
        return any(place == need or place in need.parents for need in needs)

    for entry in sorted(made.iterdir(), key=lambda entry: (needed(entry), entry.name)):
        place = target / entry.name
        if entry.is_dir() and place.is_dir():
            _move(entry, place, needs)
        elif place.is_dir() or (entry.is_dir() and place.exists()):
            raise DataError(
                f"{place}: a file where a folder belongs, or the other way round. Move it away, fetch again"
            )
        else:
            entry.replace(place)
