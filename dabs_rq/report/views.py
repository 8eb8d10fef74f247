"""Draws what the quantizer does: one example of a domain's pretraining source, and two quantized views of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dabs_rq.errors import DabsRqError, first_line
from dabs_rq.report import figure
from dabs_rq.report.figure import FAINT, INK, Plot
from dabs_rq.run import Run
from dabs_rq.spec import Grid, Input, Series, Tabular, Tokens

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from torch import Tensor

TITLES = ("before", "view 1", "view 2")
SHOWN_CHANNELS = 3  # of a series


@dataclass(frozen=True)
class Example:
    """`caption`: the name of the example and of its source."""

    plot: Plot
    caption: str


def draw(run: Run, out: Path) -> Example | str:
    """Draw the first pretraining example of the first seed; return a message if there is none. `run`: of RQ in one
    domain.

    The quantizer has the options of the run. It acts on the input itself, or for token ids on their embeddings by the
    initial encoder of that seed. Nothing is downloaded from the hub."""
    domain, source = run.domain, run.domain.pretraining.source
    try:
        if not run.made_up and source.state(run.root) == "missing":
            return f"{domain.title}: {source.title} is not under {run.root}."
        panels, name = _views(run, run.options.seeds[0])
    except (DabsRqError, OSError) as error:
        return f"{domain.title}: no example of {source.title} ({first_line(error)})."
    plot = figure.new(sum(_height(spec) for spec, _ in panels))
    grid = plot.subplots(len(panels), len(TITLES), squeeze=False)
    for line, (spec, views) in zip(grid, panels, strict=True):
        _draw_input(list(line), spec, views)
    for axes, title in zip(grid[0], TITLES, strict=True):
        axes.set_title(title, color=INK)
    kinds = " and ".join(spec.name for spec, _ in panels)
    alternative = f"An example of {domain.title} ({kinds}) before randomized quantization, and two views after it."
    caption = f"{source.title}, example {name}" + ("." if run.made_up else f". Licence: {source.licence}")
    return Example(figure.save(plot, out, f"quantizer-{domain.name}", alternative), caption)


def _views(run: Run, seed: int) -> tuple[list[tuple[Input, list[np.ndarray]]], str]:
    """Return each input with its values and its views, and the name of the example.

    Shape: (C, H, W) for a grid, (length, C) for a series, (features, 1) for a row of a table, (real tokens, D) for
        tokens."""
    import torch

    from dabs_rq.data.batches import training_batches
    from dabs_rq.encoders.base import TokenEncoder
    from dabs_rq.encoders.embed import to_model_input
    from dabs_rq.pretrain.pretrain import build
    from dabs_rq.quantize import randomized_quantization

    batch, (name,) = training_batches(run.splits.unlabelled("train"), 1, seed).batch(0)
    inputs = tuple(to_model_input(raw) for raw in batch)
    encoder, _ = build(run, seed)
    assert isinstance(encoder, TokenEncoder)  # RQ requires one
    lengths = [spec.sequence_length for spec in run.inputs]
    with torch.no_grad():
        embedded = encoder.embed(inputs).split(lengths, dim=1)
    joint_mask = encoder.mask(inputs)
    masks = [None] * len(lengths) if joint_mask is None else joint_mask.split(lengths, dim=1)
    generator = torch.Generator().manual_seed(seed)
    method_options = run.method.options
    options = {name: getattr(method_options, name) for name in ("bins", "spacing", "collapse", "granularity", "p")}
    panels = []
    for spec, values, tokens, mask in zip(run.inputs, inputs, embedded, masks, strict=True):
        if not isinstance(spec, Tokens):
            quantized, channel_dim, quantized_mask = values, 1 if isinstance(spec, Grid) else 2, None
        else:
            quantized, channel_dim, quantized_mask = tokens, 2, mask
        views = [
            randomized_quantization(
                quantized, channel_dim=channel_dim, generator=generator, mask=quantized_mask, **options
            )
            for _ in TITLES[1:]
        ]
        panels.append((spec, [_array(view, quantized_mask) for view in (quantized, *views)]))
    return panels, name


def _array(values: Tensor, mask: Tensor | None) -> np.ndarray:
    return (values[0] if mask is None else values[0][mask[0]]).numpy()


def _height(spec: Input) -> float:
    """Return the height of a row of panels in inches."""
    return 0.4 + (1.4 * min(1.5, spec.height / spec.width) if isinstance(spec, Grid) else 1.3)


def _draw_input(line: list[Axes], spec: Input, views: list[np.ndarray]) -> None:
    if isinstance(spec, Series | Tabular):
        _draw_series(line, views, "time step" if isinstance(spec, Series) else "column")
        return
    before = views[0]
    if isinstance(spec, Grid):
        low, high = float(before.min()), float(before.max())
        style: dict[str, Any] = {"vmin": low, "vmax": high, "cmap": "gray"}
        pictures = [view.transpose(1, 2, 0) if spec.channels == 3 else view[0] for view in views]
        if spec.channels == 3:
            pictures = [((picture - low) / max(high - low, 1e-9)).clip(0, 1) for picture in pictures]
    else:
        largest = float(np.abs(before).max())
        style = {"vmin": -largest, "vmax": largest, "cmap": "RdBu_r", "aspect": "auto"}
        pictures = [view.T for view in views]
    for axes, picture in zip(line, pictures, strict=True):
        axes.imshow(picture, **style)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    if not isinstance(spec, Grid):
        line[0].set(xlabel="token", ylabel="feature")


def _draw_series(line: list[Axes], views: list[np.ndarray], along: str) -> None:
    """Draw a few channels below each other, each scaled to its own range, with the original behind each view."""
    varied = np.flatnonzero(np.ptp(views[0], axis=0) > 0)
    channels = varied[np.linspace(0, len(varied) - 1, min(SHOWN_CHANNELS, len(varied))).round().astype(int)]
    for axes, view in zip(line, views, strict=True):
        for position, channel in enumerate(channels):
            low, high = views[0][:, channel].min(), views[0][:, channel].max()
            before, after = ((series[:, channel] - low) / (high - low) - 1.3 * position for series in (views[0], view))
            if view is not views[0]:
                axes.plot(before, color=FAINT, lw=0.6, alpha=0.7)
            axes.plot(after, color=INK, lw=0.9)
        axes.set(yticks=[], ylim=(-1.3 * (len(channels) - 1) - 0.15, 1.15))
        axes.spines["left"].set_visible(False)
        axes.margins(x=0)
    line[0].set_yticks([0.5 - 1.3 * n for n in range(len(channels))], [f"channel {channel}" for channel in channels])
    line[0].tick_params("y", length=0)
    line[1].set_xlabel(along)
