"""What a domain is: its inputs, the source it pretrains on and its labelled tasks. A domain folder declares one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path

from PIL import Image

from dabs_rq.data.examples import Examples
from dabs_rq.data.requests import Request
from dabs_rq.data.streams import Stream
from dabs_rq.errors import OptionError
from dabs_rq.files import digest
from dabs_rq.metrics import misfit
from dabs_rq.protocol import Protocol
from dabs_rq.spec import Input, Source, TableName, Target


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """The source that a domain pretrains on.

    load: reads the splits "train" and "validation"; targets may be None. A source too large to index is a stream.
    sizes: the example counts of the real data, by split, without counts that depend on a protocol option; "all" counts
    both splits together. whole: opens the whole picture of a file, in RGB, if the one input is a part of it.
    """

    source: Source
    load: Callable[[Request], Examples | Stream]
    sizes: Mapping[str, int] = field(default_factory=dict)
    whole: Callable[[Path], Image.Image] | None = None


@dataclass(frozen=True, kw_only=True)
class Task:
    """One labelled task, which is one row of the table.

    load: reads the splits "train", "test" and `extra_splits`. row: the title in the published table. sizes: the example
    counts of the real data, by split; "all" counts train and test together where a protocol option divides them. also:
    further metrics that a record holds. note: the footnote of the row. published_comparable: False if the published
    scores are of other data. in_place_of: the name of the domain's own task for which this task of another set of
    sources stands in, on other data. unused_outputs: the number of outputs beyond the classes that DABS trains; they
    are used only under the protocol option of that name. batch_size: of the probe, and of scores that are averaged over
    batches; None for the domain's. whole: as that of `Pretraining`.
    """

    name: str
    row: str
    source: Source
    target: Target
    metric: str
    load: Callable[[Request], Examples]
    sizes: Mapping[str, int] = field(default_factory=dict)
    extra_splits: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    note: str | None = None
    published_comparable: bool = True
    in_place_of: str | None = None
    unused_outputs: int = 0
    batch_size: int | None = None
    whole: Callable[[Path], Image.Image] | None = None

    def __post_init__(self) -> None:
        if self.in_place_of and self.published_comparable:
            raise ValueError(f"task {self.name!r} stands in for {self.in_place_of!r}: set published_comparable=False")
        for metric in (self.metric, *self.also):
            if problem := misfit(metric, self.target):
                raise ValueError(f"task {self.name!r}: {problem}")


@dataclass(frozen=True, kw_only=True)
class Installed:
    """Real data that come with installed packages, so every machine has them and no data root is needed.

    packages: the names of the packages. write: writes the sources into an empty folder; equal packages give equal
    bytes. version: names what `write` does; change it whenever it would write other bytes.
    """

    packages: tuple[str, ...]
    write: Callable[[Path], None]
    version: str

    @property
    def about(self) -> str:
        """The packages with their installed versions."""
        return ", ".join(f"{package} {metadata.version(package)}" for package in self.packages)

    @property
    def key(self) -> str:
        """Identity of the data: the versions of the packages and of `write`."""
        return digest(self.version, self.about)


@dataclass(frozen=True, kw_only=True)
class SourceSet:
    """What a domain pretrains on, and its tasks in table order, with other sources than its own."""

    pretraining: Pretraining
    tasks: tuple[Task, ...]


@dataclass(frozen=True, kw_only=True)
class Domain:
    """One domain.

    inputs: name of a set of inputs -> the inputs; a scale chooses the set. tasks: in table order. batch_size: as in
    DABS. other_sources: name of a set of sources -> the set; a scale may choose one in place of `pretraining` and
    `tasks`. A name of a task means the same target and metric in every set. protocol: declares the protocol options of
    the domain's own data. installed: where the data come from if they come with packages; None if they lie under a data
    root. tables: the published tables that its rows belong to; elsewhere the domain is computed and shown only if it is
    chosen by name.
    """

    name: str
    title: str
    inputs: Mapping[str, tuple[Input, ...]]
    pretraining: Pretraining
    tasks: tuple[Task, ...]
    batch_size: int
    other_sources: Mapping[str, SourceSet] = field(default_factory=dict)
    protocol: type[Protocol] = Protocol
    installed: Installed | None = None
    tables: tuple[TableName, ...] = ("rq", "dabs2")

    def __post_init__(self) -> None:
        own = [task.name for task in self.tasks]
        first: dict[str, Task] = {}
        for tasks in self._task_sets:
            names = [task.name for task in tasks]
            if duplicates := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"domain {self.name!r} declares these tasks twice: {', '.join(duplicates)}")
            for task in tasks:
                same = first.setdefault(task.name, task)
                if (task.target, task.metric) != (same.target, same.metric):
                    raise ValueError(f"domain {self.name!r}: task {task.name!r} differs between sets of sources")
                if task.in_place_of and self.other_sources and task.in_place_of not in own:
                    raise ValueError(f"domain {self.name!r} has no task {task.in_place_of!r} to stand in for")

    @property
    def _task_sets(self) -> tuple[tuple[Task, ...], ...]:
        return (self.tasks, *(chosen.tasks for chosen in self.other_sources.values()))

    def probe_batch(self, task: Task, chosen: int | None) -> int:
        """Return the batch size of a task's probe, and of scores that are averaged over batches: `chosen`, else the
        task's, else the domain's."""
        return chosen or task.batch_size or self.batch_size

    def has_sources(self, name: str | None) -> bool:
        """Return whether the domain has the set of sources of that name; None names its own."""
        return name is None or self.installed is not None or name in self.other_sources

    def with_sources(self, name: str | None) -> Domain:
        """Return the domain with the set of sources of that name; None keeps its own.

        Data that come with packages are the same everywhere. Raises OptionError if the domain has no such set.
        """
        if name is None or self.installed is not None:
            return self
        if not self.has_sources(name):
            known = ", ".join(self.other_sources) or "none"
            raise OptionError(
                f"domain {self.name!r} has no set of sources {name!r} (other_sources: {known}), which the scale asks "
                "for. Declare one, or choose other domains with domain=..."
            )
        chosen = self.other_sources[name]
        return replace(self, pretraining=chosen.pretraining, tasks=chosen.tasks, other_sources={})

    def task(self, name: str) -> Task | None:
        """Return the task of that name of any set of sources, the domain's own first; None if there is none."""
        return next((task for tasks in self._task_sets for task in tasks if task.name == name), None)
