"""A run: its options, and the objects and paths that follow from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from dabs_rq import registry
from dabs_rq.data.crops import Crops
from dabs_rq.domain import Domain, Task
from dabs_rq.errors import MissingDataError, OptionError, unknown
from dabs_rq.files import write_once
from dabs_rq.miniature import write as miniature
from dabs_rq.run import words as command_line
from dabs_rq.run.compose import Composed, compose
from dabs_rq.run.options import Chosen, Options
from dabs_rq.run.places import Identity, Places
from dabs_rq.run.processes import about_workers
from dabs_rq.run.splits import Splits
from dabs_rq.run.substitutions import substitutions
from dabs_rq.spec import Input, Tokens

# Only some methods, encoders or domains declare these; `replace` drops them if it chooses others.
_DECLARED_BY_CHOICE = ("method.", "protocol.", "encoder.")


@dataclass(frozen=True)
class Run:
    """A run. given: option -> value, JSON-able. composed: the options composed from it.

    A run can be pickled: unpickling composes it again, plug-ins included.
    """

    given: Mapping[str, Any]
    composed: Composed

    @classmethod
    def of(cls, words: Iterable[str] = ()) -> Run:
        """Make the run of a command line's words. Raises OptionError for unknown or illegal options."""
        return cls.compose(command_line.parse(words))

    @classmethod
    def compose(cls, given: Mapping[str, Any], lenient: Iterable[str] = ()) -> Run:
        """Make the run of options by name. Raises OptionError, or MissingDataError if the data root is no folder."""
        run = cls(dict(given), compose(given, lenient=lenient))
        run._check()
        return run

    def replace(self, options: Mapping[str, Any] | None = None, /, **names: Any) -> Run:
        """Change options and check again: `run.replace({"pretrain.steps": 5}, domain="text")`.

        None restores the default of an option. Options of a method or domain that is no longer chosen are dropped.
        """
        changes = {**names, **(options or {})}
        unchanged = {key: value for key, value in self.given.items() if key not in changes}
        lenient = [key for key in unchanged if key.startswith(_DECLARED_BY_CHOICE)]
        given = unchanged | {key: value for key, value in changes.items() if value is not None}
        given |= {key: [given[key]] for key in ("domain", "method") if isinstance(given.get(key), str)}
        run = Run.compose(given, lenient)
        used = run.composed.values.keys() | {"scale", "protocol", "encoder", "method"}
        methods = {f"method.{name}" for method in run.options.methods for name in vars(method.options)}
        return Run({key: value for key, value in given.items() if key in used | methods}, run.composed)

    def of_one_method(self) -> Run:
        """Choose the run's method if it is the default, so that the run has the options of this method alone.

        Raises OptionError for several methods, and for options of another method.
        """
        name = self.method.name
        return self if self.options.method_given else Run.compose({**self.given, "method": [name]})

    def __reduce__(self) -> Any:
        return Run.compose, (dict(self.given),)

    @property
    def words(self) -> tuple[str, ...]:
        """The words of the command line for this run."""
        return command_line.to_words(self.given)

    def _check(self) -> None:
        options = self.options
        if options.scale.needs_real_data and self.made_up:
            raise OptionError(f"scale={options.scale.name} needs the real data: give data=/root (make: DATA=/root)")
        if (root := self.places.data) is not None and not root.is_dir():
            raise MissingDataError(
                f"the data root {options.data} is not a folder. Below it are the sources in their published layouts; "
                "`python -m dabs_rq domains` lists which are expected where."
            )
        for name, folder in (("runs", self.places.runs), ("out", self.places.results)):
            try:
                file = next((part for part in (folder, *folder.parents) if part.exists()), folder)
            except OSError as error:
                raise OptionError(f"{name} is no path: {error.strerror}. Give a folder.") from error
            if not file.is_dir():
                raise OptionError(f"{name}={folder} leads through a file, {file}; give a folder")
        if options.table.published and not self.published_compares:
            raise OptionError(
                "table.published=true needs a scale of the full budget (scale=paper) and real data (data=/root), like "
                f"the published numbers; this run has scale={options.scale.name} on {self.about_data}"
            )

    # ---- choices ----

    @property
    def options(self) -> Options:
        return self.composed.options

    @property
    def values(self) -> dict[str, Any]:
        """Every option of this run's method and domain by its name, JSON-able."""
        return self.composed.values

    @property
    def methods(self) -> tuple[str, ...]:
        return tuple(method.name for method in self.options.methods)

    @property
    def method(self) -> Chosen:
        """The run's method, by default rq. Raises OptionError if several were given."""
        if self.options.method_given and len(self.options.methods) > 1:
            raise OptionError(f"give one method: method={'|'.join(self.methods)} (make: METHOD=)")
        return self.options.method

    @cached_property
    def domains(self) -> tuple[Domain, ...]:
        """The chosen domains, by default those of the table, with the sources of the scale."""
        options = self.options
        return registry.chosen_domains(options.domains, options.scale.sources, options.table.columns)

    @cached_property
    def domain(self) -> Domain:
        """The run's domain. Raises OptionError unless exactly one was given."""
        names = self.options.domains or ()
        if len(names) != 1:
            raise OptionError(f"give one domain: domain={'|'.join(names or registry.domain_names())} (make: DOMAIN=)")
        return self.domain_called(names[0])

    def domain_called(self, name: str) -> Domain:
        """Return a domain with the sources of the scale."""
        return registry.domain(name, self.options.scale.sources)

    def whole_crops(self, method: Chosen, domain: Domain) -> Crops | None:
        """Return the random crops of whole pictures that a method trains on; None if it trains on the inputs."""
        declared = registry.method(method.name).crops
        if declared is None or domain.pretraining.whole is None:
            return None
        return declared(method.options, self.inputs_of(domain))

    @property
    def batch_size(self) -> int:
        """Examples of a batch of pretraining, over all devices."""
        return self.options.pretrain.batch_size or self.domain.batch_size

    @cached_property
    def inputs(self) -> tuple[Input, ...]:
        """The domain's inputs at this scale, with the vocabulary of the installed tokenizer."""
        declared = self.inputs_of(self.domain)
        if not any(isinstance(spec, Tokens) for spec in declared):
            return declared
        from dabs_rq.data.readers import hub
        from dabs_rq.data.readers.tokenizer import with_vocabulary

        hub.set_timeout(self.options.network.hub_timeout)
        return with_vocabulary(declared, self.root, self.options.protocol)

    def inputs_of(self, domain: Domain) -> tuple[Input, ...]:
        """Return a domain's declared inputs at this scale. Raises OptionError if the domain has none."""
        name = self.options.scale.inputs
        if name not in domain.inputs:
            raise OptionError(
                f"scale {self.options.scale.name!r} uses the inputs {name!r}, which domain {domain.name!r} does not "
                f"declare; it declares {', '.join(domain.inputs)}"
            )
        return domain.inputs[name]

    def tokenizers_of(self, domain: Domain) -> tuple[str, ...]:
        """Return the names of the tokenizers that a domain's inputs need; none for data of installed packages,
        which bring theirs."""
        if domain.installed is not None:
            return ()
        names = [spec.tokenizer for spec in self.inputs_of(domain) if isinstance(spec, Tokens) and spec.tokenizer]
        return tuple(dict.fromkeys(names))

    @cached_property
    def tasks(self) -> tuple[Task, ...]:
        """The chosen tasks of the domain, in table order."""
        names = [task.name for task in self.domain.tasks]
        chosen = self.options.tasks if self.options.tasks is not None else names
        for name in chosen:
            if name not in names:
                raise OptionError(unknown(f"task of domain {self.domain.name!r}", name, names))
        return tuple(task for task in self.domain.tasks if task.name in chosen)

    # ---- data ----

    @property
    def made_up(self) -> bool:
        """Whether the data of any chosen domain are made up."""
        return self.options.data is None and any(domain.installed is None for domain in self.domains)

    @property
    def real(self) -> bool:
        """Whether the data of any chosen domain are real."""
        return self.options.data is not None or any(domain.installed is not None for domain in self.domains)

    @property
    def published_compares(self) -> bool:
        """Whether this run's scores can be compared with the published ones."""
        return self.options.scale.published_compares and not self.made_up

    @property
    def about_data(self) -> str:
        made_up = "made-up miniature data" if self.options.data is None else f"data under {self.options.data}"
        kinds = {made_up if domain.installed is None else "real data of installed packages" for domain in self.domains}
        return " and ".join(sorted(kinds))

    @property
    def data_note(self) -> str:
        """The note about the data below every table of results."""
        others = [domain.title for domain in self.domains if domain.installed is None]
        installed = [f"{one.title} ({one.installed.about})" for one in self.domains if one.installed is not None]
        which = f" ({', '.join(others)})" if others and installed else ""
        notes = []
        if others and self.options.data is None:
            notes.append(f"Made-up miniature data{which}: these numbers say nothing about the published data sets.")
        elif others:
            notes.append(f"Data under {self.options.data}{which}.")
        if installed:
            notes.append(f"Real data that come with the installed packages: {', '.join(installed)}.")
        return " ".join(notes)

    @cached_property
    def source_notes(self) -> tuple[str, ...]:
        """Notes about sources in place of those of the published table; empty if the scale names no other sources."""
        said = [note for used in self.domains for note in substitutions(registry.domain(used.name), used)]
        if not said:
            return ()
        scale = self.options.scale.name
        return (
            f"Scale {scale} has other sources, inputs and budgets than the published table: these are not its rows.",
            *said,
        )

    @cached_property
    def root(self) -> Path:
        """The data root: of several domains, the one that `data` names. The miniature, and data of installed packages,
        are written on first use."""
        if (data := self.places.data) is not None and any(domain.installed is None for domain in self.domains):
            return data
        if (installed := self.domain.installed) is not None:
            root = self.places.installed(self.domain)
            write_once(root, installed.write, f"reading {self.domain.name} from {installed.about} to {root}")
            return root
        root = self.places.miniature(self.domain.name)
        miniature.ensure(self.domain.name, root)
        return root

    @cached_property
    def splits(self) -> Splits:
        return Splits(self.options, self.domain, self.inputs, self.root, self.places.prepared)

    # ---- places ----

    @cached_property
    def places(self) -> Places:
        return Places(self.options)

    def identity(self, seed: int, *, of_pretraining: bool = False, method: str | None = None) -> Identity:
        """Identify a result of this run's domain, method and variant. method: replaces the method's name."""
        variant = self.composed.variant(of_pretraining=of_pretraining)
        return self.places.identity(self.domain.name, method or self.method.name, variant, seed)

    def checkpoint_folder(self, seed: int) -> Path:
        return self.places.checkpoints(self.identity(seed, of_pretraining=True))

    def checkpoint_file(self, seed: int) -> Path:
        return self.checkpoint_folder(seed) / "encoder.safetensors"

    def record_file(self, task: str, seed: int) -> Path:
        return self.places.records(self.identity(seed)) / f"{task}.json"


def announce(run: Run, what: str) -> None:
    """Print what a command is about to do and on which data, and set the number of threads."""
    import torch

    if run.options.trainer.threads is not None:
        torch.set_num_threads(run.options.trainer.threads)
    options = run.options
    print(f"{what}: {run.about_data}, scale={options.scale.name}, protocol={options.protocol.name}", flush=True)
    if chosen := about_workers(options):
        print(chosen, flush=True)
