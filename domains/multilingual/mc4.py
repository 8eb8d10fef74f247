"""mC4 in seven languages, the unlabelled source of the multilingual domain: a stream, too large to index.

As in DABS, the languages take turns, text by text, until the first of them ends. Nothing is filtered: an empty text is
an example of special tokens and padding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from dabs_rq.data.readers import hub
from dabs_rq.data.readers.text import not_on_hub, tokens_input
from dabs_rq.data.readers.tokenizer import Encode
from dabs_rq.data.requests import Request, missing_text
from dabs_rq.data.streams import Stream
from dabs_rq.domain import Pretraining
from dabs_rq.errors import DataError, MissingDataError
from dabs_rq.files import digest, digest_files, reading
from dabs_rq.spec import Source

if TYPE_CHECKING:
    import datasets
    from pyarrow.parquet import ParquetFile

VERSION = "mc4-1"
LANGUAGES = ("en", "fr", "de", "zh", "es", "ja", "ko")  # the order of their turns
HUB_CONFIGS = {"en": "en-multi"}  # "en" is the cleaned English C4, no part of mC4
COLUMN = "text"
SHARDS = 8
SHUFFLED_TOGETHER = 10_000  # examples, over all shards
REPEATS = 4  # DABS's four workers each read the whole stream
ROWS_AT_ONCE = 64
READ_BYTES = 1 << 18  # read buffer, so that no whole row group is in memory

SOURCE = Source(
    name="mc4",
    title="mC4 (multilingual C4), seven languages",
    url="https://huggingface.co/datasets/allenai/c4",
    folder="text/mc4",
    layout="""
