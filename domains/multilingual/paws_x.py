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
from dabs_rq.domains.multilingual import pawsx_tsv
from dabs_rq.domains.multilingual.pawsx_tsv import PairsFile
from dabs_rq.errors import DataError
from dabs_rq.spec import Archive, Binary, Source

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
or, from the publisher's archive: x-final/<language>/train.tsv (en) or translated_train.tsv, dev_2k.tsv, test_2k.tsv
""",
    needs=tuple(LANGUAGES),
    instead=tuple(f"{pawsx_tsv.FOLDER}/{language}" for language in LANGUAGES),
    licence="free use for any purpose, with acknowledgement of Google LLC",
    size="30 MB for all languages",
    citation="Yang et al. 2019, PAWS-X: A Cross-lingual Adversarial Dataset for Paraphrase Identification, "
    "arXiv:1908.11828",
    hub="google-research-datasets/paws-x",
    archives=(
        Archive(
            "https://storage.googleapis.com/paws/pawsx/x-final.tar.gz",
            size=30_282_057,
            sha256="4146db499101d66e68ae4c8ed3cf9dadecd625f44b7d8cf3d4a0fe93afc4fd9f",
        ),
    ),
)


def load(request: Request, language: str) -> Examples:
    """Load the pairs of one language in file order; ids such as "train/17" are the hub's split and the pair's id.

    Reads the hub's tables under the data root, else the publisher's, else loads those of the hub. If the data root
    holds any file of the language, the true test split is not loaded from the hub.
    """
    split = HUB_SPLITS[request.split]
    pairs = find_pairs(request, language, split)
    if isinstance(pairs, PairsFile):
        return Examples(
            ids=_ids(pairs, split),
            inputs=(text.from_items(_items(pairs, request), SENTENCES, text.tokens_input(request), request.root),),
            targets=pairs.labels(),
        )
    table = pairs.open(("id", *SENTENCES, "label"))
    return Examples(
        ids=_ids(pairs, split),
        inputs=(text.from_table(pairs, SENTENCES, np.arange(len(table)), text.tokens_input(request), request.root),),
        targets=text.labels(pairs, 1, "0 or 1 (paraphrase) expected"),
    )


def find_pairs(request: Request, language: str, split: str) -> TableLocation | PairsFile:
    """Find the pairs of a language and split (the hub's name) in the form in which they are there."""
    folder = request.root / SOURCE.folder
    hub_form = any((folder / language).glob(f"{split}*.parquet"))
    if not hub_form and (folder / pawsx_tsv.FOLDER / language).is_dir():
        return PairsFile.of(folder, language, split)
    source = SOURCE
    if request.split == TRUE_TEST and any((folder / language).glob("*.parquet")):
        source = replace(SOURCE, hub=None)
    return text.find_table(request, source, language, split)


def file_of(pairs: TableLocation | PairsFile, request: Request) -> str:
    """Return the (first) file of pairs, relative to the data root if it is below it."""
    file = pairs.file if isinstance(pairs, PairsFile) else text.files_of(pairs, ())[0]
    return text.relative(file, request.root)


def _items(pairs: PairsFile, request: Request) -> pa.Table:
    path = file_of(pairs, request)
    places = pa.array(np.zeros(pairs.table.num_rows, np.int8))
    columns = {name: pairs.column(name) for name in SENTENCES}
    return pa.table({"path": pa.DictionaryArray.from_arrays(places, pa.array([path])), **columns}).combine_chunks()


def _ids(location: TableLocation | PairsFile, split: str) -> pa.Array:
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
