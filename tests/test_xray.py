"""The xray domain: what the loaders give, on its miniature and on small copies of the native files."""

from __future__ import annotations

import csv
import pickle
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dabs_rq import registry
from dabs_rq.data.examples import Examples
from dabs_rq.domain import Task
from dabs_rq.errors import DataError, DataWarning

DOMAIN = registry.domain("xray")
TASKS = {task.name: task for task in DOMAIN.tasks}
LOADERS = {"pretraining": DOMAIN.pretraining.load} | {task.name: task.load for task in DOMAIN.tasks}
CHEXPERT = "medical_images/chexpert"
SMALL = f"{CHEXPERT}/CheXpert-v1.0-small"
XRAY8 = "medical_images/xray8"
CHEXPERT_HEADER = (
    "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,"
    "Edema,Consolidation,Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices"
)
XRAY8_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)


@pytest.fixture
def root(miniature: Callable[[str], Path]) -> Path:
    return miniature("xray")


@pytest.fixture
def load(root: Path, read: Callable[..., Examples]) -> Callable[..., Examples]:
    """load(name of a task or "pretraining", split, **options of read): from the miniature."""
    return lambda name, split, **options: read(LOADERS[name], root, "xray", split, **options)


def ids(examples: Examples) -> list[str]:
    return examples.ids.to_pylist()


def pixels(examples: Examples) -> np.ndarray:
    return examples.inputs[0].take(np.arange(len(examples)))


def write_chexpert(root: Path, train: Sequence[str], header: str = CHEXPERT_HEADER) -> Path:
    """The source with `train` as lines of train.csv, one line in valid.csv, and every listed picture. Returns its
    folder medical_images/chexpert."""
    valid = "CheXpert-v1.0-small/valid/patient64541/study1/view1_frontal.jpg,Male,73,Frontal,AP," + ",".join(
        ["0.0"] * 14
    )
    for name, first, lines in (("train", header, train), ("valid", CHEXPERT_HEADER, [valid])):
        for line in lines:
            if paths := re.findall(r"[^,]*\.jpg", line):
                picture = root / CHEXPERT / paths[0]
                picture.parent.mkdir(parents=True, exist_ok=True)
                Image.new("L", (20, 16), 90).save(picture)
        (root / SMALL / name).mkdir(parents=True, exist_ok=True)
        (root / SMALL / f"{name}.csv").write_text("\n".join([first, *lines]) + "\n")
    return root / CHEXPERT


def chexpert_line(patient: int, cells: str, view: int = 1) -> str:
    """A line of train.csv. cells: those of the 14 observations."""
    return f"CheXpert-v1.0-small/train/patient{patient:05d}/study1/view{view}_frontal.jpg,Female,68,Frontal,AP,{cells}"


def write_xray8(
    root: Path, lines: Sequence[str], header: str = XRAY8_HEADER, name: str = "metadata.csv", ending: str = "\n"
) -> Path:
    """The source with those lines in its table and every listed picture. Returns its folder medical_images/xray8."""
    folder = root / XRAY8
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for line in lines:
        if paths := re.findall(r"[^,]*\.png", line):
            Image.new("L", (16, 16), 90).save(folder / "images" / paths[0])
    (folder / name).write_text("".join(f"{line}{ending}" for line in (header, *lines)), newline="")
    return folder


def xray8_line(patient: int, follow_up: int, labels: str = "No Finding") -> str:
    return f"{patient:08d}_{follow_up:03d}.png,{labels},{follow_up},{patient},57,M,PA,2682,2749,0.143,0.143"


# ---- every task ----------------------------------------------------------------------------------------------------


def test_the_tasks_are_those_of_the_table_in_its_order() -> None:
    assert [(task.name, task.row, task.target.outputs, task.metric) for task in DOMAIN.tasks] == [
        ("chexpert", "CheXpert", 5, "auroc"),
        ("xray8", "ChestX-ray8", 8, "auroc"),
    ]
    assert (DOMAIN.title, DOMAIN.batch_size) == ("Chest X-Rays", 64)


