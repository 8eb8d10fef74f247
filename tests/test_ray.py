"""The suite on Ray: the numbers of this process, lost processes and nodes, and what is asked of a cluster."""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# Read when Ray is imported: clusters of this session have a token of their own, and none is left in the home folder.
os.environ["RAY_AUTH_MODE"] = "token"
os.environ["RAY_AUTH_TOKEN"] = uuid.uuid4().hex

from ray.cluster_utils import Cluster

from dabs_rq import registry
from dabs_rq.errors import OptionError
from dabs_rq.records import record
from dabs_rq.run import Run
from dabs_rq.suite import ray_executor
from dabs_rq.suite.jobs import Job, Outcome
from dabs_rq.suite.plan import build_plan
from dabs_rq.suite.ray_executor import OBJECT_STORE_BYTES, on_ray, resources
from dabs_rq.suite.suite import suite
from tests.stand_ins import job, killed_once
from tests.test_pretrain import SMALL

MINI = (
    *SMALL,
    "domains=[sensor]",
    "method=none,emix,rq",
    "transfer.also=[]",
    "pretrain.steps=4",
    "transfer.max_examples=60",
    "transfer.strengths=[1]",
)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, miniature: Callable[[str], Path]) -> Run:
    """A small suite, computed in this process."""
    folder = tmp_path_factory.mktemp("alone")
    run = Run.of([*MINI, f"data={miniature('sensor')}", f"runs={folder}", "suite.executor=in_process"])
    assert suite(run).state == "done"
    return run


@pytest.fixture
def cluster() -> Iterator[tuple[Cluster, list[Any]]]:
    """A cluster with two nodes of one processor each, beside one for its head."""
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False},
    )
    nodes = [cluster.add_node(num_cpus=1, object_store_memory=OBJECT_STORE_BYTES) for _ in range(2)]
    yield cluster, nodes
    cluster.shutdown()


def found(runs: Path) -> dict[tuple[str, str], tuple[float | None, str]]:
    records, errors = record.read_all(runs)
    assert not errors
    return {(one.method, one.split): (one.score, one.checkpoint) for one in records}


# ---- running -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_ray_gives_the_numbers_of_this_process(
    alone: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # a relative folder is that of the one who asks, wherever a job runs
    outcome = suite(Run.of([*alone.words, "runs=runs", "suite.executor=ray"]))
    assert outcome.state == "done"
    assert len(found(alone.places.runs)) == 6 and found(tmp_path / "runs") == found(alone.places.runs)
    log = (tmp_path / "runs/logs/transfer-sensor-with-rq-seed-0.log").read_text()
    shown = capsys.readouterr()
    assert "% accuracy" in log and "accuracy" not in shown.out and "no token" not in shown.err


@pytest.mark.slow
def test_a_suite_outlives_a_node(alone: Run, tmp_path: Path, cluster: tuple[Cluster, list[Any]]) -> None:
    whole, nodes = cluster
    run = Run.of([*alone.words, f"runs={tmp_path}", f"suite.ray_address={whole.address}"])
    running, done = set[str](), set[str]()
    for one, outcome in on_ray(run, build_plan(run).jobs, tmp_path / "logs"):
        (running if outcome is None else done).add(one.name)
        if outcome is not None:
            assert outcome.state == "done"
            running.discard(one.name)
        if len(running) == 2 and len(nodes) == 2:  # each of the nodes has a job
            whole.remove_node(nodes.pop(), allow_graceful=False)
    assert len(nodes) == 1 and len(done) == 7
    assert found(tmp_path) == found(alone.places.runs)


@pytest.mark.slow
def test_a_job_whose_process_is_always_killed_is_an_outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def on_node(one: Job, logs: Path, *before: Any) -> Any:
        return killed_once(one, list(before), logs)

    monkeypatch.setattr(ray_executor, "_run_on_node", on_node)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    jobs = [job("kill"), job("doomed"), job("after", after=("prepare doomed",)), job("last", after=("prepare kill",))]
    run = Run.of([f"runs={tmp_path}"])
    outcomes = {one.domain: outcome for one, outcome in on_ray(run, jobs, tmp_path) if outcome is not None}
    assert outcomes["kill"].state == outcomes["last"].state == "done"
    assert "lost 4 times" in outcomes["doomed"].errors[0]
    assert outcomes["after"].waiting == ["prepare after waits for prepare doomed"]


