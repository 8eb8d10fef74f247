"""Loads the examples of a run's domain: limits them, checks their counts and prepares them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dabs_rq.data.crops import Crops
from dabs_rq.data.examples import Examples
from dabs_rq.data.prepared import Store
from dabs_rq.data.readers import hub
from dabs_rq.data.requests import Request
from dabs_rq.data.streams import Stream
from dabs_rq.domain import Domain, Pretraining, Task
from dabs_rq.run.options import Options
from dabs_rq.run.processes import processors
from dabs_rq.spec import Input


@dataclass(frozen=True)
class Splits:
    """The splits of one domain. inputs: the domain's at the run's scale. root: the data root: real, miniature or of
    installed data. prepared: the folder of the prepared cache."""

    options: Options
    domain: Domain
    inputs: tuple[Input, ...]
    root: Path
    prepared: Path

    @cached_property
    def store(self) -> Store:
        loader = self.options.loader
        return Store(self.prepared, loader.prepare, loader.cache_gb, loader.processes or processors())

    def unlabelled(self, split: str, crops: Crops | None = None) -> Examples | Stream:
        """Load at most `max_examples` of the domain's pretraining source, prepared as loader.prepare says.

        crops: of whole pictures, in place of the inputs; nothing is prepared then.
        """
        declared = self.domain.pretraining
        request = self.request(split)
        loaded = declared.load(request)
        limit = self.options.pretrain.max_examples
        if isinstance(loaded, Stream):
            return loaded.sample(limit)
        self._check_size(request, declared, loaded)
        sampled = loaded.sample(limit)
        if crops is not None and declared.whole is not None:
            return sampled.cropped(crops, declared.whole)
        return self.prepare(sampled)

    def of_task(self, task: Task, split: str) -> Examples:
        """Load at most `max_examples` of a task's split, chosen before anything is decoded."""
        request = self.request(split)
        loaded = task.load(request)
        self._check_size(request, task, loaded)
        return loaded.sample(self.options.transfer.max_examples)

    def labelled(self, task: Task) -> tuple[Examples, Examples]:
        """Load a task's train and test splits."""
        train, test = self.of_task(task, "train"), self.of_task(task, "test")
        if "all" in task.sizes and self.options.transfer.max_examples is None:
            count = len(train) + len(test)
            self.request("train").expect(f"{task.source.title}, all examples", task.sizes["all"], count)
        return train, test

    def prepare(self, examples: Examples) -> Examples:
        """Return the examples with prepared inputs, as loader.prepare says."""
        return examples.prepared(self.store.prepare)

    def _check_size(self, request: Request, declared: Pretraining | Task, examples: Examples) -> None:
        if (split := request.split) in declared.sizes:
            request.expect(f"{declared.source.title}, {split} examples", declared.sizes[split], len(examples))

    def request(self, split: str) -> Request:
        """Make the request for a reader of the domain."""
        hub.set_timeout(self.options.network.hub_timeout)
        return Request(
            root=self.root,
            split=split,
            inputs=self.inputs,
            protocol=self.options.protocol,
            prepare=self.store.prepare,
            strict=self.options.loader.strict,
            jpeg=self.options.loader.jpeg,
            made_up=self.options.data is None and self.domain.installed is None,
        )
