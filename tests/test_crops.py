"""Random crops of whole pictures: which pixels they have, and what they depend on."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as theirs

from dabs_rq.data import crops
from dabs_rq.data.columns import Decoded
from dabs_rq.data.crops import Cropped, Crops
from dabs_rq.data.readers import image
from dabs_rq.domains.imagenet import labelled
from dabs_rq.errors import DataError
from dabs_rq.methods import views
from dabs_rq.methods.base import Batch
from dabs_rq.pretrain.pretrain import pretrain, source_batches
from dabs_rq.ranks import Ranks
from dabs_rq.run import Run
from dabs_rq.run.changes import changed_options
from dabs_rq.suite.jobs import Job, run_job
from dabs_rq.transfer.probes import fit_probe
from tests.test_contract_methods import resnet
from tests.test_moco import SMALL, built

TWO = Crops(count=2, side=16, least=0.2)


def column(root: Path, names: list[str], kind: Crops = TWO, side: int = 16) -> Cropped:
    pictures = Decoded(
        items=pa.table({"path": names}),
        decode=_never,
        root=root,
        shape=(3, side, side),
        dtype="uint8",
        version="of a test",
    )
    return Cropped(pictures, image.open_rgb, kind)


def _never(row: dict[str, Any]) -> np.ndarray:
    raise AssertionError("crops read whole pictures")


def save(file: Path, height: int, width: int, seed: int = 0) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)


@pytest.fixture
def cropped(tmp_path: Path) -> Cropped:
    names = [f"{number}.png" for number in range(6)]
    for number, name in enumerate(names):
        save(tmp_path / name, 20 + 9 * number, 70 - 7 * number, number)
    return column(tmp_path, names)


@pytest.fixture
def run(miniature: Callable[[str], Path], tmp_path: Path) -> Callable[..., Run]:
    """A run of MoCo-v3 on crops of whole pictures: 6 batches of 16 in an epoch."""

    def make(*words: str) -> Run:
        given = [*SMALL, f"data={miniature('imagenet')}", f"runs={tmp_path / 'runs'}", "method=moco"]
        return Run.of([*given, "method.hidden=8", "method.dimension=4", "method.crops=whole", *words])

    return make


# ---- pixels and boxes


@given(st.data())
def test_a_crop_has_the_pixels_of_torchvisions(data: st.DataObject) -> None:
    height, width, side = (data.draw(st.integers(1, 60)) for _ in range(3))
    down, across = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    top, left = data.draw(st.integers(0, height - down)), data.draw(st.integers(0, width - across))
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8))
    ours = crops.resized_crop(picture, (top, left, down, across), side)
    expected = theirs.resized_crop(picture, top, left, down, across, [side, side], antialias=True)
    assert np.array_equal(np.asarray(ours), np.asarray(expected))


@given(st.integers(1, 3000), st.integers(1, 3000), st.sampled_from([0.08, 0.2, 1.0]), st.integers(0, 2**32 - 1))
def test_boxes_lie_inside_the_picture(height: int, width: int, least: float, seed: int) -> None:
    drawn = column(Path(), ["a"], Crops(4, 16, least)).redrawn(seed, 3)
    for top, left, down, across in drawn.boxes("a", height, width):
        assert 0 <= top < top + down <= height and 0 <= left < left + across <= width


def test_boxes_have_the_distribution_of_torchvisions() -> None:
    drawn = column(Path(), ["a"], Crops(2, 16, 0.08))
    ours = np.array([box for epoch in range(1500) for box in drawn.redrawn(0, epoch).boxes("a", 60, 200)])
    torch.manual_seed(0)
    picture, transform = Image.new("RGB", (200, 60)), v2.RandomResizedCrop(16, scale=(0.08, 1.0))
    made = [transform.make_params([picture]) for _ in range(3000)]
    reference = np.array([[one[key] for key in ("top", "left", "height", "width")] for one in made])
    np.testing.assert_allclose(ours.mean(0), reference.mean(0), atol=5)
    for share in (0.1, 0.5, 0.9):
        np.testing.assert_allclose(np.quantile(ours, share, 0), np.quantile(reference, share, 0), atol=9)


def test_a_column_cuts_its_boxes(cropped: Cropped) -> None:
    taken = cropped.redrawn(5, 2).take(np.arange(6))
    assert taken.shape == (6, 2, 3, 16, 16) and taken.dtype == np.uint8
    for number in range(6):
        picture = image.open_rgb(cropped.pictures.root / f"{number}.png")
        boxes = cropped.redrawn(5, 2).boxes(f"{number}.png", picture.height, picture.width)
        for made, (top, left, down, across) in zip(taken[number], boxes, strict=True):
            expected = theirs.resized_crop(picture, top, left, down, across, [16, 16], antialias=True)
            assert np.array_equal(made, np.asarray(expected).transpose(2, 0, 1))


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """A root of wide pictures, red at both ends and blue between: the centre square is blue."""
    pixels = np.zeros((64, 256, 3), np.uint8)
    pixels[..., 2] = 255
    pixels[:, :64] = pixels[:, -64:] = (255, 0, 0)
    for wnid, split in (("n00000001", "train"), ("n00000002", "train"), ("n00000001", "validation")):
        folder = tmp_path / "natural_images/imagenet" / split / wnid
        folder.mkdir(parents=True)
        for number in range(8):
            Image.fromarray(pixels).save(folder / f"{wnid}_{number}.JPEG", "PNG")
    return tmp_path


def red(pictures: torch.Tensor) -> float:
    return float((pictures.movedim(-3, 0)[0] > 0.8).float().mean())


@pytest.mark.parametrize("method", ["moco", "supervised"])
def test_the_ends_of_a_wide_picture_can_be_seen(method: str, wide: Path) -> None:
    def found(crops: str) -> float:
        words = [*SMALL, f"data={wide}", f"runs={wide / 'runs'}", f"method={method}", f"method.crops={crops}"]
        with pytest.warns(UserWarning, match="are declared"):
            inputs, *_ = next(iter(source_batches(Run.of(words), 0).loader(0)))
        return red(inputs[0] / 255)

    assert found("input") == 0
    assert found("whole") > 0.1


@pytest.mark.filterwarnings("ignore:.*are declared")
def test_the_probe_sees_the_ends_of_a_wide_picture(wide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def seen(crops: str, workers: int = 0) -> torch.Tensor:
        words = [*SMALL, f"data={wide}", f"runs={wide / 'runs'}", "method=none", "transfer.probe=sgd"]
        words += ["transfer.views=crop_flip", "transfer.features=reencode", "transfer.epochs=2", "transfer.also=[]"]
        run = Run.of([*words, f"transfer.crops={crops}", f"loader.workers={workers}"])
        (task,), encoder, given = run.tasks, resnet(run.inputs), []
        train, test = run.splits.labelled(task)
        features = np.zeros((len(test), encoder.width), np.float32)

        def look(inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
            given.append(inputs[0])
            return torch.zeros(len(inputs[0]), encoder.width)

        monkeypatch.setattr(encoder, "features", look)
        labels = train.targets, test.targets
        fit_probe(run, 0, "sgd", task, encoder, train, labels[0], lambda _: features, (test, labels[1]))
        return torch.cat(given)

    whole = seen("whole")
    assert whole.shape == (2 * 16, 3, 32, 32) and whole.max() <= 1
    assert red(seen("input")) == 0 and red(whole) > 0.1
    assert not torch.equal(whole[:16], whole[16:]), "anew in every epoch"
    assert torch.equal(seen("whole", workers=2), whole)


# ---- what the draws depend on


def test_crops_follow_from_seed_epoch_picture_and_view(cropped: Cropped) -> None:
    rows = np.arange(6)
    first = cropped.redrawn(0, 0).take(rows)
    assert np.array_equal(first, cropped.redrawn(3, 7).redrawn(0, 0).take(rows))
    for other in (cropped.redrawn(1, 0), cropped.redrawn(0, 1)):
        assert all((first[row] != other.take(rows)[row]).any() for row in rows)
    assert all((views[0] != views[1]).any() for views in first)
    boxes = cropped.boxes("0.png", 50, 50)
    assert cropped.boxes("1.png", 50, 50) != boxes
    one = Cropped(cropped.pictures, cropped.opened, Crops(1, 16, 0.2))
    assert one.boxes("0.png", 50, 50) == boxes[:1], "the first view does not depend on how many there are"


def test_crops_depend_on_no_order_and_no_selection(cropped: Cropped) -> None:
    rows = np.array([4, 1, 3])
    whole = cropped.redrawn(2, 1).take(np.arange(6))
    assert np.array_equal(cropped.redrawn(2, 1).take(rows), whole[rows])
    assert np.array_equal(cropped.select(rows).redrawn(2, 1).take(np.arange(3)), whole[rows])


def test_the_key_counts_pictures_and_kind_of_crops_and_no_epoch(cropped: Cropped) -> None:
    assert cropped.redrawn(1, 1).key == cropped.key
    others = [Cropped(cropped.pictures, cropped.opened, Crops(*kind)) for kind in ((1, 16, 0.2), (2, 8, 0.2))]
    assert len({cropped.key, cropped.pictures.key, *(other.key for other in others)}) == 4


def test_batches_are_the_same_for_workers_ranks_and_a_later_start(run: Callable[..., Run]) -> None:
    batches = source_batches(run(), 1)
    straight = [one[0][0] for one in islice(batches.loader(0), 9)]  # more than an epoch
    assert straight[0].shape == (16, 2, 3, 32, 32)
    later = [one[0][0] for one in islice(batches.loader(4, workers=2), 5)]
    halves = [[one[0][0] for one in islice(batches.loader(4, ranks=Ranks(rank, 2)), 5)] for rank in (0, 1)]
    for number, expected in enumerate(straight[4:]):
        assert torch.equal(later[number], expected)
        assert torch.equal(torch.cat([half[number] for half in halves]), expected)


# ---- in a training


def test_cropped_views_are_not_cropped_again() -> None:
    method, seen = built("moco", augment="crop", rq="none"), []
    method.encoder.network.conv1.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    given = torch.rand(12, 2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    method.train().loss(Batch((given,), method.encoder), torch.Generator().manual_seed(0))
    plain = built("moco", augment="crop", rq="none")
    expected: list[torch.Tensor] = []
    plain.encoder.network.conv1.register_forward_pre_hook(lambda _, arguments: expected.append(arguments[0]))
    for number in (0, 1):
        plain.encoder.features((given[:, number],))
    assert all(torch.equal(ours, one) for ours, one in zip(seen, expected, strict=True))


def test_cropped_views_get_the_other_operations() -> None:
    method = built("moco", augment="crop_flip", rq="none")
    given = torch.rand(12, 2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    generator, made = torch.Generator().manual_seed(0), []
    for images, recipe in method.views.pairs(given, views.recipes("crop_flip", 0.2)):
        made.append(method.views.make(images, recipe, method.views.draw(12, recipe, generator, Ranks())))
    for number, view in enumerate(made):
        same = [torch.equal(view[row], given[row, number]) for row in range(12)]
        flipped = [torch.equal(view[row], given[row, number].flip(2)) for row in range(12)]
        assert any(same) and any(flipped) and all(np.logical_or(same, flipped))


@pytest.mark.parametrize("method", ["moco", "supervised"])
def test_nothing_is_prepared_and_health_measures_the_centre(method: str, run: Callable[..., Run]) -> None:
    changes = {"loader.prepare": "always", "pretrain.steps": 2, "trainer.health_every": 1, "method.crops": "whole"}
    chosen = run().replace(changes, method=[method])
    assert chosen.whole_crops(chosen.method, chosen.domain) is not None
    run_job(Job("prepare", "imagenet", chosen))
    pretrain(chosen, 0)
    assert not chosen.places.prepared.exists()
    inputs, _ = source_batches(chosen, 0).batch(0)
    assert inputs[0].shape == (16, 3, 32, 32), "as the encoder takes them"


def test_a_checkpoint_of_other_crops_is_not_kept(run: Callable[..., Run]) -> None:
    whole, centre = run(), run("method.crops=input")
    assert whole.checkpoint_file(0) != centre.checkpoint_file(0)
    before = {key: value for key, value in centre.values.items() if key != "method.crops"}
    assert changed_options(centre, before, of_pretraining=True) == []
    (change,) = changed_options(whole, before, of_pretraining=True)
    assert change == "method.crops was not recorded (its default is input), is whole"


def test_inputs_that_show_the_whole_picture_are_cropped_as_they_are(tmp_path: Path) -> None:
    for words in (["domain=images"], ["domain=imagenet", "scale=small"]):
        given = Run.of([*words, f"data={tmp_path}", "method=moco", "encoder=resnet18", "method.crops=whole"])
        assert given.whole_crops(given.method, given.domain) is None


@pytest.mark.parametrize("method", ["moco", "supervised"])
def test_the_paper_scale_crops_whole_pictures(method: str, tmp_path: Path) -> None:
    given = Run.of(["domain=imagenet", "scale=paper", f"data={tmp_path}", f"method={method}", "encoder=resnet50"])
    kind = given.whole_crops(given.method, given.domain)
    assert kind is not None and kind.count == {"moco": 2, "supervised": 1}[method]
    assert labelled.IMAGENET.whole is not None


def test_a_damaged_picture_is_named(cropped: Cropped) -> None:
    (cropped.pictures.root / "3.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"3\.png"):
        cropped.take(np.array([1, 3]))
