"""VQA v1, multiple choice, as a binary task like in DABS: is this the answer to that question about the picture?"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dabs_rq.data.columns import Shared
from dabs_rq.data.examples import Examples
from dabs_rq.data.requests import Request
from dabs_rq.domain import Task
from dabs_rq.domains.vqa.coco import entries, pictures, texts
from dabs_rq.errors import DataError, DataWarning
from dabs_rq.spec import Archive, Binary, Source

DATA = "coco-vqa"
FOLDERS = {"train": "train2014", "test": "val2014"}
QUESTIONS, ANNOTATIONS = "MultipleChoice_mscoco_{}_questions.json", "mscoco_{}_annotations.json"
COUNTS = {"train": 248_349, "test": 121_512}  # questions in the real files
SEEDS = {"train": (2014, 0), "test": (2014, 1)}  # decide the swaps, independently of the run's seed

SOURCE = Source(
    name="vqa",
    title="VQA v1, multiple choice (COCO 2014)",
    url="https://visualqa.org/vqa_v1_download.html, http://images.cocodataset.org/zips/{train,val}2014.zip",
    folder="captioned_images/vqa",
    layout="""
coco-vqa/train2014/COCO_train2014_000000000009.jpg ...
coco-vqa/val2014/COCO_val2014_000000000042.jpg ...
coco-vqa/MultipleChoice_mscoco_{train,val}2014_questions.json
    questions: question_id, image_id, question, multiple_choices
coco-vqa/mscoco_{train,val}2014_annotations.json
    annotations: question_id, image_id, multiple_choice_answer
