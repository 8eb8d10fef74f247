"""The vision/language domain on its miniature: what the loaders give, and that the miniature is worth learning from."""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tokenizers import Tokenizer

from dabs_rq import registry
from dabs_rq.data.columns import Shared
from dabs_rq.data.examples import Examples
from dabs_rq.data.prepared import Store, Stored
from dabs_rq.data.readers import image
from dabs_rq.domains.vqa import coco
from dabs_rq.domains.vqa import miniature as generator
from dabs_rq.errors import DataError, DataWarning

DOMAIN = registry.domain("vqa")
TASK = DOMAIN.tasks[0]
COCO = "captioned_images/mscoco"
VQA = "captioned_images/vqa/coco-vqa"
VOCABULARY = "text/tokenizers/bert-base-uncased/tokenizer.json"
NAMES = {"train": "train2014", "test": "val2014"}


@pytest.fixture
def root(miniature: Callable[[str], Path]) -> Path:
    return miniature("vqa")


@pytest.fixture
def pretraining(root: Path, read: Callable[..., Examples]) -> Callable[..., Examples]:
    return lambda split="train", **options: read(DOMAIN.pretraining.load, root, "vqa", split, **options)


@pytest.fixture
def load(root: Path, read: Callable[..., Examples]) -> Callable[..., Examples]:
    return lambda split="train", **options: read(TASK.load, root, "vqa", split, **options)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each picture is opened from here on, by name."""
    counts: Counter[str] = Counter()
    original = image.open_rgb

    def counting(source: Path, name: str | None = None) -> Image.Image:
        counts[source.name] += 1
        return original(source, name)

    monkeypatch.setattr(image, "open_rgb", counting)
    return counts


def ids(examples: Examples) -> list[str]:
    return examples.ids.to_pylist()


def array(examples: Examples, column: int) -> np.ndarray:
    return examples.inputs[column].take(np.arange(len(examples)))


def content(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text())


def tokenizer(root: Path) -> Tokenizer:
    one = Tokenizer.from_file(str(root / VOCABULARY))
    one.enable_padding(length=32, pad_id=one.token_to_id("[PAD]"), pad_token="[PAD]")
    return one


def asked(root: Path, split: str) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """The questions of a split, and the right answers, by id."""
    questions = content(root / VQA / f"MultipleChoice_mscoco_{NAMES[split]}_questions.json")["questions"]
    annotations = content(root / VQA / f"mscoco_{NAMES[split]}_annotations.json")["annotations"]
    return (
        {str(one["question_id"]): one for one in questions},
        {str(one["question_id"]): one["multiple_choice_answer"] for one in annotations},
    )


# ---- the domain ----------------------------------------------------------------------------------------------------


def test_the_domain_is_as_published() -> None:
    assert [(task.name, task.row, task.metric) for task in DOMAIN.tasks] == [("vqa", "VQA", "accuracy")]
    assert (DOMAIN.title, DOMAIN.batch_size) == ("Vision/Language", 64)
    assert [one.sequence_length for one in DOMAIN.inputs["paper"]] == [196, 32]
    assert [one.sequence_length for one in DOMAIN.inputs["mini"]] == [64, 32]
    assert DOMAIN.pretraining.sizes == {"train": 117_266, "validation": 4_952}


@pytest.mark.parametrize(("scale", "size"), [("mini", 32), ("paper", 224)])
def test_both_scales_give_a_picture_and_32_tokens_in_any_process(
    scale: str, size: int, load: Callable[..., Examples], pretraining: Callable[..., Examples]
) -> None:
    for examples in (load("test", scale=scale), pretraining("validation", scale=scale)):
        picture, text = (pickle.loads(pickle.dumps(one)).take(np.arange(3)) for one in examples.inputs)
        assert (picture.shape, picture.dtype) == ((3, 3, size, size), np.uint8)
        assert (text.shape, text.dtype) == ((3, 32), np.int32)


def test_importing_the_domain_imports_nothing_heavy() -> None:
    heavy = {"torch", "datasets", "pandas", "scipy", "transformers", "tokenizers"}
    code = f"import sys, domains.vqa; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# ---- MSCOCO --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("split", "name"), [("train", "train2017"), ("validation", "val2017")])
def test_coco_gives_the_last_caption_of_every_picture_that_has_an_instance(
    split: str, name: str, root: Path, pretraining: Callable[..., Examples]
) -> None:
    captions: dict[int, list[str]] = {}
    for one in content(root / COCO / f"annotations/captions_{name}.json")["annotations"]:
        captions.setdefault(one["image_id"], []).append(one["caption"])
    instances = content(root / COCO / f"annotations/instances_{name}.json")["annotations"]
    both = sorted(set(captions) & {one["image_id"] for one in instances})
    examples = pretraining(split)
    assert ids(examples) == [f"{name}/{number:012d}.jpg" for number in both]
    expected = [one.ids for one in tokenizer(root).encode_batch([captions[number][-1] for number in both])]
    assert np.array_equal(array(examples, 1), expected)
    assert examples.targets is None and examples.groups is None
    assert all(len(said) == 5 for said in captions.values())
    pictures = {int(path.stem) for path in (root / COCO / name).iterdir()}
    assert pictures - set(captions) and pictures - {one["image_id"] for one in instances}
    assert len(both) == {"train": 2100, "validation": 60}[split] < len(pictures)


def test_counts_that_differ_from_the_published_ones_are_told(load: Callable[..., Examples]) -> None:
    with pytest.warns(DataWarning, match=r"questions of train2014: 248,349 are declared, 1,\d\d\d were found"):
        load("train", made_up=False)
    with pytest.raises(DataError, match=r"questions of val2014: 121,512 are declared"):
        load("test", made_up=False, strict=True)


# ---- VQA -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["train", "test"])
def test_pairs_hold_the_right_answer_or_another_choice(split: str, root: Path, load: Callable[..., Examples]) -> None:
    examples = load(split)
    questions, answers = asked(root, split)
    encode = tokenizer(root).encode
    encoded, swapped = array(examples, 1).tolist(), []
    for row, number in enumerate(ids(examples)):
        question, right = questions[number], answers[number]
        pairs = {choice: encode(question["question"], choice).ids for choice in question["multiple_choices"]}
        (given,) = (choice for choice, pair in pairs.items() if pair == encoded[row])
        assert (given == right) == examples.targets[row]
        if given != right:
            swapped.append(question["multiple_choices"].index(given))
    assert 0.4 < examples.targets.mean() < 0.6
    assert len(set(swapped)) == 18  # every place among the choices: all others are as likely
    assert ids(examples) == [
        str(n) for n in sorted(int(n) for n, q in questions.items() if answers[n] in q["multiple_choices"])
    ]


@pytest.mark.parametrize("split", ["train", "test"])
def test_questions_without_their_answer_are_left_out_and_counted(
    split: str, root: Path, load: Callable[..., Examples]
) -> None:
    questions, answers = asked(root, split)
    lacking = {number for number, one in questions.items() if answers[number] not in one["multiple_choices"]}
    with pytest.warns(DataWarning, match=rf"{len(lacking)} of {len(questions):,} questions are left out"):
        examples = load(split)
    assert lacking and set(ids(examples)) == set(questions) - lacking
    assert all(len(one["multiple_choices"]) == 18 for one in questions.values())


def test_pictures_are_those_of_the_questions_and_their_groups(root: Path, load: Callable[..., Examples]) -> None:
    splits = {split: load(split) for split in NAMES}
    for split, examples in splits.items():
        questions, _ = asked(root, split)
        expected = [questions[number]["image_id"] for number in ids(examples)]
        assert examples.groups.tolist() == expected
        for row in (0, 1, 2, len(expected) - 1):
            file = f"{VQA}/{NAMES[split]}/COCO_{NAMES[split]}_{expected[row]:012d}.jpg"
            decoded = coco.decode({"path": file}, root=root, width=32, height=32)
            assert np.array_equal(examples.inputs[0].take(np.array([row]))[0], decoded)
    assert not set(splits["train"].groups) & set(splits["test"].groups)
    assert len(splits["train"]) >= 1050 and len(splits["test"]) >= 300


def test_swaps_depend_on_nothing_but_the_files(load: Callable[..., Examples]) -> None:
    before = load("train")
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    states = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    for protocol in ("corrected", "published"):
        again = load("train", protocol=protocol)
        assert again.key == before.key and np.array_equal(again.targets, before.targets)
    assert states == (random.getstate(), np.random.get_state()[1].tolist())  # noqa: NPY002
    test = load("test")
    assert not np.array_equal(before.targets[: len(test)], test.targets)


def test_the_order_of_files_and_of_questions_does_not_matter(
    root: Path, tmp_path: Path, read: Callable[..., Examples], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = read(TASK.load, root, "vqa", "test")
    copy = shutil.copytree(root, tmp_path / "root", ignore=shutil.ignore_patterns("train2017", "train2014"))
    (copy / VQA / "train2014").mkdir()
    for name, part in (
        ("MultipleChoice_mscoco_val2014_questions", "questions"),
        ("mscoco_val2014_annotations", "annotations"),
    ):
        file = copy / VQA / f"{name}.json"
        loaded = content(file)
        loaded[part] = loaded[part][::-1]
        file.write_text(json.dumps(loaded))
    shutil.rmtree(copy / VQA / "annotations")  # the captions of 2014, which DABS looks names up in
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path=".": sorted(listdir(path), reverse=True))
    after = read(TASK.load, copy, "vqa", "test")
    assert ids(after) == ids(before) and np.array_equal(after.targets, before.targets)
    assert np.array_equal(array(after, 1), array(before, 1))


def test_every_picture_is_decoded_once_for_all_its_questions(
    tmp_path: Path, load: Callable[..., Examples], opened: Counter[str]
) -> None:
    examples = load("test")
    assert not opened
    kept = examples.prepared(Store(tmp_path / "cache", policy="always").prepare)
    distinct = len(set(examples.groups.tolist()))
    assert len(opened) == distinct < len(examples) and set(opened.values()) == {1}
    pictures = kept.inputs[0]
    assert isinstance(pictures, Shared) and isinstance(pictures.column, Stored) and len(pictures.column) == distinct
    prepared = array(kept, 0), array(kept, 1)
    assert set(opened.values()) == {1}
    never = examples.prepared(Store(tmp_path / "cache", policy="never").prepare)
    assert np.array_equal(prepared[0], array(never, 0)) and np.array_equal(prepared[1], array(never, 1))
    assert kept.key == never.key == examples.key


def test_a_sample_prepares_only_its_own_pictures(
    tmp_path: Path, load: Callable[..., Examples], opened: Counter[str]
) -> None:
    examples = load("train")
    sample = examples.sample(40, seed=3)
    kept = sample.prepared(Store(tmp_path / "cache", policy="always").prepare)
    assert len(kept) == 40 and set(opened.values()) == {1}
    assert set(opened) == {f"COCO_train2014_{number:012d}.jpg" for number in set(sample.groups.tolist())}
    rows = np.array([ids(examples).index(number) for number in ids(sample)])
    assert np.array_equal(array(kept, 0), examples.inputs[0].take(rows))
    assert np.array_equal(array(kept, 1), examples.inputs[1].take(rows))
    assert np.array_equal(sample.targets, examples.targets[rows])


# ---- pictures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height"), [(640, 480), (427, 640), (64, 48), (33, 57), (480, 640)])
@pytest.mark.parametrize("size", [32, 224])
def test_pictures_are_resized_and_cropped_as_torchvision_does_it(
    width: int, height: int, size: int, tmp_path: Path
) -> None:
    drawn = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(drawn).save(tmp_path / "picture.png")
    # Resize((640, 480)), CenterCrop((480, 480)), Resize((size, size)), sizes being (height, width).
    resized = Image.fromarray(drawn).resize((480, 640), Image.Resampling.BILINEAR)
    top, left = round((resized.height - 480) / 2), round((resized.width - 480) / 2)
    expected = resized.crop((left, top, left + 480, top + 480)).resize((size, size), Image.Resampling.BILINEAR)
    decoded = coco.decode({"path": "picture.png"}, root=tmp_path, width=size, height=size)
    assert np.array_equal(decoded, np.asarray(expected).transpose(2, 0, 1))


def test_an_eighth_is_cut_off_above_and_below_and_nothing_at_the_sides(tmp_path: Path) -> None:
    drawn = np.zeros((480, 640, 3), np.uint8)
    drawn[:56, :, 0] = drawn[-56:, :, 0] = 255  # seen only if less than an eighth (60 rows) were cut off
    drawn[:, :40, 1] = drawn[:, -40:, 1] = 255
    Image.fromarray(drawn).save(tmp_path / "picture.png")
    red, green, _ = coco.decode({"path": "picture.png"}, root=tmp_path, width=32, height=32)
    assert red.max() == 0
    assert (green[:, :1] > 200).all() and (green[:, -1:] > 200).all() and (green[:, 4:-4] == 0).all()


def test_pictures_of_any_mode_become_rgb(tmp_path: Path) -> None:
    Image.new("L", (40, 30), 99).save(tmp_path / "gray.jpg")
    column = coco.pictures(["gray.jpg"], tmp_path, (3, 32, 32))
    assert np.abs(column.take(np.array([0])).astype(int) - 99).max() <= 1
    assert column.key != coco.pictures(["gray.jpg"], tmp_path, (3, 16, 16)).key
    with pytest.raises(ValueError, match="3 channels, not 1"):
        coco.pictures(["gray.jpg"], tmp_path, (1, 32, 32))


# ---- the miniature -------------------------------------------------------------------------------------------------


def test_the_miniature_has_what_others_read(root: Path) -> None:
    """The keys of the published files; a picture's name is where DABS looks it up, and equal to what we derive."""
    for split, name in NAMES.items():
        named = {
            one["id"]: one["file_name"] for one in content(root / VQA / f"annotations/captions_{name}.json")["images"]
        }
        questions, _ = asked(root, split)
        for one in questions.values():
            assert named[one["image_id"]] == f"COCO_{name}_{one['image_id']:012d}.jpg"
        annotation = content(root / VQA / f"mscoco_{name}_annotations.json")["annotations"][0]
        assert len(annotation["answers"]) == 10 and {"question_type", "answer_type"} <= set(annotation)
    instances = content(root / COCO / "annotations/instances_val2017.json")
    categories = [one["id"] for one in instances["categories"]]
    assert {one["category_id"] for one in instances["annotations"]} <= set(categories)
    assert categories == sorted(categories) and categories[-1] > len(categories)  # ids have gaps
    sizes = {one["id"]: (one["width"], one["height"]) for one in instances["images"]}
    assert len(set(sizes.values())) > 4
    for number, size in list(sizes.items())[:10]:
        with Image.open(root / COCO / f"val2017/{number:012d}.jpg") as picture:
            assert picture.size == size


