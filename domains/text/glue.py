"""GLUE: ten tasks on English sentences and pairs of them, as DABS uses them.

A task has two tables of the hub's copy, one per split. Scores are of "validation", because the labels of the hub's
"test" are withheld. Labels keep the hub's numbers (0 is entailment in MNLI, QNLI and RTE, not in WNLI).
Differs from GLUE: the table has Pearson's correlation for CoLA, Matthews' is only in the record; no F1.
"""

from __future__ import annotations

import warnings
from functools import partial

import numpy as np

from dabs_rq.data.examples import Examples
from dabs_rq.data.readers import text
from dabs_rq.data.requests import Request
from dabs_rq.domain import Task
from dabs_rq.errors import DataWarning
from dabs_rq.spec import Archive, Binary, Multiclass, Regression, Source, Target

SPLITS = {"train": "train", "test": "validation"}  # the hub's names
HIGHEST = 5.0  # STS-B scores similarity from 0 to 5
REVISION = "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c"  # of the hub's dataset: its files never change
# Bytes and sha256 of the hub's files at that revision: config -> split -> (bytes, sha256).
FILES = {
    "cola": {
        "train": (251_124, "2e7538afa2000e63f5343f16a758d75c452661a384208399d2035cd2fce45c33"),
        "validation": (37_551, "c14b7219a7d9f9fe3dd291fd000f6623ee413805eb108c9c49578ed50873e4ba"),
    },
    "mrpc": {
        "train": (649_281, "61fd41301e0e244b0420c4350a170c8e7cf64740335fc875a4af2d79af0df0af"),
        "validation": (75_678, "33c007dbf5bfa8463d87a13e6226df8c0fcf2596c2cd39d0f3bb79754e00f50f"),
    },
    "rte": {
        "train": (583_976, "a6252ab17015d718f6de1effe0980f7b158df63e3d16207cd8bd396b608e5147"),
        "validation": (69_020, "fb2aa2e04f551133ba663617a15ae133dc22b0f6a969bc0629b5ea6003ee9cf8"),
    },
    "sst2": {
        "train": (3_110_468, "66a253e67968acfabcbe49dbe9da964b42ac1c851c40ab760e8c8942efdb3229"),
        "validation": (72_819, "a1371f3b3a7b0bcefa8388799a9359dc3ce76c349cc0079507a7991364fd2a9b"),
    },
    "stsb": {
        "train": (502_065, "bbd93bbb988fd18437e02185fe3b2bd9a18350376c392e7820de9df1b247ed1f"),
        "validation": (150_622, "152de7cf1fa34ee4df1c243bd209b02ade21a1d5c4fb3b7da5240f78e4000aa9"),
    },
    "wnli": {
        "train": (38_835, "40f4c0c60db68addeda8e9cbe25e6344cd99d5bbb80125535994a9a3141ee0a9"),
        "validation": (11_067, "880037e45e03df868d5799ca21dc03f3a6378f0adf3c01c7bfc46b94fa61f1cb"),
    },
}


def load(
    request: Request, *, source: Source, configs: dict[str, str], fields: tuple[str, ...], target: Target
) -> Examples:
    """Load the rows of a split whose texts are not empty: `fields` of the hub's `configs[split]`."""
    split = SPLITS[request.split]
    location = text.find_table(request, source, configs[request.split], split)
    location.open((*fields, "label"))
    rows = text.rows_with_text(location, fields)
    labels = _labels(location, target)
    if empty := len(labels) - len(rows):
        message = f"{location}: {empty:,} of {len(labels):,} rows are left out, their {' or '.join(fields)} is empty"
        warnings.warn(message, DataWarning, stacklevel=2)
    return Examples(
        # Without the task's name: MNLI's two tasks have the same training examples and share their features.
        ids=text.row_ids(split, rows),
        inputs=(text.from_table(location, fields, rows, text.tokens_input(request), request.root),),
        targets=labels[rows],
    )


def _labels(location: text.TableLocation, target: Target) -> np.ndarray:
    """Read the labels of all rows and check them against `target`."""
    real = isinstance(target, Regression)
    highest = HIGHEST if real else max(target.outputs, 2) - 1
    expected = f"a number from 0 to {highest:g} expected (-1 where a split has no labels)"
    return text.labels(location, highest, expected, real=real)


def _archives(config: str) -> tuple[Archive, ...]:
    """Declare the hub's files of a config; none for the large ones, which the reader loads from the hub."""
    path = f"datasets/nyu-mll/glue/resolve/{REVISION}/{config}"
    return tuple(
        Archive(
            f"https://huggingface.co/{path}/{split}-00000-of-00001.parquet",
            size=size,
            sha256=sha256,
            into=config,
            mirrors=(f"https://hf-mirror.com/{path}/{split}-00000-of-00001.parquet",),
        )
        for split, (size, sha256) in FILES.get(config, {}).items()
    )


