"""docs/hostile-input.md: its groups are those of the code, of SECURITY.md and of the fuzzer."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests import hostile
from tests.test_fuzz import CORPUS, READERS


def rows(file: Path) -> dict[str, list[str]]:
    """The first cell of each row of a table in a page -> the others."""
    cells = [line.strip("|").split("|") for line in file.read_text(encoding="utf-8").splitlines() if line[:2] == "| "]
    return {first.strip(): [one.strip() for one in others] for first, *others in cells[1:]}


def test_the_groups_of_the_page_are_those_of_the_code() -> None:
    shown = rows(hostile.PAGE)
    assert list(shown) == list(hostile.GROUPS)
    for group, (tried, held) in shown.items():
        of_fuzzer = bool(hostile.GROUPS[group][1])
        assert ("files changed at random" in tried) == of_fuzzer, group
        assert held == "all" or (tried, held, of_fuzzer) == ("nothing", "-", False), f"{group}: {held}"
    assert re.search(r"wrote this page on \d{4}-\d\d-\d\d on \S", hostile.PAGE.read_text(encoding="utf-8"))


def test_every_group_of_the_security_page_and_every_reader_of_the_fuzzer_has_its_place() -> None:
    promised = rows(hostile.ROOT / "SECURITY.md")
    tests = {
        group: set(re.findall(r"tests/(test_\w+\.py)", cells[-1])) - {hostile.FUZZER}
        for group, cells in promised.items()
    }
    for group, files in tests.items():
        (mine,) = [name for name in hostile.GROUPS if name == group or group.endswith(name)]
        assert files <= set(hostile.GROUPS[mine][0]), group
    assert sorted(one for _, readers in hostile.GROUPS.values() for one in readers) == sorted(
        one.name for one in READERS
    )
    assert {folder.name for folder in CORPUS.iterdir()} <= {one.name for one in READERS}
    for files, _ in hostile.GROUPS.values():
        assert all((hostile.ROOT / "tests" / file).exists() for file in files)


def test_what_fails_is_counted_and_named(tmp_path: Path) -> None:
    """A test of a group that fails, one of the fuzzer that tells what it tried, and one of no group."""
    (tmp_path / "test_tokenizer_limits.py").write_text("def test_a(): pass\ndef test_b(): assert False\n")
    (tmp_path / "test_fuzz.py").write_text(
        "import pytest\n@pytest.mark.parametrize('reader', ['tar', 'zip'])\n"
        f"def test_c(reader, record_property): record_property({hostile.TRIED!r}, 700)\n"
    )
    (tmp_path / "test_other.py").write_text("def test_d(): assert False\n")
    code = (
        "import pytest, sys; from tests import hostile; counting = hostile.Counting(); "
        "pytest.main(['-q', '-p', 'no:cacheprovider', sys.argv[1]], plugins=[counting]); "
        "open(sys.argv[1] + '/page.md', 'w').write(hostile.page(counting.groups, 0))"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=hostile.ROOT, check=True, capture_output=True)
    shown = rows(tmp_path / "page.md")
    assert shown["tokenizers"] == ["2 tests", "all but `test_tokenizer_limits.py::test_b`"]
    assert shown["archives"] == ["1,400 files changed at random", "all"] and shown["pictures"] == ["nothing", "-"]
