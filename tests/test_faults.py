"""What goes wrong around a suite: two at once, a full disk, damaged files, kills. The next run has to make it good."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import psutil
import pytest

from dabs_rq.files import locked
from tests import chaos
from tests.chaos_renames import Found
from tests.stand_ins import heed_interrupts

WORDS = (
    "domains=[sensor]",
    "methods=[none,rq]",
    "pretrain.steps=4",
    "transfer.max_examples=80",
    "trainer.progress=false",
)


def start(
    folder: Path, *words: str, program: tuple[str, ...] = ("-m", "dabs_rq"), **options: object
) -> subprocess.Popen[str]:
    command = [sys.executable, *program, "suite", *WORDS, f"runs={folder / 'runs'}", f"out={folder}", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)  # type: ignore[call-overload]


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    text, _ = process.communicate(timeout=300)
    return process.returncode, text


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    code, text = ended(start(folder, "suite.executor=in_process"))
    assert code == 0, text
    return folder


def table(folder: Path) -> str:
    (file,) = folder.rglob("table.csv")  # in a folder of its own, since options differ
    return file.read_text()


@pytest.mark.slow
def test_two_suites_on_one_folder_compute_everything_once(finished: Path, tmp_path: Path) -> None:
    both = [start(tmp_path, "suite.executor=in_process") for _ in range(2)]
    results = [ended(process) for process in both]
    assert [code for code, _ in results] == [0, 0], results
    text = "".join(text for _, text in results)
    for pattern in (r"wrote \S+/none/\S+encoder", r"wrote \S+/rq/\S+encoder", r"  pamap2: ", r"writing made-up"):
        assert len(re.findall(pattern, text)) == (2 if "pamap2" in pattern else 1), text
    assert table(tmp_path) == table(finished)


@pytest.mark.slow
def test_a_full_disk_stops_nothing_that_fits_and_the_next_run_finishes(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "runs" / "miniature", tmp_path / "runs" / "miniature")
    limit = 100_000  # a checkpoint is larger, a record is not

    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    code, text = ended(start(tmp_path, "suite.executor=in_process", preexec_fn=fill))
    assert code == 1 and "failed (the others are done; run again to retry):" in text, text
    assert not list((tmp_path / "runs").rglob("encoder.safetensors")) and table(tmp_path) != table(finished)
    code, text = ended(start(tmp_path, "suite.executor=in_process"))
    assert code == 0 and table(tmp_path) == table(finished), text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("executor", "number"),
    [
        ("in_process", signal.SIGINT),
        ("in_process", signal.SIGTERM),
        ("processes", signal.SIGINT),
        ("ray", signal.SIGTERM),
    ],
)
def test_an_interrupt_ends_everything_and_names_what_is_left(
    executor: str, number: signal.Signals, tmp_path: Path
) -> None:
    words = (f"suite.executor={executor}", "pretrain.steps=1000000", "pretrain.checkpoint_every=1")
    environment = os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid.uuid4().hex}  # none in the home folder
    process = start(tmp_path, *words, preexec_fn=heed_interrupts, start_new_session=True, env=environment)
    assert process.stdout is not None
    waiting = time.monotonic() + 120
    while not list(tmp_path.rglob("resume.ckpt")) and time.monotonic() < waiting:
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.1)
    begun = {child.pid for child in psutil.Process(process.pid).children(recursive=True)}
    process.send_signal(number)
    code, text = ended(process)
    assert code == 130, text
    assert re.search(r"\d of 5 jobs left:\n(  .*\n)*  transfer sensor with rq, seed 0\n", text), text
    assert "run the same command again to resume" in text
    left = time.monotonic() + 10
    while any(psutil.pid_exists(pid) for pid in begun):
        assert time.monotonic() < left, text
        time.sleep(0.1)


LITTLE_MEMORY = """
import re, resource, sys
from pathlib import Path
from dabs_rq.cli import main

