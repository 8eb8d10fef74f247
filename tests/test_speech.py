"""The speech domain on its miniature: what the loaders give, and that the miniature is worth learning from."""

from __future__ import annotations

import csv
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from dabs_rq import registry
from dabs_rq.data.columns import Shared
from dabs_rq.data.examples import Examples
from dabs_rq.data.prepared import Store, Stored
from dabs_rq.data.readers import audio
from dabs_rq.domain import Task
from tests import quick

DOMAIN = registry.domain("speech")
TASKS = {task.name: task for task in DOMAIN.tasks}
FLUENT = ("location", "action", "object")
CLASSES = {"librispeech_speaker": 24, "voxceleb1": 40, "audio_mnist": 10, "google_speech": 35}
CLASSES |= {"fluent_speech_location": 4, "fluent_speech_action": 6, "fluent_speech_object": 14}
SPEECH = "speech"


@pytest.fixture
def root(miniature: Callable[[str], Path]) -> Path:
    return miniature("speech")


@pytest.fixture
def load(root: Path, read: Callable[..., Examples]) -> Callable[..., Examples]:
    """load(task name, split, **options of read): from the miniature."""
    return lambda name, split, **options: read(TASKS[name].load, root, "speech", split, **options)


def ids(examples: Examples) -> list[str]:
    return examples.ids.to_pylist()


def values(examples: Examples) -> np.ndarray:
    return examples.inputs[0].take(np.arange(len(examples)))


# ---- every task ----------------------------------------------------------------------------------------------------


def test_the_tasks_are_those_of_the_table_in_its_order() -> None:
    published = Path(__file__).parents[1] / "results" / "published.csv"
    with published.open(newline="") as file:
        rows = [(row["task"], row["row"]) for row in csv.DictReader(file) if row["domain"] == "speech"]
    assert [(task.name, task.row) for task in DOMAIN.tasks] == rows
    assert [task.target.outputs for task in DOMAIN.tasks] == [40, 1251, 10, 35, 4, 6, 14]
    assert DOMAIN.title == "Speech" and DOMAIN.batch_size == 64


@pytest.mark.parametrize("protocol", ["corrected", "published"])
@pytest.mark.parametrize("task", DOMAIN.tasks, ids=lambda task: task.name)
def test_both_splits_are_sound(task: Task, protocol: str, load: Callable[..., Examples]) -> None:
    splits = {split: load(task.name, split, protocol=protocol) for split in ("train", "test")}
    assert len(splits["test"]) >= 250
    assert len(splits["train"]) >= 1024
    leaking = task.name == "google_speech" and protocol == "published"
    assert set(ids(splits["train"])).isdisjoint(ids(splits["test"])) != leaking
    for split, examples in splits.items():
        assert len(set(ids(examples))) == len(examples)
        assert examples.targets.dtype == np.int64 and examples.groups.dtype == np.int64
        assert examples.targets.min() >= 0 and examples.targets.max() < task.target.outputs
        assert len(np.unique(examples.targets)) == CLASSES[task.name]
        assert load(task.name, split, protocol=protocol).key == examples.key
        few = examples.inputs[0].take(np.array([0, len(examples) - 1]))
        assert few.shape == (2, 1, 64, 64) and few.dtype == np.float16


@pytest.mark.parametrize("task", DOMAIN.tasks, ids=lambda task: task.name)
def test_groups_lie_on_one_side_under_corrected(task: Task, load: Callable[..., Examples]) -> None:
    train, test = (load(task.name, split) for split in ("train", "test"))
    shared = set(train.groups) & set(test.groups)
    single = {5, 13, 21}  # every eighth speaker of the miniature has but one chapter
    assert len(shared) == (len(single) if task.name == "librispeech_speaker" else 0)
    assert 2 < len(np.unique(train.groups)) < len(train)


