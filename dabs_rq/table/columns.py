"""The columns of the table: the methods under the run's own probe, and on request under every probe."""

from __future__ import annotations

from typing import NamedTuple, cast

from dabs_rq import registry
from dabs_rq.run import Run
from dabs_rq.run.options import PROBE_TITLES, Probe
from dabs_rq.transfer.probes import probes


class Group(NamedTuple):
    """The columns of one probe. title: the probe's. columns: names, see `column`, in the order of the methods."""

    title: str
    columns: tuple[str, ...]


def column(method: str, further_probe: str | None) -> str:
    """Name a column: the method, and "+probe" for a probe other than the run's own."""
    return method if further_probe is None else f"{method}+{further_probe}"


def groups(run: Run) -> tuple[Group, ...]:
    """Return the groups of columns, that of the run's own probe first; the only one unless table.probes is "all"."""
    own, *others = probes(run)
    further = others if run.options.table.probes == "all" else []
    return (
        Group(PROBE_TITLES[own], run.methods),
        *(Group(PROBE_TITLES[probe], tuple(column(name, probe) for name in run.methods)) for probe in further),
    )


def method_title(name: str) -> str:
    """Return the title of a column's method: its title in the published table if it is there, else its own."""
    spec = registry.method(name.partition("+")[0])
    return spec.published_title or spec.title


def column_title(name: str) -> str:
    """Return the title of a column: its method's, and its probe's where that is not the run's own."""
    probe = name.partition("+")[2]
    return method_title(name) + (f" ({PROBE_TITLES[cast(Probe, probe)]})" if probe else "")
