"""Limits of parquet tables, which can unpack to far more than their size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dabs_rq.errors import DabsRqError, DataError
from dabs_rq.files import reading

RATIO, SMALLEST = 200, 256 << 20  # the largest size of a table in proportion to its file, and in bytes


def check_size(file: Path, error: type[DabsRqError] = DataError) -> None:
    """Raise `error` unless `file` is a parquet table that unpacks to at most `RATIO` times its size, or `SMALLEST`.

    Counts 8 bytes for a value and the length of a text. A text that stands once in the file may stand in many rows of
    the table: where that could exceed the limit, the texts are counted, without unpacking them.
    """
    from pyarrow import parquet

    with reading(file, "damaged or not a parquet table", error=error), parquet.ParquetFile(file) as opened:
        check_opened(file, opened, error)


def check_opened(file: Path, opened: Any, error: type[DabsRqError] = DataError) -> None:
    """Check the size as `check_size`, of a `pyarrow.parquet.ParquetFile` that is open."""
    limit = max(RATIO * file.stat().st_size, SMALLEST)
    groups = [opened.metadata.row_group(number) for number in range(opened.metadata.num_row_groups)]
    columns = [group.column(number) for group in groups for number in range(group.num_columns)]
    size = max(sum(c.total_uncompressed_size for c in columns), 8 * sum(c.num_values for c in columns))
    size = max(size, 8 * opened.metadata.num_rows)
    texts = [c for c in columns if c.physical_type == "BYTE_ARRAY"]
    if size <= limit < sum(c.num_values * c.total_uncompressed_size for c in texts):
        for name in sorted({c.path_in_schema for c in texts}):
            size = max(size, _text_bytes(file, name, limit))
    if size > limit:
        raise error(f"{file}: it unpacks to {size:,} bytes or more, expected at most {limit:,} of a file of its size")


def _text_bytes(file: Path, name: str, limit: int) -> int:
    """Add the lengths of the texts in a column, also in structs and lists, until they exceed `limit`."""
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import parquet

    total = 0
    with parquet.ParquetFile(file, read_dictionary=[name]) as opened:
        for batch in opened.iter_batches(4096, columns=[name]):
            texts: Any = batch.column(0)
            while pa.types.is_nested(texts.type):  # of a struct only the named field was read
                flat = texts.flatten()
                texts = flat[0] if isinstance(flat, list) else flat
            lengths = pc.binary_length(texts.dictionary)
            total += pc.sum(lengths.take(texts.indices)).as_py() or 0
            if total > limit:
                break
    return total
