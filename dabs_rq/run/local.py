"""Whether a run's data can be read without writing them first and without the network."""

from __future__ import annotations

from dabs_rq.data.readers.tokenizer import is_local
from dabs_rq.run.run import Run
from dabs_rq.spec import Source


def has_local_data(run: Run, source: Source) -> bool:
    """Return whether `source`, and the tokenizers that the run's domain needs, are on this machine."""
    domain = run.domain
    if domain.installed is not None:
        root = run.places.installed(domain)
    elif run.places.data is None:
        root = run.places.miniature(domain.name)
    else:
        root = run.places.data
    if not root.is_dir() or source.state(root) != "present":
        return False
    return all(is_local(name, root) for name in run.tokenizers_of(domain))
