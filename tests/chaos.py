"""python -m tests.chaos: kill commands again and again; what they write has to be that of quiet ones.

Suites (in processes, on Ray, with two ranks) are killed at random moments: the whole suite, or one of the processes it
started, which the suite itself has to mend. Some of their runs find a full disk (RLIMIT_FSIZE), and a clock that jumped
by up to a month either way. Other suites (disk) run on a disk that is full, again and again, each time elsewhere. Other
commands are killed beside a random rename, see `tests.chaos_renames`.

What was finished before a kill must not be computed again, nothing half-written may be visible or be read, and no
temporary file and no process may stay.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import psutil
import pyarrow.parquet as pq

from tests import chaos_disk
from tests.chaos_renames import COMMANDS, Found, is_finished, killed_beside_renames

# Every kind of input, all methods, points to resume from; small enough that a kill hits every stage.
WORDS = (
    "domain=sensor,text",
    "pretrain.steps=60",
    "pretrain.checkpoint_every=10",
    "transfer.max_examples=120",
    "suite.workers=2",
)
# Kinds of suites: their own words, and which part of the kills is theirs.
SUITES: dict[str, tuple[tuple[str, ...], float]] = {
    "processes": ((), 0.4),
    "ray": (("suite.executor=ray", "domain=sensor"), 0.1),
    "ranks": (
        ("trainer.devices=2", "suite.executor=in_process", "domain=sensor", "method=rq", "pretrain.steps=40"),
        0.1,
    ),
}
DISK, OF_DISKS = "disk", 0.1
MONTH = 30 * 24 * 3600.0
FULL = (2_000, 50_000, 200_000)  # bytes that a file may have where the disk is full


class Suite:
    """Suites that put everything in `folder`."""

    def __init__(self, folder: Path, words: Sequence[str], logs: Path | None = None) -> None:
        self.folder, self.logs_folder = folder, logs or folder
        program = [sys.executable, "-m", "tests.killed", "dabs_rq", "suite"]
        self.command = [*program, *words, f"runs={folder / 'runs'}", f"out={folder / 'out'}"]
        folder.mkdir(parents=True)
        self.logs = 0
        self.seen: dict[Path, int] = {}

    @property
    def log(self) -> Path:
        return self.logs_folder / f"log-{self.logs}.txt"

    def start(self, clock: float = 0.0, most_bytes: int | None = None) -> subprocess.Popen[bytes]:
        """Start the suite. clock: seconds that its clock is off. most_bytes: that a file of its may have."""

        def fill() -> None:
            if most_bytes is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))

        self.logs += 1
        ray = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid.uuid4().hex}  # none in the home folder
        environment = os.environ | ray | {"CHAOS_CLOCK": str(clock)}
        with self.log.open("wb") as log:
            return subprocess.Popen(
                self.command, stdout=log, stderr=log, start_new_session=True, env=environment, preexec_fn=fill
            )

    def finish(self) -> float:
        """Run to the end; seconds. Raises RuntimeError if that fails."""
        started = time.monotonic()
        if code := self.start().wait():
            raise RuntimeError(f"the suite ended with exit code {code}; see {self.log}\n{self.log.read_text()[-3000:]}")
        return time.monotonic() - started

    def look(self) -> None:
        """Remember which checkpoints and records are finished, and which file each was."""
        for pattern in ("**/encoder.safetensors", "**/records/**/*.json"):
            for file in filter(is_finished, (self.folder / "runs").glob(pattern)):
                self.seen.setdefault(file, file.stat().st_ino)

    def age(self, generator: random.Random) -> None:
        """Set the times of everything that was computed, as after a jump of the clock. Data keep theirs: other times
        mean other data."""
        for file in (self.folder / "runs").glob("**/*"):
            if file.is_file() and "miniature" not in file.relative_to(self.folder / "runs").parts[:1]:
                moved = time.time() + generator.uniform(-MONTH, MONTH)
                os.utime(file, (moved, moved))

    def computed_twice(self) -> list[str]:
        """What was finished when somebody looked, and was written again since."""
        again = [file for file, inode in self.seen.items() if not file.exists() or file.stat().st_ino != inode]
        return [str(file.relative_to(self.folder)) for file in again]

    def results(self) -> dict[str, str]:
        """The table, and every record's predictions."""
        found = {str(file.relative_to(self.folder)): file.read_text() for file in self.folder.rglob("table.csv")}
        for file in sorted((self.folder / "runs").rglob("records/**/*.parquet")):
            found[str(file.relative_to(self.folder))] = str(pq.read_table(file).to_pydict())
        return found


def kill(process: subprocess.Popen[bytes], generator: random.Random, on_ray: bool) -> str:
    """Kill the suite or one process that it started; what was killed. On Ray only its workers die alone: a suite does
    not outlive the servers of its own cluster."""
    with contextlib.suppress(psutil.NoSuchProcess):
        started = psutil.Process(process.pid).children(recursive=True)
        alone = [one for one in started if not on_ray or one.name().startswith("ray::")]
        if alone and generator.random() < 0.5:
            generator.choice(alone).kill()
            return f"one of {len(alone)} processes"
        for one in [psutil.Process(process.pid), *started]:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
    process.wait()
    return "the suite"


