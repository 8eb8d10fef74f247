"""Any bytes in a file that somebody else wrote give examples or our error: no other exception, and limited memory.

`make fuzz` runs this longer. Found files go to tests/corpus/<reader>/, whose files are read in every run.
"""

from __future__ import annotations

import dataclasses
import gzip
import io
import json
import os
import tarfile
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import tifffile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.io import savemat

from dabs_rq import checkpoint
from dabs_rq.checkpoint.dabs import to_dabs
from dabs_rq.data.readers import audio, image, index, text, tokenizer
from dabs_rq.data.requests import Request
from dabs_rq.domains.genomics import bacteria, reads
from dabs_rq.domains.images import cifar10, vgg_flower
from dabs_rq.domains.particles import higgs
from dabs_rq.domains.proteins import tape
from dabs_rq.domains.proteins import tasks as structures
from dabs_rq.domains.satellite import tiles
from dabs_rq.domains.sensor import pamap2
from dabs_rq.domains.vqa import coco
from dabs_rq.domains.wafers import matfile
from dabs_rq.domains.wafers.miniature import mat_file
from dabs_rq.encoders.transformer import ENCODER, Options, Transformer
from dabs_rq.errors import DabsRqError
from dabs_rq.miniature import tokenizer as small_tokenizer
from dabs_rq.records import record
from dabs_rq.run.compose import load_protocol
from dabs_rq.sources import archives
from dabs_rq.spec import Series, Tokens
from tests.hostile import TRIED
from tests.test_images_bad_input import cifar
from tests.test_records_and_table import put

CORPUS = Path(__file__).parent / "corpus"
MEMORY = 600 << 20  # bytes that reading one file may take, beside what the libraries take when they are imported
MINUTES = float(os.environ.get("DABS_RQ_FUZZ_MINUTES", "0"))
BERT = "bert-base-uncased"


@dataclass(frozen=True)
class Reader:
    """A reader of files: what it reads by name, and good files to change."""

    name: str
    file: str
    read: Callable[[Path], object]
    good: Callable[[Path], list[bytes]]


def _saved(name: str, folder: Path, write: Callable[[Path], object]) -> bytes:
    write(folder / name)
    return (folder / name).read_bytes()


def _pictures(folder: Path) -> list[bytes]:
    drawn = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 11, 3), dtype=np.uint8))
    return [_saved(f"x.{kind}", folder, drawn.save) for kind in ("jpg", "png", "ppm", "gif", "bmp", "tif")]


def _recordings(folder: Path) -> list[bytes]:
    wave = np.sin(np.arange(800) / 5).astype(np.float32)
    return [
        _saved(f"x.{kind}", folder, lambda file: soundfile.write(file, wave, 16000)) for kind in ("wav", "flac", "ogg")
    ]


def _tables(folder: Path) -> list[bytes]:
    table = pa.table({"sentence": ["a cat", "a mat"] * 20, "label": [0, 1] * 20})
    return [
        _saved("x.parquet", folder, lambda file, kind=kind: pq.write_table(table, file, compression=kind))  # type: ignore[misc]
        for kind in ("none", "snappy", "zstd")
    ]


def _read_table(file: Path) -> object:
    location = text.TableLocation((file,))
    rows = text.rows_with_text(location, ("sentence",))
    return text.labels(location, 1, "0 or 1 expected"), rows


def _tokenizer(folder: Path) -> list[bytes]:
    small_tokenizer.train(folder, BERT, ["a cat sat on a mat"], 60)
    return [(folder / tokenizer.TOKENIZERS / BERT / "tokenizer.json").read_bytes()]


def _encode(file: Path) -> object:
    root = file.parents[3]
    declared = Tokens(name="text", length=16, vocabulary=30_522, pad=0, tokenizer=BERT)
    (spec,) = tokenizer.with_vocabulary((declared,), root, load_protocol("corrected"))
    assert isinstance(spec, Tokens)
    return tokenizer.Encode(spec, root)([("a cat sat " * 50,)])