@pytest.mark.parametrize("protocol", ["corrected", "published"])
@pytest.mark.parametrize("task", DOMAIN.tasks, ids=lambda task: task.name)
def test_both_splits_are_sound(task: Task, protocol: str, load: Callable[..., Examples]) -> None:
    splits = {split: load(task.name, split, protocol=protocol) for split in ("train", "test")}
    assert len(splits["train"]) >= 1050
    assert len(splits["test"]) >= 290
    assert set(ids(splits["train"])).isdisjoint(ids(splits["test"]))
    for split, examples in splits.items():
        assert len(set(ids(examples))) == len(examples)
        assert examples.targets.dtype == np.int64 and examples.targets.shape == (len(examples), task.target.outputs)
        share = examples.targets.mean(axis=0)
        assert (share > 0.1).all() and (share < 0.5).all()
        assert load(task.name, split, protocol=protocol).key == examples.key
        few = examples.inputs[0].take(np.array([0, len(examples) - 1]))
        assert few.shape == (2, 3, 32, 32) and few.dtype == np.uint8
        assert np.array_equal(few[:, 0], few[:, 1]) and np.array_equal(few[:, 0], few[:, 2])


@pytest.mark.parametrize("name", LOADERS)
def test_the_paper_scale_decodes_to_224_pixels_in_any_process(name: str, load: Callable[..., Examples]) -> None:
    column = load(name, "train", scale="paper").inputs[0]
    assert pickle.loads(pickle.dumps(column)).take(np.arange(2)).shape == (2, 3, 224, 224)


