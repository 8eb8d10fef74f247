"""The prepared cache: what is kept, what it is kept under, and what happens when it is damaged."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dabs_rq.data.columns import Decoded
from dabs_rq.data.prepared import Store, Stored
from dabs_rq.data.room import Room
from dabs_rq.errors import DataError, OptionError

FILES, PER_FILE = 3, 4


def decode(row: dict[str, Any], root: Path) -> np.ndarray:
    """Numbers that the file's text and the row decide; a file that says "bad" cannot be decoded."""
    seed = int((root / row["path"]).read_text())
    return np.arange(6, dtype=np.float32).reshape(2, 3) + 100 * seed + row["part"]


def decode_varying(row: dict[str, Any], root: Path) -> np.ndarray:
    return np.full((row["part"], 2), int((root / row["path"]).read_text()), np.int16)


def decode_failing(row: dict[str, Any], root: Path) -> np.ndarray:
    raise DataError(f"{root / row['path']}: not ours")


def decode_never(row: dict[str, Any], root: Path) -> np.ndarray:
    raise AssertionError("decoded again")


def column(
    root: Path, decoder: Callable[..., np.ndarray] = decode, per_file: int = PER_FILE, **changes: Any
) -> Decoded:
    paths = [f"{number}.txt" for number in range(FILES)]
    items = pa.table({"path": np.repeat(paths, per_file), "part": np.tile(np.arange(per_file), FILES)})
    values: dict[str, Any] = {"shape": (2, 3), "dtype": "float32", "version": "1", **changes}
    return Decoded(items=items, decode=partial(decoder, root=root), root=root, **values)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    for number in range(FILES):
        (folder / f"{number}.txt").write_text(str(number))
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "prepared", policy="always")


def everything(one: Any) -> np.ndarray:
    return one.take(np.arange(len(one)))


def test_always_and_never_give_the_same(root: Path, store: Store) -> None:
    source = column(root)
    kept = store.prepare(source)
    decoded = Store(store.folder, policy="never").prepare(source)
    assert isinstance(kept, Stored) and decoded is source
    rows = np.array([7, 0, 0, 11])
    np.testing.assert_array_equal(kept.take(rows), decoded.take(rows))
    np.testing.assert_array_equal(kept.select(rows).take(np.array([3, 1])), decoded.take(np.array([11, 0])))
    assert kept.take(rows).shape == (4, 2, 3) and kept.take(rows).dtype == np.float32
    assert store.prepare(kept) is kept


def test_arrays_of_any_length_are_read_from_the_cache_even_if_nothing_new_is_prepared(root: Path, store: Store) -> None:
    """Recordings and tables are needed whole to list their examples: decoding them would take as long as preparing."""
    never, shape = Store(store.folder, policy="never"), {"shape": (None, 2), "dtype": "int16"}
    source = column(root, decode_varying, **shape)
    assert never.prepare(source) is source and not store.folder.exists()
    kept = store.prepare(source)
    again = never.prepare(column(root, decode_never, **shape))
    assert isinstance(again, Stored) and again.key == source.key
    assert all(np.array_equal(again[row], kept[row]) for row in range(FILES * PER_FILE))
    file = store.folder / source.key / "data.arrow"
    file.write_bytes(file.read_bytes().replace(kept[11].tobytes(), b"?" * kept[11].nbytes))
    assert never.prepare(source) is source, "a damaged cache is none"
    store.prepare(source)
    (root / "1.txt").write_text("10")
    changed = column(root, decode_varying, **shape)
    assert never.prepare(changed) is changed


def test_keys_tell_contents_apart(root: Path, store: Store) -> None:
    kept = store.load_or_build(column(root))
    assert kept.key == column(root).key, "the policy changes no key"
    some, others = kept.select(np.array([1, 2])), kept.select(np.array([2, 1]))
    assert len({kept.key, some.key, others.key}) == 3
    assert some.key == kept.select(np.array([0, 1, 2])).select(np.array([1, 2])).key


def test_kept_arrays_are_read_without_decoding(root: Path, store: Store) -> None:
    kept = store.prepare(column(root))
    again = store.prepare(column(root, decode_never))
    np.testing.assert_array_equal(everything(again), everything(kept))
    assert isinstance(again, Stored)
    assert again[3].base is not None, "a view of the mapped file"


def test_the_key_follows_the_files_and_the_decoder(root: Path, store: Store) -> None:
    before = everything(store.prepare(column(root)))
    keys = {column(root).key, column(root, version="2").key, column(root, dtype="float64").key}
    os.utime(root / "1.txt", ns=(1, 1))
    keys.add(column(root).key)
    (root / "1.txt").write_text("10")
    keys.add(column(root).key)
    assert len(keys) == 5
    after = everything(store.prepare(column(root)))
    assert (after[4:8] - before[4:8] == 900).all() and (after[:4] == before[:4]).all()