SMALL = Options(width=8, depth=1, heads=1, head_width=4, mlp_width=8, out_width=4)
INPUTS = (Series(name="series", length=8, channels=2, segment=4),)


def _checkpoint(folder: Path) -> list[bytes]:
    encoder = ENCODER.build(SMALL, INPUTS, True)
    return [_saved("x", folder, lambda file: checkpoint.save(file, encoder, "transformer", SMALL, {}, {"seconds": 1}))]


def _dabs(folder: Path) -> list[bytes]:
    encoder = Transformer(INPUTS, **dataclasses.asdict(SMALL))
    return [_saved("x", folder, partial(torch.save, {"state_dict": to_dabs(encoder.state_dict())}))]


def _read_checkpoint(file: Path) -> object:
    return checkpoint.describe(file), checkpoint.load_encoder(file)


def _zip(folder: Path) -> list[bytes]:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/b.txt", "content " * 50)
        archive.writestr("c.txt", "")
    return [written.getvalue()]


def _tar(folder: Path, mode: str = "w:gz") -> list[bytes]:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode=mode) as archive:  # type: ignore[call-overload]
        for name in ("a/b.txt", "long/" * 40 + "name"):
            member = tarfile.TarInfo(name)
            member.size = 400
            archive.addfile(member, io.BytesIO(b"content " * 50))
    return [written.getvalue()]


def _extract(file: Path) -> None:
    with tempfile.TemporaryDirectory(dir=file.parent) as into:
        archives.extract(file, Path(into))


def _pamap2(folder: Path) -> list[bytes]:
    line = " ".join(["8.38", "1", "104", *["1.5"] * 50, "NaN"])
    return [f"{line}\n{line}\n".encode()]


def _read_pamap2(file: Path) -> object:
    return pamap2.decode({"path": file.name}, file.parent, "bout", False)


def _record(folder: Path) -> list[bytes]:
    return [put(folder).read_bytes()]


def _predictions(folder: Path) -> list[bytes]:
    return [put(folder).with_suffix(".parquet").read_bytes()]


def _eurosat(folder: Path) -> list[bytes]:
    tile = np.arange(4 * 4 * 13, dtype=np.uint16).reshape(4, 4, 13)
    options: dict[str, Any] = {"photometric": "minisblack", "planarconfig": "contig"}
    return [_saved("x.tif", folder, lambda file: tifffile.imwrite(file, tile, **options))]


def _read_eurosat(file: Path) -> object:
    return tiles.decode({"path": file.name}, root=file.parent, side=4)


def _wm811k(folder: Path) -> list[bytes]:
    dies = np.array([[0, 1, 2], [1, 1, 0]], np.uint8)
    return [mat_file([{"failureType": one, "lotName": "lot1", "waferMap": dies} for one in ("none", None, "Loc")])]


def _read_wm811k(file: Path) -> object:
    found = matfile.Wafers(file)
    try:
        return [*found.failure_types(), *found.lot_names(), *map(found.map, range(len(found)))]
    finally:
        found.opened.close()


def _tape(folder: Path) -> list[bytes]:
    record = {"primary": "MKVX", "ss3": [0, 1, 2, 2], "valid_mask": [True, False, True, True], "id": "0"}
    return [json.dumps([record, record], indent=indent).encode() for indent in (None, 1)]


def _read_tape(file: Path) -> object:
    inputs = (Tokens(name="residues", length=8, vocabulary=27, pad=26),)
    given = {"split": "train", "inputs": inputs, "protocol": load_protocol("corrected"), "made_up": True}
    request = Request(root=file.parent, prepare=lambda one: one, **given)
    targets = [structures.structure(protein, request) for protein in tape.proteins(file)]
    spans = np.array([protein.span for protein in tape.proteins(file)])
    rows = np.arange(len(targets))
    return targets, tape.column(file.parent, file.name, spans, rows, inputs[0]).take(rows)


