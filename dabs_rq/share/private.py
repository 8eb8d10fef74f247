"""Takes out of records and checkpoints what tells of a person or a machine: paths, addresses, user and host names.

What stays: hashes (one of them of the data root's path), library versions, the kind of processor or GPU, dates, the
commit, example ids relative to their source.
"""

from __future__ import annotations

import getpass
import re
import socket
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from dabs_rq.errors import RecordError
from dabs_rq.run.options import PATHS

PRIVATE = (*PATHS, "suite.ray_address")  # options whose values are paths and addresses
FREE_TEXT = ("reason", "warnings")  # fields that hold texts of errors, which may name anything
# An absolute path of two parts or more, on any system, or below a home folder.
_PATH = re.compile(r"""(?<![\w.~/:<])(?:~[\w.-]*/|/(?=[^/\s]+/)|[A-Za-z]:[\\/]|\\\\)[^\s'",;:()\[\]{}<>|]+""")


def without_private(values: Any, places: Collection[Path | None] = ()) -> Any:
    """Return a JSON value of a record or a checkpoint's description with the `PRIVATE` among its options set to null,
    absolute paths in texts replaced by "<path>" and, in `FREE_TEXT`, the names of the user and the host by "<user>" and
    "<host>".

    places: paths that are replaced in whatever form they were given, such as the data root.
    """
    if isinstance(values, dict):
        return {key: _field(key, value, places) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [without_private(value, places) for value in values]
    return _without_paths(values, places) if isinstance(values, str) else values


def _field(key: str, value: Any, places: Collection[Path | None]) -> Any:
    if key == "options" and isinstance(value, dict):
        value = value | {name: None for name in PRIVATE if name in value}
    cleaned = without_private(value, places)
    return _without_names(cleaned) if key in FREE_TEXT else cleaned


def _without_paths(text: str, places: Collection[Path | None]) -> str:
    given = [form for place in places if place is not None for form in (place, place.absolute())]
    own = [place for place in (Path.home(), Path.cwd()) if len(place.parts) > 2]
    # A name alone, such as that of a folder `text`, may also be a domain, and tells of nobody.
    known = {str(place) for place in (*given, *own) if len(place.parts) > 1}
    for place in sorted(known, key=len, reverse=True):  # the pattern ends at a space, a known place need not
        text = re.sub(rf"(?<![\w.~/-]){re.escape(place)}(?![\w.-])[^\s'\",;:()]*", "<path>", text)
    return _PATH.sub("<path>", text)


def _without_names(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_names(one) for one in value]
    if not isinstance(value, str):
        return value
    for word, name in ((_user(), "<user>"), (socket.gethostname(), "<host>")):
        value = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", name, value) if word else value
    return value


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a user without a name
        return ""


def check_ids(file: Path, ids: Iterable[str]) -> None:
    """Raise RecordError if an example id is an absolute path: ids are part of hashes, so they cannot be changed."""
    for one in ids:
        if _PATH.match(one):
            raise RecordError(
                f"{file}: the example id {one!r} is a path of this machine, so these predictions are not packed. Ids "
                "should be relative to the folder of their source: mend the reader, and compute the record again."
            )