@pytest.mark.parametrize("task", DOMAIN.tasks, ids=lambda task: task.name)
def test_the_paper_scale_decodes_to_224_frames_in_any_process(task: Task, load: Callable[..., Examples]) -> None:
    column = load(task.name, "test", scale="paper").inputs[0]
    assert pickle.loads(pickle.dumps(column)).take(np.arange(2)).shape == (2, 1, 224, 224)


@pytest.mark.parametrize("name", ["librispeech_speaker", "google_speech", "fluent_speech_action"])
def test_prepared_examples_are_those_decoded_on_the_fly(
    name: str, load: Callable[..., Examples], tmp_path: Path
) -> None:
    few = load(name, "train", protocol="published").select(np.arange(0, 1000, 90))
    stored = few.prepared(Store(tmp_path, policy="always").prepare)
    kept = [getattr(column, "column", column) for column in stored.inputs]
    assert [type(column) for column in kept] == [Stored]
    assert np.array_equal(values(few), values(stored)) and few.key == stored.key


def test_importing_the_domain_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'torchaudio', 'soundfile', 'datasets', 'pandas', 'scipy', 'transformers'}"
    code = f"import sys, domains.speech; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# ---- LibriSpeech ---------------------------------------------------------------------------------------------------


LIBRI = f"{SPEECH}/librispeech"


def test_librispeech_lists_every_utterance_of_its_subsets(root: Path, read: Callable[..., Examples]) -> None:
    train = read(DOMAIN.pretraining.load, root, "speech", "train")
    validation = read(DOMAIN.pretraining.load, root, "speech", "validation")
    for examples, pattern in ((train, "train-*"), (validation, "dev-clean")):
        files = (root / LIBRI).glob(f"LibriSpeech/{pattern}/*/*/*.flac")
        assert sorted(ids(examples)) == sorted(path.relative_to(root / LIBRI).as_posix() for path in files)
        assert examples.targets is None
    assert len(train) >= 2048 and len(validation) >= 1250
    subsets = [one.split("/")[1] for one in ids(train)]
    assert list(dict.fromkeys(subsets)) == ["train-clean-100", "train-clean-360", "train-other-500"]


def flac(folder: Path, speaker: int, chapter: int, count: int) -> None:
    below = folder / str(speaker) / str(chapter)
    below.mkdir(parents=True)
    for number in range(count):
        soundfile.write(below / f"{speaker}-{chapter}-{number:04d}.flac", np.ones(9, np.int16), 16_000)


def test_librispeech_goes_on_with_the_training_subsets_that_are_there(
    tmp_path: Path, read: Callable[..., Examples]
) -> None:
    flac(tmp_path / LIBRI / "LibriSpeech" / "train-clean-360", 14, 208, 2)
    with pytest.warns(UserWarning) as warned:
        train = read(DOMAIN.pretraining.load, tmp_path, "speech", "train", made_up=False)
    texts = [str(one.message) for one in warned]
    assert any("training subsets: 3 are declared, 1 were found" in text for text in texts)
    assert any("training speakers: 2,338 are declared, 1 were found" in text for text in texts)
    assert len(train) == 2


def test_speakers_are_split_as_dabs_splits_them(root: Path, load: Callable[..., Examples]) -> None:
    """One generator over the speakers by number, each one's utterances sorted by name."""
    state = np.random.RandomState(42)
    folder = root / LIBRI / "LibriSpeech" / "dev-clean"
    speakers = sorted(int(path.name) for path in folder.iterdir())
    expected: dict[str, list[tuple[str, int]]] = {"train": [], "test": []}
    for label, speaker in enumerate(speakers):
        stems = sorted(path.stem for path in folder.glob(f"{speaker}/*/*.flac"))
        order = list(range(len(stems)))
        state.shuffle(order)
        cut = int(0.8 * len(stems))
        expected["train"] += [(stems[i], label) for i in order[:cut]]
        expected["test"] += [(stems[i], label) for i in order[cut:]]
    for split in ("train", "test"):
        examples = load("librispeech_speaker", split, librispeech_split="utterance")
        assert [Path(one).stem for one in ids(examples)] == [stem for stem, _ in expected[split]]
        assert examples.targets.tolist() == [label for _, label in expected[split]]
        pairs = [tuple(map(int, one.split("/")[2:4])) for one in ids(examples)]
        assert examples.groups.tolist() == [10**7 * speaker + chapter for speaker, chapter in pairs]


