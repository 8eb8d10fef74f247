"""What the two protocols decide: one named option per difference between DABS as published and DABS as corrected.

`configs/protocol/{published,corrected}.yaml` give the two sets of values; each option can be overridden alone
(`protocol.gtsrb_split=image`). `docs/protocol.md` tells what each difference is and which rows it moves.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal

Stage = Literal["pretraining", "data", "transfer"]


def _option(stage: Stage, *values: Any, moves: tuple[str, ...] = (), methods: tuple[str, ...] = ()) -> Any:
    """A field without default: every protocol must say what it chooses. `values` are the legal ones; `moves` the
    domains and tasks, `methods` the methods whose numbers depend on it (all where nothing is said)."""
    return field(metadata={"stage": stage, "values": values, "moves": moves, "methods": methods})


@dataclass(kw_only=True)
class Protocol:
    """The options, each with the stage it acts on: "data" options act on pretraining and transfer alike, "transfer"
    ones on nothing that is pretrained."""

    name: str
    # e-Mix's mixing coefficients: averaged over the batch by a broadcasting slip, or one per example.
    emix_weighting: str = _option("pretraining", "batch_mean", "per_example", methods=("emix",))
    # What of randomized quantization the gradient of the embedding modules passes through.
    rq_gradient: str = _option("pretraining", "extremes", "straight_through", "detach", methods=("rq",))
    # PAMAP2 training windows: numpy's state cloned into four workers at every epoch (a quarter are distinct, and no
    # epoch brings new ones), or drawn anew for every (epoch, index).
    pamap2_draws: str = _option("data", "cloned", "fresh", moves=("pamap2",))
    # PAMAP2 columns as recorded, or as z-scores by the training subjects.
    pamap2_normalise: bool = _option("data", False, True, moves=("pamap2",))
    # Missing values: interpolated over the whole file, or inside one bout and then filled backwards.
    pamap2_interpolation: str = _option("data", "file", "bout", moves=("pamap2",))
    # Labelled windows: random draws, or all non-overlapping windows inside contiguous bouts.
    pamap2_windows: str = _option("data", "draws", "sweep", moves=("pamap2",))
    # What GTSRB's 80/20 split keeps together: nothing, or the frames of one physical sign.
    gtsrb_split: str = _option("transfer", "image", "track", moves=("traffic_sign",))
    # Training clips longer than the input: their head or their tail, drawn anew in every epoch, or always their head.
    speech_crop: str = _option("data", "head_or_tail", "head", moves=("speech",))
    # What LibriSpeech's 80/20 split of every speaker keeps together: nothing, or the utterances of a chapter.
    librispeech_split: str = _option("transfer", "utterance", "chapter", moves=("librispeech_speaker",))
    # Google Speech Commands: the test clips are in the training split too (and the validation clips twice), or not.
    google_speech_split: str = _option("transfer", "leaking", "disjoint", moves=("google_speech",))
    # Padding is a token like others, or is left out of attention, pooling and the quantizer's ranges.
    padding_mask: bool = _option("data", False, True, moves=("text", "multilingual", "vqa"))
    # Embeddings of ids that no token has (DABS's text models have 35,022 for a vocabulary of 30,522).
    unused_ids: bool = _option("data", True, False, moves=("text",))
    # mC4: in the order of the files, every batch four times in a row, or shuffled in blocks, every batch once.
    mc4_order: str = _option("pretraining", "repeated", "shuffled", moves=("multilingual",))
    # What ChestX-ray8's 90/10 split keeps together: nothing, or the images of one patient.
    xray8_split: str = _option("transfer", "image", "patient", moves=("xray8",))
    # Outputs that no class uses (PAMAP2 trains 12 for 11, Aircraft 102 for 100).
    unused_outputs: bool = _option("transfer", True, False, moves=("aircraft", "pamap2"))
    # Features: encoded anew in every epoch with dropout on (which only the adamw probe can use), or once without.
    features: str = _option("transfer", "reencode", "cached")
    # The linear probe: DABS's AdamW, or regularised logistic (ridge) regression with its strength selected.
    probe: str = _option("transfer", "adamw", "lbfgs")
    # Correlations: averaged over batches, or of the whole split.
    correlation: str = _option("transfer", "batches", "whole", moves=("cola", "stsb"))
    # Tied values in Spearman's ranks: in order of appearance, or averaged.
    spearman_ties: str = _option("transfer", "ordinal", "average", moves=("stsb",))

    def __post_init__(self) -> None:
        for option in fields(self):
            values = option.metadata.get("values")
            value = getattr(self, option.name)
            if values and value not in values:
                raise ValueError(f"protocol.{option.name} is one of {', '.join(map(str, values))}; got {value!r}")

    def options(self, *stages: Stage) -> dict[str, Any]:
        """The options that act on any of `stages`, by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.metadata.get("stage") in stages}
