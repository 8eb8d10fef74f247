"""Results in the form of Every Eval Ever, the shared schema of the EvalEval coalition.

The schema is a copy (`every_eval_ever_schema/`), and every file is checked with it before it is written. Predictions
are not exported: the schema of single examples is for texts and conversations. A bundle has them.
Source: https://github.com/evaleval/every_eval_ever, eval.schema.json.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import math
import uuid
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from dabs_rq import metrics
from dabs_rq.errors import RecordError
from dabs_rq.files import write_text
from dabs_rq.share.cells import Cell, Chosen, command
from dabs_rq.share.private import without_private
from dabs_rq.table import ours

SCHEMA = Path(__file__).parent / "every_eval_ever_schema" / "eval.schema.json"
_DEVELOPER = "dabs_rq"  # of encoders that have no name elsewhere


def write(chosen: Chosen, folder: Path) -> list[Path]:
    """Write `<folder>/data/<collection>/dabs_rq/<model>/<uuid>.json`, one per model. Equal results give equal files.

    Raises RecordError if a file there is not ours, or if a result does not fit the schema.
    """
    texts: dict[Path, str] = {}
    for cells in chosen.models.values():
        values = to_values(chosen, cells)
        check(values)
        text = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        name = uuid.UUID(bytes=hashlib.sha256(text.encode()).digest()[:16], version=4)
        texts[folder / "data" / _collection(cells) / values["model_info"]["id"] / f"{name}.json"] = text
    ours.check_replaceable(texts)
    for file, text in texts.items():
        write_text(file, text)
    return list(texts)


@cache
def schema() -> dict[str, Any]:
    return json.loads(SCHEMA.read_text(encoding="utf-8"))


def check(values: dict[str, Any]) -> None:
    """Raise RecordError, which names each place that does not fit the schema."""
    import jsonschema

    faults = sorted(
        jsonschema.Draft7Validator(schema()).iter_errors(values), key=lambda fault: list(map(str, fault.path))
    )
    if faults:
        listed = "; ".join(
            f"{'.'.join(map(str, fault.path)) or 'the file'}: {fault.message:.200}" for fault in faults[:5]
        )
        raise RecordError(f"the results do not fit the schema of Every Eval Ever {schema()['version']}: {listed}")


def _collection(cells: Sequence[Cell]) -> str:
    return "dabs_rq-made-up-data" if any(cell.made_up for cell in cells) else "dabs_rq"


def to_values(chosen: Chosen, cells: Sequence[Cell]) -> dict[str, Any]:
    """Return the content of one model's file. cells: all of one domain and method or network."""
    one = cells[0].record
    model = "-".join([f"{one.domain}-{one.method}", one.scale, one.protocol, *_unless_default(one.variant)])
    created = max(cell.created for cell in cells)
    identity = f"{_collection(cells)}/{_DEVELOPER}/{model}/{_epoch(created)}"
    return {
        "schema_version": schema()["version"],
        "evaluation_id": identity,
        "evaluation_timestamp": created,
        "retrieved_timestamp": _epoch(created),
        "source_metadata": {
            "source_name": "dabs_rq",
            "source_type": "evaluation_run",
            "source_organization_name": "unknown",
            # Whoever runs dabs_rq pretrains and scores its methods; who made another network is not known here.
            "evaluator_relationship": "other" if one.architecture else "first_party",
            "additional_details": _texts({"made_up_data": any(cell.made_up for cell in cells)}),
        },
        "eval_library": {
            "name": "dabs_rq",
            "version": one.versions.get("dabs_rq", "unknown"),
            "additional_details": _texts({"commit": one.commit, "command": command(chosen.run)} | one.versions),
        },
        "model_info": _model(cells, model),
        "evaluation_results": [_result(cell) for cell in cells],
    }


def _unless_default(variant: str) -> list[str]:
    return [] if variant == "default" else [variant]


