"""Files that are whole or absent: everything is written beside its place and renamed into it."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside `target`; rename it to `target` when the block ends, delete it when it raises."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(target)
    except OSError as error:
        error.filename = error.filename or str(target)  # a full disk does not say which file had to go there
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside `target`; rename it to `target` when the block ends, delete it when it raises. Where
    another process was faster, what it made is kept."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp") as building:
        made = Path(building) / target.name
        made.mkdir()
        yield made
        try:
            made.rename(target)
        except OSError:
            if not target.exists():
                raise


@contextmanager
def only_one(target: Path) -> Iterator[None]:
    """One process at a time makes `target`, a file or a folder of files; the others wait for it. A killed process holds
    no lock any more, and what it had half written is deleted by the next."""
    from filelock import FileLock, Timeout

    target.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(target.with_name(f".{target.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"waiting for another process that makes {target}", flush=True)
        lock.acquire()
    try:
        for left in (*target.parent.glob(f".{glob.escape(target.name)}.*.tmp"), *target.glob(".*.tmp")):
            shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
        yield
    finally:
        lock.release()


def write_text(target: Path, text: str) -> None:
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def digest(*parts: Any) -> str:
    """Sixteen hex digits of the SHA-256 of `parts`, which JSON can hold (or bytes)."""
    return digest_each(parts)


def digest_each(parts: Iterable[Any]) -> str:
    """`digest` of parts that come one by one and need not be held at once."""
    state = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else json.dumps(part, sort_keys=True, default=str).encode()
        state.update(len(data).to_bytes(8, "little"))
        state.update(data)
    return state.hexdigest()[:16]


def digest_files(root: Path, paths: Iterable[str]) -> str:
    """Identity of files by (path, size, modification time): cheap, and changed whenever one of them is. `paths` are
    relative to `root` and sorted; they are looked at one by one."""
    stats = ((path, (root / path).stat()) for path in paths)
    return digest_each((path, stat.st_size, stat.st_mtime_ns) for path, stat in stats)
