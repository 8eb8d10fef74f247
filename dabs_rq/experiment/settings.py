"""The settings that an ablation compares: which options, which of their values, all together or one at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from dabs_rq import registry
from dabs_rq.errors import OptionError, unknown
from dabs_rq.protocol import Protocol
from dabs_rq.run import Run

Setting = dict[str, str]  # option -> value, as given on a command line


@dataclass(frozen=True)
class Axis:
    """One option and the values to compare; the first is what the run has without being told."""

    option: str
    values: tuple[str, ...]
    moves: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()


def axes(run: Run, over: str) -> list[Axis]:
    """The axes that `over` names, with commas between: "option", whose values are those declared with it, "option=a,b",
    or "protocol" for every option of the protocol. Raises OptionError for one that has no declared values."""
    given: dict[str, list[str]] = {}
    for word in filter(None, over.split(",")):
        name, equals, value = word.partition("=")
        if not equals and given and name not in run.composed.values and name != "protocol":
            given[list(given)[-1]].append(name)  # another value of the option before
        else:
            given.setdefault(name, []).extend([value] if equals else [])
    if not given:
        raise OptionError("say what to compare: --over method.granularity,method.bins=4,8 (make: OVER=)")
    every = [f"protocol.{one.name}" for one in _protocol_options()]
    return [
        _axis(run, one, values) for name, values in given.items() for one in (every if name == "protocol" else [name])
    ]


def _axis(run: Run, option: str, given: Sequence[str]) -> Axis:
    if option not in run.composed.values:
        raise OptionError(unknown("option", option, run.composed.values))
    metadata = _declared(run).get(option, {})
    values = list(given) or [_word(value) for value in metadata.get("values", ())]
    if not values:
        raise OptionError(f"{option} declares no values to compare: give some, --over {option}=first,second")
    own = _word(run.composed.values[option])
    ordered = [own, *(value for value in values if value != own)] if own in values or not given else values
    return Axis(option, tuple(ordered), metadata.get("moves", ()), metadata.get("methods", ()))


def _protocol_options() -> list[Any]:
    return [one for one in dataclasses.fields(Protocol) if "values" in one.metadata]


def _declared(run: Run) -> dict[str, Any]:
    """Option -> what its field declares about it."""
    own = dataclasses.fields(registry.method(run.options.method.name).options)
    return {f"method.{one.name}": one.metadata for one in own} | {
        f"protocol.{one.name}": one.metadata for one in _protocol_options()
    }


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(frozen=True)
class Comparison:
    """Settings that are compared with the first of them, and the axis they belong to (None: a grid of all)."""

    settings: tuple[Setting, ...]
    axis: Axis | None = None


def comparisons(found: Sequence[Axis], *, each: bool) -> list[Comparison]:
    """One grid of all axes, or with `each` one comparison per axis, the others staying as they are."""
    if not each:
        names = [axis.option for axis in found]
        combined = product(*(axis.values for axis in found))
        return [Comparison(tuple(dict(zip(names, values, strict=True)) for values in combined))]
    return [Comparison(tuple(_alone(axis)), axis) for axis in found]


def _alone(axis: Axis) -> Iterator[Setting]:
    for value in axis.values:
        # Features that change from epoch to epoch can only be used by the adamw probe: compare them under it.
        other = {"protocol.probe": "adamw"} if axis.option == "protocol.features" else {}
        yield {axis.option: value, **other}
