"""Composes an `Options` object from declarations, configs/scale, configs/protocol and the options given by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from dabs_rq import registry
from dabs_rq.errors import OptionError, unknown
from dabs_rq.files import digest
from dabs_rq.plugins import once
from dabs_rq.protocol import COLUMNS, Protocol, combined, option_fields
from dabs_rq.run import tables
from dabs_rq.run.names import check_names, with_network
from dabs_rq.run.options import GROUPS, PATHS, Chosen, Names, Options, Scale
from dabs_rq.run.unknown import unknown_option
from dabs_rq.run.values import flat
from dabs_rq.typed import checked, field_names

if TYPE_CHECKING:
    from dabs_rq.methods.base import MethodSpec

CONFIGS: Path = registry.PACKAGE / "configs"
# Options of a group that affects results, but on which no result depends.
_NO_EFFECT = ("pretrain.checkpoint_every", "transfer.also")
_BY_NAME = ("encoders", "methods")  # keys of a scale: options of the encoder or method of a name
# The options that choose which others there are, and their defaults.
_CHOICES = ("scale", "protocol", "method", "domain", "table.columns")


@dataclass(frozen=True)
class Composed:
    """Composed options.

    options: checked. values: every option of one domain and method by name, JSON-able. overridden: the values that
    differ from the defaults of the scale, the protocol, the method and the encoder.
    """

    options: Options
    values: dict[str, Any]
    overridden: dict[str, Any]

    @property
    def ineffective(self) -> tuple[str, ...]:
        """The prefixes of options that do not affect a network that is scored as it is; () for a run of methods."""
        if not self.options.scores_network:
            return ()
        return ("method.", "pretrain.", "trainer.", *(() if self.options.builds_network else ("encoder.",)))

    @property
    def recorded(self) -> dict[str, Any]:
        """The values that a record holds: all but those of `ineffective` groups."""
        return {key: value for key, value in self.values.items() if not key.startswith(self.ineffective)}

    @cached_property
    def declared(self) -> dict[str, Any]:
        """The defaults in the code, whatever configs/scale says, of the options of groups, of the method and of the
        encoder. Those that follow the protocol have no default of their own."""
        chosen = {group: getattr(self.options, group) for group in GROUPS}
        chosen |= {"method": self.options.method.options, "encoder": self.options.encoder.options}
        return {
            f"{group}.{option.name}": list(option.default) if isinstance(option.default, tuple) else option.default
            for group, options in chosen.items()
            for option in fields(options)
            if option.default is not MISSING and "protocol" not in option.metadata
        }

    def variant(self, *, of_pretraining: bool) -> str:
        """Name the variant: "default" if no option that affects the numbers is overridden, else a hash of those."""
        changed = self.changed(of_pretraining=of_pretraining)
        return digest(changed) if changed else "default"

    def changed(self, *, of_pretraining: bool) -> dict[str, Any]:
        """Return every overridden option that affects the checkpoint or, unless `of_pretraining`, the score."""
        return self.affecting_results(self.overridden, of_pretraining=of_pretraining)

    def affecting_results(self, values: Mapping[str, Any], *, of_pretraining: bool) -> dict[str, Any]:
        """Select the options in `values` that affect the checkpoint or, unless `of_pretraining`, the score."""
        acts = {f"protocol.{name}" for name in self.options.protocol.acting_on("pretraining", "data")}
        return {
            key: value
            for key, value in values.items()
            if key not in _NO_EFFECT
            and not key.startswith(self.ineffective)
            and (
                key in acts
                or key.startswith(("encoder.", "pretrain.", "method."))
                or key in ("trainer.precision", "trainer.matmul", "trainer.gather_negatives", "loader.jpeg")
                or (not of_pretraining and key.startswith(("transfer.", "protocol.")))
            )
        }


def compose(given: Mapping[str, Any], *, lenient: Iterable[str] = ()) -> Composed:
    """Compose options from the configs and `given` (name -> value, not checked).

    lenient: names to ignore if the chosen methods and domains do not declare them.
    Raises OptionError for an unknown option or name, and for a value that is not legal.
    """
    options, values = _compose(given, frozenset(lenient))
    chosen = {key: given[key] for key in _CHOICES if key in given}
    if options.scores_network:
        chosen["method"] = ["none"]
    state = tuple(choices(group)[getattr(options, group).name].stat().st_mtime_ns for group in ("scale", "protocol"))
    known = _defaults(tuple((key, tuple(v) if isinstance(v, list) else v) for key, v in chosen.items()), state)
    overridden = {key: value for key, value in values.items() if key not in known or known[key] != value}
    return Composed(options, values, overridden)


@once
def _defaults(choices: tuple[tuple[str, Any], ...], _: tuple[int, ...]) -> Mapping[str, Any]:
    """Compose the values of every option that nobody gave. _: when the files in configs/ last changed."""
    return _compose(dict(choices), frozenset())[1]


def _compose(given: Mapping[str, Any], lenient: frozenset[str]) -> tuple[Options, dict[str, Any]]:
    names = checked(
        Names, {key: value for key, value in given.items() if "." not in key and key in field_names(Names)}, ""
    )
    check_names(names)
    unique = {
        key: tuple(dict.fromkeys(value))
        for key in ("method", "domain", "tasks", "encoders")
        if (value := getattr(names, key))
    }
    names = dataclasses.replace(names, **unique)
    scale, budgets, of_scale = _scale(names.scale)
    names = with_network(names)
    table = tables.chosen(budgets, given)
    method_names = names.method if names.method is not None else tables.methods(table)
    specs = [registry.method(name) for name in method_names]
    domains = registry.chosen_domains(names.domain, table=table)
    protocol_type = combined((*(domain.protocol for domain in domains), *(spec.protocol for spec in specs)))
    encoder_name = _encoder_name(names.encoder, specs)
    encoder_type = registry.encoder(encoder_name).options
    known = _known_names(protocol_type, encoder_type, [spec.options for spec in specs])
    for key in given:
        if key in ("scale.name", "protocol.name", "method.name", "encoder.name"):
            raise OptionError(f"{key} follows from the choice: give {key.removesuffix('.name')}=... instead")
        if key not in known and key not in lenient:
            raise unknown_option(key, known)

    protocol = _protocol(names.protocol, protocol_type, given)
    encoder_options = {**of_scale["encoders"].get(encoder_name, {}), **_declared_by(encoder_type, given, "encoder")}
    encoder = checked(encoder_type, encoder_options, "encoder.")
    groups = {}
    for group, kind in GROUPS.items():
        settings = {**_from_protocol(kind, protocol), **budgets.get(group, {}), **_in_group(given, group)}
        groups[group] = checked(kind, settings, f"{group}.")
    methods = []
    for spec in specs:
        own = {**of_scale["methods"].get(spec.name, {}), **_declared_by(spec.options, given, "method")}
        options = checked(spec.options, {**_from_protocol(spec.options, protocol), **own}, "method.")
        methods.append(Chosen(spec.name, options))
    options = Options(
        scale=scale,
        protocol=protocol,
        encoder=Chosen(encoder_name, encoder),
        methods=tuple(methods),
        method_given=names.method is not None,
        domains=names.domain,
        **{name: getattr(names, name) for name in ("tasks", "seeds", "name", "encoders", *PATHS)},
        **groups,
    )
    return options, flat(options)


def _encoder_name(given: str, methods: Sequence[MethodSpec]) -> str:
    """Return the encoder of a run: the given one, unless all methods have the same fixed one."""
    fixed = {spec.fixed_encoder for spec in methods}
    return next(iter(fixed)) or given if len(fixed) == 1 else given


def _known_names(protocol: type[Any], encoder: type[Any], methods: Iterable[type[Any]]) -> list[str]:
    known = [*field_names(Names)]
    known += [f"protocol.{name}" for name in field_names(protocol) if name != "name"]
    known += [f"encoder.{name}" for name in field_names(encoder)]
    known += [f"{group}.{name}" for group, kind in GROUPS.items() for name in field_names(kind)]
    return known + [f"method.{name}" for kind in methods for name in field_names(kind)]


def _in_group(given: Mapping[str, Any], group: str) -> dict[str, Any]:
    """Return the options of a group, without its prefix."""
    prefix = f"{group}."
    return {key.removeprefix(prefix): value for key, value in given.items() if key.startswith(prefix)}


def _declared_by(kind: type[Any], given: Mapping[str, Any], group: str) -> dict[str, Any]:
    """Return the options of a group that `kind` declares, without the group's prefix."""
    return {key: value for key, value in _in_group(given, group).items() if key in field_names(kind)}


