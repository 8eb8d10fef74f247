"""Records whose JSON was changed at random: each is refused with its file named, or read as exactly what it says."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dabs_rq.errors import RecordError
from dabs_rq.records import record
from dabs_rq.records.record import Record
from tests.test_records_and_table import VALUES

WHOLE = dataclasses.asdict(
    Record(
        **VALUES | {"also": {"matthews": 0.25}, "standard_error": 0.01, "probe": {"probe": "lbfgs", "strength": 1.0}}
    )
)
NAMES = sorted(WHOLE)
numbers = st.one_of(
    st.floats(), st.integers(), st.sampled_from([0, 1, -1, 0.0, 1.0, 2, True, 10**400, math.nan, math.inf])
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=8), st.sampled_from(["ok", "failed", "\ud800"])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=6,
)
changes = st.dictionaries(st.one_of(st.sampled_from(NAMES), st.text(max_size=5)), values, min_size=1, max_size=4)
# Only what the library does, not how long one call takes on a busy machine.
often = settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def read_or_refuse(file: Path, text: str) -> Record | None:
    file.write_text(text, encoding="utf-8")
    try:
        return record.read(file)
    except RecordError as error:
        assert str(file) in str(error)
        return None


@often
@given(changes=changes, dropped=st.sets(st.sampled_from(NAMES), max_size=2))
def test_a_changed_record_is_refused_or_is_what_it_says(
    changes: dict[str, Any], dropped: set[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.getbasetemp() / "changed.json"
    told = {name: value for name, value in (WHOLE | changes).items() if name not in dropped}
    one = read_or_refuse(file, json.dumps(told))
    if one is None:
        return
    seen = dataclasses.asdict(one)
    assert {name: seen[name] for name in told} == told and told.keys() <= seen.keys()
    for name, value in told.items():  # True equals 1, and would not be refused by the comparison above
        assert isinstance(value, bool) == isinstance(seen[name], bool)
    assert read_or_refuse(file, json.dumps(seen, allow_nan=False)) == one
    assert (one.status == "ok") == (one.score is not None) and (one.status == "failed" or one.reason is None)
    assert one.score is None or -1 <= one.score <= 1
    assert min(one.n_examples, one.n_train, one.seed, one.seconds) >= 0


@often
@given(place=st.integers(0, 2000), length=st.integers(0, 12), put=st.text(max_size=6))
def test_a_record_with_other_characters_is_refused_or_can_be_written_again(
    place: int, length: int, put: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file, text = tmp_path_factory.getbasetemp() / "characters.json", json.dumps(WHOLE, indent=1)
    place %= len(text)
    changed = text[:place] + put.encode(errors="replace").decode() + text[place + length :]
    if (one := read_or_refuse(file, changed)) is not None:
        assert read_or_refuse(file, json.dumps(dataclasses.asdict(one), allow_nan=False)) == one


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"n_examples": "4"}, "n_examples"),
        ({"n_examples": -1}, "n_examples"),
        ({"n_train": 1.5}, "n_train"),
        ({"seed": True}, "seed"),
        ({"made_up_data": 1}, "made_up_data"),
        ({"method": 7}, "method"),
        ({"also": {"pearson": "high"}}, "also.pearson"),
        ({"also": [0.5]}, "also"),
        ({"standard_error": math.nan}, "standard_error"),
        ({"options": {"a": [1, {"b": math.inf}]}}, r"options\.a\.1\.b"),
        ({"probe": {"last_loss": -math.inf}}, r"probe\.last_loss"),
        ({"seconds": math.inf}, "seconds"),
        ({"majority": 1.5}, "majority"),
        ({"code": {"a": None}}, r"code\.a"),
        ({"versions": None}, "versions"),
        ({"reason": "none needed"}, "reason .* with status 'ok'"),
        ({"status": "done"}, "status"),
        ({"status": None}, "status"),
        ({"format": True}, "format"),
    ],
)
def test_a_field_of_the_wrong_kind_is_named(changes: dict[str, Any], field: str, tmp_path: Path) -> None:
    file = tmp_path / "one.json"
    file.write_text(json.dumps(WHOLE | changes))
    with pytest.raises(RecordError, match=rf"one\.json.*{field}"):
        record.read(file)
    file.write_text(json.dumps(WHOLE))
    assert record.read(file) == Record(**WHOLE)


def test_what_is_no_file_or_too_deep_is_refused(tmp_path: Path) -> None:
    for text in ("[" * 100_000, "1" * 5000, '{"format": 1, "format": 1}'):
        assert read_or_refuse(tmp_path / "one.json", text) is None
    for file in (tmp_path, tmp_path / "missing.json"):
        with pytest.raises(RecordError, match=str(file)):
            record.read(file)
