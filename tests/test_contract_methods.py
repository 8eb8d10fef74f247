"""What every method and encoder has to keep, looped over the registry: a new one is tested by being there.

Those in folders of your own too: `DABS_RQ_PATH=examples python -m pytest tests/test_contract_methods.py -k vicreg`.
Each failure says in a sentence what the method or encoder must do.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from dabs_rq import checkpoint, registry
from dabs_rq.encoders.base import Encoder, TokenEncoder
from dabs_rq.encoders.transformer import Transformer
from dabs_rq.errors import OptionError
from dabs_rq.methods.base import Batch, Method, build_method
from dabs_rq.spec import Grid, Input, Series, Tabular, Tokens

METHODS = registry.method_names()
ENCODERS = [name for name in registry.encoder_names() if not registry.encoder(name).pretrained]
TRAINING = [name for name in METHODS if registry.method(name).trains]
DOMAINS = registry.domain_names()
B = 6

each_method = pytest.mark.parametrize("name", METHODS)
each_training_method = pytest.mark.parametrize("name", TRAINING)
each_encoder = pytest.mark.parametrize("name", ENCODERS)
each_domain = pytest.mark.parametrize("domain", DOMAINS)


def small(inputs: tuple[Input, ...]) -> tuple[Input, ...]:
    """The inputs with vocabularies that cost nothing."""
    return tuple(dataclasses.replace(one, vocabulary=50) if isinstance(one, Tokens) else one for one in inputs)


def inputs_of(domain: str) -> tuple[Input, ...]:
    return small(registry.domain(domain).inputs["mini"])


def padded(inputs: tuple[Input, ...]) -> bool:
    return any(isinstance(one, Tokens) and one.pad is not None for one in inputs)


PADDED = [domain for domain in DOMAINS if padded(inputs_of(domain))]


def raw(inputs: tuple[Input, ...], rows: int = B, seed: int = 1) -> tuple[Tensor, ...]:
    """A batch as the loop gives it to a method. Texts have different lengths; the last quarter of each is padding in
    every example."""
    generator = torch.Generator().manual_seed(seed)
    batch = []
    for spec in inputs:
        if not isinstance(spec, Tokens):
            batch.append(torch.rand((rows, *spec.shape), generator=generator))
            continue
        ids = torch.randint(1, spec.vocabulary, (rows, spec.length), generator=generator)
        if spec.pad is not None:
            ids[ids == spec.pad] = (spec.pad + 1) % spec.vocabulary
            longest = spec.length * 3 // 4
            lengths = torch.randint(2, longest + 1, (rows, 1), generator=generator)
            lengths[0] = longest
            ids = torch.where(torch.arange(spec.length) < lengths, ids, spec.pad)
        batch.append(ids)
    return tuple(batch)


def transformer(inputs: tuple[Input, ...]) -> Transformer:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"width": 16, "depth": 2, "heads": 2, "head_width": 8, "mlp_width": 16, "out_width": 8}
    return Transformer(inputs, **sizes, dropout=0.0)


def method_of(name: str, inputs: tuple[Input, ...]) -> Method:
    """The method around a small transformer, or a small ResNet if it refuses that, with its default options but narrow
    layers. Skips the test of a method that refuses the inputs."""
    spec = registry.method(name)
    if refused := spec.refused(inputs):
        pytest.skip(f"method {name!r} takes {spec.serves} only, not {', '.join(refused)}")
    encoder = transformer(inputs)
    assert isinstance(encoder, spec.encoder), f"method {name!r} must declare a kind of encoder that has one in here"
    narrow = {key: 8 for key in ("hidden", "dimension") if hasattr(spec.options(), key)}
    options = dataclasses.replace(spec.options(), **narrow)
    try:
        return build_method(spec, options, encoder).eval()
    except OptionError:
        with skipped_if_refused():
            return build_method(spec, options, resnet(inputs)).eval()


def resnet(inputs: tuple[Input, ...]) -> Encoder:
    torch.manual_seed(0)
    spec = registry.encoder("resnet18")
    return spec.build(spec.options(stem="small", width=8), inputs, True)


@contextlib.contextmanager
def skipped_if_refused() -> Iterator[None]:
    """Skip the test of an encoder or method that says it does not take these inputs."""
    try:
        yield
    except OptionError as error:
        pytest.skip(str(error))


def batch_of(method: Method, inputs: tuple[Tensor, ...]) -> Batch:
    targets = torch.zeros(len(inputs[0])) if method.reads_targets else None
    return Batch(inputs, method.encoder, targets=targets)


def draws() -> torch.Generator:
    return torch.Generator().manual_seed(3)


# ---- declarations --------------------------------------------------------------------------------------------------


@each_method
def test_options_of_a_method_are_frozen_and_typed(name: str) -> None:
    spec = registry.method(name)
    check_options(f"method {name!r}", spec.options)
    note = spec.note_for(spec.options())
    assert note is None or (isinstance(note, str) and note.strip()), (
        f"method {name!r}: note must be a text, a function of the options that gives one, or None; it gave {note!r}"
    )
    assert spec.title.strip() and isinstance(spec.order, int), f"method {name!r} must have a title and a whole order"


@each_encoder
def test_options_of_an_encoder_are_frozen_and_typed(name: str) -> None:
    check_options(f"encoder {name!r}", registry.encoder(name).options)


def check_options(who: str, options: type) -> None:
    from pydantic import TypeAdapter

    assert dataclasses.is_dataclass(options) and options.__dataclass_params__.frozen, (  # type: ignore[attr-defined]
        f"{who}: its options must be a dataclass that is frozen: @dataclass(frozen=True)"
    )
    hints, adapter = get_type_hints(options), TypeAdapter(options)
    for one in dataclasses.fields(options):
        assert one.default is not dataclasses.MISSING, (
            f"{who}: option {one.name!r} must have a default, or every command has to give it"
        )
        assert hints[one.name] is not Any, f"{who}: the type of option {one.name!r} must say what is legal"
        for value in one.metadata.get("values", ()):
            given = dataclasses.asdict(options()) | {one.name: value}
            assert getattr(adapter.validate_python(given), one.name) == value, (
                f"{who}: {value!r}, a value of option {one.name!r} to compare, must be legal by its type"
            )
    adapter.validate_python(dataclasses.asdict(options()))


# ---- encoders ------------------------------------------------------------------------------------------------------


def encoder_of(name: str, inputs: tuple[Input, ...]) -> Encoder:
    spec = registry.encoder(name)
    sizes = {"width": 16, "depth": 2, "heads": 2, "head_width": 8, "mlp_width": 16, "out_width": 8}
    fields = {one.name for one in dataclasses.fields(spec.options)}
    torch.manual_seed(0)
    options = spec.options(**{key: value for key, value in sizes.items() if key in fields})
    with skipped_if_refused():
        return spec.build(options, inputs, True)


@each_domain
@each_encoder
def test_an_encoder_gives_a_feature_per_example_and_comes_back_from_its_checkpoint(
    name: str, domain: str, tmp_path: Path
) -> None:
    inputs = inputs_of(domain)
    encoder = encoder_of(name, inputs).eval()
    assert isinstance(encoder, Encoder), f"encoder {name!r}: build must return a dabs_rq.encoders.base.Encoder"
    assert encoder.inputs == inputs, f"encoder {name!r}: `inputs` must be the tuple of inputs that build was given"
    batch = raw(inputs)
    with torch.no_grad():
        features, again = encoder.features(batch), encoder.features(batch)
        alone = torch.cat([encoder.features(tuple(one[i : i + 1] for one in batch)) for i in range(B)])
    assert features.shape == (B, encoder.width) and features.isfinite().all(), (
        f"encoder {name!r}: features must be finite, of shape (B, width) = ({B}, {encoder.width}); "
        f"got {tuple(features.shape)}"
    )
    assert torch.equal(features, again), f"encoder {name!r} must give the same features twice in eval mode"
    assert torch.allclose(features, alone, atol=1e-4), (
        f"encoder {name!r}: the feature of an example must not depend on the other examples of its batch in eval mode"
    )
    text = json.dumps(encoder.architecture)
    assert encoder.architecture and json.loads(text) == encoder.architecture, (
        f"encoder {name!r}: architecture must be a dict of JSON values (no tuples, no tensors) that is not empty"
    )
    torch.manual_seed(0)
    spec = registry.encoder(name)
    options = dataclasses.replace(spec.options(), **({"width": 16} if hasattr(spec.options(), "width") else {}))
    built = spec.build(options, inputs, True)
    checkpoint.save(tmp_path / "encoder.safetensors", built, name, options, {}, {})
    back = checkpoint.load_encoder(tmp_path / "encoder.safetensors")
    assert checkpoint.weights_hash(back) == checkpoint.weights_hash(built), (
        f"encoder {name!r}: everything that it learns must lie in parameters or buffers, or it is lost on disk"
    )


def embedded(name: str, domain: str) -> tuple[TokenEncoder, tuple[Tensor, ...], Tensor, Tensor | None]:
    """An encoder in eval mode, a batch, its token embeddings and mask. Skips the test of an encoder without tokens."""
    encoder = encoder_of(name, inputs_of(domain)).eval()
    if not isinstance(encoder, TokenEncoder):
        pytest.skip("it has features only")
    batch = raw(encoder.inputs)
    return encoder, batch, encoder.embed(batch), encoder.mask(batch)


@each_domain
@each_encoder
def test_a_token_encoder_keeps_to_its_shapes(name: str, domain: str) -> None:
    encoder, batch, tokens, mask = embedded(name, domain)
    sequence = sum(spec.sequence_length for spec in encoder.inputs)
    assert tokens.shape[:2] == (B, sequence), (
        f"encoder {name!r}: embed must give a token per patch, segment or id: (B, {sequence}, D); got "
        f"{tuple(tokens.shape)}"
    )
    assert mask is None or (mask.shape == (B, sequence) and mask.dtype == torch.bool), (
        f"encoder {name!r}: mask must be bool (B, {sequence}), True for real tokens, or None"
    )
    assert (mask is not None) == padded(encoder.inputs), f"encoder {name!r} must mask padding where there is padding"
    encoded = encoder.encode(tokens, mask)
    assert torch.equal(encoded.pooled, encoder.features(batch)), (
        f"encoder {name!r}: features must be encode(embed(inputs), mask(inputs)).pooled"
    )
    assert encoded.tokens.shape[:2] == (B, 1 + sequence) and encoder.project(encoded.pooled).shape[0] == B
    kept = torch.arange(sequence).flip(0)[: max(1, sequence // 2)].expand(B, -1)
    assert encoder.encode(tokens, mask, kept).tokens.shape[1] == 1 + kept.shape[1], (
        f"encoder {name!r}: encode with kept=(B, K) must encode the class token and those K tokens only"
    )
    same = encoder.encode(tokens, mask, torch.arange(sequence).expand(B, -1)).pooled
    assert torch.allclose(same, encoded.pooled, atol=1e-5), (
        f"encoder {name!r}: encode with all positions kept must be encode without `kept`"
    )


# ---- methods -------------------------------------------------------------------------------------------------------


@each_domain
@each_training_method
def test_a_method_gives_a_loss_that_only_its_generator_and_batch_decide(name: str, domain: str) -> None:
    inputs = inputs_of(domain)
    found = []
    for noise in (0, 1):
        method = method_of(name, inputs)
        torch.manual_seed(noise)
        generator = draws()
        changed = method.augment(raw(inputs), generator)
        for spec, one in zip(inputs, changed, strict=True):
            assert one.shape == (B, *spec.shape), (
                f"method {name!r}: augment must keep shapes; input {spec.name!r} is {tuple(one.shape)} after it"
            )
        loss, logs = method.loss(batch_of(method, changed), generator)
        assert loss.ndim == 0 and loss.isfinite() and loss.requires_grad, (
            f"method {name!r}: loss must be a finite scalar with gradient; got {loss}"
        )
        assert all(one.ndim == 0 and not one.requires_grad for one in logs.values()), (
            f"method {name!r}: what it logs must be scalars without gradient"
        )
        loss.backward()
        found.append(loss.detach())
        for key, parameter in method.named_parameters():
            got = parameter.grad is not None and bool((parameter.grad != 0).any())
            assert got == parameter.requires_grad, (
                f"method {name!r}: parameter {key} {'gets gradient and is frozen' if got else 'gets no gradient'}; "
                "freeze what takes no part (requires_grad_(False)), and let trains_embeddings tell the truth"
            )
    assert torch.equal(*found), (
        f"method {name!r} must draw every random number from `generator`, or a resumed training has other losses"
    )


# On a GPU the host waits for these: it reads a value, or copies a Python number or list (torch.tensor).
WAITS = {"_local_scalar_dense", "nonzero", "equal", "masked_select", "is_nonzero", "lift_fresh"}


class Waits(TorchDispatchMode):
    """Notes the operations for which the host would wait, and the line that asked for each."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func._schema.name.removeprefix("aten::") in WAITS:
            self.found.append("".join(traceback.format_stack(limit=6)[:-1]))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("domain", ["images", "vqa"])
