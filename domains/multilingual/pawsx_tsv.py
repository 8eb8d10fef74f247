"""PAWS-X in the form of its publisher's archive: a tab-separated table per language and split."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dabs_rq.errors import DataError

FOLDER = "x-final"
COLUMNS = ("id", "sentence1", "sentence2", "label")
FILES = {"train": "translated_train.tsv", "validation": "dev_2k.tsv", "test": "test_2k.tsv"}
ENGLISH = FILES | {"train": "train.tsv"}  # nothing was translated


@dataclass(frozen=True)
class PairsFile:
    """The file of one language and split."""

    file: Path

    @classmethod
    def of(cls, folder: Path, language: str, split: str) -> PairsFile:
        """Return the file below `folder`, the source's; it need not exist. split: the hub's name."""
        return cls(folder / FOLDER / language / (ENGLISH if language == "en" else FILES)[split])

    @cached_property
    def table(self) -> pa.Table:
        """All columns as text, in file order. Quotes have no meaning in these files.

        Raises DataError, naming file and line, for another header or a line of another number of cells.
        """
        from pyarrow import csv

        bad: list[csv.InvalidRow] = []

        def keep(row: csv.InvalidRow) -> str:
            bad.append(row)
            return "skip"

        try:
            table = csv.read_csv(
                self.file,
                read_options=csv.ReadOptions(use_threads=False),  # only then rows have numbers
                parse_options=csv.ParseOptions(delimiter="\t", quote_char=False, invalid_row_handler=keep),
                convert_options=csv.ConvertOptions(
                    column_types=dict.fromkeys(COLUMNS, pa.string()), strings_can_be_null=False
                ),
            )
        except FileNotFoundError as error:
            raise DataError(f"{self.file}: no such file") from error
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            raise DataError(f"{self.file}: not a tab-separated table of UTF-8 text ({error})") from error
        if bad:
            raise DataError(
                f"{self.file}:{bad[0].number}: expected {len(COLUMNS)} cells separated by tabs, "
                f"found {bad[0].actual_columns}"
            )
        if tuple(table.column_names) != COLUMNS:
            raise DataError(f"{self.file}:1: expected the header {', '.join(COLUMNS)}; found {table.column_names}")
        if table.num_rows == 0:
            raise DataError(f"{self.file}: holds no pair")
        return table.combine_chunks()

    def column(self, field: str) -> pa.ChunkedArray:
        return self.table[field]

    def row(self, number: int) -> str:
        """Describe where row `number` of the table is."""
        return f"{self.file}:{number + 2}"

    def labels(self) -> np.ndarray:
        """Return the labels: (n,) int64. Raises DataError for one that is neither 0 nor 1."""
        column = self.column("label")
        legal = pc.is_in(column, pa.array(["0", "1"]))
        if (row := pc.index(legal, False).as_py()) >= 0:
            raise DataError(f"{self.row(row)}: label {column[row].as_py()!r}; 0 or 1 (paraphrase) expected")
        return pc.cast(column, pa.int64()).to_numpy()
