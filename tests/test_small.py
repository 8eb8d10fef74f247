"""scale=small: fetched from a local server in the publishers' archives, read, and run whole; mirrors; bad input.

The archives hold made-up data, most of them a domain's miniature, in the layouts of the real ones.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from dabs_rq import cli, registry
from dabs_rq.data.examples import Examples
from dabs_rq.domain import Domain, SourceSet, Task
from dabs_rq.domains.multilingual.pawsx_tsv import PairsFile
from dabs_rq.domains.speech.mini_speech_commands import WORDS, is_test, place
from dabs_rq.domains.xray import medmnist
from dabs_rq.errors import DataError, MissingDataError, OptionError
from dabs_rq.run import Run
from dabs_rq.sources import download, fetch
from dabs_rq.spec import Archive, Multiclass, Source
from dabs_rq.table import table_order
from dabs_rq.transfer.targets import check_evaluable, check_trainable
from tests.file_server import Server, tarred, zipped

SETS = {domain.name: domain for domain in registry.domains("small") if domain.installed is None}
TASKS = [(domain.name, task.name) for domain in SETS.values() for task in domain.tasks]


def sources() -> dict[str, Source]:
    return {one.source.name: one.source for of in SETS.values() for one in (of.pretraining, *of.tasks)}


# ---- archives in the layouts of the publishers ---------------------------------------------------------------------


def files(folder: Path, below: str = "") -> dict[str, bytes]:
    """The files of a folder, by their paths in it after the prefix `below`."""
    return {
        f"{below}{path.relative_to(folder).as_posix()}": path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def npz(outputs: int, *, rows: int = 40, **changed: np.ndarray) -> bytes:
    """A file of MedMNIST: pictures whose brightness tells the labels."""
    generator, arrays = np.random.default_rng(outputs), {}
    for split in ("train", "val", "test"):
        labels = generator.integers(0, 2, (rows, outputs)).astype(np.uint8)
        labels[:2] = [[0], [1]]  # both values in every column
        noise = generator.integers(0, 100, (rows, 28, 28))
        arrays[f"{split}_images"] = (noise + 100 * labels[:, :1, None]).astype(np.uint8)
        arrays[f"{split}_labels"] = labels
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **(arrays | changed))
    return buffer.getvalue()


def pairs_tsv(table: Path) -> bytes:
    """A table of PAWS-X as its publisher writes it: tabs, no quoting."""
    rows = parquet.read_table(table).to_pylist()
    lines = [f"{row['id']}\t{row['sentence1']}\t{row['sentence2']}\t{row['label']}" for row in rows]
    return "\n".join(["id\tsentence1\tsentence2\tlabel", *lines, ""]).encode()


def coco(root: Path) -> dict[str, bytes]:
    """The archives of COCO val2017 and VQA v1, made of the miniature's val2014: the same pictures under their ids."""
    folder = root / "captioned_images/vqa/coco-vqa"
    pictures = {int(path.stem[-12:]): path.read_bytes() for path in sorted((folder / "val2014").glob("*.jpg"))}
    names = sorted(pictures)[::2]  # questions are about all of val2014, val2017 has only some of its pictures
    captions = {"annotations": [{"image_id": name, "caption": f"a made-up scene {name % 7}"} for name in names]}
    instances = {"annotations": [{"image_id": name, "bbox": [0, 0, 1, 1]} for name in names]}
    questions, annotations = (
        {name: (folder / name).read_bytes()}
        for name in ("MultipleChoice_mscoco_val2014_questions.json", "mscoco_val2014_annotations.json")
    )
    return {
        "val2017.zip": zipped({f"val2017/{name:012d}.jpg": pictures[name] for name in names}),
        "annotations_trainval2017.zip": zipped(
            {
                "annotations/captions_val2017.json": json.dumps(captions).encode(),
                "annotations/instances_val2017.json": json.dumps(instances).encode(),
            }
        ),
        "Questions_Val_mscoco.zip": zipped(questions),
        "Annotations_Val_mscoco.zip": zipped(annotations),
    }