<language>/train.parquet        column text; languages: en fr de zh es ja ko
<language>/validation.parquet   (not needed to pretrain)
several files of a split are called train-00000-of-01024.parquet ...; any number of them will do
""",
    needs=LANGUAGES,
    licence="ODC-BY; the texts' own terms beneath it",
    size="several TB in all: streamed from the hub where it is not on disk",
    citation="Xue et al. 2021, mT5: A massively multilingual pre-trained text-to-text transformer, arXiv:2010.11934",
    hub="allenai/c4",
)


def load(request: Request) -> Stream:
    """Make the stream of a split.

    protocol.mc4_order: "shuffled" reads 8 shards, each an eighth of every language; "repeated" reads one shard in file
    order and yields every batch four times in succession, as DABS does. Reads from the data root if it holds any file
    of mC4, else from the hub.
    Raises: MissingDataError if only some languages are on disk, or if the hub cannot be reached.
    """
    files = {language: _files(request, language) for language in LANGUAGES}
    if all(files.values()):
        root = request.root / SOURCE.folder
        shards = _local_shards(request, root, files)
        content = digest_files(root, (str(file.relative_to(root)) for paths in files.values() for file in paths))
    elif request.made_up or any((request.root / SOURCE.folder).glob("*/*.parquet")):
        raise MissingDataError(_which_are_missing(request, files))
    else:
        shards = _hub_shards(request)
        content = digest(SOURCE.hub, request.split)
    encode = Encode(tokens_input(request), request.root)
    order = request.protocol.mc4_order
    return Stream(
        shards=shards,
        encode=Ids(encode),
        key=digest(VERSION, encode.key, order, content),
        block=SHUFFLED_TOGETHER // SHARDS if order == "shuffled" else 1,
        repeat=1 if order == "shuffled" else REPEATS,
    )


def _shards(request: Request) -> int:
    return SHARDS if request.protocol.mc4_order == "shuffled" else 1


@dataclass(frozen=True)
class Ids:
    """Encodes texts to the input of the domain: ids (n, length) int32."""

    encode: Encode

    def __call__(self, texts: Sequence[str]) -> tuple[np.ndarray, ...]:
        return (self.encode([(text,) for text in texts]),)


@dataclass(frozen=True)
class InTurns:
    """A shard: parts of all languages, read in turns. length: examples until the first part ends, None if unknown."""

    parts: tuple[Rows | HubRows, ...]
    length: int | None

    def read(self, start: int) -> Iterator[tuple[str, str]]:
        """Yield (id, text) from number `start` to the end of the shard. Opens files in the reading process."""
        turn, place = divmod(start, len(self.parts))
        readers = [part.read(turn + (number < place)) for number, part in enumerate(self.parts)]
        in_turns = _until_one_ends(readers[place:] + readers[:place])
        return in_turns if self.length is None else islice(in_turns, max(0, self.length - start))


def _until_one_ends(readers: list[Iterator[tuple[str, str]]]) -> Iterator[tuple[str, str]]:
    while True:
        for reader in readers:
            if (example := next(reader, None)) is None:
                return
            yield example


# ---- on disk -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rows:
    """Rows [first, stop) of a language, counted over all its files. files: (path relative to `root`, rows)."""

    root: Path
    files: tuple[tuple[str, int], ...]
    first: int
    stop: int

    def read(self, start: int) -> Iterator[tuple[str, str]]:
        before, first = 0, self.first + start
        for path, rows in self.files:
            low, high = max(first - before, 0), min(self.stop - before, rows)
            if low < high:
                for row, text in _rows(self.root / path, low, high):
                    yield f"{path}:{row}", text
            before += rows


def _files(request: Request, language: str) -> list[Path]:
    folder = request.root / SOURCE.folder / language
    whole = folder / f"{request.split}.parquet"
    return [whole] if whole.exists() else sorted(folder.glob(f"{request.split}-*.parquet"))


def _which_are_missing(request: Request, files: dict[str, list[Path]]) -> str:
    missing = [language for language in LANGUAGES if not files[language]]
    return (
        f"mC4, split {request.split!r}, is missing in {', '.join(missing)}. All of {', '.join(LANGUAGES)} are needed, "
        f"because they are read in turns.\n{missing_text(SOURCE, request.root, _expected(request, missing))}"
    )


def _expected(request: Request, languages: Sequence[str]) -> list[Path]:
    return [request.root / SOURCE.folder / language / f"{request.split}.parquet" for language in languages]


def _local_shards(request: Request, root: Path, files: dict[str, list[Path]]) -> tuple[InTurns, ...]:
    language_files = [
        tuple((str(file.relative_to(root)), _count_rows(file)) for file in files[language]) for language in LANGUAGES
    ]
    totals = [sum(rows for _, rows in files_and_rows) for files_and_rows in language_files]
    shards = _shards(request)
    for language, files_and_rows, total in zip(LANGUAGES, language_files, totals, strict=True):
        if total < shards:
            raise DataError(
                f"{root / files_and_rows[0][0]}: {language}, split {request.split!r}, has only {total} rows; "
                f"at least {shards} are needed, one for each shard"
            )
    mixed_shards = []
    for number in range(shards):
        parts = tuple(
            Rows(root, files_and_rows, total * number // shards, total * (number + 1) // shards)
            for files_and_rows, total in zip(language_files, totals, strict=True)
        )
        mixed_shards.append(InTurns(parts, len(parts) * min(part.stop - part.first for part in parts)))
    return tuple(mixed_shards)


def _open(file: Path) -> ParquetFile:
    """Open a file. Raises DataError if it is not a parquet table or lacks a column of texts."""
    from pyarrow.parquet import ParquetFile

    with reading(file, "damaged or not a parquet table"):
        opened = ParquetFile(file, buffer_size=READ_BYTES, pre_buffer=False)
    schema = opened.schema_arrow
    if COLUMN not in schema.names:
        raise DataError(f"{file}: expected a column {COLUMN}, found {', '.join(schema.names)}")
    if not (pa.types.is_string(kind := schema.field(COLUMN).type) or pa.types.is_large_string(kind)):
        raise DataError(f"{file}: column {COLUMN} holds {kind}, expected strings")
    return opened


def _count_rows(file: Path) -> int:
    with _open(file) as opened:
        return opened.metadata.num_rows


def _rows(file: Path, low: int, high: int) -> Iterator[tuple[int, str]]:
    """Yield (number, text) of rows [low, high) without reading row groups before or after them."""
    with _open(file) as opened:
        groups = range(opened.metadata.num_row_groups)
        ends = np.cumsum([opened.metadata.row_group(group).num_rows for group in groups])
        needed = [group for group in groups if ends[group] > low and (group == 0 or ends[group - 1] < high)]
        row = int(ends[needed[0] - 1]) if needed[0] else 0
        try:
            for batch in opened.iter_batches(ROWS_AT_ONCE, row_groups=needed, columns=[COLUMN]):
                inside = batch.column(0).slice(max(0, low - row), max(0, high - max(low, row)))
                for number, text in enumerate(inside.to_pylist(), max(low, row)):
                    if text is None:
                        raise DataError(f"{file}: row {number} holds no {COLUMN} (null)")
                    yield number, text
                row += len(batch)
                if row >= high:
                    return
        except (pa.ArrowException, OSError, ValueError) as error:
            raise DataError(f"{file}: damaged after row {row} ({error})") from error


# ---- on the hub ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HubRows:
    """Every `shards`-th file of a language on the hub from number `shard` on; every `shards`-th text if there are fewer
    files than shards."""

    config: str
    split: str
    shard: int
    shards: int

    def read(self, start: int) -> Iterator[tuple[str, str]]:
        source, step = _on_hub(self.config, self.split), 1
        if self.shards > 1 and source.num_shards >= self.shards:
            source = source.shard(num_shards=self.shards, index=self.shard, contiguous=False).skip(start)
        else:
            step = self.shards
            source = source.skip(self.shard + step * start)
        for number, text in enumerate(islice(self._texts(source), None, None, step), start):
            name = f"{self.config}/{self.split}/{self.shard}-of-{self.shards}:{number}"
            if not isinstance(text, str):
                raise DataError(f"{SOURCE.hub} on the hub, {name}: expected a {COLUMN}, found {text!r}")
            yield name, text

    def _texts(self, source: datasets.IterableDataset) -> Iterator[Any]:
        where = f"{SOURCE.hub} on the hub, {self.config}, split {self.split!r}"
        try:
            # `iter`, because plain iteration would divide the files among the loader workers.
            for table in source.with_format("arrow").iter(batch_size=ROWS_AT_ONCE):
                if COLUMN not in table.column_names:
                    raise DataError(f"{where}: expected a column {COLUMN}, found {', '.join(table.column_names)}")
                yield from table[COLUMN].to_pylist()
        except DataError:
            raise
        except Exception as error:  # a network failure can raise any type
            raise DataError(
                f"{where}: reading failed ({type(error).__name__}: {error}). If the network failed, run again: "
                "pretraining resumes from its last resume point."
            ) from error


def _hub_shards(request: Request) -> tuple[InTurns, ...]:
    _on_hub.cache_clear()
    shards = _shards(request)
    configs = [HUB_CONFIGS.get(language, language) for language in LANGUAGES]
    for config in configs:
        try:
            _on_hub(config, request.split)
        except Exception as error:  # the hub's client raises errors of several libraries
            raise not_on_hub(request, SOURCE, _expected(request, LANGUAGES), config, error) from error
    return tuple(
        InTurns(tuple(HubRows(config, request.split, number, shards) for config in configs), None)
        for number in range(shards)
    )


@lru_cache(maxsize=len(LANGUAGES))
def _on_hub(config: str, split: str) -> datasets.IterableDataset:
    import datasets

    hub.reach(f"{SOURCE.hub} {config}")
    return datasets.load_dataset(SOURCE.hub, config, split=split, streaming=True)


MC4 = Pretraining(source=SOURCE, load=load)
