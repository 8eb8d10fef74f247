"""PAWS-X: pairs of sentences with many words in common, paraphrases or not, in seven languages.

The training pairs of the other languages are machine translations of the English pairs, some of them blank; the other
splits are human translations, with "NS" for untranslated sentences. As in DABS, no pair is left out.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dabs_rq.data.examples import Examples
from dabs_rq.data.readers import text
from dabs_rq.data.readers.index import first_duplicate
from dabs_rq.data.readers.text import TableLocation
from dabs_rq.data.requests import Request
from dabs_rq.domain import Task
from dabs_rq.errors import DataError
from dabs_rq.spec import Binary, Source

LANGUAGES = {"en": "EN", "fr": "FR", "es": "ES", "de": "DE", "zh": "ZH", "ja": "JP", "ko": "KO"}  # in table order
TRUE_TEST = "official_test"
HUB_SPLITS = {"train": "train", "test": "validation", TRUE_TEST: "test"}  # DABS reports the validation split
SENTENCES = ("sentence1", "sentence2")

SOURCE = Source(
    name="paws_x",
    title="PAWS-X",
    url="https://huggingface.co/datasets/google-research-datasets/paws-x",
    folder="text/paws-x",
    layout="""
<language>/train.parquet        columns id, sentence1, sentence2, label (1: paraphrase); languages: en fr es de zh ja ko
<language>/validation.parquet   the split that is reported
<language>/test.parquet         the true test split, reported beside it if it is there
several files of a split are called train-00000-of-00002.parquet ...
""",
    needs=tuple(LANGUAGES),
    licence="free use for any purpose, with acknowledgement of Google LLC",
    size="30 MB for all languages",
    citation="Yang et al. 2019, PAWS-X: A Cross-lingual Adversarial Dataset for Paraphrase Identification, "
    "arXiv:1908.11828",
    hub="google-research-datasets/paws-x",
)


def load(request: Request, language: str) -> Examples:
    """Load the pairs of one language in file order; ids such as "train/17" are the hub's split and the pair's id.

    If the data root holds any file of the language, the true test split is not loaded from the hub.
    """
    source = SOURCE
    if request.split == TRUE_TEST and any((request.root / SOURCE.folder / language).glob("*.parquet")):
        source = replace(SOURCE, hub=None)
    location = text.find_table(request, source, language, HUB_SPLITS[request.split])
    table = location.open(("id", *SENTENCES, "label"))
    return Examples(
        ids=_ids(location, HUB_SPLITS[request.split]),
        inputs=(text.from_table(location, SENTENCES, np.arange(len(table)), text.tokens_input(request), request.root),),
        targets=text.labels(location, 1, "0 or 1 (paraphrase) expected"),
    )


def _ids(location: TableLocation, split: str) -> pa.Array:
    """Read column "id" and prefix the split. Raises DataError for a repeated or missing id."""
    column = location.column("id")
    if column.null_count:
        raise DataError(f"{location.row(pc.index(column.is_null(), True).as_py())}: no id")
    ids = pc.cast(column, pa.string()).combine_chunks()
    if duplicate := first_duplicate(ids):
        row, first = duplicate
        raise DataError(f"{location.row(row)}: id {ids[row]} repeats that of an earlier pair ({location.row(first)})")
    return pc.binary_join_element_wise(split, ids, "/")


TASKS = tuple(
    Task(
        name=f"paws_{language}",
        row=f"PAWS-X {shown}",
        source=SOURCE,
        target=Binary(),
        metric="accuracy",
        load=partial(load, language=language),
        sizes={"train": 49_401, "test": 2_000, TRUE_TEST: 2_000},
        extra_splits=(TRUE_TEST,),
    )
    for language, shown in LANGUAGES.items()
)
