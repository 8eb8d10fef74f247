"""`python -m dabs_rq data list|fetch|verify [source ...]`: lists, downloads and checks sources under the data root."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from dabs_rq import registry
from dabs_rq.data.examples import Examples
from dabs_rq.data.readers.tokenizer import describe_place
from dabs_rq.data.requests import Request
from dabs_rq.data.streams import Stream
from dabs_rq.domain import Domain, Pretraining, Task
from dabs_rq.errors import DataError, DataWarning, MissingDataError, OptionError, unknown
from dabs_rq.run import Run, compose
from dabs_rq.run import words as command_line
from dabs_rq.run.options import Names
from dabs_rq.run.splits import Splits
from dabs_rq.sources.download import difference, megabytes, part_of, size_of
from dabs_rq.sources.fetch import accepted_by, download_path, fetch
from dabs_rq.spec import Source

ACTIONS = ("list", "fetch", "verify")


class Use(NamedTuple):
    """One use of a source: a domain's pretraining, or one of its tasks."""

    domain: Domain
    declared: Pretraining | Task

    @property
    def name(self) -> str:
        return self.declared.name if isinstance(self.declared, Task) else f"{self.domain.name} pretraining"


def data(words: Sequence[str]) -> int:
    """Run the command in `words`: an action, names of sources and options (key=value).

    Returns the exit code: 1 if a source is missing or wrong, or needs manual steps.
    """
    arguments = [word for word in words if "=" not in word]
    given = command_line.parse(word for word in words if "=" in word)
    scale = given.get("scale", Names.scale)
    sources = compose.sources_of(scale) if isinstance(scale, str) else None  # `compose` refuses another type
    if given.get("data") is None and isinstance(scale, str):
        given.pop("scale", None)  # a scale that needs real data would refuse, but listing sources needs none
    run = Run.compose(given)
    action = arguments[0] if arguments else "list"
    if action not in ACTIONS:
        raise OptionError(unknown("action", action, ACTIONS))
    uses = _uses(run, sources)
    named = [source for name in arguments[1:] for source in _named(name, uses)]
    chosen = {name: uses[name] for name in dict.fromkeys(named or uses)}
    if action == "list":
        print("\n".join(_listing(run, chosen)))
        return 0
    below_root = any(use.domain.installed is None for source_uses in chosen.values() for use in source_uses)
    if below_root and run.options.data is None:
        raise OptionError(f"data {action} needs real data: give data=/root (make: DATA=/root)")
    if action == "fetch" and not arguments[1:] and sources is not None:
        print(_total(chosen))
    elif action == "fetch" and not arguments[1:]:
        fetched = [name for name, source_uses in uses.items() if source_uses[0].domain.installed is None]
        raise OptionError(f"say which sources to fetch: {', '.join(fetched)}")
    everything = action == "verify" and not arguments[1:]
    act = _fetch if action == "fetch" else _verify
    successes = [_try(name, act, run, source_uses, everything) for name, source_uses in chosen.items()]
    return 0 if all(successes) else 1


def _named(name: str, uses: Mapping[str, Sequence[Use]]) -> list[str]:
    """Return the sources that a word names: itself, or, as `glue`, all that share the folder of this name.

    Raises OptionError for an unknown name."""
    if name in uses:
        return [name]
    shared = [source for source, (use, *_) in uses.items() if name in Path(use.declared.source.folder).parts[1:]]
    if not shared:
        raise OptionError(unknown("source", name, uses))
    return shared


def _uses(run: Run, sources: str | None) -> dict[str, list[Use]]:
    """Return every source by name, in the order of the domains, with its uses. sources: the set of sources."""
    uses_by_source: dict[str, list[Use]] = {}
    names = run.options.domains or [domain.name for domain in registry.domains(sources)]
    for domain in registry.chosen_domains(names, sources):
        declarations: tuple[Pretraining | Task, ...] = (domain.pretraining, *domain.tasks)
        for declared in declarations:
            source_uses = uses_by_source.setdefault(declared.source.name, [])
            if source_uses and source_uses[0].declared.source != declared.source:
                raise OptionError(f"two sources are called {declared.source.name!r}: rename one of them")
            source_uses.append(Use(domain, declared))
    return uses_by_source


def _try(name: str, act: Callable[[Run, list[Use], bool], bool], run: Run, uses: list[Use], everything: bool) -> bool:
    """Run `act` and return whether it succeeded. An error is printed and does not stop the other sources."""
    run = run.replace(domain=uses[0].domain.name)  # not every domain has the same data root
    try:
        return act(run, uses, everything)
    except DataError as error:
        print(f"error: {name}: {error}", file=sys.stderr)
    except OSError as error:  # such as a full disk or a read-only folder
        print(f"error: {name}: {error}. What was downloaded is kept; fix this and run again.", file=sys.stderr)
    return False


# ---- list ----------------------------------------------------------------------------------------------------------


