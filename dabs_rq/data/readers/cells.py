"""How cells of a row become an input: a picture, a recording, text or numbers.

A cell of a picture or recording is a path relative to the source's folder, or holds the bytes of the file, as the hub's
tables do (`bytes`, or a struct of `bytes` and `path`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dabs_rq.data.columns import Column, Decoded, Windows
from dabs_rq.data.readers import audio, image, text
from dabs_rq.data.readers.labels import number
from dabs_rq.data.readers.rows import Rows, holds_bytes
from dabs_rq.data.requests import Request
from dabs_rq.errors import DataError, OptionError, first_line, shown
from dabs_rq.files import check_regular, digest, digest_files
from dabs_rq.spec import Grid, Input, Series, Tokens


@dataclass(frozen=True)
class Picture:
    """A picture, for a `Grid` of 3 channels and dtype uint8: resized to the input's size, in colour.

    name: the column, such as "path".
    """

    name: str = "path"
    holds_paths = True

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.name,)

    def column(self, rows: Rows, chosen: np.ndarray, spec: Input, request: Request) -> Column:
        if not (isinstance(spec, Grid) and spec.channels == 3 and spec.dtype == "uint8"):
            raise OptionError(f"{_is(spec)}; a Picture needs a Grid of 3 channels and dtype uint8")
        if (paths := _paths(rows, self.name, chosen)) is not None:
            return image.column(paths, rows.folder, spec.shape, request.jpeg)
        scaled = request.jpeg == "scaled"
        decode = partial(_picture, width=spec.width, height=spec.height, scaled=scaled)
        version = image.version(spec.width, spec.height, scaled)
        return _from_bytes(rows, self.name, chosen, decode, spec, request, version)


@dataclass(frozen=True)
class Recording:
    """A recording, for a `Grid` of 1 channel and dtype float16: the log-mel spectrogram of its first 9.4 s at 16 kHz.

    name: the column, such as "path". mean, std: of the log-mel values in dB, by which they are standardised; by default
    those of LibriSpeech.
    """

    name: str = "path"
    mean: float = -22.924
    std: float = 12.587
    holds_paths = True

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.name,)

    def column(self, rows: Rows, chosen: np.ndarray, spec: Input, request: Request) -> Column:
        if not (isinstance(spec, Grid) and spec.channels == 1 and spec.dtype == "float16"):
            raise OptionError(f"{_is(spec)}; a Recording needs a Grid of 1 channel and dtype float16")
        statistics = audio.Statistics(self.mean, self.std)
        if (paths := _paths(rows, self.name, chosen)) is not None:
            return audio.column(paths, rows.folder, spec.shape, statistics)
        decode = partial(_recording, bands=spec.height, frames=spec.width, statistics=statistics)
        version = audio.version(spec.shape, statistics)
        return _from_bytes(rows, self.name, chosen, decode, spec, request, version)


@dataclass(frozen=True)
class Text:
    """Text, for `Tokens` with a tokenizer: one column, or two that are joined as a pair.

    Cut or padded to the input's length.
    """

    name: str
    second: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.name,) if self.second is None else (self.name, self.second)

    def column(self, rows: Rows, chosen: np.ndarray, spec: Input, request: Request) -> Column:
        if not (isinstance(spec, Tokens) and spec.tokenizer is not None):
            raise OptionError(f"{_is(spec)}; a Text needs Tokens with a tokenizer")
        if rows.location is not None:
            if len(empty := np.setdiff1d(chosen, text.rows_with_text(rows.location, self.columns))):
                raise DataError(f"{rows.where(int(empty[0]))}: no text in column {' or '.join(self.columns)}")
            return text.from_table(rows.location, self.columns, chosen, spec, request.root)
        texts = {name: rows.texts(name, chosen) for name in self.columns}
        for name, cells in texts.items():
            if "" in cells:
                raise DataError(f"{rows.where(int(chosen[cells.index('')]))}: no text in column {name}")
        (file,) = rows.files
        # Columns called as those of the declaration could be called "path" too.
        fields = tuple(f"text {number}" for number in range(len(texts)))
        items = {"path": text.repeated(text.relative(file, request.root), len(chosen))}
        items |= dict(zip(fields, (pa.array(cells, pa.string()) for cells in texts.values()), strict=True))
        return text.from_items(pa.table(items), fields, spec, request.root)


class Numbers:
    """Numbers, for a `Series` (length, channels), a `Grid` (channels, height, width), `Tokens` (ids) or `Tabular`
    (numbers): the columns in the order of the input's values, the last axis fastest. A column may hold lists.
    """

    def __init__(self, *names: str) -> None:
        if not names:
            raise OptionError("Numbers must name at least one column")
        self.columns = names

    def __repr__(self) -> str:
        return f"Numbers({', '.join(map(repr, self.columns))})"

    def column(self, rows: Rows, chosen: np.ndarray, spec: Input, request: Request) -> Column:
        read = [_numbers(rows, name, chosen) for name in self.columns]
        values = read[0] if len(read) == 1 else np.concatenate(read, axis=1)
        expected = math.prod(spec.shape)
        if values.shape[1] != expected:
            size = " x ".join(map(str, spec.shape))
            raise DataError(
                f"{rows.where(int(chosen[0]))}: {values.shape[1]} numbers in a row; input {spec.name!r} takes {size}"
            )
        with np.errstate(over="ignore", invalid="ignore"):  # what does not fit is refused below
            arrays = values.astype(spec.dtype)
        legal = np.isfinite(arrays).all(1) if np.dtype(spec.dtype).kind == "f" else (arrays == values).all(1)
        if isinstance(spec, Tokens):
            legal &= ((values >= 0) & (values < spec.vocabulary)).all(1)
        if not legal.all():
            row, kind = (
                int(np.argmin(legal)),
                f"ids from 0 to {spec.vocabulary - 1}" if isinstance(spec, Tokens) else spec.dtype,
            )
            raise DataError(
                f"{rows.where(int(chosen[row]))}: a number that does not fit input {spec.name!r}; expected {kind}"
            )
        first, *rest = spec.shape
        key = digest(
            "numbers-1",
            self.columns,
            spec.shape,
            spec.dtype,
            np.asarray(chosen, np.int64).tobytes(),
            _files_key(rows, self.columns),
        )
        return Windows(
            series=[arrays.reshape(-1, *rest)],
            which=np.zeros(len(chosen), np.int64),
            start=np.arange(len(chosen)) * first,
            length=first,
            series_key=key,
        )


def _is(spec: Input) -> str:
    channels = f" of {spec.channels} channels" if isinstance(spec, Grid | Series) else ""
    return f"input {spec.name!r} is a {type(spec).__name__}{channels} and dtype {spec.dtype}"


def _files_key(rows: Rows, names: Sequence[str]) -> str:
    files = rows.files if rows.location is None else text.files_of(rows.location, names)
    return digest_files(rows.folder, [text.relative(file, rows.folder) for file in files])


def _paths(rows: Rows, name: str, chosen: np.ndarray) -> pa.Table | None:
    """Return the paths of a column, checked; None if it holds the bytes of files."""
    kind = rows.table[name].type
    if pa.types.is_struct(kind) or holds_bytes(kind):
        return None
    paths = rows.texts(name, chosen)
    for row, path in zip(chosen, paths, strict=True):
        if not path:
            raise DataError(f"{rows.where(int(row))}: no path in column {name}")
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts or "\0" in path:
            raise DataError(
                f"{rows.where(int(row))}: path {shown(path)} leads out of {rows.folder}; expected one relative to it"
            )
        try:
            check_regular(rows.folder / path)
        except DataError as error:
            raise DataError(f"{rows.where(int(row))}: {first_line(error):.400}") from error
    return pa.table({"path": pa.array(paths, pa.string())})


def _from_bytes(
    rows: Rows,
    name: str,
    chosen: np.ndarray,
    decode: Callable[[BytesIO, str], np.ndarray],
    spec: Input,
    request: Request,
    version: str,
) -> Decoded:
    """Make a column that decodes the bytes in a table's cells."""
    assert rows.location is not None, "only Parquet tables hold bytes"
    paths = [text.relative(file, request.root) for file in text.files_of(rows.location, (name,))]
    return Decoded(
        items=pa.table({"path": text.repeated(paths[0], len(chosen)), "row": np.asarray(chosen, np.int64)}),
        decode=partial(_decode_cell, location=rows.location, name=name, decode=decode),
        root=request.root,
        shape=spec.shape,
        dtype=spec.dtype,
        version=digest(version, name, digest_files(request.root, paths)),  # all files; "path" has only the first
    )


