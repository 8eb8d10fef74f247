"""The error for an option that does not exist, or that belongs to what was not chosen."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable, Iterator
from typing import Any

from dabs_rq import registry
from dabs_rq.errors import OptionError
from dabs_rq.typed import field_names


def unknown_option(key: str, known: Iterable[str]) -> OptionError:
    """Return the error for an unknown option, with the nearest names and the domain or method that declares it."""
    names = sorted(set(known))
    matches = difflib.get_close_matches(key, names, n=3, cutoff=0.5)
    if "." not in key:  # a group may have been left out
        ends = difflib.get_close_matches(key, sorted({name.rpartition(".")[2] for name in names}), n=1, cutoff=0.75)
        matches = [*(name for name in names if name.rpartition(".")[2] in ends), *matches]
        matches = list(dict.fromkeys(matches))[:3]
    hint = f" Did you mean {matches[0]!r}?" if matches else ""
    hint += f" Or {' or '.join(map(repr, matches[1:]))}?" if matches[1:] else ""
    return OptionError(f"unknown option {key!r}.{_owner(key)}{hint} Add --show-options to a command to print all.")


def _owner(key: str) -> str:
    """Return a hint if a domain, method or encoder that was not chosen declares this option, else ""."""
    group, _, name = key.partition(".")
    for owner, options in _declared(group):
        if name in field_names(options):
            return f" {key} belongs to {owner}, which was not chosen."
    return ""


def _declared(group: str) -> Iterator[tuple[str, type[Any]]]:
    """Yield each domain, method or encoder that declares options of a group, and these options. Files that cannot be
    imported are skipped."""
    domains = ("domain", registry.domain_names(), registry.domain)
    methods = ("method", registry.method_names(), registry.method)
    encoders = ("encoder", registry.encoder_names(), registry.encoder)
    places: dict[str, tuple[Any, ...]] = {"protocol": (domains, methods), "method": (methods,), "encoder": (encoders,)}
    for kind, names, find in places.get(group, ()):
        for name in names:
            with contextlib.suppress(Exception):
                declared = find(name)
                yield f"{kind} {name}", declared.protocol if group == "protocol" else declared.options
