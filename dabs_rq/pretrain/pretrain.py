"""Pretraining: trains an encoder with a method on a domain's examples, and writes a checkpoint."""

from __future__ import annotations

import contextlib
import time
import warnings
from functools import partial
from pathlib import Path

import torch

from dabs_rq import checkpoint, registry
from dabs_rq.data.batches import Shuffled, Streamed, training_batches
from dabs_rq.data.examples import Examples
from dabs_rq.encoders.base import Encoder
from dabs_rq.errors import CheckpointError, OptionError, TrainingError
from dabs_rq.files import locked_folder
from dabs_rq.methods.base import Method, build_method
from dabs_rq.pretrain.compiled import OTHERWISE
from dabs_rq.pretrain.kept import STALE_SUFFIX, OtherOptionsError, changes, kept
from dabs_rq.pretrain.launch import launch, report_errors
from dabs_rq.pretrain.precision import precision
from dabs_rq.ranks import Ranks, detect_ranks, rank_count
from dabs_rq.records.provenance import code, now, provenance
from dabs_rq.run import Run, announce
from dabs_rq.run.changes import counted_options, refresh_line
from dabs_rq.run.local import has_local_data


def pretrain(run: Run, seed: int) -> Path:
    """Pretrain the run's encoder with its method and return the checkpoint file.

    A finished checkpoint is kept. An interrupted run resumes from its last resume point, with the same losses as
    without the interruption. For several devices, this function starts one process per device, unless torchrun or srun
    started this process.
    """
    if run.options.scores_network:
        raise OptionError(
            f"encoder={run.options.name} brings its weights, and no method trains it: score it by transfer, or choose "
            "another encoder"
            if run.options.builds_network
            else "name= and checkpoint= are for transfer; pretrain makes checkpoints"
        )
    run = run.of_one_method()
    file, options = run.checkpoint_file(seed), run.options
    trains = registry.method(run.method.name).trains
    devices, nodes = options.trainer.devices, options.trainer.nodes
    if options.trainer.compile == "step" and (count := rank_count(devices, nodes)) > 1:
        raise OptionError(
            f"trainer.compile=step makes one graph of the loss, which the exchange between {count} devices would cut. "
            f"{OTHERWISE}"
        )
    ranks = detect_ranks(devices, nodes, options.trainer.gather_negatives) if trains else Ranks()
    # One of several ranks takes no lock: the process that started the ranks holds it.
    lock = locked_folder(run.checkpoint_folder(seed)) if ranks.count == 1 else contextlib.nullcontext()
    with report_errors(ranks.rank), ranks.silence_other_ranks(), lock:
        if is_finished(run, file):
            print(f"pretrained already: {file}")
            _say_what_changed(run, file, seed)
        elif trains and ranks.count < (count := rank_count(devices, nodes)):
            source_batches(run, seed)  # raises its errors before any process starts
            launch(("pretrain", *run.replace(seeds=[seed]).words), count)
        else:
            _pretrain(run, seed, file, ranks)
    return file


def _pretrain(run: Run, seed: int, file: Path, ranks: Ranks) -> None:
    options = run.options
    encoder, method = build(run, seed)
    announce(run, f"pretrain {run.domain.name} with {run.method.name}, seed {seed}, {_budget(run)}")
    started, computed = time.monotonic(), computed_by(run)  # before training: files may change meanwhile
    examples_key, warnings, trained_in = None, [], None
    if registry.method(run.method.name).trains:
        from dabs_rq.pretrain.loop import train

        batches = source_batches(run, seed)
        examples_key, trained_in = batches.key, precision(options)
        origin = {
            "examples": examples_key,
            "options": counted_options(run),
            "precision": trained_in,
            "code": computed,
            **provenance(),
        }
        warnings = train(run, method, batches, seed, run.checkpoint_folder(seed), ranks, origin)
    if ranks.rank > 0:
        return
    about = {
        **run.identity(seed, of_pretraining=True)._asdict(),
        "made_up_data": run.made_up,
        "examples": examples_key,
        "precision": trained_in,
        "warnings": warnings,
        "options": run.values,
        "seconds": round(time.monotonic() - started, 2),
        "created": now(),
        "code": computed,
        **provenance(),
    }
    checkpoint.save(file, encoder, options.encoder.name, options.encoder.options, method.own_state(), about)
    (file.parent / "resume.ckpt").unlink(missing_ok=True)
    print(f"wrote {file} after {about['seconds']} s", flush=True)


