"""Declarations: what a domain, a source, a task and an input are. Frozen, without behaviour, importing nothing of ours.

One word per thing. DABS's names, for those who come from there: a `Domain` (its "transfer group") has one pretraining
`Source` and labelled `Task`s ("transfer datasets"); an input is a `Grid` ("2d"), a `Series` ("1d") or `Tokens`; a
method is DABS's "algorithm" or "system", `tokens` its "embs", a projection head its "mlp_head", a pooled feature its
"prehead" output.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

State = Literal["present", "partial", "missing"]
MetricName = Literal["accuracy", "auroc", "pearson", "spearman", "matthews"]


# ---- inputs: the raw tensors of one example ----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A 2-D input (channels, height, width), cut into patches. Values in [0, 1], or as the source normalises them.
    `dtype` is that of a raw example; integers are scaled when a batch goes to the model."""

    name: str
    height: int
    width: int
    channels: int
    patch: int | tuple[int, int]
    dtype: str = "uint8"

    def __post_init__(self) -> None:
        down, across = self.patch_size
        if self.height % down or self.width % across:
            raise ValueError(
                f"input {self.name!r}: {self.height} x {self.width} is no multiple of patch {down} x {across}"
            )

    @property
    def patch_size(self) -> tuple[int, int]:
        return self.patch if isinstance(self.patch, tuple) else (self.patch, self.patch)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.channels, self.height, self.width)

    @property
    def sequence_length(self) -> int:
        down, across = self.patch_size
        return (self.height // down) * (self.width // across)

    @property
    def patch_values(self) -> int:
        down, across = self.patch_size
        return down * across * self.channels


@dataclass(frozen=True, kw_only=True)
class Series:
    """A 1-D input (length, channels), time first, cut into segments."""

    name: str
    length: int
    channels: int
    segment: int
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if self.length % self.segment:
            raise ValueError(f"input {self.name!r}: length {self.length} is no multiple of segment {self.segment}")

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.length, self.channels)

    @property
    def sequence_length(self) -> int:
        return self.length // self.segment

    @property
    def patch_values(self) -> int:
        return self.segment * self.channels


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """Token ids (length,) in [0, vocabulary). `pad` is the id of padding, where there is padding.

    tokenizer: the name of the tokenizer that makes the ids; before a run, vocabulary and pad are read from it (those
    declared are the published ones). unused_ids: ids beyond its vocabulary for which DABS has embeddings (they take
    part only under that protocol option).
    """

    name: str
    length: int
    vocabulary: int
    pad: int | None = None
    tokenizer: str | None = None
    unused_ids: int = 0
    dtype: str = "int32"

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.length,)

    @property
    def sequence_length(self) -> int:
        return self.length


Input = Grid | Series | Tokens


# ---- targets: the kind decides outputs, loss and legal metrics ---------------------------------------------------


@dataclass(frozen=True)
class Multiclass:
    """One class of `classes`; the target is an int in [0, classes)."""

    classes: int
    metrics = ("accuracy",)

    @property
    def outputs(self) -> int:
        return self.classes


@dataclass(frozen=True)
class Binary:
    """Yes or no; the target is 0 or 1, the output one logit."""

    metrics = ("accuracy", "pearson", "matthews")
    outputs = 1


@dataclass(frozen=True)
class Multilabel:
    """Any of `labels` at once; the target is a 0/1 vector in their order."""

    labels: tuple[str, ...]
    metrics = ("auroc",)

    @property
    def outputs(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Regression:
    """A real number; the output is one number."""

    metrics = ("pearson", "spearman")
    outputs = 1


Target = Multiclass | Binary | Multilabel | Regression


# ---- sources, tasks, domains -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Archive:
    """A file that the publisher offers openly: a .tar, .tar.gz, .tgz or .zip to extract, or a plain file to keep.

    size in bytes, md5 and sha256 in hex: as published, None where they are not. into: the folder, relative to the
    source's, that receives the contents. inner: an archive inside this one, the contents of which are what is wanted.
    below: only what lies below this folder of the archive is wanted, without that folder.
    """

    url: str
    size: int | None = None
    md5: str | None = None
    sha256: str | None = None
    into: str = ""
    inner: str = ""
    below: str = ""

    @property
    def name(self) -> str:
        """The file name, the last part of the address."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True, kw_only=True)
class Source:
    """A dataset as published: where it comes from and how it lies under the data root.

    `folder` is relative to the data root, `needs` relative to `folder`: what must be there (files or folders, or with
    "*" at least one that fits) for the source to count as present. `registration` says what has to be done by hand,
    None where nothing has. `hub` is the id on the Hugging Face hub from which a reader takes what is not under the data
    root, None where it cannot. `archives` are what `python -m dabs_rq data fetch` downloads, what is not in `needs`
    first; empty where nothing can be had without a person.
    """

    name: str
    title: str
    url: str
    folder: str
    layout: str
    needs: tuple[str, ...]
    licence: str
    size: str
    citation: str
    registration: str | None = None
    hub: str | None = None
    archives: tuple[Archive, ...] = ()

    def missing(self, root: Path) -> tuple[Path, ...]:
        """What of `needs` is not under `root`, in the order of declaration."""
        folder = root / self.folder
        there = {need: any(folder.glob(need)) if "*" in need else (folder / need).exists() for need in self.needs}
        return tuple(folder / need for need, found in there.items() if not found)

    def state(self, root: Path) -> State:
        """Whether all of `needs` is under `root`, some of it or nothing."""
        missing = self.missing(root)
        return "present" if not missing else "missing" if len(missing) == len(self.needs) else "partial"
