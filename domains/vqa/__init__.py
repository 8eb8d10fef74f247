"""Vision and language: MSCOCO pictures with captions to pretrain on, questions about pictures to transfer to."""

from __future__ import annotations

from dabs_rq.domain import Domain
from dabs_rq.domains.vqa import mscoco, small, vqa
from dabs_rq.spec import Grid, Tokens

TEXT = Tokens(name="text", length=32, vocabulary=30_522, pad=0, tokenizer="bert-base-uncased")
SMALL_INPUTS = (Grid(name="image", height=32, width=32, channels=3, patch=4), TEXT)

DOMAIN = Domain(
    name="vqa",
    title="Vision/Language",
    inputs={
        "mini": SMALL_INPUTS,
        "small": SMALL_INPUTS,
        "paper": (Grid(name="image", height=224, width=224, channels=3, patch=16), TEXT),
    },
    pretraining=mscoco.MSCOCO,
    tasks=(vqa.TASK,),
    other_sources={"small": small.SMALL},
    batch_size=64,
)
