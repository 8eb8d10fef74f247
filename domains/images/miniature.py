"""A small made-up copy of ImageNet and the six labelled sets, in their native layouts.

All pictures come from the one space of factors of `miniature_drawing`. ImageNet shows all of it; a task's labels are
some of the factors, and the others vary freely (unless said otherwise):

    imagenet      outline x pattern of the object
    cifar10       outline (10), which leaves two fifths of the hues, at 32 x 32
    cu_birds      hue (4) x pattern of the object (4); its outline is always of the same few
    vgg_flower    number of petals (4) x hue (4), with a disc in the middle
    dtd           pattern (4) x frequency (2) x orientation (2); the texture fills the picture
    traffic_sign  outline (4), and with it the hue, x mark (4); the frames of a track are of one sign
    aircraft      outline (4) x pattern (4); small, boxed, above a banner, any hue
"""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from domains.images.miniature_drawing import OUTLINES, PATTERNS, SIZES, Scenes, Texture, pictures, scenes, textures

TRAIN, TEST = 50, 20  # pictures per class of the tasks of 16 classes
CIFAR_BATCH, CIFAR_TEST = 160, 320
TRACKS, FRAMES = 15, 5
FLOWERS = (60, 90)  # pictures per class: from, to
TEXTURES = (
    *("banded", "blotchy", "braided", "bubbly", "chequered", "cracked", "crosshatched", "dotted"),
    *("grid", "honeycombed", "lined", "meshed", "striped", "swirly", "woven", "zigzagged"),
)
VARIANTS = (
    *("707-320", "727-200", "747-400", "A310", "A320", "ATR-42", "BAE 146-200", "C-130"),
    *("Cessna 172", "DC-10", "F-16A/B", "Falcon 900", "Fokker 50", "Spitfire", "Tornado", "Yak-42"),
)


def write(root: Path, seed: int) -> None:
    """Write the whole miniature below `root`: about 9,000 pictures, the same bytes for the same seed."""
    natural = root / "natural_images"
    writers = (_imagenet, _cifar10, _cu_birds, _vgg_flower, _dtd, _traffic_sign, _aircraft)
    for number, writer in enumerate(writers):
        writer(natural, np.random.default_rng([seed, number]))


def _imagenet(natural: Path, rng: np.random.Generator) -> None:
    for split, each in (("train", 103), ("validation", 5)):
        for number in range(20):
            outline, pattern = divmod(number, PATTERNS)
            wanted = scenes(rng, each)
            near = rng.choice(np.arange(outline, len(OUTLINES), 5), each)
            wanted = dataclasses.replace(wanted, outline=near, texture=_patterned(wanted, np.full(each, pattern)))
            wnid = f"n{1440764 + 7919 * number:08d}"
            names = {
                "train": [f"{wnid}_{10 + 13 * i}.JPEG" for i in range(each)],
                "validation": [f"ILSVRC2012_val_{20 * i + number + 1:08d}.JPEG" for i in range(each)],
            }
            _save(natural / "imagenet" / split / wnid, names[split], _any_size(rng, wanted))


def _cifar10(natural: Path, rng: np.random.Generator) -> None:
    folder = natural / "cifar10" / "cifar-10-batches-py"
    folder.mkdir(parents=True, exist_ok=True)
    batches = [(f"data_batch_{number}", CIFAR_BATCH) for number in range(1, 6)] + [("test_batch", CIFAR_TEST)]
    for name, n in batches:
        labels = rng.permutation(np.arange(n) % 10)
        hue = (labels / 10 + rng.uniform(-0.2, 0.2, n)) % 1
        drawn = pictures(rng, dataclasses.replace(scenes(rng, n), outline=labels, hue=hue), [(32, 32)] * n)
        content = {
            "batch_label": name,
            "labels": labels.tolist(),
            "data": np.stack(drawn).transpose(0, 3, 1, 2).reshape(n, 3072),
            "filenames": [f"{name}_{row:04d}.png" for row in range(n)],
        }
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))


