"""A small made-up copy of ImageNet and the six labelled sets, in their native layouts.

A picture shows one object on a textured ground; a task's labels are some of its factors, and the others vary freely.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np

from dabs_rq.miniature.scenes import SHAPES, Canvas, Factors, colours, draw, each, lights, textured, textures, uniform
from dabs_rq.miniature.writers import Rng, generator, run, write_bytes, write_lines, write_pictures

TRAIN, TEST = 45, 14  # pictures per class of the tasks of 16 classes
TRACKS, FRAMES = 13, 5
SIZES = ((32, 42), (42, 32), (36, 36), (32, 38), (38, 32))  # height, width
TEXTURES = ("banded", *(f"texture{number:02d}" for number in range(1, 16)))
VARIANTS = ("A310", *(f"Made-up {number}/B" for number in range(11, 26)))  # real ones hold spaces and slashes too


def write(root: Path, seed: int, processes: int = 1) -> None:
    """Write the whole miniature below `root`: about 7,500 pictures, the same bytes for the same seed."""
    sources = (_imagenet, _cifar10, _cu_birds, _vgg_flower, _dtd, _traffic_sign, _aircraft)
    run([(source, root / "natural_images", generator(seed, source.__name__)) for source in sources], processes)


def _scenes(rng: Rng, n: int, **chosen: np.ndarray | float) -> Factors:
    """n scenes at random, but for what is `chosen`. Hues are in [0, 1), places and sizes in half pictures."""
    factors = {"shape": rng.integers(len(SHAPES), size=n)} | uniform(rng, n, hue=(0, 1)) | textures(rng, n, (0.2, 0.8))
    factors |= {"mark": rng.integers(len(SHAPES), size=n), "mark_size": rng.choice([0.0, 0.35, 0.5], n)}
    factors |= uniform(rng, n, mark_hue=(0, 1), ground_hue=(0, 1)) | textures(rng, n, (0.0, 0.35), "ground_")
    factors["clutter"] = rng.integers(4, size=n)
    factors |= uniform(rng, n, x=(-0.25, 0.25), y=(-0.2, 0.2), size=(0.45, 0.7), angle=(-0.35, 0.35)) | lights(rng, n)
    return factors | {name: np.broadcast_to(values, n) for name, values in chosen.items()}


def _patterned(rng: Rng, pattern: np.ndarray) -> Factors:
    """An object's texture with that pattern, and never a faint one."""
    return textures(rng, len(pattern), (0.5, 0.8)) | {"pattern": pattern}


def _paint(canvas: Canvas, scene: Factors, rng: Rng) -> None:
    n, ground = len(scene["shape"]), 0.45 + 0.4 * colours(scene["ground_hue"])
    canvas.layers[:] = textured(ground, scene, canvas.x, canvas.y, "ground_")
    for number in range(int(scene["clutter"].max())):  # discs of any hue anywhere, behind the object
        size = rng.uniform(0.08, 0.22, n)
        u, v = canvas.place(rng.uniform(-1, 1, n), rng.uniform(-1, 1, n), size)
        disc = canvas.cover(np.zeros(n, int), u, v, size) * each(scene["clutter"] > number)
        canvas.paint(disc, colours(rng.uniform(0, 1, n)))
    u, v = canvas.place(scene["x"], scene["y"], scene["size"], scene["angle"])
    covered = canvas.cover(scene["shape"], u, v, scene["size"])
    size = each(scene["size"])  # textures are as fine on small objects as on large ones
    canvas.paint(covered, textured(colours(scene["hue"]), scene, u * size, v * size))
    if (scene["mark_size"] > 0).any():
        part = np.maximum(scene["mark_size"], 1e-3)
        covered = canvas.cover(scene["mark"], u / each(part), v / each(part), scene["size"] * part)
        canvas.paint(covered * each(scene["mark_size"] > 0), colours(scene["mark_hue"]))


def _pictures(rng: Rng, scenes: Factors) -> list[np.ndarray]:
    """The pictures of `scenes`, each of one of a few sizes."""
    return draw(_paint, rng, scenes, [SIZES[i] for i in rng.integers(len(SIZES), size=len(scenes["shape"]))])


def _hues(rng: Rng, number: np.ndarray, of: int) -> np.ndarray:
    """Hues near number / of on the circle, so that neighbours nearly touch."""
    return (number + rng.uniform(-0.35, 0.35, len(number))) / of % 1


