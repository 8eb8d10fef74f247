"""English text: WikiText-103 to pretrain on, the ten tasks of GLUE to transfer to."""

from __future__ import annotations

from dabs_rq.domain import Domain, SourceSet
from dabs_rq.domains.text import glue, wikitext2, wikitext103
from dabs_rq.spec import Tokens

SMALL_TASKS = ("cola", "mrpc", "rte", "sst2", "stsb", "wnli")


def _tokens(length: int) -> Tokens:
    # DABS's first text models have embeddings for 35,022 ids, a slip: their tokenizer has 30,522.
    return Tokens(name="text", length=length, vocabulary=30_522, pad=0, tokenizer="bert-base-uncased", unused_ids=4_500)


DOMAIN = Domain(
    name="text",
    title="English Text",
    inputs={"mini": (_tokens(32),), "small": (_tokens(64),), "paper": (_tokens(128),)},
    pretraining=wikitext103.WIKITEXT103,
    tasks=glue.TASKS,
    other_sources={
        "small": SourceSet(
            pretraining=wikitext2.WIKITEXT2, tasks=tuple(task for task in glue.TASKS if task.name in SMALL_TASKS)
        )
    },
    batch_size=128,
)