@each_training_method
def test_the_host_waits_for_nothing_that_a_loss_computes(name: str, domain: str) -> None:
    inputs = inputs_of(domain)
    method, batch, generator = method_of(name, inputs), raw(inputs), draws()
    with Waits() as waits:
        method.loss(batch_of(method, batch), generator)[0].backward()
    assert not waits.found, f"method {name!r} makes every step wait for the device:\n" + "\n".join(waits.found)


@each_training_method
def test_a_method_brings_what_training_needs(name: str) -> None:
    method = method_of(name, inputs_of("sensor"))
    trained = [one for one in method.parameters() if one.requires_grad]
    budget = Budget()
    optimizer = method.optimizer(trained, budget)
    held = {id(one) for group in optimizer.param_groups for one in group["params"]}
    assert held == {id(one) for one in trained}, (
        f"method {name!r}: optimizer must hold all parameters that it is given, each once"
    )
    schedule = method.schedule(optimizer, budget.steps)
    assert schedule is None or isinstance(schedule, torch.optim.lr_scheduler.LRScheduler), (
        f"method {name!r}: schedule must give a torch LRScheduler or None; got {schedule!r}"
    )
    before = copy.deepcopy(method.state_dict())
    method.after_step(1)
    assert method.state_dict().keys() == before.keys(), f"method {name!r}: after_step must not add or remove tensors"
    own = method.own_state()
    assert not any(key.startswith("encoder.") for key in own)


