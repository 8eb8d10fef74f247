"""A torch network of one's own, with its weights in a file beside this one."""

from pathlib import Path

from torch import nn

from dabs_rq.networks import declare, load_weights


def network(inputs):
    model = nn.Sequential(
        nn.Conv2d(3, 32, 5, stride=2), nn.ReLU(), nn.Conv2d(32, 64, 5, stride=2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip
    return load_weights(model, Path(__file__).with_name("my_cnn.safetensors"))


ENCODER = declare("my_cnn", network, title="My CNN", domains=["images"])
