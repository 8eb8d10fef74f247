"""A comparison of two runs as text: compare.csv, compare.md and the short table on the screen."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tabulate import tabulate

from dabs_rq.experiment.compare import with_interval
from dabs_rq.files import locked_folder, write_text
from dabs_rq.share.compare import A, B, Comparison, Pair
from dabs_rq.table import ours

T = TypeVar("T")
FOLDER = Path("results") / "compare"
COLUMNS = (
    *("domain", "task", "row", "metric", "split", "method", "probe", "in", "seeds", "seeds_a", "seeds_b"),
    *("a", "b", "difference", "low", "high", "p", "basis", "differs"),
)


def write(comparison: Comparison, folder: Path) -> Path:
    """Write compare.csv and compare.md into `folder`. Raises RecordError if a file there is not ours."""
    texts = {folder / "compare.csv": to_csv(comparison), folder / "compare.md": to_markdown(comparison)}
    ours.check_replaceable(texts)
    with locked_folder(folder):
        for file, text in texts.items():
            write_text(file, text)
    return folder


def to_csv(comparison: Comparison) -> str:
    """Return a line per cell; one that only one run has is a line without numbers. Percent."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="-", lineterminator="\n")
    writer.writeheader()
    for pair in comparison.pairs:
        writer.writerow(_line(pair))
    for side, names in comparison.only.items():
        for key, name in names:
            writer.writerow({**key._asdict(), "in": side, "differs": name})
    return text.getvalue()


def _line(pair: Pair) -> dict[str, object]:
    numbers = {name: getattr(pair, name) for name in ("a", "b", "difference", "low", "high")}
    return {
        **pair.key._asdict(),
        "row": pair.row,
        "metric": pair.metric,
        "in": "both",
        **{name: _list(getattr(pair, name)) for name in ("seeds", "seeds_a", "seeds_b")},
        **{name: "-" if math.isnan(value) else f"{value:.4f}" for name, value in numbers.items()},
        "p": "-" if math.isnan(pair.p) else f"{pair.p:.4g}",
        "basis": pair.basis,
        "differs": "; ".join(f"{kind}: {', '.join(texts)}" for kind, texts in pair.differences.items()) or "-",
    }


def _list(seeds: tuple[int, ...]) -> str:
    return " ".join(map(str, seeds)) or "-"


def to_table(comparison: Comparison) -> str:
    """Return the table of the cells in both runs."""
    rows = [
        [
            pair.key.name,
            pair.metric,
            f"{pair.a:.2f}",
            f"{pair.b:.2f}",
            with_interval(pair.difference, pair.low, pair.high, "+") or "-",
            _list(pair.seeds),
        ]
        for pair in comparison.pairs
    ]
    return tabulate(rows, ("cell", "metric", A, B, "B - A", "seeds"), tablefmt="pipe", disable_numparse=True)


def data_note(comparison: Comparison) -> str:
    """Say that scores are of made-up data, "" if none are."""
    made_up = sum(pair.made_up for pair in comparison.pairs)
    if not made_up:
        return ""
    count = "All" if made_up == len(comparison.pairs) else f"{made_up} of {len(comparison.pairs)}"
    return f"{count} cells are of made-up miniature data: their numbers say nothing about the published data sets."


def to_markdown(comparison: Comparison) -> str:
    parts = [f"# Two runs compared\n\n- A: {comparison.a}\n- B: {comparison.b}"]
    if note := data_note(comparison):
        parts.append(note)
    parts.append("Percent. Differences have 95 % intervals, paired by test example or by seed as the list below says.")
    parts.append(to_table(comparison) if comparison.pairs else "No cell is in both.")
    if comparison.pairs:
        lines = [f"{basis}: {', '.join(names)}" for basis, names in bases(comparison).items()]
        parts.append(f"## Differences by\n\n{_bullets(lines)}")
    if found := differing(comparison):
        lines = [f"{kind}: {text} ({cells})" for kind, text, cells in found]
        parts.append(f"## What else differs (A / B)\n\n{_bullets(lines)}")
    for side, names in comparison.only.items():
        if names:
            parts.append(f"## Only in {side}\n\n{_bullets([name for _, name in names])}")
    for title, texts in (("Without a score", comparison.without_score), ("Left out", comparison.errors)):
        if texts:
            parts.append(f"## {title}\n\n{_bullets(list(texts))}")
    return "\n\n".join(parts) + "\n"


def _bullets(lines: list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def bases(comparison: Comparison) -> dict[str, list[str]]:
    """Return how differences are computed -> the names of the cells."""
    return _grouped(comparison, lambda pair: [pair.basis])


def differing(comparison: Comparison) -> list[tuple[str, str, str]]:
    """List what else differs, each once: its kind, A / B, and the cells that it concerns."""
    grouped = _grouped(
        comparison, lambda pair: [(kind, text) for kind, texts in pair.differences.items() for text in texts]
    )
    count = len(comparison.pairs)
    return [
        (kind, text, "all cells" if len(names) == count else ", ".join(names))
        for (kind, text), names in grouped.items()
    ]


def _grouped(comparison: Comparison, keys: Callable[[Pair], list[T]]) -> dict[T, list[str]]:
    grouped: dict[T, list[str]] = {}
    for pair in comparison.pairs:
        for key in keys(pair):
            grouped.setdefault(key, []).append(pair.key.name)
    return grouped
