"""What changed since a result was computed: its options, its code, and how to compute it again."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from dabs_rq.errors import shown
from dabs_rq.run.options import Names, TableOptions
from dabs_rq.run.run import Run
from dabs_rq.run.words import to_words


class Change(NamedTuple):
    """A difference between what a result was computed from and what is there now."""

    kind: Literal["code", "data", "encoder"]
    what: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"


_ANY_RECORDED = "scale.name"  # of a result that names its options: it names all that existed then


def changed_options(run: Run, recorded: Mapping[str, Any], *, of_pretraining: bool) -> list[str]:
    """List the options that affect the checkpoint or, unless `of_pretraining`, the score, and whose recorded values
    differ from those of `run`.

    An option that did not exist when the result was recorded had its declared default then, whatever configs/ say now.
    A result that does not name its options is compared in those that it names.
    """
    composed = run.composed
    then = composed.affecting_results(recorded, of_pretraining=of_pretraining)
    current = composed.affecting_results(run.values, of_pretraining=of_pretraining)
    if _ANY_RECORDED not in recorded:
        current = {key: value for key, value in current.items() if key in then}
    changes = []
    for key in sorted(then.keys() | current.keys()):
        if key not in current:
            changes.append(f"{key} was {shown(then[key])}, is no option now")
        elif key in then and then[key] != current[key]:
            changes.append(f"{key} was {_text(then[key])}, is {_text(current[key])}")
        elif key not in then and (default := composed.declared.get(key, current[key])) != current[key]:
            changes.append(f"{key} was not recorded (its default is {_text(default)}), is {_text(current[key])}")
    return changes


def _text(value: Any) -> str:
    return value if isinstance(value, str) and len(value) < 80 else shown(value)


def counted_options(run: Run) -> dict[str, Any]:
    """Return the options that affect the checkpoint, and the one that says that all are there."""
    counted = run.composed.affecting_results(run.values, of_pretraining=True)
    return counted | {_ANY_RECORDED: run.values[_ANY_RECORDED]}


def changed_code(recorded: Mapping[str, str], current: Mapping[str, str], versions: Mapping[str, str]) -> list[str]:
    """List the modules whose hash changed. Hashes of another version of Python do not compare: then nothing is listed,
    see `comparable_code`."""
    if recorded == current or not comparable_code(versions):
        return []
    return sorted(name for name in recorded.keys() | current.keys() if recorded.get(name) != current.get(name))


def comparable_code(versions: Mapping[str, str]) -> bool:
    """Return whether hashes of code made under these versions compare with ours: syntax trees differ between versions
    of Python."""
    return str(versions.get("python", "")).split(".")[:2] == platform.python_version().split(".")[:2]


def refresh_line(run: Run, seeds: Sequence[int], network: str | None = None) -> str:
    """Return the command that computes the stale results of `run` again. network: those of that encoder file alone."""
    options = run.options
    places = {"runs": options.runs} if options.runs != Names.runs else {}
    return _make_line(
        run,
        "suite REFRESH=1",
        options.domains or (),
        run.methods if options.method_given and network is None else (),
        seeds,
        run.composed.changed(of_pretraining=False) | places | ({"encoder.name": network} if network else {}),
    )


def pretrain_line(run: Run, seed: int) -> str:
    """Return the command that makes the run's checkpoint."""
    changed = run.composed.changed(of_pretraining=True)
    return _make_line(run, "pretrain", [run.domain.name], [run.method.name], [seed], changed)


def _make_line(
    run: Run,
    target: str,
    domains: Sequence[str],
    methods: Sequence[str],
    seeds: Sequence[int],
    changed: Mapping[str, Any],
) -> str:
    """Return a make command with the run's scale, protocol, data and encoder. changed: further options."""
    options = run.options
    words = " ".join(to_words({key: value for key, value in changed.items() if key != "encoder.name"}))
    parts = [
        f"make {target}",
        f"DOMAIN={','.join(domains)}" if domains else "",
        f"METHOD={','.join(methods)}" if methods else "",
        f"TABLE={options.table.columns}"
        if options.table.columns != TableOptions.columns and not (methods and domains)
        else "",
        f"SCALE={options.scale.name} PROTOCOL={options.protocol.name} SEEDS={','.join(map(str, seeds))}",
        f"DATA={shlex.quote(str(options.data))}" if options.data else "",
        f"ENCODER={changed['encoder.name']}" if changed.get("encoder.name") else "",
        f"OPTIONS={shlex.quote(words)}" if words else "",
    ]
    return " ".join(filter(None, parts))