def test_speakers_hold_out_whole_chapters_or_the_end_of_the_only_one(load: Callable[..., Examples]) -> None:
    train, test = (load("librispeech_speaker", split) for split in ("train", "test"))
    share = []
    for label in range(24):
        own = {
            split: [one for one, target in zip(ids(examples), examples.targets, strict=True) if target == label]
            for split, examples in (("train", train), ("test", test))
        }
        chapters = {split: {one.split("/")[3] for one in paths} for split, paths in own.items()}
        total = len(own["train"]) + len(own["test"])
        share.append(len(own["test"]) / total)
        if len(chapters["train"] | chapters["test"]) == 1:
            assert own["train"] + own["test"] == sorted(own["train"] + own["test"])
            assert len(own["train"]) == int(0.8 * total)
        else:
            assert not chapters["train"] & chapters["test"]
        assert own["train"] and own["test"]
    assert 0.15 < np.mean(share) < 0.3


def test_the_chapters_nearest_to_a_fifth_are_held_out(tmp_path: Path, read: Callable[..., Examples]) -> None:
    for chapter, count in ((11, 10), (5, 3), (7, 2), (8, 10)):
        flac(tmp_path / LIBRI / "LibriSpeech" / "dev-clean", 84, chapter, count)
    for chapter, count in ((100, 6), (101, 4)):
        flac(tmp_path / LIBRI / "LibriSpeech" / "dev-clean", 9, chapter, count)
    test = read(TASKS["librispeech_speaker"].load, tmp_path, "speech", "test")
    assert sorted(test.groups % 10**7) == [5] * 3 + [7] * 2 + [101] * 4
    assert test.targets.tolist() == [0] * 4 + [1] * 5
    with pytest.warns(UserWarning, match="dev-clean speakers: 40 are declared, 2 were found"):
        read(TASKS["librispeech_speaker"].load, tmp_path, "speech", "test", made_up=False)


# ---- crops ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["librispeech", "librispeech_speaker"])
def test_long_training_clips_keep_head_or_tail_anew_in_every_epoch(
    name: str, root: Path, read: Callable[..., Examples]
) -> None:
    loader = TASKS[name].load if name in TASKS else DOMAIN.pretraining.load
    train = read(loader, root, "speech", "train", speech_crop="head_or_tail")
    paths = [root / LIBRI / one for one in ids(train)]
    long = np.flatnonzero(audio.lengths(root / LIBRI, train.ids) > audio.SAMPLES)
    assert 0 < len(long) < 40
    statistics = audio.Statistics(mean=-22.924, std=12.587)
    expected = [
        [audio.log_mel(*audio.read(paths[row], tail=tail), 64, 64, statistics).astype(np.float16) for row in long]
        for tail in (False, True)
    ]
    few = train.select(np.array([*long, *np.setdiff1d(np.arange(20), long)]))
    seen: set[tuple[bool, ...]] = set()
    for epoch in range(6):
        arrays = values(few.of_epoch(0, epoch))[:, 0]
        assert np.array_equal(arrays, values(few.of_epoch(0, epoch))[:, 0])
        assert np.array_equal(arrays[len(long) :], values(few)[len(long) :, 0])
        is_tail = [np.array_equal(array, tail) for array, tail in zip(arrays, expected[1], strict=False)]
        is_head = [np.array_equal(array, head) for array, head in zip(arrays, expected[0], strict=False)]
        assert [one != other for one, other in zip(is_tail, is_head, strict=True)] == [True] * len(long)
        seen.add(tuple(is_tail))
    assert len(seen) > 1
    head = read(loader, root, "speech", "train", speech_crop="head")
    assert np.array_equal(values(head.select(long))[:, 0], expected[0])


