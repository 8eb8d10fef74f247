"""Room on the disk for prepared columns, which several processes may write at the same time.

A process that is going to write a column claims its bytes first. A claim is a locked file, named after the key of the
column and its bytes, beside the column's folder; the claim of a killed process loses its lock and no longer counts.
"""

from __future__ import annotations

import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from dabs_rq.files import locked, written_so_far

SHARE = 0.9  # of the free disk that prepared columns may take
_CLAIM = re.compile(r"\.(?P<key>[0-9a-f]+)\.(?P<bytes>\d+)\.[0-9a-f]{12}\.claim")


@dataclass(frozen=True)
class Room:
    """Room for the columns below `folder`. largest: bytes that one column may have; "auto": as the disk allows."""

    folder: Path
    largest: float | Literal["auto"] = "auto"

    @contextmanager
    def claimed(self, key: str, needed: int) -> Iterator[bool]:
        """Claim `needed` bytes for the column `key` until the block ends. Yields whether it may be written: it may if
        it has room, and if another process is writing the same column already."""
        self.folder.mkdir(parents=True, exist_ok=True)
        claim = self.folder / f".{key}.{needed}.{uuid.uuid4().hex[:12]}.claim"
        lock = FileLock(claim)
        try:
            with locked(self.folder / "room"):
                fits = self._has_room(key, needed)
                if fits:
                    lock.acquire()
            yield fits
        finally:
            lock.release()
            claim.unlink(missing_ok=True)

    def _has_room(self, key: str, needed: int) -> bool:
        claims = self._living_claims()
        if key in claims:
            return True
        pending = sum(max(0, size - written_so_far(self.folder / other)) for other, size in claims.items())
        free = shutil.disk_usage(self.folder).free
        allowed = max(0.0, free * SHARE - pending)
        if self.largest != "auto":
            allowed = min(self.largest, allowed)
        fits = needed <= allowed
        if needed > 1e9 or not fits:
            given = "auto" if self.largest == "auto" else f"{self.largest / 1e9:g}"
            print(
                f"prepared cache: {needed / 1e9:.1f} GB needed, loader.cache_gb={given} allows {allowed / 1e9:.1f} GB "
                f"({free / 1e9:.0f} GB are free, of which other jobs will take {pending / 1e9:.1f} GB; "
                f"{1 - SHARE:.0%} stay free): {'kept on disk' if fits else 'decoding on the fly'}",
                flush=True,
            )
        return fits

    def _living_claims(self) -> dict[str, int]:
        """Return key -> claimed bytes, and delete the claims of killed processes."""
        claims: dict[str, int] = {}
        for file in self.folder.iterdir():
            if (match := _CLAIM.fullmatch(file.name)) is None:
                continue
            lock = FileLock(file)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                claims[match["key"]] = int(match["bytes"])
                continue
            lock.release()
            file.unlink(missing_ok=True)
        return claims
