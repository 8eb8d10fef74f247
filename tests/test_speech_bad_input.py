"""The speech domain on damaged and incomplete files: errors name the file and, if it has lines, the line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from dabs_rq import registry
from dabs_rq.data.examples import Examples
from dabs_rq.data.prepared import Store
from dabs_rq.data.readers import audio
from dabs_rq.errors import DataError, MissingDataError

DOMAIN = registry.domain("speech")
LOADERS = {"librispeech": DOMAIN.pretraining.load} | {task.name: task.load for task in DOMAIN.tasks}
SOURCES = {"librispeech": DOMAIN.pretraining.source} | {task.name: task.source for task in DOMAIN.tasks}
FLUENT = "fluent_speech_commands_dataset/data"
HEADER = ",path,speakerId,transcription,action,object,location"


@pytest.fixture
def folder(miniature: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """folder(task name): the folder of a copy of its source, to be damaged. Files are links until they are written."""

    def copied(name: str) -> Path:
        below = SOURCES[name].folder
        skipped = shutil.ignore_patterns("train-*") if name == "librispeech_speaker" else None
        return shutil.copytree(
            miniature("speech") / below, tmp_path / "data" / below, copy_function=linked, ignore=skipped
        )

    return copied


def linked(source: str, target: str) -> None:
    Path(target).symlink_to(source)


def replaced(file: Path, content: bytes) -> None:
    file.unlink()
    file.write_bytes(content)


def put_line(file: Path, number: int, text: str) -> None:
    lines = file.read_text().splitlines()
    replaced(file, ("\n".join([*lines[: number - 1], text, *lines[number:]]) + "\n").encode())


@pytest.fixture
def load(tmp_path: Path, read: Callable[..., Examples]) -> Callable[..., Examples]:
    return lambda name, split="train", **options: read(LOADERS[name], tmp_path / "data", "speech", split, **options)


# ---- what is missing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SOURCES)
def test_a_missing_source_tells_how_to_get_it(name: str, tmp_path: Path, load: Callable[..., Examples]) -> None:
    source = SOURCES[name]
    with pytest.raises(MissingDataError) as caught:
        load(name)
    text = str(caught.value)
    assert str(tmp_path / "data" / source.folder / source.needs[0]) in text
    assert all(line in text for line in source.layout.strip().splitlines())
    assert source.url in text and (source.registration or "none needed") in text
    by_hand = name == "voxceleb1" or name.startswith("fluent")
    assert bool(source.registration) == by_hand


def test_librispeech_without_dev_clean_still_pretrains(folder: Any, load: Callable[..., Examples]) -> None:
    shutil.rmtree(folder("librispeech") / "LibriSpeech" / "dev-clean")
    assert len(load("librispeech")) >= 2048
    with pytest.raises(MissingDataError, match="LibriSpeech/dev-clean"):
        load("librispeech", "validation")


def test_the_speakers_do_not_need_the_training_subsets(folder: Any, load: Callable[..., Examples]) -> None:
    folder("librispeech_speaker")
    assert len(load("librispeech_speaker")) > 1000
    with pytest.raises(MissingDataError, match=r"train-clean-100.*train-clean-360.*train-other-500"):
        load("librispeech")


def test_audio_mnist_without_a_test_speaker_says_who_they_are(folder: Any, load: Callable[..., Examples]) -> None:
    data = folder("audio_mnist") / "data"
    for speaker in (26, 52, 60, 18, 32, 42, 5, 13, 22, 33, 45, 51):
        shutil.rmtree(data / f"{speaker:02d}")
    with pytest.raises(DataError, match=f"{data}: no clip for split 'test'; the speakers for test are 05, 13"):
        load("audio_mnist", "test")


def test_counts_that_differ_from_the_declared_are_told(folder: Any, load: Callable[..., Examples]) -> None:
    folder("google_speech")
    with pytest.warns(UserWarning, match="Speech Commands clips: 105,829 are declared, 1,400 were found"):
        load("google_speech", made_up=False)
    with pytest.raises(DataError, match="Speech Commands clips: 105,829 are declared, 1,400 were found"):
        load("google_speech", made_up=False, strict=True)


# ---- index files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("4 id10001/abc/00001.wav", "expected a part from 1 to 3 and a path .* found '4 id10001/abc/00001.wav'"),
        ("1 10001/abc/00001.wav", "expected a part"),
        ("1 id10001/abc/00001.m4a", "expected a part"),
        ("1,id10001/abc/00001.wav", "expected a part"),
        ("1", "expected a part"),
        ("1 id10001/none/00001.wav", "no such file .*voxceleb1/wav/id10001/none/00001.wav"),
    ],
)
def test_a_bad_line_of_the_identification_split_is_named(
    text: str, message: str, folder: Any, load: Callable[..., Examples]
) -> None:
    file = folder("voxceleb1") / "iden_split.txt"
    put_line(file, 3, "")  # a blank line counts
    put_line(file, 5, text)
    with pytest.raises(DataError, match=f"{file}:5: {message}"):
        load("voxceleb1")


def test_other_faults_of_the_identification_split(folder: Any, load: Callable[..., Examples]) -> None:
    file = folder("voxceleb1") / "iden_split.txt"
    lines = file.read_text().splitlines()
    replaced(file, "\r\n".join(lines).encode())
    assert len(load("voxceleb1", "test")) == 320
    put_line(file, 9, lines[1])
    with pytest.raises(DataError, match=f"{file}:9: wav/id10001/.* is listed already: {file}:2"):
        load("voxceleb1")
    for content in (b"", b"\xff\xfe\x00\x01\n"):
        replaced(file, content)
        with pytest.raises(DataError, match=f"{file}: not a list of clips"):
            load("voxceleb1")
    replaced(file, "\n".join(line for line in lines if line[0] != "3").encode())
    with pytest.raises(DataError, match="no clip is listed for this split"):
        load("voxceleb1", "test")
    replaced(file, "".join(f"1 id{number:05d}/v/00001.wav\n" for number in range(1252)).encode())
    with pytest.raises(DataError, match=f"{file}: .*label 1251 is not a whole number from 0 to 1250"):
        load("voxceleb1")


@pytest.mark.parametrize("name", ["validation_list.txt", "testing_list.txt"])
@pytest.mark.parametrize("text", ["cat/01234567_nohash_0.wav", "_background_noise_/pink_noise.wav", "nonsense"])
def test_a_list_that_names_no_clip_is_told(name: str, text: str, folder: Any, load: Callable[..., Examples]) -> None:
    file = folder("google_speech") / name
    put_line(file, 2, text)
    for split in ("train", "test"):
        with pytest.raises(DataError, match=f"{file}:2: expected a clip below {file.parent} .* no '{text}'"):
            load("google_speech", split)


def test_other_faults_of_google_speech(folder: Any, load: Callable[..., Examples]) -> None:
    top = folder("google_speech")
    (top / "kat").mkdir()
    with pytest.raises(DataError, match=f"{top / 'kat'}: unknown word 'kat'. Did you mean 'cat'"):
        load("google_speech")
    (top / "kat").rmdir()
    (top / "cat" / "one.wav").touch()
    with pytest.raises(DataError, match=f"{top / 'cat' / 'one.wav'}: expected a name like"):
        load("google_speech")
    (top / "cat" / "one.wav").unlink()
    (top / "cat" / "._hidden.wav").touch()
    (top / ".DS_Store").mkdir()
    file = top / "testing_list.txt"
    put_line(file, 2, file.read_text().splitlines()[0])
    with pytest.raises(DataError, match=f"{file}:2: .* is listed already: {file}:1"):
        load("google_speech")
    replaced(file, b"\n")
    with pytest.raises(DataError, match="no clip is left for split 'test'"):
        load("google_speech", "test")


@pytest.mark.parametrize("slot", ["location", "action", "object"])
def test_an_unknown_class_of_fluent_is_named(slot: str, folder: Any, load: Callable[..., Examples]) -> None:
    file = folder(f"fluent_speech_{slot}") / FLUENT / "valid_data.csv"
    cells = dict(zip(HEADER.split(","), file.read_text().splitlines()[6].split(","), strict=True))
    put_line(file, 7, ",".join((cells | {slot: "kitchenette"}).values()))
    with pytest.raises(DataError, match=f"{file}:7: unknown {slot} 'kitchenette'."):
        load(f"fluent_speech_{slot}")
    others = [other for other in ("location", "action", "object") if other != slot]
    assert [len(load(f"fluent_speech_{other}")) for other in others] == [1088, 1088]


@pytest.mark.parametrize("column", ["path", "speakerId", "location"])
def test_a_table_without_a_column_is_told(column: str, folder: Any, load: Callable[..., Examples]) -> None:
    file = folder("fluent_speech_action") / FLUENT / "train_data.csv"
    put_line(file, 1, HEADER.replace(column, "other"))
    with pytest.raises(DataError, match=f"{file}:1: expected columns .*; {column} missing"):
        load("fluent_speech_action")


def test_other_faults_of_fluent(folder: Any, load: Callable[..., Examples]) -> None:
    file = folder("fluent_speech_action") / FLUENT / "test_data.csv"
    lines = file.read_text().splitlines()
    put_line(file, 4, lines[3].replace("wavs/", "wavs/gone/"))
    with pytest.raises(DataError, match=f"{file}:4: no such file .*wavs/gone/"):
        load("fluent_speech_action", "test")
    put_line(file, 4, lines[1])
    with pytest.raises(DataError, match=f"{file}:4: .* is listed already: {file}:2"):
        load("fluent_speech_action", "test")
    put_line(file, 4, "1,2,3")
    with pytest.raises(DataError, match=f"{file}: not a csv table .*Expected 7 columns, got 3"):
        load("fluent_speech_action", "test")
    replaced(file, f"{HEADER}\n".encode())
    with pytest.raises(DataError, match="no clip is listed for this split"):
        load("fluent_speech_action", "test")


def test_recordings_in_folders_that_do_not_fit_are_named(folder: Any, load: Callable[..., Examples]) -> None:
    dev = folder("librispeech_speaker") / "LibriSpeech" / "dev-clean"
    chapter = next(dev.glob("*/*"))
    (dev / "notes").mkdir()
    (chapter / "._hidden.flac").touch()
    (chapter / "1-2-0000.flac").touch()
    with pytest.raises(DataError, match=f"{chapter / '1-2-0000.flac'}: expected a name like {chapter.parent.name}-"):
        load("librispeech_speaker")
    (chapter / "1-2-0000.flac").unlink()
    (chapter.parent / "1").mkdir()
    with pytest.raises(DataError, match=f"{chapter.parent / '1'}: chapter without any utterance"):
        load("librispeech_speaker")
    for number in range(1, 18):
        copied = dev / str(90_000 + number) / "7"
        copied.mkdir(parents=True)
        (copied / f"{90_000 + number}-7-0000.flac").touch()
    (chapter.parent / "1").rmdir()
    with pytest.raises(DataError, match=f"{dev}/90017: label 40 is not a whole number from 0 to 39"):
        load("librispeech_speaker")
    shutil.rmtree(dev)
    dev.mkdir()
    with pytest.raises(DataError, match=f"{dev}: it holds no utterance"):
        load("librispeech_speaker")


def test_a_take_of_another_speaker_is_named(folder: Any, load: Callable[..., Examples]) -> None:
    file = folder("audio_mnist") / "data" / "01" / "0_02_0.wav"
    file.touch()
    with pytest.raises(DataError, match=f"{file}: expected a name like <digit>_01_<take>.wav"):
        load("audio_mnist")


# ---- recordings ----------------------------------------------------------------------------------------------------


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda content: content[: len(content) * 2 // 3],
    "header only": lambda content: content[:44],
    "empty": lambda content: b"",
    "text": lambda content: b"<html>not found</html>",
    "zeros": lambda content: content[: len(content) // 2] + bytes(400) + content[len(content) // 2 + 400 :],
}
# Zeros are sound samples of a wav file.
DAMAGED = [("librispeech_speaker", damage) for damage in DAMAGE] + [
    ("audio_mnist", damage) for damage in DAMAGE if damage != "zeros"
]


@pytest.mark.parametrize("prepare", ["never", "always"])
@pytest.mark.parametrize(("name", "damage"), DAMAGED)
def test_a_damaged_recording_is_named(
    name: str, damage: str, prepare: str, folder: Any, load: Callable[..., Examples], tmp_path: Path
) -> None:
    top = folder(name)
    file = top / load(name, "test").ids[3].as_py()
    replaced(file, DAMAGE[damage](file.read_bytes()))
    few = load(name, "test").select(np.arange(6))
    with pytest.raises(DataError, match=f"{file}: (damaged or not a recording|cut short|it holds no samples)"):
        values = few.prepared(Store(tmp_path / "prepared", policy=prepare).prepare).inputs[0]  # type: ignore[arg-type]
        values.take(np.arange(6))


def test_a_recording_without_samples_or_with_impossible_ones_is_named(tmp_path: Path) -> None:
    for name in ("empty.wav", "empty.flac"):
        soundfile.write(tmp_path / name, np.zeros(0, np.int16), 16_000)
        with pytest.raises(DataError, match=f"{tmp_path / name}: (it holds no samples|damaged or not a recording)"):
            audio.read(tmp_path / name)
    soundfile.write(tmp_path / "nan.wav", np.array([0.1, np.nan], np.float32), 16_000, subtype="FLOAT")
    with pytest.raises(DataError, match=r"nan.wav: it holds samples that are not finite"):
        audio.read(tmp_path / "nan.wav")
    with pytest.raises(DataError, match=r"gone.wav: no such file"):
        audio.read(tmp_path / "gone.wav")


def test_a_wav_file_of_a_stream_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    """Its header was written before its length was known."""
    file = tmp_path / "stream.wav"
    soundfile.write(file, np.arange(500, dtype=np.int16), 16_000)
    content = file.read_bytes()
    for length in (b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f"):
        file.write_bytes(content[:4] + length + content[8:40] + length + content[44:])
        assert len(audio.read(file)[0]) == 500


def test_a_damaged_header_is_named_while_lengths_are_looked_up(folder: Any, load: Callable[..., Examples]) -> None:
    top = folder("librispeech_speaker")
    file = top / load("librispeech_speaker").ids[5].as_py()
    replaced(file, b"fLaC")
    with pytest.raises(DataError, match=f"{file}: damaged or not a recording"):
        load("librispeech_speaker", speech_crop="head_or_tail")
