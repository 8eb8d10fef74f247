"""Views of pictures: each operation equals torchvision's of the same parameters, picture by picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as theirs

from dabs_rq.data import crops
from dabs_rq.methods import views
from dabs_rq.methods.views import Recipe

IMAGES = torch.rand(6, 3, 20, 28, generator=torch.Generator().manual_seed(0))
IMAGES[0] = IMAGES[0, :1]  # grey
IMAGES[1, :, :3] = 0.0


def drawing(seed: int, rows: int = len(IMAGES)) -> crops.Draw:
    generator = torch.Generator().manual_seed(seed)
    return lambda count: torch.rand(count, rows, generator=generator)


def each(operation: Callable[..., Tensor], values: Tensor) -> Tensor:
    return torch.stack([operation(image, float(value)) for image, value in zip(IMAGES, values, strict=True)])


@pytest.mark.parametrize(
    ("ours", "reference", "low", "high"),
    [
        (views.brightness, theirs.adjust_brightness, 0.6, 1.4),
        (views.contrast, theirs.adjust_contrast, 0.6, 1.4),
        (views.saturation, theirs.adjust_saturation, 0.8, 1.2),
        (views.hue, theirs.adjust_hue, -0.1, 0.1),
        (views.blur, lambda image, sigma: theirs.gaussian_blur(image, [3, 3], [sigma, sigma]), 0.1, 2.0),
    ],
    ids=["brightness", "contrast", "saturation", "hue", "blur"],
)
def test_an_operation_equals_torchvisions(
    ours: Callable[[Tensor, Tensor], Tensor], reference: Callable[..., Tensor], low: float, high: float
) -> None:
    values = torch.linspace(low, high, len(IMAGES))
    torch.testing.assert_close(ours(IMAGES, values), each(reference, values), atol=1e-5, rtol=0)


def test_the_kernel_of_the_blur_has_23_pixels_at_224() -> None:
    image = torch.zeros(1, 3, 224, 224)
    image[..., 112, 112] = 1.0
    spread = views.blur(image, torch.tensor([2.0]))
    assert (spread[0, 0] > 0).sum() == 23 * 23
    torch.testing.assert_close(spread[0], theirs.gaussian_blur(image[0], [23, 23], [2.0, 2.0]), atol=1e-6, rtol=0)


@given(st.data())
def test_a_resized_crop_equals_torchvisions(data: st.DataObject) -> None:
    height, width, size = data.draw(st.integers(4, 40)), data.draw(st.integers(4, 40)), data.draw(st.integers(1, 40))
    down, across = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    top, left = data.draw(st.integers(0, height - down)), data.draw(st.integers(0, width - across))
    image = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(data.draw(st.integers(0, 99))))
    ours = views.resized_crop(image, torch.tensor([[top], [left], [down], [across]]).float(), size)
    expected = theirs.resized_crop(image[0], top, left, down, across, [size, size], antialias=True)
    torch.testing.assert_close(ours[0], expected, atol=1e-5, rtol=0)


@given(st.integers(8, 300), st.integers(8, 300), st.sampled_from([0.08, 0.2, 0.9]), st.integers(0, 1000))
def test_crop_boxes_lie_inside_and_have_legal_areas_and_ratios(height: int, width: int, low: float, seed: int) -> None:
    top, left, down, across = crops.crop_boxes(height, width, (low, 1.0), drawing(seed, 50))
    for values in (top, left, down, across):
        assert torch.equal(values, values.round())
    assert (top >= 0).all() and (left >= 0).all() and (down >= 1).all() and (across >= 1).all()
    assert (top + down <= height).all() and (left + across <= width).all()
    ratio = across / down
    assert (ratio >= crops.RATIO[0] * (1 - 1 / across) - 1 / down).all()
    assert (ratio <= (crops.RATIO[1] * (1 + 1 / down)) + 1 / down).all()


def test_crop_boxes_have_the_distribution_of_torchvisions() -> None:
    n = 4000
    top, left, down, across = crops.crop_boxes(30, 40, (0.2, 1.0), drawing(1, n))
    torch.manual_seed(0)
    image = torch.empty(3, 30, 40)
    crop = v2.RandomResizedCrop(8, scale=(0.2, 1.0))
    made = [crop.make_params([image]) for _ in range(n)]
    for ours, key in ((top, "top"), (left, "left"), (down, "height"), (across, "width")):
        reference = torch.tensor([float(one[key]) for one in made])
        assert abs(ours.mean() - reference.mean()) < 0.5 and abs(ours.std() - reference.std()) < 0.4, key


def test_a_picture_that_no_attempt_fits_keeps_its_largest_centred_box() -> None:
    top, left, down, across = crops.crop_boxes(10, 100, (1.0, 1.0), drawing(0, 3))
    assert [int(values[0]) for values in (top, left, down, across)] == [0, 43, 10, 13]


def test_every_picture_has_draws_of_its_own_and_the_draws_decide_everything() -> None:
    alike = IMAGES[2:3].expand(6, -1, -1, -1)
    full, _ = views.recipes("full", 0.2)
    first, again = (views.view(alike, full, 16, drawing(3)) for _ in range(2))
    assert torch.equal(first, again) and first.shape == (6, 3, 16, 16)
    assert all((first[i] - first[j]).abs().max() > 1e-3 for i in range(6) for j in range(i))


def test_full_is_the_recipe_of_moco_v3() -> None:
    first, second = views.recipes("full", 0.2)
    assert first == Recipe(crop=0.2, jitter=0.8, grey=0.2, blur=1.0, solarize=0.0, flip=0.5)
    assert second == dataclasses.replace(first, blur=0.1, solarize=0.2)
    assert views.recipes("crop", 0.2) == (Recipe(crop=0.2),) * 2
    assert views.recipes("crop_flip", 0.08) == (Recipe(crop=0.08, flip=0.5),) * 2
    assert views.recipes("none", 0.2) == (Recipe(),) * 2


@pytest.mark.parametrize(
    ("recipe", "changed"),
    [
        (Recipe(grey=1.0), views.grey(IMAGES).expand_as(IMAGES)),
        (Recipe(solarize=1.0), theirs.solarize(IMAGES, 128 / 255)),
        (Recipe(flip=1.0), theirs.horizontal_flip(IMAGES)),
        (Recipe(), IMAGES),
    ],
    ids=["grey", "solarize", "flip", "none"],
)
def test_an_operation_of_probability_one_changes_every_picture(recipe: Recipe, changed: Tensor) -> None:
    torch.testing.assert_close(views.view(IMAGES, recipe, 0, drawing(0)), changed)


def test_an_operation_changes_its_share_of_pictures() -> None:
    images = IMAGES[2:3].expand(2000, -1, -1, -1)
    flipped = views.view(images, Recipe(flip=0.3), 0, drawing(0, 2000))
    share = float((flipped != images).flatten(1).any(1).float().mean())
    assert share == pytest.approx(0.3, abs=0.04)


def test_jitter_applies_its_four_parts_in_the_drawn_order() -> None:
    drawn = torch.full((8, 6), 0.9)
    drawn[4:] = torch.tensor([0.3, 0.1, 0.4, 0.2])[:, None]  # contrast, hue, brightness, saturation
    image = IMAGES[3]
    expected = theirs.adjust_contrast(image, 1.32)
    expected = theirs.adjust_hue(expected, 0.08)
    expected = theirs.adjust_brightness(expected, 1.32)
    expected = theirs.adjust_saturation(expected, 1.16)
    torch.testing.assert_close(views.jitter(IMAGES, drawn)[3], expected, atol=1e-5, rtol=0)
