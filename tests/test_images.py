"""The images domain on its miniature: what the loaders give, and that the miniature is worth learning from."""

from __future__ import annotations

import io
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from scipy.io import savemat

from dabs_rq import registry
from dabs_rq.data.examples import Examples
from dabs_rq.data.readers import cells, image
from dabs_rq.domain import Task

DOMAIN = registry.domain("images")
TASKS = {task.name: task for task in DOMAIN.tasks}
NATURAL = "natural_images"
SIGNS = f"{NATURAL}/traffic_sign/GTSRB/Final_Training/Images"
AIRCRAFT = f"{NATURAL}/aircraft/fgvc-aircraft-2013b/data"


@pytest.fixture
def root(miniature: Callable[[str], Path]) -> Path:
    return miniature("images")


@pytest.fixture
def load(root: Path, read: Callable[..., Examples]) -> Callable[..., Examples]:
    """load(task name, split, **options of read): from the miniature."""
    return lambda name, split, **options: read(TASKS[name].load, root, "images", split, **options)


def ids(examples: Examples) -> list[str]:
    return examples.ids.to_pylist()


def pixels(examples: Examples) -> np.ndarray:
    return examples.inputs[0].take(np.arange(len(examples)))


# ---- every task ----------------------------------------------------------------------------------------------------


def test_the_tasks_are_those_of_the_table_in_its_order() -> None:
    rows = [(task.name, task.row, task.target.outputs, task.unused_outputs) for task in DOMAIN.tasks]
    assert rows == [
        ("cifar10", "CIFAR-10", 10, 0),
        ("cu_birds", "Birds", 200, 0),
        ("vgg_flower", "VGG Flower", 102, 0),
        ("dtd", "DTD (Textures)", 47, 0),
        ("traffic_sign", "GTSRB (Traffic)", 43, 0),
        ("aircraft", "FGVC-Aircraft", 100, 2),
    ]


@pytest.mark.parametrize("protocol", ["corrected", "published"])
@pytest.mark.parametrize("task", DOMAIN.tasks, ids=lambda task: task.name)
def test_both_splits_are_sound(task: Task, protocol: str, load: Callable[..., Examples]) -> None:
    splits = {split: load(task.name, split, protocol=protocol) for split in ("train", "test")}
    assert len(splits["test"]) >= 200
    assert len(splits["train"]) >= 700
    assert set(ids(splits["train"])).isdisjoint(ids(splits["test"]))
    for split, examples in splits.items():
        assert len(set(ids(examples))) == len(examples)
        assert examples.targets.dtype == np.int64
        assert examples.targets.min() >= 0 and examples.targets.max() < task.target.outputs
        assert len(np.unique(examples.targets)) == (10 if task.name == "cifar10" else 16)
        assert load(task.name, split, protocol=protocol).key == examples.key
        few = examples.inputs[0].take(np.array([0, len(examples) - 1]))
        assert few.shape == (2, 3, 32, 32) and few.dtype == np.uint8


@pytest.mark.parametrize("task", DOMAIN.tasks, ids=lambda task: task.name)
def test_the_paper_scale_decodes_to_224_pixels_in_any_process(task: Task, load: Callable[..., Examples]) -> None:
    column = load(task.name, "test", scale="paper").inputs[0]
    assert pickle.loads(pickle.dumps(column)).take(np.arange(2)).shape == (2, 3, 224, 224)


def test_importing_the_domain_imports_nothing_heavy() -> None:
    code = "import sys, domains.images; print({'torch', 'datasets', 'pandas', 'scipy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# ---- each source ---------------------------------------------------------------------------------------------------


def test_imagenet_lists_every_class_folder(root: Path, read: Callable[..., Examples]) -> None:
    train = read(DOMAIN.pretraining.load, root, "images", "train")
    files = sorted(path.relative_to(root / NATURAL / "imagenet") for path in root.rglob("imagenet/train/*/*.JPEG"))
    assert ids(train) == [path.as_posix() for path in files]
    folders = sorted({path.parent for path in files})
    assert train.targets.tolist() == [folders.index(path.parent) for path in files]
    assert len(train) >= 2048 and len(folders) == 20
    assert len(read(DOMAIN.pretraining.load, root, "images", "validation")) == 100


def test_imagenet_takes_any_case_of_jpeg_and_png_and_nothing_hidden(
    tmp_path: Path, read: Callable[..., Examples]
) -> None:
    folder = tmp_path / NATURAL / "imagenet" / "train" / "n01440764"
    folder.mkdir(parents=True)
    for name in ("b.JPEG", "a.jpg", "c.Png", "._a.jpg", "notes.txt"):
        (folder / name).touch()
    with pytest.warns(UserWarning, match="1,000 are declared, 1 were found"):
        train = read(DOMAIN.pretraining.load, tmp_path, "images", "train", made_up=False)
    assert [Path(path).name for path in ids(train)] == ["a.jpg", "b.JPEG", "c.Png"]


