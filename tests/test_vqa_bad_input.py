"""The vision/language domain on damaged and incomplete files: errors name the file and, in JSON, the entry."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dabs_rq import registry
from dabs_rq.data.examples import Examples
from dabs_rq.domains.vqa.coco import entries
from dabs_rq.errors import DataError, MissingDataError

DOMAIN = registry.domain("vqa")
SOURCES = {"mscoco": DOMAIN.pretraining.source, "vqa": DOMAIN.tasks[0].source}
CAPTIONS = "captioned_images/mscoco/annotations/captions_val2017.json"
INSTANCES = "captioned_images/mscoco/annotations/instances_val2017.json"
QUESTIONS = "captioned_images/vqa/coco-vqa/MultipleChoice_mscoco_val2014_questions.json"
ANNOTATIONS = "captioned_images/vqa/coco-vqa/mscoco_val2014_annotations.json"
READ = {CAPTIONS: "mscoco", INSTANCES: "mscoco", QUESTIONS: "vqa", ANNOTATIONS: "vqa"}


@pytest.fixture
def root(miniature: Callable[[str], Path], tmp_path: Path) -> Path:
    """A copy to be damaged, without the large training splits (their folders and files are there)."""
    copy = tmp_path / "data"
    shutil.copytree(miniature("vqa"), copy, ignore=shutil.ignore_patterns("0000*.jpg", "COCO_train*", "COCO_val*"))
    for folder in ("mscoco/val2017", "vqa/coco-vqa/val2014"):
        whole = miniature("vqa") / "captioned_images" / folder
        shutil.copytree(whole, copy / "captioned_images" / folder, dirs_exist_ok=True)
    return copy


@pytest.fixture
def load(root: Path, read: Callable[..., Examples]) -> Callable[..., Examples]:
    def load(name: str, **options: Any) -> Examples:
        if name == "vqa":
            return read(DOMAIN.tasks[0].load, root, "vqa", "test", **options)
        return read(DOMAIN.pretraining.load, root, "vqa", "validation", **options)

    return load


def change(file: Path, edit: Callable[[list[Any]], object]) -> None:
    """Edit the list of entries in a JSON file."""
    content = json.loads(file.read_text())
    edit(content["questions"] if "questions" in content else content["annotations"])
    file.write_text(json.dumps(content))


# ---- missing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SOURCES)
def test_a_missing_source_tells_how_to_get_it(name: str, root: Path, load: Callable[..., Examples]) -> None:
    source = SOURCES[name]
    shutil.rmtree(root / source.folder)
    with pytest.raises(MissingDataError) as caught:
        load(name)
    text = str(caught.value)
    assert str(root / source.folder / source.needs[0]) in text and source.url in text and "none needed" in text
    assert all(line.strip() in text for line in source.layout.strip().splitlines())


@pytest.mark.parametrize("gone", ["val2017", "annotations/captions_val2017.json", "annotations/instances_val2017.json"])
def test_coco_without_its_validation_split_still_pretrains(
    gone: str, miniature: Callable[[str], Path], tmp_path: Path, read: Callable[..., Examples]
) -> None:
    root = tmp_path / "linked"
    folder = root / SOURCES["mscoco"].folder
    shutil.copytree(miniature("vqa") / "text", root / "text")
    shutil.copytree(
        miniature("vqa") / SOURCES["mscoco"].folder, folder, copy_function=lambda a, b: Path(b).symlink_to(a)
    )
    shutil.rmtree(folder / gone) if (folder / gone).is_dir() else (folder / gone).unlink()
    assert len(read(DOMAIN.pretraining.load, root, "vqa", "train")) == 2100
    with pytest.raises(MissingDataError, match=f"missing {folder / gone}"):
        read(DOMAIN.pretraining.load, root, "vqa", "validation")


@pytest.mark.parametrize("need", SOURCES["vqa"].needs)
def test_every_file_that_vqa_needs_is_asked_for(need: str, root: Path, load: Callable[..., Examples]) -> None:
    path = root / SOURCES["vqa"].folder / need
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(MissingDataError, match=str(path)):
        load("vqa")


@pytest.mark.parametrize(("name", "pattern"), [("mscoco", "val2017/*.jpg"), ("vqa", "coco-vqa/val2014/*.jpg")])
@pytest.mark.parametrize("prepare", ["never", "always"])
def test_a_missing_and_a_truncated_picture_are_named(
    name: str, pattern: str, prepare: str, root: Path, load: Callable[..., Examples], tmp_path: Path
) -> None:
    examples = load(name)
    file = sorted((root / SOURCES[name].folder).glob(pattern))[5]
    if name == "mscoco":  # one that has both a caption and an instance
        file = root / SOURCES[name].folder / examples.ids[3].as_py()
    whole = file.read_bytes()
    file.write_bytes(whole[:-300])
    with pytest.raises(DataError, match=f"{file}: damaged or not a picture .*truncated"):
        load(name, prepare=prepare).inputs[0].take(np.arange(len(examples)))
    file.unlink()
    with pytest.raises(DataError, match=f"json: (question [0-9]+: )?no such file {file}"):
        load(name)


# ---- JSON ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", READ)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "damaged or not JSON"),
        (b'{"annotations": [{"image_id": 1, ', "damaged or not JSON"),
        (b"\xff\xfe{}", "damaged or not JSON"),
        (b"[" * 200_000, "damaged or not JSON"),
        (b"{}", "found no list of that name"),
        (b'{"images": []}', "found no list of that name"),
        (b"[]", "found no list of that name"),
        (b'[{"image_id": 1, "caption": "text"}]', "found no list of that name"),
        (b'{"annotations": 3, "questions": "text"}', "found no list of that name"),
        (b'{"annotations": [7], "questions": [7]}', "entry 1: expected an object with .*, found 7"),
        (b'{"annotations": [{"annotations": []}], "questions": [{"questions": []}]}', "entry 1: expected an object"),
    ],
    ids=range(11),
)
def test_a_file_that_is_no_such_json_is_named(
    path: str, content: bytes, message: str, root: Path, load: Callable[..., Examples]
) -> None:
    (root / path).write_bytes(content)
    with pytest.raises(DataError, match=f"{root / path}: .*{message}"):
        load(READ[path])


def test_a_file_cut_short_is_named(root: Path, load: Callable[..., Examples]) -> None:
    for path, name in READ.items():
        whole = (root / path).read_bytes()
        (root / path).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(DataError, match=f"{root / path}: damaged or not JSON"):
            load(name)
        (root / path).write_bytes(whole)


@pytest.mark.parametrize(
    ("path", "field", "wrong"),
    [
        (CAPTIONS, "image_id", "391895"),
        (CAPTIONS, "caption", None),
        (INSTANCES, "image_id", 3.5),
        (QUESTIONS, "question_id", True),
        (QUESTIONS, "image_id", 1 << 70),
        (QUESTIONS, "question", 5),
        (QUESTIONS, "multiple_choices", "yes"),
        (ANNOTATIONS, "question_id", []),
        (ANNOTATIONS, "image_id", None),
        (ANNOTATIONS, "multiple_choice_answer", 3),
    ],
)
def test_an_entry_that_lacks_a_field_or_holds_something_else_is_named(
    path: str, field: str, wrong: Any, root: Path, load: Callable[..., Examples]
) -> None:
    change(root / path, lambda listed: listed[6].update({field: wrong}))
    with pytest.raises(DataError, match=rf"{root / path}: \w+, entry 7: {field} is .*, expected "):
        load(READ[path])
    change(root / path, lambda listed: listed[6].pop(field))
    with pytest.raises(DataError, match=rf"{root / path}: \w+, entry 7: {field} is missing"):
        load(READ[path])


def test_entries_keep_only_what_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "some.json"
    listed = [{"a": 1, "b": {"a": 7, "c": [1.5]}, "c": "x"}, {"c": "\u00e9", "a": 2}]
    file.write_text(json.dumps({"info": {"a": 3}, "list": listed, "more": [{"a": 9}]}))
    assert entries(file, "list", {"a": int, "c": str}) == [(1, "x"), (2, "\u00e9")]


def test_half_a_character_is_named(root: Path, load: Callable[..., Examples]) -> None:
    for path, field, name in ((CAPTIONS, "caption", "mscoco"), (QUESTIONS, "question", "vqa")):
        change(root / path, lambda listed, field=field: [one.update({field: "a \ud800 b"}) for one in listed])
        with pytest.raises(DataError, match=f"{root / path}: a text in it is not Unicode"):
            load(name)


# ---- entries that do not fit each other ----------------------------------------------------------------------------


def test_questions_and_annotations_that_do_not_belong_together_are_named(
    root: Path, load: Callable[..., Examples]
) -> None:
    questions, annotations = root / QUESTIONS, root / ANNOTATIONS
    good = questions.read_text(), annotations.read_text()
    first = json.loads(good[0])["questions"][0]["question_id"]

    def expect(file: Path, edit: Callable[[list[Any]], object], message: str) -> None:
        change(file, edit)
        with pytest.raises(DataError, match=message):
            load("vqa")
        questions.write_text(good[0])
        annotations.write_text(good[1])

    of_first = f"question {first} has no annotation in .*annotations.json"
    expect(
        annotations,
        lambda listed: listed.remove(next(one for one in listed if one["question_id"] == first)),
        f"{questions}: questions, entry 1: {of_first}",
    )
    expect(questions, lambda listed: listed.insert(4, listed[0]), f"{questions}: questions, entry 5: {of_first}")
    expect(
        annotations,
        lambda listed: listed.append(listed[2]),
        f"{annotations}: question [0-9]+ is annotated twice",
    )
    expect(
        questions,
        lambda listed: listed.pop(0),
        f"{annotations}: 1 annotations, the first of question {first}, have no question in {questions}",
    )
    expect(
        questions,
        lambda listed: listed[3].update(image_id=9),
        f"{questions}: questions, entry 4: picture 9, but [0-9]+ in {annotations}",
    )
    expect(
        questions,
        lambda listed: listed[3].update(multiple_choices=["yes", 2]),
        f"{questions}: questions, entry 4: multiple_choices is .*, expected a list of texts",
    )
    expect(
        questions,
        lambda listed: [one.update(multiple_choices=["nothing"]) for one in listed],
        f"{questions}: no question whose answer is among its choices",
    )
    assert len(load("vqa")) >= 300


def test_a_question_with_nothing_to_swap_in_is_named(root: Path, load: Callable[..., Examples]) -> None:
    right = {
        one["question_id"]: one["multiple_choice_answer"]
        for one in json.loads((root / ANNOTATIONS).read_text())["annotations"]
    }
    change(
        root / QUESTIONS,
        lambda listed: [one.update(multiple_choices=[right[one["question_id"]]]) for one in listed],
    )
    with pytest.raises(DataError, match=f"{root / QUESTIONS}: question [0-9]+ has no choice but its answer"):
        load("vqa")


@pytest.mark.parametrize("path", [CAPTIONS, INSTANCES])
def test_captions_and_instances_of_different_pictures_are_named(
    path: str, root: Path, load: Callable[..., Examples]
) -> None:
    change(root / path, lambda listed: listed.clear())
    with pytest.raises(DataError, match=f"{root / CAPTIONS}: no picture has both a caption and an instance"):
        load("mscoco")