@pytest.mark.slow
def test_jobs_that_are_too_large_for_the_memory_end_and_say_so(alone: Run, tmp_path: Path) -> None:
    little = {"memory_usage_threshold": "0.001", "memory_monitor_refresh_ms": "100"}
    little |= {"task_oom_retry_delay_base_ms": "9"}
    environment = os.environ | {f"RAY_{name}": value for name, value in little.items()} | {"RAY_AUTH_MODE": "disabled"}
    words = [*alone.words, f"runs={tmp_path / 'runs'}", f"out={tmp_path}", "methods=[none]", "suite.executor=ray"]
    command = [sys.executable, "-m", "dabs_rq", "suite", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1, done.stderr
    assert "  prepare sensor: its node ran out of memory 4 times" in done.stderr
    assert "warning: this Ray has no token" in done.stderr
    assert "  transfer sensor with none, seed 0 waits for pretrain sensor with none, seed 0" in done.stdout


@pytest.mark.slow
def test_a_job_that_runs_out_of_memory_on_a_shared_gpu_runs_again_alone(
    tmp_path: Path,
    cluster: tuple[Cluster, list[Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """There is no GPU: the node declares one to Ray, and each job says which share of it Ray assigned."""

    def on_node(one: Job, logs: Path, *before: Outcome) -> Outcome:
        import ray

        assigned = ray.get_runtime_context().get_assigned_resources()
        told = [f"{one.domain} {assigned.get('GPU', 0):g} {len([each for each in before if each.errors])}"]
        full = one.domain == "tight" and assigned["GPU"] < 1
        told.append(str(os.getpid()))
        return Outcome(errors=["out of memory"] if full else [], missing=told, out_of_memory=full)

    whole, _ = cluster
    whole.add_node(num_cpus=4, num_gpus=1, object_store_memory=OBJECT_STORE_BYTES)
    monkeypatch.setattr(ray_executor, "_run_on_node", on_node)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    run = Run.of([f"runs={tmp_path}", "domain=sensor", "method=rq", f"suite.ray_address={whole.address}"])
    jobs = [Job("transfer", name, run, "rq") for name in ("tight", "other")]
    jobs.append(Job("transfer", "after", run, "rq", after=(jobs[0].name,)))
    jobs.append(Job("pretrain", "sensor", run, "rq"))
    outcomes = {one.domain: outcome for one, outcome in on_ray(run, jobs, tmp_path) if outcome is not None}
    told = [outcomes[name].missing[0] for name in ("tight", "other", "after", "sensor")]
    assert told == ["tight 1 0", "other 0.25 0", "after 0.25 0", "sensor 1 0"]  # a GPU without CUDA measures nothing
    assert len({outcome.missing[1] for outcome in outcomes.values()}) == 4, "a process on a GPU ends with its job"
    assert outcomes["tight"].note and not outcomes["other"].note
    assert "measuring on a GPU how much memory" in capsys.readouterr().out


# ---- what is asked of a cluster ------------------------------------------------------------------------------------


def jobs_of(*words: str) -> tuple[Run, list[Job]]:
    run = Run.of(["domains=[sensor,images]", "runs=nowhere", *words])
    return run, build_plan(run).jobs


def asked(nodes: list[dict[str, float]], *words: str) -> dict[str, dict[str, float]]:
    return {name.removesuffix(", seed 0"): one for name, one in resources(*jobs_of(*words), nodes).items()}


def test_jobs_ask_for_one_processor_and_preparing_for_its_share() -> None:
    one = asked([{"CPU": 4}, {"CPU": 8}])
    assert one["pretrain sensor with rq"] == one["transfer sensor with rq"] == {"num_cpus": 1}
    assert one["prepare sensor"] == one["prepare images"] == {"num_cpus": 6}
    assert asked([{"CPU": 4}, {"CPU": 8}], "loader.processes=3")["prepare sensor"] == {"num_cpus": 3}
    assert asked([{"CPU": 8}], "suite.cpus=2", "loader.workers=4")["transfer images with none"] == {"num_cpus": 6}


def test_jobs_that_compute_ask_for_gpus_where_there_are_any() -> None:
    nodes: list[dict[str, float]] = [{"CPU": 16, "GPU": 8}]
    one = asked(nodes, "trainer.devices=4")
    assert one["pretrain images with rq"] == {"num_cpus": 8, "num_gpus": 4}  # a processor of each two reads
    assert one["pretrain images with none"] == {"num_cpus": 1}  # which keeps the initial weights
    assert one["transfer images with rq"] == {"num_cpus": 1, "num_gpus": 0.25}
    shared = asked(nodes, "suite.pretrain_gpus=0.5", "suite.transfer_gpus=0")
    assert shared["pretrain images with rq"]["num_gpus"] == 0.5 and shared["transfer images with rq"]["num_gpus"] == 0
    assert asked(nodes, "trainer.accelerator=cpu")["pretrain images with rq"] == {"num_cpus": 1}
    assert asked(nodes, "loader.workers=3")["pretrain images with rq"] == {"num_cpus": 4, "num_gpus": 1}
    assert asked([{"CPU": 64, "GPU": 1}])["pretrain images with rq"] == {"num_cpus": 17, "num_gpus": 1}  # at most 16


def test_a_job_that_fits_on_no_node_is_refused() -> None:
    with pytest.raises(OptionError, match=r"no node .* pretrain images with emix.*'num_gpus': 4.*trainer.devices"):
        asked([{"CPU": 8, "GPU": 2}, {"CPU": 8, "GPU": 2}], "trainer.devices=4")


def test_jobs_travel_with_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some data").mkdir()
    here = Run.of(("data=some data", "out=", "runs=x", "runs=~/y"))
    run = pickle.loads(pickle.dumps(ray_executor.portable(Job("pretrain", "sensor", here)))).run
    assert (
        run.root == tmp_path / "some data" and run.places.runs == Path("~/y").expanduser() and run.options.out is None
    )
    elsewhere = ray_executor.portable(Job("pretrain", "sensor", Run.of())).run
    assert elsewhere.places.runs == tmp_path / "runs"


def test_the_environment_that_travels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(registry.PATH_VARIABLE, f"mine{os.pathsep}{tmp_path / 'yours'}")
    told = ray_executor._environment(2)
    assert told[registry.PATH_VARIABLE] == f"{tmp_path / 'mine'}{os.pathsep}{tmp_path / 'yours'}"
    assert told["OMP_NUM_THREADS"] == "2"


def test_a_cluster_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]  # of nobody, once this is closed
    with pytest.raises(OptionError, match=f"no Ray at 127.0.0.1:{port}: .*refused.*ray start"):
        suite(Run.of([*MINI, f"runs={tmp_path}", "suite.executor=ray", f"suite.ray_address=127.0.0.1:{port}"]))


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(OptionError, match=r"pip install 'dabs_rq\[cluster\]'"):
        suite(Run.of([*MINI, f"runs={tmp_path}", "suite.executor=ray"]))
