"""Suites on a disk that is full, which only root can make: a small file system in memory."""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Mount a file system in memory at `folder`. Raises OSError if this user may not."""
    folder.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", "size=1g", "tmpfs", str(folder))
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def resize(folder: Path, size: int) -> None:
    """Give the disk `size` bytes, or what it holds already if that is more."""
    used = shutil.disk_usage(folder).used
    _mount("-o", f"remount,size={max(size, used + 4096)}", str(folder))


def sizes(generator: random.Random, needed: int) -> Iterator[int]:
    """Sizes of the disk, all too small for a suite that needs `needed` bytes."""
    while True:
        yield int(generator.uniform(0.02, 0.98) * needed)


def _mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"mount {' '.join(arguments)}: {done.stderr.strip() or done.returncode}")