@dataclasses.dataclass
class Budget:
    lr: float = 1e-3
    weight_decay: float = 1e-4
    steps: int = 10
    batch_size: int | None = None


# ---- padding -------------------------------------------------------------------------------------------------------


def with_other_padding(tokens: Tensor, where: Tensor) -> Tensor:
    other = 5 * torch.randn(tokens.shape, generator=torch.Generator().manual_seed(9))
    return torch.where(where.unsqueeze(2), other, tokens)


@pytest.mark.parametrize("domain", PADDED)
@each_encoder
def test_padding_changes_no_feature(name: str, domain: str) -> None:
    encoder, _, tokens, mask = embedded(name, domain)
    assert mask is not None and not mask.all()
    plain = encoder.encode(tokens, mask).pooled
    other = encoder.encode(with_other_padding(tokens, ~mask), mask).pooled
    assert torch.allclose(other, plain, atol=1e-5), (
        f"encoder {name!r}: tokens that the mask leaves out must not change a feature; they take part in attention or "
        "pooling"
    )
    without = mask.any(0).nonzero()[:, 0].expand(B, -1)  # every position that is real in some example
    shorter = encoder.encode(tokens, mask, without).pooled
    assert without.shape[1] < tokens.shape[1] and torch.allclose(shorter, plain, atol=1e-5), (
        f"encoder {name!r}: padding that every example has must not change a feature by its length"
    )