@pytest.fixture(scope="module")
def contents(miniature: Callable[[str], Path]) -> dict[tuple[str, str], bytes]:
    """(source, archive) -> its content."""
    images, speech, text = miniature("images"), miniature("speech"), miniature("text")
    multilingual, sensor = miniature("multilingual"), miniature("sensor")
    words = {f"mini_speech_commands/{word}": files(speech / "speech/google_speech" / word) for word in WORDS}
    clips = {f"{folder}/{name}": clip for folder, of_word in words.items() for name, clip in of_word.items()}
    pairs = {}
    for language in ("en", "fr", "es", "de", "zh", "ja", "ko"):
        train = "train" if language == "en" else "translated_train"
        for split, name in (("train", train), ("validation", "dev_2k"), ("test", "test_2k")):
            table = multilingual / f"text/paws-x/{language}/{split}.parquet"
            pairs[f"x-final/{language}/{name}.tsv"] = pairs_tsv(table)
    subjects = files(sensor / "sensor/pamap2")  # two of them are enough
    recordings = zipped({name: content for name, content in subjects.items() if "101" in name or "105" in name})
    made = {
        ("cifar10", "cifar-10-python.tar.gz"): tarred(files(images / "natural_images/cifar10")),
        ("traffic_sign", "GTSRB_Final_Training_Images.zip"): zipped(files(images / "natural_images/traffic_sign")),
        ("librispeech_dev_clean", "dev-clean.tar.gz"): tarred(
            files(speech / "speech/librispeech/LibriSpeech/dev-clean", "LibriSpeech/dev-clean/")
        ),
        ("mini_speech_commands", "mini_speech_commands.zip"): zipped(
            clips | {"mini_speech_commands/README.md": b"about", "__MACOSX/mini_speech_commands/._down": b"?"}
        ),
        ("paws_x", "x-final.tar.gz"): tarred(pairs),
        ("pamap2", "pamap2+physical+activity+monitoring.zip"): zipped(
            {"PAMAP2_Dataset.zip": recordings, "readme.pdf": b"about"}
        ),
        ("chest_mnist", "chestmnist.npz"): npz(14),
        ("pneumonia_mnist", "pneumoniamnist.npz"): npz(1),
    }
    for split in ("train", "validation"):
        file = f"{split}-00000-of-00001.parquet"
        made["wikitext2", file] = (text / f"text/wikitext/wikitext-103-v1/{split}.parquet").read_bytes()
        for task in ("cola", "mrpc", "rte", "sst2", "stsb", "wnli"):
            made[task, file] = (text / f"text/glue/{task}/{split}.parquet").read_bytes()
    return made | {("coco_val2017", name): content for name, content in coco(miniature("vqa")).items()}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(download, "PAUSE", 0.001)
        patch.setenv("NO_PROXY", "127.0.0.1")
        one = Server()
        yield one
        one.http.shutdown()
        one.http.server_close()


def served(archive: Archive, content: bytes, server: Server) -> Archive:
    """The archive at the same addresses of our server. The first of several is dead, the last is right, those between
    them send something else. Size and checksum are those of `content`, where the real ones are declared."""
    local = [server.url(address.partition("://")[2]) for address in archive.addresses]
    paths = [address.partition("://")[2] for address in archive.addresses]
    for path in paths[1:-1]:
        server.files[path] = content[:-1] + bytes([content[-1] ^ 1])
    server.files[paths[-1]] = content
    known = {"size": len(content)} if archive.size else {}
    known |= {name: hashlib.new(name, content).hexdigest() for name in ("md5", "sha256") if getattr(archive, name)}
    return dataclasses.replace(archive, url=local[0], mirrors=tuple(local[1:]), **known)


