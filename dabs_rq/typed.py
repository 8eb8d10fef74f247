"""Options of methods and encoders: fields of frozen dataclasses, whose types say what is legal.

@dataclass(frozen=True)
class Options:
    bins: Annotated[int, Ge(2)] = number(8, 4, 8, 16)
    level: Literal["embedding", "input"] = "embedding"
"""

from __future__ import annotations

import dataclasses
from dataclasses import field
from typing import Any, Literal, get_args, get_origin, get_type_hints

from dabs_rq.errors import OptionError


def choice(default: Any, *compare: Any, protocol: str | None = None) -> Any:
    """An option of a method whose type says its legal values: `Literal[...]` or bool.

    default: the value under the corrected protocol. compare: the values that an ablation compares; by default all that
    are legal. protocol: the protocol option that the default follows, if there is one.
    """
    metadata: dict[str, Any] = {"values": compare} if compare else {}
    return field(default=default, metadata=metadata | ({"protocol": protocol} if protocol else {}))


def number(default: float, *compare: float, protocol: str | None = None) -> Any:
    """An option that takes a number; its type says the legal range: `Annotated[int, Ge(2)]`. The rest as for
    `choice`."""
    return choice(default, *compare, protocol=protocol)


def legal_values(kind: Any) -> tuple[Any, ...]:
    """The values of `Literal[...]` and of bool; none for other types."""
    return get_args(kind) if get_origin(kind) is Literal else (False, True) if kind is bool else ()


def checked(group: str, kind: type[Any], options: Any) -> Any:
    """`options` as an instance of the dataclass `kind`, every value checked against its type. `group`: of which the
    options are, "method" or "encoder".

    Raises OptionError that names each illegal option and says what is legal.
    """
    from pydantic import TypeAdapter, ValidationError

    names = [declared.name for declared in dataclasses.fields(kind)]
    try:
        return TypeAdapter(kind).validate_python({name: getattr(options, name) for name in names})
    except ValidationError as error:
        wrong = [_explained(group, kind, each) for each in error.errors()]
        raise OptionError("; ".join(wrong)) from error


def _explained(group: str, kind: type[Any], wrong: Any) -> str:
    name = str(wrong["loc"][0]) if wrong["loc"] else ""
    legal = ", ".join(map(str, legal_values(get_type_hints(kind).get(name))))
    expected = f" is one of {legal}" if legal else f": {wrong['msg'][:1].lower()}{wrong['msg'][1:]}"
    return f"{group}.{name}{expected}; got {wrong['input']!r}"
