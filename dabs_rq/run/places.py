"""The paths of a run's files. This module reads and writes no file.

    runs/
      miniature/<domain>-<hash>/            the made-up data root of a domain
      installed/<domain>-<hash>/            the data root of a domain whose data come with installed packages
      prepared/<key>/                       prepared examples
      logs/                                 output of the jobs of suites
      <data>/<scale>/<protocol>/
        checkpoints/<domain>/<method>/<variant>/seed-<n>/encoder.safetensors
        features/<key>.npz
        records/<domain>/<method>/<variant>/seed-<n>/<task>.json, <task>.parquet

`<data>` is `miniature-<hash of the domain's generator>`, `real-<hash of the data root's path>`, or for a domain whose
data come with packages `installed-<hash of their versions>`, so a new source in the data root, or a changed generator
of another domain, makes nothing stale. Checkpoints and records hold a hash of the examples that they were computed
from.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from dabs_rq import registry
from dabs_rq.domain import Domain
from dabs_rq.files import digest
from dabs_rq.run.options import Options


class Identity(NamedTuple):
    """The parts of a result's path, which identify it together with its task."""

    data: str
    scale: str
    protocol: str
    domain: str
    method: str
    variant: str
    seed: int


@dataclass(frozen=True)
class Places:
    """Files and folders by identity, for the data, scale and protocol of `options`."""

    options: Options
    _known: dict[tuple[str, str, Identity], Path] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def runs(self) -> Path:
        return self.options.runs.expanduser()

    @property
    def data(self) -> Path | None:
        """The root of the real data that `data` names; None without it."""
        return None if self.options.data is None else self.options.data.expanduser()

    @property
    def logs(self) -> Path:
        return self.runs / "logs"

    @property
    def prepared(self) -> Path:
        return self.runs / "prepared"

    def miniature(self, domain: str) -> Path:
        return self.runs / "miniature" / f"{domain}-{registry.miniature_version(domain)}"

    def installed(self, domain: Domain) -> Path:
        assert domain.installed is not None
        return self.runs / "installed" / f"{domain.name}-{domain.installed.key}"

    def data_id(self, domain: str) -> str:
        if (installed := registry.domain(domain).installed) is not None:
            return f"installed-{installed.key}"
        if self.data is not None:
            return self._real_id
        return f"miniature-{registry.miniature_version(domain) or 'none'}"

    @property
    def _real_id(self) -> str:
        return f"real-{digest(str(self.data.resolve()))}" if self.data is not None else ""

    def identity(self, domain: str, method: str, variant: str, seed: int) -> Identity:
        scale, protocol = self.options.scale.name, self.options.protocol.name
        return Identity(self.data_id(domain), scale, protocol, domain, method, variant, seed)

    def folder(self, domain: str) -> Path:
        return self.runs / self.data_id(domain) / self.options.scale.name / self.options.protocol.name

    def features(self, domain: str) -> Path:
        return self.folder(domain) / "features"

    def records_root(self, domain: str) -> Path:
        return self.folder(domain) / "records"

    def records(self, identity: Identity) -> Path:
        return self._result_folder("records", identity)

    def checkpoints(self, identity: Identity) -> Path:
        return self._result_folder("checkpoints", identity)

    def _result_folder(self, kind: str, identity: Identity) -> Path:
        key = (self.data_id(identity.domain), kind, identity)
        if (folder := self._known.get(key)) is None:  # a table asks for that of every record, several times
            below = self.folder(identity.domain) / kind / identity.domain / identity.method / identity.variant
            folder = self._known[key] = below / f"seed-{identity.seed}"
        return folder

    @property
    def results(self) -> Path:
        """The folder of tables: `out` if given, else results/ without a data root and a folder in runs/ with one. A
        selection with domains outside the table has a folder of its own in it."""
        options = self.options
        if options.out is not None:
            return options.out.expanduser()
        own = Path("-".join(options.domains or ())) if self.outside_table else Path()
        if self.data is None:
            below = Path() if options.protocol.name == "corrected" else Path(options.protocol.name)
            return Path("results") / options.scale.name / below / own
        return self.runs / self._real_id / options.scale.name / options.protocol.name / "results" / own

    @property
    def selection(self) -> str:
        """The name of the chosen domains if they are not exactly those of the table, else ""."""
        chosen = self.options.domains
        whole = {domain.name for domain in registry.chosen_domains(None, table=self.options.table.columns)}
        return "" if chosen is None or set(chosen) == whole else "-".join(chosen)

    @property
    def table(self) -> Path:
        """The folder of the table: `out` or the folder of results; a selection of domains has a folder of its own in
        the latter."""
        own = self.selection if self.options.out is None and not self.outside_table else ""
        return self.results / own

    @property
    def outside_table(self) -> bool:
        """Whether a chosen domain is outside the table."""
        columns = self.options.table.columns
        return any(columns not in registry.domain(name).tables for name in self.options.domains or ())