@pytest.fixture(scope="module")
def fetched(
    contents: dict[tuple[str, str], bytes],
    server: Server,
    miniature: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The data root after `data fetch scale=small`, which fetches every source from our server."""
    root = tmp_path_factory.mktemp("small") / "root"
    root.mkdir()
    local = {
        name: dataclasses.replace(
            source, archives=tuple(served(one, contents[name, one.name], server) for one in source.archives)
        )
        for name, source in sources().items()
    }
    original = registry.domain

    def of(declared: Any) -> Any:
        return dataclasses.replace(declared, source=local[declared.source.name])

    def domain(name: str, sources: str | None = None) -> Domain:
        found = original(name, sources)
        if sources is None or found.installed is not None:
            return found
        return dataclasses.replace(found, pretraining=of(found.pretraining), tasks=tuple(map(of, found.tasks)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "domain", domain)
        assert cli.main(("data", "fetch", "scale=small", f"data={root}", f"runs={root.parent / 'runs'}")) == 0
    for name in ("text", "multilingual"):
        shutil.copytree(miniature(name) / "text/tokenizers", root / "text/tokenizers", dirs_exist_ok=True)
    return root


# ---- what is declared ----------------------------------------------------------------------------------------------


def test_the_sources_of_the_scale_need_no_registration_and_are_of_a_few_gigabytes() -> None:
    assert sum(archive.size or 0 for source in sources().values() for archive in source.archives) < 3e9
    for source in sources().values():
        assert source.registration is None and source.archives and source.licence and source.citation
    unchecked = {
        (source.name, archive.name)
        for source in sources().values()
        for archive in source.archives
        if not (archive.md5 or archive.sha256)
    }
    assert unchecked == {
        ("pamap2", "pamap2+physical+activity+monitoring.zip"),
        ("wikitext2", "train-00000-of-00001.parquet"),
        ("wikitext2", "validation-00000-of-00001.parquet"),
    }


def test_a_row_takes_the_place_of_the_row_that_it_stands_in_for() -> None:
    rows = [task for _, task in table_order(None, "small")]
    assert len(rows) == 21
    assert rows[:4] == ["cifar10", "traffic_sign", "librispeech_speaker", "mini_speech_commands"]
    for domain in SETS.values():
        own = registry.domain(domain.name)
        for task in domain.tasks:
            assert registry.task(domain.name, task.name) == task
            assert (task in own.tasks) == (task.in_place_of is None)
            assert task in own.tasks or not task.published_comparable


def test_a_domain_without_the_set_of_sources_is_refused() -> None:
    sensor = registry.domain("sensor")
    with pytest.raises(OptionError, match=r"domain 'sensor' has no set of sources 'big' \(other_sources: small\)"):
        sensor.with_sources("big")
    assert registry.domain("digits", "small") == registry.domain("digits")
    without = [domain for domain in registry.domains() if not domain.has_sources("small")]
    assert {"satellite", "wafers", "particles"} <= {domain.name for domain in without}
    chosen = registry.chosen_domains(None, "small", "dabs2")
    assert [domain.name for domain in chosen] == [domain.name for domain in registry.chosen_domains(None)]
    task = sensor.tasks[0]
    with pytest.raises(ValueError, match="stands in for 'pamap2': set published_comparable=False"):
        dataclasses.replace(task, name="other", in_place_of="pamap2")
    for changed, message in (
        (dataclasses.replace(task, target=Multiclass(3)), "task 'pamap2' differs between sets of sources"),
        (
            dataclasses.replace(task, name="other", in_place_of="none", published_comparable=False),
            "has no task 'none' to stand in for",
        ),
    ):
        chosen = SourceSet(pretraining=sensor.pretraining, tasks=(changed,))
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(sensor, other_sources={"tiny": chosen})


def test_the_scale_wants_real_data_and_compares_with_nothing_published(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="scale=small needs the real data"):
        Run.of(["scale=small"])
    with pytest.raises(OptionError, match=r"table\.published=true needs"):
        Run.of(["scale=small", f"data={tmp_path}", "table.published=true"])
    run = Run.of(["scale=small", f"data={tmp_path}"])
    assert run.options.scale.sources == "small" and run.domain_called("images").tasks == SETS["images"].tasks
    assert Run.of(["domain=images"]).source_notes == ()


def test_the_list_has_every_address_and_what_decides(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(("data", "list", "scale=small")) == 0
    out = capsys.readouterr().out
    for source in sources().values():
        for archive in source.archives:
            assert all(f"        {address}\n" in out for address in archive.addresses)
            assert f"accepted by {fetch.accepted_by(archive)}" in out
    assert "natural_images/imagenet" not in out and "accepted by its structure (no checksum is published)" in out
    assert cli.main(("data", "fetch", "scale=small")) == 2
    assert "data fetch needs real data: give data=/root" in capsys.readouterr().err


# ---- fetched and read ----------------------------------------------------------------------------------------------


def test_everything_is_fetched_past_dead_and_wrong_addresses(fetched: Path, server: Server) -> None:
    asked = [path for path, _ in server.asked]
    for source in sources().values():
        assert source.state(fetched) == "present"
        for archive in source.archives:
            paths = [address.partition("://")[2] for address in archive.addresses]
            assert [path for path in asked if path in paths] == paths
    assert not list(fetched.rglob("*.wrong")) and not list(fetched.rglob("*.part"))
    assert not (fetched / "speech/mini_speech_commands/__MACOSX").exists()


def test_what_was_fetched_can_be_verified(fetched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("scale=small", "domains=[multilingual,xray]", f"data={fetched}", f"runs={tmp_path}")
    assert cli.main(("data", "verify", *words)) == 1  # made-up data are fewer than declared
    out = capsys.readouterr().out
    assert "paws_x: paws_ko: train: 1,050 examples" in out and "78,468 are declared, 40 were found" in out


@pytest.mark.parametrize("name", sorted(SETS))
def test_the_pretraining_source_is_read(fetched: Path, tmp_path: Path, name: str) -> None:
    run = Run.of(["scale=small", f"domain={name}", f"data={fetched}", f"runs={tmp_path}", "loader.prepare=never"])
    splits = {split: run.splits.unlabelled(split) for split in ("train", "validation")}
    for examples in splits.values():
        assert isinstance(examples, Examples) and len(examples) >= 10
        assert (examples.targets is None) == (name != "imagenet"), "only that domain pretrains on labels"
        for column, spec in zip(examples.inputs, run.inputs, strict=True):
            assert column.take(np.arange(2)).shape == (2, *spec.shape)
    ids = [set(examples.ids.to_pylist()) for examples in splits.values()]  # type: ignore[union-attr]
    assert not ids[0] & ids[1]


@pytest.mark.parametrize(("domain", "name"), TASKS)
def test_every_task_is_read(fetched: Path, tmp_path: Path, domain: str, name: str) -> None:
    run = Run.of(["scale=small", f"domain={domain}", f"data={fetched}", f"runs={tmp_path}", "loader.prepare=never"])
    task = registry.task(domain, name)
    train, test = run.splits.of_task(task, "train"), run.splits.of_task(task, "test")
    check_trainable(train.targets, task.target, "train")
    check_evaluable(test.targets, task.target, "test")
    assert not set(train.ids.to_pylist()) & set(test.ids.to_pylist())
    if train.groups is not None and test.groups is not None and name != "librispeech_speaker":
        assert not set(train.groups.tolist()) & set(test.groups.tolist())
    again = run.splits.of_task(task, "train")
    assert again.key == train.key


def test_pretraining_sees_no_picture_and_no_utterance_of_a_test(fetched: Path, tmp_path: Path) -> None:
    for domain, name in (("speech", "librispeech_speaker"), ("vqa", "vqa_val2017")):
        run = Run.of(["scale=small", f"domain={domain}", f"data={fetched}", f"runs={tmp_path}"])
        seen = set(run.splits.unlabelled("train").ids.to_pylist())  # type: ignore[union-attr]
        test = run.splits.of_task(registry.task(domain, name), "test")
        assert test.groups is not None
        pictures = {f"val2017/{number:012d}.jpg" for number in test.groups.tolist()}
        tested = set(test.ids.to_pylist()) if domain == "speech" else pictures
        assert seen and tested and not seen & tested
        other = run.replace(protocol="published")
        assert set(other.splits.unlabelled("train").ids.to_pylist()) == seen  # type: ignore[union-attr]


def test_the_speakers_of_the_test_split_are_those_of_speech_commands() -> None:
    assert place("a69b9b3e") < 10  # validation_list.txt of Speech Commands names a clip of this speaker
    shares = [is_test(f"{number:08x}") for number in range(4000)]
    assert 0.08 < np.mean(shares) < 0.12


def test_the_publishers_form_of_paws_x_reads_as_that_of_the_hub(
    fetched: Path, miniature: Callable[[str], Path], read: Callable[..., Examples]
) -> None:
    for language in ("en", "ko"):
        for split in ("train", "test", "official_test"):
            task = registry.task("multilingual", f"paws_{language}")
            ours = read(task.load, fetched, "multilingual", split, scale="small")
            hub = read(task.load, miniature("multilingual"), "multilingual", split, scale="small")
            assert ours.ids == hub.ids and np.array_equal(ours.targets, hub.targets)  # type: ignore[arg-type]
            rows = np.arange(0, len(ours), 37)
            assert np.array_equal(ours.inputs[0].take(rows), hub.inputs[0].take(rows))


def test_a_picture_keeps_its_place_and_its_labels(fetched: Path, read: Callable[..., Examples]) -> None:
    with np.load(fetched / "medical_images/medmnist/chestmnist.npz") as arrays:
        pictures, labels = arrays["test_images"], arrays["test_labels"]
    examples = read(medmnist.CHEST_MNIST.load, fetched, "xray", "test", scale="small")
    assert np.array_equal(examples.targets, labels)  # type: ignore[arg-type]
    decoded = examples.inputs[0].take(np.arange(len(pictures)))
    assert decoded.shape == (len(pictures), 3, 32, 32) and (decoded[:, 0] == decoded[:, 2]).all()
    assert np.abs(decoded.mean((1, 2, 3)) - pictures.mean((1, 2))).max() < 2
    assert examples.ids[3].as_py() == "test/3"


@pytest.mark.slow
def test_a_whole_run_ends_in_a_table_that_says_every_substitution(
    fetched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["scale=small", f"data={fetched}", f"runs={tmp_path / 'runs'}", f"out={tmp_path / 'out'}"]
    words += ["method=rq", "pretrain.steps=2", "pretrain.batch_size=4", "pretrain.max_examples=16"]
    words += ["transfer.max_examples=32", "transfer.strengths=[1]", "transfer.also=[lbfgs]"]
    words += ["trainer.health_every=0", "trainer.progress=false", "suite.executor=in_process"]
    assert cli.main(("suite", *words)) == 0, capsys.readouterr().err
    (folder,) = (tmp_path / "out").glob("variant-*")
    rows = list(csv.DictReader((folder / "table.csv").open()))
    assert [(row["domain"], row["task"]) for row in rows] == table_order(None, "small")
    assert all(0 <= abs(float(row["rq"])) <= 100 for row in rows)
    text = (folder / "table.md").read_text()
    for said in (
        "Scale small has other sources, inputs and budgets than the published table: these are not its rows.",
        "Images: pretraining on CIFAR-10 (python version) in place of ImageNet-1k (ILSVRC 2012).",
        "Images: no row for Birds, VGG Flower, DTD (Textures), FGVC-Aircraft.",
        "Speech: pretraining on LibriSpeech dev-clean in place of LibriSpeech, 960 h.",
        "Speech: Mini Speech Commands, eight words in place of Google Speech (Speech Commands v0.02).",
        "English Text: pretraining on WikiText-2 in place of WikiText-103.",
        "Multilingual Text: pretraining on PAWS-X in place of mC4",
        "Chest X-Rays: pretraining on ChestMNIST (NIH ChestX-ray14 at 28 px) in place of CheXpert",
        "Chest X-Rays: PneumoniaMNIST (X-rays of children at 28 px) in place of CheXpert (v1.0, small).",
        "Chest X-Rays: ChestMNIST (NIH ChestX-ray14 at 28 px) in place of ChestX-ray8 (NIH ChestX-ray8).",
        "Vision/Language: VQA on val2017 (COCO val2017 with captions and VQA v1 questions) in place of VQA v1,",
    ):
        assert said.replace("_", r"\_") in text or said in text, said
    for domain in SETS.values():
        substituted = "rq" in domain.tables and domain.name != "sensor"
        assert (f"{domain.title}: pretraining on" in text) == substituted


# ---- mirrors -------------------------------------------------------------------------------------------------------

CONTENT = bytes(range(256)) * 64


def mirrored(server: Server, *served: bytes | None, **fields: Any) -> Archive:
    """CONTENT, of which the first address sends the first of `served` (None: answers 404), and so on."""
    names = [f"{len(server.files)}/{number}/a.bin" for number in range(len(served))]
    server.files |= {name: content for name, content in zip(names, served, strict=True) if content is not None}
    declared = {"sha256": hashlib.sha256(CONTENT).hexdigest()} | fields
    first, *others = map(server.url, names)
    return Archive(first, mirrors=tuple(others), **declared)


def test_the_checksum_decides_which_address_is_right(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = mirrored(server, None, b"<html>moved</html>", CONTENT)
    download.obtain(archive, tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT and [one.name for one in tmp_path.iterdir()] == ["a.bin"]
    shown = capsys.readouterr()
    assert all(address in shown.out for address in archive.addresses)
    assert "404" in shown.err and "has sha256" in shown.err and shown.err.count("trying the next address") == 2


def test_if_no_address_is_right_all_of_them_are_named(server: Server, tmp_path: Path) -> None:
    archive = mirrored(server, None, CONTENT[::-1], CONTENT[1:])
    with pytest.raises(DataError, match=r"no address serves a\.bin") as raised:
        download.obtain(archive, tmp_path / "a.bin")
    assert all(address in str(raised.value) for address in archive.addresses)
    assert not (tmp_path / "a.bin").exists() and (tmp_path / "a.bin.wrong").read_bytes() == CONTENT[1:]


def test_parts_of_different_addresses_that_do_not_fit_are_not_joined(server: Server, tmp_path: Path) -> None:
    archive = mirrored(server, None, CONTENT)
    (tmp_path / "a.bin.part").write_bytes(b"of something else")
    download.obtain(archive, tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("name", ["a.zip", "a.npz", "a.tar.gz", "a.tgz", "a.parquet"])
def test_without_a_checksum_the_structure_decides(server: Server, tmp_path: Path, name: str) -> None:
    buffer = pa.BufferOutputStream()
    parquet.write_table(pa.table({"text": ["a"]}), buffer)
    right = {"a.zip": zipped({"one": CONTENT}), "a.npz": npz(1), "a.parquet": buffer.getvalue().to_pybytes()}
    content = right.get(name) or tarred({"one": CONTENT})
    paths = [f"{name}/{number}/{name}" for number in range(3)]
    server.files |= dict(zip(paths, (b"<html>moved</html>", content[: len(content) // 2], content), strict=True))
    first, *others = map(server.url, paths)
    archive = Archive(first, mirrors=tuple(others))
    download.obtain(archive, tmp_path / name)
    assert (tmp_path / name).read_bytes() == content
    with pytest.raises(DataError, match=rf"{name} is damaged or not a"):
        download.obtain(Archive(server.url(paths[0])), tmp_path / "again" / name)


def test_an_address_may_serve_the_inner_archive_itself(
    server: Server, tmp_path: Path, contents: dict[tuple[str, str], bytes]
) -> None:
    pamap2 = sources()["pamap2"]
    with zipfile.ZipFile(io.BytesIO(contents["pamap2", pamap2.archives[0].name])) as outer:
        server.files["old/PAMAP2_Dataset.zip"] = outer.read("PAMAP2_Dataset.zip")
    archive = dataclasses.replace(
        pamap2.archives[0], url=server.url("gone/a.zip"), mirrors=(server.url("old/PAMAP2_Dataset.zip"),)
    )
    assert fetch.fetch(dataclasses.replace(pamap2, archives=(archive,)), tmp_path)
    assert (tmp_path / "sensor/pamap2/PAMAP2_Dataset/Protocol/subject101.dat").is_file()


# ---- bad input -----------------------------------------------------------------------------------------------------


def objects(shape: tuple[int, ...]) -> np.ndarray:
    array = np.empty(shape, object)
    array[...] = 0
    return array


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>moved</html>", r"train_images cannot be read; expected an \.npz file of MedMNIST"),
        (npz(1)[:-30], "cannot be read"),
        (npz(14), r"train_labels is uint8 \(40, 14\), expected whole numbers \(40, 1\)"),
        (npz(1, train_images=np.zeros((40, 28, 27), np.uint8)), r"\(40, 28, 27\), expected uint8 \(40, 28, 28\)"),
        (npz(1, train_images=np.zeros((40, 28, 28), np.float32)), "is float32 .*, expected uint8"),
        (npz(1, train_images=np.zeros((), np.uint8)), r"is uint8 \(\), expected"),
        (npz(1, train_images=np.zeros((0, 28, 28), np.uint8), train_labels=np.zeros((0, 1), np.uint8)), "no picture"),
        (npz(1, train_labels=np.zeros((39, 1), np.uint8)), r"\(39, 1\), expected whole numbers \(40, 1\)"),
        (npz(1, train_labels=np.full((40, 1), 2)), r"train_labels\[0, 0\] is 2, expected 0 or 1"),
        (npz(1, train_labels=np.zeros((40, 1))), "is float64 .*, expected whole numbers"),
        (npz(1, train_labels=objects((40, 1))), "with plain numbers in it .*allow_pickle"),
        (npz(1, train_images=objects((40, 28, 28))), "with plain numbers in it .*allow_pickle"),
    ],
)
def test_a_wrong_npz_is_an_error_with_file_and_expectation(
    tmp_path: Path, read: Callable[..., Examples], content: bytes, message: str
) -> None:
    file = tmp_path / "root/medical_images/medmnist/pneumoniamnist.npz"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    with pytest.raises(DataError, match=message) as raised:
        read(medmnist.PNEUMONIA_MNIST.load, tmp_path / "root", "xray", "train", scale="small")
    assert str(file) in str(raised.value)


def test_an_npz_without_one_of_its_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", train_images=np.zeros((1, 28, 28), np.uint8))
    with pytest.raises(DataError, match=r"a\.npz: array train_labels cannot be read"):
        medmnist.read_part(tmp_path / "a.npz", "train", 1)
    with pytest.raises(DataError, match="no such file"):
        medmnist.read_part(tmp_path / "b.npz", "train", 1)


@pytest.mark.parametrize(("domain", "name"), TASKS)
def test_a_missing_source_is_an_error_with_its_layout(
    tmp_path: Path, read: Callable[..., Examples], miniature: Callable[[str], Path], domain: str, name: str
) -> None:
    if (tokenizers := miniature(domain) / "text/tokenizers").is_dir():
        shutil.copytree(tokenizers, tmp_path / "root/text/tokenizers")
    (tmp_path / "root").mkdir(exist_ok=True)
    task: Task = registry.task(domain, name)
    with pytest.raises(MissingDataError, match="expected layout below") as raised:
        read(task.load, tmp_path / "root", domain, "train", scale="small")
    assert task.source.title in str(raised.value) and task.source.url in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id\tsentence1\tlabel\n1\ta\t0\n", r"f\.tsv:1: expected the header id, sentence1, sentence2, label"),
        ("id\tsentence1\tsentence2\tlabel\n", "holds no pair"),
        ("", "not a tab-separated table"),
        ("id\tsentence1\tsentence2\tlabel\n1\ta\tb\t0\n2\ta\tb\n", r"f\.tsv:3: expected 4 cells .*, found 3"),
        ("id\tsentence1\tsentence2\tlabel\n1\ta\tb\t0\n2\ta\tb\t7\n", r"f\.tsv:3: label '7'; 0 or 1"),
        ("id\tsentence1\tsentence2\tlabel\n1\ta\tb\t\n", r"f\.tsv:2: label ''; 0 or 1"),
    ],
)
def test_a_wrong_table_of_paws_x_is_an_error_with_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "f.tsv").write_text(text)
    with pytest.raises(DataError, match=message):
        PairsFile(tmp_path / "f.tsv").labels()


def test_quotes_in_paws_x_have_no_meaning(tmp_path: Path) -> None:
    (tmp_path / "f.tsv").write_text('id\tsentence1\tsentence2\tlabel\n1\t"a\tb" c\t1\n2\t"\t""\t0\n')
    pairs = PairsFile(tmp_path / "f.tsv")
    assert pairs.column("sentence1").to_pylist() == ['"a', '"'] and pairs.labels().tolist() == [1, 0]


def changed_copy(fetched: Path, tmp_path: Path, folder: str) -> Path:
    shutil.copytree(fetched / folder, tmp_path / "root" / folder)
    if (fetched / "text/tokenizers").is_dir():
        shutil.copytree(fetched / "text/tokenizers", tmp_path / "root/text/tokenizers", dirs_exist_ok=True)
    return tmp_path / "root"


def test_wrong_words_and_clips_of_mini_speech_commands(
    fetched: Path, tmp_path: Path, read: Callable[..., Examples]
) -> None:
    load = registry.task("speech", "mini_speech_commands").load
    root = changed_copy(fetched, tmp_path, "speech/mini_speech_commands")
    folder = root / "speech/mini_speech_commands"
    (folder / "down/first.wav").write_bytes(b"")
    with pytest.raises(DataError, match=r"first\.wav: expected a name like 004ae714_nohash_0\.wav"):
        read(load, root, "speech", "train", scale="small")
    (folder / "down/first.wav").unlink()
    (folder / "dawn").mkdir()
    with pytest.raises(DataError, match=r"dawn: unknown word 'dawn'. Did you mean 'down'"):
        read(load, root, "speech", "train", scale="small")
    (folder / "dawn").rmdir()
    for word in WORDS:
        shutil.rmtree(folder / word)
        (folder / word).mkdir()
    with pytest.raises(DataError, match="none of 0 clips is of a speaker of split 'train'"):
        read(load, root, "speech", "train", scale="small")


def test_wrong_pictures_of_val2017(fetched: Path, tmp_path: Path, read: Callable[..., Examples]) -> None:
    load = registry.task("vqa", "vqa_val2017").load
    root = changed_copy(fetched, tmp_path, "captioned_images")
    folder = root / "captioned_images/mscoco/val2017"
    (folder / "first.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"first\.jpg: expected a name like 000000000139\.jpg"):
        read(load, root, "vqa", "test", scale="small")
    shutil.rmtree(folder)
    folder.mkdir()
    with pytest.raises(DataError, match=r"0 pictures .* are too few for a split 'test'"):
        read(load, root, "vqa", "test", scale="small")
    (folder / "000000000001.jpg").write_bytes(b"")  # about which nobody asks
    with pytest.raises(DataError, match="no question about a picture of val2017 in split 'test'"):
        read(load, root, "vqa", "test", scale="small")
