"""A source that stays on the device gives the batches that its loader gives."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from safetensors.torch import load

from dabs_rq.data import resident as module
from dabs_rq.data.batches import training_batches
from dabs_rq.data.columns import Decoded, Shared
from dabs_rq.data.crops import Crops
from dabs_rq.data.examples import Examples
from dabs_rq.data.prepared import Stored
from dabs_rq.data.readers import image
from dabs_rq.data.resident import resident
from dabs_rq.pretrain.pretrain import pretrain
from dabs_rq.ranks import Ranks
from dabs_rq.run import Run

CPU = torch.device("cpu")
ARRAYS = np.random.default_rng(0).integers(0, 256, (1500, 3, 4), np.uint8)


def stored(rows: int = 1500) -> Stored:
    return Stored(ARRAYS, np.arange(rows), "key")


def examples(*inputs: Any, **more: Any) -> Examples:
    return Examples([str(row) for row in range(len(inputs[0]))], inputs, **more)


@pytest.mark.parametrize("ranks", [Ranks(), Ranks(1, 2)])
@pytest.mark.parametrize("start", [0, 23])
def test_batches_are_those_of_the_loader(ranks: Ranks, start: int) -> None:
    shared = Shared.of(Stored(ARRAYS.astype(np.float16), np.arange(700, 1400), "k"), np.arange(1500) % 700)
    batches = training_batches(examples(stored(), shared, targets=np.arange(1500)), 64, 5)
    kept = resident(batches, "always", CPU, start, ranks)
    assert kept is not None
    for one, other in zip(islice(kept, 30), batches.loader(start, ranks=ranks), strict=False):  # beyond an epoch
        for ours, theirs in zip([*one[0], *one[1:]], [*other[0], *other[1:]], strict=True):
            assert ours is not None and ours.dtype == theirs.dtype and torch.equal(ours, theirs)


def test_auto_asks_for_the_free_memory(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    batches = training_batches(examples(stored(1000)), 64, 0)  # 12,000 bytes
    assert resident(batches, "auto", CPU) is None, "a processor reads the mapped files"
    monkeypatch.setattr(module, "_free_memory", lambda device: 23_999)
    assert resident(batches, "auto", CPU) is None and not capsys.readouterr().out
    monkeypatch.setattr(module, "_free_memory", lambda device: 24_000)
    assert resident(batches, "auto", CPU) is not None and "stay on cpu" in capsys.readouterr().out
    assert resident(batches, "never", CPU) is None


def test_what_is_decoded_or_drawn_again_does_not_stay(tmp_path: Path) -> None:
    items = pa.table({"path": ["a", "b"]})
    decoded = Decoded(items, dict.__len__, tmp_path, (1,), "uint8", "1")  # type: ignore[arg-type]
    choice = Shared.of(stored(), np.arange(4).reshape(2, 2))
    of_decoded = Shared.of(decoded, np.array([0, 1]))
    drawn = examples(stored(2), redraw=lambda seed, epoch: examples(stored(2)))
    pictures = Decoded(items, dict.__len__, tmp_path, (3, 4, 4), "uint8", "1")  # type: ignore[arg-type]
    Image.new("RGB", (9, 9)).save(tmp_path / "a", "PNG")
    crops = examples(pictures).cropped(Crops(2, 4, 0.2), image.open_rgb)
    for one in (examples(decoded), examples(choice), examples(of_decoded), crops, drawn):
        assert resident(training_batches(one, 2, 0), "always", CPU) is None


def test_training_gives_the_same_weights(
    tmp_path: Path, miniature: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["domain=images", "method=rq", f"data={miniature('images')}", "trainer.progress=false", "encoder.depth=1"]
    small = ["pretrain.steps=4", "pretrain.max_examples=40", "pretrain.batch_size=16", "trainer.health_every=0"]
    files = []
    for choice in ("always", "never"):
        run = Run.of([*words, *small, f"runs={tmp_path / choice}", f"loader.resident={choice}"])
        files.append(pretrain(run, 0).read_bytes())
        assert ("stay on cpu" in capsys.readouterr().out) == (choice == "always")
    one, other = map(load, files)
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
