"""Small sources: the sentences of PAWS-X to pretrain on, its seven tasks to transfer to."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dabs_rq.data.examples import Examples
from dabs_rq.data.readers import text
from dabs_rq.data.requests import Request
from dabs_rq.domain import Pretraining, SourceSet
from dabs_rq.domains.multilingual import paws_x
from dabs_rq.domains.multilingual.paws_x import LANGUAGES, SENTENCES


def load(request: Request) -> Examples:
    """Load every sentence of the pairs of a split that is not blank, without labels: by language, then as in the file,
    the first sentences before the second ones. Ids such as "en/train/sentence1/17" hold the row.

    The split "train" has the training pairs, so no sentence of a split that is scored; "validation" has the pairs that
    the tasks are scored on.
    """
    parts = [_sentences(request, language, field) for language in LANGUAGES for field in SENTENCES]
    items = pa.concat_tables([items for _, items in parts]).unify_dictionaries().combine_chunks()
    return Examples(
        ids=pa.concat_arrays([ids for ids, _ in parts]),
        inputs=(text.from_items(items, ("sentence",), text.tokens_input(request), request.root),),
    )


def _sentences(request: Request, language: str, field: str) -> tuple[pa.Array, pa.Table]:
    """Return the ids and the items (path, sentence) of one column of pairs."""
    pairs = paws_x.find_pairs(request, language, request.split)
    sentences = pc.cast(pairs.column(field), pa.string()).combine_chunks()
    rows = pc.indices_nonzero(pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(sentences)), 0))
    ids = pc.binary_join_element_wise(f"{language}/{request.split}/{field}", pc.cast(rows, pa.string()), "/")
    file = paws_x.file_of(pairs, request)
    path = pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(rows), np.int8)), pa.array([file]))
    return ids, pa.table({"path": path, "sentence": sentences.take(rows)})


SMALL = SourceSet(pretraining=Pretraining(source=paws_x.SOURCE, load=load), tasks=paws_x.TASKS)
