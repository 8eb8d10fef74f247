"""What a table that is there already holds, so that none is replaced by a poorer one without a word."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path
from typing import NamedTuple

from dabs_rq.errors import DataWarning, RecordError
from dabs_rq.table.contents import Table
from dabs_rq.table.ours import is_ours

NAME = "table.csv"


class Contents(NamedTuple):
    """columns: names of columns with scores. rows: (domain, task) with a score. domains: of all rows."""

    columns: set[str]
    rows: set[tuple[str, str]]
    domains: set[str]


def compare(folder: Path, table: Table) -> None:
    """Warn if the table in `folder` has columns or rows with results that `table` lacks.

    Raises RecordError if `table` has no result at all and the one in `folder` has.
    """
    before, after = _read(folder), _of(table)
    columns, rows = sorted(before.columns - after.columns), sorted(before.rows - after.rows)
    if before.rows and not after.rows:
        raise RecordError(
            f"{folder / NAME} has results in {len(before.rows)} rows, and no record for a new table was found; it "
            "stays as it is. Give the options of those results (runs=, data=, scale=, protocol=), or another out=."
        )
    if columns or rows:
        lost = [f"columns {', '.join(columns)}"] if columns else []
        lost += [f"results in {len(rows)} rows ({', '.join(task for _, task in rows[:5])})"] if rows else []
        warnings.warn(f"{folder / NAME} had more than the table that replaces it: {'; '.join(lost)}", DataWarning, 2)


def other_domains(folder: Path, table: Table) -> bool:
    """Return whether the table in `folder` has rows of domains that `table` has not."""
    return bool(_read(folder).domains - _of(table).domains)


def _of(table: Table) -> Contents:
    frame = table.frame
    columns = {name for name in table.methods if frame[name].notna().any()}
    scored = frame[frame[list(table.methods)].notna().any(axis=1)]
    rows = set(zip(scored["domain"], scored["task"], strict=True))
    return Contents(columns, rows, set(frame["domain"]))


def _read(folder: Path) -> Contents:
    """Read the table in `folder`; a file that is not ours counts as empty."""
    file = folder / NAME
    empty = Contents(set(), set(), set())
    if not is_ours(file):
        return empty
    try:
        with file.open(encoding="utf-8", newline="") as opened:
            lines = [line for line in csv.DictReader(opened) if line.get("domain") and line.get("task")]
    except (OSError, ValueError, csv.Error):
        return empty
    names = [name for name in (lines[0] if lines else {}) if f"{name}_seeds" in lines[0]]
    scored = [(line, name) for line in lines for name in names if _is_number(line.get(name))]
    return Contents(
        {name for _, name in scored},
        {(str(line.get("domain")), str(line.get("task"))) for line, _ in scored},
        {str(line.get("domain")) for line in lines},
    )


def _is_number(text: str | None) -> bool:
    try:
        return text is not None and float(text) == float(text)
    except ValueError:
        return False