def test_the_miniature_can_be_learned_but_not_from_text_alone(root: Path, load: Callable[..., Examples]) -> None:
    """Words alone tell a little more than chance; with how much of the answer's colour is in the picture, more."""
    from sklearn.linear_model import LogisticRegression

    splits = load("train"), load("test")
    words = tokenizer(root)
    colours = [words.token_to_id(name) for name in generator.COLOURS]
    texts, shown = [], []
    for examples in splits:
        tokens = array(examples, 1)
        bag = np.zeros((len(examples), words.get_vocab_size()))
        np.put_along_axis(bag, tokens.astype(np.int64), 1, axis=1)
        end = words.token_to_id("[SEP]")
        answer = np.array([row[int(np.flatnonzero(row == end)[0]) + 1] for row in tokens])
        texts.append(bag)
        pixels = array(examples, 0).reshape(len(examples), 3, 1, -1) / 255
        paints = np.array(list(generator.COLOURS.values())).T[None, :, :, None] / 255
        amount = np.log1p(np.exp(-((pixels - paints) ** 2).sum(1) / 0.02).sum(2))
        shown.append((amount - amount.mean(0)) / amount.std(0) * (answer[:, None] == colours))
    both = [np.hstack([bag, match, match.sum(1, keepdims=True)]) for bag, match in zip(texts, shown, strict=True)]

    def accuracy(train: np.ndarray, test: np.ndarray) -> float:
        return LogisticRegression(C=0.3, max_iter=1000).fit(train, splits[0].targets).score(test, splits[1].targets)

    text_alone, with_pictures = accuracy(*texts), accuracy(*both)
    assert 0.52 < text_alone < 0.66
    assert text_alone + 0.04 < with_pictures < 0.9
