"""The settings that an ablation compares: which options and values, in all combinations or one option at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from dabs_rq import protocol
from dabs_rq.errors import OptionError
from dabs_rq.run import Run
from dabs_rq.run.unknown import unknown_option
from dabs_rq.run.words import value_text
from dabs_rq.typed import legal_values

Setting = dict[str, Any]  # option -> value


@dataclass(frozen=True)
class Axis:
    """One option and the values to compare, first the value that the run has by default.

    moves: the domains and tasks whose scores depend on the option, methods: the methods; empty: all."""

    option: str
    values: tuple[Any, ...]
    moves: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()


def axes(run: Run, over: str) -> list[Axis]:
    """Parse `over`, a comma-separated list of "option" (compares its declared values), "option=a,b" (compares these) or
    "protocol" (every option of the protocol).

    Raises OptionError for an option without declared values."""
    known = known_options(run)
    listed: dict[str, list[str]] = {}
    for word in filter(None, over.split(",")):
        name, equals, value = word.partition("=")
        if not equals and listed and name not in known and name != "protocol":
            listed[list(listed)[-1]].append(name)  # another value of the previous option
        else:
            listed.setdefault(name, []).extend([value] if equals else [])
    if not listed:
        raise OptionError("say what to compare: --over method.granularity,method.bins=4,8 (make: OVER=)")
    protocol_options = [name for name in known if name.startswith("protocol.") and name != "protocol.name"]
    return [
        _axis(known, option, values)
        for name, values in listed.items()
        for option in (protocol_options if name == "protocol" else [name])
    ]


def known_options(run: Run) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Return option -> its value in this run and the metadata of its declaration."""
    known: dict[str, tuple[Any, dict[str, Any]]] = {key: (value, {}) for key, value in run.values.items()}
    options = run.options
    owners = [("method", method.options) for method in options.methods] + [("protocol", options.protocol)]
    for group, owner in owners:
        for field in dataclasses.fields(owner):
            values = field.metadata.get("values") or legal_values(type(owner), field.name)
            if group == "protocol" and field not in protocol.option_fields(type(owner)):
                continue
            known[f"{group}.{field.name}"] = (getattr(owner, field.name), {**field.metadata, "values": values})
    return known


def _axis(known: dict[str, tuple[Any, dict[str, Any]]], option: str, listed: Sequence[str]) -> Axis:
    if option not in known:
        raise unknown_option(option, known)
    group, _, name = option.partition(".")
    if name in ("", "name") or group == "scale":
        raise OptionError(
            f"{option} cannot be compared: one ablation has the same choices, seeds and folders throughout"
        )
    default, metadata = known[option]
    by_word = {value_text(value): value for value in (default, *metadata.get("values", ()))}
    values = [by_word.get(value, value) for value in listed] or list(metadata.get("values", ()))
    if not values:
        raise OptionError(f"{option} declares no values to compare: give some, --over {option}=first,second")
    default_first = [default, *(value for value in values if value != default)]
    ordered = default_first if default in values or not listed else values
    return Axis(option, tuple(ordered), metadata.get("moves", ()), metadata.get("methods", ()))


@dataclass(frozen=True)
class Comparison:
    """Settings to compare with the first of them. `axis`: the option that changes, None if several change."""

    settings: tuple[Setting, ...]
    axis: Axis | None = None


def comparisons(compared: Sequence[Axis], *, each: bool) -> list[Comparison]:
    """Return one comparison of all combinations, or with `each` one per axis in which only its option changes."""
    if not each:
        names = [axis.option for axis in compared]
        combined = product(*(axis.values for axis in compared))
        return [Comparison(tuple(dict(zip(names, values, strict=True)) for values in combined))]
    return [Comparison(tuple(_single_option(axis)), axis) for axis in compared]


def _single_option(axis: Axis) -> Iterator[Setting]:
    for value in axis.values:
        # Only the adamw probe can use features that change from epoch to epoch, so compare them with that probe.
        required = {"protocol.probe": "adamw"} if axis.option == "protocol.features" else {}
        yield {axis.option: value, **required}
