"""Where a run keeps what it makes. Nothing here reads or writes a file.

    runs/
      miniature/<domain>-<hash>/            the made-up data root of a domain
      prepared/<key>/                       prepared examples
      logs/                                 what the jobs of suites print
      <data>/<scale>/<protocol>/
        checkpoints/<domain>/<method>/<variant>/seed-<n>/encoder.safetensors
        features/<key>.npz
        records/<domain>/<method>/<variant>/seed-<n>/<task>.json, <task>.parquet

`<data>` is `miniature-<hash of the domain's generator>`, or `real-<hash of the data root's path>`: adding a source to a
data root, or changing another domain's generator, makes nothing stale. What a checkpoint or record really read is in it
as a hash of the examples.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dabs_rq import registry
from dabs_rq.files import digest
from dabs_rq.run.options import Options


class Identity(NamedTuple):
    """What identifies a result, apart from its task: the parts of its path."""

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

    @property
    def runs(self) -> Path:
        return self.options.runs.expanduser()

    @property
    def data(self) -> Path | None:
        """The root of the real data; None where the miniature is used."""
        return None if self.options.data is None else self.options.data.expanduser()

    @property
    def logs(self) -> Path:
        return self.runs / "logs"

    @property
    def prepared(self) -> Path:
        return self.runs / "prepared"

    def miniature(self, domain: str) -> Path:
        return self.runs / "miniature" / f"{domain}-{registry.miniature_version(domain)}"

    def data_id(self, domain: str) -> str:
        if self.data is not None:
            return f"real-{digest(str(self.data.resolve()))}"
        return f"miniature-{registry.miniature_version(domain) or 'none'}"

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
        return self._of("records", identity)

    def checkpoints(self, identity: Identity) -> Path:
        return self._of("checkpoints", identity)

    def _of(self, kind: str, identity: Identity) -> Path:
        below = self.folder(identity.domain) / kind / identity.domain / identity.method / identity.variant
        return below / f"seed-{identity.seed}"

    @property
    def results(self) -> Path:
        """Where tables go: `out` if given, else results/ for the miniature and below runs/ for real data."""
        options = self.options
        if options.out is not None:
            return options.out.expanduser()
        if self.data is None:
            below = Path() if options.protocol.name == "corrected" else Path(options.protocol.name)
            return Path("results") / options.scale.name / below
        return self.runs / self.data_id("") / options.scale.name / options.protocol.name / "results"