def _cu_birds(natural: Path, rng: np.random.Generator) -> None:
    folder = natural / "cu_birds" / "CUB_200_2011"
    label, is_train = _classes_and_splits(rng, 16)
    wanted = scenes(rng, len(label))
    wanted = dataclasses.replace(
        wanted,
        outline=rng.choice([0, 2, 4], len(label)),
        hue=_hues(rng, label // 4, 4),
        texture=_patterned(wanted, label % 4),
    )
    numbers = np.linspace(1, 200, 16).astype(int)
    kinds = [f"{number:03d}.Made_up_bird_{number}" for number in numbers]
    paths = [f"{kinds[k]}/Made_up_bird_{i:04d}.jpg" for i, k in enumerate(label)]
    _save(folder / "images", paths, _any_size(rng, wanted))
    _write_lines(folder / "images.txt", (f"{i} {path}" for i, path in enumerate(paths, 1)))
    _write_lines(folder / "image_class_labels.txt", (f"{i} {numbers[k]}" for i, k in enumerate(label, 1)))
    _write_lines(folder / "train_test_split.txt", (f"{i} {int(flag)}" for i, flag in enumerate(is_train, 1)))
    _write_lines(folder / "classes.txt", (f"{number} {kind}" for number, kind in zip(numbers, kinds, strict=True)))


def _vgg_flower(natural: Path, rng: np.random.Generator) -> None:
    from scipy.io import savemat

    folder = natural / "flowers"
    sizes = rng.integers(*FLOWERS, 16)
    label = np.repeat(rng.permutation(16), sizes)
    wanted = dataclasses.replace(
        scenes(rng, len(label)),
        outline=np.array([5, 6, 7, 11])[label // 4],
        hue=_hues(rng, label % 4, 4),
        mark=np.zeros(len(label), int),
        mark_size=rng.uniform(0.25, 0.4, len(label)),
    )
    _save(folder / "jpg", [f"image_{i:05d}.jpg" for i in range(1, len(label) + 1)], _any_size(rng, wanted))
    file = folder / "imagelabels.mat"
    savemat(file, {"labels": np.linspace(1, 102, 16).astype(np.uint8)[label][None]})
    # The first 116 bytes are free text, in which scipy notes the time.
    file.write_bytes(b"MATLAB 5.0 MAT-file, made up".ljust(116) + file.read_bytes()[116:])


def _dtd(natural: Path, rng: np.random.Generator) -> None:
    folder = natural / "dtd" / "dtd"
    label, is_train = _classes_and_splits(rng, 16)
    n = len(label)
    wanted = scenes(rng, n)
    fine, across = label // 4 % 2, label // 8
    ground = dataclasses.replace(
        textures(rng, n, (0.6, 0.95)),
        pattern=label % 4,
        frequency=np.array([3.0, 5.0])[fine] * rng.uniform(0.85, 1.15, n),
        orientation=np.pi / 2 * across + rng.uniform(-0.4, 0.4, n),
    )
    wanted = dataclasses.replace(
        wanted, ground=ground, size=np.full(n, 1e-3), mark_size=np.zeros(n), clutter=np.zeros(n)
    )
    kinds = sorted(TEXTURES)
    paths = [f"{kinds[k]}/{kinds[k]}_{i:04d}.jpg" for i, k in enumerate(label)]
    _save(folder / "images", paths, _any_size(rng, wanted))
    part = np.where(is_train, np.arange(n) % 2, 2)
    for number, name in enumerate(("train1", "val1", "test1")):
        _write_lines(folder / "labels" / f"{name}.txt", (paths[i] for i in np.flatnonzero(part == number)))


def _traffic_sign(natural: Path, rng: np.random.Generator) -> None:
    folder = natural / "traffic_sign" / "GTSRB" / "Final_Training" / "Images"
    label = np.repeat(np.arange(16), TRACKS)
    hue = _hues(rng, label // 4, 4)
    wanted = dataclasses.replace(
        scenes(rng, len(label)),
        outline=np.array([0, 2, 3, 9])[label // 4],
        hue=hue,
        mark_hue=(hue + 0.5) % 1,
        mark=np.array([0, 2, 4, 6])[label % 4],
        mark_size=np.full(len(label), 0.6),
    )
    wanted = wanted.take(np.repeat(np.arange(len(wanted)), FRAMES))
    n = len(wanted)
    wanted = dataclasses.replace(
        wanted,
        x=wanted.x / 2 + rng.normal(0, 0.05, n),
        y=wanted.y / 2 + rng.normal(0, 0.05, n),
        size=wanted.size * rng.uniform(1.1, 1.4, n),
        light=wanted.light * rng.uniform(0.7, 1.2, n),
    )
    frame = np.arange(n) % FRAMES
    sizes = [(24 + 10 * f, 24 + 9 * f) for f in frame.tolist()]
    drawn = pictures(rng, wanted, sizes)
    folders = [f"{c:05d}" for c in np.linspace(0, 42, 16).astype(int)]
    names = [f"{t:05d}_{f:05d}.ppm" for t, f in zip(np.arange(n) // FRAMES % TRACKS, frame, strict=True)]
    each = TRACKS * FRAMES
    for k, name in enumerate(folders):
        rows = range(k * each, (k + 1) * each)
        _save(folder / name, [names[i] for i in rows], [drawn[i] for i in rows])
        table = (f"{names[i]};{w};{h};5;5;{w - 5};{h - 5};{int(name)}" for i in rows for h, w in [sizes[i]])
        header = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"
        _write_lines(folder / name / f"GT-{name}.csv", (header, *table), ending="\r\n")


def _aircraft(natural: Path, rng: np.random.Generator) -> None:
    folder = natural / "aircraft" / "fgvc-aircraft-2013b" / "data"
    label, is_train = _classes_and_splits(rng, 16)
    n, height, width, banner = len(label), 48, 64, 8
    wanted = scenes(rng, n)
    wanted = dataclasses.replace(
        wanted,
        outline=np.array([4, 5, 10, 6])[label // 4],
        texture=_patterned(wanted, label % 4),
        mark_size=np.zeros(n),
        x=rng.uniform(-0.5, 0.5, n),
        y=rng.uniform(-0.35, 0.35, n),
        size=rng.uniform(0.3, 0.45, n),
    )
    drawn = np.stack(pictures(rng, wanted, [(height, width)] * n))
    drawn[:, height - banner :] = 230 * rng.integers(2, size=(n, banner, width, 1), dtype=np.uint8)
    names = [f"{34309 + 977 * i:07d}" for i in range(n)]
    _save(folder / "images", [f"{name}.jpg" for name in names], drawn)
    reach = wanted.size * width / 2 * OUTLINES[wanted.outline, 3]
    middle = np.stack([width / 2 + wanted.x * width / 2, height / 2 + wanted.y * width / 2], axis=1)
    low = np.maximum(middle - reach[:, None], 1).astype(int)
    high = np.minimum(middle + reach[:, None], (width, height - banner)).astype(int)
    _write_lines(
        folder / "images_box.txt",
        (f"{name} {a} {b} {c} {d}" for name, (a, b), (c, d) in zip(names, low, high, strict=True)),
    )
    part = np.where(is_train, np.arange(n) % 2, 2)
    for name, parts in {"train": (0,), "val": (1,), "trainval": (0, 1), "test": (2,)}.items():
        rows = np.flatnonzero(np.isin(part, parts))
        _write_lines(folder / f"images_variant_{name}.txt", (f"{names[i]} {VARIANTS[label[i]]}" for i in rows))
    _write_lines(folder / "variants.txt", VARIANTS)


# ---- what the writers share ----------------------------------------------------------------------------------------


def _classes_and_splits(rng: np.random.Generator, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """(class, is train) of shuffled pictures, TRAIN and TEST of every class."""
    pairs = np.array([(k, i < TRAIN) for k in range(classes) for i in range(TRAIN + TEST)])
    label, is_train = rng.permutation(pairs).T
    return label, is_train.astype(bool)


def _hues(rng: np.random.Generator, number: np.ndarray, of: int) -> np.ndarray:
    """Hues near number / of on the circle, so that neighbours nearly touch."""
    return (number + rng.uniform(-0.35, 0.35, len(number))) / of % 1


def _patterned(wanted: Scenes, pattern: np.ndarray) -> Texture:
    """The object's texture with that pattern, and never a faint one."""
    return dataclasses.replace(wanted.texture, pattern=pattern, contrast=0.4 + wanted.texture.contrast / 2)


def _any_size(rng: np.random.Generator, wanted: Scenes) -> list[np.ndarray]:
    return pictures(rng, wanted, [SIZES[i] for i in rng.integers(len(SIZES), size=len(wanted))])


def _save(folder: Path, names: Iterable[str], drawn: Iterable[np.ndarray]) -> None:
    for name, picture in zip(names, drawn, strict=True):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(file, quality=90)


def _write_lines(file: Path, text: Iterable[str], ending: str = "\n") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}{ending}" for line in text), encoding="utf-8", newline="")
