"""Results in the forms of the Hugging Face hub: `.eval_results/*.yaml`, and model-index in the model card.

A folder per model, to be copied into its repository. `.eval_results` names a data set of the hub with a leaderboard,
so it has only results on real data that the hub holds; model-index has all.
Source: https://huggingface.co/docs/hub/eval-results and https://github.com/huggingface/hub-docs/blob/main/eval_results.yaml.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from dabs_rq.errors import RecordError
from dabs_rq.files import write_text
from dabs_rq.share.card import card
from dabs_rq.share.cells import Cell, Chosen
from dabs_rq.table import ours

FILE = Path(".eval_results") / "dabs_rq.yaml"
_HEAD = "# Written by dabs_rq. Scores are percent. task_id: see the eval.yaml of the data set on the hub.\n"


def write(chosen: Chosen, folder: Path) -> tuple[list[Path], list[str]]:
    """Write `<folder>/<domain>-<method>/README.md` and, beside it, `.eval_results/dabs_rq.yaml`.

    Returns the files, and why results have no entry in a .yaml. Raises RecordError if a file there is not ours.
    """
    texts: dict[Path, str] = {}
    without = []
    for (domain, method), cells in chosen.models.items():
        below = folder / f"{domain}-{method}"
        listed = [cell for cell in cells if cell.task.source.hub and not cell.made_up]
        without += [_why_not(cell) for cell in cells if cell not in listed]
        files = [f"`{FILE}`: the results on data sets of the hub, for their leaderboards"] if listed else []
        texts[below / "README.md"] = str(card(chosen, cells, f"dabs_rq-{domain}-{method}", files))
        if listed:
            texts[below / FILE] = to_yaml(listed)
    ours.check_replaceable(texts)
    for file, text in texts.items():
        write_text(file, text)
    return list(texts), without


def _why_not(cell: Cell) -> str:
    why = "its data are made up" if cell.made_up else f"{cell.task.source.title} is not on the hub"
    return f"{cell.domain.name}/{cell.task.name} with {cell.column}: {why}"


def to_yaml(cells: list[Cell]) -> str:
    """Return the text of a `.eval_results` file. Raises RecordError if it does not come back as it was written."""
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml, parse_eval_result_entries
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    entries = [
        EvalResultEntry(
            dataset_id=str(cell.task.source.hub),
            task_id=cell.task.name,
            value=round(cell.score, 4),
            date=cell.created,
            notes=_notes(cell),
        )
        for cell in cells
    ]
    text = _HEAD + yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True)
    try:
        for entry in entries:
            validate_repo_id(entry.dataset_id)
        back: Any = parse_eval_result_entries(yaml.safe_load(text))
    except (HFValidationError, KeyError, TypeError, ValueError) as error:
        raise RecordError(f"these results do not fit the form of .eval_results: {error}") from error
    if back != entries:
        raise RecordError(".eval_results does not come back as it was written; these results stay here")
    return text


def _notes(cell: Cell) -> str:
    seeds = ", ".join(map(str, cell.seeds))
    interval = f"95 % interval {cell.low:.2f} to {cell.high:.2f} ({cell.interval_of}), " if cell.interval_of else ""
    one = cell.record
    return (
        f"{cell.metric} in percent, linear probe on frozen features ({cell.title}), {interval}seeds {seeds}, "
        f"{one.n_examples} test examples, scale {one.scale}, protocol {one.protocol}"
    )
