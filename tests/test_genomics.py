"""The genomics domain: reads against DABS's loader, splits by genome, DABS's own files, and damaged files."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dabs_rq.data.examples import Examples
from dabs_rq.data.requests import Request
from dabs_rq.domain import Pretraining, Task
from dabs_rq.domains.genomics import DOMAIN
from dabs_rq.domains.genomics.bacteria import KNOWN, LATER, OTHER, OTHERS, PRETRAINING, SAME, SOURCE, by_genome
from dabs_rq.domains.genomics.reads import LENGTH, Index, index
from dabs_rq.errors import DataError, MissingDataError
from tests.golden_cases import FOLDER, Case

Read = Callable[..., Examples]
SAME_TASK, OTHER_TASK = DOMAIN.tasks
NATIVE = FOLDER / "dabs2" / "native"
HEADER = "seq\tlabel\tseq_info\tdomain"


def sequence(number: int) -> str:
    """A sequence of its own, whose first bases spell the number."""
    spelled = "".join("ACGT"[number // 4**i % 4] for i in range(8))
    return (spelled * 40)[:LENGTH]


def line(number: int, label: str = "Bacillus", genome: str = "NC_1", position: int = 0) -> str:
    return f"{sequence(number)}\t{label}\t{genome}_{position}\tin"


def put(root: Path, name: str, lines: list[str], header: str = HEADER, ending: str = "\n") -> Path:
    file = root / SOURCE.folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes("".join(f"{one}{ending}" for one in [header, *lines]).encode())
    return file


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """All three files, with two genera of two genomes each."""
    for name, genera in ((PRETRAINING[0], KNOWN), (SAME[0], KNOWN), (OTHER[0], OTHERS)):
        lines = [line(i, genera.names[i % 2], f"NC_{i % 4}", i) for i in range(40)]
        put(tmp_path / "data", name, lines)
    return tmp_path / "data"


def arrays(examples: Examples) -> np.ndarray:
    return examples.inputs[0].take(np.arange(len(examples)))


@pytest.mark.parametrize(
    ("case", "declared"), [("train", DOMAIN.pretraining), ("validation", SAME_TASK), ("validation_ood", OTHER_TASK)]
)
def test_the_published_reader_is_dabss(case: str, declared: Pretraining | Task, read: Read) -> None:
    other = "validation" if isinstance(declared, Pretraining) else "test"
    for part, split in (("train", "train"), ("val", other)):
        golden = Case(f"genomics/{case}/{part}")
        found = read(declared.load, NATIVE, "genomics", split, protocol="published")
        np.testing.assert_array_equal(arrays(found), golden["tokens"].numpy())
        if isinstance(declared, Pretraining):
            assert found.targets is None
        else:
            assert found.targets.tolist() == golden["labels"].tolist()


def test_the_classes_are_dabss() -> None:
    names = json.loads((FOLDER / "dabs2" / "index.json").read_text())["cases"]
    assert list(KNOWN.names) == names["genomics/train/train"]["label_names"] == sorted(KNOWN.names)
    assert list(OTHERS.names) == sorted(set(OTHERS.names)) and len(OTHERS.names) == 60
    seen = names["genomics/validation_ood/train"]
    assert list(OTHERS.names[: len(seen["label_names"])]) == seen["label_names"]
    assert OTHERS.first == seen["label_offset"]


def test_dabss_own_files_give_the_same_examples(root: Path, tmp_path: Path, read: Read) -> None:
    """As pandas writes TensorFlow's table: an index, texts as bytes literals, classes as numbers."""
    for names, first in ((PRETRAINING, 0), (SAME, 0), (OTHER, 10)):
        table = pd.read_csv(root / SOURCE.folder / names[0], sep="\t")
        genera = OTHERS if first else KNOWN
        columns = {
            "domain": [str(value.encode()) for value in table["domain"]],
            "label": [genera.names.index(value) + first for value in table["label"]],
            "seq": [str(value.encode()) for value in table["seq"]],
            "seq_info": [str(value.replace("_1", ", 1").encode()) for value in table["seq_info"]],  # needs quotes
        }
        (tmp_path / "own" / SOURCE.folder).mkdir(parents=True, exist_ok=True)
        pd.DataFrame(columns).to_csv(tmp_path / "own" / SOURCE.folder / names[1])
    for task in DOMAIN.tasks:
        for split in ("train", "test"):
            ours = read(task.load, root, "genomics", split, protocol="published")
            theirs = read(task.load, tmp_path / "own", "genomics", split, protocol="published")
            np.testing.assert_array_equal(arrays(theirs), arrays(ours))
            assert theirs.targets.tolist() == ours.targets.tolist()
    with pytest.raises(MissingDataError, match=LATER):
        read(SAME_TASK.load, tmp_path / "own", "genomics", "after_2016")