(coco-vqa/annotations/captions_{train,val}2014.json is not needed: a picture's name follows from its id)
""",
    needs=tuple(f"{DATA}/{need.format(name)}" for name in FOLDERS.values() for need in ("{}", QUESTIONS, ANNOTATIONS)),
    licence="annotations CC BY 4.0; pictures under the terms of Flickr",
    size="20.4 GB",
    citation="Antol et al. 2015, VQA: Visual Question Answering, ICCV, arXiv:1505.00468",
    archives=(
        *(
            Archive(f"https://s3.amazonaws.com/cvmlp/vqa/mscoco/vqa/{kind}_{split}_mscoco.zip", into=DATA)
            for kind in ("Questions", "Annotations")
            for split in ("Train", "Val")
        ),
        Archive(
            "http://images.cocodataset.org/zips/train2014.zip",
            size=13_510_573_713,
            md5="0da8c0bd3d6becc4dcb32757491aca88",
            into=DATA,
        ),
        Archive(
            "http://images.cocodataset.org/zips/val2014.zip",
            size=6_645_013_297,
            md5="a3d79f5ed8d289b7a7554ce06a5782b3",
            into=DATA,
        ),
    ),
)


class Question(NamedTuple):
    """One question. choices: 18 answers. answer: the correct one."""

    number: int
    picture: int
    text: str
    choices: list[str]
    answer: str


def load(request: Request) -> Examples:
    """Load pairs of a question and an answer, label 1 for the correct answer and 0 for another, sorted by question id.

    With probability 1/2 the answer is replaced by one of the question's other choices, all equally likely. The split's
    own generator draws two numbers per question, in the order of ids, so the pairs are the same in every run and under
    both protocols. DABS uses Python's global generator, so its own pairs cannot be reproduced. The published row is
    from before DABS fixed this step, which had made at most 18 different pairs of label 0.
    As in DABS, questions whose answer is not among their choices are left out; a warning counts them. The test split is
    val2014. Groups are pictures; a picture is decoded once for all its questions.
    """
    root = request.folder(SOURCE)
    name = FOLDERS[request.split]
    questions_file = root / DATA / QUESTIONS.format(name)
    questions = read_questions(questions_file, root / DATA / ANNOTATIONS.format(name))
    request.expect(f"{SOURCE.title}, questions of {name}", COUNTS[request.split], len(questions))
    return pairs_of(
        request, questions, questions_file, SEEDS[request.split], root, f"{DATA}/{name}/COCO_{name}_{{:012d}}.jpg"
    )


def pairs_of(
    request: Request,
    questions: Sequence[Question],
    questions_file: Path,
    seed: Sequence[int],
    root: Path,
    picture_path: str,
) -> Examples:
    """Make pairs of a question and an answer as `load` describes them. picture_path: the path of a picture relative to
    `root`, with {} for its id."""
    draws = np.random.default_rng(seed).random((len(questions), 2))
    numbers, images, asked, answers, targets = [], [], [], [], []
    for question, (swap, which) in zip(questions, draws, strict=True):
        if question.answer not in question.choices:
            continue
        answer = question.answer
        if swapped := swap < 0.5:
            others = [choice for choice in question.choices if choice != answer]
            if not others:
                raise DataError(f"{questions_file}: question {question.number} has no choice but its answer")
            answer = others[int(which * len(others))]
        numbers.append(str(question.number))
        images.append(question.picture)
        asked.append(question.text)
        answers.append(answer)
        targets.append(int(not swapped))
    if not numbers:
        raise DataError(f"{questions_file}: no question whose answer is among its choices")
    if left_out := len(questions) - len(numbers):
        warnings.warn(
            f"{questions_file}: {left_out} of {len(questions):,} questions are left out, "
            "their answer is not among their choices",
            DataWarning,
            stacklevel=2,
        )

    distinct, first, row = np.unique(np.array(images, np.int64), return_index=True, return_inverse=True)
    paths = [picture_path.format(picture_id) for picture_id in distinct.tolist()]
    for path, question_row in zip(paths, first, strict=True):
        if not (root / path).is_file():
            raise DataError(f"{questions_file}: question {numbers[question_row]}: no such file {root / path}")
    picture, text = request.inputs
    pairs = {"question": asked, "answer": answers}
    return Examples(
        ids=numbers,
        inputs=(
            Shared.of(pictures(paths, root, picture.shape), row),
            texts(pairs, questions_file, text, request.root),
        ),
        targets=np.array(targets, np.int64),
        groups=distinct[row],
    )


def read_questions(file: Path, annotations_file: Path) -> list[Question]:
    """Read all questions with their correct answers, sorted by id."""
    fields = {"question_id": int, "image_id": int, "multiple_choice_answer": str}
    annotated = {}
    for number, picture, answer in entries(annotations_file, "annotations", fields):
        if number in annotated:
            raise DataError(f"{annotations_file}: question {number} is annotated twice")
        annotated[number] = (picture, answer)
    fields = {"question_id": int, "image_id": int, "question": str, "multiple_choices": list}
    questions = []
    for position, (number, picture, text, choices) in enumerate(entries(file, "questions", fields), 1):
        where = f"{file}: questions, entry {position}"
        if number not in annotated:
            raise DataError(f"{where}: question {number} has no annotation in {annotations_file}")
        annotated_picture, answer = annotated.pop(number)
        if annotated_picture != picture:
            raise DataError(f"{where}: picture {picture}, but {annotated_picture} in {annotations_file}")
        if not all(isinstance(choice, str) for choice in choices):
            raise DataError(f"{where}: multiple_choices is {choices!r:.80}, expected a list of texts")
        questions.append(Question(number, picture, text, choices, answer))
    if annotated:
        raise DataError(
            f"{annotations_file}: {len(annotated)} annotations, the first of question {min(annotated)}, "
            f"have no question in {file}"
        )
    return sorted(questions)


TASK = Task(
    name="vqa",
    row="VQA",
    source=SOURCE,
    target=Binary(),
    metric="accuracy",
    load=load,
    published_comparable=False,
    note="the published scores are from before DABS fixed its pairs; they cannot be compared with ours.",
)
