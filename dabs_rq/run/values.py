"""Composed options as values by name, JSON-able: for records, and to give them again."""

from __future__ import annotations

import dataclasses
from typing import Any

from dabs_rq.run.options import GROUPS, PATHS, PLURALS, Options


def flat(options: Options) -> dict[str, Any]:
    """Return every option by name, JSON-able, with the options of `options.method`."""
    method = options.method
    names = {"protocol": options.protocol.name, "encoder": options.encoder.name, "method": method.name}
    flat = {f"{group}.name": name for group, name in names.items()}
    for group, chosen in (("scale", options.scale), ("method", method.options)):
        flat |= {f"{group}.{key}": value for key, value in _as_dict(chosen).items()}
    return flat | _without_methods(options)


def as_given(options: Options) -> dict[str, Any]:
    """Return options by name that compose to `options`. A method option on which the methods differ is left out: it has
    its default, because a given value is that of every method."""
    values: dict[str, Any] = {key: getattr(options, key).name for key in ("scale", "protocol", "encoder")}
    values["method"] = [method.name for method in options.methods] if options.method_given else None
    of_methods: dict[str, list[Any]] = {}
    for method in options.methods:
        for key, value in _as_dict(method.options).items():
            of_methods.setdefault(f"method.{key}", []).append(value)
    values |= {key: each[0] for key, each in of_methods.items() if all(value == each[0] for value in each)}
    return values | _without_methods(options)


def _without_methods(options: Options) -> dict[str, Any]:
    """Return the options that neither a scale nor a method declares, by name, without the names of choices."""
    groups = {group: getattr(options, group) for group in ("protocol", *GROUPS)} | {"encoder": options.encoder.options}
    values: dict[str, Any] = {}
    for group, chosen in groups.items():
        values |= {f"{group}.{key}": value for key, value in _as_dict(chosen).items() if key != "name"}
    for key in ("domains", "tasks", "seeds", "encoders"):
        value = getattr(options, key)
        values[PLURALS.get(key, key)] = None if value is None else list(value)
    values["name"] = options.name
    return values | {key: None if (path := getattr(options, key)) is None else str(path) for key in PATHS}


def _as_dict(options: Any) -> dict[str, Any]:
    values = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
