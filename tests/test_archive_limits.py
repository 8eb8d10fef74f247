"""Archives and tables that would fill the memory or the disk, and archives on a full disk."""

from __future__ import annotations

import gzip
import io
import os
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dabs_rq.data.readers import parquet, text
from dabs_rq.errors import DataError, RecordError, WriteError
from dabs_rq.sources import archives
from tests.test_bad_places_and_weights import at_most


def extract(file: Path, content: bytes) -> Path:
    file.write_bytes(content)
    into = file.parent / "into"
    into.mkdir()
    archives.extract(file, into)
    return into


def header(kind: bytes, size: int) -> bytes:
    member = tarfile.TarInfo("x")
    member.type, member.size = kind, size
    return member.tobuf()


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
def test_a_header_that_would_fill_the_memory_is_refused(kind: bytes, tmp_path: Path) -> None:
    size = 40 << 20
    content = gzip.compress(header(kind, size) + b"a" * size, 1)
    tracemalloc.start()
    with pytest.raises(DataError, match=r"x.tar.gz: damaged or not an archive .*a header of 41,943,040 bytes"):
        extract(tmp_path / "x.tar.gz", content)
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()
    assert not list((tmp_path / "into").iterdir())


def test_many_small_headers_are_limited_in_all(tmp_path: Path) -> None:
    one = header(tarfile.XGLTYPE, 1 << 19) + b"13 a=" + b"b" * ((1 << 19) - 6) + b"\n"
    with pytest.raises(DataError, match=r"x.tar.gz: (refused, it unpacks to more than 100 times|damaged)"):
        extract(tmp_path / "x.tar.gz", gzip.compress(one * 300, 1))


def test_a_zip_file_that_lies_about_its_sizes_writes_no_more_than_it_says(tmp_path: Path) -> None:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(20 << 20))
    content = written.getvalue().replace(struct.pack("<I", 20 << 20), struct.pack("<I", 9))
    with pytest.raises(DataError, match=r"x.zip: damaged"):
        extract(tmp_path / "x.zip", content)
    assert sum(file.stat().st_size for file in (tmp_path / "into").rglob("*") if file.is_file()) <= 9


@pytest.mark.parametrize("name", ["x.zip", "x.tar.gz", "x.tar"])
def test_a_pipe_is_no_archive(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(DataError, match=f"{name}: expected a file, found a pipe"):
        archives.extract(tmp_path / name, tmp_path)


@pytest.mark.parametrize("name", ["x.zip", "x.tar"])
def test_a_full_disk_is_no_damage_of_the_archive(name: str, tmp_path: Path) -> None:
    written = io.BytesIO()
    if name == "x.zip":
        with zipfile.ZipFile(written, "w") as archive:
            archive.writestr("a", bytes(50_000))
    else:
        with tarfile.open(fileobj=written, mode="w") as tar:
            member = tarfile.TarInfo("a")
            member.size = 50_000
            tar.addfile(member, io.BytesIO(bytes(50_000)))
    (tmp_path / name).write_bytes(written.getvalue())
    (tmp_path / "into").mkdir()
    with at_most(20_000), pytest.raises(WriteError, match="cannot be written"):
        archives.extract(tmp_path / name, tmp_path / "into")


# ---- parquet ---------------------------------------------------------------------------------------------------------


def test_a_text_that_stands_once_in_the_file_and_in_every_row_is_refused(tmp_path: Path) -> None:
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 20_000, pa.int32()), pa.array(["a" * 100_000]))
    file = tmp_path / "x.parquet"
    pq.write_table(pa.table({"sentence": column, "label": [0] * 20_000}), file)
    assert file.stat().st_size < 1 << 20
    with pytest.raises(DataError, match=r"x.parquet: it unpacks to .* bytes or more, expected at most"):
        text.TableLocation((file,)).open(("sentence",))


@pytest.mark.parametrize("wrap", [
    lambda texts: pa.StructArray.from_arrays([texts, pa.array(range(len(texts)))], ["bytes", "path"]),
    lambda texts: pa.ListArray.from_arrays(range(len(texts) + 1), texts),
    lambda texts: pa.ListArray.from_arrays(range(len(texts) + 1), pa.StructArray.from_arrays([texts], ["a.b"])),
])  # fmt: skip
def test_a_text_inside_a_struct_or_a_list_is_counted(wrap: Callable[[Any], Any], tmp_path: Path) -> None:
    file = tmp_path / "x.parquet"
    pq.write_table(pa.table({"image.x": wrap(pa.array(["a" * 300_000] * 1_000))}), file)
    assert file.stat().st_size < 1 << 20
    with pytest.raises(DataError, match=r"x.parquet: it unpacks to .* bytes or more, expected at most"):
        text.TableLocation((file,)).open(("image.x",))


def test_a_number_that_stands_once_in_the_file_and_in_every_row_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.parquet"
    with pq.ParquetWriter(file, pa.schema({"label": pa.int8()})) as writer:
        for _ in range(40):
            writer.write_table(pa.table({"label": pa.repeat(pa.scalar(1, pa.int8()), 1_000_000)}))
    with pytest.raises(RecordError, match=r"x.parquet: it unpacks to 320,000,000 bytes"):
        parquet.check_size(file, RecordError)


def test_texts_that_repeat_as_in_real_tables_are_read(tmp_path: Path) -> None:
    file = tmp_path / "x.parquet"
    pq.write_table(pa.table({"sentence": [f"question {n // 5} " * 200 for n in range(3000)]}), file)
    assert len(text.TableLocation((file,)).open(("sentence",))) == 3000


@pytest.mark.parametrize("kind", [pa.uint64(), pa.int64(), pa.decimal128(30)])
def test_labels_beyond_64_bits_are_named(kind: pa.DataType, tmp_path: Path) -> None:
    file = tmp_path / "x.parquet"
    largest = {"uint64": 2**64 - 1, "int64": 2**63 - 1}.get(str(kind), 10**25)
    pq.write_table(pa.table({"label": pa.array([0, 1, largest], kind)}), file)
    with pytest.raises(DataError, match=r"x.parquet(, row 2: label|: column label holds decimal)"):
        text.labels(text.TableLocation((file,)), 1, "0 or 1 expected")
