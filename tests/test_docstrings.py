"""The docstrings domain: a package written by hand, and the libraries that are installed."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from dabs_rq.data.examples import Examples
from dabs_rq.domains.docstrings import DOMAIN, tables, tasks
from dabs_rq.domains.docstrings.parse import Docstring, docstrings, part_of, plain
from dabs_rq.errors import DataError

Load = Callable[..., Examples]
SOURCE_TEXT = '''"""Tools of the module, with numpy inside."""
if True:
    def top():
        """
        A function here does numpy.dot and `np.sum`.

        Parameters
        ----------
        x : array
        """
        def inner():
            """An inner function is private."""

class Thing:
    """A class of things."""
    def act(self):
        "A method acts on things."
    class Inner:
        """A class inside a class."""
    def silent(self): pass
'''


def write_package(folder: Path) -> Path:
    (folder / "core/tests").mkdir(parents=True)
    (folder / "__init__.py").write_text('"""The whole package at once."""')
    (folder / "core/base.py").write_text(SOURCE_TEXT)
    (folder / "core/newer.py").write_text("def f[T](x: T) -> T:\n    pass\nclass (:")  # not Python
    (folder / "core/odd.py").write_bytes(b'"""\xff\xfe"""')  # not UTF-8
    (folder / "core/tests/hidden.py").write_text('"""Tests are no documentation."""')
    (folder / "core/test_more.py").write_text('"""Nor are these."""')
    (folder / "last.py").write_text('"""The last module of all."""')
    return folder


def test_a_package_is_parsed_by_kind_and_part(tmp_path: Path) -> None:
    found = list(docstrings("own", write_package(tmp_path / "own")))
    assert [(one.name, one.kind, one.part) for one in found] == [
        ("own:", "module", "own"),
        ("own.core.base:", "module", "own.core.base"),
        ("own.core.base:top", "function", "own.core.base"),
        ("own.core.base:Thing", "class", "own.core.base"),
        ("own.core.base:Thing.act", "method", "own.core.base"),
        ("own.core.base:Thing.Inner", "class", "own.core.base"),
        ("own.last:", "module", "own.last"),
    ]
    assert found[1].paragraphs == ("Tools of the module, with library inside.",)
    assert found[2].paragraphs == ("A function here does library.dot and library.sum .", "Parameters x : array")
    assert [one.name for one in docstrings("own", tmp_path / "own", ["last"])] == ["own.last:"]


def test_the_order_of_the_file_system_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_package(tmp_path / "own")
    expected, rglob = list(docstrings("own", folder)), Path.rglob
    monkeypatch.setattr(Path, "rglob", lambda path, pattern: sorted(rglob(path, pattern), reverse=True))
    assert list(docstrings("own", folder)) == expected


def test_names_of_libraries_and_decoration_are_taken_out() -> None:
    text = "A NumPy array\n=====\n>>> import scikit_learn, torch.nn; pd.DataFrame(np.ones(3)) # caf\u00e9 `x` -- end"
    assert (
        plain(text) == "A library array import library, library.nn; library.DataFrame(library.ones(3)) # caf x -- end"
    )
    assert plain("torchvision and pandastic are other words") == "torchvision and pandastic are other words"


def test_parts_are_the_subpackages_at_the_top() -> None:
    assert part_of("scipy", ("stats", "_morestats")) == "scipy.stats" and part_of("scipy", ()) == "scipy"
    assert part_of("pandas", ("core", "arrays", "base")) == "pandas.core.arrays"


def of(name: str, *paragraphs: str, part: str = "numpy.fft") -> Docstring:
    return Docstring(name, part.split(".")[0], part, "function", paragraphs)


def test_texts_with_the_same_beginning_are_kept_once() -> None:
    long = "word " * tables.BEGINNING
    found = [
        of("a", "Return the sum of it"),
        of("b", "return  the sum", "of it"),
        of("a", "Another text of that name"),
        of("c", "Too short"),
        of("d", long + "one"),
        of("e", long + "two"),
    ]
    assert [(one.name, one.paragraphs[0][:12]) for one in tables.distinct(found)] == [
        ("a", "Return the s"),
        ("d", "word word wo"),
    ]


def test_of_every_library_a_fifth_or_more_is_held_out_by_whole_parts() -> None:
    found = [of(f"{part}:{n}", "x", part=part) for part in ("a.x", "a.y", "a.z", "b.x", "b.y") for n in range(10)]
    held_out = tables.held_out_parts(found)
    assert held_out == tables.held_out_parts(found[::-1])
    assert {part.split(".")[0] for part in held_out} == {"a", "b"} and len(held_out) == 2


@pytest.fixture
def load(read: Callable[..., Examples], miniature: Callable[[str], Path]) -> Load:
    return lambda loader, split: read(loader, miniature("docstrings"), "docstrings", split, made_up=False, strict=True)


def test_the_installed_libraries_give_thousands_of_real_texts(miniature: Callable[[str], Path]) -> None:
    train, test = (objects(miniature("docstrings"), split) for split in ("train", "test"))
    assert len(train) > 5000 and len(test) > 0.2 * (len(train) + len(test))
    for rows in (train, test):
        assert {row["library"] for row in rows} == set(tables.LIBRARIES)
        assert {row["kind"] for row in rows} == set(tasks.KINDS)
    for one in [row for row in train if row["kind"] in ("class", "function")][::400]:
        module, _, name = one["name"].partition(":")
        found = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part, None)
        if found is not None and (text := found.__doc__):
            assert plain(text).split()[0] == one["text"].split()[0], one["name"]
    assert not [row["text"] for row in train + test if "numpy" in row["text"].lower().split()]


def objects(root: Path, split: str) -> list[dict[str, str]]:
    return parquet.read_table(root / tables.FOLDER / f"objects/{split}.parquet").to_pylist()


def test_no_part_and_no_text_is_in_both_splits(miniature: Callable[[str], Path]) -> None:
    root = miniature("docstrings")
    splits = [objects(root, split) for split in ("train", "test")]
    for field in ("part", "name", "text"):
        assert not set.intersection(*({row[field] for row in rows} for rows in splits)), field
    beginnings = [" ".join(row["text"].lower().split()[: tables.BEGINNING]) for rows in splits for row in rows]
    assert len(set(beginnings)) == len(beginnings)
    folder = root / tables.FOLDER / "paragraphs"
    texts = [
        set(parquet.read_table(folder / f"{name}.parquet")["text"].to_pylist()) for name in ("train", "validation")
    ]
    assert len(texts[0]) > 20_000 and not texts[0] & texts[1]


@pytest.mark.parametrize("task", tasks.TASKS, ids=lambda task: task.name)
def test_classes_are_equally_frequent_and_right(task: tasks.Task, load: Load, miniature: Callable[[str], Path]) -> None:
    field, names = ("library", list(tables.LIBRARIES)) if task is tasks.TASKS[0] else ("kind", list(tasks.KINDS))
    for split in ("train", "test"):
        examples = load(task.load, split)
        declared = {row["name"]: row[field] for row in objects(miniature("docstrings"), split)}
        assert examples.targets is not None
        assert [declared[one] for one in examples.ids.to_pylist()] == [names[target] for target in examples.targets]
        modules = [one.partition(":")[0] for one in examples.ids.to_pylist()]
        assert examples.groups is not None and len(set(zip(modules, examples.groups, strict=True))) == len(set(modules))
        assert len(set(examples.groups)) == len(set(modules))
        counts = np.bincount(examples.targets)
        assert len(counts) == len(names) and counts.min() == counts.max() > 50


def test_writing_again_gives_the_same_bytes(miniature: Callable[[str], Path], tmp_path: Path) -> None:
    assert DOMAIN.installed is not None
    DOMAIN.installed.write(tmp_path)
    files = [file.relative_to(tmp_path) for file in sorted(tmp_path.rglob("*")) if file.is_file()]
    assert len(files) == 5
    assert all((tmp_path / file).read_bytes() == (miniature("docstrings") / file).read_bytes() for file in files)


def test_a_class_that_is_unknown_is_named(
    read: Callable[..., Examples], miniature: Callable[[str], Path], tmp_path: Path
) -> None:
    root = shutil.copytree(miniature("docstrings"), tmp_path / "root")
    file = root / tables.FOLDER / "objects/test.parquet"
    table = parquet.read_table(file)
    names = ["flask", *table["library"].to_pylist()[1:]]
    parquet.write_table(table.set_column(table.column_names.index("library"), "library", [names]), file)
    with pytest.raises(DataError, match=r"test\.parquet: column library is one of numpy, .*; found 'flask'"):
        read(tasks.TASKS[0].load, root, "docstrings", "test")
