"""Commands that are killed beside a random rename (see `tests.killed`), again and again in one folder, until one ends.

prepare: a suite in one process, from the preparation of its data to the table. table, report, experiment: what they
write in their folder. fetch: the download of three files from a server here, and their extraction.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq

from tests.file_server import Server, tarred, zipped
from tests.killed import ARCHIVES

ROOT = Path(__file__).parents[1]
SMALL = (
    *("pretrain.steps=4", "transfer.max_examples=60", "transfer.strengths=[1]", "transfer.also=[]"),
    *("suite.executor=in_process", "trainer.progress=false"),
)
BRIEF = ("pretrain.steps=4", "transfer.epochs=2", "suite.executor=in_process", "trainer.progress=false")
SENSOR = ("domain=sensor", "method=none,rq", *SMALL)


@dataclass
class Found:
    """What kills did. compared: files. kept: files that were finished before a kill. faults: what went wrong."""

    kills: int
    compared: int = 0
    kept: int = 0
    different: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    half: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def add_results(self, what: str, expected: dict[str, str], found: dict[str, str]) -> None:
        names = expected.keys() | found.keys()
        self.compared += len(names)
        self.different += [f"{what}: {name}" for name in sorted(names) if expected.get(name) != found.get(name)]

    @property
    def faults(self) -> list[str]:
        kinds = {
            "different": self.different,
            "made again": self.twice,
            "half-written": self.half,
            "left": self.left,
        }
        return [f"{kind}: {one}" for kind, of_kind in kinds.items() for one in of_kind]

    def __str__(self) -> str:
        return (
            f"{self.kills} kills, {self.compared} files compared, {len(self.different)} different; "
            f"{self.kept} finished before a kill, {len(self.twice)} of them made again; {len(self.half)} half-written, "
            f"{len(self.left)} temporary files or processes left"
        )


@dataclass(frozen=True)
class Command:
    """A command. words: module and words; "{folder}" is its folder. written: patterns of files that it writes, which
    appear whole and once. finished: of them, those that the next run must keep as they are. needs: words of a command
    that a quiet run has done before in the folder."""

    words: tuple[str, ...]
    written: tuple[str, ...]
    finished: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


_SUITE = ("dabs_rq", "suite", *SENSOR, "runs={folder}/runs", "out={folder}/first")
_OUT = ("out/**/*.*",)
COMMANDS = {
    "prepare": Command(
        _SUITE,
        ("first/**/table.*", "runs/**/records/**/*.parquet"),
        ("runs/**/encoder.safetensors", "runs/**/records/**/*.json", "runs/prepared/**/*.arrow"),
    ),
    "table": Command(("dabs_rq", "table", *SENSOR, "runs={folder}/runs", "out={folder}/out"), _OUT, (), _SUITE),
    "report": Command(("dabs_rq", "report", *SENSOR, "runs={folder}/runs", "out={folder}/out"), _OUT, (), _SUITE),
    "experiment": Command(
        ("dabs_rq", "experiment", "granularity", "seeds=0,1", *BRIEF, "runs={folder}/runs", "out={folder}/out"),
        _OUT,
        ("runs/**/encoder.safetensors", "runs/**/records/**/*.json"),
    ),
    "fetch": Command(
        ("fetch", "{folder}/root", "{server}"),
        ("root/images/chaos/**/*.*",),
        # Downloads, and the marks of what was extracted.
        tuple(f"root/.downloads/chaos/{name}{mark}" for name in ARCHIVES for mark in ("", ".json")),
    ),
}


@contextmanager
def _serving() -> Iterator[str]:
    """A server of the three files that "fetch" asks for; its address."""
    server = Server()
    noise = random.Random(0)
    contents = (
        tarred({"set/one.txt": noise.randbytes(300_000), "set/two.txt": b"2"}),
        zipped({"more/a.txt": noise.randbytes(200_000), "more/deep/b.txt": b"b"}),
        noise.randbytes(400_000),
    )
    server.files |= dict(zip(ARCHIVES, contents, strict=True))
    try:
        yield server.url("")[:-1]
    finally:
        server.http.shutdown()
        server.http.server_close()


def killed_beside_renames(name: str, folder: Path, kills: int, seed: int) -> Found:
    """Kill a command `kills` times, and say what was found."""
    command, generator, found = COMMANDS[name], random.Random(seed), Found(kills)
    with _serving() as server:
        quiet = _Folder(folder / "quiet", command, server)
        if command.needs:
            _Folder(folder / "before", Command(command.needs, ()), server).run()
            quiet.copy(folder / "before")
        quiet.run(renames=folder / "renames")
        count = int((folder / "renames").read_text())
        expected, number, done = quiet.contents(), 0, 0
        while done < kills:
            one = _Folder(folder / str(number), command, server)
            one.copy(folder / "before")
            while done < kills:
                place = generator.randrange(2 * count)
                if one.run(place) == 0:
                    break
                done += 1
                print(f"  kill {done}: of run {number}, {'after' if place % 2 else 'before'} rename {place // 2}")
                one.look()
                visible = one.contents()
                found.half += [f"run {number}: {file}" for file in visible if visible[file] != expected.get(file)]
            one.run()
            found.add_results(f"run {number}", expected, one.contents())
            found.twice += [f"run {number}: {file}" for file in one.computed_twice()]
            found.left += [str(file) for file in one.folder.rglob("*") if file.name.endswith((".tmp", ".part"))]
            found.left += [str(file) for file in one.folder.rglob(".*.fetching-*")]
            found.kept += len(one.seen)
            number += 1
    return found


def is_finished(file: Path) -> bool:
    """Whether a visible file is to be kept. The record of a test split is the last that a probe writes: without it, the
    records of further splits (task@split) are computed again."""
    return file.with_name(re.sub("@[^+.]*", "", file.name)).exists()


class _Folder:
    """A folder in which a command is run again and again."""

    def __init__(self, folder: Path, command: Command, server: str) -> None:
        self.folder, self.command = folder, command
        # Relative paths: a note may repeat the words, and then it is the same in every folder.
        self.words = [word.format(folder=".", server=server) for word in command.words]
        self.seen: dict[Path, int] = {}
        folder.mkdir(parents=True)

    def copy(self, before: Path) -> None:
        if before.is_dir():
            shutil.copytree(before / "runs", self.folder / "runs")

    def run(self, kill_at: int = -1, renames: Path | None = None) -> int:
        """Run the command; 0, or -9 if it was killed. Raises RuntimeError if it ends otherwise."""
        (self.folder / "root").mkdir(exist_ok=True)
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = os.environ | {"CHAOS_KILL_AT": str(kill_at), "PYTHONPATH": path}
        environment |= {"CHAOS_RENAMES": str(renames)} if renames else {}
        program = [sys.executable, "-m", "tests.killed", *self.words]
        done = subprocess.run(program, capture_output=True, text=True, env=environment, cwd=self.folder)
        if done.returncode not in (0, -9) or (kill_at < 0 and done.returncode):
            raise RuntimeError(f"{' '.join(self.words)} ended with exit code {done.returncode}\n{done.stderr[-3000:]}")
        return done.returncode

    def _files(self, patterns: Iterable[str]) -> list[Path]:
        files = {file for pattern in patterns for file in self.folder.glob(pattern) if file.is_file()}
        return sorted(file for file in files if file.suffix not in (".lock", ".tmp"))

    def contents(self) -> dict[str, str]:
        """What is visible: predictions as values, everything else as bytes in hex."""
        return {
            str(file.relative_to(self.folder)): str(pq.read_table(file).to_pydict())
            if file.suffix == ".parquet"
            else file.read_bytes().hex()
            for file in self._files(self.command.written)
        }

    def look(self) -> None:
        for file in self._files(self.command.finished):
            if is_finished(file):
                self.seen.setdefault(file, file.stat().st_ino)

    def computed_twice(self) -> list[str]:
        again = [file for file, inode in self.seen.items() if not file.exists() or file.stat().st_ino != inode]
        return [str(file.relative_to(self.folder)) for file in again]