def _genomics(separator: str, label: str) -> bytes:
    lines = [("seq", "label", "seq_info", "domain"), ("ACGT" * 62 + "AC", label, "NC_1.1_200", "in")]
    return "".join(f"{separator.join(cells)}\n" for cells in (*lines, lines[1])).encode()


def _read_genomics(file: Path) -> object:
    found = reads.index(file, bacteria.KNOWN)
    rows = np.arange(len(found.lines))
    spec = Tokens(name="bases", length=reads.LENGTH, vocabulary=4)
    return reads.column(file.parent, file.name, found, rows, spec).take(rows)


def _higgs(folder: Path) -> list[bytes]:
    line = ",".join(["1.0", *["0.5"] * 28])
    return [gzip.compress(f"{line}\n{line}\n".encode(), mtime=0)]


_COCO = {"image_id": int, "caption": str}
READERS = [
    Reader("picture", "x.jpg", image.open_rgb, _pictures),
    Reader("recording", "x.wav", audio.read, _recordings),
    Reader("cifar10", "data_batch_1", cifar10.read_batch, lambda _: [cifar([1, 2]), cifar([7, 0])[:400]]),
    Reader(
        "matlab",
        "imagelabels.mat",
        vgg_flower.read_labels,
        lambda folder: [_saved("x", folder, lambda file: savemat(file, {"labels": np.array([[1, 102]], np.uint8)}))],
    ),
    Reader(
        "coco",
        "x.json",
        lambda file: coco.entries(file, "annotations", _COCO),
        lambda _: [b'{"annotations": [{"image_id": 9, "caption": "a cat"}, {"caption": "", "image_id": 1}]}'],
    ),
    Reader("csv", "x.csv", lambda file: index.csv_table(file, ("a", "b")), lambda _: [b'a,b,c\n1,"2",3\n4,5,6\n']),
    Reader("lines", "x.txt", index.keyed, lambda _: ["1 a/b.jpg\n2 c é.jpg\n".encode()]),
    Reader("pamap2", "subject101.dat", _read_pamap2, _pamap2),
    Reader("eurosat", "x.tif", _read_eurosat, _eurosat),
    Reader("wm811k", "WM811K.mat", _read_wm811k, _wm811k),
    Reader("higgs", "HIGGS.csv.gz", lambda file: list(higgs.TABLE.blocks(file)), _higgs),
    Reader("tape", "secondary_structure_train.json", _read_tape, _tape),
    Reader("genomics", "reads.txt", _read_genomics, lambda _: [_genomics("\t", "Bacillus")]),
    Reader("genomics_csv", "reads.csv", _read_genomics, lambda _: [_genomics(",", "3"), _genomics(",", "\"b'3'\"")]),
    Reader("parquet", "x.parquet", _read_table, _tables),
    Reader("tokenizer", f"{tokenizer.TOKENIZERS}/{BERT}/tokenizer.json", _encode, _tokenizer),
    Reader("record", "pamap2.json", record.read, _record),
    Reader("predictions", "x.parquet", lambda file: record.predictions(file.with_suffix(".json")), _predictions),
    Reader("checkpoint", "encoder.safetensors", _read_checkpoint, _checkpoint),
    Reader(
        "dabs",
        "x.ckpt",
        lambda file: checkpoint.load_encoder(file, inputs=INPUTS, heads=1, head_width=4),
        _dabs,
    ),
    Reader("zip", "x.zip", _extract, _zip),
    Reader("tar.gz", "x.tar.gz", _extract, _tar),
    Reader("tar", "x.tar", _extract, partial(_tar, mode="w")),
]
by_reader = pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)


@cache
def good(name: str) -> list[bytes]:
    reader = next(one for one in READERS if one.name == name)
    with tempfile.TemporaryDirectory() as folder:
        return reader.good(Path(folder))


