"""What several commands print."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from dabs_rq.errors import printable


def print_errors(errors: Iterable[object], note: str = "") -> int:
    """Print one line for each error. Returns the exit code: 1 if there are errors."""
    code = 0
    for error in errors:
        print(f"error: {printable(str(error))}{note}", file=sys.stderr)
        code = 1
    return code