def test_genomes_are_kept_whole(root: Path, read: Read) -> None:
    train, test = (read(SAME_TASK.load, root, "genomics", split) for split in ("train", "test"))
    assert (len(train), len(test)) == (20, 20)  # one genome of each genus
    assert not set(train.groups.tolist()) & set(test.groups.tolist())
    assert sorted(arrays(train)[:, :8].tolist() + arrays(test)[:, :8].tolist()) == sorted(
        [["ACGT".index(base) for base in sequence(i)[:8]] for i in range(40)]
    )
    ids = [f"{SAME[0]}:{2 + i}" for i in range(40)]
    assert sorted(train.ids.to_pylist() + test.ids.to_pylist()) == sorted(ids)


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5), st.integers(0, 99)), min_size=1, max_size=60), st.data()
)
def test_the_split_depends_on_names_and_positions_alone(reads: list[tuple[int, int, int]], data: Any) -> None:
    reads = [(genus, genus * 10 + genome, 1000 * place + n) for n, (genus, genome, place) in enumerate(reads)]
    held = []
    for order in (list(range(len(reads))), data.draw(st.permutations(range(len(reads))))):
        classes, genomes, positions = np.array([reads[i] for i in order]).T
        names = tuple(f"NC_{one:02d}" for one in dict.fromkeys(genomes.tolist()))
        numbers = np.array([names.index(f"NC_{one:02d}") for one in genomes])
        found = Index(np.zeros((len(reads), 2)), np.arange(len(reads)), classes, numbers, positions, names)
        rows = {split: by_genome(found, split) for split in ("train", "test")}
        assert sorted([*rows["train"], *rows["test"]]) == list(range(len(reads)))
        held.append({order[i] for i in rows["test"]})
        for genus in set(classes.tolist()):
            train, test = ({*genomes[part[classes[part] == genus]].tolist()} for part in rows.values())
            assert train, "every genus is for training"
            assert len(set(genomes[classes == genus].tolist())) == 1 or not train & test
    assert held[0] == held[1]


def test_of_a_single_genome_the_end_is_held_out(tmp_path: Path, read: Read) -> None:
    for name, genera in ((PRETRAINING[0], KNOWN), (SAME[0], KNOWN), (OTHER[0], OTHERS)):
        put(tmp_path, name, [line(i, genera.names[0], "NC_1", (7 * i) % 20) for i in range(20)])
    test = read(SAME_TASK.load, tmp_path, "genomics", "test")
    assert [int(name.split(":")[1]) - 2 for name in test.ids.to_pylist()] == [i for i in range(20) if 7 * i % 20 >= 18]


def test_the_publishers_test_file_is_a_further_split(root: Path, read: Read) -> None:
    with pytest.raises(MissingDataError, match=LATER):
        read(SAME_TASK.load, root, "genomics", "after_2016")
    put(root, LATER, [line(3, "Yersinia"), "", line(1)], ending="\r\n")
    found = read(SAME_TASK.load, root, "genomics", "after_2016")
    assert found.targets.tolist() == [9, 0] and found.ids.to_pylist() == [f"{LATER}:2", f"{LATER}:4"]
    assert arrays(found)[0, :3].tolist() == ["ACGT".index(base) for base in sequence(3)[:3]]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([line(0), line(1)[1:]], ":3: expected a sequence of 250 bases, found 249"),
        ([line(0), "A" + line(1)], ":3: expected a sequence of 250 bases, found 251"),
        ([line(0, "Homo")], ":2: label 'Homo' is none of the 10 genera of this file, Bacillus to Yersinia"),
        ([line(0).rpartition("\t")[0]], ":2: expected 4 cells, as in the header, found 3"),
        ([line(0), line(1).replace("NC_1_0", "NC")], ":3: expected seq_info with a genome and a position"),
        ([], ": it holds no sequence below its header"),
        ([line(0), "A" * 70_000], ":3: the line has 65,536 bytes or more"),
    ],
)
def test_a_damaged_line_is_named(lines: list[str], expected: str, root: Path, read: Read) -> None:
    file = put(root, SAME[0], lines)
    with pytest.raises(DataError) as error:
        read(SAME_TASK.load, root, "genomics", "train")
    assert f"{file}{expected}" in str(error.value)


@pytest.mark.parametrize("letter", ["N", "a", "-"])
def test_a_letter_that_is_no_base_is_named(letter: str, root: Path, read: Read) -> None:
    file = put(root, SAME[0], [line(0), letter + line(1)[1:]])
    found = read(SAME_TASK.load, root, "genomics", "train", genomics_split="read")
    with pytest.raises(DataError) as error:
        arrays(found)
    assert f"{file}:3: expected 250 bases, A, C, G or T, found {letter!r}" in str(error.value)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (
            "seq\tlabel\tdomain\tx",
            ":1: expected a header with seq, label, seq_info, separated by tabs; seq_info missing",
        ),
        ("seq,label,seq_info,domain", ":1: expected a header with seq, label, seq_info, separated by tabs; seq, label"),
        ("seq\tseq\tlabel\tseq_info", "separated by tabs; seq missing or repeated"),
    ],
)
def test_a_header_without_the_columns_is_named(header: str, expected: str, root: Path, read: Read) -> None:
    put(root, SAME[0], [line(0)], header=header)
    with pytest.raises(DataError) as error:
        read(SAME_TASK.load, root, "genomics", "train")
    assert expected in str(error.value)


