"""What a domain is: its inputs, the source it pretrains on and its labelled tasks. A domain folder declares one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from dabs_rq.data.examples import Examples
from dabs_rq.data.requests import Request
from dabs_rq.data.streams import Stream
from dabs_rq.protocol import Protocol
from dabs_rq.spec import Input, MetricName, Source, Target


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """The unlabelled source of a domain. `load` reads splits "train" and "validation"; targets may be None. A source
    too large to index is loaded as a stream.

    `sizes` are the example counts of the real data, by split; what a protocol option decides is left out.
    """

    source: Source
    load: Callable[[Request], Examples | Stream]
    sizes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Task:
    """One labelled task, one row of the table. `load` reads splits "train", "test" and `extra_splits`.

    `row` is the title in the published table. `sizes` are the example counts of the real data by split, with "all" for
    train and test together where a protocol option decides between them. `also` are metrics that a record has beside
    the table's, `note` what a reader of the table has to know about the row; `published_comparable` is False where
    the published scores are of other data. `unused_outputs` are the outputs beyond
    the classes that DABS trains (they take part only under that protocol option).
    """

    name: str
    row: str
    source: Source
    target: Target
    metric: MetricName
    load: Callable[[Request], Examples]
    sizes: Mapping[str, int] = field(default_factory=dict)
    extra_splits: tuple[str, ...] = ()
    also: tuple[MetricName, ...] = ()
    note: str | None = None
    published_comparable: bool = True
    unused_outputs: int = 0

    def __post_init__(self) -> None:
        for metric in (self.metric, *self.also):
            if metric not in self.target.metrics:
                raise ValueError(
                    f"task {self.name!r}: metric {metric!r} does not fit a {type(self.target).__name__} target, "
                    f"which takes {' or '.join(self.target.metrics)}"
                )


@dataclass(frozen=True, kw_only=True)
class Domain:
    """One domain.

    inputs: name of a set of inputs -> the inputs; a scale says which set it uses. tasks: in table order.
    batch_size: DABS's. protocol: the protocol options that concern the domain's own data.
    """

    name: str
    title: str
    inputs: Mapping[str, tuple[Input, ...]]
    pretraining: Pretraining
    tasks: tuple[Task, ...]
    batch_size: int
    protocol: type[Protocol] = Protocol

    def __post_init__(self) -> None:
        names = [task.name for task in self.tasks]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"domain {self.name!r} declares these tasks twice: {', '.join(twice)}")
