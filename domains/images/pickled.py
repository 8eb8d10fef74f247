"""Reads the pickles of CIFAR-10 without running any of their code: names of functions and classes stay names.

Every size in the file is checked before it is used, and nothing is copied more often than once, so that reading takes
at most a few times the size of the file.
"""

from __future__ import annotations

import pickletools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dabs_rq.errors import DataError, shown
from dabs_rq.files import reading

MAX_BYTES = 64 << 20  # a published file has 31 MB
_NAMES = {
    ("numpy.core.multiarray", "_reconstruct"): "array",
    ("numpy._core.multiarray", "_reconstruct"): "array",
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "encode",
}
_VALUES = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_MARK = object()


@dataclass(eq=False, repr=False)
class _Name:
    """A function or a class that a pickle names; it is not imported."""

    name: str


@dataclass(eq=False, repr=False)
class _Call:
    """A call that a pickle asks for, and the state that it then sets; it is not made."""

    name: str
    arguments: tuple[Any, ...]
    state: Any = None


@dataclass
class _Machine:
    """The stack and the memo of the language of pickles."""

    file: Path
    stack: list[Any] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def since_mark(self) -> list[Any]:
        place = len(self.stack) - 1
        while self.stack[place] is not _MARK:
            place -= 1
        items = self.stack[place + 1 :]
        del self.stack[place:]
        return items

    def step(self, name: str, value: Any) -> None:
        stack = self.stack
        if name in ("PROTO", "FRAME", "STOP"):
            pass
        elif name in _VALUES:
            stack.append(_VALUES[name])
        elif name == "MARK":
            stack.append(_MARK)
        elif name in ("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE"):
            stack.append({"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}[name]())
        elif name in ("TUPLE", "LIST"):
            items = self.since_mark()
            stack.append(tuple(items) if name == "TUPLE" else items)
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            items = [stack.pop() for _ in range(count)]
            stack.append(tuple(reversed(items)))
        elif name in ("DICT", "SETITEMS", "SETITEM"):
            items = [stack.pop(), stack.pop()][::-1] if name == "SETITEM" else self.since_mark()
            if name == "DICT":
                stack.append({})
            for key, item in zip(items[::2], items[1::2], strict=True):
                if not isinstance(key, str | bytes):
                    raise ValueError(f"a key of a dictionary is {type(key).__name__}, not text")
                _expect(stack[-1], dict)[key] = item
        elif name in ("APPEND", "APPENDS"):
            items = [stack.pop()] if name == "APPEND" else self.since_mark()
            _expect(stack[-1], list).extend(items)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self.memo[len(self.memo) if name == "MEMOIZE" else value] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self.memo[value])
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            module, what = value.split(" ", 1) if name == "GLOBAL" else [stack.pop(), stack.pop()][::-1]
            self.name(_expect(module, str), _expect(what, str))
        elif name == "REDUCE":
            arguments, called = _expect(stack.pop(), tuple), _expect(stack.pop(), _Name)
            stack.append(_Call(called.name, arguments))
        elif name == "BUILD":
            state = stack.pop()
            _expect(stack[-1], _Call).state = state
        elif isinstance(value, str | bytes | int | float):
            stack.append(value)
        else:
            raise ValueError(f"it needs {name}, which no CIFAR-10 batch needs")

    def name(self, module: str, name: str) -> None:
        if (module, name) not in _NAMES:
            raise DataError(f"{self.file}: refused to load {module}.{name}, which no CIFAR-10 batch holds")
        self.stack.append(_Name(_NAMES[module, name]))


def _expect(value: Any, kind: type[Any]) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"expected a {kind.__name__.strip('_').lower()}, found {shown(value)}")
    return value


def read(file: Path) -> dict[str, Any]:
    """Read the dictionary in a pickle; arrays in it are `_Call`s, see `pixels`. Python 2 wrote the published files.

    Raises DataError if the file is damaged, too large, holds something else, or needs to run code.
    """
    with reading(file, "damaged or not a CIFAR-10 batch"):
        if (size := file.stat().st_size) > MAX_BYTES:
            raise DataError(f"{file}: {size:,} bytes, expected at most {MAX_BYTES:,} of a CIFAR-10 batch")
        machine = _Machine(file)
        for opcode, value, _ in pickletools.genops(file.read_bytes()):
            machine.step(opcode.name, value)
        (content,) = machine.stack
        return {_text(key): value for key, value in _expect(content, dict).items()}


def pixels(value: Any, file: Path) -> np.ndarray:
    """Make the array of bytes, uint8 (rows, columns), that `value` of `read` describes; read-only."""
    with reading(file, "damaged or not a CIFAR-10 batch"):
        if not isinstance(value, _Call) or value.name != "array":
            raise DataError(f"{file}: data is {_kind(value)}, expected an array of bytes")
        _, shape, dtype, columns_first, raw = _expect(value.state, tuple)
        if not (isinstance(dtype, _Call) and dtype.name == "dtype" and _text(dtype.arguments[0]) in ("u1", "|u1")):
            found = dtype.arguments[:1] if isinstance(dtype, _Call) else dtype
            raise DataError(f"{file}: data is an array of {shown(found)}, expected bytes (u1)")
        if columns_first is True or columns_first == 1:
            raise DataError(f"{file}: data is stored by columns, expected by rows")
        content = _bytes(raw)
        whole = all(type(length) is int and length >= 0 for length in _expect(shape, tuple))
        if not whole or len(shape) != 2 or shape[0] * shape[1] != len(content):
            raise DataError(f"{file}: data is {len(content):,} bytes with shape {shown(shape)}, expected (rows, 3072)")
        return np.frombuffer(content, np.uint8).reshape(shape)


def _bytes(raw: Any) -> bytes:
    """Return bytes that are stored as such, as text of Python 2, or as a call that encodes them."""
    if isinstance(raw, _Call) and raw.name == "encode" and _text(raw.arguments[1]) == "latin1":
        raw = raw.arguments[0]
    return raw if isinstance(raw, bytes) else _expect(raw, str).encode("latin1")


def _text(value: Any) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else _expect(value, str)


def _kind(value: Any) -> str:
    return f"a call of {value.name}" if isinstance(value, _Call) else type(value).__name__