def test_importing_the_domain_imports_nothing_heavy() -> None:
    code = (
        "import sys, domains.xray; print({'torch', 'datasets', 'pandas', 'scipy', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# ---- CheXpert ------------------------------------------------------------------------------------------------------


def test_chexpert_is_what_its_two_tables_say(root: Path, load: Callable[..., Examples]) -> None:
    labels = TASKS["chexpert"].target.labels
    assert labels == ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")
    for split, part in (("train", "train"), ("test", "valid")):
        with (root / SMALL / f"{part}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        examples = load("chexpert", split)
        assert ids(examples) == [row["Path"] for row in rows]
        assert examples.targets.tolist() == [[int(row[label] == "1.0") for label in labels] for row in rows]
        numbers = [int(re.findall(r"/patient(\d+)/", row["Path"])[0]) for row in rows]
        assert examples.groups.tolist() == numbers and len(set(numbers)) < len(numbers)
        assert {row["Frontal/Lateral"] for row in rows} == {"Frontal", "Lateral"}


def test_chexpert_pretrains_on_the_pictures_of_its_task(load: Callable[..., Examples]) -> None:
    assert ids(load("pretraining", "train")) == ids(load("chexpert", "train"))
    assert ids(load("pretraining", "validation")) == ids(load("chexpert", "test"))
    assert len(load("pretraining", "train")) >= 2048


def test_uncertain_and_blank_count_as_absent(tmp_path: Path, read: Callable[..., Examples]) -> None:
    # Columns 2, 5, 6, 8 and 10 of the 14 are Cardiomegaly, Edema, Consolidation, Atelectasis and Pleural Effusion.
    write_chexpert(
        tmp_path,
        [
            chexpert_line(1, ",,1.0,,,0.0,-1.0,,,,1.0,,,"),
            chexpert_line(2, "1.0,1.0,,1.0,1.0,,,1.0,,1.0,,1.0,1.0,1.0"),
            chexpert_line(2, ",,-1,,,1,0,, ,,-1.0,,,", view=2),
            chexpert_line(3, ",,-1.0,,,-1.0,-1.0,,1.0,,-1.0,,,"),
        ],
    )
    train = read(TASKS["chexpert"].load, tmp_path, "xray", "train")
    assert train.targets.tolist() == [[0, 1, 0, 0, 1], [0, 0, 0, 0, 0], [0, 0, 0, 1, 0], [1, 0, 0, 0, 0]]
    assert train.groups.tolist() == [1, 2, 2, 3]


def test_chexpert_columns_are_found_by_name(tmp_path: Path, read: Callable[..., Examples]) -> None:
    header = "Edema,Path,Pleural Effusion,Consolidation,Cardiomegaly,Atelectasis"
    picture = "CheXpert-v1.0-small/train/patient00007/study2/view1_lateral.jpg"
    write_chexpert(tmp_path, [f"1.0,{picture},,-1.0,0.0,1.0"], header)
    train = read(TASKS["chexpert"].load, tmp_path, "xray", "train")
    assert (ids(train), train.targets.tolist()) == ([picture], [[1, 0, 0, 1, 0]])


def test_the_small_release_is_read_where_both_are(tmp_path: Path, read: Callable[..., Examples]) -> None:
    folder = write_chexpert(tmp_path, [chexpert_line(1, ",,1.0,,,0.0,-1.0,,,,1.0,,,")])
    (folder / "CheXpert-v1.0").mkdir()
    assert len(read(TASKS["chexpert"].load, tmp_path, "xray", "train")) == 1


# ---- ChestX-ray8 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["corrected", "published"])
def test_xray8_is_what_its_table_says(protocol: str, root: Path, load: Callable[..., Examples]) -> None:
    with (root / XRAY8 / "metadata.csv").open(newline="") as file:
        rows = {f"images/{row['Image Index']}": row for row in csv.DictReader(file)}
    labels = TASKS["xray8"].target.labels
    splits = [load("xray8", split, protocol=protocol) for split in ("train", "test")]
    assert sorted(ids(splits[0]) + ids(splits[1])) == sorted(rows)
    for examples in splits:
        found = [rows[one]["Finding Labels"].split("|") for one in ids(examples)]
        assert examples.targets.tolist() == [[int(label in names) for label in labels] for names in found]
        assert examples.groups.tolist() == [int(rows[one]["Patient ID"]) for one in ids(examples)]


def test_patients_are_whole_under_corrected_only(load: Callable[..., Examples]) -> None:
    for protocol, whole in (("corrected", True), ("published", False)):
        train, test = (load("xray8", split, protocol=protocol) for split in ("train", "test"))
        assert (not set(train.groups) & set(test.groups)) == whole
        n = len(train) + len(test)
        assert abs(len(test) - 0.1 * n) < (20 if whole else 1)


def test_pictures_are_split_as_dabs_splits_them(root: Path, load: Callable[..., Examples]) -> None:
    """DABS shuffles an array of names with RandomState(42) and cuts at int(0.9 n); here the names are sorted first."""
    names = np.array(sorted(path.name for path in (root / XRAY8 / "images").iterdir()))
    np.random.RandomState(42).shuffle(names)
    cut = int(len(names) * 0.9)
    for split, expected in (("train", names[:cut]), ("test", names[cut:])):
        assert ids(load("xray8", split, xray8_split="image")) == [f"images/{name}" for name in expected]


@pytest.mark.parametrize("header_comma", ["", ","])
@pytest.mark.parametrize("line_comma", ["", ","])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_the_editions_of_the_table_read_alike(
    header_comma: str, line_comma: str, ending: str, tmp_path: Path, read: Callable[..., Examples]
) -> None:
    lines = [xray8_line(k, 0, "Mass|Hernia" if k % 2 else "No Finding") + line_comma for k in range(1, 21)]
    write_xray8(tmp_path, lines, XRAY8_HEADER + header_comma, ending=ending)
    train = read(TASKS["xray8"].load, tmp_path, "xray", "train")
    assert len(train) == 18
    assert train.targets.tolist() == [[0, 0, 0, 0, k % 2, 0, 0, 0] for k in train.groups]


@pytest.mark.parametrize("name", ["Data_Entry_2017.csv", "Data_Entry_2017_v2020.csv"])
def test_nihs_own_names_of_the_table_are_known(name: str, tmp_path: Path, read: Callable[..., Examples]) -> None:
    header = "\ufeffPatient ID,Patient Sex,Image Index,Finding Labels"
    write_xray8(tmp_path, [f"{k},F,{k:08d}_000.png,Edema|Effusion" for k in range(1, 21)], header, name)
    test = read(TASKS["xray8"].load, tmp_path, "xray", "test")
    assert test.targets.tolist() == [[0, 0, 1, 0, 0, 0, 0, 0]] * 2
    write_xray8(tmp_path, [xray8_line(k, 0, "Nodule") for k in range(1, 21)])
    test = read(TASKS["xray8"].load, tmp_path, "xray", "test")
    assert test.targets.tolist() == [[0, 0, 0, 0, 0, 1, 0, 0]] * 2


def test_some_of_the_archives_are_enough(tmp_path: Path, read: Callable[..., Examples]) -> None:
    folder = write_xray8(tmp_path, [xray8_line(k, 0) for k in range(1, 41)])
    (folder / "images" / ".DS_Store").touch()
    for k in range(21, 41):
        (folder / "images" / f"{k:08d}_000.png").unlink()
    message = "ChestX-ray8 pictures that metadata.csv lists: 40 are declared, 20 were found"
    with pytest.warns(DataWarning, match=message):
        splits = [read(TASKS["xray8"].load, tmp_path, "xray", split, made_up=False) for split in ("train", "test")]
    assert [len(examples) for examples in splits] == [18, 2]
    assert max(splits[0].groups.max(), splits[1].groups.max()) <= 20
    with pytest.raises(DataError, match=message):
        read(TASKS["xray8"].load, tmp_path, "xray", "train", made_up=False, strict=True)


def test_what_is_complete_gives_no_warning(tmp_path: Path, read: Callable[..., Examples]) -> None:
    write_xray8(tmp_path, [xray8_line(k, 0) for k in range(1, 21)])
    with warnings.catch_warnings():
        warnings.simplefilter("error", DataWarning)
        assert len(read(TASKS["xray8"].load, tmp_path, "xray", "train", made_up=False, strict=True)) == 18


# ---- the miniature -------------------------------------------------------------------------------------------------


def test_the_miniature_has_what_the_real_files_have(root: Path) -> None:
    for part, expected in (("train", {"1.0", "0.0", "-1.0", ""}), ("valid", {"1.0", "0.0"})):
        header, *lines = (root / SMALL / f"{part}.csv").read_text().splitlines()
        assert header == CHEXPERT_HEADER
        cells = np.array([line.split(",")[5:] for line in lines])
        assert cells.shape[1] == 14
        for column in (2, 5, 6, 8, 10):
            assert set(cells[:, column]) == expected
    header, *lines = (root / XRAY8 / "metadata.csv").read_text().splitlines()
    assert header == XRAY8_HEADER and {line.count(",") for line in lines} == {10}
    modes = {path.suffix: set() for path in root.rglob("*.*g")}
    for path in root.rglob("*.*g"):
        with Image.open(path) as picture:
            modes[path.suffix].add(picture.mode)
    assert modes == {".jpg": {"L"}, ".png": {"L", "RGBA"}}


@pytest.mark.parametrize("name", TASKS)
def test_every_finding_can_be_learned_and_not_at_once(name: str, load: Callable[..., Examples]) -> None:
    from sklearn.linear_model import Ridge
    from sklearn.metrics import roc_auc_score
    from sklearn.preprocessing import StandardScaler

    train, test = load(name, "train"), load(name, "test")
    (x, z) = (pixels(examples)[:, 0].reshape(len(examples), -1).astype(np.float32) for examples in (train, test))
    scaler = StandardScaler().fit(x)
    outputs = Ridge(alpha=3e3).fit(scaler.transform(x), train.targets).predict(scaler.transform(z))
    scores = roc_auc_score(test.targets, outputs, average=None)
    assert (scores > 0.57).all() and scores.mean() < 0.87
