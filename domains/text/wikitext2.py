"""WikiText-2: articles of Wikipedia, as WikiText-103, with a fiftieth of its training articles."""

from __future__ import annotations

from functools import partial

from dabs_rq.domain import Pretraining
from dabs_rq.domains.text import wikitext103
from dabs_rq.spec import Archive, Source

CONFIG = "wikitext-2-v1"
REVISION = "b08601e04326c79dfdd32d625aee71d232d685c3"  # of the hub's dataset: its files never change
BYTES = {"train": 6_068_114, "validation": 617_738}  # as the hub's index states them; it publishes no checksum of them


def _file(split: str) -> Archive:
    path = f"datasets/Salesforce/wikitext/resolve/{REVISION}/{CONFIG}/{split}-00000-of-00001.parquet"
    return Archive(
        f"https://huggingface.co/{path}", size=BYTES[split], into=CONFIG, mirrors=(f"https://hf-mirror.com/{path}",)
    )


SOURCE = Source(
    name="wikitext2",
    title="WikiText-2",
    url="https://huggingface.co/datasets/Salesforce/wikitext",
    folder="text/wikitext",
    layout=wikitext103.layout(CONFIG),
    needs=tuple(f"{CONFIG}/{split}*.parquet" for split in BYTES),
    licence="CC BY-SA 3.0 and GFDL",
    size="7 MB",
    citation=wikitext103.SOURCE.citation,
    hub="Salesforce/wikitext",
    archives=tuple(_file(split) for split in BYTES),
)

WIKITEXT2 = Pretraining(source=SOURCE, load=partial(wikitext103.load, source=SOURCE, config=CONFIG))
