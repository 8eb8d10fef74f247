"""results.json and results.md: the latest measurement of every line, with the machine and versions it was made on."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import THREADS, Line
from dabs_rq.files import write_text
from dabs_rq.records.provenance import now, provenance

UNITS = {"s": [(1, "s"), (1e-3, "ms"), (1e-6, "µs")]}  # others are shown as they are


def record(line: Line) -> dict[str, Any]:
    """A line as results.json holds it."""
    about = {"ratio": line.ratio, "target": _target(line), "reached": line.reached}
    return asdict(line) | about | {"date": now(), "commit": provenance()["commit"], "load": os.getloadavg()[0]}


def machine() -> dict[str, Any]:
    """What all lines of a file have in common."""
    about = provenance()
    processors = {"processor": _processor(), "processors": os.cpu_count()}
    return {"versions": about["versions"], "hardware": about["hardware"]} | processors


def keep(folder: Path, name: str, line: Line, order: Sequence[str]) -> None:
    """Put a line in place of its former measurement in `folder`. Those of other lines stay, unless they were made on
    another machine, or the line is none of `order` any more."""
    file = folder / "results.json"
    found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    lines = found["lines"] if found.get("machine") == machine() else {}
    lines[name] = record(line)
    about = {"date": now(), "machine": machine(), "threads": THREADS, "torch": torch.__version__}
    results = about | {"lines": {one: lines[one] for one in order if one in lines}}
    write_text(file, json.dumps(results, indent=1) + "\n")
    write_text(folder / "results.md", table(results))


def table(results: dict[str, Any]) -> str:
    """The results in Markdown."""
    about, records = results["machine"], results["lines"]
    rows = [
        "# Benchmarks",
        "",
        "Made by `make bench`. Medians of repeats, quartiles in brackets; both sides of a line take turns in one",
        "process, and a ratio is that of the medians.",
        "",
        f"{results['date'][:10]}, {about['processors']} x {about['processor']} ({about['hardware']}), "
        f"Python {about['versions']['python']}, torch {results['torch']}",
        "",
        "| line | ours | baseline | ratio | target | reached |",
        "|---|---|---|---|---|---|",
    ]
    for name, one in records.items():
        if one["skipped"]:
            rows.append(f"| {name} | skipped: {one['skipped']} | | | | |")
            continue
        theirs = "" if one["theirs"] is None else _shown(one["theirs"], one["unit"])
        ratio = (
            "" if one["ratio"] is None else f"{one['ratio']:.3g} x{' (extrapolated)' if one['extrapolated'] else ''}"
        )
        reached = {None: "", True: "yes", False: "no"}[one["reached"]]
        cells = [name, _shown(one["ours"], one["unit"]), theirs, ratio, one["target"] or "", reached]
        rows.append(f"| {' | '.join(cells)} |")
    rows += ["", "## What was measured", ""]
    for name, one in records.items():
        if one["skipped"]:
            continue
        parts = [f"{one['what']}; {one['threads']} thread{'s' if one['threads'] > 1 else ''}"]
        parts += [f"baseline: {one['baseline']}"] if one["baseline"] else []
        parts += [one["note"]] if one["note"] else []
        parts += [
            f"{one['ours']['repeats']} repeats, load {one['load']:.1f}, {one['date'][:16]}, commit {one['commit']}"
        ]
        rows.append(f"- **{name}**: {'. '.join(part[0].upper() + part[1:] for part in parts)}.")
    return "\n".join(rows) + "\n"


def summary(name: str, line: Line) -> str:
    """A line in one line, for the terminal."""
    if line.ours is None:
        return f"{name}: skipped, {line.skipped}"
    shown = f"{name}: {_shown(asdict(line.ours), line.unit)}"
    if line.theirs is not None:
        shown += f", baseline {_shown(asdict(line.theirs), line.unit)}, {line.ratio:.3g} x"
    verdict = {None: "", True: ": reached", False: ": NOT reached"}[line.reached]
    return shown + (f" (target {_target(line)}{verdict})" if line.target else "")


def _target(line: Line) -> str | None:
    if line.target is None:
        return None
    unit = "x" if line.target.of == "ratio" else line.unit
    return f"{'>=' if line.target.at_least else '<='} {line.target.bound:g} {unit}"


def _shown(spread: dict[str, Any], unit: str) -> str:
    median = spread["median"]
    factor, unit = next((known for known in UNITS.get(unit, []) if median >= known[0]), (1, unit))
    lower, upper = spread["lower"] / factor, spread["upper"] / factor
    return f"{median / factor:.3g} {unit} [{lower:.3g}, {upper:.3g}]"


def _processor() -> str:
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown processor")
