"""The columns of the table: methods and networks under the run's own probe, and on request under every probe."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, cast

from dabs_rq import registry
from dabs_rq.errors import OptionError, unknown
from dabs_rq.records.record import Record
from dabs_rq.run import Run
from dabs_rq.run.options import PROBE_TITLES, Headings, Probe
from dabs_rq.transfer.frozen import UNNAMED
from dabs_rq.transfer.probes import probes


class Group(NamedTuple):
    """The columns of one probe. title: the probe's. columns: names, see `column`, in the order of the methods."""

    title: str
    columns: tuple[str, ...]


def column(method: str, further_probe: str | None) -> str:
    """Name a column: the method, and "+probe" for a probe other than the run's own."""
    return method if further_probe is None else f"{method}+{further_probe}"


def names(run: Run, records: Iterable[Record]) -> tuple[str, ...]:
    """List what has a column: the run's methods, and the networks of `encoders`, by default all that have records
    unless the methods were given. Raises OptionError for a network that nothing knows."""
    options = run.options
    named = {one.method for one in records if one.architecture and not one.method.startswith(UNNAMED)}
    found = sorted(named - set(registry.method_names()))
    if options.scores_network:  # encoder=, or name=
        return (_known(str(options.name), found),) if options.name else ()
    if options.encoders is not None:
        return (*run.methods, *(_known(name, found) for name in options.encoders))
    return (*run.methods, *(() if options.method_given else found))


def networks_given(run: Run) -> bool:
    """Whether the run says of which networks there are columns; without it, those that have results are shown."""
    return run.options.scores_network or run.options.encoders is not None


def _known(name: str, found: list[str]) -> str:
    if name not in found and name not in (known := registry.encoder_names()):
        raise OptionError(unknown("network", name, [*found, *known]))
    return name


def run_of(run: Run, name: str) -> Run:
    """Return the run of a column's method or network."""
    if name in registry.method_names():
        return run.replace(method=name, name=None)
    of_file = {"encoder": name} if name in registry.encoder_names() else {}
    return run.replace(method="none", name=name, checkpoint=None, **of_file)


def groups(run: Run, names: tuple[str, ...]) -> tuple[Group, ...]:
    """Return the groups of columns, that of the run's own probe first; the only one unless table.probes is "all"."""
    own, *others = probes(run)
    further = others if run.options.table.probes == "all" else []
    return (
        Group(PROBE_TITLES[own], names),
        *(Group(PROBE_TITLES[probe], tuple(column(name, probe) for name in names)) for probe in further),
    )


def is_network(name: str) -> bool:
    """Return whether a column is of a network that is scored as it is."""
    return name.partition("+")[0] not in registry.method_names()


def method_title(name: str, headings: Headings = "own") -> str:
    """Return the title of a column's method, its own or that of the published table. That of a network is the title in
    its file, or its name."""
    name = name.partition("+")[0]
    if is_network(name):
        return registry.encoder(name).title if name in registry.encoder_names() else name
    spec = registry.method(name)
    return spec.published_title or spec.title if headings == "published" else spec.title


def column_title(name: str) -> str:
    """Return the title of a column: its method's, and its probe's where that is not the run's own."""
    probe = name.partition("+")[2]
    return method_title(name) + (f" ({PROBE_TITLES[cast(Probe, probe)]})" if probe else "")