def test_another_root_with_the_same_names_sizes_and_times_has_its_own_arrays(root: Path, store: Store) -> None:
    other = root.with_name("other")
    shutil.copytree(root, other)
    for number in range(FILES):
        (other / f"{number}.txt").write_text(str(9 - number))
        for folder in (root, other):
            os.utime(folder / f"{number}.txt", ns=(1, 1))
    first, second = everything(store.prepare(column(root))), everything(store.prepare(column(other)))
    np.testing.assert_array_equal(second, everything(column(other)))
    assert (first != second).any()


def test_a_file_that_is_replaced_with_its_size_and_time_is_decoded_again(root: Path, store: Store) -> None:
    os.utime(root / "1.txt", ns=(1, 1))
    before = everything(store.prepare(column(root)))
    (root / "1.txt").write_text("7")
    os.utime(root / "1.txt", ns=(1, 1))
    after = everything(store.prepare(column(root)))
    assert (after[4:8] - before[4:8] == 600).all() and (after[:4] == before[:4]).all()


def test_rows_of_another_column_do_not_pass_for_ours(root: Path, store: Store) -> None:
    ours, others = store.load_or_build(column(root)), store.load_or_build(column(root, version="2"))
    for folder in (store.folder / ours.key, store.folder / others.key):
        assert folder.is_dir()
    shutil.copytree(store.folder / others.key, store.folder / ours.key, dirs_exist_ok=True)
    with pytest.raises(DataError, match="differs from what was written"):
        everything(store.prepare(column(root, decode_never)))


def truncate(file: Path, share: float) -> None:
    os.truncate(file, int(file.stat().st_size * share))


def drop_last_batch(file: Path) -> None:
    """A stream that ends between two batches, as one cut off while it was written might."""
    with pa.ipc.open_stream(file.read_bytes()) as stream:
        batches = list(stream)
    assert len(batches) == 2
    with pa.ipc.new_stream(file, batches[0].schema) as stream:
        stream.write_batch(batches[0])


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: drop_last_batch(folder / "data.arrow"),
        lambda folder: truncate(folder / "data.arrow", 0.9),
        lambda folder: truncate(folder / "data.arrow", 0.5),
        lambda folder: truncate(folder / "data.arrow", 0.01),
        lambda folder: truncate(folder / "data.arrow", 0),
        lambda folder: (folder / "data.arrow").write_bytes(b"something else" * 500),
        lambda folder: (folder / "data.arrow").unlink(),
        lambda folder: (shutil.rmtree(folder), folder.mkdir()),
        lambda folder: shutil.rmtree(folder),
    ],
    ids=["a batch less", "-10%", "-50%", "-99%", "empty", "other", "no file", "empty folder", "no folder"],
)
def test_a_damaged_cache_is_built_again(root: Path, store: Store, damage: Callable[[Path], Any]) -> None:
    source = column(root, per_file=400)  # more than 1000 rows: two record batches
    expected = everything(source)
    store.prepare(source)
    damage(store.folder / source.key)
    np.testing.assert_array_equal(everything(store.prepare(source)), expected)
    np.testing.assert_array_equal(everything(store.prepare(column(root, decode_never, per_file=400))), expected)


