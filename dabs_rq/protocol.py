"""Protocol options: one named option per difference between DABS as published and DABS as corrected.

`Protocol` holds the options of the whole comparison. A domain or a method declares its own options in a subclass:

    @dataclass(frozen=True, kw_only=True)
    class SensorProtocol(Protocol):
        pamap2_normalise: bool = option("data", published=False, corrected=True, moves=("pamap2",))

Each option can be overridden alone (`protocol.pamap2_normalise=false`). `docs/protocol.md` describes each
difference and the rows it changes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, Literal

from dabs_rq.errors import OptionError

Stage = Literal["pretraining", "data", "transfer"]
COLUMNS = ("published", "corrected")


def option(
    stage: Stage, *, published: Any, corrected: Any, moves: tuple[str, ...] = (), methods: tuple[str, ...] = ()
) -> Any:
    """Declare a protocol option with its values in both protocols. Its annotation lists the legal values.

    stage: what the option affects: "pretraining" only, "transfer" only, or "data" for both. moves: the domains and
    tasks whose scores depend on it; methods: the methods; an empty tuple means all.
    """
    metadata = {"stage": stage, "published": published, "corrected": corrected, "moves": moves, "methods": methods}
    return field(default=corrected, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """The options of the whole comparison, and the base class for those of domains and methods."""

    name: str = "corrected"
    # False treats padding as a token; True leaves it out of attention, pooling and the quantizer's ranges.
    padding_mask: bool = option(
        "data", published=False, corrected=True, moves=("text", "multilingual", "vqa", "proteins")
    )
    # Fill short sequences with the id of a token, or with an id of its own.
    own_padding: bool = option("data", published=False, corrected=True, moves=("proteins",))
    # Embed ids that no token has (DABS's text models have 35,022 embeddings for a vocabulary of 30,522).
    unused_ids: bool = option("data", published=True, corrected=False, moves=("text",))
    # Train outputs that no class uses (PAMAP2: 12 for 11 classes, Aircraft: 102 for 100, protein structure: 4 for 3).
    unused_outputs: bool = option(
        "transfer", published=True, corrected=False, moves=("aircraft", "pamap2", "secondary_struct")
    )
    # Encode features in every epoch with dropout on (the adamw probe only), or once with dropout off.
    features: Literal["reencode", "cached"] = option("transfer", published="reencode", corrected="cached")
    # Train the linear probe with AdamW as DABS does, or fit regularised logistic (ridge) regression with a selected
    # strength.
    probe: Literal["adamw", "lbfgs"] = option("transfer", published="adamw", corrected="lbfgs")
    # The half precision of pretraining where trainer.precision=mixed, as at scale=paper: float16, which DABS used, or
    # bfloat16, whose range needs no scaling of the loss.
    mixed_precision: Literal["float16", "bfloat16"] = option("pretraining", published="float16", corrected="bfloat16")
    # Average metrics that DABS averages (`Metric.in_batches`) over batches, or compute them on the whole split.
    correlation: Literal["batches", "whole"] = option(
        "transfer",
        published="batches",
        corrected="whole",
        moves=("cola", "stsb", "secondary_struct", "stability", "fluorescence", "wafer_transfer"),
    )
    # Rank tied values for Spearman's correlation in order of appearance, or give them the average rank. torchmetrics
    # ranked ties by a sort that is not stable, so its own order cannot be repeated.
    spearman_ties: Literal["ordinal", "average"] = option(
        "transfer", published="ordinal", corrected="average", moves=("stsb", "stability", "fluorescence")
    )

    def acting_on(self, *stages: Stage) -> dict[str, Any]:
        """Return the values of the options whose stage is one of `stages`, by name."""
        options = option_fields(type(self))
        return {option.name: getattr(self, option.name) for option in options if option.metadata["stage"] in stages}


def option_fields(kind: type[Protocol]) -> tuple[dataclasses.Field[Any], ...]:
    """Return the fields of a protocol that are options."""
    return tuple(field for field in fields(kind) if "stage" in field.metadata)


@cache
def combined(kinds: tuple[type[Protocol], ...]) -> type[Protocol]:
    """Make one protocol with the options of all `kinds`.

    Raises OptionError if two of them declare an option of the same name.
    """
    bases: list[type[Protocol]] = [kind for kind in dict.fromkeys(kinds) if kind is not Protocol]
    owner: dict[str, type[Protocol]] = {field.name: Protocol for field in fields(Protocol)}
    for kind in bases:
        for name in own_option_names(kind):
            if owner.setdefault(name, kind) is not kind:
                raise OptionError(
                    f"protocol option {name!r} is declared by {owner[name].__module__} and {kind.__module__}. Rename "
                    "one, or do not choose both."
                )
    if not bases:
        return Protocol
    return dataclasses.make_dataclass("CombinedProtocol", [], bases=tuple(bases), frozen=True, kw_only=True)


def own_option_names(kind: type[Protocol]) -> Sequence[str]:
    """List the options that a protocol adds to those of `Protocol`."""
    common = {field.name for field in fields(Protocol)}
    return [field.name for field in fields(kind) if field.name not in common]