def _from_protocol(kind: type[Any], protocol: Protocol) -> dict[str, Any]:
    """Return the options whose default the protocol sets."""
    defaults = {}
    for declared in fields(kind):
        if source := declared.metadata.get("protocol"):
            if not hasattr(protocol, source):
                raise OptionError(
                    f"option {declared.name!r} of {kind.__module__} follows the protocol option {source!r}, which no "
                    "chosen domain or method declares: declare it with MethodSpec(protocol=...)"
                )
            defaults[declared.name] = getattr(protocol, source)
    return defaults


# ---- configs -----------------------------------------------------------------------------------------------------


def choices(group: str) -> dict[str, Path]:
    """List the scales or protocols in configs/: name -> file."""
    return {path.stem: path for path in sorted((CONFIGS / group).glob("*.yaml"))}


def read(group: str, name: str) -> tuple[Path, dict[str, Any]]:
    """Read a file of configs/. Raises OptionError if it is unknown, or no mapping in YAML."""
    known = choices(group)
    if name not in known:
        raise OptionError(unknown(group, name, known))
    return known[name], _loaded(known[name], known[name].stat().st_mtime_ns)


@cache
def _loaded(file: Path, _: int) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise OptionError(f"{file} is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise OptionError(f"{file}: expected a mapping, found {type(content).__name__}")
    return content


def scales(inputs: str) -> list[str]:
    """List the scales that use the set of inputs of that name."""
    return [name for name in choices("scale") if _scale(name)[0].inputs == inputs]


def sources_of(scale: str) -> str | None:
    """Return the set of sources that a scale names; None for the domains' own."""
    return _scale(scale)[0].sources


def _scale(name: str) -> tuple[Scale, dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Read a scale, its budgets by group, and its options of encoders and of methods by name."""
    file, content = read("scale", name)
    facts = {key: content.get(key) for key in field_names(Scale) if key != "name"}
    problems = [f"unknown {key}" for key in content if key not in (*facts, *_BY_NAME, *GROUPS)]
    problems += [f"missing {key}" for key, value in facts.items() if value is None and key != "sources"]
    for group, kind in GROUPS.items():
        problems += [f"unknown {group}.{key}" for key in content.get(group, {}) if key not in field_names(kind)]
    if problems:
        raise OptionError(f"{file}: {'; '.join(problems)}. configs/scale/mini.yaml shows the form.")
    scale = checked(Scale, {"name": name, **facts}, f"{file}: ")
    budgets = {group: content.get(group, {}) for group in GROUPS}
    return scale, budgets, {kind: content.get(kind, {}) for kind in _BY_NAME}


def _protocol(name: str, kind: type[Protocol], given: Mapping[str, Any]) -> Protocol:
    file, content = read("protocol", name)
    like = content.get("like")
    if like not in COLUMNS:
        raise OptionError(f"{file}: `like` is one of {', '.join(COLUMNS)}; got {like!r}")
    values = {field.name: field.metadata[like] for field in option_fields(kind)}
    values |= {key: value for key, value in content.items() if key in values}
    return checked(kind, {**values, **_declared_by(kind, given, "protocol"), "name": name}, "protocol.")


def load_protocol(name: str, kind: type[Protocol] | None = None) -> Protocol:
    """Load a protocol, by default with the options of every domain and method."""
    if kind is None:
        of_domains = (domain.protocol for domain in registry.domains())
        kind = combined((*of_domains, *(registry.method(name).protocol for name in registry.method_names())))
    return _protocol(name, kind, {})
