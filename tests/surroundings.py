"""python -m tests.surroundings <result.json> <words>: a suite, and a JSON of all that a reader sees of it.

SURROUNDINGS_BACKWARDS: folders list their entries from the last to the first.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Backwards:
    """os.scandir, from the last entry to the first."""

    def __init__(self, entries: Any) -> None:
        with entries:
            self.entries = iter(sorted(entries, key=lambda entry: entry.name, reverse=True))

    def __iter__(self) -> Iterator[os.DirEntry[str]]:
        return self.entries

    def __next__(self) -> os.DirEntry[str]:
        return next(self.entries)

    def __enter__(self) -> Backwards:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def close(self) -> None:
        pass


def list_backwards() -> None:
    scandir, listdir = os.scandir, os.listdir
    os.scandir = lambda path=".": Backwards(scandir(path))  # type: ignore[assignment,return-value]
    os.listdir = lambda path=".": sorted(listdir(path), reverse=True)  # type: ignore[assignment]


def main() -> None:
    if os.environ.get("SURROUNDINGS_BACKWARDS"):
        list_backwards()
    from dabs_rq import checkpoint, cli
    from dabs_rq.records import record

    result, *words = sys.argv[1:]
    assert cli.main(["suite", *words]) == 0
    folder = Path(result).parent
    seen: dict[str, object] = {}
    for file in sorted(folder.rglob("*")):
        name = str(file.relative_to(folder))
        if file.name == "encoder.safetensors":
            seen[name] = checkpoint.describe(file)["weights"]
        elif file.suffix == ".json" and "records" in file.parts:
            read = record.read(file)
            kept = (read.score, read.train_split, read.test_split, read.checkpoint, read.probe)
            outputs = record.predictions(file).outputs.tobytes()
            seen[name] = [*kept, hashlib.sha256(outputs).hexdigest()]
        elif file.suffix in (".csv", ".tex", ".html") and "out" in file.relative_to(folder).parts:
            seen[name] = file.read_bytes().decode("utf-8")
    Path(result).write_text(json.dumps(seen), encoding="utf-8")


if __name__ == "__main__":
    main()
