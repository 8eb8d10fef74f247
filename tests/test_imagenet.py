"""The imagenet domain: labelled ImageNet in class folders, or as the flat validation archive with its devkit."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.io import savemat
from torchvision import transforms

from dabs_rq import registry
from dabs_rq.data.examples import Examples
from dabs_rq.domains.imagenet import devkit, labelled
from dabs_rq.domains.imagenet import miniature as made_up
from dabs_rq.domains.images import matlab
from dabs_rq.errors import DataError, DataWarning, MissingDataError
from dabs_rq.files import digest
from dabs_rq.records import metrics
from dabs_rq.run import Run
from tests.imagenet_golden import Vectors

WNIDS = ("n00000003", "n00000005", "n00000009")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three classes with two training pictures each, and one validation picture each."""
    folder = tmp_path / "natural_images/imagenet"
    rng = np.random.default_rng(0)
    for number, wnid in enumerate(WNIDS):
        for name in (f"train/{wnid}/{wnid}_1.JPEG", f"train/{wnid}/{wnid}_2.JPEG"):
            picture(folder / name, rng)
        picture(folder / f"validation/{wnid}/ILSVRC2012_val_0000000{number + 1}.JPEG", rng)
    return tmp_path


def picture(file: Path, rng: np.random.Generator) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)).save(file)


@pytest.fixture
def load(root: Path, read: Callable[..., Examples]) -> Callable[..., Examples]:
    return lambda split, **more: read(labelled.load, root, "imagenet", split, **more)


def test_labels_are_the_ranks_of_the_training_folders(root: Path, load: Callable[..., Examples]) -> None:
    train, test = load("train"), load("test")
    assert train.targets is not None and train.targets.tolist() == [0, 0, 1, 1, 2, 2]
    shutil.rmtree(root / f"natural_images/imagenet/validation/{WNIDS[0]}")
    part = load("test")
    assert test.targets is not None and test.targets.tolist() == [0, 1, 2]
    assert part.targets is not None and part.targets.tolist() == [1, 2], "a class that is not there shifts no label"


def test_the_validation_split_may_be_called_val(root: Path, load: Callable[..., Examples]) -> None:
    folder = root / "natural_images/imagenet"
    before = load("test")
    pixels = before.inputs[0].take(np.arange(3))
    (folder / "validation").rename(folder / "val")
    after = load("test")
    assert after.ids[0].as_py().startswith("val/") and np.array_equal(after.targets, before.targets)  # type: ignore[arg-type]
    assert np.array_equal(after.inputs[0].take(np.arange(3)), pixels)
    shutil.copytree(folder / "val", folder / "validation")
    with pytest.raises(DataError, match=r"imagenet/validation and .*imagenet/val both exist"):
        load("test")
    shutil.rmtree(folder / "val")
    shutil.rmtree(folder / "validation")
    with pytest.raises(MissingDataError, match=r"missing .*imagenet/validation"):
        load("test")


def test_classes_that_are_empty_unknown_or_too_few_are_named(root: Path, load: Callable[..., Examples]) -> None:
    folder = root / "natural_images/imagenet"
    with pytest.warns(DataWarning, match="1,000 are declared, 3 were found"):
        load("train", made_up=False)
    (folder / "train/n00000007").mkdir()
    with pytest.raises(DataError, match=r"train/n00000007: class folder without any picture"):
        load("train")
    (folder / "train/n00000007").rmdir()
    shutil.copytree(folder / f"validation/{WNIDS[0]}", folder / "validation/n00000001")
    with pytest.raises(DataError, match=r"validation/n00000001: no class of the training split, which has 3"):
        load("test")


@given(st.integers(10, 90), st.integers(10, 90), st.integers(4, 32))
def test_a_picture_is_decoded_as_torchvisions_resize_and_centre_crop(width: int, height: int, side: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        made = Image.fromarray(np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8))
        made.save(Path(folder) / "picture.png")
        ours = labelled.decode({"path": "picture.png"}, root=Path(folder), side=side)
    expected = transforms.Compose([transforms.Resize(side), transforms.CenterCrop(side)])(made)
    assert np.array_equal(ours, np.asarray(expected).transpose(2, 0, 1))


# ---- the flat archive and the devkit

IDS = {WNIDS[0]: 3, WNIDS[1]: 1, WNIDS[2]: 2}  # not in the order of the folders


def write_meta(file: Path, compressed: bool = True) -> None:
    rows = [(float(number), wnid, f"a thing, {wnid}", 0.0, np.zeros((1, 0))) for wnid, number in IDS.items()]
    rows.append((4.0, "n00000001", "an animal", 2.0, np.array([[1.0, 2.0]])))
    names = ("ILSVRC2012_ID", "WNID", "words", "num_children", "children")
    synsets = np.empty((len(rows), 1), [(name, object) for name in names])
    synsets[:, 0] = rows
    savemat(file, {"synsets": synsets}, do_compression=compressed)


@pytest.fixture
def flat(root: Path) -> Path:
    """The pictures of the three classes in the order 9, 3, 5, without class folders."""
    folder = root / "natural_images/imagenet"
    for number, wnid in enumerate((WNIDS[2], WNIDS[0], WNIDS[1]), 1):
        (source,) = (folder / f"validation/{wnid}").glob("*.JPEG")
        source.rename(folder / f"validation/moved_{number}")
        (folder / f"validation/{wnid}").rmdir()
    for number in (1, 2, 3):
        (folder / f"validation/moved_{number}").rename(folder / f"validation/ILSVRC2012_val_0000000{number}.JPEG")
    kit = folder / devkit.KIT
    kit.mkdir(parents=True)
    write_meta(kit / devkit.META)
    (kit / devkit.TRUTH).write_text("2\n3\n1\n")
    return folder


