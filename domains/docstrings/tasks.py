"""The tasks on docstrings: of which library, and of which kind of object, from the beginning of a docstring."""

from __future__ import annotations

from functools import partial

import numpy as np
import pyarrow as pa

from dabs_rq.data.examples import Examples
from dabs_rq.data.readers import text
from dabs_rq.data.requests import Request
from dabs_rq.domain import Task
from dabs_rq.domains.docstrings.tables import FOLDER, LIBRARIES
from dabs_rq.errors import DataError
from dabs_rq.files import digest
from dabs_rq.spec import Multiclass, Source

KINDS = ("class", "function", "method", "module")

SOURCE = Source(
    name="docstrings",
    title="Docstrings of numpy, pandas, scipy, scikit-learn and torch",
    url="https://pypi.org",
    folder=FOLDER,
    layout="""
paragraphs/train.parquet, validation.parquet      column text
objects/train.parquet, test.parquet               columns name, library, part, kind, text
""",
    needs=(
        "paragraphs/train.parquet",
        "paragraphs/validation.parquet",
        "objects/train.parquet",
        "objects/test.parquet",
    ),
    licence="BSD 3-clause, that of each library",
    size="4 MB",
    citation="The authors of NumPy, pandas, SciPy, scikit-learn and PyTorch",
)


def load_paragraphs(request: Request) -> Examples:
    """Load the paragraphs of the docstrings of a split."""
    location = text.find_table(request, SOURCE, "paragraphs", request.split)
    rows = text.rows_with_text(location, ("text",))
    return Examples(
        ids=text.row_ids(request.split, rows),
        inputs=(text.from_table(location, ("text",), rows, text.tokens_input(request), request.root),),
    )


def load(request: Request, *, field: str, classes: tuple[str, ...]) -> Examples:
    """Load as many docstrings of every class as there are of the rarest. `field` names the column of the classes. A
    group is a module."""
    location = text.find_table(request, SOURCE, "objects", request.split)
    labels, names = (location.column(column).to_pylist() for column in (field, "name"))
    if unknown := sorted(set(labels) - set(classes)):
        raise DataError(f"{location}: column {field} is one of {', '.join(classes)}; found {unknown[0]!r}")
    targets = np.array([classes.index(label) for label in labels], np.int64)
    rows = _balanced(targets, names, len(classes))
    groups = np.array([int(digest(name.partition(":")[0])[:15], 16) for name in names])
    return Examples(
        ids=pa.array([names[row] for row in rows], pa.string()),
        inputs=(text.from_table(location, ("text",), rows, text.tokens_input(request), request.root),),
        targets=targets[rows],
        groups=groups[rows],
    )


def _balanced(targets: np.ndarray, names: list[str], classes: int) -> np.ndarray:
    """Return the rows of equally many examples per class, chosen by a hash of their names, in their order."""
    order = np.array(sorted(range(len(names)), key=lambda row: digest(names[row])))
    count = int(np.bincount(targets, minlength=classes).min())
    return np.sort(np.concatenate([order[targets[order] == label][:count] for label in range(classes)]))


def _task(field: str, row: str, classes: tuple[str, ...]) -> Task:
    return Task(
        name=f"docstring_{field}",
        row=row,
        source=SOURCE,
        target=Multiclass(len(classes)),
        metric="accuracy",
        load=partial(load, field=field, classes=classes),
    )


TASKS = (_task("library", "Docstring's Library", tuple(LIBRARIES)), _task("kind", "Docstring's Object", KINDS))
