"""Writes results.json and results.md: the latest measurement of every line, with machine and versions."""

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

UNITS = {"s": [(1, "s"), (1e-3, "ms"), (1e-6, "µs")]}  # other units are not scaled


def record(line: Line) -> dict[str, Any]:
    """Return a line in the format of results.json."""
    derived = {"ratio": line.ratio, "target": _target(line), "reached": line.reached}
    return asdict(line) | derived | {"date": now(), "commit": provenance()["commit"], "load": os.getloadavg()[0]}


def machine() -> dict[str, Any]:
    """Describe the machine and the versions, which all lines of a file share."""
    about = provenance()
    processors = {"processor": _processor(), "processors": os.cpu_count()}
    return {"versions": about["versions"], "hardware": about["hardware"]} | processors


def save(folder: Path, name: str, line: Line, order: Sequence[str]) -> None:
    """Replace a line's measurement in `folder`. Other lines of the same machine stay if they are still in `order`."""
    file = folder / "results.json"
    previous = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    lines = previous["lines"] if previous.get("machine") == machine() else {}
    lines[name] = record(line)
    about = {"date": now(), "machine": machine(), "threads": THREADS, "torch": torch.__version__}
    results = about | {"lines": {line_name: lines[line_name] for line_name in order if line_name in lines}}
    write_text(file, json.dumps(results, indent=1) + "\n")
    write_text(folder / "results.md", table(results))


def table(results: dict[str, Any]) -> str:
    """Format the results as Markdown."""
    about, records = results["machine"], results["lines"]
    rows = [
        "# Benchmarks",
        "",
        "Written by `make bench`. Numbers are medians of repeats, with quartiles in brackets. Both sides of a line",
        "take turns in one process, and a ratio is that of the medians.",
        "",
        f"{results['date'][:10]}, {about['processors']} x {about['processor']} ({about['hardware']}), "
        f"Python {about['versions']['python']}, torch {results['torch']}",
        "",
        "| line | ours | baseline | ratio | target | reached |",
        "|---|---|---|---|---|---|",
    ]
    for name, line in records.items():
        if line["skipped"]:
            rows.append(f"| {name} | skipped: {line['skipped']} | | | | |")
            continue
        theirs = "" if line["theirs"] is None else _formatted(line["theirs"], line["unit"])
        ratio = (
            "" if line["ratio"] is None else f"{line['ratio']:.3g} x{' (extrapolated)' if line['extrapolated'] else ''}"
        )
        reached = {None: "", True: "yes", False: "no"}[line["reached"]]
        cells = [name, _formatted(line["ours"], line["unit"]), theirs, ratio, line["target"] or "", reached]
        rows.append(f"| {' | '.join(cells)} |")
    rows += ["", "## What was measured", ""]
    for name, line in records.items():
        if line["skipped"]:
            continue
        parts = [f"{line['what']}; {line['threads']} thread{'s' if line['threads'] > 1 else ''}"]
        parts += [f"baseline: {line['baseline']}"] if line["baseline"] else []
        parts += [line["note"]] if line["note"] else []
        parts += [
            f"{line['ours']['repeats']} repeats, load {line['load']:.1f}, {line['date'][:16]}, commit {line['commit']}"
        ]
        rows.append(f"- **{name}**: {'. '.join(part[0].upper() + part[1:] for part in parts)}.")
    return "\n".join(rows) + "\n"


def summary(name: str, line: Line) -> str:
    """Summarise a line for the terminal."""
    if line.ours is None:
        return f"{name}: skipped, {line.skipped}"
    text = f"{name}: {_formatted(asdict(line.ours), line.unit)}"
    if line.theirs is not None:
        text += f", baseline {_formatted(asdict(line.theirs), line.unit)}, {line.ratio:.3g} x"
    verdict = {None: "", True: ": reached", False: ": NOT reached"}[line.reached]
    return text + (f" (target {_target(line)}{verdict})" if line.target else "")


def _target(line: Line) -> str | None:
    if line.target is None:
        return None
    unit = "x" if line.target.of == "ratio" else line.unit
    return f"{'>=' if line.target.at_least else '<='} {line.target.bound:g} {unit}"


def _formatted(spread: dict[str, Any], unit: str) -> str:
    median = spread["median"]
    factor, unit = next((scaled for scaled in UNITS.get(unit, []) if median >= scaled[0]), (1, unit))
    lower, upper = spread["lower"] / factor, spread["upper"] / factor
    return f"{median / factor:.3g} {unit} [{lower:.3g}, {upper:.3g}]"


def _processor() -> str:
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown processor")