def test_no_flipped_byte_gives_other_numbers(root: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    source = column(root)
    expected = everything(source)
    store.prepare(source)
    file = store.folder / source.key / "data.arrow"
    whole = file.read_bytes()
    noticed = 0
    for place in range(0, len(whole), 5):
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        try:  # what is noticed at once is built again; the byte may also be one of the padding
            np.testing.assert_array_equal(everything(store.prepare(source)), expected)
        except DataError:
            noticed += 1
            assert not file.exists()
    assert noticed > 50 and capsys.readouterr().out.count("preparing it again") > 50


def test_a_damaged_array_is_told_when_it_is_read(root: Path, store: Store) -> None:
    source = column(root)
    kept = store.prepare(source)
    folder = store.folder / source.key
    content = (folder / "data.arrow").read_bytes()
    last = kept[11].tobytes()
    assert content.count(last) == 1
    (folder / "data.arrow").write_bytes(content.replace(last, bytes(reversed(last))))
    again = store.prepare(column(root, decode_never))
    np.testing.assert_array_equal(again[10], kept[10])
    with pytest.raises(DataError, match=r"prepared example 11 differs from what was written .* run again"):
        again[11]
    assert not folder.exists()


def test_what_an_interrupted_build_left_is_never_read(root: Path, store: Store) -> None:
    source = column(root)
    leftover = store.folder / f".{source.key}.0123456789ab.dabs_rq.tmp"
    leftover.mkdir(parents=True)
    (leftover / "data.arrow").write_bytes(b"half")
    np.testing.assert_array_equal(everything(store.prepare(source)), everything(source))
    assert {path.name for path in store.folder.iterdir()} - {f".{source.key}.lock"} == {source.key}


def test_auto_decodes_on_the_fly_what_does_not_fit(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = column(root)
    small = Store(tmp_path / "prepared", policy="auto", cache_gb=1e-9)
    assert small.prepare(source) is source
    assert "loader.cache_gb=1e-09 allows 0.0 GB" in (said := capsys.readouterr().out) and "decoding on the fly" in said
    assert [path.name for path in (tmp_path / "prepared").iterdir()] == [".room.lock"]
    kept = Store(tmp_path / "prepared", policy="auto", cache_gb=1).prepare(source)
    assert isinstance(kept, Stored)
    assert isinstance(small.prepare(source), Stored), "what is there already is read, whatever would fit now"


def disk_with(free: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=free))


@pytest.mark.parametrize(("free", "kept"), [(2000, True), (300, False)])
def test_the_room_follows_the_free_disk(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, kept: bool
) -> None:
    source = column(root)  # 12 arrays of 24 bytes; nine tenths of the free disk may be taken
    disk_with(free, monkeypatch)
    assert isinstance(Store(tmp_path / "prepared").prepare(source), Stored) == kept


def test_columns_that_others_are_writing_take_their_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk_with(1000, monkeypatch)
    with Room(tmp_path).claimed("aa", 600) as first:
        with Room(tmp_path).claimed("bb", 400) as second, Room(tmp_path).claimed("bb", 200) as third:
            assert (first, second, third) == (True, False, True)
        with Room(tmp_path).claimed("aa", 600) as same:
            assert same, "another process writes the same column, which is then read"
        folder = tmp_path / ".aa.0123456789ab.dabs_rq.tmp"
        folder.mkdir()
        (folder / "data.arrow").write_bytes(bytes(500))
        with Room(tmp_path).claimed("bb", 700) as after:
            assert after, "what is written already is gone from the free disk and is not counted twice"
        assert not Room(tmp_path / "elsewhere", 100).claimed("cc", 101).__enter__()
    with Room(tmp_path).claimed("bb", 900) as alone:
        assert alone
    assert {path.suffix for path in tmp_path.iterdir()} == {".lock", ".tmp", ""}


def test_the_claim_of_a_killed_process_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = (
        "import os, pathlib, sys; from dabs_rq.data.room import Room\n"
        "claim = Room(pathlib.Path(sys.argv[1])).claimed('aa', 600); assert claim.__enter__()\n"
        "print('claimed', flush=True); sys.stdin.read()"
    )
    disk_with(1000, monkeypatch)
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], **pipes) as process:
        assert process.stdout.readline() == "claimed\n"
        with Room(tmp_path).claimed("bb", 400) as beside:
            assert not beside
        process.kill()
        process.wait()
        with Room(tmp_path).claimed("bb", 400) as after:
            assert after
    assert [path.name for path in tmp_path.iterdir()] == [".room.lock"]


def test_an_unknown_policy(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"loader.prepare is one of auto, always, never; got 'sometimes'"):
        Store(tmp_path, policy="sometimes")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"decoder": decode_failing}, r"0\.txt: not ours"),
        ({"shape": (3, 2)}, r"0\.txt: decoded to float32 \(2, 3\), expected float32 \(3, 2\)"),
        ({"dtype": "int64"}, r"0\.txt: decoded to float32 \(2, 3\), expected int64 \(2, 3\)"),
    ],
)
def test_a_failing_decode_names_the_file_and_leaves_nothing(
    root: Path, store: Store, bad: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        store.prepare(column(root, **bad))
    assert [path.suffix for path in store.folder.iterdir()] == [".lock"]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_file_that_raises_anything_is_named(root: Path, store: Store, workers: int) -> None:
    (root / "2.txt").write_text("bad")
    several = Store(store.folder, policy="always", workers=workers)
    with pytest.raises(DataError, match=r"2\.txt: cannot be decoded \(ValueError: invalid literal"):
        several.prepare(column(root, per_file=1500))
    assert [path.suffix for path in store.folder.iterdir()] == [".lock"]
    with pytest.raises(DataError, match=r"2\.txt: cannot be decoded \(ValueError: invalid literal"):
        column(root, per_file=1500).take(np.arange(4500))  # on the fly, too


def test_arrays_of_varying_length(root: Path, store: Store) -> None:
    source = column(root, decode_varying, shape=(None, 2), dtype="int16")
    kept = store.prepare(source)
    assert isinstance(kept, Stored)
    assert [kept[row].shape for row in range(len(kept))] == [(length, 2) for _ in range(FILES) for length in range(4)]
    assert (kept[7] == 1).all() and (kept.select(np.array([11]))[0] == 2).all()
    for row in range(len(kept)):
        np.testing.assert_array_equal(kept[row], source.row(row))
    with pytest.raises(IndexError):
        kept[len(kept)]


def test_no_rows(root: Path, store: Store) -> None:
    nothing = column(root).select(np.array([], np.int64))
    assert store.prepare(nothing) is nothing


def test_two_processes_prepare_what_one_does(root: Path, tmp_path: Path) -> None:
    source = column(root, per_file=1500)
    one, two = (Store(tmp_path / str(n), policy="always", workers=n).prepare(source) for n in (0, 2))
    np.testing.assert_array_equal(everything(one), everything(two))
    assert one.key == two.key
    assert len(list((tmp_path / "2" / source.key).glob("*.arrow"))) == 2
