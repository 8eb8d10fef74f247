"""Reads numeric variables and arrays of structs of a MATLAB 5 file, every size checked before it is used.

SciPy's reader is not for files of others: changed ones crash the process. Source: MathWorks, MAT-File Level 5 File
Format.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Literal

import numpy as np

MAX_BYTES = 16 << 20  # of a variable: it can be 1000 times its compressed size
Order = Literal["<", ">"]
_HEADER = 128
_ORDERS: dict[bytes, Order] = {b"IM": "<", b"MI": ">"}
_MATRIX, _COMPRESSED = 14, 15
_STRUCT, _CHARS = 2, 4  # classes of variables
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_COMPLEX = 0x0800


def read_variable(content: bytes, name: str) -> np.ndarray:
    """Return the real numeric variable `name` of a file's content. Raises ValueError if it is not there or damaged."""
    order, flags, size, parts = _variable(content, name)
    return _array(flags, size, next(parts, (0, b"")), order)


def read_structs(content: bytes, name: str, fields: tuple[str, ...]) -> list[dict[str, str | float]]:
    """Return the named fields of every element of the array of structs `name`: text, or the one number that they hold.

    Raises ValueError if it is not there or damaged, or if a field is something else.
    """
    order, flags, size, parts = _variable(content, name)
    if _flag(flags, order) & 0xFF != _STRUCT:
        raise ValueError(f"the variable {name!r} is not an array of structs")
    length = next(parts, (0, b""))[1]
    width = struct.unpack(f"{order}i", length)[0] if len(length) == 4 else 0
    listed = next(parts, (0, b""))[1]
    if width < 1 or len(listed) % width:
        raise ValueError("the names of the fields are damaged")
    names = [listed[i : i + width].partition(b"\0")[0].decode("ascii") for i in range(0, len(listed), width)]
    if missing := [field for field in fields if field not in names]:
        raise ValueError(f"the structs have no field {missing[0]!r}")
    count = _count(_shape(size, order))
    rows: list[dict[str, str | float]] = []
    for _ in range(count):
        row = {}
        for field in names:
            kind, matrix = next(parts, (0, b""))
            if kind != _MATRIX:
                raise ValueError(f"the structs end within element {len(rows)}")
            if field in fields:
                row[field] = _text_or_number(matrix, order)
        rows.append(row)
    return rows


def _text_or_number(matrix: bytes, order: Order) -> str | float:
    parts = _elements(matrix, order)
    flags, size, _ = (next(parts, (0, b""))[1] for _ in range(3))
    stored = next(parts, (0, b""))
    if _flag(flags, order) & 0xFF == _CHARS:
        kind, text = stored
        encoding = {2: "latin-1", 1: "latin-1", 16: "utf-8", 4: "utf-16-le" if order == "<" else "utf-16-be"}.get(kind)
        if encoding is None:
            raise ValueError("a text is stored in an unknown form")
        return text.decode(encoding)
    values = _array(flags, size, stored, order)
    if values.size != 1:
        raise ValueError(f"a field holds {values.size:,} numbers, expected one")
    return float(values.flat[0])


def _variable(content: bytes, name: str) -> tuple[Order, bytes, bytes, Iterator[tuple[int, bytes]]]:
    """Find a variable: its byte order, flags and size, and the elements after its name."""
    order = _ORDERS.get(content[_HEADER - 2 : _HEADER])
    if order is None:
        raise ValueError("not a MATLAB 5 file")
    for kind, element in _elements(content[_HEADER:], order):
        inside = [(kind, element)] if kind != _COMPRESSED else _elements(_unpacked(element), order)
        for inner_kind, matrix in inside:
            if inner_kind != _MATRIX:
                continue
            parts = _elements(matrix, order)
            flags, size, title = (next(parts, (0, b""))[1] for _ in range(3))
            if title == name.encode():
                return order, flags, size, parts
    raise ValueError(f"no variable {name!r}")


def _elements(content: bytes, order: Order) -> Iterator[tuple[int, bytes]]:
    """Yield kind and content of each element. One of up to four bytes shares the eight bytes of its tag."""
    place = 0
    while place < len(content):
        if len(content) - place < 8:
            raise ValueError("an element's tag is cut short")
        kind, size = struct.unpack_from(f"{order}II", content, place)
        start, end = place + 8, place + 8 + (size if kind == _COMPRESSED else -(-size // 8) * 8)
        if kind >> 16:
            kind, size, start, end = kind & 0xFFFF, kind >> 16, place + 4, place + 8
        if start + size > min(len(content), max(end, start)):
            raise ValueError(f"an element of {size:,} bytes is longer than what holds it")
        yield kind, content[start : start + size]
        place = end


def _unpacked(element: bytes) -> bytes:
    try:
        unpacker = zlib.decompressobj()
        content = unpacker.decompress(element, MAX_BYTES)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if unpacker.unconsumed_tail or not unpacker.eof:
        raise ValueError(f"a variable is cut short, or has more than {MAX_BYTES:,} bytes")
    return content


def _array(flags: bytes, size: bytes, stored: tuple[int, bytes], order: Order) -> np.ndarray:
    kind, content = stored
    flag = _flag(flags, order)
    if flag & 0xFF not in _CLASSES or flag & _COMPLEX or kind not in _STORED:
        raise ValueError("the variable is not an array of real numbers")
    shape = _shape(size, order)
    stored_as = np.dtype(_STORED[kind]).newbyteorder(order)
    if len(content) % stored_as.itemsize:
        raise ValueError("the variable ends within a number")
    values = np.frombuffer(content, stored_as)
    if _count(shape) != len(values):
        raise ValueError(f"the variable has {len(values):,} numbers, which do not make {shape}")
    with np.errstate(invalid="ignore"):
        return values.astype(_CLASSES[flag & 0xFF]).reshape(shape, order="F")


def _flag(flags: bytes, order: Order) -> int:
    return struct.unpack(f"{order}II", flags)[0] if len(flags) == 8 else 0


def _shape(size: bytes, order: Order) -> tuple[int, ...]:
    return tuple(np.frombuffer(size[: len(size) // 4 * 4], f"{order}i4").tolist())


def _count(shape: tuple[int, ...]) -> int:
    """Return the number of elements of an array of that shape; -1 for a shape that no array has."""
    count = 1
    for side in shape:  # in whole numbers of any size: NumPy's product can overflow
        count *= side
    return -1 if min(shape, default=-1) < 0 else count
