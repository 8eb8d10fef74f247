"""Compares a whole training step with what the machine's matrix products allow, and with the step of DABS."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.encoder import IMAGE, half_precision_cpu, with_einsum
from benchmarks.measure import Line, Target, interleaved
from dabs_rq import registry
from dabs_rq.encoders.transformer import Transformer
from dabs_rq.methods.base import Batch, Method, build_method
from dabs_rq.methods.emix import EMix, Options, emix_loss
from dabs_rq.pretrain.compiled import CompiledLoss
from dabs_rq.run.options import PretrainOptions
from dabs_rq.spec import Grid

SQUARE = 2048  # side of the matrices whose product gives the machine's rate
SHARE = {False: 0.75, True: 0.5}  # of that rate, by half precision: the targets on a CPU


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Of the encoder and of a batch; by default the published encoder on pictures."""

    image: Grid = IMAGE
    width: int = 256
    depth: int = 12
    batch: int = 8
    dropout: float = 0.1

    def __str__(self) -> str:
        tokens = 1 + self.image.sequence_length
        return f"{self.depth} x {self.width}, {tokens} tokens, batch {self.batch}, dropout {self.dropout:g}"

    def encoder(self) -> Transformer:
        return Transformer((self.image,), width=self.width, depth=self.depth, dropout=self.dropout).train()


PAPER = Sizes()


def of_gemm_rate(
    folder: Path,
    *,
    sizes: Sizes = PAPER,
    half: bool = False,
    compiled: bool = False,
    square: int = SQUARE,
    repeats: int = 3,
    device: str = "cpu",
) -> Line:
    """Measure a step of RQ; the ratio is its share of the measured rate of matrix products in the same precision.
    half: bfloat16 autocast."""
    kind = "bfloat16" if half else "float32"
    how = "one graph" + (", CUDA graphs" if device == "cuda" else "") if compiled else "eager"
    what = f"step of RQ (two views, loss, gradients, AdamW) on {device}, {sizes}, {kind}, {how}"
    baseline = (
        f"the time of the step's multiplications at the rate of a product of two {square} x {square} matrices in "
        f"{kind}, so that the ratio is the step's share of that rate"
    )
    if half and device == "cpu" and not half_precision_cpu():
        return Line(what=what, baseline=baseline, skipped="this processor has neither avx512_bf16 nor amx_bf16")
    method = build(sizes.encoder()).to(device)
    matrix = torch.randn(square, square, device=device, dtype=torch.bfloat16 if half else torch.float32)
    run = training(method, CompiledLoss(method, cuda_graphs=device == "cuda") if compiled else method.loss, sizes, half)
    ours, product = interleaved(run, lambda: matrix @ matrix, repeats=repeats, device=device)
    theirs = product.scaled(operations(sizes) / (2 * square**3))
    target = Target("ratio", SHARE[half]) if device == "cpu" else None
    return Line(what=what, baseline=baseline, ours=ours, theirs=theirs, target=target)


def of_dabs(folder: Path, *, sizes: Sizes = PAPER, repeats: int = 3, device: str = "cpu") -> Line:
    """Measure a step of e-Mix in float32, ours and that of DABS."""
    what = f"step of e-Mix on {device}, {sizes}, float32, eager"
    baseline = (
        "the step of DABS from its description: attention as two einsums around an explicit softmax, mixed and plain "
        "examples encoded one after the other, AdamW without fusion, the loss read on the host in every step"
    )
    ours = build(sizes.encoder(), "emix").to(device)
    theirs = DABSEMix(Options(), with_einsum(ours.encoder), ours.inputs)
    runs = [training(one, one.loss, sizes, half=False) for one in (ours, theirs)]
    spreads = interleaved(*runs, repeats=repeats, device=device)
    target = Target("ratio", 1.15) if device == "cpu" else None
    return Line(what=what, baseline=baseline, ours=spreads[0], theirs=spreads[1], target=target)


class DABSEMix(EMix):
    """e-Mix as DABS computes it, with our weighting."""

    def loss_of(self, batch: Batch, drawn: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        u, partner = drawn
        tokens, share = batch.tokens, torch.maximum(u, 1 - u)
        own = share[:, None, None]
        mixed = own * tokens + (1 - own) * tokens.detach()[partner]
        z_mix, z = (self.encoder.project(self.encoder.encode(one).pooled) for one in (mixed, tokens))
        loss = emix_loss(z_mix, z, share, partner, self.options.temperature, self.options.weighting)
        loss.item()
        return loss, {}

    def optimizer(self, parameters: list[torch.nn.Parameter], budget: PretrainOptions) -> torch.optim.Optimizer:  # type: ignore[override]
        return torch.optim.AdamW(parameters, lr=budget.lr, weight_decay=budget.weight_decay, foreach=False)


def build(encoder: Transformer, name: str = "rq") -> Method:
    spec = registry.method(name)
    return build_method(spec, spec.options(), encoder)


def training(
    method: Method, loss: Callable[..., tuple[Tensor, object]], sizes: Sizes, half: bool
) -> Callable[[], None]:
    """Return what runs one step on a batch of random pictures."""
    device = method.encoder.device
    parameters = [one for one in method.parameters() if one.requires_grad]
    optimizer = method.optimizer(parameters, PretrainOptions())
    batch = Batch((torch.rand(sizes.batch, *sizes.image.shape, device=device),), method.encoder)
    generator = torch.Generator(device)

    def run() -> None:
        generator.manual_seed(0)
        given = Batch(batch.inputs, method.encoder)  # its tokens are computed anew
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            value, _ = loss(given, generator)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()

    return run


def operations(sizes: Sizes) -> int:
    """Count the multiplications and additions of a step's matrix products, on tensors without data."""
    with torch.device("meta"):
        method = build(with_einsum(sizes.encoder()))  # torch does not count those of fused attention on a CPU
        inputs = (torch.zeros(sizes.batch, *sizes.image.shape),)
    with FlopCounterMode(display=False) as counter:
        method.loss(Batch(inputs, method.encoder), torch.Generator())[0].backward()
    return int(counter.get_total_flops())
