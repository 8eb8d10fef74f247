"""The model card of exported results: a README.md with the metadata of the Hugging Face hub.

Source: https://huggingface.co/docs/hub/model-cards; `huggingface_hub` writes and checks the metadata (model-index).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tabulate import tabulate

from dabs_rq.errors import RecordError
from dabs_rq.experiment.compare import with_interval
from dabs_rq.share.cells import Cell, Chosen, command
from dabs_rq.share.private import without_private

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCard

MARK = "<!-- Written by dabs_rq: edits are lost when it is written again. -->"  # see `dabs_rq.table.ours`
MADE_UP = "made-up-data"
# The hub's name of what these networks do. How well is measured by a linear probe on frozen features.
_TASK_TYPE = "feature-extraction"
LIMITS = """\
- A score is of a linear probe on frozen features, not of the network alone.
- Intervals over test examples take the examples as independent and leave out the variance of training; intervals over
  seeds are of so many seeds as the table says.
- The encoders were pretrained for a comparison of methods. They were not checked for bias, safety or any use beyond it.
- Private facts were taken out of records and checkpoints: paths and addresses in options are null, paths in texts read
  `<path>`. Commit, library versions, kind of processor or GPU, dates and hashes stay."""


def card(chosen: Chosen, cells: Sequence[Cell], name: str, files: Iterable[str] = ()) -> ModelCard:
    """Make the card of `cells`.

    name: of the model or the collection of models. files: further lines that say what lies beside the card.
    Raises RecordError if the metadata do not come back as they were written.
    """
    from huggingface_hub import ModelCard, ModelCardData

    made_up = any(cell.made_up for cell in cells)
    data = ModelCardData(
        library_name="dabs_rq",
        pipeline_tag=_TASK_TYPE,
        tags=["self-supervised-learning", "linear-probe", *([MADE_UP] if made_up else [])],
        datasets=sorted({cell.task.source.hub for cell in cells if cell.task.source.hub and not cell.made_up}) or None,
        model_name=name,
        eval_results=[_eval_result(cell) for cell in cells],
    )
    text = f"---\n{data.to_yaml()}\n---\n\n{MARK}\n\n{_body(chosen, cells, name, tuple(files))}"
    written = ModelCard(text)
    if written.data.get("eval_results") != data.eval_results or written.data.to_dict() != data.to_dict():
        raise RecordError(f"the model card of {name} does not come back as it was written; these results stay here")
    return written


def _eval_result(cell: Cell) -> EvalResult:
    from huggingface_hub import EvalResult

    source = cell.task.source
    dataset = f"{MADE_UP}-{source.name}" if cell.made_up else source.hub or source.name
    return EvalResult(
        task_type=_TASK_TYPE,
        task_name=f"{cell.task.row} (linear probe, {cell.domain.title})",
        dataset_type=dataset,
        dataset_name=f"{cell.task.row}: {cell.source_title}",
        dataset_config=cell.task.name,
        dataset_split="test",
        metric_type=cell.task.metric,
        metric_name=f"{cell.metric}, percent, {cell.title}{' (made-up data)' if cell.made_up else ''}",
        metric_value=round(cell.score, 4),
    )


def _body(chosen: Chosen, cells: Sequence[Cell], name: str, files: tuple[str, ...]) -> str:
    made_up = [cell for cell in cells if cell.made_up]
    parts = [f"# {name}", _title(cells)]
    if made_up:
        which = "" if len(made_up) == len(cells) else f" ({', '.join(sorted({cell.task.row for cell in made_up}))})"
        parts.append(f"**Made-up miniature data{which}: these numbers say nothing about the published data sets.**")
    parts += ["## Scores", "Percent, with 95 % intervals.", _scores(cells)]
    if files:
        parts += ["## Files", "\n".join(f"- {line}" for line in files)]
    parts += ["## Data", _data(cells), "## How they were computed", _computed(chosen, cells)]
    parts += ["## Limits", LIMITS, "## Notes of the table", "\n".join(f"- {note}" for note in _notes(chosen))]
    return "\n\n".join(parts) + "\n"


def _title(cells: Sequence[Cell]) -> str:
    kinds = {"made-up miniature data" if cell.made_up else "real data" for cell in cells}
    one = cells[0].record
    return (
        f"Linear probes of frozen encoders, computed by dabs_rq: scale {one.scale}, protocol {one.protocol}, "
        f"{' and '.join(sorted(kinds))}."
    )


def _notes(chosen: Chosen) -> list[str]:
    """The notes of the table, without the paths of this machine."""
    return without_private(chosen.notes, chosen.places)


def _scores(cells: Sequence[Cell]) -> str:
    rows = [
        [
            cell.domain.title,
            cell.task.row,
            cell.metric,
            cell.title,
            f"{cell.score:.2f}" if math.isnan(cell.low) else with_interval(cell.score, cell.low, cell.high),
            cell.interval_of or "none known",
            ", ".join(map(str, cell.seeds)),
            cell.record.n_examples,
        ]
        for cell in cells
    ]
    head = ("domain", "task", "metric", "method", "score", "interval", "seeds", "test examples")
    return tabulate(rows, head, tablefmt="pipe", disable_numparse=True)


def _data(cells: Sequence[Cell]) -> str:
    sources = {cell.task.source.name: cell for cell in cells}
    lines = []
    for cell in sources.values():
        source = cell.task.source
        if cell.made_up:
            lines.append(f"- {cell.source_title}, written by dabs_rq. No example is of that data set.")
        else:
            lines.append(f"- {source.title}: {source.url}. Licence: {source.licence}. Cite: {source.citation}")
    pretraining = {cell.domain.name: cell for cell in cells}
    for cell in pretraining.values():
        source = cell.domain.pretraining.source
        what = f"made-up miniature data in the layout of {source.title}" if cell.made_up else source.title
        licence = "" if cell.made_up else f" ({source.url}). Licence: {source.licence}"
        lines.append(f"- Pretraining of {cell.domain.title}: {what}{licence}.")
    return "\n".join(lines)


def _computed(chosen: Chosen, cells: Sequence[Cell]) -> str:
    records = [result.record for cell in cells for result in cell.results]
    versions = {name: version for one in records for name, version in one.versions.items()}
    facts = {
        "Commit": sorted({str(one.commit or "unknown") for one in records}),
        "Libraries": [f"{name} {version}" for name, version in sorted(versions.items())],
        "Hardware": sorted({one.hardware for one in records if one.hardware}),
        "Days": sorted({one.created.partition("T")[0] for one in records}),
    }
    lines = [f"- {name}: {', '.join(values) or 'unknown'}." for name, values in facts.items()]
    return f"```\n{command(chosen.run)}\n```\n\n" + "\n".join(lines)
