"""The published tables: which of them a run has the domains and the methods of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dabs_rq import registry
from dabs_rq.run.options import TableOptions
from dabs_rq.spec import TableName

# The default methods: those of the RQ paper, and the floor that they have to beat; those of DABS 2.0, and RQ.
METHODS: dict[TableName, tuple[str, ...]] = {
    "rq": ("none", "emix", "rq", "raw"),
    "dabs2": ("none", "emix", "shed", "mae", "capri", "rq"),
}


def chosen(budgets: Mapping[str, Mapping[str, Any]], given: Mapping[str, Any]) -> TableName:
    """Return `table.columns` of the given options, else of the scale; the default in place of what is refused later."""
    name = given.get("table.columns", budgets.get("table", {}).get("columns"))
    return next((known for known in METHODS if known == name), TableOptions.columns)


def methods(table: TableName) -> tuple[str, ...]:
    """Return the default methods of a table."""
    known = registry.method_names()
    return tuple(name for name in METHODS[table] if name in known)