@pytest.mark.parametrize(("name", "split"), [("librispeech", "validation"), ("librispeech_speaker", "test")])
def test_evaluation_keeps_the_head(name: str, split: str, root: Path, read: Callable[..., Examples]) -> None:
    loader = TASKS[name].load if name in TASKS else DOMAIN.pretraining.load
    examples = read(loader, root, "speech", split, speech_crop="head_or_tail")
    assert not isinstance(examples.inputs[0], Shared) and examples.of_epoch(0, 3) is examples


# ---- the other sources ---------------------------------------------------------------------------------------------


def test_voxceleb_follows_the_identification_split(root: Path, load: Callable[..., Examples]) -> None:
    lines = [line.split(" ") for line in (root / SPEECH / "voxceleb1" / "iden_split.txt").read_text().splitlines()]
    speakers = sorted({path.split("/")[0] for _, path in lines})
    for split, parts in (("train", "12"), ("test", "3")):
        listed = [path for part, path in lines if part in parts]
        examples = load("voxceleb1", split)
        assert ids(examples) == [f"wav/{path}" for path in listed]
        assert examples.targets.tolist() == [speakers.index(path.split("/")[0]) for path in listed]
        videos = [path.rpartition("/")[0] for path in listed]
        assert len(set(zip(videos, examples.groups.tolist(), strict=True))) == len(set(videos))


def test_audio_mnist_holds_out_twelve_speakers(root: Path, load: Callable[..., Examples]) -> None:
    train, test = (load("audio_mnist", split) for split in ("train", "test"))
    assert set(test.groups) == {26, 52, 60, 18, 32, 42, 5, 13, 22, 33, 45, 51}
    assert set(train.groups) | set(test.groups) == set(range(1, 61))
    for examples in (train, test):
        named = [[int(part) for part in Path(one).stem.split("_")[:2]] for one in ids(examples)]
        assert named == np.stack([examples.targets, examples.groups], 1).tolist()
    assert soundfile.info(root / SPEECH / "AudioMNIST" / ids(test)[0]).samplerate == 48_000


@pytest.mark.parametrize("ending", ["\n", "\r\n", "no last one"])
def test_google_speech_leaks_its_test_clips_or_not(
    ending: str, root: Path, load: Callable[..., Examples], tmp_path: Path, read: Callable[..., Examples]
) -> None:
    source = root / SPEECH / "google_speech"
    copy = tmp_path / "data" / SPEECH / "google_speech"
    copy.mkdir(parents=True)
    for path in source.iterdir():
        (copy / path.name).symlink_to(path)
    lists = {}
    for name in ("validation_list.txt", "testing_list.txt"):
        lists[name] = (source / name).read_text().splitlines()
        (copy / name).unlink()
        text = "\n".join(lists[name]) if ending == "no last one" else "".join(one + ending for one in lists[name])
        (copy / name).write_bytes(text.encode())
    everything = {path.relative_to(source).as_posix() for path in source.glob("[a-z]*/*.wav")}
    validation, testing = set(lists["validation_list.txt"]), set(lists["testing_list.txt"])

    def found(split: str, **options: Any) -> Examples:
        return read(TASKS["google_speech"].load, tmp_path / "data", "speech", split, **options)

    assert ids(found("test")) == sorted(testing)
    assert ids(found("train")) == sorted(everything - testing)
    leaking = found("train", google_speech_split="leaking")
    assert ids(leaking) == sorted(everything) + [f"{one}#again" for one in sorted(validation)]
    assert ids(found("test", google_speech_split="leaking")) == sorted(testing)
    # A clip that occurs twice is one file, decoded and kept once.
    first = ids(leaking).index(sorted(validation)[0])
    pair = leaking.select(np.array([first, len(everything)]))
    assert isinstance(pair.inputs[0], Shared) and len(pair.inputs[0].column) == 1
    assert np.array_equal(*values(pair)) and pair.targets[0] == pair.targets[1]


