"""Keys of columns that this suite has computed already.

The key of a column needs the size and times of each of its files, which takes long for a million files. The first job
of a suite that needs a key computes it, and its outcome brings it to the jobs that wait for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

_KNOWN: ContextVar[dict[str, str] | None] = ContextVar("known keys", default=None)


@contextmanager
def remembering(earlier: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Use the keys in `earlier` in this block. Yields these and, at its end, those that the block has computed."""
    known = dict(earlier)
    token = _KNOWN.set(known)
    try:
        yield known
    finally:
        _KNOWN.reset(token)


def known_or_computed(name: Callable[[], str], compute: Callable[[], str]) -> str:
    """Return the key that is known by `name`, or compute it. Outside of `remembering` it is always computed."""
    if (known := _KNOWN.get()) is None:
        return compute()
    if (which := name()) not in known:
        known[which] = compute()
    return known[which]