def disturbed(folder: Path, words: Sequence[str], kills: int, longest: float, seed: int) -> list[Suite]:
    """Suites that were killed `kills` times in all, each started again until it was finished."""
    generator, on_ray = random.Random(seed), "suite.executor=ray" in words
    suites, done = [Suite(folder / "0", words)], 0
    while done < kills:
        clock = generator.choice([0.0, generator.uniform(-MONTH, MONTH)])
        full = generator.choice(FULL) if not on_ray and generator.random() < 0.25 else None
        process = suites[-1].start(clock, full)
        while done < kills:
            try:
                code = process.wait(generator.uniform(0.5, longest))
            except subprocess.TimeoutExpired:
                done += 1
                what = kill(process, generator, on_ray)
                suites[-1].look()
                odd = f", clock {clock / 86400:+.0f} days" if clock else ""
                odd += f", files of at most {full} bytes" if full else ""
                print(f"  kill {done}: {what} of run {len(suites) - 1}{odd}", flush=True)
                if what == "the suite":
                    break
            else:
                # A killed process, or a full disk: the suite says what failed, and the next one makes it good.
                if code not in (0, 1):
                    log = suites[-1].log
                    raise RuntimeError(f"the suite ended with exit code {code}; see {log}\n{log.read_text()[-3000:]}")
                if code == 0:
                    suites.append(Suite(folder / str(len(suites)), words))
                break
        else:
            process.wait()
        suites[-1].age(generator)
    for one in suites:
        one.finish()
    return suites


def of_suites(folder: Path, words: Sequence[str], kills: int, seed: int) -> Found:
    """Kill suites of these words, and say what was found."""
    quiet = Suite(folder / "quiet", words)
    seconds = quiet.finish()
    print(f"  undisturbed: {seconds:.0f} s", flush=True)
    expected = quiet.results()
    found = Found(kills=kills)
    for number, one in enumerate(disturbed(folder, words, kills, seconds / 2, seed)):
        found.add_results(f"run {number}", expected, one.results())
        found.twice += [f"run {number}: {name}" for name in one.computed_twice()]
        found.left += [str(file) for file in one.folder.rglob("*.tmp")]
        found.kept += len(one.seen)
    found.left += processes_of(folder)
    return found


def processes_of(folder: Path, seconds: float = 30.0) -> list[str]:
    """The processes whose command names the folder, such as ranks of a killed training, once they had time to end."""
    until = time.monotonic() + seconds
    while True:
        alive = []
        for process in psutil.process_iter(["pid", "cmdline"]):
            words = " ".join(process.info["cmdline"] or [])
            if str(folder) in words and process.pid != os.getpid():
                alive.append(f"process {process.pid}: {words}")
        if not alive or time.monotonic() > until:
            return alive
        time.sleep(1)


def of_full_disks(folder: Path, fills: int, seed: int) -> Found:
    """Run a suite on a disk that is full `fills` times, then on one with room, and say what was found."""
    generator = random.Random(seed)
    quiet = Suite(folder / "quiet", WORDS)
    quiet.finish()
    needed = sum(file.stat().st_size for file in quiet.folder.rglob("*") if file.is_file())
    found, disk = Found(kills=fills), folder / "disk"
    with chaos_disk.small_disk(disk):
        one = Suite(disk / "suite", WORDS, logs=folder)
        for number, size in zip(range(fills), chaos_disk.sizes(generator, needed), strict=False):
            chaos_disk.resize(disk, size)
            code = one.start().wait()
            one.look()
            print(f"  full disk {number + 1}: {size / 1e6:.1f} of {needed / 1e6:.1f} MB, exit code {code}", flush=True)
            if code not in (0, 1):
                found.half.append(f"full disk {number + 1}: exit code {code}: {one.log.read_text()[-1000:]}")
        chaos_disk.resize(disk, 1 << 30)
        one.finish()
        found.add_results("full disks", quiet.results(), one.results())
        found.twice += one.computed_twice()
        found.left += [str(file) for file in one.folder.rglob("*.tmp")]
        found.kept += len(one.seen)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=30, help="in all, shared by the parts")
    parser.add_argument("--seed", type=int, default=0)
    parts = [*SUITES, DISK, *COMMANDS]
    parser.add_argument("--only", default=",".join(parts), help=f"of {', '.join(parts)}")
    parser.add_argument("words", nargs="*", default=[], metavar="key=value", help="options of suites, beside their own")
    given = parser.parse_args(arguments)
    chosen = given.only.split(",")
    if "ray" in chosen and importlib.util.find_spec("ray") is None:
        print("ray: left out, because Ray is not installed (pip install 'dabs_rq[ray]')", flush=True)
        chosen.remove("ray")
    shares = {name: share for name, (_, share) in SUITES.items()} | {DISK: OF_DISKS}
    shares |= dict.fromkeys(COMMANDS, (1 - sum(shares.values())) / len(COMMANDS))
    whole = sum(shares[name] for name in chosen)
    found: dict[str, Found] = {}
    with tempfile.TemporaryDirectory(prefix="dabs-rq-chaos-") as folder:
        for name in chosen:
            kills = max(1, round(given.kills * shares[name] / whole))
            print(f"{name}: {kills} kills", flush=True)
            if name in SUITES:
                words = [*WORDS, *SUITES[name][0], *given.words]
                found[name] = of_suites(Path(folder) / name, words, kills, given.seed)
            elif name == DISK:
                try:
                    found[name] = of_full_disks(Path(folder) / name, kills, given.seed)
                except OSError as error:
                    print(f"{name}: left out, because this user cannot make a small disk ({error})", flush=True)
            else:
                found[name] = killed_beside_renames(name, Path(folder) / name, kills, given.seed)
    for name, one in found.items():
        print(f"{name}: {one}")
    print("\n".join(f"{name}: {line}" for name, one in found.items() for line in one.faults))
    return 1 if any(one.faults for one in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