def test_cifar10_gives_its_own_pixels_where_nothing_is_resized(root: Path, load: Callable[..., Examples]) -> None:
    with (root / NATURAL / "cifar10/cifar-10-batches-py/data_batch_2").open("rb") as file:
        batch = pickle.load(file)
    train = load("cifar10", "train")
    rows = [ids(train).index(f"data_batch_2/{row}") for row in range(len(batch["labels"]))]
    assert np.array_equal(train.inputs[0].take(np.array(rows)).reshape(-1, 3072), batch["data"])
    assert train.targets[rows].tolist() == batch["labels"]


def test_birds_follow_the_official_split(root: Path, load: Callable[..., Examples]) -> None:
    folder = root / NATURAL / "cu_birds/CUB_200_2011"
    columns = [
        dict(line.split() for line in (folder / name).read_text().splitlines())
        for name in ("images.txt", "image_class_labels.txt", "train_test_split.txt")
    ]
    for split, flag in (("train", "1"), ("test", "0")):
        examples = load("cu_birds", split)
        expected = [(columns[0][n], int(columns[1][n]) - 1) for n in columns[0] if columns[2][n] == flag]
        assert list(zip(ids(examples), examples.targets.tolist(), strict=True)) == [
            (f"CUB_200_2011/images/{path}", label) for path, label in expected
        ]


def test_flowers_are_split_as_dabs_splits_them(tmp_path: Path, read: Callable[..., Examples]) -> None:
    """The published labels begin with 251 pictures of class 77; their known split pins the algorithm."""
    labels = [77] * 251 + [73, 5, 73, 5, 73, 73, 5]
    folder = tmp_path / NATURAL / "flowers"
    (folder / "jpg").mkdir(parents=True)
    savemat(folder / "imagelabels.mat", {"labels": np.array([labels], np.uint8)})
    for number in range(1, len(labels) + 1):
        (folder / "jpg" / f"image_{number:05d}.jpg").touch()
    state = np.random.RandomState(42)
    expected: dict[str, list[int]] = {"train": [], "test": []}
    for label in (77, 73, 5):
        numbers = [number for number, found in enumerate(labels, 1) if found == label]
        state.shuffle(numbers)
        expected["train"] += numbers[: int(0.8 * len(numbers))]
        expected["test"] += numbers[int(0.8 * len(numbers)) :]
    for split, first in (("train", [156, 7, 165]), ("test", [206, 232, 64])):
        examples = read(TASKS["vgg_flower"].load, tmp_path, "images", split)
        numbers = [int(re.findall(r"\d+", one)[0]) for one in ids(examples)]
        assert numbers == expected[split] and numbers[:3] == first
        assert examples.targets.tolist() == [labels[number - 1] - 1 for number in numbers]


def test_textures_train_on_the_first_train_and_validation_lists(root: Path, load: Callable[..., Examples]) -> None:
    folder = root / NATURAL / "dtd/dtd"
    kinds = sorted(path.name for path in (folder / "images").iterdir())
    for split, names in (("train", ("train1", "val1")), ("test", ("test1",))):
        listed = sorted(line for n in names for line in (folder / "labels" / f"{n}.txt").read_text().splitlines())
        examples = load("dtd", split)
        assert ids(examples) == [f"dtd/images/{path}" for path in listed]
        assert examples.targets.tolist() == [kinds.index(path.split("/")[0]) for path in listed]


def test_signs_keep_tracks_whole_under_corrected_only(root: Path, load: Callable[..., Examples]) -> None:
    for protocol, whole in (("corrected", True), ("published", False)):
        train, test = (load("traffic_sign", split, protocol=protocol) for split in ("train", "test"))
        shared = set(train.groups) & set(test.groups)
        assert (not shared) == whole
        for examples in (train, test):
            tracks = [(one.split("/")[-2], one.split("/")[-1][:5]) for one in ids(examples)]
            assert len(set(zip(tracks, examples.groups.tolist(), strict=True))) == len(set(tracks))
        assert len(train) + len(test) == len(list((root / SIGNS).rglob("*.ppm")))
        per_class = [np.unique(examples.groups[examples.targets == 0]).size for examples in (train, test)]
        if whole:
            assert per_class == [int(0.8 * sum(per_class)), sum(per_class) - int(0.8 * sum(per_class))]


def test_signs_are_split_by_frame_with_one_generator_over_the_classes(
    root: Path, load: Callable[..., Examples]
) -> None:
    state = np.random.RandomState(42)
    expected = []
    for folder in sorted((root / SIGNS).iterdir()):
        names = sorted(path.name for path in folder.glob("*.ppm"))
        state.shuffle(names)
        expected += [f"{folder.name}/{name}" for name in names[: int(0.8 * len(names))]]
    found = ids(load("traffic_sign", "train", gtsrb_split="image"))
    assert [one.partition("Images/")[2] for one in found] == expected