def _epoch(created: str) -> str:
    moment = datetime.datetime.fromisoformat(created)
    aware = moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
    return str(aware.timestamp())


def _model(cells: Sequence[Cell], model: str) -> dict[str, Any]:
    one = cells[0].record
    weights = {str(result.record.seed): result.record.checkpoint for cell in cells for result in cell.results}
    note = "pretrained on MADE-UP data, " if cells[0].made_up else ""
    options = {key: value for key, value in one.options.items() if key.startswith(("encoder.", "method.", "pretrain."))}
    return {
        "name": f"{cells[0].title}, {cells[0].domain.title} ({note}scale {one.scale}, protocol {one.protocol})",
        "id": f"{_DEVELOPER}/{model}",
        "inference_engine": {"name": "torch", "version": one.versions.get("torch", "unknown")},
        "additional_details": {
            "deployment_type": "self_deployed",
            "model_availability": "unknown",
            **_texts({"method": one.method, "domain": one.domain, "variant": one.variant, "weights_by_seed": weights}),
            **_texts({"made_up_data": cells[0].made_up, "options": without_private(options)}),
        },
    }


def _result(cell: Cell) -> dict[str, Any]:
    one, metric = cell.record, metrics.metric(cell.task.metric)
    warning = "MADE-UP DATA, says nothing about the published data set. " if cell.made_up else ""
    config: dict[str, Any] = {
        "evaluation_description": f"{warning}{cell.task.row}: linear probe on frozen features, {metric.title}",
        "metric_id": metric.name,
        "metric_name": metric.title,
        "lower_is_better": False,
        "score_type": "continuous",
        "min_score": metric.lowest if math.isfinite(metric.lowest) else "-Infinity",  # the schema's word
        "max_score": 1.0,
    }
    name = f"dabs.{one.domain}.{one.task}"
    return {
        "evaluation_result_id": f"{name}.{cell.column}.{metric.name}",
        "evaluation_name": f"made-up.{name}" if cell.made_up else name,
        "source_data": _source(cell),
        "evaluation_timestamp": cell.created,
        "metric_config": config,
        "score_details": {
            "score": round(cell.score / 100, 6),
            "details": _texts(
                {
                    "seeds": list(cell.seeds),
                    "scores": [result.record.score for result in cell.results],
                    "test_examples": one.n_examples,
                    "train_examples": one.n_train,
                    "test_labels": one.test_labels,
                    "majority": one.majority,
                    "probe": one.probe,
                    "made_up_data": cell.made_up,
                }
            ),
            **({"uncertainty": uncertainty} if (uncertainty := _uncertainty(cell)) else {}),
        },
    }


def _uncertainty(cell: Cell) -> dict[str, Any]:
    if math.isnan(cell.low):
        return {}
    interval = {"lower": round(cell.low / 100, 6), "upper": round(cell.high / 100, 6), "confidence_level": 0.95}
    values: dict[str, Any] = {"confidence_interval": interval | {"method": cell.interval_of}}
    if len(cell.results) == 1 and cell.record.standard_error is not None:
        values["standard_error"] = {"value": cell.record.standard_error}
    return values | {"num_samples": len(cell.results) if len(cell.results) > 1 else cell.record.n_examples}


def _source(cell: Cell) -> dict[str, Any]:
    source = cell.task.source
    if cell.made_up:
        return {"dataset_name": cell.source_title, "source_type": "other"}
    details = {"additional_details": _texts({"licence": source.licence, "citation": source.citation})}
    if source.hub:
        return {"dataset_name": source.title, "source_type": "hf_dataset", "hf_repo": source.hub, **details}
    return {"dataset_name": source.title, "source_type": "url", "url": [source.url], **details}


def _texts(values: dict[str, Any]) -> dict[str, str]:
    """Return the values as the texts that the schema wants, without those that are unknown."""
    return {
        key: value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        for key, value in values.items()
        if value is not None
    }
