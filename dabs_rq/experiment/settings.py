"""The settings that an ablation compares: which options, which of their values, all together or one at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from dabs_rq import protocol
from dabs_rq.errors import OptionError
from dabs_rq.run import Run
from dabs_rq.run.compose import unknown_option
from dabs_rq.typed import legal_values

Setting = dict[str, Any]  # option -> value


@dataclass(frozen=True)
class Axis:
    """One option and the values to compare; the first is what the run has without being told."""

    option: str
    values: tuple[Any, ...]
    moves: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()


def axes(run: Run, over: str) -> list[Axis]:
    """The axes that `over` names, with commas between: "option", whose values are those declared with it, "option=a,b",
    or "protocol" for every option of the protocol. Raises OptionError for one that has no declared values."""
    known = known_options(run)
    given: dict[str, list[str]] = {}
    for word in filter(None, over.split(",")):
        name, equals, value = word.partition("=")
        if not equals and given and name not in known and name != "protocol":
            given[list(given)[-1]].append(name)  # another value of the option before
        else:
            given.setdefault(name, []).extend([value] if equals else [])
    if not given:
        raise OptionError("say what to compare: --over method.granularity,method.bins=4,8 (make: OVER=)")
    every = [name for name in known if name.startswith("protocol.") and name != "protocol.name"]
    return [
        _axis(known, option, values)
        for name, values in given.items()
        for option in (every if name == "protocol" else [name])
    ]


def known_options(run: Run) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Option -> its value in this run, and what its declaration says about it."""
    known: dict[str, tuple[Any, dict[str, Any]]] = {key: (value, {}) for key, value in run.values.items()}
    options = run.options
    for group, owner in (("method", options.methods[-1].options), ("protocol", options.protocol)):
        for field in dataclasses.fields(owner):
            values = field.metadata.get("values") or legal_values(type(owner), field.name)
            if group == "protocol" and field not in protocol.option_fields(type(owner)):
                continue
            known[f"{group}.{field.name}"] = (getattr(owner, field.name), {**field.metadata, "values": values})
    return known


def _axis(known: dict[str, tuple[Any, dict[str, Any]]], option: str, given: Sequence[str]) -> Axis:
    if option not in known:
        raise unknown_option(option, known)
    own, about = known[option]
    words = {word(value): value for value in (own, *about.get("values", ()))}
    values = [words.get(value, value) for value in given] or list(about.get("values", ()))
    if not values:
        raise OptionError(f"{option} declares no values to compare: give some, --over {option}=first,second")
    ordered = [own, *(value for value in values if value != own)] if own in values or not given else values
    return Axis(option, tuple(ordered), about.get("moves", ()), about.get("methods", ()))


def word(value: Any) -> str:
    """A value as the command line writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(frozen=True)
class Comparison:
    """Settings that are compared with the first of them, and the axis they belong to (None: a grid of all)."""

    settings: tuple[Setting, ...]
    axis: Axis | None = None


def comparisons(compared: Sequence[Axis], *, each: bool) -> list[Comparison]:
    """One grid of all axes, or with `each` one comparison per axis, the others staying as they are."""
    if not each:
        names = [axis.option for axis in compared]
        combined = product(*(axis.values for axis in compared))
        return [Comparison(tuple(dict(zip(names, values, strict=True)) for values in combined))]
    return [Comparison(tuple(_alone(axis)), axis) for axis in compared]


def _alone(axis: Axis) -> Iterator[Setting]:
    for value in axis.values:
        # Features that change from epoch to epoch can only be used by the adamw probe: compare them under it.
        other = {"protocol.probe": "adamw"} if axis.option == "protocol.features" else {}
        yield {axis.option: value, **other}
