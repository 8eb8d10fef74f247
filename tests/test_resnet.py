"""ResNets: the same networks as torchvision's, and what is ours about them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchvision

from dabs_rq import registry
from dabs_rq.encoders.embed import MEAN, STD
from dabs_rq.encoders.resnet import ResNet, centre
from dabs_rq.errors import OptionError
from dabs_rq.spec import Grid, Tokens

PICTURE = (Grid(name="image", height=64, width=64, channels=3, patch=16),)


def built(name: str, inputs: Any = PICTURE, **options: Any) -> ResNet:
    spec = registry.encoder(name)
    encoder = spec.build(spec.options(**options), inputs, True)
    assert isinstance(encoder, ResNet)
    return encoder


@pytest.mark.parametrize(("name", "width"), [("resnet18", 512), ("resnet50", 2048)])
def test_a_seed_gives_torchvisions_weights_and_features(name: str, width: int) -> None:
    torch.manual_seed(3)
    encoder = built(name, zero_init_residual=True).eval()
    torch.manual_seed(3)
    theirs = getattr(torchvision.models, name)(zero_init_residual=True).eval()
    theirs.fc = torch.nn.Identity()
    images = torch.rand(2, 3, 64, 64)
    normalised = torchvision.transforms.functional.normalize(images, list(MEAN), list(STD))
    with torch.no_grad():
        features = encoder((images,))
        torch.testing.assert_close(features, theirs(normalised))
    assert features.shape == (2, width) and encoder.width == width
    state = {key.removeprefix("network."): value for key, value in encoder.state_dict().items()}
    assert state.keys() == theirs.state_dict().keys()
    assert all(torch.equal(state[key], value) for key, value in theirs.state_dict().items())


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_the_small_stem_keeps_the_resolution_and_the_width_scales_every_layer(name: str) -> None:
    encoder = built(name, stem="small", width=8)
    network: Any = encoder.network
    assert network.conv1.stride == (1, 1) and network.conv1.kernel_size == (3, 3)
    assert network.maxpool(torch.zeros(1, 8, 32, 32)).shape == (1, 8, 32, 32)
    assert encoder((torch.rand(2, 3, 32, 32),)).shape == (2, encoder.width)
    full = sum(parameter.numel() for parameter in built(name, stem="small").parameters())
    assert sum(parameter.numel() for parameter in encoder.parameters()) < full / 50


def test_the_last_norm_of_a_branch_starts_at_zero_only_if_asked_for() -> None:
    for zero in (True, False):
        last: Any = built("resnet50", width=8, zero_init_residual=zero).network.layer3[2].bn3
        assert bool((last.weight == 0).all()) is zero


def test_a_larger_picture_is_encoded_by_its_centre() -> None:
    images = torch.rand(2, 3, 41, 36)
    expected = torchvision.transforms.functional.center_crop(images, [32, 32])
    assert torch.equal(centre(images, 32), expected)
    assert centre(images, 0) is images and centre(images, 36).shape == (2, 3, 36, 36)
    assert centre(images[:, :, :32, :32], 64).shape == (2, 3, 32, 32)
    encoder = built("resnet18", width=8, crop=32).eval()
    with torch.no_grad():
        assert torch.equal(encoder((images,)), encoder((expected,)))
    assert encoder.architecture != built("resnet18", width=8).architecture, "or features of both would share a cache"


@pytest.mark.parametrize(
    "inputs", [(Tokens(name="text", length=8, vocabulary=9),), PICTURE * 2], ids=["tokens", "two pictures"]
)
def test_other_inputs_than_one_picture_are_refused(inputs: Any) -> None:
    with pytest.raises(OptionError, match=r"a ResNet takes one picture; .*encoder=transformer"):
        built("resnet18", inputs)


def test_pictures_of_one_channel_are_taken_as_they_are() -> None:
    grey = (Grid(name="image", height=32, width=32, channels=1, patch=8),)
    encoder = built("resnet18", grey, width=8)
    assert not encoder.normalises and encoder((torch.rand(2, 1, 32, 32),)).shape == (2, 64)
