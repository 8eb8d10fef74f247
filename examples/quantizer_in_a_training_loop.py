"""Randomized quantization as the only augmentation in a plain PyTorch training loop.

It draws pictures with four kinds of stripes, trains with InfoNCE on two quantized views of each, and reports the
accuracy of the nearest class mean on held-out pictures. Of dabs_rq it uses only the quantizer:

    python examples/quantizer_in_a_training_loop.py
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dabs_rq.quantize import RandomizedQuantization

CLASSES, SIZE, STEPS, TEMPERATURE = 4, 20, 150, 0.2


def stripes(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw noisy pictures (count, 3, SIZE, SIZE) with stripes in random colours, in one of four directions; return them
    and their directions (count,)."""
    label = torch.randint(CLASSES, (count,), generator=generator)
    angle = math.pi * label / CLASSES
    y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    distance = x * angle.cos()[:, None, None] + y * angle.sin()[:, None, None]
    wave = torch.sin(distance + 2 * math.pi * torch.rand(count, 1, 1, generator=generator))
    colour, light = torch.randn(2, count, 3, 1, 1, generator=generator)
    return colour * wave[:, None] + light + torch.randn(count, 3, SIZE, SIZE, generator=generator), label


def nearest_mean(train: Tensor, train_label: Tensor, test: Tensor, test_label: Tensor) -> float:
    """Return the accuracy of predicting the class whose mean feature is most similar."""
    means = torch.stack([train[train_label == label].mean(0) for label in range(CLASSES)])
    return float(((F.normalize(test) @ F.normalize(means).T).argmax(1) == test_label).float().mean())


def main() -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    (train, train_label), (test, test_label) = (
        (pictures.to(device), label.to(device))
        for pictures, label in (stripes(count, torch.Generator().manual_seed(count)) for count in (1024, 512))
    )
    encoder = nn.Sequential(
        nn.Conv2d(3, 32, 5, stride=2), nn.ReLU(), nn.Conv2d(32, 64, 3, stride=2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    ).to(device)  # fmt: skip
    head = nn.Linear(64, 32).to(device)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], lr=1e-3)
    augment = RandomizedQuantization(bins=8)  # draws separate bins for each picture and channel

    def report(step: int, loss: float | None) -> None:
        with torch.no_grad():
            accuracy = nearest_mean(encoder(train), train_label, encoder(test), test_label)
        print(f"step {step:3d}  loss {'  -  ' if loss is None else f'{loss:.3f}'}  accuracy {100 * accuracy:.1f} %")

    report(0, None)
    for step in range(1, STEPS + 1):
        batch = train[torch.randint(len(train), (64,), device=device)]
        first, second = (F.normalize(head(encoder(augment(batch)))) for _ in range(2))
        logits = first @ second.T / TEMPERATURE
        positives = torch.arange(len(batch), device=device)
        loss = (F.cross_entropy(logits, positives) + F.cross_entropy(logits.T, positives)) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 50 == 0:
            report(step, loss.item())


if __name__ == "__main__":
    main()