def computed_by(run: Run) -> dict[str, str]:
    """Hash the code that computes the run's checkpoints."""
    return code(
        __name__,
        registry.module_of_domain(run.domain.name),
        registry.module_of_method(run.method.name),
        registry.module_of_encoder(run.options.encoder.name),
    )


def is_finished(run: Run, file: Path) -> bool:
    """Return whether `file` is an intact checkpoint of the run's options. Another one is renamed, so that it is trained
    again."""
    if not file.exists():
        return False
    try:
        kept(run, file)
    except CheckpointError as error:
        stale = isinstance(error, OtherOptionsError)
        aside = file.with_name(file.name + STALE_SUFFIX) if stale else file.with_suffix(".damaged")
        print(f"{error}\n  kept as {aside}; pretraining again", flush=True)
        with contextlib.suppress(FileNotFoundError):  # another rank was faster
            file.replace(aside)
        return False
    return True


def _say_what_changed(run: Run, file: Path, seed: int) -> None:
    """Print what changed since the kept checkpoint `file` was made, and how to make it again."""
    local = has_local_data(run, run.domain.pretraining.source)
    changed = changes(checkpoint.describe(file), computed_by(run), partial(source_key, run) if local else None)
    for change in changed:
        print(f"  changed since: {change}")
    if changed:
        print(f"  to compute it again: {refresh_line(run, [seed])}", flush=True)


def source_key(run: Run) -> str:
    """Return the key of the examples that the run would pretrain on now. Nothing is decoded or prepared."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return source_batches(run.replace({"loader.prepare": "never"}), 0).key


def build(run: Run, seed: int) -> tuple[Encoder, Method]:
    """Build the initial encoder and the method around it. The encoder depends on the seed, not on the method."""
    options = run.options
    chosen = options.encoder
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = registry.encoder(chosen.name).build(chosen.options, run.inputs, options.protocol.padding_mask)
        method = build_method(registry.method(run.method.name), run.method.options, encoder)
    return encoder, method


def source_batches(run: Run, seed: int) -> Shuffled | Streamed:
    """Make the batches of the training split.

    Raises TrainingError for an empty split, OptionError for batches that the devices cannot share equally, and for a
    method that reads targets if the source has none.
    """
    source = run.splits.unlabelled("train", run.whole_crops(run.method, run.domain))
    if isinstance(source, Examples) and len(source) == 0:
        raise TrainingError(f"{run.domain.pretraining.source.title}: the training split is empty")
    if registry.method(run.method.name).reads_targets and getattr(source, "targets", None) is None:
        raise OptionError(
            f"method {run.method.name!r} reads targets, but the pretraining source of domain "
            f"{run.domain.name!r}, {run.domain.pretraining.source.title}, has none: choose a method that reads no "
            "targets, or a domain whose pretraining source has labels"
        )
    batches = training_batches(source, run.batch_size, seed)
    if batches.size % (count := rank_count(run.options.trainer.devices, run.options.trainer.nodes)):
        raise OptionError(
            f"{count} devices share every batch equally, but a batch has {batches.size} examples: "
            f"give a pretrain.batch_size that {count} divides"
        )
    return batches


def _budget(run: Run) -> str:
    if not registry.method(run.method.name).trains:
        return "no steps"
    return f"{run.options.pretrain.steps} steps of {run.batch_size}"
