"""Reads a JSON list of records one record at a time, so that the file may be larger than the memory."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from dabs_rq.errors import DataError, first_line, shown
from dabs_rq.files import reading

CHUNK = 1 << 20  # bytes read at a time
LONGEST = 1 << 24  # bytes of a record
_SPACE = re.compile(r"[ \t\n\r]*")


class Record(NamedTuple):
    """number: of the record, from 0. start: its first byte in the file. text: its JSON, a character per byte."""

    number: int
    start: int
    text: str
    value: dict[str, Any]


def read(file: Path) -> Iterator[Record]:
    """Yield the records of a file that holds a JSON list of objects, in order.

    Raises DataError with the number of the record and its byte in the file if it is damaged, if something else than an
    object is listed, and if the list is empty.
    """
    with reading(file, "damaged"), file.open("rb") as opened:
        text = _Text(file, opened)
        text.expect("[", "at the start of a list of records")
        number = 0
        while number or text.peek() != "]":
            yield text.record(number)
            number += 1
            if text.peek() != ",":
                break
            text.at += 1
        text.expect("]", f"or a comma after record {number - 1}")
        if number == 0:
            raise DataError(f"{file}: the list of records is empty")
        if found := text.peek():
            raise DataError(f"{file}: byte {text.byte}: expected the end of the file after the list, found {found!r}")


class _Text:
    """The part of the file that is in memory. Bytes become characters one to one, so places in it are bytes: all that
    JSON's structure needs is ASCII."""

    def __init__(self, file: Path, opened: BinaryIO) -> None:
        self.file, self.opened = file, opened
        self.text, self.at, self.first = "", 0, 0  # first: the byte of the first character

    @property
    def byte(self) -> int:
        return self.first + self.at

    def more(self) -> bool:
        """Read on, and drop what has been passed. Returns False at the end of the file."""
        read = self.opened.read(CHUNK).decode("latin-1")
        self.text, self.first, self.at = self.text[self.at :] + read, self.byte, 0
        return bool(read)

    def peek(self) -> str:
        """Return the next character that is no space; "" at the end of the file."""
        while True:
            space = _SPACE.match(self.text, self.at)
            assert space is not None
            self.at = space.end()
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""

    def expect(self, character: str, where: str) -> None:
        if (found := self.peek()) != character:
            what = repr(found) if found else "the end of the file (is it complete?)"
            raise DataError(f"{self.file}: byte {self.byte}: expected {character!r} {where}, found {what}")
        self.at += 1

    def record(self, number: int) -> Record:
        self.peek()
        start = self.byte
        while True:
            try:
                value, end = _DECODER.raw_decode(self.text, self.at)
                break
            except (ValueError, RecursionError) as error:
                place = self.first + getattr(error, "pos", self.at)
                if len(self.text) - self.at < LONGEST and self.more():
                    continue
                raise DataError(
                    f"{self.file}: record {number}, which begins at byte {start}, is not JSON at byte {place} "
                    f"({first_line(error):.200}). Is the file complete?"
                ) from error
        if not isinstance(value, dict):
            raise DataError(f"{self.file}: record {number}, byte {start}: expected an object, found {shown(value)}")
        text = self.text[self.at : end]
        self.at = end
        return Record(number, start, text, value)


_DECODER = json.JSONDecoder()