def _task(
    name: str,
    row: str,
    title: str,
    fields: tuple[str, ...],
    target: Target,
    sizes: tuple[int, int],
    *,
    citation: str,
    size: str,
    metric: str = "accuracy",
    also: tuple[str, ...] = (),
    train: str | None = None,
    note: str | None = None,
) -> Task:
    """Declare a task that trains on config `train` (default: `name`) and tests on config `name`."""
    configs = {"train": train or name, "test": name}
    files = tuple(f"{configs[split]}/{SPLITS[split]}.parquet" for split in ("train", "test"))
    source = Source(
        name=name,
        title=f"GLUE {title}",
        url="https://huggingface.co/datasets/nyu-mll/glue",
        folder="text/glue",
        layout=f"{files[0]}, {files[1]}      columns {', '.join(fields)}, label\n"
        "(or in parts, as on the hub: train-00000-of-00001.parquet ...)",
        needs=tuple(f"{configs[split]}/{SPLITS[split]}*.parquet" for split in ("train", "test")),
        licence="that of each corpus, see https://gluebenchmark.com",
        size=size,
        citation=f"{citation}; Wang et al. 2019, GLUE, ICLR, arXiv:1804.07461",
        hub="nyu-mll/glue",
        archives=_archives(name),
    )
    return Task(
        name=name,
        row=row,
        source=source,
        target=target,
        metric=metric,
        also=also,
        note=note,
        load=partial(load, source=source, configs=configs, fields=fields, target=target),
        sizes=dict(zip(SPLITS, sizes, strict=True)),
    )


_MNLI = "Williams et al. 2018, A Broad-Coverage Challenge Corpus for Sentence Understanding, NAACL, arXiv:1704.05426"

TASKS = (
    _task(
        "cola",
        "COLA",
        "CoLA, acceptability of sentences",
        ("sentence",),
        Binary(),
        (8_551, 1_043),
        metric="pearson",
        also=("matthews",),
        citation="Warstadt et al. 2019, Neural Network Acceptability Judgments, TACL, arXiv:1805.12471",
        size="0.3 MB",
    ),
    _task(
        "mnli_matched",
        "MNLI_Matched",
        "MNLI, entailment in the genres of its training set",
        ("premise", "hypothesis"),
        Multiclass(3),
        (392_702, 9_815),
        train="mnli",
        citation=_MNLI,
        size="57 MB",
    ),
    _task(
        "mnli_mismatched",
        "MNLI_Mismatched",
        "MNLI, entailment in other genres than its training set's",
        ("premise", "hypothesis"),
        Multiclass(3),
        (392_702, 9_832),
        train="mnli",
        citation=_MNLI,
        size="57 MB",
    ),
    _task(
        "mrpc",
        "MRPC",
        "MRPC, paraphrases in the news",
        ("sentence1", "sentence2"),
        Binary(),
        (3_668, 408),
        citation="Dolan and Brockett 2005, Automatically Constructing a Corpus of Sentential Paraphrases, IWP",
        size="1 MB",
    ),
    _task(
        "qnli",
        "QNLI",
        "QNLI, does the sentence answer the question",
        ("question", "sentence"),
        Binary(),
        (104_743, 5_463),
        citation="Rajpurkar et al. 2016, SQuAD, EMNLP, arXiv:1606.05250",
        size="19 MB",
    ),
    _task(
        "qqp",
        "QQP",
        "QQP, duplicate questions on Quora",
        ("question1", "question2"),
        Binary(),
        (363_846, 40_430),
        citation="Iyer, Dandekar and Csernai 2017, First Quora Dataset Release: Question Pairs",
        size="74 MB",
    ),
    _task(
        "rte",
        "RTE",
        "RTE, recognizing textual entailment",
        ("sentence1", "sentence2"),
        Binary(),
        (2_490, 277),
        citation="Dagan et al. 2006, Bar Haim et al. 2006, Giampiccolo et al. 2007, Bentivogli et al. 2009, "
        "The PASCAL Recognizing Textual Entailment Challenges",
        size="1.3 MB",
    ),
    _task(
        "sst2",
        "SST2",
        "SST-2, sentiment of film reviews",
        ("sentence",),
        Binary(),
        (67_349, 872),
        citation="Socher et al. 2013, Recursive Deep Models for Semantic Compositionality Over a Sentiment Treebank, "
        "EMNLP",
        size="3.3 MB",
    ),
    _task(
        "stsb",
        "STSB",
        "STS-B, similarity of sentences",
        ("sentence1", "sentence2"),
        Regression(),
        (5_749, 1_500),
        metric="spearman",
        also=("pearson",),
        citation="Cer et al. 2017, SemEval-2017 Task 1: Semantic Textual Similarity, arXiv:1708.00055",
        size="0.8 MB",
        note="Spearman's correlation; the published table calls it accuracy.",
    ),
    _task(
        "wnli",
        "WNLI",
        "WNLI, Winograd's pronouns",
        ("sentence1", "sentence2"),
        Binary(),
        (635, 71),
        citation="Levesque et al. 2012, The Winograd Schema Challenge, KR",
        size="0.1 MB",
    ),
)
