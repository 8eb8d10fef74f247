"""Declares a source of one's own. It needs a name and a place under the data root."""

from __future__ import annotations

from collections.abc import Sequence

from dabs_rq.spec import Source


def own_source(
    name: str,
    *,
    folder: str | None = None,
    needs: Sequence[str] = (),
    hub: str | None = None,
    url: str = "",
    licence: str = "not stated",
    citation: str = "not stated",
) -> Source:
    """Declare a source whose files lie in `<data root>/<folder>`.

    name: no other source has it. folder: relative to the data root, by default the name. needs: files or folders in it
    without which the source counts as missing; patterns with "*" are allowed. hub: the id of a dataset on the Hugging
    Face hub, for `hub_dataset`. url, licence, citation: what tables and listings say of it.
    """
    place = folder or name
    address = url or (f"https://huggingface.co/datasets/{hub}" if hub else "your own data, which nobody else offers")
    return Source(
        name=name,
        title=name,
        url=address,
        folder=place,
        layout="\n".join(needs) or f"the files of {name}",
        needs=tuple(needs),
        licence=licence,
        size="not stated",
        citation=citation,
        hub=hub,
    )
