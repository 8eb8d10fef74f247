"""python -m tests.chaos: kill a suite again and again at random moments; its table has to be that of a quiet one, and
what was finished before a kill must not be computed again.

Every kill is SIGKILL: of the whole suite, or of one of the processes it started (which the suite itself has to mend).
"""

from __future__ import annotations

import argparse
import contextlib
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pyarrow.parquet as pq

# Every domain kind of input, all methods, points to resume from; small enough that a kill hits every stage.
WORDS = (
    "domain=sensor,text",
    "pretrain.steps=60",
    "pretrain.checkpoint_every=10",
    "transfer.max_examples=120",
    "suite.workers=2",
)


class Suite:
    """Suites that put everything in `folder`."""

    def __init__(self, folder: Path, words: Sequence[str]) -> None:
        self.folder = folder
        self.command = [sys.executable, "-m", "dabs_rq", "suite", *words, f"runs={folder / 'runs'}", f"out={folder}"]
        folder.mkdir(parents=True)
        self.log = folder / "log.txt"
        self.seen: dict[Path, int] = {}

    def start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(self.command, stdout=log, stderr=log, start_new_session=True)

    def finish(self) -> float:
        """Run to the end; seconds. Raises RuntimeError if that fails."""
        started = time.monotonic()
        if code := self.start().wait():
            raise RuntimeError(f"the suite ended with exit code {code}; see {self.log}\n{self.log.read_text()[-3000:]}")
        return time.monotonic() - started

    def look(self) -> None:
        """Remember which checkpoints and records are finished, and when each was first seen to be written."""
        for pattern in ("**/encoder.safetensors", "**/records/**/*.json"):
            for file in (self.folder / "runs").glob(pattern):
                self.seen.setdefault(file, file.stat().st_mtime_ns)

    def computed_twice(self) -> list[str]:
        """What was finished when somebody looked, and was written again since."""
        again = [file for file, written in self.seen.items() if file.stat().st_mtime_ns != written]
        return [str(file.relative_to(self.folder)) for file in again]

    def results(self) -> dict[str, str]:
        """The table, and every record's predictions."""
        found = {str(file.relative_to(self.folder)): file.read_text() for file in self.folder.rglob("table.csv")}
        for file in sorted((self.folder / "runs").rglob("records/**/*.parquet")):
            found[str(file.relative_to(self.folder))] = str(pq.read_table(file).to_pydict())
        return found


def kill(process: subprocess.Popen[bytes], generator: random.Random) -> str:
    """Kill the suite or one process that it started; what was killed."""
    with contextlib.suppress(psutil.NoSuchProcess):
        started = psutil.Process(process.pid).children(recursive=True)
        if started and generator.random() < 0.5:
            victim = generator.choice(started)
            victim.kill()
            return f"one of {len(started)} processes"
        for one in [psutil.Process(process.pid), *started]:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
    process.wait()
    return "the suite"


def disturbed(folder: Path, words: Sequence[str], kills: int, longest: float, seed: int) -> list[Suite]:
    """Suites that were killed `kills` times in all, each started again until it was finished."""
    generator = random.Random(seed)
    suites, done = [Suite(folder / "0", words)], 0
    while done < kills:
        process = suites[-1].start()
        while done < kills:
            try:
                code = process.wait(generator.uniform(0.5, longest))
            except subprocess.TimeoutExpired:
                done += 1
                what = kill(process, generator)
                suites[-1].look()
                print(f"kill {done}: {what} of run {len(suites) - 1}", flush=True)
                if what == "the suite":
                    break
            else:
                if code not in (0, 1):
                    raise RuntimeError(f"the suite ended with exit code {code}; see {suites[-1].log}")
                if code == 0:
                    suites.append(Suite(folder / str(len(suites)), words))
                break
        else:
            process.wait()
    for one in suites:
        one.finish()
    return suites


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "words", nargs="*", default=[], metavar="key=value", help="options of the suite, beside its own"
    )
    given = parser.parse_args(arguments)
    words = [*WORDS, *given.words]
    with tempfile.TemporaryDirectory(prefix="dabs-rq-chaos-") as folder:
        quiet = Suite(Path(folder) / "quiet", words)
        seconds = quiet.finish()
        print(f"undisturbed: {seconds:.0f} s", flush=True)
        expected = quiet.results()
        suites = disturbed(Path(folder), words, given.kills, seconds / 2, given.seed)
        different = [
            f"run {number}: {name}"
            for number, one in enumerate(suites)
            for found in [one.results()]
            for name in sorted(expected.keys() | found.keys())
            if expected.get(name) != found.get(name)
        ]
        left = [str(file) for one in suites for file in one.folder.rglob("*.tmp")]
        twice = [f"run {number}: {name}" for number, one in enumerate(suites) for name in one.computed_twice()]
        kept = sum(len(one.seen) for one in suites)
    print(f"{given.kills} kills in {len(suites)} runs: {len(expected)} files compared, {len(different)} different")
    print(f"{kept} checkpoints and records were finished before a kill, {len(twice)} of them computed again")
    print("\n".join([*different, *(f"twice: {one}" for one in twice), *(f"left behind: {file}" for file in left)]))
    return 1 if different or twice or left else 0


if __name__ == "__main__":
    sys.exit(main())