def _listing(run: Run, chosen: dict[str, list[Use]]) -> Iterator[str]:
    root = run.places.data
    for name, uses in chosen.items():
        source = uses[0].declared.source
        needed_by = f"(for {', '.join(use.name for use in uses)})"
        if (installed := uses[0].domain.installed) is not None:
            yield f"{name}: {source.title}, {source.size} {needed_by}"
            yield f"    installed with: {installed.about}"
            yield f"    licence: {source.licence}"
            continue
        state = "" if root is None else f" {source.state(root)}:"
        if root is not None and source.hub and source.state(root) == "missing":
            state = " not under the root, and not needed there:"
        yield f"{name}:{state} {source.title}, {source.size} {needed_by}"
        yield f"    goes to: {Path(root or 'data root') / source.folder}"
        if root is not None and source.state(root) == "partial":
            yield f"    missing: {', '.join(map(str, source.missing(root)))}"
        yield f"    licence: {source.licence}; registration: {source.registration or 'none needed'}"
        yield f"    how: {_how(source)}"
        for archive in source.archives:
            size = megabytes(archive.size) if archive.size else "size not published"
            yield f"    file: {archive.name}, {size}, accepted by {accepted_by(archive)}"
            yield from (f"        {address}" for address in archive.addresses)
    domains = {use.domain.name: use.domain for uses in chosen.values() for use in uses}
    needed: dict[str, list[str]] = {}
    for domain in domains.values():
        for tokenizer in run.tokenizers_of(domain):
            needed.setdefault(tokenizer, []).append(domain.name)
    for tokenizer, names in needed.items():
        yield f"tokenizer {tokenizer} (for {', '.join(names)}): {describe_place(tokenizer, root)}"
    if root is None:
        yield "data=/root (make: DATA=/root) adds what is present."
        yield "`python -m dabs_rq data fetch <source...> data=/root` downloads (make: ACTION=fetch SOURCES= DATA=)."


def _how(source: Source) -> str:
    if source.hub:
        fetched = f", or `data fetch {source.name}` downloads it" if source.archives else ""
        return f"loaded from the hub ({source.hub}) when first used{fetched}"
    names = ", ".join(archive.name for archive in source.archives)
    if source.registration:
        return f"by hand, `data fetch {source.name}` prints the steps" + (f" and downloads {names}" if names else "")
    return f"`data fetch {source.name}` downloads {names}" if names else f"by hand, from {source.url}"


def _total(chosen: dict[str, list[Use]]) -> str:
    """Say how much a fetch of all chosen sources downloads."""
    archives = [archive for uses in chosen.values() for archive in uses[0].declared.source.archives]
    unknown_sizes = [archive.name for archive in archives if not archive.size]
    text = f"up to {len(archives)} files, {megabytes(sum(archive.size or 0 for archive in archives))}"
    return text + (f", and the unpublished sizes of {', '.join(unknown_sizes)}" if unknown_sizes else "")


# ---- fetch and verify ----------------------------------------------------------------------------------------------


def _fetch(run: Run, uses: list[Use], _: bool) -> bool:
    source = uses[0].declared.source
    if (installed := uses[0].domain.installed) is not None:
        print(f"{source.name}: nothing to fetch, installed with {installed.about}")
        return True
    if not fetch(source, run.root, run.options.network):
        return False
    # Files that a user put there have not been checked.
    return _verify(run, uses, False) if source.registration or not (source.archives or source.hub) else True


def _verify(run: Run, uses: list[Use], everything: bool) -> bool:
    """Print the state of a source and the numbers of examples that its readers find.

    Returns whether all is correct. A missing source counts as correct if `everything` is verified.
    """
    source, root = uses[0].declared.source, run.root
    state, correct = source.state(root), True
    for archive in source.archives:
        file = download_path(source, archive, root)
        if size := size_of(part_of(file)):
            print(f"{source.name}: {part_of(file)} is complete up to byte {size:,}; fetch again to resume")
        if file.exists():
            problem = difference(archive, file)
            known = archive.md5 or archive.sha256
            print(f"{source.name}: {file}: {problem or ('checksum right' if known else 'no checksum is published')}")
            correct = correct and problem is None
    if state == "missing" and source.hub:
        print(f"{source.name}: not under the root, loaded from the hub ({source.hub}) when first used")
        return correct
    if state != "present":
        missing = ", ".join(map(str, source.missing(root)))
        print(f"{source.name}: {state}, expected {missing}")
        return correct and everything and state == "missing"
    for use in uses:
        for ok, text in _counts(run, use):
            print(f"{source.name}: {use.name}: {text}")
            correct = correct and ok
    return correct


def _counts(run: Run, use: Use) -> Iterator[tuple[bool, str]]:
    """Yield (whether it is correct, text) for every split: the counts that readers find and the declared ones."""
    declared = use.declared
    of_task = isinstance(declared, Task)
    extra = declared.extra_splits if isinstance(declared, Task) else ("validation",)
    sizes: list[int] = []
    for split in ("train", "test", *extra) if of_task else ("train", *extra):
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always", DataWarning)
            try:
                size = _count(run, use, split)
            except MissingDataError as error:
                yield split in extra, f"{split}: missing" if split in extra else str(error)
                continue
            except DataError as error:
                yield False, f"{split}: {error}"
                continue
            if split == "test" and sizes and "all" in declared.sizes:
                _request(run, use, split).expect("all examples", declared.sizes["all"], sizes[0] + (size or 0))
        sizes.append(size or 0)
        problems = [str(warning.message) for warning in seen if issubclass(warning.category, DataWarning)]
        yield not problems, f"{split}: {'a stream, not counted' if size is None else f'{size:,} examples'}"
        yield from ((False, f"{split}: {problem}") for problem in problems)


def _count(run: Run, use: Use, split: str) -> int | None:
    """Count the examples of a split; None for a stream. Warns with DataWarning if the declared count differs."""
    request = _request(run, use, split)
    loaded: Examples | Stream = use.declared.load(request)
    if isinstance(loaded, Stream):
        return None
    if split in use.declared.sizes:
        request.expect(f"{split} examples", use.declared.sizes[split], len(loaded))
    return len(loaded)


def _request(run: Run, use: Use, split: str) -> Request:
    """Make a request as a run does, but with the declared inputs, because counting needs no tokenizer."""
    splits = Splits(run.options, use.domain, run.inputs_of(use.domain), run.root, run.places.prepared)
    return splits.request(split)