def outcome(reader: Reader, content: bytes) -> str:
    """Read a file of these bytes. Returns "read" or the text of our error; every other exception fails the test."""
    with tempfile.TemporaryDirectory(prefix="dabs-rq-fuzz-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = Path(folder) / reader.file
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        try:
            reader.read(file)
        except DabsRqError as error:
            return str(error)
        return "read"


def memory(field: str) -> int:
    """A field of this process's status in bytes: VmRSS now, VmHWM the most since `clear_refs`."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return 1024 * int(line.split()[1])


_INTERESTING = [
    b"\0",
    b"\xff",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\xff",
    b"\0" * 8,
    b"\xff" * 8,
    b"0",
    b"-1",
    b"9" * 30,
]
edits = st.lists(
    st.tuples(
        st.integers(0, 1 << 16),
        st.integers(0, 40),
        st.one_of(st.sampled_from(_INTERESTING), st.binary(max_size=12)),
    ),
    min_size=1,
    max_size=4,
)


def edited(whole: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    for place, length, put_in in changes:
        place %= len(whole) + 1
        whole = whole[:place] + put_in + whole[place + length :]
    return whole


@by_reader
def test_good_files_are_read(reader: Reader) -> None:
    assert [outcome(reader, content) for content in good(reader.name)][:1] == ["read"]


@by_reader
def test_any_bytes_give_examples_or_our_error(reader: Reader, record_property: Callable[[str, object], None]) -> None:
    """Good files with a few changes, good files cut short, and random bytes."""
    contents = st.one_of(
        st.builds(edited, st.sampled_from(good(reader.name)), edits),
        st.builds(lambda whole, n: whole[: n % (len(whole) + 1)], st.sampled_from(good(reader.name)), st.integers(0)),
        st.binary(max_size=200),
    )
    for content in good(reader.name):
        outcome(reader, content)  # imports what the reader needs
    seen: Counter[str] = Counter()

    def once(content: bytes) -> None:
        found = outcome(reader, content)
        seen["read" if found == "read" else "error"] += 1

    Path("/proc/self/clear_refs").write_text("5")
    before, until = memory("VmRSS"), time.monotonic() + 60 * MINUTES / len(READERS)
    quiet = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
    while True:
        options = settings(
            max_examples=60 if MINUTES == 0 else 500,
            deadline=None,
            suppress_health_check=quiet,
            derandomize=MINUTES == 0,
            database=None,
        )
        options(given(contents)(once))()
        if time.monotonic() >= until:
            break
    record_property(TRIED, seen.total())
    assert memory("VmHWM") - before < MEMORY, f"{(memory('VmHWM') - before) >> 20} MiB"
    assert "error" in seen, "no change was noticed: the good files are not changed"


@pytest.mark.parametrize("file", sorted(CORPUS.glob("*/*")), ids=lambda file: f"{file.parent.name}/{file.name}")
def test_files_that_once_failed(file: Path) -> None:
    reader = next(one for one in READERS if one.name == file.parent.name)
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    assert outcome(reader, file.read_bytes()) != "read"
    assert memory("VmHWM") - before < MEMORY


values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6), st.sampled_from([2**64, 10**9])
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=4,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(path=st.lists(st.integers(0, 20), min_size=1, max_size=4), value=values)
def test_a_checkpoint_whose_description_was_changed_is_read_or_refused(path: list[int], value: object) -> None:
    (whole,) = good("checkpoint")
    size = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + size])
    described = json.loads(header["__metadata__"]["dabs_rq"])
    place: object = described
    for number in path:
        keys = list(place) if isinstance(place, dict) else list(range(len(place))) if isinstance(place, list) else []
        if not keys:
            break
        holder, key = place, keys[number % len(keys)]
        place = holder[key]  # type: ignore[index]
    holder[key] = value  # type: ignore[index]
    header["__metadata__"]["dabs_rq"] = json.dumps(described)
    text_of_header = json.dumps(header).encode()
    text_of_header += b" " * (-len(text_of_header) % 8)
    content = len(text_of_header).to_bytes(8, "little") + text_of_header + whole[8 + size :]
    outcome(next(one for one in READERS if one.name == "checkpoint"), content)
