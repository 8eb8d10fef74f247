"""Options by name to an `Options` object: from the declarations, configs/scale, configs/protocol and what is given."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from dabs_rq import registry
from dabs_rq.errors import OptionError, unknown
from dabs_rq.files import digest
from dabs_rq.protocol import COLUMNS, Protocol, combined
from dabs_rq.run.options import GROUPS, PATHS, Chosen, Names, Options, Scale
from dabs_rq.typed import checked, field_names

CONFIGS: Path = registry.PACKAGE.parent / "configs"
# Where no method is given: several commands take these, those of one method take the last.
PUBLISHED_METHODS = ("none", "emix", "rq")
_PROGRESS_ONLY = ("pretrain.checkpoint_every",)


@dataclass(frozen=True)
class Composed:
    """options: checked. values: every option of one domain and method by its name, JSON-able. overridden: those of
    them that differ from what the scale, the protocol, the method and the encoder say by themselves."""

    options: Options
    values: dict[str, Any]
    overridden: dict[str, Any]

    def variant(self, *, of_pretraining: bool) -> str:
        """Which options the numbers are of: "default" if none is overridden, else a hash of those that are."""
        changed = self.changed(of_pretraining=of_pretraining)
        return digest(changed) if changed else "default"

    def changed(self, *, of_pretraining: bool) -> dict[str, Any]:
        """Every overridden option that changes the numbers (of the checkpoint, or of the result)."""
        return self.counted(self.overridden, of_pretraining=of_pretraining)

    def counted(self, values: Mapping[str, Any], *, of_pretraining: bool) -> dict[str, Any]:
        """Those of `values` (option -> value) that change the numbers (of the checkpoint, or of the result)."""
        acts = {f"protocol.{name}" for name in self.options.protocol.acting_on("pretraining", "data")}
        return {
            key: value
            for key, value in values.items()
            if key not in _PROGRESS_ONLY
            and (
                key in acts
                or key.startswith(("encoder.", "pretrain.", "method."))
                or key in ("trainer.precision", "trainer.matmul", "trainer.gather_negatives")
                or (not of_pretraining and key.startswith(("transfer.", "protocol.")))
            )
        }


def compose(given: Mapping[str, Any], *, lenient: Iterable[str] = ()) -> Composed:
    """The options that `given` (name -> value, not checked) make of the configs.

    lenient: names that are ignored where the chosen methods and domains do not declare them.
    Raises OptionError for an unknown option or name, and for a value that is not legal.
    """
    options, values = _compose(given, frozenset(lenient))
    choices = {key: value for key, value in given.items() if key in ("scale", "protocol", "method", "domain")}
    _, known = _compose(choices, frozenset())
    overridden = {key: value for key, value in values.items() if key not in known or known[key] != value}
    return Composed(options, values, overridden)


def _compose(given: Mapping[str, Any], lenient: frozenset[str]) -> tuple[Options, dict[str, Any]]:
    names = checked(Names, {key: value for key, value in given.items() if "." not in key and key in _NAMES}, "")
    _check_names(names)
    once = {key: tuple(dict.fromkeys(value)) for key in ("method", "domain", "tasks") if (value := getattr(names, key))}
    names = dataclasses.replace(names, **once)
    scale, budgets, sizes = _scale(names.scale)
    method_names = names.method if names.method is not None else _default_methods()
    specs = [registry.method(name) for name in method_names]
    domains = [registry.domain(name) for name in names.domain or registry.domain_names()]
    protocol_type = combined((*(domain.protocol for domain in domains), *(spec.protocol for spec in specs)))
    encoder_type = registry.encoder(names.encoder).options
    known = _known_names(protocol_type, encoder_type, [spec.options for spec in specs])
    for key in given:
        if key in ("scale.name", "protocol.name", "method.name", "encoder.name"):
            raise OptionError(f"{key} follows from the choice: give {key.removesuffix('.name')}=... instead")
        if key not in known and key not in lenient:
            raise unknown_option(key, known)

    protocol = _protocol(names.protocol, protocol_type, _of(given, "protocol"))
    encoder = checked(encoder_type, {**sizes.get(names.encoder, {}), **_of(given, "encoder")}, "encoder.")
    groups = {}
    for group, kind in GROUPS.items():
        settings = {**_from_protocol(kind, protocol), **budgets.get(group, {}), **_of(given, group)}
        groups[group] = checked(kind, settings, f"{group}.")
    methods = []
    for spec in specs:
        own = {key: value for key, value in _of(given, "method").items() if key in field_names(spec.options)}
        options = checked(spec.options, {**_from_protocol(spec.options, protocol), **own}, "method.")
        methods.append(Chosen(spec.name, options))
    options = Options(
        scale=scale,
        protocol=protocol,
        encoder=Chosen(names.encoder, encoder),
        methods=tuple(methods),
        method_given=names.method is not None,
        domains=names.domain,
        **{name: getattr(names, name) for name in ("tasks", "seeds", *PATHS)},
        **groups,
    )
    return options, _flat(options, names)


_NAMES = tuple(one.name for one in fields(Names))


def _check_names(names: Names) -> None:
    if names.method is not None and not names.method:
        raise OptionError(f"method is empty; known: {', '.join(registry.method_names())}")
    for key in ("domain", "tasks"):
        if getattr(names, key) == ():
            raise OptionError(f"{key} is empty; leave it out to choose all")
    if len(set(names.seeds)) < len(names.seeds):
        raise OptionError(f"seeds names one thing twice: {', '.join(map(str, names.seeds))}")


def _default_methods() -> tuple[str, ...]:
    return tuple(name for name in PUBLISHED_METHODS if name in registry.method_names())


def _known_names(protocol: type[Any], encoder: type[Any], methods: Iterable[type[Any]]) -> list[str]:
    known = [*_NAMES]
    known += [f"protocol.{name}" for name in field_names(protocol) if name != "name"]
    known += [f"encoder.{name}" for name in field_names(encoder)]
    known += [f"{group}.{name}" for group, kind in GROUPS.items() for name in field_names(kind)]
    return known + [f"method.{name}" for kind in methods for name in field_names(kind)]


def unknown_option(key: str, known: Iterable[str]) -> OptionError:
    """The error for an option that nothing chosen declares: the nearest names, and who declares it, if anybody does."""
    near = difflib.get_close_matches(key, sorted(set(known)), n=3, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    hint += f" Or {' or '.join(map(repr, near[1:]))}?" if near[1:] else ""
    return OptionError(f"unknown option {key!r}.{_owner(key)}{hint} Add --show-options to a command to print all.")


def _owner(key: str) -> str:
    """A hint for a protocol option that belongs to a domain or method which was not chosen."""
    group, _, name = key.partition(".")
    if group != "protocol":
        return ""
    kinds = {f"domain {one}": registry.domain(one).protocol for one in registry.domain_names()}
    kinds |= {f"method {one}": registry.method(one).protocol for one in registry.method_names()}
    for owner, kind in kinds.items():
        if name in field_names(kind):
            return f" protocol.{name} belongs to {owner}, which was not chosen."
    return ""


def _of(given: Mapping[str, Any], group: str) -> dict[str, Any]:
    """The options of a group, without its name before them."""
    prefix = f"{group}."
    return {key.removeprefix(prefix): value for key, value in given.items() if key.startswith(prefix)}


def _from_protocol(kind: type[Any], protocol: Protocol) -> dict[str, Any]:
    """The options whose default the protocol decides."""
    decided = {}
    for declared in fields(kind):
        if source := declared.metadata.get("protocol"):
            if not hasattr(protocol, source):
                raise OptionError(
                    f"option {declared.name!r} of {kind.__module__} follows the protocol option {source!r}, which "
                    "nothing that was chosen declares: declare it with MethodSpec(protocol=...)"
                )
            decided[declared.name] = getattr(protocol, source)
    return decided


# ---- configs -----------------------------------------------------------------------------------------------------


def choices(group: str) -> dict[str, Path]:
    """Name -> file of the scales or protocols that there are."""
    return {path.stem: path for path in sorted((CONFIGS / group).glob("*.yaml"))}


def _read(group: str, name: str) -> tuple[Path, dict[str, Any]]:
    known = choices(group)
    if name not in known:
        raise OptionError(unknown(group, name, known))
    return known[name], _loaded(known[name], known[name].stat().st_mtime_ns)


@cache
def _loaded(file: Path, _: int) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise OptionError(f"{file} is no YAML: {error}") from error
    if not isinstance(content, dict):
        raise OptionError(f"{file}: a mapping expected, {type(content).__name__} found")
    return content


def scales(inputs: str) -> list[str]:
    """The scales that use the inputs of that name."""
    return [name for name in choices("scale") if _scale(name)[0].inputs == inputs]


def _scale(name: str) -> tuple[Scale, dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """A scale, its budgets by group, and the sizes of encoders by their names."""
    file, content = _read("scale", name)
    facts = {key: content.get(key) for key in field_names(Scale) if key != "name"}
    wrong = [f"unknown {key}" for key in content if key not in (*facts, "encoders", *GROUPS)]
    wrong += [f"missing {key}" for key, value in facts.items() if value is None]
    for group, kind in GROUPS.items():
        wrong += [f"unknown {group}.{key}" for key in content.get(group, {}) if key not in field_names(kind)]
    if wrong:
        raise OptionError(f"{file}: {'; '.join(wrong)}")
    scale = checked(Scale, {"name": name, **facts}, f"{file}: ")
    return scale, {group: content.get(group, {}) for group in GROUPS}, content.get("encoders", {})


def _protocol(name: str, kind: type[Protocol], given: Mapping[str, Any]) -> Protocol:
    file, content = _read("protocol", name)
    like = content.get("like")
    if like not in COLUMNS:
        raise OptionError(f"{file}: `like` is one of {', '.join(COLUMNS)}; got {like!r}")
    values = {one.name: one.metadata[like] for one in fields(kind) if "stage" in one.metadata}
    values |= {key: value for key, value in content.items() if key in values}
    own = {key: value for key, value in given.items() if key in field_names(kind)}
    return checked(kind, {**values, **own, "name": name}, "protocol.")


def load_protocol(name: str, kind: type[Protocol] | None = None) -> Protocol:
    """The protocol of that name, by default with the options of every domain and method."""
    if kind is None:
        of_domains = (domain.protocol for domain in registry.domains())
        kind = combined((*of_domains, *(registry.method(name).protocol for name in registry.method_names())))
    return _protocol(name, kind, {})


# ---- values ------------------------------------------------------------------------------------------------------


def _flat(options: Options, names: Names) -> dict[str, Any]:
    """Every option by name, JSON-able. The method is the one given, the last of the published where none is."""
    flat: dict[str, Any] = {}
    for group in ("scale", "protocol", *GROUPS):
        flat |= {f"{group}.{key}": value for key, value in _as_dict(getattr(options, group)).items()}
    method = options.methods[-1]
    for group, chosen in (("encoder", options.encoder), ("method", method)):
        flat |= {f"{group}.name": chosen.name}
        flat |= {f"{group}.{key}": value for key, value in _as_dict(chosen.options).items()}
    for key in ("domain", "tasks", "seeds"):
        value = getattr(names, key)
        flat[key] = None if value is None else list(value)
    return flat | {key: None if (path := getattr(options, key)) is None else str(path) for key in PATHS}


def _as_dict(options: Any) -> dict[str, Any]:
    values = {one.name: getattr(options, one.name) for one in dataclasses.fields(options)}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
