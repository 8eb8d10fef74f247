"""Reading of files that others wrote, atomic writes (to a temporary path, then renamed), locks and content hashes."""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import json
import os
import re
import shutil
import stat
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

from dabs_rq.errors import DabsRqError, DataError, WriteError, first_line


@contextmanager
def reading(file: Path, fault: str, advice: str = "", error: type[DabsRqError] = DataError) -> Iterator[None]:
    """Read `file` in this block. Whatever a library raises there becomes `error`, with the file and the advice.

    fault: what is wrong then, such as "damaged or not a picture". Raises `error` too if there is no such file, or if it
    is no regular file: opening a pipe would wait for its writer, and a device has no end.
    """
    check_regular(file, error)
    with explained(file, fault, advice, error):
        yield


@contextmanager
def explained(place: object, fault: str, advice: str = "", error: type[DabsRqError] = DataError) -> Iterator[None]:
    """Raise `error` for whatever this block raises, as `reading` does, about content that is in no file of its own."""
    try:
        yield
    except DabsRqError:
        raise
    except FileNotFoundError as cause:
        raise error(f"{cause.filename or place}: no such file") from cause
    except OSError as cause:
        if cause.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS):  # of what is written in the block
            raise WriteError.of(cause.filename or place, cause) from cause
        raise _damaged(place, fault, advice, error, cause) from cause
    except BaseException as cause:
        if not isinstance(cause, Exception) and type(cause).__name__ != "PanicException":  # of a library in Rust
            raise
        raise _damaged(place, fault, advice, error, cause) from cause


def _damaged(place: object, fault: str, advice: str, error: type[DabsRqError], cause: BaseException) -> DabsRqError:
    why = f"{type(cause).__name__}: {first_line(cause):.300}"
    return error(f"{place}: {fault} ({why}){f'. {advice}' if advice else ''}")


def check_regular(file: Path, error: type[DabsRqError] = DataError) -> None:
    """Raise `error` unless `file` is a regular file or a link to one."""
    try:
        mode = file.stat().st_mode
    except FileNotFoundError as cause:
        raise error(f"{file}: no such file") from cause
    except (OSError, ValueError) as cause:  # ValueError: a null character in the name
        raise error(f"{file}: cannot be read ({first_line(cause)})") from cause
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe, a socket or a device, which is not opened"
        raise error(f"{file}: expected a file, found {kind}")


_OURS = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{12}\.dabs_rq\.tmp")  # a name that nobody else gives


def _temporary(target: Path) -> Path:
    return target.with_name(f".{target.name}.{uuid.uuid4().hex[:12]}.dabs_rq.tmp")


def remove_leftovers(folder: Path, name: str | None = None) -> None:
    """Delete what a killed process left in `folder`, by default for any target: only names that `_temporary` makes."""
    for entry in folder.iterdir() if folder.is_dir() else ():
        if (match := _OURS.fullmatch(entry.name)) and name in (None, match["name"]):
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink(missing_ok=True)


def written_so_far(target: Path) -> int:
    """Count the bytes of a folder that `atomic_folder` is writing or has written; 0 if there is none."""
    parts = [target, *target.parent.glob(f".{glob.escape(target.name)}.*.dabs_rq.tmp")]
    total = 0
    for file in (file for part in parts for file in part.rglob("*")):
        with contextlib.suppress(FileNotFoundError):  # renamed or deleted meanwhile
            total += file.lstat().st_size
    return total


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside `target`; rename it to `target` when the block ends, delete it when it raises.

    Raises WriteError where the system cannot write, such as on a full disk.
    """
    temporary = _temporary(target)
    with _writable(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(target)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside `target`; rename it to `target` when the block ends, delete it when it raises.

    If another process has created `target` meanwhile, its folder stays and ours is dropped. Raises WriteError as
    `atomic_path` does.
    """
    temporary = _temporary(target)
    with _writable(target):
        temporary.mkdir(parents=True)
        try:
            yield temporary
            try:
                temporary.rename(target)
            except OSError:
                if not target.exists():
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


_DISK = re.compile(
    "os error|[Ee]rrno|StorageFull|FileTooLarge|No space left|failed writing|unexpected pos|iostream|IoError"
)


@contextmanager
def _writable(target: Path) -> Iterator[None]:
    try:
        yield
    except DabsRqError:
        raise
    except Exception as error:  # torch, safetensors and Arrow report the system's errors as their own
        if isinstance(error, OSError) and error.errno is not None:
            raise WriteError.of(target, error) from error
        if _DISK.search(str(error)):
            raise WriteError(
                f"{target} cannot be written: {first_line(error)}. Is the disk full, or a limit on the size of a file "
                "reached? Free space, or give another folder."
            ) from error
        raise


def write_once(folder: Path, write: Callable[[Path], None], announcement: str) -> None:
    """Write `folder` by `write`, which gets an empty folder, unless it is there already; one process at a time writes.

    announcement: printed before it is written.
    """
    if folder.exists():
        return
    with locked(folder):
        if not folder.exists():
            print(announcement, flush=True)
            with atomic_folder(folder) as temporary:
                write(temporary)


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """Hold the lock on `target`, a file or a folder that is renamed into place; other processes wait until the block
    ends. The lock is beside `target`.

    The lock of a killed process is released, and the next holder deletes the temporary files that it left.
    """
    with _held(target, target.with_name(f".{target.name}.lock")):
        remove_leftovers(target.parent, target.name)
        yield


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Hold the lock on a folder in which files are written, as `locked` does. The lock is in the folder, because its
    parent may be read-only; the folder is made if it is missing."""
    with _held(folder, folder / ".dabs_rq.lock"):
        remove_leftovers(folder)
        yield


@contextmanager
def _held(target: Path, file: Path) -> Iterator[None]:
    from filelock import FileLock, Timeout

    with _writable(target):
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(file)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print(f"waiting for the lock on {target}, which another process holds", flush=True)
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def write_text(target: Path, text: str) -> None:
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def digest(*parts: Any) -> str:
    """Return the first 16 hex digits of the SHA-256 of `parts`: bytes, or values that JSON can represent."""
    return digest_each(parts)


def digest_each(parts: Iterable[Any]) -> str:
    """Compute `digest` of an iterable without holding all parts in memory."""
    state = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else json.dumps(part, sort_keys=True, default=str).encode()
        state.update(len(data).to_bytes(8, "little"))
        state.update(data)
    return state.hexdigest()[:16]


State: TypeAlias = tuple[int, int, int]


def state(file: Path) -> State:
    """Return what changes whenever a file's content does: its size and the times of its last modification and change,
    in ns. Tools that copy can set the former time, but not the latter."""
    stat = file.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def digest_files(root: Path, paths: Iterable[str]) -> str:
    """Hash files by root, path and `state`, which is cheap: their contents are not read.

    paths: relative to `root`, sorted.
    """
    return digest_each(chain([str(root.resolve())], ((path, *state(root / path)) for path in paths)))
