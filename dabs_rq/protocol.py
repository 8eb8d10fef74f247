"""Protocol options: one named option per difference between DABS as published and DABS as corrected.

`Protocol` holds the options of the whole comparison. A domain or a method declares those of its own in a subclass:

    @dataclass(frozen=True, kw_only=True)
    class SensorProtocol(Protocol):
        pamap2_normalise: bool = option("data", published=False, corrected=True, moves=("pamap2",))

Each option can be overridden alone (`protocol.pamap2_normalise=false`). `docs/differences.md` tells what each
difference is and which rows it moves.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, Literal

Stage = Literal["pretraining", "data", "transfer"]
COLUMNS = ("published", "corrected")


def option(
    stage: Stage, *, published: Any, corrected: Any, moves: tuple[str, ...] = (), methods: tuple[str, ...] = ()
) -> Any:
    """A field of a protocol, with its value in both protocols. Its annotation, a Literal or bool, has the legal values.

    stage: where it acts: "pretraining" alone, "data" (pretraining and transfer alike) or "transfer" alone.
    moves: the domains and tasks whose numbers depend on it, methods: the methods; all where nothing is said.
    """
    metadata = {"stage": stage, "published": published, "corrected": corrected, "moves": moves, "methods": methods}
    return field(default=corrected, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """The options of the whole comparison, and the base of those that domains and methods declare."""

    name: str = "corrected"
    # Padding is a token like others, or is left out of attention, pooling and the quantizer's ranges.
    padding_mask: bool = option("data", published=False, corrected=True, moves=("text", "multilingual", "vqa"))
    # Embeddings of ids that no token has (DABS's text models have 35,022 for a vocabulary of 30,522).
    unused_ids: bool = option("data", published=True, corrected=False, moves=("text",))
    # Outputs that no class uses (PAMAP2 trains 12 for 11, Aircraft 102 for 100).
    unused_outputs: bool = option("transfer", published=True, corrected=False, moves=("aircraft", "pamap2"))
    # Features: encoded anew in every epoch with dropout on (which only the adamw probe can use), or once without.
    features: Literal["reencode", "cached"] = option("transfer", published="reencode", corrected="cached")
    # The linear probe: DABS's AdamW, or regularised logistic (ridge) regression with its strength selected.
    probe: Literal["adamw", "lbfgs"] = option("transfer", published="adamw", corrected="lbfgs")
    # Correlations: averaged over batches, or of the whole split.
    correlation: Literal["batches", "whole"] = option(
        "transfer", published="batches", corrected="whole", moves=("cola", "stsb")
    )
    # Tied values in Spearman's ranks: in order of appearance, or averaged.
    spearman_ties: Literal["ordinal", "average"] = option(
        "transfer", published="ordinal", corrected="average", moves=("stsb",)
    )

    def acting_on(self, *stages: Stage) -> dict[str, Any]:
        """The options that act on any of `stages`, by name."""
        return {one.name: getattr(self, one.name) for one in declared(type(self)) if one.metadata["stage"] in stages}


def declared(kind: type[Protocol]) -> tuple[dataclasses.Field[Any], ...]:
    """The fields of a protocol that are options."""
    return tuple(one for one in fields(kind) if "stage" in one.metadata)


@cache
def combined(kinds: tuple[type[Protocol], ...]) -> type[Protocol]:
    """One protocol with the options of all `kinds`.

    Raises TypeError if two of them declare an option of the same name.
    """
    bases: list[type[Protocol]] = [kind for kind in dict.fromkeys(kinds) if kind is not Protocol]
    owner: dict[str, type[Protocol]] = {one.name: Protocol for one in fields(Protocol)}
    for kind in bases:
        for name in get_own_names(kind):
            if owner.setdefault(name, kind) is not kind:
                raise TypeError(f"protocol option {name!r} is declared by {owner[name].__name__} and {kind.__name__}")
    if not bases:
        return Protocol
    return dataclasses.make_dataclass("CombinedProtocol", [], bases=tuple(bases), frozen=True, kw_only=True)


def get_own_names(kind: type[Protocol]) -> Sequence[str]:
    """The options that a protocol has beside those of `Protocol`."""
    common = {one.name for one in fields(Protocol)}
    return [one.name for one in fields(kind) if one.name not in common]
