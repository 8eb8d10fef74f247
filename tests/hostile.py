"""python -m tests.hostile [--quick]: run the tests of hostile files, and write a page of what was tried and what held.

--quick: run only the fuzzer. Groups are those of SECURITY.md.
DABS_RQ_FUZZ_MINUTES: how long the fuzzer changes good files at random.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pytest

from dabs_rq.records.provenance import provenance

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "hostile-input.md"
FUZZER = "test_fuzz.py"
TRIED = "tried"  # the property of a test of the fuzzer: how many files it read
# Group -> tests of bad input, and readers of the fuzzer (whose files in tests/corpus/ are read too).
GROUPS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "pictures": (("test_images_bad_input.py",), ("picture", "eurosat")),
    "recordings": (("test_speech_bad_input.py",), ("recording",)),
    "pickles, MATLAB, JSON, CSV, lists": (
        ("test_matlab.py", "test_vqa_bad_input.py", "test_xray_bad_input.py"),
        ("cifar10", "matlab", "wm811k", "coco", "csv", "lines", "pamap2", "higgs", "tape", "genomics", "genomics_csv"),
    ),
    "parquet tables": (("test_text_bad_input.py", "test_multilingual_bad_input.py"), ("parquet",)),
    "tokenizers": (("test_tokenizer_limits.py",), ("tokenizer",)),
    "records, predictions": (("test_record_fuzz.py",), ("record", "predictions")),
    "checkpoints": (("test_bad_places_and_weights.py", "test_dabs_checkpoint.py"), ("checkpoint", "dabs")),
    "archives": (("test_archive_limits.py", "test_data.py"), ("zip", "tar", "tar.gz")),
    "files in the user's folders": (("test_files_of_others.py",), ()),
}


@dataclass
class Counts:
    """Of one group, for tests and files of the fuzzer: how many were tried, and how many failed."""

    tried: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)


class Counting:
    """A plugin of pytest that counts outcomes by group."""

    def __init__(self) -> None:
        self.groups = {name: Counts() for name in GROUPS}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped or (report.when != "call" and not report.failed):
            return
        for name in groups_of(report.nodeid):
            counts = self.groups[name]
            files = sum(number for what, number in report.user_properties if what == TRIED)
            counts.tried["files changed at random" if files else "tests"] += files or 1
            if report.failed:
                counts.failed.append(report.nodeid.rpartition("/")[2])


def groups_of(test: str) -> list[str]:
    """Return the groups of a test, by its id: those of its file, or of the fuzzer's reader in its brackets."""
    file, _, name = test.partition("::")
    reader = name.partition("[")[2].rstrip("]").partition("/")[0]
    return [
        group
        for group, (files, readers) in GROUPS.items()
        if Path(file).name in files or (Path(file).name == FUZZER and reader in readers)
    ]


def page(groups: dict[str, Counts], minutes: float, quick: bool = False) -> str:
    """Write the page. quick: whether only the fuzzer was run."""
    part = " Nothing else was run." if quick else ""
    lines = [
        "# Hostile input: what was tried, and what held",
        "",
        f"`make trust` wrote this page on {date.today()} on {provenance()['hardware']}.",
        "[SECURITY.md](../SECURITY.md) says what is promised.",
        "",
        "A test is a bad file, place or option that somebody thought of, or a file of `tests/corpus/`, which once",
        "failed. A file changed at random is a good one with a few changes, a good one that was cut short, or random",
        "bytes. It holds if it is read, or refused by an error of dabs_rq, within 600 MiB of memory.",
        f"The fuzzer had {minutes:g} minutes.{part}",
        "",
        "| group | tried | held |",
        "|---|---|---|",
    ]
    for name, counts in groups.items():
        tried = ", ".join(f"{number:,} {what}" for what, number in sorted(counts.tried.items(), reverse=True))
        held = f"all but {', '.join(f'`{one}`' for one in counts.failed)}" if counts.failed else "all"
        lines.append(f"| {name} | {tried or 'nothing'} | {held if tried else '-'} |")
    return "\n".join([*lines, ""])


def main(arguments: Sequence[str]) -> int:
    quick, counting = "--quick" in arguments, Counting()
    files = dict.fromkeys(file for files, _ in GROUPS.values() for file in files if not quick)
    tests = [str(ROOT / "tests" / file) for file in (*files, FUZZER)]
    with tempfile.TemporaryDirectory(prefix="dabs-rq-hostile-") as folder:  # pytest's own is removed by later ones
        code = pytest.main(["-q", "--rootdir", str(ROOT), "--basetemp", f"{folder}/base", *tests], plugins=[counting])
    text = page(counting.groups, float(os.environ.get("DABS_RQ_FUZZ_MINUTES", "0")), quick)
    PAGE.write_text(text, encoding="utf-8")
    print(f"{text}\nwrote {PAGE}")
    return int(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
