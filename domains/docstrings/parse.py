"""Finds the docstrings in the source files of a package. Files are parsed, never imported."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

# Tests, vendored code and build tools document something else than the library.
_SKIPPED = {"tests", "test", "testing", "_testing", "externals", "_external", "_vendored", "_lib", "distutils", "f2py"}
_SKIPPED |= {"array_api_compat", "array_api_extra", "conftest.py"}
_UNDERLINE = re.compile(r"([^\w\s])\1\1+")  # of a heading, and the prompt >>>
# A library's own name would give it away, in a sentence, in an import and in a call.
_NAMES = re.compile(r"\b(numpy|np|pandas|pd|scikit-learn|scikit_learn|sklearn|scipy|sp|pytorch|torch)\b", re.IGNORECASE)


class Docstring(NamedTuple):
    """The docstring of one object.

    name: "module:object". library: the package. part: its subpackage or module, as `part_of` says. kind: "module",
    "class", "function" or "method". paragraphs: ASCII, in one line each, with "library" for the names of the libraries.
    """

    name: str
    library: str
    part: str
    kind: str
    paragraphs: tuple[str, ...]


def docstrings(library: str, folder: Path, parts: Iterable[str] | None = None) -> Iterator[Docstring]:
    """Yield the docstrings of the package in `folder`, sorted by file and in the order of a file.

    parts: names of the subpackages and modules at its top to read; None reads all. A file that is not Python of this
    version is skipped, as is an object without a docstring.
    """
    wanted = None if parts is None else set(parts)
    for file in sorted(folder.rglob("*.py")):
        path = file.relative_to(folder)
        if _SKIPPED & set(path.parts) or path.name.startswith("test_"):
            continue
        module = path.parent.parts if path.name == "__init__.py" else (*path.parent.parts, path.stem)
        if wanted is not None and not (module and module[0] in wanted):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escapes that a later Python refuses
            try:
                tree = ast.parse(file.read_bytes())
            except (SyntaxError, ValueError):
                continue
        for name, kind, node in _objects(tree):
            if paragraphs := _paragraphs(ast.get_docstring(node) or ""):
                full = ".".join((library, *module))
                yield Docstring(f"{full}:{name}", library, part_of(library, module), kind, paragraphs)


def part_of(library: str, module: tuple[str, ...]) -> str:
    """Return the subpackage or module at the top of a library; of a subpackage called core, one level further down."""
    return ".".join((library, *module[: 2 if module[:1] in (("core",), ("_core",)) else 1]))


Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _objects(tree: ast.Module) -> Iterator[tuple[str, str, Documented]]:
    """Yield (name, kind, node) of a module, its functions, its classes and their methods; the module has no name."""
    yield "", "module", tree
    yield from _in_body(tree.body, "")


def _in_body(body: Iterable[ast.stmt], owner: str) -> Iterator[tuple[str, str, Documented]]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{owner}{node.name}", "method" if owner else "function", node
        elif isinstance(node, ast.ClassDef):
            yield f"{owner}{node.name}", "class", node
            yield from _in_body(node.body, f"{owner}{node.name}.")
        elif isinstance(node, ast.If | ast.Try):
            yield from _in_body([*node.body, *node.orelse], owner)


def _paragraphs(text: str) -> tuple[str, ...]:
    found = (plain(paragraph) for paragraph in re.split(r"\n\s*\n", text))
    return tuple(paragraph for paragraph in found if paragraph)


def plain(text: str) -> str:
    """Return the text in one line, without backticks, underlines of headings, other characters than ASCII and the names
    of the libraries."""
    text = _UNDERLINE.sub(" ", text.replace("`", " ")).encode("ascii", "ignore").decode()
    return " ".join(_NAMES.sub("library", text).split())
