"""Limits of parquet tables, which can unpack to far more than their size."""

from __future__ import annotations

from pathlib import Path

from dabs_rq.errors import DabsRqError, DataError
from dabs_rq.files import reading

RATIO, SMALLEST = 200, 256 << 20  # the largest size of a table in proportion to its file, and in bytes


def check_size(file: Path, error: type[DabsRqError] = DataError) -> None:
    """Raise `error` unless `file` is a parquet table that unpacks to at most `RATIO` times its size, or `SMALLEST`.

    Reads what the file declares, and counts 8 bytes for a value.
    """
    from pyarrow import parquet

    with reading(file, "a parquet table", error=error), parquet.ParquetFile(file) as opened:
        limit = max(RATIO * file.stat().st_size, SMALLEST)
        groups = [opened.metadata.row_group(group) for group in range(opened.metadata.num_row_groups)]
        columns = [group.column(number) for group in groups for number in range(group.num_columns)]
        size = max(sum(column.total_uncompressed_size for column in columns), 8 * sum(c.num_values for c in columns))
        if size > limit or opened.metadata.num_rows > limit // 8:
            rows = opened.metadata.num_rows
            raise error(
                f"{file}: {rows:,} rows of {size:,} bytes, expected at most {limit:,} bytes in a file of its size"
            )
