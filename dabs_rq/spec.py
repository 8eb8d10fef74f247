"""Frozen declarations of inputs, targets, archives and sources. This module imports nothing else of dabs_rq.

DABS uses other names: a `Domain` is its "transfer group", which has one pretraining `Source` and labelled `Task`s
("transfer datasets"); an input is a `Grid` ("2d"), a `Series` ("1d"), `Tokens` or `Tabular`; a method is its
"algorithm" or "system", `tokens` are its "embs", a projection head is its "mlp_head", a pooled feature its "prehead"
output.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

State = Literal["present", "partial", "missing"]
TableName = Literal["rq", "dabs2"]  # published tables: of the RQ paper, of DABS 2.0


# ---- inputs: the raw tensors of one example ----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A 2-D input (channels, height, width), cut into patches.

    Units: in [0, 1], or as the source normalises them. dtype: of a raw example; integers are scaled to [0, 1] when a
        batch goes to the encoder.
    """

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
                f"input {self.name!r}: {self.height} x {self.width} is not a multiple of patch {down} x {across}"
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
            raise ValueError(f"input {self.name!r}: length {self.length} is not a multiple of segment {self.segment}")

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
    """Token ids (length,) in [0, vocabulary).

    pad: the id of padding; None if there is no padding. tokenizer: the name of the tokenizer that makes the ids. A run
    reads vocabulary and pad from it; the declared values are the published ones. unused_ids: the number of ids beyond
    the vocabulary for which DABS has embeddings; they are used only under the protocol option of that name. shared_pad:
    the published pad is the id of a token too; the protocol option `own_padding` gives padding the next id after the
    vocabulary.
    """

    name: str
    length: int
    vocabulary: int
    pad: int | None = None
    tokenizer: str | None = None
    unused_ids: int = 0
    shared_pad: bool = False
    dtype: str = "int32"

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.length,)

    @property
    def sequence_length(self) -> int:
        return self.length


@dataclass(frozen=True, kw_only=True)
class Tabular:
    """A row of a table: numbers (features, 1), each of which is a token. All share one embedding, so that the position
    alone tells which column a number is of."""

    name: str
    features: int
    dtype: str = "float32"

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.features, 1)

    @property
    def sequence_length(self) -> int:
        return self.features

    @property
    def patch_values(self) -> int:
        return 1


Input = Grid | Series | Tokens | Tabular


def resized(inputs: tuple[Input, ...], size: int | None) -> tuple[Input, ...]:
    """Return the inputs with pictures of `size` x `size` pixels, one patch each; None returns them unchanged.

    Only pictures can have another size: the readers scale them, but give other inputs the declared shape only.
    """
    if size is None:
        return inputs
    return tuple(
        replace(spec, height=size, width=size, patch=size) if isinstance(spec, Grid) and spec.dtype == "uint8" else spec
        for spec in inputs
    )


# ---- targets: the kind decides outputs and loss; a metric says which kinds it fits -------------------------------


@dataclass(frozen=True)
class Multiclass:
    """One class of `classes`; the target is an int in [0, classes)."""

    classes: int

    @property
    def outputs(self) -> int:
        return self.classes


@dataclass(frozen=True)
class Binary:
    """Yes or no; the target is 0 or 1, the output is one logit."""

    outputs = 1


@dataclass(frozen=True)
class Multilabel:
    """Any of `labels` at once; the target is a 0/1 vector in their order."""

    labels: tuple[str, ...]

    @property
    def outputs(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Regression:
    """A real number; the output is one number."""

    outputs = 1


@dataclass(frozen=True)
class PerToken:
    """One class of `classes` for each token; the target is an int per token, (tokens,), in [0, classes).

    -1 marks a token that has no class, such as padding. In training, `classes` marks padding that counts in the loss as
    a class of its own, for which a task declares an unused output. No score counts either.
    """

    classes: int

    @property
    def outputs(self) -> int:
        return self.classes


Target = Multiclass | Binary | Multilabel | Regression | PerToken


# ---- sources, tasks, domains -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Archive:
    """A file that anyone can download: a .tar, .tar.gz, .tgz or .zip to extract, or another file to copy.

    size: in bytes. md5, sha256: in hex. Each is as published, None if it is not published. into: the target folder,
    relative to the source's folder. inner: the path of a nested archive; its contents are extracted instead, unless a
    mirror serves the inner archive itself. below: extract only this folder's contents, without the folder itself.
    mirrors: further addresses of the file, in the order in which they are tried.
    """

    url: str
    size: int | None = None
    md5: str | None = None
    sha256: str | None = None
    into: str = ""
    inner: str = ""
    below: str = ""
    mirrors: tuple[str, ...] = ()

    @property
    def addresses(self) -> tuple[str, ...]:
        return (self.url, *self.mirrors)

    @property
    def name(self) -> str:
        """The file name, which is the last part of the URL."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True, kw_only=True)
class Source:
    """A dataset as published: where to get it, and its layout under the data root.

    folder: relative to the data root. needs: files or folders, relative to `folder`, that must exist for the source to
    count as present; a pattern with "*" needs at least one match. instead: files or folders of another published form
    of the same data; if all of them exist, the source counts as present too. registration: the manual steps, None if
    none are needed. hub: the id of the dataset on the Hugging Face hub, from which a reader loads what the data root
    lacks; None if it cannot. archives: what `python -m dabs_rq data fetch` downloads, in this order, contents outside
    `needs` first; empty if the source has to be downloaded by hand.
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
    instead: tuple[str, ...] = ()

    def missing(self, root: Path) -> tuple[Path, ...]:
        """Return the paths of `needs` that do not exist under `root`, in the order of declaration; none if all of
        `instead` exist."""
        folder = root / self.folder
        if self.instead and all((folder / path).exists() for path in self.instead):
            return ()
        exists = {need: any(folder.glob(need)) if "*" in need else (folder / need).exists() for need in self.needs}
        return tuple(folder / need for need, present in exists.items() if not present)

    def state(self, root: Path) -> State:
        """Return whether all, some or none of `needs` exist under `root`."""
        missing = self.missing(root)
        return "present" if not missing else "missing" if len(missing) == len(self.needs) else "partial"
