"""A small made-up copy of MSCOCO 2017 and VQA v1, in their native layouts, with a small tokenizer.

A scene is up to three things on a patterned ground; a thing has a shape, a colour, a size and a place. Captions and
questions speak of nothing else. What a question is about varies freely, so its text alone tells little: most false
choices are of the right kind, some are not, and some answers are more frequent than others, as in the real data.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dabs_rq.miniature import tokenizer
from dabs_rq.miniature.facts import article, chance, pick, plural, some
from dabs_rq.miniature.scenes import PATTERNS, SHAPES, Canvas, Factors, draw, each, lights, textured, textures
from dabs_rq.miniature.writers import generator, run, write_json, write_picture

TRAIN, VALIDATION = 2100, 60  # pictures with captions and instances
WITHOUT = 8  # further pictures without a caption, and as many without an instance
ASKED = {"train": 470, "val": 140}  # pictures with questions
UNANSWERABLE = {"train": 4, "val": 2}  # questions whose answer is not among their choices
CATEGORIES = (1, 2, 3, 5, 6, 8, 9, 13, 14, 16)  # ids of the shapes; COCO's have gaps too
VOCABULARY = 600
COLOURS = {
    **{"red": (205, 35, 40), "blue": (40, 70, 205), "white": (240, 240, 240), "green": (45, 150, 50)},
    **{"black": (25, 25, 25), "yellow": (240, 220, 50), "brown": (120, 70, 30), "orange": (245, 140, 30)},
    **{"pink": (245, 150, 185), "purple": (125, 45, 150)},
}
NAMES = tuple(COLOURS)
COLUMNS, LEVELS = ("left", "middle", "right"), ("upper", "lower")
SIZES = ((48, 64), (48, 64), (64, 48), (48, 48), (45, 64), (39, 52), (60, 56))  # height, width
OTHER_WORDS = {"circle": "disc", "square": "box", "ring": "hoop", "cross": "plus", "moon": "crescent", "bar": "strip"}
LARGE, SMALL = ("large", "big", "huge"), ("small", "little", "tiny")
NUMBERS = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "10")
POPULAR = ("yes", "no", "1", "2", "3", "4", "white", "red", "blue", "green")
PLACES = tuple(f"{level} {column}" for level in LEVELS for column in COLUMNS)
CHOICES, PLAUSIBLE, COMMON = 18, 9, 4  # in all; false ones of the right kind, as far as there are; popular ones
INFO = {"description": "made up", "url": "", "version": "1.0", "year": 2014, "contributor": "", "date_created": ""}
LICENSE = {"id": 1, "name": "made up", "url": ""}


class Thing(NamedTuple):
    """Numbers in SHAPES, COLOURS, COLUMNS and LEVELS; the middle and the radius in pixels."""

    shape: int
    colour: int
    large: bool
    column: int
    level: int
    x: float
    y: float
    radius: float


class Scene(NamedTuple):
    """pattern: a number in PATTERNS. things: in no order."""

    height: int
    width: int
    pattern: int
    things: list[Thing]


class Asked(NamedTuple):
    """A question about a scene. kind: the beginning of the question; choices: 18, in no order."""

    kind: str
    answer_type: str
    question: str
    answer: str
    choices: list[str]


def write(root: Path, seed: int, processes: int = 1) -> None:
    """Write the whole miniature below `root`: about 2,800 pictures, the same bytes for the same seed."""
    top = root / "captioned_images"
    jobs = [partial(_mscoco, top / "mscoco", seed, *one) for one in (("train2017", TRAIN), ("val2017", VALIDATION))]
    jobs += [partial(_vqa, top / "vqa" / "coco-vqa", seed, split) for split in ASKED]
    texts = run(jobs, processes)
    tokenizer.train(root, "bert-base-uncased", [text for part in texts for text in part], VOCABULARY)


def _mscoco(folder: Path, seed: int, name: str, count: int) -> list[str]:
    """Write the pictures, captions and instances of a split. Returns the captions."""
    rng = generator(seed, name)
    # The last pictures have no things, or things that nobody describes.
    scenes = [_scene(rng) for _ in range(count)]
    scenes += [_scene(rng, most=0) for _ in range(WITHOUT)] + [_scene(rng) for _ in range(WITHOUT)]
    about, ids = _pictures(rng, folder, name, "", scenes)
    said = _captions(rng, folder, name, about, ids[:-WITHOUT], scenes)
    categories = [
        {"supercategory": "shape", "id": number, "name": shape}
        for number, shape in zip(CATEGORIES, SHAPES, strict=True)
    ]
    shown = [(number, scene, thing) for number, scene in zip(ids, scenes, strict=True) for thing in scene.things]
    instances = [_instance(number, *one) for number, one in enumerate(shown)]
    content = {**about, "annotations": _shuffled(rng, instances), "categories": categories}
    write_json(folder / "annotations" / f"instances_{name}.json", content)
    return said


def _vqa(folder: Path, seed: int, split: str) -> list[str]:
    """Write the pictures, captions, questions and answers of a split. Returns the questions and choices."""
    name, rng = f"{split}2014", generator(seed, split)
    scenes = [_scene(rng) for _ in range(ASKED[split])]
    about, ids = _pictures(rng, folder, name, f"COCO_{name}_", scenes)
    _captions(rng, folder, name, about, ids, scenes)
    asked = [
        ({"image_id": number, "question_id": 10 * number + place}, one)
        for number, scene in zip(ids, scenes, strict=True)
        for place, one in enumerate(_questions(rng, scene, 2 + int(chance(rng, 0.35))))
    ]
    broken = set(rng.choice(len(asked), UNANSWERABLE[split], replace=False).tolist())
    questions = []
    for number, (which, one) in enumerate(asked):
        choices = ["none of these" if number in broken and word == one.answer else word for word in one.choices]
        questions.append({**which, "question": one.question, "multiple_choices": choices})
    common = {"info": INFO, "data_type": "mscoco", "data_subtype": name, "license": LICENSE}
    listed = {"task_type": "Multiple-Choice", "num_choices": CHOICES, "questions": _shuffled(rng, questions)}
    write_json(folder / f"MultipleChoice_mscoco_{name}_questions.json", {**common, **listed})
    annotations = [{**which, **_answers(rng, one)} for which, one in asked]
    write_json(folder / f"mscoco_{name}_annotations.json", {**common, "annotations": annotations})
    return [text for _, one in asked for text in (one.question, *one.choices)]


# ---- the parts of the JSON files -----------------------------------------------------------------------------------


def _shuffled(rng: np.random.Generator, entries: list[Any]) -> list[Any]:
    return [entries[i] for i in rng.permutation(len(entries))]


def _pictures(
    rng: np.random.Generator, folder: Path, name: str, prefix: str, scenes: list[Scene]
) -> tuple[dict[str, Any], list[int]]:
    """Draw the pictures. Returns what every JSON file says of them, and their ids: those of validation are odd."""
    ids = (2 * rng.choice(290_000, len(scenes), replace=False) + 2 + name.startswith("val")).tolist()
    images = []
    for number, scene, picture in zip(ids, scenes, _drawn(rng, scenes), strict=True):
        file, url = f"{prefix}{number:012d}.jpg", f"http://localhost/{number}"
        write_picture(folder / name / file, picture)
        image = {"id": number, "file_name": file, "height": scene.height, "width": scene.width, "license": 1}
        images.append({**image, "coco_url": url, "flickr_url": url, "date_captured": "2013-11-14 11:18:45"})
    return {"info": INFO, "images": _shuffled(rng, images), "licenses": [LICENSE]}, ids


def _captions(
    rng: np.random.Generator, folder: Path, name: str, about: dict[str, Any], ids: list[int], scenes: list[Scene]
) -> list[str]:
    """Write five captions of each of the first scenes, those that `ids` has a number for; returns the captions."""
    said = [
        {"image_id": number, "caption": _caption(rng, scene)}
        for number, scene in zip(ids, scenes, strict=False)
        for _ in range(5)
    ]
    annotations = _shuffled(rng, [{"id": 7 * i + 38, **one} for i, one in enumerate(said)])
    write_json(folder / "annotations" / f"captions_{name}.json", {**about, "annotations": annotations})
    return [str(one["caption"]) for one in said]


def _instance(number: int, picture: int, scene: Scene, thing: Thing) -> dict[str, Any]:
    """One annotation. One in fifty is a crowd, which has a mask in runs instead of an outline."""
    left, top, size = round(thing.x - thing.radius, 2), round(thing.y - thing.radius, 2), round(2 * thing.radius, 2)
    crowd = number % 50 == 49
    outline = [[left, top, left + size, top, left + size, top + size, left, top + size]]
    runs = {"counts": [scene.height * scene.width], "size": [scene.height, scene.width]}
    return {
        "segmentation": runs if crowd else outline,
        "area": round(size * size, 2),
        "iscrowd": int(crowd),
        "image_id": picture,
        "bbox": [left, top, size, size],
        "category_id": CATEGORIES[thing.shape],
        "id": number + 1001,
    }


def _answers(rng: np.random.Generator, asked: Asked) -> dict[str, Any]:
    """The answers of ten persons, some of whom err."""
    wrong = pick(rng, asked.choices)
    answers = [
        {"answer": answer, "answer_confidence": "maybe" if answer == wrong else "yes", "answer_id": number}
        for number, answer in enumerate((wrong if chance(rng, 0.1) else asked.answer for _ in range(10)), 1)
    ]
    about = {"question_type": asked.kind, "answer_type": asked.answer_type, "multiple_choice_answer": asked.answer}
    return {**about, "answers": answers}


# ---- scenes --------------------------------------------------------------------------------------------------------


def _scene(rng: np.random.Generator, most: int = 3) -> Scene:
    """A scene of 1 to `most` things (or none) in different columns, inside the middle three quarters of the height.

    Some colours and shapes are more frequent than others; a thing often repeats the colour or shape of the one before.
    """
    height, width = pick(rng, SIZES)
    things: list[Thing] = []
    for column in rng.permutation(len(COLUMNS))[: rng.integers(min(1, most), most + 1)].tolist():
        shape, colour = _skewed(rng, len(SHAPES)), _skewed(rng, len(COLOURS))
        if things and chance(rng, 0.3):
            shape = things[-1].shape
        if things and chance(rng, 0.3):
            colour = things[-1].colour
        large, level = chance(rng, 0.5), int(rng.integers(len(LEVELS)))
        x = width / 2 * (1 + 0.6 * (column - 1) + rng.uniform(-0.08, 0.08))
        y = height / 2 * (1 + 0.6 * (level - 0.5) + rng.uniform(-0.06, 0.06))
        radius = width / 2 * ((0.3 if large else 0.2) + rng.uniform(-0.02, 0.02))
        things.append(Thing(shape, colour, large, column, level, x, y, radius))
    return Scene(height, width, _skewed(rng, len(PATTERNS)), things)


def _skewed(rng: np.random.Generator, n: int) -> int:
    """A number in [0, n), the first ones about three times as likely as the last."""
    return int(n * (rng.random() * (0.5 + 0.5 * rng.random())))


def _drawn(rng: np.random.Generator, scenes: list[Scene]) -> list[np.ndarray]:
    n, nothing = len(scenes), Thing(0, 0, False, 0, 0, 0.0, 0.0, 0.0)
    half = np.array([max(scene.height, scene.width) / 2 for scene in scenes])
    factors: Factors = {
        **textures(rng, n, (0.15, 0.35)),
        "pattern": np.array([scene.pattern for scene in scenes]),
        "tone": np.clip(rng.uniform(0.35, 0.75, (n, 1)) + rng.uniform(-0.06, 0.06, (n, 3)), 0, 1),
        **lights(rng, n),
        "light": rng.uniform(0.8, 1.1, n),
        "slope": rng.uniform(-0.15, 0.15, n),
    }
    for number in range(3):
        things = [scene.things[number] if number < len(scene.things) else nothing for scene in scenes]
        paint = np.array([COLOURS[NAMES[thing.colour]] for thing in things]) / 255
        factors |= {
            f"shape{number}": np.array([thing.shape for thing in things]),
            f"paint{number}": paint + rng.uniform(-0.08, 0.08, (n, 3)),
            f"x{number}": np.array([thing.x - scene.width / 2 for thing, scene in zip(things, scenes, strict=True)])
            / half,
            f"y{number}": np.array([thing.y - scene.height / 2 for thing, scene in zip(things, scenes, strict=True)])
            / half,
            f"size{number}": np.array([thing.radius for thing in things]) / half,
            f"angle{number}": rng.uniform(-0.25, 0.25, n),
        }
    return draw(_paint, rng, factors, [(scene.height, scene.width) for scene in scenes])


def _paint(canvas: Canvas, scene: Factors, rng: np.random.Generator) -> None:
    canvas.layers[:] = textured(scene["tone"], scene, canvas.x, canvas.y)
    for number in range(3):
        x, y, size, angle = (scene[f"{factor}{number}"] for factor in ("x", "y", "size", "angle"))
        u, v = canvas.place(x, y, np.maximum(size, 1e-3), angle)
        covered = canvas.cover(scene[f"shape{number}"], u, v, size) * each(size > 0)
        canvas.paint(covered, scene[f"paint{number}"].astype(np.float32))


# ---- captions and questions ----------------------------------------------------------------------------------------


def _caption(rng: np.random.Generator, scene: Scene) -> str:
    """A caption in words that vary, which does not say everything."""
    ground = f"{PATTERNS[scene.pattern]} {pick(rng, ('background', 'ground', 'wall', 'backdrop'))}"
    things = [scene.things[i] for i in rng.permutation(len(scene.things))]
    if not things:
        return f"{pick(rng, ('an empty', 'nothing but a', 'just a'))} {ground}."
    named, many = _joined([_named(rng, thing) for thing in things]), len(things) > 1
    noun, count = pick(rng, ("shape", "figure", "object")), ("one", "two", "three")[len(things) - 1]
    return pick(
        rng,
        (
            f"{named} on a {ground}.",
            f"A {ground} with {named}.",
            f"There {'are' if many else 'is'} {named} {pick(rng, ('in the picture', 'in this image', 'here'))}.",
            f"{_joined([f'{_named(rng, thing)} {_place(rng, thing)}' for thing in things[:2]])}.",
            f"{count} {plural(noun) if many else noun} in front of a {ground}, {named}.",
        ),
    )


def _named(rng: np.random.Generator, thing: Thing) -> str:
    """Such as "a big red circle", often without the size."""
    shape = SHAPES[thing.shape]
    words = [NAMES[thing.colour], pick(rng, (shape, OTHER_WORDS.get(shape, shape)))]
    if chance(rng, 0.5):
        words.insert(0, pick(rng, LARGE if thing.large else SMALL))
    return f"{article(words[0])} {' '.join(words)}"


def _place(rng: np.random.Generator, thing: Thing) -> str:
    column = COLUMNS[thing.column]
    beside = "in the middle" if column == "middle" else f"{pick(rng, ('on', 'to'))} the {column}"
    return pick(rng, (beside, f"at the {LEVELS[thing.level]} {column}"))


def _joined(phrases: list[str]) -> str:
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"


def _questions(rng: np.random.Generator, scene: Scene, wanted: int) -> list[Asked]:
    """`wanted` different questions about a scene."""
    found: dict[str, Asked] = {}
    while len(found) < wanted:
        if asked := _question(rng, scene, int(rng.choice(6, p=(0.35, 0.24, 0.11, 0.14, 0.09, 0.07)))):
            found.setdefault(asked.question, asked)
    return list(found.values())


def _question(rng: np.random.Generator, scene: Scene, kind: int) -> Asked | None:
    """A question of a kind; None where nothing can be pointed to by what the others lack."""
    factors = [thing.colour if kind == 1 else thing.shape for thing in scene.things]
    single = [thing for thing, one in zip(scene.things, factors, strict=True) if factors.count(one) == 1]
    if kind in (0, 1, 3) and not single:
        return None
    thing = pick(rng, single if kind in (0, 1, 3) else scene.things)
    shape, colour = SHAPES[thing.shape], NAMES[thing.colour]
    if kind == 0 and chance(rng, 0.2):
        first, second = some(rng, [colour, pick(rng, [other for other in NAMES if other != colour])], 2)
        return _asked(rng, "is the", "other", f"Is the {shape} {first} or {second}?", colour, NAMES)
    if kind == 0:
        question = pick(rng, (f"What color is the {shape}?", f"What is the color of the {shape}?"))
        return _asked(rng, "what color is the", "other", question, colour, NAMES)
    if kind == 1:
        ways = (f"What shape is {colour}?", f"What is the {colour} thing?", f"Which shape is {colour}?")
        return _asked(rng, "what is the", "other", pick(rng, ways), shape, SHAPES)
    if kind == 2:
        question, count = pick(
            rng,
            (
                (pick(rng, ("How many shapes are there?", "How many things do you see?")), len(scene.things)),
                (f"How many {plural(shape)} are there?", [one.shape for one in scene.things].count(thing.shape)),
                (f"How many shapes are {colour}?", [one.colour for one in scene.things].count(thing.colour)),
            ),
        )
        return _asked(rng, "how many", "number", question, str(count), NUMBERS)
    if kind == 3:
        answer = f"{LEVELS[thing.level]} {COLUMNS[thing.column]}"
        return _asked(rng, "where is the", "other", f"Where is the {shape}?", answer, PLACES)
    if kind == 4:
        said = pick(rng, NAMES) if chance(rng, 0.45) else colour
        there = any((one.shape, NAMES[one.colour]) == (thing.shape, said) for one in scene.things)
        question = f"Is there {article(said)} {said} {shape}?"
        return _asked(rng, "is there a", "yes/no", question, "yes" if there else "no", ())
    question = pick(rng, ("What is the background like?", "What pattern is the wall?"))
    return _asked(rng, "what is the", "other", question, PATTERNS[scene.pattern], PATTERNS)


def _asked(
    rng: np.random.Generator, kind: str, answer_type: str, question: str, answer: str, alike: tuple[str, ...]
) -> Asked:
    """With 18 choices as in VQA: the answer, plausible ones, popular ones, and answers to other questions."""
    chosen = [answer]
    everything = (*NAMES, *SHAPES, *NUMBERS, *PLACES, *PATTERNS, *POPULAR)
    for source, until in ((alike, 1 + PLAUSIBLE), (POPULAR, 1 + PLAUSIBLE + COMMON), (everything, CHOICES)):
        left = list(dict.fromkeys(choice for choice in source if choice not in chosen))
        chosen += some(rng, left, max(0, until - len(chosen)))
    return Asked(kind, answer_type, question, answer, some(rng, chosen, CHOICES))
