"""Options as fields of frozen dataclasses; the annotation of a field gives its legal values.

@dataclass(frozen=True)
class Options:
    bins: Annotated[int, Ge(2)] = number(8, 2, 4, 8, 16)
    level: Literal["embedding", "input"] = "embedding"
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import field
from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

from dabs_rq.errors import OptionError


def choice(default: Any, *compare: Any, protocol: str | None = None) -> Any:
    """Declare an option whose annotation, a Literal or bool, lists the legal values.

    default: the value under the corrected protocol. compare: the values that an ablation compares, by default all legal
    values. protocol: the name of the protocol option that sets the default.
    """
    metadata: dict[str, Any] = {"values": compare} if compare else {}
    return field(default=default, metadata=metadata | ({"protocol": protocol} if protocol else {}))


def number(default: float, *compare: float, protocol: str | None = None) -> Any:
    """Declare an option that takes a number; its annotation gives the legal range. Parameters as for `choice`."""
    return choice(default, *compare, protocol=protocol)


def legal_values(kind: type[Any], name: str) -> tuple[Any, ...]:
    """Return the values that a dataclass field may take: those of its Literal or bool; () for other types."""
    annotation = _hints(kind)[name]  # type: ignore[arg-type]
    if annotation is bool:
        return False, True
    return get_args(annotation) if get_origin(annotation) is Literal else ()


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def field_names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(declared.name for declared in dataclasses.fields(kind))


def check_declared(owner: str, options: Any) -> None:
    """Raise OptionError unless `options` can declare the options of a method or an encoder."""
    if not (isinstance(options, type) and dataclasses.is_dataclass(options)):
        raise OptionError(f"{owner}: options must be a dataclass; got {options!r}")
    if "name" in field_names(options):
        raise OptionError(f"{owner}: an option cannot be called 'name', which is the name of the choice. Rename it.")


def checked(kind: type[Any], values: Mapping[str, Any], prefix: str) -> Any:
    """Build the dataclass `kind` from `values`, converting text to the option's type: "3" to 3, "true" to True.

    prefix: precedes option names in errors, such as "method.".
    Raises: OptionError, which names each option with an illegal value and what is legal.
    """
    from pydantic import ValidationError

    if unknown_names := [name for name in values if name not in field_names(kind)]:
        raise OptionError(f"{prefix}{unknown_names[0]} is unknown; known: {', '.join(field_names(kind))}")
    converted = {name: _as_listed(kind, name, value) for name, value in values.items()}
    try:
        return _adapter(kind).validate_python(converted)  # type: ignore[arg-type]
    except ValidationError as error:
        # A list whose elements failed is also "too short"; the errors of its elements say more.
        details = [detail for detail in error.errors() if not (detail["type"] == "too_short" and detail["input"])]
        problems = dict.fromkeys(_problem(detail, prefix) for detail in details)
        raise OptionError("; ".join(problems)) from None


def _as_listed(kind: type[Any], name: str, value: Any) -> Any:
    """Convert the text of a number that a Literal lists to that number; return other values unchanged."""
    listed = {str(legal): legal for legal in legal_values(kind, name) if not isinstance(legal, bool)}
    return listed.get(value, value) if isinstance(value, str) else value


@cache
def _adapter(kind: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


_EXPECTED = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "tuple": "a list such as [a,b]",
    "path": "a path",
    "none": "null",
}


def _problem(error: Any, prefix: str) -> str:
    context, kind, value = error.get("ctx", {}), error["type"], error["input"]
    names = [part for part in error["loc"] if isinstance(part, str) and part.isidentifier()]
    if kind == "literal_error":
        expected = f"one of {context['expected'].replace(' or ', ', ').replace(chr(39), '')}"
    elif kind in ("greater_than_equal", "greater_than"):
        expected = f"at least {_short(context['ge'])}" if "ge" in context else f"above {_short(context['gt'])}"
    elif kind in ("less_than_equal", "less_than"):
        expected = f"at most {_short(context['le'])}" if "le" in context else f"below {_short(context['lt'])}"
    elif kind == "finite_number":
        expected = "a finite number"
    elif kind == "too_short":
        expected = f"a list of at least {context['min_length']}"
    else:
        expected = _EXPECTED.get(kind.split("_")[0], error["msg"].removeprefix("Value error, "))
    return f"{prefix}{'.'.join(names[:1])} is {expected}; got {value!r}"


def _short(limit: float) -> str:
    """4294967295 and 0.5 as they are, 0.0 as 0."""
    return str(int(limit)) if limit == int(limit) else str(limit)