def _imagenet(natural: Path, rng: Rng) -> None:
    """Shape x pattern of the object."""
    for split, count in (("train", 103), ("validation", 5)):
        label = np.repeat(np.arange(20), count)
        shape = (label // 4 + 5 * rng.integers(2, size=len(label))) % len(SHAPES)
        drawn = _pictures(rng, _scenes(rng, len(label), shape=shape, **_patterned(rng, label % 4)))
        for row, (number, picture) in enumerate(zip(label.tolist(), drawn, strict=True)):
            wnid = f"n{1440764 + 7919 * number:08d}"
            name = f"{wnid}_{10 + 13 * row}" if split == "train" else f"ILSVRC2012_val_{row + 1:08d}"
            write_pictures(natural / "imagenet" / split / wnid, [f"{name}.JPEG"], [picture])


def _cifar10(natural: Path, rng: Rng) -> None:
    """Shape (10), which leaves two fifths of the hues, at 32 x 32."""
    for name, n in [*((f"data_batch_{number}", 160) for number in range(1, 6)), ("test_batch", 320)]:
        label = rng.permutation(np.arange(n) % 10)
        scenes = _scenes(rng, n, hue=(label / 10 + rng.uniform(-0.2, 0.2, n)) % 1, shape=label)
        drawn = np.stack(draw(_paint, rng, scenes, [(32, 32)] * n))
        names = [f"{name}_{row:04d}.png" for row in range(n)]
        content = {"batch_label": name, "labels": label.tolist(), "filenames": names}
        content["data"] = drawn.transpose(0, 3, 1, 2).reshape(n, 3072)
        write_bytes(natural / "cifar10" / "cifar-10-batches-py" / name, pickle.dumps(content, protocol=2))


def _cu_birds(natural: Path, rng: Rng) -> None:
    """Hue (4) x pattern of the object (4); its shape is always of the same few."""
    folder, (label, part) = natural / "cu_birds" / "CUB_200_2011", _classes_and_parts(rng)
    shape, hue = rng.choice([0, 3, 8], len(label)), _hues(rng, label // 4, 4)
    drawn = _pictures(rng, _scenes(rng, len(label), shape=shape, hue=hue, **_patterned(rng, label % 4)))
    kinds = {number: f"{number:03d}.Made_up_bird_{number}" for number in np.linspace(1, 200, 16).astype(int).tolist()}
    numbers = np.array([*kinds])[label].tolist()
    paths = [f"{kinds[number]}/Made_up_bird_{i:04d}.jpg" for i, number in enumerate(numbers)]
    write_pictures(folder / "images", paths, drawn)
    write_lines(folder / "classes.txt", (f"{number} {kind}" for number, kind in kinds.items()))
    lists = {"images": paths, "image_class_labels": numbers, "train_test_split": (part < 2).astype(int)}
    for name, values in lists.items():
        write_lines(folder / f"{name}.txt", (f"{i} {value}" for i, value in enumerate(values, 1)))


def _vgg_flower(natural: Path, rng: Rng) -> None:
    """Number of petals (4) x hue (4), with a disc in the middle."""
    from scipy.io import savemat

    label = np.repeat(rng.permutation(16), rng.integers(56, 76, 16))
    shape, middle = len(SHAPES) + label // 4, rng.uniform(0.25, 0.4, len(label))
    scenes = _scenes(rng, len(label), shape=shape, hue=_hues(rng, label % 4, 4), mark=0, mark_size=middle)
    names = [f"image_{i:05d}.jpg" for i in range(1, len(label) + 1)]
    write_pictures(natural / "flowers/jpg", names, _pictures(rng, scenes))
    file = natural / "flowers" / "imagelabels.mat"
    savemat(file, {"labels": np.linspace(1, 102, 16).astype(np.uint8)[label][None]})
    # The first 116 bytes are free text, in which scipy notes the time.
    file.write_bytes(b"MATLAB 5.0 MAT-file, made up".ljust(116) + file.read_bytes()[116:])


def _dtd(natural: Path, rng: Rng) -> None:
    """Pattern (4) x frequency (2) x orientation (2); the texture fills the picture."""
    label, part = _classes_and_parts(rng)
    ground = textures(rng, n := len(label), (0.6, 0.95), "ground_") | {"ground_pattern": label % 4}
    ground["ground_frequency"] = np.array([1.5, 2.5])[label // 4 % 2] * rng.uniform(0.85, 1.15, n)
    ground["ground_orientation"] = 1.57 * (label // 8) + rng.uniform(-0.4, 0.4, n)
    drawn = _pictures(rng, _scenes(rng, n, **ground, size=1e-3, mark_size=0.0, clutter=0))
    paths = [f"{TEXTURES[k]}/{TEXTURES[k]}_{i:04d}.jpg" for i, k in enumerate(label)]
    write_pictures(natural / "dtd/dtd/images", paths, drawn)
    for number, name in enumerate(("train1", "val1", "test1")):
        listed = [path for path, one in zip(paths, part, strict=True) if one == number]
        write_lines(natural / "dtd/dtd/labels" / f"{name}.txt", listed)


def _traffic_sign(natural: Path, rng: Rng) -> None:
    """Shape (4), and with it the hue, x mark (4); the frames of a track are of one sign."""
    folder, label = natural / "traffic_sign/GTSRB/Final_Training/Images", np.repeat(np.arange(16), TRACKS)
    shape, hue, mark = label // 4, _hues(rng, label // 4, 4), np.array([0, 2, 8, 6])[label % 4]
    sign = _scenes(rng, len(label), shape=shape, hue=hue, mark=mark, mark_hue=(hue + 0.5) % 1, mark_size=0.6)
    frames = {name: np.repeat(values, FRAMES) for name, values in sign.items()}
    n, frame = len(label) * FRAMES, np.tile(np.arange(FRAMES), len(label))
    frames |= {"size": frames["size"] * rng.uniform(1.1, 1.4, n), "light": frames["light"] * rng.uniform(0.7, 1.2, n)}
    frames |= {name: frames[name] / 2 + rng.uniform(-0.08, 0.08, n) for name in ("x", "y")}
    drawn = draw(_paint, rng, frames, sizes := [(24 + 10 * f, 24 + 9 * f) for f in frame.tolist()])
    for k, number in enumerate(np.linspace(0, 42, 16).astype(int).tolist()):
        rows = range(k * TRACKS * FRAMES, (k + 1) * TRACKS * FRAMES)
        names = [f"{i // FRAMES % TRACKS:05d}_{frame[i]:05d}.ppm" for i in rows]
        write_pictures(folder / f"{number:05d}", names, [drawn[i] for i in rows])
        table = ["Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"]
        for name, (height, width) in zip(names, sizes[rows.start : rows.stop], strict=True):
            table.append(f"{name};{width};{height};5;5;{width - 5};{height - 5};{number}")
        write_lines(folder / f"{number:05d}" / f"GT-{number:05d}.csv", table, ending="\r\n")


def _aircraft(natural: Path, rng: Rng) -> None:
    """Shape (4) x pattern (4); small, boxed, above a banner, any hue."""
    folder, (label, part) = natural / "aircraft" / "fgvc-aircraft-2013b" / "data", _classes_and_parts(rng)
    n, height, width, banner = len(label), 42, 56, 7
    place = uniform(rng, n, x=(-0.5, 0.5), y=(-0.35, 0.35), size=(0.3, 0.45))
    place["shape"] = np.array([8, 4, 6, 7])[label // 4]
    scenes = _scenes(rng, n, mark_size=0.0, **place, **_patterned(rng, label % 4))
    drawn = np.stack(draw(_paint, rng, scenes, [(height, width)] * n))
    drawn[:, height - banner :] = 230 * rng.integers(2, size=(n, banner, width, 1), dtype=np.uint8)
    names = [f"{34309 + 977 * i:07d}" for i in range(n)]
    write_pictures(folder / "images", [f"{name}.jpg" for name in names], list(drawn))
    middle = np.stack([width / 2 * (1 + place["x"]), height / 2 + width / 2 * place["y"]], axis=1)
    reach = 1.05 * width / 2 * place["size"][:, None]
    low = np.maximum(middle - reach, 1).astype(int)
    high = np.minimum(middle + reach, (width, height - banner)).astype(int)
    boxes = zip(names, np.hstack([low, high]).tolist(), strict=True)
    write_lines(folder / "images_box.txt", (" ".join(map(str, (name, *box))) for name, box in boxes))
    for name, test in {"trainval": False, "test": True}.items():
        listed = (f"{names[i]} {VARIANTS[label[i]]}" for i in np.flatnonzero((part == 2) == test))
        write_lines(folder / f"images_variant_{name}.txt", listed)
    write_lines(folder / "variants.txt", VARIANTS)


def _classes_and_parts(rng: Rng) -> np.ndarray:
    """Class and part of shuffled pictures: TRAIN and TEST of 16 classes. Parts: train (0), validation (1), test (2)."""
    return rng.permutation([(k, i % 2 if i < TRAIN else 2) for k in range(16) for i in range(TRAIN + TEST)]).T
