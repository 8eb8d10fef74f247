"""One run: its options, where its data are, and where everything it makes is kept.

    runs/
      miniature/<domain>-<hash>/            the made-up data root of a domain
      prepared/<key>/                       prepared examples
      <data>/<scale>/<protocol>/
        checkpoints/<domain>/<method>/<variant>/seed-<n>/encoder.safetensors
        features/<key>.npz
        records/<domain>/<method>/<variant>/seed-<n>/<task>.json, <task>.parquet

`<data>` is `miniature-<hash of the domain's generator>`, or `real-<hash of the data root's path>`: adding a source to a
data root, or changing another domain's generator, makes nothing stale. What a checkpoint or record really read is in it
as a hash of the examples.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from dabs_rq import registry
from dabs_rq.data.examples import Examples
from dabs_rq.data.prepared import Store
from dabs_rq.data.requests import Request
from dabs_rq.data.streams import Stream
from dabs_rq.domain import Domain, Pretraining, Task
from dabs_rq.errors import MissingDataError, OptionError, unknown
from dabs_rq.files import atomic_folder, digest, only_one
from dabs_rq.miniature import write as miniature
from dabs_rq.run import options as config
from dabs_rq.run.options import Composed, RunOptions
from dabs_rq.spec import Input, Tokens

_AT_LEAST_ONE = (
    "pretrain.batch_size",
    "pretrain.max_examples",
    "pretrain.accumulate",
    "pretrain.checkpoint_every",
    "transfer.batch_size",
    "transfer.max_examples",
    "trainer.log_every",
    "trainer.threads",
    "trainer.devices",
    "trainer.nodes",
    "loader.processes",
    "suite.workers",
)


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
class Run:
    """Options composed from `words` ("key=value"), and what follows from them."""

    words: tuple[str, ...]
    composed: Composed

    @classmethod
    def of(cls, words: Sequence[str] = ()) -> Run:
        """Raises OptionError for options that do not exist or do not fit each other."""
        run = cls(tuple(words), config.compose(words))
        options = run.options
        if options.scale.name == "paper" and options.data is None:
            raise OptionError("scale=paper needs the real data: give data=/root (make: DATA=/root)")
        if options.data is not None and not Path(options.data).expanduser().is_dir():
            raise MissingDataError(
                f"the data root {options.data} is no folder. Below it are the sources in their published layouts; "
                "`python -m dabs_rq domains` tells which are expected where."
            )
        if options.table.published and (options.scale.name != "paper" or options.data is None):
            raise OptionError(
                "table.published=true needs scale=paper and real data (data=/root): the published numbers are of the "
                f"full budget on the published data, this run is of scale={options.scale.name} on {run.about_data}"
            )
        for name in options.methods:
            registry.method(name)
        for name in options.domains or ():
            registry.domain(name)
        if not options.seeds or len(set(options.seeds)) < len(options.seeds) or min(options.seeds) < 0:
            raise OptionError(f"seeds are different whole numbers from 0 on, such as seeds=[0,1]; got {options.seeds}")
        for key in _AT_LEAST_ONE:
            value = run.composed.values[key]
            if value is not None and value < 1:
                raise OptionError(f"{key} is at least 1; got {value}")
        return run

    def with_method(self, method: str, domain: str | None = None) -> Run:
        """The same options for another method (and domain): options of the old method are left out."""
        return Run.of(self.words_for(method, domain))

    def words_for(self, method: str, domain: str | None = None) -> tuple[str, ...]:
        """The words of `with_method`, which cost no composing."""
        kept = [word for word in self.words if not word.startswith(("method=", "method.", "domain="))]
        own = [word for word in self.words if word.startswith("method.")] if method == self.options.method.name else []
        domain = domain or self.options.domain
        return (*kept, f"method={method}", *([f"domain={domain}"] if domain else []), *own)

    def in_domain(self, domain: str) -> Run:
        """The same run for a domain, which costs no composing: no other option depends on the domain."""
        options = dataclasses.replace(self.options, domain=domain)
        words = self.words_for(options.method.name, domain)
        return Run(words, dataclasses.replace(self.composed, options=options))

    @property
    def options(self) -> RunOptions:
        return self.composed.options

    @cached_property
    def domain(self) -> Domain:
        if self.options.domain is None:
            raise OptionError(f"give a domain: domain={'|'.join(registry.domain_names())} (make: DOMAIN=)")
        return registry.domain(self.options.domain)

    @cached_property
    def inputs(self) -> tuple[Input, ...]:
        """The domain's inputs at this scale, with the vocabulary of the tokenizer that is there."""
        declared = self.domain.inputs[self.options.scale.name]  # type: ignore[index]
        if not any(isinstance(spec, Tokens) for spec in declared):
            return declared
        from dabs_rq.data.readers.tokenizer import with_vocabulary

        return with_vocabulary(declared, self.root, self.options.protocol)

    @cached_property
    def tasks(self) -> tuple[Task, ...]:
        """The chosen tasks of the domain, in table order."""
        names = [task.name for task in self.domain.tasks]
        wanted = self.options.tasks if self.options.tasks is not None else names
        for name in wanted:
            if name not in names:
                raise OptionError(unknown(f"task of domain {self.domain.name!r}", name, names))
        return tuple(task for task in self.domain.tasks if task.name in wanted)

    # ---- places ----

    @cached_property
    def runs(self) -> Path:
        return Path(self.options.runs).expanduser()

    @property
    def made_up(self) -> bool:
        return self.options.data is None

    @property
    def about_data(self) -> str:
        return "made-up miniature data" if self.made_up else f"data under {self.options.data}"

    @property
    def data_note(self) -> str:
        """What has to stand below every table of results."""
        if self.made_up:
            return "Made-up miniature data: these numbers say nothing about the published data sets."
        return f"Data under {self.options.data}."

    def data_id(self, domain: str) -> str:
        if self.options.data is not None:
            return f"real-{digest(str(Path(self.options.data).expanduser().resolve()))}"
        return f"miniature-{registry.miniature_version(domain) or 'none'}"

    @cached_property
    def root(self) -> Path:
        """The data root. The miniature is written when it is first asked for."""
        if self.options.data is not None:
            return Path(self.options.data).expanduser()
        name = self.domain.name
        generator = registry.miniature(name)
        root = self.runs / "miniature" / f"{name}-{registry.miniature_version(name)}"
        if not root.exists():
            with only_one(root):
                if not root.exists():
                    print(f"writing made-up miniature data for {name} to {root}")
                    with atomic_folder(root) as writing:
                        generator.write(writing, seed=miniature.SEED)
        miniature.complete(name, root)
        return root

    def folder(self, domain: str) -> Path:
        return self.runs / self.data_id(domain) / self.options.scale.name / self.options.protocol.name

    def identity(self, seed: int, *, of_pretraining: bool = False, method: str | None = None) -> Identity:
        variant = self.composed.variant(of_pretraining=of_pretraining)
        return self.identity_of(self.domain.name, method or self.options.method.name, variant, seed)

    def identity_of(self, domain: str, method: str, variant: str, seed: int) -> Identity:
        """That of another domain, method and variant of this data, scale and protocol."""
        scale, protocol = self.options.scale.name, self.options.protocol.name
        return Identity(self.data_id(domain), scale, protocol, domain, method, variant, seed)

    def checkpoint_folder(self, seed: int) -> Path:
        one = self.identity(seed, of_pretraining=True)
        return self.folder(one.domain) / "checkpoints" / one.domain / one.method / one.variant / f"seed-{seed}"

    def checkpoint_file(self, seed: int) -> Path:
        return self.checkpoint_folder(seed) / "encoder.safetensors"

    @property
    def features_folder(self) -> Path:
        return self.folder(self.domain.name) / "features"

    def records_folder(self, one: Identity) -> Path:
        return self.folder(one.domain) / "records" / one.domain / one.method / one.variant / f"seed-{one.seed}"

    @property
    def results(self) -> Path:
        """Where tables go: `out` if given, else results/ for the miniature and below runs/ for real data."""
        options = self.options
        if options.out is not None:
            return Path(options.out).expanduser()
        if self.made_up:
            below = Path() if options.protocol.name == "corrected" else Path(options.protocol.name)
            return Path("results") / options.scale.name / below
        return self.runs / self.data_id("") / options.scale.name / options.protocol.name / "results"

    # ---- examples ----

    @cached_property
    def store(self) -> Store:
        loader = self.options.loader
        processes = loader.processes or os.cpu_count() or 1
        return Store(self.runs / "prepared", loader.prepare, loader.cache_gb, processes)  # type: ignore[arg-type]

    def unlabelled(self, split: str) -> Examples | Stream:
        """The domain's pretraining source, at most `max_examples` of it, prepared as far as the options say."""
        declared = self.domain.pretraining
        request = self._request(split)
        loaded = declared.load(request)
        limit = self.options.pretrain.max_examples
        if isinstance(loaded, Stream):
            return loaded.sample(limit)
        self._check_size(request, declared, loaded)
        return self.prepare(loaded.sample(limit))

    def examples(self, task: Task, split: str) -> Examples:
        """One split of a task, at most `max_examples` of it, chosen before anything is decoded."""
        request = self._request(split)
        loaded = task.load(request)
        self._check_size(request, task, loaded)
        return loaded.sample(self.options.transfer.max_examples)

    def _check_size(self, request: Request, declared: Pretraining | Task, found: Examples) -> None:
        if (split := request.split) in declared.sizes:
            request.expect(f"{declared.source.title}, {split} examples", declared.sizes[split], len(found))

    def labelled(self, task: Task) -> tuple[Examples, Examples]:
        """A task's train and test split."""
        train, test = self.examples(task, "train"), self.examples(task, "test")
        if "all" in task.sizes and self.options.transfer.max_examples is None:
            found = len(train) + len(test)
            self._request("train").expect(f"{task.source.title}, all examples", task.sizes["all"], found)
        return train, test

    def prepare(self, examples: Examples) -> Examples:
        """The examples with their inputs decoded and kept, as far as the options say."""
        return examples.prepared(self.store.prepare)

    def _request(self, split: str) -> Request:
        return Request(
            root=self.root,
            split=split,
            inputs=self.inputs,
            protocol=self.options.protocol,
            prepare=self.store.prepare,
            strict=self.options.loader.strict,
            made_up=self.made_up,
        )


def announce(run: Run, what: str) -> None:
    """Say on what a command is about to work, before it starts, and take the threads it may have."""
    import torch

    if run.options.trainer.threads is not None:
        torch.set_num_threads(run.options.trainer.threads)
    options = run.options
    print(f"{what}: {run.about_data}, scale={options.scale.name}, protocol={options.protocol.name}", flush=True)
