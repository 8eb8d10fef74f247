"""Docstrings of the libraries that this project installs: real text on every machine, outside the published table."""

from __future__ import annotations

from dabs_rq.domain import Domain, Installed, Pretraining
from dabs_rq.domains.docstrings import tables, tasks
from dabs_rq.spec import Tokens


def _tokens(length: int) -> Tokens:
    return Tokens(name="text", length=length, vocabulary=tables.VOCABULARY, pad=0, tokenizer=tables.TOKENIZER)


DOMAIN = Domain(
    name="docstrings",
    title="Docstrings",
    inputs={"mini": (_tokens(32),), "small": (_tokens(64),), "paper": (_tokens(128),)},
    pretraining=Pretraining(source=tasks.SOURCE, load=tasks.load_paragraphs),
    tasks=tasks.TASKS,
    batch_size=128,
    installed=Installed(
        packages=("numpy", "pandas", "scikit-learn", "scipy", "torch"), write=tables.write, version="docstrings-1"
    ),
    tables=(),
)
