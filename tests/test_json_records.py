"""JSON lists of records: read one at a time, with their places in the file, and refused by record and byte."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dabs_rq.data.readers import json_records
from dabs_rq.errors import DataError

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
records = st.lists(st.dictionaries(st.text(max_size=6), values, max_size=4), min_size=1, max_size=8)


@given(records, st.sampled_from([None, 0, 2]), st.booleans(), st.integers(1, 40))
def test_any_list_of_records_is_read_from_pieces_of_any_size(
    written: list[dict[str, Any]], indent: int | None, ascii_only: bool, chunk: int
) -> None:
    content = json.dumps(written, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_records, "CHUNK", chunk)
        file = _file(content)
        found = list(json_records.read(file))
    assert [record.number for record in found] == list(range(len(written)))
    for record, expected in zip(found, written, strict=True):
        part = content[record.start : record.start + len(record.text)]
        assert json.loads(part) == expected and part.decode("latin-1") == record.text
        if ascii_only:
            assert record.value == expected


def _file(content: bytes) -> Path:
    import tempfile

    file = Path(tempfile.mkdtemp()) / "records.json"
    file.write_bytes(content)
    return file


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "byte 0: expected '[' at the start of a list of records, found the end of the file (is it complete?)"),
        ('{"a": 1}', "byte 0: expected '[' at the start of a list of records, found '{'"),
        ("[]", "the list of records is empty"),
        ('[{"a": 1}, ', "record 1, which begins at byte 11, is not JSON at byte 11"),
        ('[{"a": 1}, {"a": ', "record 1, which begins at byte 11, is not JSON at byte 17"),
        ('[{"a": 1}, {"a" 2}]', "record 1, which begins at byte 11, is not JSON at byte 16"),
        ('[{"a": 1} {"a": 2}]', "byte 10: expected ']' or a comma after record 0, found '{'"),
        ('[{"a": 1}', "byte 9: expected ']' or a comma after record 0, found the end of the file (is it complete?)"),
        ('[{"a": 1}, 7]', "record 1, byte 11: expected an object, found 7"),
        ('[{"a": 1}] x', "byte 11: expected the end of the file after the list, found 'x'"),
        ('[{"a": 1}, ]', "record 1, which begins at byte 11, is not JSON at byte 11"),
        ("[" + "[" * 100_000, "record 0, which begins at byte 1, is not JSON"),
        ('[{"a": ' + "9" * 5_000 + "}]", "record 0, which begins at byte 1, is not JSON"),
    ],
)
def test_what_is_wrong_is_named_by_record_and_byte(content: str, expected: str) -> None:
    file = _file(content.encode())
    with pytest.raises(DataError) as error:
        list(json_records.read(file))
    assert str(error.value).startswith(f"{file}: ") and expected in str(error.value)


def test_a_record_without_end_is_not_read_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_records, "CHUNK", 1_000)
    monkeypatch.setattr(json_records, "LONGEST", 10_000)
    file = _file(b'[{"a": "' + b"x" * 10_000_000)
    read = json_records.read(file)
    with pytest.raises(DataError, match="record 0, which begins at byte 1"):
        next(read)


def test_the_records_before_a_damaged_one_are_read() -> None:
    read = json_records.read(_file(b'[{"a": 1}, {"a": 2}, oh]'))
    assert [next(read).value, next(read).value] == [{"a": 1}, {"a": 2}]
    with pytest.raises(DataError, match="record 2"):
        next(read)


@pytest.mark.parametrize("what", ["missing", "folder"])
def test_what_is_no_file_is_named(what: str, tmp_path: Path) -> None:
    file = tmp_path / "records.json"
    if what == "folder":
        file.mkdir()
    with pytest.raises(DataError, match=r"records\.json: (no such file|expected a file, found a folder)"):
        list(json_records.read(file))