def test_the_devkit_labels_the_flat_archive_by_id_then_wnid_then_rank(
    flat: Path, load: Callable[..., Examples]
) -> None:
    test = load("test")
    assert test.targets is not None and test.targets.tolist() == [2, 0, 1], "not the ground truth minus one: 1, 2, 0"
    assert test.ids[0].as_py() == "validation/ILSVRC2012_val_00000001.JPEG"


@pytest.mark.parametrize(
    ("file", "content", "kind", "message"),
    [
        (devkit.TRUTH, None, MissingDataError, r"without class folders, .*ground_truth\.txt is missing"),
        (devkit.META, None, MissingDataError, r"meta\.mat is missing. Extract ILSVRC2012_devkit_t12"),
        (devkit.TRUTH, "2\n7\n1\n", DataError, r"ground_truth\.txt:2: '7' is no ILSVRC2012_ID"),
        (devkit.TRUTH, "2\nx\n1\n", DataError, r"ground_truth\.txt:2: 'x' is no ILSVRC2012_ID"),
        (devkit.TRUTH, "2\n4\n1\n", DataError, r"ground_truth\.txt:2: '4' is no ILSVRC2012_ID"),
        (devkit.TRUTH, "2\n3\n", DataError, r"has 2 lines, .* 3 pictures: ILSVRC2012_val_00000003.JPEG has no line"),
        (devkit.TRUTH, "2\n3\n1\n1\n", DataError, r"has 4 lines, .* 3 pictures: .*0004.JPEG is missing"),
        (devkit.META, "text", DataError, r"meta\.mat: .*not a MATLAB 5 file"),
    ],
)
def test_a_devkit_that_does_not_fit_is_refused(
    flat: Path, load: Callable[..., Examples], file: str, content: str | None, kind: type[Exception], message: str
) -> None:
    place = flat / devkit.KIT / file
    if content is None:
        place.unlink()
    else:
        place.write_text(content)
    with pytest.raises(kind, match=message):
        load("test")


def test_an_id_of_a_class_without_training_folder_is_refused(flat: Path, load: Callable[..., Examples]) -> None:
    shutil.rmtree(flat / "train" / WNIDS[1])
    with pytest.raises(DataError, match=r":3: ILSVRC2012_ID 1 is n00000005, which has no folder in .*train"):
        load("test")


@given(st.data())
def test_a_changed_meta_file_is_read_or_refused(data: st.DataObject) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "meta.mat"
        write_meta(file, compressed=False)
        content = bytearray(file.read_bytes())
        for _ in range(data.draw(st.integers(1, 3))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        file.write_bytes(bytes(content[: data.draw(st.integers(200, len(content)))]))
        try:
            wnids = devkit.read_wnids(file)
        except DataError as error:
            assert "meta.mat" in str(error)
        else:
            assert all(isinstance(number, int) and isinstance(wnid, str) for number, wnid in wnids.items())


def test_structs_are_read_compressed_or_not(tmp_path: Path) -> None:
    for compressed in (True, False):
        write_meta(tmp_path / "meta.mat", compressed)
        assert devkit.read_wnids(tmp_path / "meta.mat") == {number: wnid for wnid, number in IDS.items()}
    content = (tmp_path / "meta.mat").read_bytes()
    for name, fields, message in (
        ("synset", ("WNID",), "no variable"),
        ("synsets", ("gloss",), "no field 'gloss'"),
        ("synsets", ("children",), "0 numbers, expected one"),
    ):
        with pytest.raises(ValueError, match=message):
            matlab.read_structs(content, name, fields)


# ---- what else belongs to it


def test_the_miniature_has_another_version_if_its_pictures_are_drawn_otherwise() -> None:
    file = registry.PACKAGE / "domains/images/miniature.py"
    assert digest(file.read_bytes()) == made_up.DRAWN_BY, "give miniature.DRAWN_BY the digest of the changed file"


def test_top_1_and_top_5_equal_the_references() -> None:
    vectors: Any = Vectors("schedules/accuracy")
    outputs, targets = vectors["logits"].numpy(), vectors["target"].numpy()
    assert 100 * metrics.score("accuracy", outputs, targets) == pytest.approx(float(vectors["top1"]), abs=1e-4)
    assert 100 * metrics.score("accuracy_top5", outputs, targets) == pytest.approx(float(vectors["top5"]), abs=1e-4)


def test_of_equal_outputs_the_first_counts_as_larger() -> None:
    outputs = np.zeros((7, 7), np.float32)
    assert metrics.score("accuracy_top5", outputs, np.arange(7)) == pytest.approx(5 / 7)
    assert metrics.score("accuracy", outputs, np.arange(7)) == pytest.approx(1 / 7)


def test_scale_small_pretrains_and_probes_on_labelled_cifar(miniature: Callable[[str], Path], tmp_path: Path) -> None:
    run = Run.of(["domain=imagenet", "scale=small", f"data={miniature('images')}", f"runs={tmp_path}"])
    (task,) = run.tasks
    train, test = (task.load(run.splits.request(split)) for split in ("train", "test"))
    source = run.domain.pretraining.load(run.splits.request("train"))
    assert isinstance(source, Examples) and source.targets is not None and train.targets is not None
    assert np.array_equal(source.targets, train.targets) and set(train.targets) == set(range(10))
    assert len(test) == 320 and task.target.outputs == 10 and not task.published_comparable