def test_aircraft_are_sorted_variants_cropped_to_their_boxes(root: Path, load: Callable[..., Examples]) -> None:
    data = root / AIRCRAFT
    variants = sorted((data / "variants.txt").read_text().splitlines())
    named = dict(line.split(" ", 1) for line in (data / "images_variant_test.txt").read_text().splitlines())
    boxes = dict(line.split(" ", 1) for line in (data / "images_box.txt").read_text().splitlines())
    test = load("aircraft", "test")
    names = [Path(one).stem for one in ids(test)]
    assert names == sorted(named, key=lambda name: (variants.index(named[name]), name))
    assert [variants[target] for target in test.targets] == [named[name] for name in names]
    for row in (0, 7):
        cropped = Image.open(data / "images" / f"{names[row]}.jpg").crop([int(v) for v in boxes[names[row]].split()])  # type: ignore[arg-type]
        assert np.array_equal(test.inputs[0].take(np.array([row]))[0], reference(cropped, (32, 32)))


# ---- decoding ------------------------------------------------------------------------------------------------------


def reference(picture: Image.Image, size: tuple[int, int]) -> np.ndarray:
    return np.array(picture.convert("RGB").resize(size, resample=2)).transpose(2, 0, 1)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "CMYK", "1"])
def test_pictures_of_any_mode_and_aspect_decode_as_pillow_does(mode: str, tmp_path: Path) -> None:
    drawn = np.random.default_rng(0).integers(0, 256, (41, 67, 3), dtype=np.uint8)
    picture = Image.fromarray(drawn).convert(mode)
    file = tmp_path / ("picture.jpg" if mode == "CMYK" else "picture.png")
    picture.save(file)
    decoded = image.decode({"path": file.name}, root=tmp_path, width=24, height=36)
    with Image.open(file) as reopened:
        assert np.array_equal(decoded, reference(reopened, (24, 36)))
    assert decoded.shape == (3, 36, 24) and decoded.dtype == np.uint8


def test_large_jpegs_are_decoded_at_a_smaller_size_only_if_asked(tmp_path: Path) -> None:
    coarse = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
    picture = Image.fromarray(coarse).resize((640, 480), Image.Resampling.BICUBIC)
    picture.save(tmp_path / "large.jpg", quality=90)
    picture.save(tmp_path / "large.png")
    picture.resize((100, 75)).save(tmp_path / "small.jpg", quality=90)

    def decoded(name: str, jpeg: image.Jpeg, **more: object) -> tuple[np.ndarray, str]:
        items = pa.table({"path": [name], **{key: [value] for key, value in more.items()}})
        column = image.column(items, tmp_path, (3, 32, 32), jpeg)
        return column.take(np.array([0])).astype(int), column.key

    (full, full_key), (scaled, scaled_key) = decoded("large.jpg", "full"), decoded("large.jpg", "scaled")
    assert 0 < np.abs(full - scaled).mean() < 1 and full_key != scaled_key
    for name in ("large.png", "small.jpg"):
        np.testing.assert_array_equal(decoded(name, "full")[0], decoded(name, "scaled")[0])
    boxed = [decoded("large.jpg", jpeg, box=[300, 200, 400, 300]) for jpeg in ("full", "scaled")]
    np.testing.assert_array_equal(boxed[0][0], boxed[1][0])
    assert boxed[0][1] == boxed[1][1], "a box is in pixels of the whole picture"
    content = (tmp_path / "large.jpg").read_bytes()
    np.testing.assert_array_equal(cells._picture(io.BytesIO(content), "x", width=32, height=32, scaled=True), scaled[0])


def test_pictures_decode_from_bytes_too() -> None:
    content = io.BytesIO()
    Image.new("RGB", (5, 4), (10, 20, 30)).save(content, "PNG")
    assert image.to_array(image.open_rgb(content), 2, 3)[:, 0, 0].tolist() == [10, 20, 30]


# ---- the miniature -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TASKS)
def test_the_miniature_can_be_learned_and_not_at_once(name: str, load: Callable[..., Examples]) -> None:
    from sklearn.linear_model import RidgeClassifier
    from sklearn.preprocessing import StandardScaler

    train, test = load(name, "train"), load(name, "test")
    (x, z) = (pixels(examples).reshape(len(examples), -1).astype(np.float32) for examples in (train, test))
    scaler = StandardScaler().fit(x)
    ridge = RidgeClassifier(alpha=3e4).fit(scaler.transform(x), train.targets)
    accuracy = ridge.score(scaler.transform(z), test.targets)
    chance = 1 / len(np.unique(train.targets))
    assert 2.5 * chance < accuracy < 0.8
