"""Jobs that share processors and GPUs: which run together, and what each is given. No GPU is needed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dabs_rq.errors import OptionError, TrainingError, is_out_of_memory
from dabs_rq.run import Run
from dabs_rq.suite import estimate, measured, needs
from dabs_rq.suite import local as executors
from dabs_rq.suite import suite as suites
from dabs_rq.suite.calibrate import Step
from dabs_rq.suite.measured import NOTHING, Seen, Training
from dabs_rq.suite.packing import WHOLE, Gpu, Need, Packing, about_too_large, parts
from dabs_rq.suite.plan import build_plan
from dabs_rq.suite.ray_executor import resources
from tests.stand_ins import job, tells_its_gpus
from tests.test_executors import until

GB = 10**9

gpus = st.lists(st.integers(1, 80), max_size=4).map(
    lambda sizes: tuple(Gpu(str(index), size * GB) for index, size in enumerate(sizes))
)


@st.composite
def machines(draw: Any) -> tuple[Packing, dict[str, Need]]:
    """A machine and the needs of jobs that it can run."""
    devices = draw(gpus)
    packing = Packing(draw(st.integers(1, 16)), draw(st.integers(1, 8)), devices, draw(st.integers(1, 5)))
    shared = st.builds(lambda memory: Need(gpus=1, memory=memory), st.integers(0, 100 * GB))
    declared = st.floats(0.01, 0.99).map(lambda share: Need(gpus=share))
    whole = st.integers(1, max(1, len(devices))).map(lambda count: Need(gpus=count))
    kinds = st.one_of(shared, declared, whole, st.just(Need())) if devices else st.just(Need())
    wanted = draw(st.lists(st.tuples(kinds, st.integers(1, 20)), min_size=1, max_size=12))
    return packing, {f"job {index}": replace(need, cpus=cpus) for index, (need, cpus) in enumerate(wanted)}


def run_all(packing: Packing, taken: dict[str, Need], ends: Callable[[list[str]], str]) -> list[list[str]]:
    """Run jobs until none is left; `ends` chooses of those that run which ends next. Return after each step what runs,
    and check what holds at every moment."""
    waiting, running, history = dict(taken), dict[str, tuple[str, ...]](), list[list[str]]()
    memory = {gpu.name: gpu.memory for gpu in packing.gpus}
    while waiting or running:
        started = packing.place(waiting.items())
        running |= started
        for name in started:
            del waiting[name]
        assert running, "something runs as long as something waits"
        assert len(running) <= packing.jobs
        assert sum(min(taken[name].cpus, packing.cpus) for name in running) <= packing.cpus
        for gpu, size in memory.items():
            on_it = [name for name, where in running.items() if gpu in where]
            assert len(on_it) <= packing.jobs_per_gpu
            known = sum(taken[name].memory or 0 for name in on_it)
            assert known <= size or len(on_it) == 1
            assert sum(parts(taken[name], size, packing.jobs_per_gpu) for name in on_it) <= WHOLE
        for name, where in running.items():
            assert len(where) == (0 if taken[name].gpus is None else taken[name].whole_gpus or 1) == len(set(where))
        history.append(sorted(running))
        last = ends(sorted(running))
        packing.release(last)
        del running[last]
    return history


@given(machines(), st.randoms(use_true_random=False))
def test_all_jobs_run_and_never_take_more_than_there_is(machine: tuple[Packing, dict[str, Need]], random: Any) -> None:
    packing, taken = machine
    seen = run_all(packing, taken, random.choice)
    assert {name for running in seen for name in running} == set(taken)
    assert not packing.running and not packing.held


@given(machines())
def test_the_same_jobs_get_the_same_places(machine: tuple[Packing, dict[str, Need]]) -> None:
    packing, taken = machine
    again = Packing(packing.cpus, packing.jobs, packing.gpus, packing.jobs_per_gpu)
    assert run_all(packing, taken, min) == run_all(again, taken, min)


def test_jobs_start_in_the_order_of_the_plan() -> None:
    """A transfer that waited for its pretraining comes before the next pretraining."""
    packing, taken = Packing(8, 8, (Gpu("0", 80 * GB),)), Need(gpus=1)
    assert list(packing.place([("pretrain a", taken), ("pretrain b", taken)])) == ["pretrain a"]
    packing.release("pretrain a")
    assert list(packing.place([("transfer a", Need(gpus=0.25)), ("pretrain b", taken)])) == ["transfer a"]


@pytest.mark.parametrize(
    "text", ["CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"]
)
def test_memory_that_a_library_of_cuda_lacks_is_memory_that_lacks(text: str) -> None:
    assert is_out_of_memory(RuntimeError(text)) and not is_out_of_memory(RuntimeError("CUDA error: invalid argument"))


def test_a_gpu_that_cannot_be_opened_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def free(index: int) -> tuple[int, int]:
        if index in closed:
            raise RuntimeError("CUDA-capable device(s) is/are busy or unavailable")
        return 7 * GB, 8 * GB

    closed = {1}
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda index: "L4")
    monkeypatch.setattr("torch.cuda.mem_get_info", free)
    assert measured.read_gpus() == (Gpu("0", 7 * GB, "L4"),)
    assert "GPU 1, L4, is left out: CUDA-capable device(s) is/are busy" in capsys.readouterr().out
    closed.add(0)
    with pytest.raises(TrainingError, match="none of the GPUs"):
        measured.read_gpus()


@given(st.integers(1, 3), st.integers(2, 5), st.integers(1, 20))
def test_a_large_job_does_not_starve(count: int, most: int, before: int) -> None:
    """Small jobs come for ever, and each ends after the same time; a job for a whole GPU waits for those before it."""
    packing = Packing(64, 64, tuple(Gpu(str(index), 80 * GB) for index in range(count)), most)
    small, large = Need(gpus=1, memory=20 * GB), Need(gpus=1, memory=79 * GB)
    waiting = {f"small {number}": small for number in range(before)} | {"large": large}
    running: list[str] = []
    for number in range(before, 200):
        waiting[f"small {number}"] = small
        started = packing.place(waiting.items())
        running += started
        for name in started:
            del waiting[name]
        if "large" not in waiting:
            break
        packing.release(running.pop(0))
    assert "large" not in waiting
    overtook = [name for name in running if name != "large" and int(name.split()[1]) >= before]
    assert number <= 2 * before + 4 * count and (count > 1 or not overtook)


def test_jobs_that_do_not_fit_together_run_one_after_the_other() -> None:
    packing = Packing(8, 8, (Gpu("0", 80 * GB),), 4)
    taken = {name: Need(gpus=1, memory=50 * GB) for name in "abc"}
    assert run_all(packing, taken, min) == [["a"], ["b"], ["c"]]
    assert run_all(packing, {name: Need(gpus=1, memory=30 * GB) for name in "abc"}, min) == [
        ["a", "b"],
        ["b", "c"],
        ["c"],
    ]


def test_a_job_larger_than_any_gpu_has_the_largest_to_itself() -> None:
    devices = (Gpu("0", 24 * GB), Gpu("1", 80 * GB))
    packing, huge = Packing(8, 8, devices, 4), Need(gpus=1, memory=100 * GB)
    assert packing.place([("small", Need(gpus=1, memory=GB))]) == {"small": ("1",)}
    assert packing.place([("huge", huge), ("other", Need(gpus=1, memory=GB))]) == {"other": ("0",)}
    packing.release("small")
    assert packing.place([("huge", huge)]) == {"huge": ("1",)} and not packing.shares("huge")
    assert about_too_large({"small": Need(gpus=1, memory=GB), "huge": huge}, devices) == [
        "huge needs 100 GB, more than any GPU has free (80 GB): it runs alone"
    ]


def test_jobs_spread_over_gpus_before_they_share_one() -> None:
    packing = Packing(8, 8, (Gpu("0", 80 * GB), Gpu("1", 80 * GB)), 4)
    placed = packing.place([(name, Need(gpus=0.25)) for name in "abcd"])
    assert placed == {"a": ("0",), "b": ("1",), "c": ("0",), "d": ("1",)}


def test_a_job_for_more_gpus_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match="takes 2 GPUs; there are 1"):
        Packing(8, 8, (Gpu("0", GB),)).place([("wide", Need(gpus=2))])


@given(st.integers(1, 64), st.integers(1, 80 * GB), st.integers(0, 100 * GB))
def test_a_share_covers_the_memory_and_leaves_room_for_no_more_jobs_than_the_bound(
    most: int, size: int, memory: int
) -> None:
    share = parts(Need(gpus=1, memory=memory), size, most)
    assert share == WHOLE or share * size >= memory * WHOLE
    assert (most + 1) * share > WHOLE >= most * (WHOLE // most)


# ---- what jobs take ------------------------------------------------------------------------------------------------


def taken_by(cpus: int, count: int, seen: Seen, *words: str) -> dict[str, Need]:
    run = Run.of(["domains=[sensor]", "method=none,rq", "runs=nowhere", *words])
    found = needs.needs(run, build_plan(run).jobs, [{"CPU": cpus, "GPU": count}], seen)
    return {name.removesuffix(", seed 0"): need for name, need in found.items()}


SEEN = Seen((Gpu("0", 80 * GB),), {"pretrain sensor with rq": Training(16 * GB)})


def test_a_training_takes_the_memory_that_was_measured_and_its_part_of_the_processors() -> None:
    taken = taken_by(32, 1, SEEN)
    assert taken["prepare sensor"] == Need(32)
    assert taken["pretrain sensor with none"] == Need(1)
    assert taken["pretrain sensor with rq"] == Need(8, 1, 16 * GB)  # a quarter: suite.jobs_per_gpu=4
    assert taken["transfer sensor with rq"] == Need(8, 0.25)
    assert taken_by(32, 1, SEEN, "suite.jobs_per_gpu=8")["pretrain sensor with rq"].cpus == 6  # a fifth
    assert taken_by(32, 1, NOTHING)["pretrain sensor with rq"] == Need(17, 1)  # at most 16 read


def test_options_declare_what_is_not_measured() -> None:
    declared = taken_by(32, 2, SEEN, "suite.pretrain_gpus=0.5")["pretrain sensor with rq"]
    assert declared == Need(8, 0.5)
    assert taken_by(32, 2, SEEN, "trainer.devices=2")["pretrain sensor with rq"].whole_gpus == 2
    assert taken_by(32, 2, SEEN, "trainer.accelerator=cpu")["transfer sensor with rq"] == Need(1)


def test_ray_and_processes_give_a_job_the_same_share() -> None:
    run = Run.of(["domains=[sensor]", "method=rq", "runs=nowhere"])
    jobs = build_plan(run).jobs
    asked = resources(run, jobs, [{"CPU": 32, "GPU": 1}], SEEN)
    taken = needs.needs(run, jobs, [{"CPU": 32, "GPU": 1}], SEEN)
    for name, need in taken.items():
        share = parts(need, SEEN.gpus[0].memory, 4) / WHOLE
        assert asked[name] == {"num_cpus": need.cpus} | ({"num_gpus": share} if need.gpus else {})
    assert asked["pretrain sensor with rq, seed 0"]["num_gpus"] == 0.25
    large = replace(SEEN, trainings={"pretrain sensor with rq": Training(60 * GB)})
    assert resources(run, jobs, [{"CPU": 32, "GPU": 1}], large)["pretrain sensor with rq, seed 0"]["num_gpus"] == 0.75


def test_a_job_runs_with_the_readers_of_its_processors_and_without_a_source_that_was_not_counted() -> None:
    run = Run.of(["domains=[sensor]", "method=rq", "runs=nowhere"])
    prepare, pretrain, _ = build_plan(run).jobs
    options = needs.quiet(run, pretrain, Need(8, 1, GB, keeps_source=False)).run.options
    assert (options.loader.workers, options.loader.resident, options.trainer.progress) == (7, "never", False)
    assert needs.quiet(run, pretrain, Need(1, 1, GB)).run.options.loader.resident == "auto"
    assert needs.quiet(run, prepare, Need(5)).run.options.loader.processes == 5


def test_the_memory_of_a_training_counts_a_source_that_stays_on_the_gpu(tmp_path: Path) -> None:
    def of(domain: str, *words: str, free: int = 80 * GB) -> Training | None:
        run = Run.of([f"domain={domain}", "method=rq", "scale=paper", f"data={tmp_path}", *words])
        return measured.training(run, 10 * GB, free)

    own = measured.CONTEXT + math.floor(measured.MARGIN * 10 * GB)
    captions = of("vqa")
    assert captions and own + 15 * GB < captions.memory < own + 20 * GB  # 118,000 pictures of 224 x 224
    assert of("vqa", free=20 * GB) == of("vqa", "loader.resident=never") == Training(own)
    assert of("multilingual") == Training(own, source_counted=False)  # a stream, of no declared length
    assert of("multilingual", "loader.resident=always") is None


def test_nothing_is_measured_where_no_two_jobs_share_a_gpu() -> None:
    run = Run.of(["domains=[sensor]", "method=none,rq", "runs=nowhere", "seeds=0,1"])
    jobs = build_plan(run).jobs
    assert [one.title for one in measured.to_measure(run, jobs)] == ["pretrain sensor with rq"]
    for word in ("suite.jobs_per_gpu=1", "suite.calibrate=never", "suite.pretrain_gpus=0.5", "trainer.devices=2"):
        assert measured.to_measure(run.replace(dict([word.split("=")])), jobs) == []
    assert measured.look_apart(jobs[:1]).trainings == {}


def test_an_estimate_says_how_many_trainings_share_the_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "read_gpus", lambda: (Gpu("0", 80 * GB),))
    monkeypatch.setattr(estimate, "measure", lambda *_: Step(0.001, 30 * GB))
    monkeypatch.setattr(estimate, "device_name", lambda _: "a described GPU")
    for module in ("estimate", "calibrate"):
        monkeypatch.setattr(f"dabs_rq.suite.{module}.uses_gpu", lambda _: True)
    text = estimate.describe(Run.of(["domains=[sensor]", "method=none,rq", f"runs={tmp_path}"]))
    (row,) = [line.split() for line in text[text.index("measured on a described GPU") :].splitlines() if "rq " in line]
    assert row[-2:] == ["35", "2"] and "80 GB are free" in text and "suite.jobs_per_gpu=4" in text


# ---- running -------------------------------------------------------------------------------------------------------


def places(logs: Path) -> dict[str, str]:
    return {file.stem: file.read_text() for file in logs.glob("*.gpus")}


def test_two_jobs_run_side_by_side_on_gpus_of_their_own_and_a_third_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "run_logged", tells_its_gpus)
    jobs = [job(name) for name in ("first", "second", "third", "reads")]
    taken = {one.name: Need(gpus=1, memory=50 * GB) for one in jobs[:3]} | {jobs[3].name: Need()}
    packing = Packing(8, 8, (Gpu("GPU-a", 80 * GB), Gpu("GPU-b", 80 * GB)), 4)
    events = executors.in_processes(jobs, 8, tmp_path, packing=packing, needs=taken)
    assert [next(events)[0].domain for _ in range(3)] == ["first", "second", "reads"]
    until(lambda: len(places(tmp_path)) == 3)
    assert places(tmp_path) == {"first.0": "GPU-a", "second.0": "GPU-b", "reads.0": ""}
    (tmp_path / "second.end").touch()
    ended, outcome = next(events)
    assert ended.domain == "second" and outcome is not None
    assert next(events)[0].domain == "third"
    until(lambda: "third.0" in places(tmp_path))
    assert places(tmp_path)["third.0"] == "GPU-b"
    for name in ("first", "third", "reads"):
        (tmp_path / f"{name}.end").touch()
    outcomes = [found for _, found in events if found is not None]
    processes = {found.missing[0] for found in (*outcomes, outcome)}
    assert len(processes) == 4  # a process that computed on a GPU keeps memory of it, so it takes no other job


@pytest.mark.slow
def test_a_job_that_runs_out_of_memory_runs_again_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "run_logged", tells_its_gpus)
    jobs = [job("other"), job("tight"), job("after", after=("prepare tight",))]
    taken = {one.name: Need(gpus=1, memory=10 * GB) for one in jobs}
    packing = Packing(8, 8, (Gpu("0", 80 * GB),), 4)
    started, notes = [], {}
    for one, outcome in executors.in_processes(jobs, 8, tmp_path, packing=packing, needs=taken):
        if outcome is not None:
            notes[one.domain] = outcome.state, outcome.note
            continue
        started.append(one.domain)
        if one.domain == "tight" and started.count("tight") == 2:
            assert "other" in notes, "it starts when no other job is on the GPU"
        for name in ("tight", "after", *(("other",) if started.count("tight") else ())):
            (tmp_path / f"{name}.end").touch()
    assert started == ["other", "tight", "tight", "after"]
    assert notes["tight"] == ("data missing", executors.ALONE) and notes["other"][1] == ""


@pytest.mark.slow
def test_a_suite_shares_described_gpus(
    tmp_path: Path, miniature: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    described = Seen((Gpu("7", 80 * GB, "described GPU"),), {"pretrain sensor with rq": Training(100 * GB)})
    monkeypatch.setattr(suites, "look_apart", lambda jobs: described)
    monkeypatch.setattr(suites, "uses_gpu", lambda _: True)
    monkeypatch.setattr(executors, "run_logged", tells_its_gpus)
    words = ["domains=[sensor]", "method=none,rq", f"data={miniature('sensor')}", f"runs={tmp_path}"]
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "sensor.end").touch()
    suites.suite(Run.of([*words, "suite.workers=2", "trainer.progress=false"]))
    out = capfd.readouterr().out
    assert "up to 2 processes on 1 x described GPU (80 GB free), at most 4 on each (suite.jobs_per_gpu)" in out
    assert "pretrain sensor with rq, seed 0 needs 100 GB, more than any GPU has free (80 GB)" in out
    assert {"7", ""} == set(places(logs).values())


def test_a_suite_for_more_gpus_than_there_are_is_refused(
    tmp_path: Path, miniature: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suites, "look_apart", lambda jobs: Seen((Gpu("0", 80 * GB),)))
    monkeypatch.setattr(suites, "uses_gpu", lambda _: True)
    words = ["domains=[sensor]", "method=rq", f"data={miniature('sensor')}", f"runs={tmp_path}", "trainer.devices=2"]
    with pytest.raises(OptionError, match=r"takes 2 GPUs, and this machine has 1: lower trainer.devices"):
        suites.suite(Run.of([*words, "suite.executor=processes"]))
