"""Scores any network on a domain's tasks, by the code of `make transfer`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dabs_rq.api.frame import frame_of
from dabs_rq.encoders.base import Encoder
from dabs_rq.errors import CheckpointError, DataWarning, OptionError
from dabs_rq.networks.network import Network
from dabs_rq.run import Run
from dabs_rq.spec import resized
from dabs_rq.transfer.features import unchanged
from dabs_rq.transfer.transfer import transfer

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor


def evaluate(
    model: Callable[..., Any],
    *,
    domain: str,
    tasks: str | Sequence[str] | None = None,
    data: str | Path | None = None,
    name: str | None = None,
    scale: str = "mini",
    protocol: str = "corrected",
    runs: str | Path = "runs",
    seeds: Sequence[int] = (0,),
    size: int | None = None,
    texts: bool = False,
    pool: Callable[[Any], Tensor] | None = None,
    key: str | None = None,
    device: str = "auto",
    batch_size: int = 256,
    workers: int = 0,
    progress: bool = True,
    options: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Score a network on tasks of a domain, by linear probes on its features, and return one line per score.

    Its records lie in `runs` beside those of all methods, so `make table` shows it as the column `name`. Finished tasks
    are kept, and features are cached by weights, settings and code of the network.

    model: a torch module in eval mode, a method of one, any callable, or an encoder of `dabs_rq.load`; called as
        `dabs_rq.networks.Network` says, with (B, ...) to (B, D). pool, texts, key: see there.
    tasks: names of the domain's tasks; None for all. data: root of the data; None for the made-up miniature.
    name: of the column; by default that of the model's class. seeds: of the probe.
    size: the height and width in pixels of the pictures that it gets; None for those of the scale.
    device: auto, cpu or gpu. batch_size: examples that the model gets at a time. workers: processes that read data.
    options: any others by name, such as {"transfer.max_examples": 1000}.
    Returns: the lines of `dabs_rq.results` for these tasks.
    Raises: EncoderError if the model cannot be scored, OptionError for an unknown name; the first error of a task if
        every task failed. A task that failed beside others has a line without a score, and a warning.
    """
    name = _name(model, name)
    given: dict[str, Any] = {
        "domain": [domain],
        "tasks": [tasks] if isinstance(tasks, str) else None if tasks is None else list(tasks),
        "data": None if data is None else str(data),
        "name": name,
        "scale": scale,
        "protocol": protocol,
        "runs": str(runs),
        "seeds": list(seeds),
        "trainer.accelerator": device,
        "trainer.progress": progress,
        "loader.encode_batch": batch_size,
        "loader.workers": workers,
    }
    given |= options or {}
    run = Run.compose({key: value for key, value in given.items() if value is not None})
    if size is not None and resized(run.inputs, size) == resized(run.inputs, size + 1):
        raise OptionError(f"size={size} is for pictures, and the inputs of {domain} have the shape of the scale")
    if isinstance(model, Encoder):
        network: Encoder = _fitting(model, run, size, pool, key, texts)
    else:
        network = Network(model, resized(run.inputs, size), name=name, pool=pool, texts=texts, key=key)
    files, errors = [], []
    with unchanged(network):
        for seed in run.options.seeds:
            done, failed = transfer(run, seed, network)
            files += done
            errors += failed
    if errors and not files:
        raise errors[0]
    for error in errors:
        warnings.warn(str(error), DataWarning, stacklevel=2)
    return frame_of(files)


def _name(model: Any, name: str | None) -> str:
    if name is not None:
        return name
    kind = getattr(model, "__name__", type(model).__name__)
    if not kind.isidentifier():  # a lambda
        raise OptionError("give name=, the name of the network's column")
    return kind


def _fitting(encoder: Encoder, run: Run, size: int | None, *others: Any) -> Encoder:
    """Return the encoder if it takes the run's inputs."""
    if size is not None or any(others):
        raise OptionError("size, pool, key and texts are for other networks than encoders of dabs_rq, which need none")
    if encoder.inputs != run.inputs:
        raise CheckpointError(
            f"the encoder takes {', '.join(map(repr, encoder.inputs))}; {run.domain.name} at scale="
            f"{run.options.scale.name} gives {', '.join(map(repr, run.inputs))}. Give the domain and scale that it was "
            "pretrained for"
        )
    return encoder