def test_google_speech_labels_words_as_dabs_orders_them(load: Callable[..., Examples]) -> None:
    test = load("google_speech", "test")
    words = [one.split("/")[0] for one in ids(test)]
    numbers = dict(zip(words, test.targets.tolist(), strict=True))
    assert len(numbers) == 35 and (numbers["eight"], numbers["right"], numbers["learn"]) == (0, 1, 34)
    assert test.targets.tolist() == [numbers[word] for word in words]
    assert test.groups.tolist() == [int(one.split("/")[1][:8], 16) for one in ids(test)]


def test_fluent_targets_are_its_tables_columns(root: Path, load: Callable[..., Examples]) -> None:
    folder = root / SPEECH / "fluent_speech/fluent_speech_commands_dataset"
    first = {"location": "none", "action": "change language", "object": "none"}
    for split, names in (("train", ("train", "valid")), ("test", ("test",))):
        rows = []
        for name in names:
            with (folder / "data" / f"{name}_data.csv").open(newline="") as file:
                rows += list(csv.DictReader(file))
        for slot in FLUENT:
            examples = load(f"fluent_speech_{slot}", split)
            assert ids(examples) == [f"{folder.name}/{row['path']}" for row in rows]
            numbers = {row[slot]: target for row, target in zip(rows, examples.targets.tolist(), strict=True)}
            assert examples.targets.tolist() == [numbers[row[slot]] for row in rows]
            assert numbers[first[slot]] == 0 and sorted(numbers.values()) == list(range(len(numbers)))
            speakers = {(row["speakerId"], group) for row, group in zip(rows, examples.groups.tolist(), strict=True)}
            assert len(speakers) == len({row["speakerId"] for row in rows})


def test_the_three_fluent_tasks_share_their_features(load: Callable[..., Examples]) -> None:
    for protocol in ("corrected", "published"):
        splits = [load(f"fluent_speech_{slot}", "test", protocol=protocol) for slot in FLUENT]
        assert len({examples.inputs_key for examples in splits}) == 1
        assert len({examples.key for examples in splits}) == 3


# ---- the miniature -------------------------------------------------------------------------------------------------


def test_the_miniature_has_the_native_layouts(root: Path) -> None:
    speech = root / SPEECH
    chapter = next((speech / "librispeech/LibriSpeech/train-clean-100").glob("*/*"))
    lines = next(chapter.glob("*.trans.txt")).read_text().splitlines()
    assert [line.split(" ")[0] for line in lines] == sorted(path.stem for path in chapter.glob("*.flac"))
    assert all(line.split(" ", 1)[1].isupper() for line in lines)
    assert len(list((speech / "google_speech/_background_noise_").glob("*.wav"))) == 2
    for file, rate in [
        (chapter / f"{lines[0].split(' ')[0]}.flac", 16_000),
        (next((speech / "voxceleb1/wav").glob("id1*/*/00001.wav")), 16_000),
        (speech / "AudioMNIST/data/01/0_01_0.wav", 48_000),
    ]:
        found = soundfile.info(file)
        assert (found.samplerate, found.channels, found.subtype) == (rate, 1, "PCM_16")


@pytest.mark.parametrize("name", quick.others_slow(TASKS, ["audio_mnist"]))
def test_the_miniature_can_be_learned_and_not_at_once(name: str, load: Callable[..., Examples]) -> None:
    from sklearn.linear_model import RidgeClassifier
    from sklearn.preprocessing import StandardScaler

    train, test = load(name, "train"), load(name, "test")
    # Clips are short: the last frames hold next to nothing.
    x, z = (values(examples)[..., :24].reshape(len(examples), -1).astype(np.float32) for examples in (train, test))
    scaler = StandardScaler().fit(x)
    accuracy = (
        RidgeClassifier(alpha=3e4).fit(scaler.transform(x), train.targets).score(scaler.transform(z), test.targets)
    )
    most_frequent = np.bincount(test.targets).max() / len(test)
    assert most_frequent + 0.04 < accuracy < 0.85