words = sys.argv[1:]
assert main([*words, "methods=[none]"]) == 0  # everything is imported, and memory allocated that comes with it
used = 1024 * int(re.search(r"VmData:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
resource.setrlimit(resource.RLIMIT_DATA, (used + 200_000_000,) * 2)
sys.exit(main([*words, "methods=[none,rq]"]))
"""


@pytest.mark.slow
def test_memory_that_runs_out_is_told_and_the_next_run_finishes(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "runs" / "miniature", tmp_path / "runs" / "miniature")
    words = ("pretrain.batch_size=256", "pretrain.steps=1", "suite.executor=in_process")
    code, text = ended(start(tmp_path, *words, program=("-c", LITTLE_MEMORY)))
    assert code == 1, text
    assert re.search(r"  pretrain sensor with rq, seed 0: ResourceError: out of memory .* trainer.devices", text), text
    assert "  transfer sensor with rq, seed 0 waits for pretrain" in text
    code, text = ended(start(tmp_path, *words))
    assert code == 0 and "pretrain sensor with none" not in text and "wrote" in text, text


def empty(whole: bytes) -> bytes:
    return b""


def halved(whole: bytes) -> bytes:
    return whole[: len(whole) // 2]


def flipped(whole: bytes) -> bytes:
    middle = len(whole) // 2
    return whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :]


@pytest.mark.slow
def test_every_damaged_file_is_noticed_and_made_again(finished: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    damages = {
        "prepared/**/*.arrow": halved,
        "**/rq/**/*.safetensors": flipped,
        "**/none/**/*.safetensors": halved,
        "**/*.npz": flipped,
        "records/**/pamap2.parquet": flipped,
        "records/**/pamap2@*.parquet": empty,
        "records/**/rq/**/pamap2.json": halved,
    }
    for pattern, damage in damages.items():
        files = list((copy / "runs").rglob(pattern))
        assert files, pattern
        for file in files:
            file.write_bytes(damage(file.read_bytes()))
    code, text = ended(start(copy, "suite.executor=in_process"))
    assert code == 0 and table(copy) == table(finished), text
    verified, text = ended(start(copy, "--verify"))
    assert verified == 0 and "2 fresh, 0 stale, 0 broken" in text, text


@pytest.mark.slow
def test_a_prepared_cache_with_other_bytes_is_never_used(finished: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)

    def forget() -> None:
        for features in list((copy / "runs").rglob("features")):
            shutil.rmtree(features)
        for record in (copy / "runs").rglob("records/**/*.json"):
            record.unlink()

    forget()
    code, text = ended(start(copy, "suite.executor=in_process"))  # a cache is of one root: the copy makes its own
    assert code == 0, text
    forget()
    for file in (copy / "runs" / "prepared").rglob("*.arrow"):
        whole = file.read_bytes()
        file.write_bytes(whole[:4096] + bytes(255 - byte for byte in whole[4096:-4096]) + whole[-4096:])
    code, text = ended(start(copy, "suite.executor=in_process"))
    assert code == 1 and "run again to prepare it again" in text, text
    code, text = ended(start(copy, "suite.executor=in_process"))
    assert code == 0 and table(copy) == table(finished), text


def test_one_process_at_a_time_makes_a_file_and_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    target = tmp_path / "made"
    (tmp_path / ".made.0123456789ab.dabs_rq.tmp").write_text("half")
    (tmp_path / ".other.0123456789ab.dabs_rq.tmp").write_text("half")
    (tmp_path / ".made.mine.tmp").write_text("not ours")
    order: list[str] = []
    inside = threading.Event()

    def second() -> None:
        inside.wait()
        with locked(target):
            order.append("second")

    waiting = threading.Thread(target=second)
    waiting.start()
    with locked(target):
        inside.set()
        waiting.join(0.3)
        order.append("first")
    waiting.join()
    assert order == ["first", "second"]
    assert not (tmp_path / ".made.0123456789ab.dabs_rq.tmp").exists()
    assert (tmp_path / ".other.0123456789ab.dabs_rq.tmp").exists() and (tmp_path / ".made.mine.tmp").exists()


@pytest.mark.slow
def test_a_suite_that_is_killed_again_and_again_has_the_table_of_a_quiet_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["domains=[sensor]", "methods=[none,rq]", "pretrain.steps=30"]
    code = chaos.main(["--only", "processes", "--kills", "2", *words])
    assert code == 0 and "processes: 2 kills" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("command", ["table", "fetch"])
def test_a_command_that_is_killed_beside_its_renames_writes_what_a_quiet_one_writes(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = chaos.main(["--only", command, "--kills", "3", "--seed", "1"])
    assert code == 0 and f"{command}: 3 kills" in capsys.readouterr().out


def test_a_kill_that_loses_something_is_found() -> None:
    found = Found(kills=1)
    found.add_results("run 0", {"a": "1", "b": "2"}, {"a": "1", "b": "3", "c": "4"})
    found.half.append("run 0: d")
    assert found.compared == 3
    assert found.faults == ["different: run 0: b", "different: run 0: c", "half-written: run 0: d"]