def test_a_class_number_beyond_those_of_the_file_is_named(root: Path, tmp_path: Path, read: Read) -> None:
    own = tmp_path / "own"
    for names, label in ((PRETRAINING, 0), (SAME, 10), (OTHER, 9)):
        literal = f"b'{sequence(0)}'"
        put(own, names[1], [f"0,b'in',{label},{literal},b'NC_1_5'"], header=",domain,label,seq,seq_info")
    for task, name, legal in ((SAME_TASK, SAME[1], "0 to 9"), (OTHER_TASK, OTHER[1], "10 to 69")):
        with pytest.raises(DataError, match=rf"{name}:2: label .* is not a whole number from {legal}"):
            read(task.load, own, "genomics", "train")


def test_missing_files_are_listed_with_their_place(root: Path, read: Read) -> None:
    (root / SOURCE.folder / OTHER[0]).unlink()
    with pytest.raises(MissingDataError, match=rf"missing .*{OTHER[0]}") as error:
        read(SAME_TASK.load, root, "genomics", "train")
    assert OTHER[1] in str(error.value) and SOURCE.url in str(error.value)


def test_a_changed_file_is_read_anew(root: Path, read: Read) -> None:
    before = read(SAME_TASK.load, root, "genomics", "train")
    put(root, SAME[0], [line(i, "Yersinia", f"NC_{i % 3}", i) for i in range(60)])
    after = read(SAME_TASK.load, root, "genomics", "train")
    assert before.key != after.key and set(after.targets.tolist()) == {9}


def test_the_real_counts_are_compared_with_the_declared_ones(tmp_path: Path) -> None:
    assert sum(len(index(NATIVE / SOURCE.folder / name, KNOWN).lines) for name in (PRETRAINING[0], SAME[0])) == 64
    assert (SAME_TASK.sizes, OTHER_TASK.sizes) == ({"all": 100_000}, {"all": 600_000})
    assert DOMAIN.pretraining.sizes == {"all": 1_000_000}


def test_the_vocabulary_has_no_padding(miniature: Callable[[str], Path], tmp_path: Path) -> None:
    from dabs_rq.run import Run

    for protocol in ("corrected", "published"):
        run = Run.of(["domain=genomics", f"protocol={protocol}", f"data={miniature('genomics')}", f"runs={tmp_path}"])
        (spec,) = run.inputs
        assert (spec.sequence_length, spec.vocabulary, spec.pad) == (250, 4, None)  # type: ignore[union-attr]


SCRIPT = """
import json, sys
from pathlib import Path
from dabs_rq.domains.genomics.reads import index
from dabs_rq.domains.genomics.bacteria import KNOWN
found = index(Path(sys.argv[1]), KNOWN)
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([len(found.lines), int(peak.split()[1]) / 1024]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_an_index_does_not_hold_the_sequences(tmp_path: Path) -> None:
    """100,000 lines are 28 MB; their index is less."""
    few, many = tmp_path / "few.txt", tmp_path / "many.txt"
    block = "".join(f"{line(i, KNOWN.names[i % 10], f'NC_{i % 7}', i)}\n" for i in range(1_000))
    few.write_text(f"{HEADER}\n{block}")
    many.write_text(f"{HEADER}\n{block * 100}")
    peaks = []
    for file, count in ((few, 1_000), (many, 100_000)):
        done = subprocess.run([sys.executable, "-c", SCRIPT, str(file)], capture_output=True, text=True, check=True)
        found, megabytes = json.loads(done.stdout)
        assert found == count
        peaks.append(megabytes)
    assert peaks[1] - peaks[0] < 20


def test_a_request_cuts_the_reads_to_its_input(root: Path) -> None:
    from dataclasses import replace

    from dabs_rq.run.compose import load_protocol

    short = tuple(replace(spec, length=100) for spec in DOMAIN.inputs["mini"])  # type: ignore[call-arg]
    protocol = load_protocol("corrected")
    request = Request(root=root, split="train", inputs=short, protocol=protocol, prepare=lambda one: one, made_up=True)
    assert arrays(SAME_TASK.load(request)).shape == (20, 100)


def test_a_file_that_is_cut_is_named(root: Path, read: Read) -> None:
    file = root / SOURCE.folder / SAME[0]
    shutil.copy(file, file.with_suffix(".whole"))
    found = read(SAME_TASK.load, root, "genomics", "train")
    file.write_bytes(file.read_bytes()[:3_000])
    with pytest.raises(DataError, match=rf"{SAME[0]}:\d+: expected 250 bases"):
        arrays(found)
