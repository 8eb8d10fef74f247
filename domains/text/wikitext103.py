"""WikiText-103: good and featured articles of Wikipedia, tokenized, rare words as <unk>."""

from __future__ import annotations

from dabs_rq.data.examples import Examples
from dabs_rq.data.readers import text
from dabs_rq.data.requests import Request
from dabs_rq.domain import Pretraining
from dabs_rq.spec import Source

CONFIG = "wikitext-103-v1"  # not -raw: hyphens are @-@, rare words <unk>


def layout(config: str) -> str:
    return f"""
{config}/train.parquet, validation.parquet      column text, one line of an article per row, "" for a blank line
(or in parts, as on the hub: train-00000-of-00002.parquet ...)
"""


SOURCE = Source(
    name="wikitext103",
    title="WikiText-103",
    url="https://huggingface.co/datasets/Salesforce/wikitext",
    folder="text/wikitext",
    layout=layout(CONFIG),
    needs=tuple(f"{CONFIG}/{split}*.parquet" for split in ("train", "validation")),
    licence="CC BY-SA 3.0 and GFDL",
    size="0.3 GB",
    citation="Merity et al. 2017, Pointer Sentinel Mixture Models, ICLR, arXiv:1609.07843",
    hub="Salesforce/wikitext",
)


def load(request: Request, source: Source = SOURCE, config: str = CONFIG) -> Examples:
    """Load every line that is not blank as an example: a paragraph or a heading. There are no labels."""
    location = text.find_table(request, source, config, request.split)
    rows = text.rows_with_text(location, ("text",))
    return Examples(
        ids=text.row_ids(request.split, rows),
        inputs=(text.from_table(location, ("text",), rows, text.tokens_input(request), request.root),),
    )


WIKITEXT103 = Pretraining(source=SOURCE, load=load, sizes={"train": 1_165_029, "validation": 2_461})
