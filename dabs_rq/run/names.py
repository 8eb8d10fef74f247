"""Checks the names that a run is given, and decides what a network that is scored is called."""

from __future__ import annotations

import dataclasses
import re

from dabs_rq import registry
from dabs_rq.errors import OptionError
from dabs_rq.run.options import Names

_COLUMN = re.compile(r"(?!checkpoint-)[^\W_]([\w .()-]{0,62}[\w.()-])?")  # also the name of a folder
_SUFFIXES = ("_std", "_interval", "_se", "_seeds", "_published", "_difference")  # of further columns of a table
_OTHER_COLUMNS = ("domain", "task", "row", "metric", "n_examples", "majority")


def check_names(names: Names) -> None:
    if names.method is not None and not names.method:
        raise OptionError(f"method is empty; known: {', '.join(registry.method_names())}")
    for key in ("domain", "tasks", "encoders"):
        if getattr(names, key) == ():
            raise OptionError(f"{key} is empty; leave it out to choose all")
    if len(set(names.seeds)) < len(names.seeds):
        raise OptionError(f"seeds repeats a seed: {', '.join(map(str, names.seeds))}")


def with_network(names: Names) -> Names:
    """Return the names of a run that scores a network, which has no method; those of another run unchanged.

    An encoder file that brings its weights is scored under its own name. Raises OptionError for a name that a column
    cannot have.
    """
    name = names.name
    if name is None and names.checkpoint is None and registry.encoder(names.encoder).pretrained:
        name = names.encoder
    if name is not None:
        of_encoder_file = name in registry.encoder_names()
        if of_encoder_file and (names.checkpoint is not None or names.encoder != name):
            raise OptionError(
                f"name={name} is the name of an encoder file, which has a column of its own: give another"
            )
        if name in registry.method_names():
            raise OptionError(f"name={name} is the name of a method, which has a column of its own: give another")
        if not _COLUMN.fullmatch(name) or name.lower().endswith(_SUFFIXES) or name in _OTHER_COLUMNS:
            raise OptionError(
                f"name={name!r} cannot be the name of a column: expected up to 64 letters, digits, spaces and . _ ( ) "
                f"- that begin with a letter or a digit and do not end in {', '.join(_SUFFIXES)}"
            )
    if name is None and names.checkpoint is None:
        return names
    return dataclasses.replace(names, name=name, method=("none",))
