"""The suite: every missing cell, one after the other in this process, then the table."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from dabs_rq import table
from dabs_rq.errors import DabsRqError, MissingDataError
from dabs_rq.pretrain import pretrain
from dabs_rq.run import Run
from dabs_rq.transfer import transfer


@dataclass
class Outcome:
    """What a suite left behind: `missing` data and what else went `wrong`, by cell, in order."""

    missing: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0


def suite(run: Run) -> Outcome:
    """Pretrain and transfer what is missing for every domain, method and seed. What is finished is kept, and what
    fails does not keep the rest from going on."""
    started = time.monotonic()
    outcome = Outcome()
    order = list(dict.fromkeys(domain for domain, _ in table.table_order()))
    for domain in order:
        if run.options.domains is not None and domain not in run.options.domains:
            continue
        for seed in run.options.seeds:
            for method in run.options.methods:
                _cell_group(run.with_method(method, domain), seed, outcome)
    outcome.missing = list(dict.fromkeys(outcome.missing))
    outcome.seconds = time.monotonic() - started
    return outcome


def _cell_group(run: Run, seed: int, outcome: Outcome) -> None:
    """One method on one domain: its checkpoint and all its tasks."""
    place = f"{run.domain.name}, {run.options.method.name}, seed {seed}"
    try:
        pretrain(run, seed)
        _, errors = transfer(run, seed)
    except MissingDataError as error:
        outcome.missing.append(_first_line(error))
        return
    except (DabsRqError, ValueError, OSError, RuntimeError, MemoryError) as error:
        outcome.wrong.append(f"{place}: {type(error).__name__}: {error}")
        return
    for one in errors:
        if isinstance(one, MissingDataError):
            outcome.missing.append(_first_line(one))
        else:
            outcome.wrong.append(f"{place}: {one}")


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