def _decode_cell(
    row: dict[str, Any], *, location: text.TableLocation, name: str, decode: Callable[[BytesIO, str], np.ndarray]
) -> np.ndarray:
    cell = location.column(name)[row["row"]].as_py()
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    if not isinstance(content, bytes) or not content:
        raise DataError(f"{location.row(row['row'])}: column {name} holds no bytes of a file")
    return decode(BytesIO(content), location.row(row["row"]))


def _picture(content: BytesIO, where: str, *, width: int, height: int, scaled: bool) -> np.ndarray:
    at_least = (image.MARGIN * width, image.MARGIN * height) if scaled else None
    return image.to_array(image.open_rgb(content, where, at_least), width, height)


def _recording(content: BytesIO, where: str, *, bands: int, frames: int, statistics: audio.Statistics) -> np.ndarray:
    return audio.spectrogram(*audio.read(content, name=where), where, bands, frames, statistics)


def _numbers(rows: Rows, name: str, chosen: np.ndarray) -> np.ndarray:
    """Read the numbers of a column: (rows, numbers in a cell) float64."""
    cells = rows.table[name].take(pa.array(chosen)).combine_chunks()
    if pa.types.is_list(cells.type) or pa.types.is_large_list(cells.type) or pa.types.is_fixed_size_list(cells.type):
        lengths = pc.list_value_length(cells).fill_null(0).to_numpy()
        if len(other := np.flatnonzero((lengths != lengths[0]) | (lengths == 0))):
            raise DataError(
                f"{rows.where(int(chosen[other[0]]))}: {lengths[other[0]]} numbers in column {name}; expected "
                f"{lengths[0] or 'some'}, as many in every row"
            )
        cells = cells.flatten()
    try:
        values = pc.cast(cells, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # a text that is no number, or one with spaces
        values = np.array([number(cell) for cell in cells.to_pylist()])
    if len(bad := np.flatnonzero(~np.isfinite(values))):
        cell, row = cells[int(bad[0])].as_py(), int(chosen[bad[0] * len(chosen) // len(values)])
        found = "no number" if cell in (None, "") else f"{shown(cell)}, not a finite number,"
        raise DataError(f"{rows.where(row)}: {found} in column {name}")
    return values.reshape(len(chosen), -1)
