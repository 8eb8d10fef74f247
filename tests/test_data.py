"""The data command: downloads from a server of our own, evil archives, listing, verification. No network."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
import random
import shutil
import stat
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dabs_rq import cli, registry
from dabs_rq.domain import Domain
from dabs_rq.errors import DataError
from dabs_rq.run.options import NetworkOptions
from dabs_rq.sources import archives, download, fetch
from dabs_rq.spec import Archive, Source
from tests.file_server import Server, tarred, zipped

Output = tuple[int, str, str]


# ---- a server that can misbehave ---------------------------------------------------------------------------------


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(download, "PAUSE", 0.001)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    one = Server()
    yield one
    one.http.shutdown()
    one.http.server_close()


CONTENT = bytes(range(256)) * 4096  # 1 MiB
NOISE = random.Random(0).randbytes(1000)


def archive_of(server: Server, name: str, content: bytes, **fields: Any) -> Archive:
    """`content` offered under `name`, declared as it is unless `fields` say otherwise."""
    server.files[name] = content
    declared = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()} | fields
    return Archive(server.url(name), **declared)


# ---- downloads ---------------------------------------------------------------------------------------------------


def test_a_broken_connection_is_resumed_where_it_stopped(server: Server, tmp_path: Path) -> None:
    archive = archive_of(server, "a.bin", CONTENT)
    server.break_after = [300_000, 400_000]
    download.download(archive, tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert server.asked == [("a.bin", None), ("a.bin", "bytes=300000-"), ("a.bin", "bytes=700000-")]
    assert [one.name for one in tmp_path.iterdir()] == ["a.bin"]


def test_a_later_command_goes_on_with_what_an_earlier_one_kept(server: Server, tmp_path: Path) -> None:
    archive = archive_of(server, "a.bin", CONTENT)
    server.break_after = [1000] + [0] * download.ATTEMPTS
    with pytest.raises(DataError, match=r"after 1,000 bytes and 5 attempts without progress.*run the same command"):
        download.download(archive, tmp_path / "a.bin")
    assert not (tmp_path / "a.bin").exists() and (tmp_path / "a.bin.part").read_bytes() == CONTENT[:1000]
    server.asked.clear()
    download.download(archive, tmp_path / "a.bin")
    assert server.asked == [("a.bin", "bytes=1000-")] and (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_server_without_ranges_sends_everything_again(server: Server, tmp_path: Path) -> None:
    archive = archive_of(server, "a.bin", CONTENT)
    server.ranges, server.break_after = False, [300_000]
    download.download(archive, tmp_path / "a.bin")
    assert len(server.asked) == 2 and (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_server_without_ranges_that_always_breaks_is_given_up(server: Server, tmp_path: Path) -> None:
    archive = archive_of(server, "a.bin", CONTENT)
    server.ranges, server.break_after = False, [1000] * 50
    with pytest.raises(DataError, match="5 attempts"):
        download.download(archive, tmp_path / "a.bin")
    assert len(server.asked) == 1 + download.ATTEMPTS


def test_two_versions_of_a_file_are_never_joined(server: Server, tmp_path: Path) -> None:
    archive = archive_of(server, "a.bin", CONTENT, size=None, sha256=None)
    server.break_after = [1000] + [0] * download.ATTEMPTS
    with pytest.raises(DataError):
        download.download(archive, tmp_path / "a.bin")
    server.files["a.bin"], server.tag = CONTENT[::-1], '"two"'
    download.download(archive, tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT[::-1]
    # Where nothing tells versions apart, neither a tag nor a checksum, it starts over.
    (tmp_path / "a.bin").unlink()
    (tmp_path / "a.bin.part").write_bytes(b"from somewhere")
    server.asked.clear()
    download.download(archive, tmp_path / "a.bin")
    assert server.asked == [("a.bin", None)] and (tmp_path / "a.bin").read_bytes() == CONTENT[::-1]


def test_a_download_that_is_too_slow_or_has_no_end_is_given_up(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "WINDOW", 0.5)
    archive = archive_of(server, "a.bin", b"", size=None, sha256=None)
    server.lengths, server.drip = False, (5, 0.05)
    with pytest.raises(DataError, match=r"bytes per second, at least 1,000 are expected \(network\.min_speed\)"):
        download.download(archive, tmp_path / "a.bin")
    assert 0 < download.size_of(tmp_path / "a.bin.part") < 1000
    server.drip = (100_000, 0)
    limits = NetworkOptions(max_gb=0.002)
    with pytest.raises(DataError, match=r"announces no length and sends more than 2\.0 MB.*network\.max_gb=0\.002"):
        download.download(archive, tmp_path / "b.bin", limits=limits)
    assert download.size_of(tmp_path / "b.bin.part") <= 2_000_000
    server.drip = None


def test_a_byte_for_each_connection_is_no_progress(server: Server, tmp_path: Path) -> None:
    archive = archive_of(server, "a.bin", CONTENT)
    server.break_after = [1] * 50
    with pytest.raises(DataError, match="5 attempts without progress"):
        download.download(archive, tmp_path / "a.bin", limits=NetworkOptions(min_speed=1e6))
    assert len(server.asked) <= 7


@pytest.mark.parametrize("tags", [('"one"', '"two"'), ('W/"one"', 'W/"two"'), ('"one"', "")])
def test_a_server_that_joins_versions_is_not_believed(server: Server, tmp_path: Path, tags: tuple[str, str]) -> None:
    archive = archive_of(server, "a.bin", CONTENT, size=None, sha256=None)
    server.obeys_if_range, server.tag = False, tags[0]
    server.break_after = [1000] + [0] * download.ATTEMPTS
    with pytest.raises(DataError):
        download.download(archive, tmp_path / "a.bin")
    server.files["a.bin"], server.tag = CONTENT[::-1], tags[1]
    download.download(archive, tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT[::-1]
    assert [one.name for one in tmp_path.iterdir()] == ["a.bin"]


def test_a_part_that_is_whole_or_too_long(server: Server, tmp_path: Path) -> None:
    archive = archive_of(server, "a.bin", CONTENT, size=None)
    (tmp_path / "a.bin.part").write_bytes(CONTENT)
    download.download(archive, tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT and server.asked == [("a.bin", f"bytes={len(CONTENT)}-")]
    (tmp_path / "a.bin.part").write_bytes(CONTENT + b"more")
    download.download(archive, tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_size_that_is_not_announced(server: Server, tmp_path: Path) -> None:
    server.lengths = False
    download.download(archive_of(server, "a.bin", CONTENT), tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    with pytest.raises(DataError, match="sends more than the 5 bytes"):
        download.download(archive_of(server, "b.bin", b"123456", size=5), tmp_path / "b.bin")
    short = archive_of(server, "c.bin", b"1234", size=5)
    download.download(short, tmp_path / "c.bin")
    with pytest.raises(DataError, match=r"c.bin has 4 bytes, 5 are declared"):
        download.check(short, tmp_path / "c.bin")


@pytest.mark.parametrize("size", [len(CONTENT) - 1, len(CONTENT) + 1])
def test_another_size_than_declared_is_not_downloaded(server: Server, tmp_path: Path, size: int) -> None:
    archive = archive_of(server, "a.bin", CONTENT, size=size)
    with pytest.raises(DataError, match=f"offers {len(CONTENT):,} bytes, {size:,} are declared"):
        download.download(archive, tmp_path / "a.bin")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("status", [404, 403])
def test_a_refusal_names_address_status_and_the_way_out(server: Server, tmp_path: Path, status: int) -> None:
    archive = archive_of(server, "a.bin", CONTENT)
    server.status["a.bin"] = status
    with pytest.raises(DataError, match=f"answers {status} .*taken if you put it at {tmp_path}/a.bin.") as raised:
        download.download(archive, tmp_path / "a.bin")
    assert archive.url in str(raised.value) and len(server.asked) == 1


def test_a_server_that_is_busy_is_asked_again(server: Server, tmp_path: Path) -> None:
    archive = archive_of(server, "a.bin", CONTENT)
    server.status["a.bin"] = 503
    with pytest.raises(DataError, match="answers 503"):
        download.download(archive, tmp_path / "a.bin")
    assert len(server.asked) == download.ATTEMPTS


def test_nobody_there(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="5 attempts"):
        download.download(Archive("http://127.0.0.1:9/a.bin"), tmp_path / "a.bin")
    with pytest.raises(DataError, match="protocol"):
        download.download(Archive("gopher://127.0.0.1/a.bin"), tmp_path / "a.bin")


def test_a_full_disk_is_noticed_before_anything_is_written(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 0))  # type: ignore[attr-defined]
    with pytest.raises(DataError, match=r"the download of a.bin needs 1.0 MB under .*, 0.0 MB are free"):
        download.download(archive_of(server, "a.bin", CONTENT), tmp_path / "a.bin")
    assert list(tmp_path.iterdir()) == []
    source = source_of(archive_of(server, "b.zip", zipped({"set/one.txt": b"1"}), size=10**9))
    server.asked.clear()
    with pytest.raises(DataError, match=r"needs 2,000.0 MB under"):
        fetch.fetch(source, tmp_path)
    assert server.asked == []


# ---- archives ----------------------------------------------------------------------------------------------------


def special(name: str, kind: bytes, linkname: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, linkname
    return info


def extract(tmp_path: Path, name: str, content: bytes) -> Path:
    (tmp_path / name).write_bytes(content)
    into = tmp_path / "down" / "here"
    into.mkdir(parents=True)
    archives.extract(tmp_path / name, into)
    return into


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a.tgz", "a.tar"])
def test_files_and_folders_come_out(tmp_path: Path, name: str) -> None:
    members = {"set/one.txt": b"1", "set/deep/two.bin": CONTENT, "./set/three.txt": b"3"}
    content = zipped(members) if name == "a.zip" else tarred(members)
    into = extract(tmp_path, name, gzip.decompress(content) if name == "a.tar" else content)
    assert (into / "set/one.txt").read_bytes() == b"1" and (into / "set/three.txt").read_bytes() == b"3"
    assert (into / "set/deep/two.bin").read_bytes() == CONTENT


EVIL = {
    "parent.tgz": tarred({"set/../../out.txt": b"x"}),
    "absolute.tgz": tarred({"/tmp/out.txt": b"x"}),
    "parent.zip": zipped({"../out.txt": b"x"}),
    "absolute.zip": zipped({"/tmp/out.txt": b"x"}),
    "backslash.zip": zipped({"..\\out.txt": b"x"}),
    "drive.zip": zipped({"C:/out.txt": b"x"}),
    "symlink.tgz": tarred({}, special("set/link", tarfile.SYMTYPE, "../../out")),
    "symlink_absolute.tgz": tarred({}, special("set/link", tarfile.SYMTYPE, "/etc/passwd")),
    "symlink.zip": zipped({"link": b"../out"}, link=stat.S_IFLNK | 0o777),
    "hardlink.tgz": tarred({}, special("set/link", tarfile.LNKTYPE, "../out")),
    "hardlink_absolute.tgz": tarred({}, special("set/link", tarfile.LNKTYPE, "/etc/passwd")),
    "device.tgz": tarred({}, special("null", tarfile.CHRTYPE)),
    "pipe.tgz": tarred({}, special("pipe", tarfile.FIFOTYPE)),
    "device.zip": zipped({"null": b""}, null=stat.S_IFCHR | 0o666),
    "bomb.zip": zipped({str(n): bytes(1 << 19) for n in range(3)}),
    "bomb.tgz": tarred({str(n): bytes(1 << 19) for n in range(3)}),
    "many.zip": zipped({str(n): b"" for n in range(300)}),
    "many.tgz": tarred({str(n): b"" for n in range(300)}),
}


@pytest.mark.parametrize("name", sorted(EVIL))
def test_evil_archives_are_refused_and_write_nothing_outside(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "SMALLEST", 1 << 20)
    monkeypatch.setattr(archives, "FEWEST_MEMBERS", 100)
    with pytest.raises(DataError, match=f"{name}: refused, ") as raised:
        extract(tmp_path, name, EVIL[name])
    assert "do not use it" in str(raised.value)
    assert {one.name for one in tmp_path.iterdir()} == {name, "down"}
    assert [one.name for one in (tmp_path / "down").iterdir()] == ["here"]


def test_a_symbolic_link_inside_is_left_out_with_a_warning(tmp_path: Path) -> None:
    content = tarred({"set/one.txt": b"1"}, special("set/two.txt", tarfile.SYMTYPE, "one.txt"))
    with pytest.warns(match="skipped 1 symbolic links"):
        into = extract(tmp_path, "a.tgz", content)
    assert [one.name for one in (into / "set").iterdir()] == ["one.txt"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("page.zip", b"<html>moved</html>"),
        ("page.tgz", b"<html>moved</html>"),
        ("page.tar", b"<html>moved</html>" * 100),
        ("short.tgz", tarred({"one": CONTENT})[:-2000]),
        ("short.zip", zipped({"one": CONTENT})[:-50]),
        ("header.tgz", gzip.compress(gzip.decompress(tarred({"one": b"1", "two": b"2"})).replace(b"two", b"twx"))),
        ("index.zip", zipped({"one": b"1"}).replace(b"PK\x01\x02", b"PK\x01\x03")),
        ("content.zip", zipped({"one": NOISE}).replace(NOISE[100:110], bytes(10))),
    ],
)
def test_damage_is_an_error_with_the_name_of_the_file(tmp_path: Path, name: str, content: bytes) -> None:
    with pytest.raises(DataError, match=rf"{name}: damaged or not an archive"):
        extract(tmp_path, name, content)


# ---- a source from the server to its place -----------------------------------------------------------------------


def source_of(*offered: Archive, **fields: Any) -> Source:
    declared = {
        "name": "shapes",
        "title": "Shapes",
        "url": "http://127.0.0.1/shapes",
        "folder": "images/shapes",
        "layout": "set/one.txt",
        "needs": ("set/one.txt",),
        "licence": "CC0",
        "size": "1 kB",
        "citation": "Nobody",
        "archives": offered,
    }
    return Source(**(declared | fields))


def files_of(folder: Path) -> set[str]:
    return {str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file()}


def test_a_fetch_removes_what_a_killed_one_left_half_written(server: Server, tmp_path: Path) -> None:
    source = source_of(archive_of(server, "a.tgz", tarred({"set/one.txt": b"1"})))
    folder = tmp_path / fetch.DOWNLOADS / source.name
    folder.mkdir(parents=True)
    half, mine = folder / ".a.tgz.json.0123456789ab.dabs_rq.tmp", folder / ".a.tgz.json.tmp"
    for file in (half, mine):
        file.write_text("{")
    assert fetch.fetch(source, tmp_path)
    assert mine.exists() and not half.exists()


def test_a_source_is_fetched_once(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = source_of(archive_of(server, "a.tgz", tarred({"set/one.txt": b"1", "readme": b"r"})))
    assert source.state(tmp_path) == "missing"
    assert fetch.fetch(source, tmp_path)
    assert files_of(tmp_path / "images") == {"shapes/set/one.txt", "shapes/readme"}
    assert source.state(tmp_path) == "present" and len(server.asked) == 1
    capsys.readouterr()
    before = (tmp_path / "images/shapes/set/one.txt").stat().st_mtime_ns
    assert fetch.fetch(source, tmp_path) and len(server.asked) == 1
    assert capsys.readouterr().out == f"shapes: present under {tmp_path / 'images/shapes'}\n"
    assert (tmp_path / "images/shapes/set/one.txt").stat().st_mtime_ns == before
    # Without the archives too, and with data that a person has put there.
    shutil.rmtree(tmp_path / fetch.DOWNLOADS)
    assert fetch.fetch(source, tmp_path) and len(server.asked) == 1


def test_archives_of_one_source_share_its_folder(server: Server, tmp_path: Path) -> None:
    inner = zipped({"deep/file.txt": b"deep"})
    source = source_of(
        archive_of(server, "a.tgz", tarred({"set/one.txt": b"1", "set/about": b"old"})),
        archive_of(server, "b.zip", zipped({"set/two/2.txt": b"2", "set/about": b"new"})),
        archive_of(server, "c.zip", zipped({"wrapped.zip": inner, "readme": b"no"}), inner="wrapped.zip", into="x/y"),
        archive_of(server, "d.zip", zipped({"master/set/4.txt": b"4"}), below="master"),
        archive_of(server, "labels.txt", b"plain", into="labels"),
        needs=("set/one.txt", "set/two", "labels/labels.txt"),
    )
    assert fetch.fetch(source, tmp_path)
    there = {"set/one.txt", "set/two/2.txt", "set/4.txt", "set/about", "x/y/deep/file.txt", "labels/labels.txt"}
    assert files_of(tmp_path / "images/shapes") == there
    assert (tmp_path / "images/shapes/set/about").read_bytes() == b"new"
    assert [one.name for one in (tmp_path / "images").iterdir()] == ["shapes"]


def test_what_was_not_needed_is_fetched_after_an_interruption_too(server: Server, tmp_path: Path) -> None:
    source = source_of(
        archive_of(server, "a.tgz", tarred({"set/one.txt": b"1"})),
        archive_of(server, "b.tgz", tarred({"more/two.txt": b"2"})),
    )
    server.status["b.tgz"] = 404
    with pytest.raises(DataError, match="404"):
        fetch.fetch(source, tmp_path)
    server.status.clear()
    assert fetch.fetch(source, tmp_path)
    assert (tmp_path / "images/shapes/more/two.txt").exists()
    assert [name for name, _ in server.asked] == ["a.tgz", "b.tgz", "b.tgz"]


def test_data_that_were_deleted_come_from_the_archive_again(server: Server, tmp_path: Path) -> None:
    source = source_of(archive_of(server, "a.tgz", tarred({"set/one.txt": b"1", "set/two.txt": b"2"})))
    fetch.fetch(source, tmp_path)
    (tmp_path / "images/shapes/set/one.txt").unlink()
    assert source.state(tmp_path) == "missing"
    assert fetch.fetch(source, tmp_path) and len(server.asked) == 1
    assert (tmp_path / "images/shapes/set/one.txt").read_bytes() == b"1"


def test_a_file_that_a_person_got_in_another_way_is_checked_and_taken(server: Server, tmp_path: Path) -> None:
    content = tarred({"set/one.txt": b"1"})
    source = source_of(archive_of(server, "a.tgz", content))
    file = fetch.download_path(source, source.archives[0], tmp_path)
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    assert fetch.fetch(source, tmp_path) and server.asked == []


@pytest.mark.parametrize("sums", [{}, {"sha256": None, "md5": "0" * 32}])
def test_wrong_bytes_are_kept_aside_and_nothing_is_published(
    server: Server, tmp_path: Path, sums: dict[str, Any]
) -> None:
    right = tarred({"set/one.txt": b"1"})
    archive = archive_of(server, "a.tgz", right, **sums)
    server.files["a.tgz"] = right[:-1] + b"?"
    source = source_of(archive)
    folder = tmp_path / fetch.DOWNLOADS / "shapes"
    with pytest.raises(DataError, match=r"a.tgz has (sha256|md5) \w+, \w+ is declared.*kept as .*a.tgz.wrong and not"):
        fetch.fetch(source, tmp_path)
    assert not (tmp_path / "images").exists() and {one.name for one in folder.iterdir()} == {"a.tgz.wrong"}
    if not sums:
        server.files["a.tgz"] = right
        assert fetch.fetch(source, tmp_path) and len(server.asked) == 2


def test_an_interrupted_extraction_leaves_nothing_that_looks_present(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = source_of(archive_of(server, "a.tgz", tarred({"set/one.txt": b"1", "set/two.txt": b"2"})))
    real = tarfile.TarFile.extract

    def interrupted(self: tarfile.TarFile, member: Any, *args: Any, **kwargs: Any) -> None:
        if member.name == "set/two.txt":
            raise KeyboardInterrupt
        real(self, member, *args, **kwargs)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(tarfile.TarFile, "extract", interrupted)
        fetch.fetch(source, tmp_path)
    assert files_of(tmp_path / "images") == set() and source.state(tmp_path) == "missing"
    # A process that was killed could not even clean up: the next one does.
    (tmp_path / "images/.shapes.fetching-killed/outer/set").mkdir(parents=True)
    assert fetch.fetch(source, tmp_path) and len(server.asked) == 1
    assert [one.name for one in (tmp_path / "images").iterdir()] == ["shapes"]


def test_what_is_needed_gets_its_place_last(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    members = {"a_list.txt": b"l", "word/1.wav": b"1", "zebra/2.wav": b"2"}
    source = source_of(archive_of(server, "a.tgz", tarred(members)), needs=("a_list.txt",))
    (tmp_path / "images/shapes").mkdir(parents=True)  # by hand, so that it cannot appear as a whole
    moved: list[str] = []
    real = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if ".fetching-" in str(self):
            moved.append(self.name)
            if len(moved) == 3:
                raise KeyboardInterrupt
        return real(self, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "replace", replace)
        fetch.fetch(source, tmp_path)
    assert moved == ["word", "zebra", "a_list.txt"] and source.state(tmp_path) == "missing"
    assert fetch.fetch(source, tmp_path) and files_of(tmp_path / "images/shapes") == set(members)


def test_archives_with_something_else_in_them(server: Server, tmp_path: Path) -> None:
    source = source_of(archive_of(server, "a.tgz", tarred({"other/one.txt": b"1", "readme": b""})))
    with pytest.raises(DataError, match=r"missing .*set/one.txt(.|\n)*the archives held: other, readme"):
        fetch.fetch(source, tmp_path)
    for fields, expected in (({"inner": "in.zip"}, "expected in.zip in it, found other"), ({"below": "m"}, "folder m")):
        archive = archive_of(server, "b.zip", zipped({"other/one.txt": b"1"}), **fields)
        with pytest.raises(DataError, match=expected):
            fetch.fetch(source_of(archive, name="b"), tmp_path)


def test_a_file_in_the_way_of_a_folder_is_not_overwritten(server: Server, tmp_path: Path) -> None:
    source = source_of(archive_of(server, "a.tgz", tarred({"set/one.txt": b"1"})))
    (tmp_path / "images/shapes").mkdir(parents=True)
    (tmp_path / "images/shapes/set").write_text("mine")
    with pytest.raises(DataError, match="a folder belongs here, and a file is in its place"):
        fetch.fetch(source, tmp_path)
    assert (tmp_path / "images/shapes/set").read_text() == "mine"


def test_two_processes_do_not_fetch_into_one_folder(server: Server, tmp_path: Path) -> None:
    source = source_of(archive_of(server, "a.tgz", tarred({"set/one.txt": b"1"})))
    with fetch._locked(source, tmp_path), pytest.raises(DataError, match="another process is fetching"):
        fetch.fetch(source, tmp_path)
    assert fetch.fetch(source, tmp_path)


# ---- what is declared --------------------------------------------------------------------------------------------


def sources(of: str | None = None) -> dict[str, Source]:
    declared = [one for domain in registry.domains(of) for one in (domain.pretraining, *domain.tasks)]
    return {one.source.name: one.source for one in declared}


def test_declared_archives_are_well_formed() -> None:
    for source in (sources() | sources("small")).values():
        names = [archive.name for archive in source.archives]
        assert len(set(names)) == len(names) and all(names)
        for archive in source.archives:
            assert archive.url.startswith(("https://", "http://")) and not Path(archive.into).is_absolute()
            for value, digits in ((archive.md5, 32), (archive.sha256, 64)):
                assert value is None or (len(value) == digits and int(value, 16) >= 0)
            lists = ("iden_split.txt", "eurosat-train.txt", "eurosat-val.txt", "eurosat-test.txt")
            plain = (".npz", ".parquet", ".csv.gz", "imagelabels.mat", *lists)
            assert archives.is_archive(archive.name) or archive.name.endswith(plain)
            assert len(set(archive.addresses)) == len(archive.addresses)
            # Plain http only where a checksum tells what arrived.
            for address in archive.addresses:
                assert address.startswith("https://") or archive.md5 or archive.sha256


# ---- the command -------------------------------------------------------------------------------------------------


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Output]:

    def call(*words: str) -> Output:
        code = cli.main(("data", *words, f"runs={tmp_path / 'runs'}"))
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return call


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def replace_sources(monkeypatch: pytest.MonkeyPatch, **by_name: Source) -> None:
    """Let the registry declare these in place of the sources of those names."""

    def changed(domain: Domain) -> Domain:
        def of(one: Any) -> Any:
            return dataclasses.replace(one, source=by_name.get(one.source.name, one.source))

        return dataclasses.replace(domain, pretraining=of(domain.pretraining), tasks=tuple(map(of, domain.tasks)))

    found = {domain.name: changed(domain) for domain in registry.domains()}
    monkeypatch.setattr(registry, "domain", lambda name, sources=None: found[name].with_sources(sources))


def test_list_tells_state_place_licence_and_way(call: Callable[..., Output], root: Path) -> None:
    code, out, _ = call()
    assert code == 0 and "data=/root (make: DATA=/root) adds what is present" in out
    assert "digits: " in out and "    installed with: scikit-learn " in out
    for source in sources().values():
        assert f"{source.name}: {source.title}, {source.size} (for " in out and source.licence in out
    (root / "natural_images/dtd/dtd/images").mkdir(parents=True)
    (root / "speech/AudioMNIST/data").mkdir(parents=True)
    code, out, _ = call("list", f"data={root}")
    assert code == 0
    assert (
        f"dtd: partial: Describable Textures Dataset, 625 MB (for dtd)\n    goes to: {root}/natural_images/dtd" in out
    )
    assert f"    missing: {root}/natural_images/dtd/dtd/labels/train1.txt" in out
    assert "audio_mnist: present: " in out and "cifar10: missing: " in out
    assert "`data fetch cifar10` downloads cifar-10-python.tar.gz" in out
    assert "mc4: not under the root, and not needed there: " in out and "loaded from the hub (allenai/c4)" in out
    assert "by hand, `data fetch imagenet` prints the steps\n" in out
    assert "by hand, `data fetch voxceleb1` prints the steps and downloads iden_split.txt\n" in out
    code, out, _ = call("list", "dtd", f"data={root}")
    assert code == 0 and out.count("how: ") == 1


def test_wrong_words(call: Callable[..., Output], root: Path) -> None:
    for words, said in (
        (("fetsch",), "unknown action 'fetsch'. Did you mean 'fetch'?"),
        (("fetch", "dtt", f"data={root}"), "unknown source 'dtt'. Did you mean 'dtd'?"),
        (("fetch", "dtd"), "data fetch needs real data: give data=/root"),
        (("verify",), "data verify needs real data"),
        (("fetch", f"data={root}"), "say which sources to fetch: genomics_ood, imagenet, cifar10"),
    ):
        code, _, err = call(*words)
        assert code == 2 and said in err
    code, _, err = call("fetch", "dtd", f"data={root}/not-there")
    assert code == 1 and "is not a folder" in err


def test_fetch_then_list_then_verify(
    call: Callable[..., Output], root: Path, server: Server, miniature: Callable[[str], Path], monkeypatch: Any
) -> None:
    made = sources()["dtd"]
    folder = miniature("images") / made.folder
    content = tarred({str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()})
    missing = Archive(server.url("gone.tgz"))
    replace_sources(
        monkeypatch,
        dtd=dataclasses.replace(made, archives=(archive_of(server, "dtd.tar.gz", content),)),
        cifar10=dataclasses.replace(sources()["cifar10"], archives=(missing,)),
    )
    code, out, err = call("fetch", "cifar10", "dtd", f"data={root}")
    assert code == 1 and "error: cifar10: " in err and "404" in err and f"dtd: present under {root}" in out
    assert "dtd: present: " in call("list", f"data={root}")[1]
    assert call("fetch", "dtd", f"data={root}")[0] == 0
    # The miniature is no whole data set, and says so: both numbers of each split.
    code, out, _ = call("verify", "dtd", f"data={root}")
    assert code == 1 and "dtd.tar.gz: checksum right" in out
    assert "3,760 are declared, " in out and "1,880 are declared, " in out
    with (root / ".downloads/dtd/dtd.tar.gz").open("ab") as file:
        file.write(b"?")
    assert (
        f"dtd.tar.gz has {len(content) + 1:,} bytes, {len(content):,} are declared"
        in call("verify", "dtd", f"data={root}")[1]
    )


def test_a_gated_source_prints_its_steps_until_it_is_there(
    call: Callable[..., Output], root: Path, server: Server, miniature: Callable[[str], Path], monkeypatch: Any
) -> None:
    real = sources()["voxceleb1"]
    split = miniature("speech") / real.folder / "iden_split.txt"
    open_file = archive_of(server, "iden_split.txt", split.read_bytes())
    replace_sources(monkeypatch, voxceleb1=dataclasses.replace(real, archives=(open_file,)))
    code, out, err = call("fetch", "voxceleb1", f"data={root}")
    assert code == 1 and err == "" and "1. Get it: ask for the audio at https://mm.kaist.ac.kr" in out
    assert f"2. Put it under {root / real.folder}, in this layout:\n       wav/id10001" in out
    assert f"still missing: {root / real.folder / 'wav'}\n" in out
    assert (root / real.folder / "iden_split.txt").read_bytes() == split.read_bytes()
    (root / real.folder / "wav").symlink_to(miniature("speech") / real.folder / "wav")
    code, out, _ = call("fetch", "voxceleb1", f"data={root}")
    assert code == 1 and "present under" in out and "145,265 are declared" in out and len(server.asked) == 1
    for name in ("imagenet", "chexpert", "fluent_speech", "xray8"):
        code, out, _ = call("fetch", name, f"data={root}")
        assert code == 1 and f"{name}: to be fetched by hand." in out and "3. Run again: " in out


def test_hub_sources_need_no_download(call: Callable[..., Output], root: Path) -> None:
    code, out, _ = call("fetch", "mnli_matched", "mc4", f"data={root}")
    assert code == 0 and out.count("nothing to fetch, loaded from the hub") == 2
    code, out, _ = call("verify", "cola", f"data={root}")
    assert code == 0 and "not under the root, loaded from the hub" in out


def test_verify_finds_what_is_missing_or_damaged(
    call: Callable[..., Output], root: Path, miniature: Callable[[str], Path]
) -> None:
    code, out, _ = call("verify", f"data={root}")
    assert code == 0 and "dtd: missing, expected " in out  # nothing there is nothing wrong
    code, out, _ = call("verify", "dtd", f"data={root}")
    assert code == 1 and "dtd: missing, expected " in out
    shutil.copytree(miniature("images") / "natural_images/dtd", root / "natural_images/dtd")
    (root / "natural_images/dtd/dtd/labels/test1.txt").unlink()
    code, out, _ = call("verify", f"data={root}")
    assert code == 1 and "dtd: partial, expected " in out and "labels/test1.txt" in out
    (root / "natural_images/dtd/dtd/labels/test1.txt").write_text("banded/not-there.jpg\n")
    code, out, _ = call("verify", "dtd", f"data={root}")
    assert code == 1 and "dtd: dtd: test: " in out and "not-there.jpg" in out


@pytest.mark.parametrize("domain", ["images", "speech", "text", "multilingual", "sensor", "xray", "vqa"])
def test_verify_counts_with_the_readers_of_every_domain(
    call: Callable[..., Output], miniature: Callable[[str], Path], domain: str
) -> None:
    code, out, err = call("verify", f"data={miniature(domain)}", f"domains=[{domain}]")
    assert code == (0 if domain == "sensor" else 1) and err == ""
    of = registry.domain(domain)
    for task in of.tasks:
        assert f"{task.source.name}: {task.name}: train: " in out and f"{task.name}: test: " in out
        for split in set(task.sizes) - {"all"}:
            size = f"{task.sizes[split]:,}"  # which the miniature of WNLI has, being as small
            assert f"{size} are declared" in out or f"{task.name}: {split}: {size} examples" in out
    assert f"{of.pretraining.source.name}: {domain} pretraining: train: " in out


def test_notes_of_what_archives_gave_may_be_damaged(server: Server, tmp_path: Path) -> None:
    source = source_of(archive_of(server, "a.tgz", tarred({"set/one.txt": b"1"})))
    fetch.fetch(source, tmp_path)
    note = tmp_path / fetch.DOWNLOADS / "shapes/a.tgz.json"
    assert json.loads(note.read_text())["gave"] == ["set", "set/one.txt"]
    note.write_text("{")
    assert fetch.fetch(source, tmp_path) and len(server.asked) == 1