@pytest.mark.parametrize("domain", PADDED)
@each_training_method
def test_padding_changes_no_loss(name: str, domain: str) -> None:
    """Padding that every example has: what is padding in one example only may be mixed into another (e-Mix)."""
    method = method_of(name, inputs_of(domain))
    values = []
    for change in (False, True):
        batch = batch_of(method, raw(method.inputs))
        mask = batch.mask
        assert mask is not None
        nowhere = ~mask.any(0).expand_as(mask)
        assert nowhere.any()
        if change:
            batch._tokens = with_other_padding(batch.tokens, nowhere)
        values.append(method.loss(batch, draws())[0].detach())
    assert torch.allclose(*values, atol=1e-5), (
        f"method {name!r}: tokens that are padding must not change the loss; give batch.mask to encode, and leave "
        "padding out of ranges, means and counts"
    )


@pytest.mark.parametrize("domain", PADDED)
def test_padding_of_one_example_changes_no_view_of_rq(domain: str) -> None:
    method = method_of("rq", inputs_of(domain))
    values = []
    for change in (False, True):
        batch = batch_of(method, raw(method.inputs))
        assert batch.mask is not None
        if change:
            batch._tokens = with_other_padding(batch.tokens, ~batch.mask)
        values.append(method.loss(batch, draws())[0].detach())
    torch.testing.assert_close(*values, atol=1e-5, rtol=1e-5)


def test_the_kinds_of_inputs_are_all_in_here() -> None:
    kinds = {type(one) for domain in DOMAINS for one in inputs_of(domain)}
    assert kinds == {Grid, Series, Tabular, Tokens} and PADDED
