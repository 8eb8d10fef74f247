"""A small made-up copy of MSCOCO 2017 and VQA v1, in their native layouts, with a small tokenizer.

Pictures of both sources show scenes of one space of factors (`miniature_scenes`), and captions and questions speak of
them in the same words (`miniature_texts`). What a question is about varies freely, so its text alone tells little: most
false choices are of the right kind, some are not, and some answers are more frequent than others, as in the real data.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dabs_rq.miniature import tokenizer as small_tokenizer
from domains.vqa.miniature_scenes import SHAPES, Scene, draw, scene
from domains.vqa.miniature_texts import Asked, captions, questions

TRAIN, VALIDATION = 2100, 60  # pictures with captions and instances
WITHOUT = 8  # further pictures without a caption, and as many without an instance
ASKED = {"train": 480, "val": 144}  # pictures with questions
UNANSWERABLE = {"train": 4, "val": 2}  # questions whose answer is not among their choices
CATEGORIES = (1, 2, 3, 5, 6, 8, 9, 13, 14, 16)  # ids of the shapes; COCO's have gaps too
VOCABULARY = 600
ABOUT = {
    "info": {"description": "made up", "url": "", "version": "1.0", "year": 2014, "contributor": "", "date_created": ""}
}
LICENSE = {"id": 1, "name": "made up", "url": ""}


def write(root: Path, seed: int) -> None:
    """Write the whole miniature below `root`: about 2,800 pictures, the same bytes for the same seed."""
    top = root / "captioned_images"
    texts = _mscoco(top / "mscoco", np.random.default_rng([seed, 0]))
    texts += _vqa(top / "vqa" / "coco-vqa", np.random.default_rng([seed, 1]))
    small_tokenizer.train(root, "bert-base-uncased", texts, VOCABULARY)


def _mscoco(folder: Path, rng: np.random.Generator) -> list[str]:
    """Returns the captions."""
    said: list[str] = []
    for name, count in (("train2017", TRAIN), ("val2017", VALIDATION)):
        # The last ones have no things, or things that nobody describes.
        scenes = [scene(rng) for _ in range(count)]
        scenes += [scene(rng, most=0) for _ in range(WITHOUT)] + [scene(rng) for _ in range(WITHOUT)]
        ids = _ids(rng, len(scenes), odd=name.startswith("val"))
        files = [f"{number:012d}.jpg" for number in ids]
        _draw(rng, folder / name, files, scenes)
        described = [
            (number, text) for number, one in zip(ids[:-WITHOUT], scenes, strict=False) for text in captions(rng, one)
        ]
        said += [text for _, text in described]
        pictures = _pictures(rng, files, ids, scenes)
        _write(
            folder / "annotations" / f"captions_{name}.json", {**pictures, "annotations": _captioned(rng, described)}
        )
        categories = [
            {"supercategory": "shape", "id": number, "name": shape}
            for number, shape in zip(CATEGORIES, SHAPES, strict=True)
        ]
        instances = {**pictures, "annotations": _instances(rng, ids, scenes), "categories": categories}
        _write(folder / "annotations" / f"instances_{name}.json", instances)
    return said


def _vqa(folder: Path, rng: np.random.Generator) -> list[str]:
    """Returns the questions and answers."""
    said: list[str] = []
    for split, count in ASKED.items():
        name = f"{split}2014"
        scenes = [scene(rng) for _ in range(count)]
        ids = _ids(rng, count, odd=split == "val")
        files = [f"COCO_{name}_{number:012d}.jpg" for number in ids]
        _draw(rng, folder / name, files, scenes)
        described = [(number, text) for number, one in zip(ids, scenes, strict=True) for text in captions(rng, one)]
        _write(
            folder / "annotations" / f"captions_{name}.json",
            {**_pictures(rng, files, ids, scenes), "annotations": _captioned(rng, described)},
        )
        asked = [
            (number, 10 * number + place, one)
            for number, shown in zip(ids, scenes, strict=True)
            for place, one in enumerate(questions(rng, shown, int(rng.choice([2, 3], p=[0.65, 0.35]))))
        ]
        broken = set(rng.choice(len(asked), UNANSWERABLE[split], replace=False).tolist())
        order = rng.permutation(len(asked)).tolist()
        common = {**ABOUT, "data_type": "mscoco", "data_subtype": name, "license": LICENSE}
        listed = [_question(*asked[i], broken=i in broken) for i in order]
        _write(
            folder / f"MultipleChoice_mscoco_{name}_questions.json",
            {**common, "task_type": "Multiple-Choice", "num_choices": 18, "questions": listed},
        )
        answered = [_annotation(rng, *one) for one in asked]
        _write(folder / f"mscoco_{name}_annotations.json", {**common, "annotations": answered})
        said += [text for _, _, one in asked for text in (one.question, *one.choices)]
    return said


# ---- the parts of the JSON files -----------------------------------------------------------------------------------


def _ids(rng: np.random.Generator, n: int, odd: bool) -> list[int]:
    """Picture ids in no order; those of a validation split are odd, the others even."""
    return (2 * rng.choice(290_000, n, replace=False) + 2 + odd).tolist()


def _draw(rng: np.random.Generator, folder: Path, files: list[str], scenes: list[Scene]) -> None:
    folder.mkdir(parents=True)
    for file, wanted in zip(files, scenes, strict=True):
        Image.fromarray(draw(rng, wanted)).save(folder / file, quality=90)


def _pictures(rng: np.random.Generator, files: list[str], ids: list[int], scenes: list[Scene]) -> dict[str, Any]:
    images = [
        {
            "license": LICENSE["id"],
            "file_name": file,
            "coco_url": f"http://localhost/{file}",
            "height": one.height,
            "width": one.width,
            "date_captured": "2013-11-14 11:18:45",
            "flickr_url": f"http://localhost/{number}",
            "id": number,
        }
        for file, number, one in zip(files, ids, scenes, strict=True)
    ]
    return {**ABOUT, "images": [images[i] for i in rng.permutation(len(images))], "licenses": [LICENSE]}


def _captioned(rng: np.random.Generator, described: list[tuple[int, str]]) -> list[dict[str, Any]]:
    """Annotations in no order."""
    order = rng.permutation(len(described)).tolist()
    return [{"image_id": described[i][0], "id": 7 * i + 38, "caption": described[i][1]} for i in order]


def _instances(rng: np.random.Generator, ids: list[int], scenes: list[Scene]) -> list[dict[str, Any]]:
    """Annotations in no order. One in fifty is a crowd, which has a mask in runs instead of an outline."""
    found: list[dict[str, Any]] = []
    for number, one in zip(ids, scenes, strict=True):
        for thing in one.things:
            left, top, width, height = thing.box
            right, bottom = left + width, top + height
            crowd = len(found) % 50 == 49
            outline = [[left, top, right, top, right, bottom, left, bottom]]
            runs = {"counts": [one.height * one.width], "size": [one.height, one.width]}
            found.append(
                {
                    "segmentation": runs if crowd else outline,
                    "area": round(width * height, 2),
                    "iscrowd": int(crowd),
                    "image_id": number,
                    "bbox": list(thing.box),
                    "category_id": CATEGORIES[thing.shape],
                    "id": len(found) + 1001,
                }
            )
    return [found[i] for i in rng.permutation(len(found))]


def _question(picture: int, number: int, asked: Asked, *, broken: bool) -> dict[str, Any]:
    choices = ["none of these" if broken and choice == asked.answer else choice for choice in asked.choices]
    return {"image_id": picture, "question": asked.question, "multiple_choices": choices, "question_id": number}


def _annotation(rng: np.random.Generator, picture: int, number: int, asked: Asked) -> dict[str, Any]:
    """With the answers of ten persons, some of whom err."""
    wrong = asked.choices[int(rng.integers(len(asked.choices)))]
    doubts = rng.random(10) < 0.1
    return {
        "question_id": number,
        "image_id": picture,
        "question_type": asked.kind,
        "answer_type": asked.answer_type,
        "multiple_choice_answer": asked.answer,
        "answers": [
            {
                "answer": wrong if doubt else asked.answer,
                "answer_confidence": "maybe" if doubt else "yes",
                "answer_id": i,
            }
            for i, doubt in enumerate(doubts, 1)
        ],
    }


def _write(file: Path, content: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content), encoding="utf-8")
