"""What is said about a made-up scene: captions, and questions with their answers and multiple choices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from domains.vqa.miniature_scenes import COLOURS, COLUMNS, LEVELS, PATTERNS, SHAPES, Scene, Thing

COLOUR_NAMES = tuple(COLOURS)
NUMBERS = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "10")
COUNT_WORDS = ("no", "one", "two", "three")
PLACES = tuple(f"{level} {column}" for level in LEVELS for column in COLUMNS)
OTHER_WORDS = {
    "circle": ("disc", "dot"),
    "square": ("box",),
    "diamond": ("rhombus",),
    "ring": ("hoop",),
    "cross": ("plus",),
    "moon": ("crescent",),
    "bar": ("strip",),
}
LARGE, SMALL = ("large", "big", "huge"), ("small", "little", "tiny")
POPULAR = ("yes", "no", "1", "2", "3", "4", "white", "red", "blue", "green")
CHOICES = 18
PLAUSIBLE = 9  # false choices of the right kind, where there are so many
COMMON = 4  # of the popular ones; the rest are answers to questions of other kinds


class Asked(NamedTuple):
    """A question about a scene. kind: the beginning of the question; choices: 18, in no order."""

    kind: str
    answer_type: str
    question: str
    answer: str
    choices: tuple[str, ...]


# ---- captions ------------------------------------------------------------------------------------------------------


def captions(rng: np.random.Generator, scene: Scene) -> list[str]:
    """Five captions of a scene, in words that vary, none of which says everything."""
    return [_caption(rng, scene) for _ in range(5)]


def _caption(rng: np.random.Generator, scene: Scene) -> str:
    ground = f"{PATTERNS[scene.pattern]} {_one(rng, ('background', 'ground', 'wall', 'backdrop'))}"
    things = [scene.things[i] for i in rng.permutation(len(scene.things))]
    if not things:
        return f"{_one(rng, ('an empty', 'nothing but a', 'just a'))} {ground}."
    named = _joined([_phrase(rng, thing) for thing in things])
    form = int(rng.integers(5))
    if form == 0:
        return f"{named} on a {ground}."
    if form == 1:
        return f"A {ground} with {named}."
    if form == 2:
        verb = "is" if len(things) == 1 else "are"
        return f"There {verb} {named} {_one(rng, ('in the picture', 'in this image', 'here'))}."
    if form == 3:
        placed = [f"{_phrase(rng, thing)} {_place_phrase(rng, thing)}" for thing in things[:2]]
        return f"{_joined(placed)}."
    noun = f"{_one(rng, ('shape', 'figure', 'object'))}{'s' if len(things) > 1 else ''}"
    return f"{COUNT_WORDS[len(things)]} {noun} in front of a {ground}, {named}."


def _phrase(rng: np.random.Generator, thing: Thing) -> str:
    """ "a big red circle", often without the size."""
    words = [COLOUR_NAMES[thing.colour], _one(rng, (SHAPES[thing.shape], *OTHER_WORDS.get(SHAPES[thing.shape], ())))]
    if rng.random() < 0.5:
        words.insert(0, _one(rng, LARGE if thing.large else SMALL))
    return f"{'an' if words[0] == 'orange' else 'a'} {' '.join(words)}"


def _place_phrase(rng: np.random.Generator, thing: Thing) -> str:
    column = COLUMNS[thing.column]
    beside = "in the middle" if column == "middle" else _one(rng, (f"on the {column}", f"to the {column}"))
    return _one(rng, (beside, f"at the {LEVELS[thing.level]} {column}"))


def _joined(phrases: Sequence[str]) -> str:
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"


# ---- questions -----------------------------------------------------------------------------------------------------


def questions(rng: np.random.Generator, scene: Scene, wanted: int) -> list[Asked]:
    """`wanted` different questions about a scene."""
    found: dict[str, Asked] = {}
    while len(found) < wanted:
        kind = rng.choice(6, p=(0.35, 0.24, 0.11, 0.14, 0.09, 0.07))
        asked = (_colour, _shape, _count, _where, _yes_no, _ground)[kind](rng, scene)
        if asked is not None:
            found.setdefault(asked.question, asked)
    return list(found.values())


def _colour(rng: np.random.Generator, scene: Scene) -> Asked | None:
    thing = _only(rng, scene, "shape")
    if thing is None:
        return None
    name, answer = SHAPES[thing.shape], COLOUR_NAMES[thing.colour]
    if rng.random() < 0.2:
        wrong = _one(rng, [colour for colour in COLOUR_NAMES if colour != answer])
        first, second = rng.permutation([answer, wrong])
        return _asked(rng, "is the", "other", f"Is the {name} {first} or {second}?", answer, COLOUR_NAMES)
    question = _one(rng, (f"What color is the {name}?", f"What is the color of the {name}?"))
    return _asked(rng, "what color is the", "other", question, answer, COLOUR_NAMES)


def _shape(rng: np.random.Generator, scene: Scene) -> Asked | None:
    thing = _only(rng, scene, "colour")
    if thing is None:
        return None
    colour = COLOUR_NAMES[thing.colour]
    question = _one(rng, (f"What shape is {colour}?", f"What is the {colour} thing?", f"Which shape is {colour}?"))
    return _asked(rng, "what is the", "other", question, SHAPES[thing.shape], SHAPES)


def _count(rng: np.random.Generator, scene: Scene) -> Asked | None:
    what = int(rng.integers(3))
    if what == 0:
        question, count = _one(rng, ("How many shapes are there?", "How many things do you see?")), len(scene.things)
    elif what == 1:
        shape = _one(rng, scene.things).shape
        plural = f"{SHAPES[shape]}{'es' if SHAPES[shape].endswith('s') else 's'}"
        question, count = f"How many {plural} are there?", sum(one.shape == shape for one in scene.things)
    else:
        colour = _one(rng, scene.things).colour
        question = f"How many {COLOUR_NAMES[colour]} shapes are in the picture?"
        count = sum(one.colour == colour for one in scene.things)
    return _asked(rng, "how many", "number", question, str(count), NUMBERS)


def _where(rng: np.random.Generator, scene: Scene) -> Asked | None:
    thing = _only(rng, scene, "shape")
    if thing is None:
        return None
    answer = f"{LEVELS[thing.level]} {COLUMNS[thing.column]}"
    return _asked(rng, "where is the", "other", f"Where is the {SHAPES[thing.shape]}?", answer, PLACES)


def _yes_no(rng: np.random.Generator, scene: Scene) -> Asked | None:
    thing = _one(rng, scene.things)
    shape, colour = SHAPES[thing.shape], COLOUR_NAMES[thing.colour]
    if rng.random() < 0.45:
        colour = _one(rng, COLOUR_NAMES)
    true = any((SHAPES[one.shape], COLOUR_NAMES[one.colour]) == (shape, colour) for one in scene.things)
    article = "an" if colour == "orange" else "a"
    return _asked(rng, "is there a", "yes/no", f"Is there {article} {colour} {shape}?", "yes" if true else "no", ())


def _ground(rng: np.random.Generator, scene: Scene) -> Asked | None:
    question = _one(rng, ("What is the background like?", "What pattern is the wall?"))
    return _asked(rng, "what is the", "other", question, PATTERNS[scene.pattern], PATTERNS)


def _only(rng: np.random.Generator, scene: Scene, factor: str) -> Thing | None:
    """A thing that nothing else in the scene equals in `factor`, so that a question can point to it."""
    values = [getattr(one, factor) for one in scene.things]
    alone = [one for one, value in zip(scene.things, values, strict=True) if values.count(value) == 1]
    return _one(rng, alone) if alone else None


def _asked(
    rng: np.random.Generator, kind: str, answer_type: str, question: str, answer: str, alike: Sequence[str]
) -> Asked:
    """With 18 choices as in VQA: the answer, plausible ones, popular ones, and answers to other questions."""
    chosen = [answer]
    sources = (alike, POPULAR, (*COLOUR_NAMES, *SHAPES, *NUMBERS, *PLACES, *PATTERNS, *POPULAR))
    for source, until in zip(sources, (1 + PLAUSIBLE, 1 + PLAUSIBLE + COMMON, CHOICES), strict=True):
        left = list(dict.fromkeys(choice for choice in source if choice not in chosen))
        chosen += [left[i] for i in rng.permutation(len(left))[: max(0, until - len(chosen))]]
    return Asked(kind, answer_type, question, answer, tuple(chosen[i] for i in rng.permutation(CHOICES)))


def _one(rng: np.random.Generator, values: Sequence[Any]) -> Any:
    return values[int(rng.integers(len(values)))]
