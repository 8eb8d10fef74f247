"""A small made-up copy of MSCOCO 2017 and VQA v1, in their native layouts, with a small tokenizer.

Captions and questions speak of a scene's things: shapes, colours, sizes and places. Most false choices are plausible.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dabs_rq.miniature import tokenizer
from dabs_rq.miniature.facts import article, chance, pick, plural, some, words
from dabs_rq.miniature.scenes import PATTERNS, SHAPES, Canvas, Factors, draw, each, lights, textured, textures, uniform
from dabs_rq.miniature.writers import Rng, generator, run, write_json, write_pictures

PICTURES = {"train2017": 2100, "val2017": 60}  # with captions and instances
WITHOUT = 8  # further pictures without a caption, and as many without an instance
ASKED = {"train2014": 470, "val2014": 140}  # pictures with questions
CATEGORIES = (1, 2, 3, 5, 6, 8, 9, 13, 14, 16)  # ids of the shapes; COCO's have gaps too
NAMES = words("red blue white green black yellow brown orange pink purple")
RED, GREEN = (205, 40, 240, 45, 25, 240, 120, 245, 245, 125), (35, 70, 240, 150, 25, 220, 70, 140, 150, 45)
BLUE = (40, 205, 240, 50, 25, 50, 30, 30, 185, 150)
COLOURS = dict(zip(NAMES, zip(RED, GREEN, BLUE, strict=True), strict=True))
COLUMNS, LEVELS = ("left", "middle", "right"), ("upper", "lower")
PLACES = tuple(f"{level} {column}" for level in LEVELS for column in COLUMNS)
SIZES = ((48, 64), (48, 64), (64, 48), (48, 48), (45, 64), (39, 52), (60, 56))  # height, width
NUMBERS, POPULAR = tuple("012345678"), ("yes", "no", "1", "2", "3", "4", "white", "red", "blue", "green")
CHOICES = 18  # of a question
INFO, LICENSE = {"description": "made up", "version": "1.0", "year": 2014}, {"id": 1, "name": "made up", "url": ""}
# Numbers in SHAPES, COLOURS, COLUMNS and LEVELS; the middle and the radius in pixels.
Thing = namedtuple("Thing", "shape colour large column level x y radius")
Record = dict[str, Any]  # of a JSON file
Scene = namedtuple("Scene", "height width pattern things")  # pattern: a number in PATTERNS; things: in no order


def write(root: Path, seed: int, processes: int = 1) -> None:
    """Write the whole miniature below `root`: about 2,800 pictures, the same bytes for the same seed."""
    top = root / "captioned_images"
    jobs = [(_mscoco, top / "mscoco", seed, name) for name in PICTURES]
    texts = run([*jobs, *((_vqa, top / "vqa" / "coco-vqa", seed, name) for name in ASKED)], processes)
    tokenizer.train(root, "bert-base-uncased", [text for part in texts for text in part], 600)


def _mscoco(folder: Path, seed: int, name: str) -> list[str]:
    """Write the pictures, captions and instances of a split. Returns the captions."""
    rng = generator(seed, name)
    scenes = [_scene(rng) for _ in range(PICTURES[name])] + [_scene(rng, most=0) for _ in range(WITHOUT)]
    scenes += [_scene(rng) for _ in range(WITHOUT)]  # nobody describes these
    about, ids, said = _described(rng, folder, name, scenes)
    instances = list[Record]()
    for number, scene in zip(ids, scenes, strict=True):
        for thing in scene.things:
            left, top, size = (round(v, 2) for v in (thing.x - thing.radius, thing.y - thing.radius, 2 * thing.radius))
            which = {"id": len(instances) + 1001, "image_id": number, "category_id": CATEGORIES[thing.shape]}
            box = {"bbox": [left, top, size, size], "area": round(size * size, 2), "iscrowd": 0}
            instances.append({**which, **box})
    kinds = [{"supercategory": "shape", "id": k, "name": shape} for k, shape in zip(CATEGORIES, SHAPES, strict=True)]
    content = {**about, "annotations": some(rng, instances, len(instances)), "categories": kinds}
    write_json(folder / "annotations" / f"instances_{name}.json", content)
    return said


def _vqa(folder: Path, seed: int, name: str) -> list[str]:
    """Write the pictures, captions, questions and answers of a split. Returns the questions and choices."""
    rng = generator(seed, name)
    scenes = [_scene(rng) for _ in range(ASKED[name])]
    _, ids, _ = _described(rng, folder, name, scenes)
    questions, annotations = list[Record](), list[Record]()
    for number, scene in zip(ids, scenes, strict=True):
        for place, (kind, text, answer, alike) in enumerate(_questions(rng, scene, 2 + chance(rng, 0.35))):
            which = {"image_id": number, "question_id": 10 * number + place}
            choices = _choices(rng, answer, alike)
            if len(questions) < 3:  # the answer is not among the choices
                choices[choices.index(answer)] = "none of these"
            questions.append({**which, "question": text, "multiple_choices": choices})
            answers = [{"answer": answer, "answer_confidence": "yes", "answer_id": person} for person in range(1, 11)]
            annotated = {"question_type": kind, "answer_type": "other", "multiple_choice_answer": answer}
            annotations.append({**which, **annotated, "answers": answers})
    common = {"info": INFO, "data_type": "mscoco", "data_subtype": name, "license": LICENSE}
    listed = {"task_type": "Multiple-Choice", "num_choices": CHOICES, "questions": some(rng, questions, len(questions))}
    write_json(folder / f"MultipleChoice_mscoco_{name}_questions.json", {**common, **listed})
    write_json(folder / f"mscoco_{name}_annotations.json", {**common, "annotations": annotations})
    return [text for one in questions for text in (one["question"], *one["multiple_choices"])]


def _described(rng: Rng, folder: Path, name: str, scenes: list[Scene]) -> tuple[Record, list[int], list[str]]:
    """Write the pictures of a split, and five captions of each, in MSCOCO's splits but of the last WITHOUT. Returns
    what every JSON file says of the pictures, their ids (odd ones for validation) and the captions."""
    prefix, captioned = ("", len(scenes) - WITHOUT) if name in PICTURES else (f"COCO_{name}_", len(scenes))
    ids = (2 * rng.choice(290_000, len(scenes), replace=False) + 2 + name.startswith("val")).tolist()
    files = [f"{prefix}{number:012d}.jpg" for number in ids]
    write_pictures(folder / name, files, _drawn(rng, scenes))
    shown = zip(ids, files, scenes, strict=True)
    images = [{"id": i, "file_name": file, "height": one.height, "width": one.width} for i, file, one in shown]
    about = {"info": INFO, "images": some(rng, images, len(images)), "licenses": [LICENSE]}
    said = [(i, _caption(rng, scene)) for i, scene in zip(ids[:captioned], scenes, strict=False) for _ in range(5)]
    captions = [{"id": 7 * row + 38, "image_id": i, "caption": text} for row, (i, text) in enumerate(said)]
    content = {**about, "annotations": some(rng, captions, len(captions))}
    write_json(folder / "annotations" / f"captions_{name}.json", content)
    return about, ids, [text for _, text in said]


def _scene(rng: Rng, most: int = 3) -> Scene:
    """1 to `most` things (or none) in different columns. A thing often repeats colour or shape of the one before."""
    (height, width), things = pick(rng, SIZES), list[Thing]()
    for column in some(rng, range(len(COLUMNS)), int(rng.integers(min(1, most), most + 1))):
        shape, colour, large, level = _skewed(rng, SHAPES), _skewed(rng, NAMES), chance(rng, 0.5), pick(rng, (0, 1))
        shape = things[-1].shape if things and chance(rng, 0.3) else shape
        colour = things[-1].colour if things and chance(rng, 0.3) else colour
        x = width / 2 * (1 + 0.6 * (column - 1) + rng.uniform(-0.08, 0.08))
        y = height / 2 * (1 + 0.6 * (level - 0.5) + rng.uniform(-0.06, 0.06))
        radius = width / 2 * ((0.3 if large else 0.2) + rng.uniform(-0.02, 0.02))
        things.append(Thing(shape, colour, large, column, level, x, y, radius))
    return Scene(height, width, _skewed(rng, PATTERNS), things)


def _skewed(rng: Rng, among: Sequence[str]) -> int:
    """A place in `among`, the first ones about three times as likely as the last."""
    return int(len(among) * rng.random() ** 1.4)


def _drawn(rng: Rng, scenes: list[Scene]) -> list[np.ndarray]:
    sizes, n = [(scene.height, scene.width) for scene in scenes], len(scenes)
    tone = np.clip(rng.uniform(0.35, 0.75, (n, 1)) + rng.uniform(-0.06, 0.06, (n, 3)), 0, 1)
    factors: Factors = {**textures(rng, n, (0.15, 0.35)), "tone": tone, **lights(rng, n)}
    factors |= uniform(rng, n, light=(0.8, 1.1), slope=(-0.15, 0.15))
    factors["pattern"] = np.array([scene.pattern for scene in scenes])
    things = np.array([[*scene.things, *[(0,) * 8] * 3][:3] for scene in scenes]).transpose(1, 0, 2)
    half = np.array(sizes) / 2
    for number, (shape, colour, _, _, _, x, y, radius) in enumerate(things.transpose(0, 2, 1)):
        paint = np.array(list(COLOURS.values()))[colour.astype(int)] / 255 + rng.uniform(-0.08, 0.08, (n, 3))
        factors |= {f"shape{number}": shape.astype(int), f"paint{number}": paint.astype(np.float32)}
        factors |= {f"x{number}": (x - half[:, 1]) / half.max(1), f"y{number}": (y - half[:, 0]) / half.max(1)}
        factors |= {f"size{number}": radius / half.max(1), f"angle{number}": rng.uniform(-0.25, 0.25, n)}
    return draw(_paint, rng, factors, sizes)


def _paint(canvas: Canvas, scene: Factors, rng: Rng) -> None:
    canvas.layers[:] = textured(scene["tone"], scene, canvas.x, canvas.y)
    for number in range(3):
        x, y, size, angle = (scene[f"{factor}{number}"] for factor in ("x", "y", "size", "angle"))
        u, v = canvas.place(x, y, np.maximum(size, 1e-3), angle)
        canvas.paint(canvas.cover(scene[f"shape{number}"], u, v, size) * each(size > 0), scene[f"paint{number}"])


def _caption(rng: Rng, scene: Scene) -> str:
    """A caption in words that vary, which does not say everything."""
    ground = f"{PATTERNS[scene.pattern]} {pick(rng, ('background', 'ground', 'wall', 'backdrop'))}"
    placed, named = [], []
    for thing in some(rng, scene.things, 3):
        size = [pick(rng, words("large big huge" if thing.large else "small little tiny"))] if chance(rng, 0.5) else []
        said = [*size, NAMES[thing.colour], SHAPES[thing.shape]]
        named.append(f"{article(said[0])} {' '.join(said)}")
        column = COLUMNS[thing.column]
        beside = "in the middle" if column == "middle" else f"{pick(rng, ('on', 'to'))} the {column}"
        placed.append(f"{named[-1]} {pick(rng, (beside, f'at the {LEVELS[thing.level]} {column}'))}")
    if not named:
        return f"{pick(rng, ('an empty', 'nothing but a', 'just a'))} {ground}."
    things = " and ".join(named)
    return pick(rng, (f"{things} on a {ground}.", f"A {ground} with {things}.", f"{' and '.join(placed[:2])}."))


def _questions(rng: Rng, scene: Scene, wanted: int) -> list[tuple[str, str, str, tuple[str, ...]]]:
    """`wanted` different questions about a scene: kind, text, answer, and answers of the same kind."""
    shapes, colours = [thing.shape for thing in scene.things], [thing.colour for thing in scene.things]
    ask: dict[str, tuple[str, str, tuple[str, ...]]] = {}
    for thing in scene.things:
        shape, colour = SHAPES[thing.shape], NAMES[thing.colour]
        if chance(rng, 0.2):
            ask[f"How many {plural(shape)} are there?"] = ("how many", str(shapes.count(thing.shape)), NUMBERS)
        if chance(rng, 0.2):
            said = pick(rng, NAMES) if chance(rng, 0.45) else colour
            there = any((one.shape, NAMES[one.colour]) == (thing.shape, said) for one in scene.things)
            ask[f"Is there {article(said)} {said} {shape}?"] = ("is there a", "yes" if there else "no", ())
        if shapes.count(thing.shape) == 1:  # something that nothing else equals can be pointed to
            text = pick(rng, (f"What color is the {shape}?", f"What is the color of the {shape}?"))
            ask[text], place = ("what", colour, NAMES), f"{LEVELS[thing.level]} {COLUMNS[thing.column]}"
            ask[f"Where is the {shape}?"] = ("where is the", place, PLACES)
        if colours.count(thing.colour) == 1:
            ask[pick(rng, (f"What shape is {colour}?", f"Which thing is {colour}?"))] = ("what", shape, SHAPES)
    if len(ask) < wanted or chance(rng, 0.2):
        ask["What is the background like?"] = ("what is the", PATTERNS[scene.pattern], PATTERNS)
        ask["How many shapes are there?"] = ("how many", str(len(shapes)), NUMBERS)
    return [(kind, text, answer, alike) for text, (kind, answer, alike) in some(rng, [*ask.items()], wanted)]


def _choices(rng: Rng, answer: str, alike: tuple[str, ...]) -> list[str]:
    """As in VQA: the answer, plausible ones as far as there are, popular ones, and answers to other questions."""
    chosen, everything = [answer], (*NAMES, *SHAPES, *NUMBERS, *PLACES, *PATTERNS, *POPULAR)
    for source, until in ((alike, 10), (POPULAR, 14), (everything, CHOICES)):
        left = list(dict.fromkeys(choice for choice in source if choice not in chosen))
        chosen += some(rng, left, max(0, until - len(chosen)))
    return some(rng, chosen, CHOICES)
