"""An executor that runs jobs on Ray: on an existing cluster, or on one started here.

Each job is a remote task. It receives the outcomes of the jobs it waits for as object references, so Ray handles order,
placement and lost nodes: a job whose process or node is lost runs again elsewhere and continues from its last resume
point. All nodes must share the `runs` folder.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dabs_rq import registry
from dabs_rq.errors import OptionError, first_line, needing_extra
from dabs_rq.run import Run
from dabs_rq.run.options import PATHS
from dabs_rq.suite.jobs import Job, Outcome
from dabs_rq.suite.local import ALONE, THREAD_VARIABLES, Events, run_logged
from dabs_rq.suite.measured import MEASURING, NOTHING, Seen, look, to_measure
from dabs_rq.suite.needs import needs, quiet, share_of_gpus
from dabs_rq.suite.packing import Need, about_too_large

RETRIES = 3  # of a job whose process or node is lost; and separately, of one whose node runs out of memory
OBJECT_STORE_BYTES = 100_000_000  # Ray's object store holds only outcomes


def on_ray(run: Run, jobs: Sequence[Job], logs: Path) -> Events:
    """Run the jobs on the Ray cluster at `suite.ray_address` or RAY_ADDRESS, else on one started here.

    Raises OptionError if Ray is not installed or cannot be reached, or if some job fits on no node.
    """
    ray = _import_ray()
    _connect(ray, run)
    try:
        yield from _run_tasks(ray, run, jobs, logs.absolute())
    finally:
        ray.shutdown()


def _import_ray() -> Any:
    # By default Ray reports usage to its developers, and retries a job that runs out of memory for ever.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_task_oom_retries", str(RETRIES))
    with needing_extra("suite.executor=ray", "cluster"):
        import ray
    return ray


def _connect(ray: Any, run: Run) -> None:
    suite = run.options.suite
    address = suite.ray_address or os.environ.get("RAY_ADDRESS") or "local"
    local_options: dict[str, Any] = {}
    if address == "local":
        cpus = suite.workers and suite.workers * suite.cpus
        local_options = {"num_cpus": cpus, "object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False}
    logging.getLogger("ray").setLevel(logging.ERROR)  # else Ray logs that it generates a token
    runtime_env = {"env_vars": _environment(suite.cpus)}
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        # Fail within seconds: Ray itself tries an address that does not answer for many minutes.
        if host_port := re.fullmatch(r"(?:ray://)?(.+):(\d+)", address):
            socket.create_connection((host_port[1], int(host_port[2])), timeout=10).close()
        ray.init(address, runtime_env=runtime_env, log_to_driver=False, logging_level=logging.ERROR, **local_options)
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray installs its own handler
    except (OSError, ValueError, RuntimeError) as error:
        hint = "" if address == "local" else " Start it with `ray start`, see docs/cluster.md."
        raise OptionError(f"no Ray at {address}: {first_line(error)}{hint}") from error
    if os.environ.get("RAY_AUTH_MODE", "").lower() != "token":  # Ray sets it if it found or generated a token
        print(
            "warning: this Ray has no token, so anyone who can reach it can run anything: docs/cluster.md",
            file=sys.stderr,
        )


def _environment(threads: int) -> dict[str, str]:
    """Return the environment variables that jobs need on every node."""
    named = os.environ.get(registry.PATH_VARIABLE, "").split(os.pathsep)
    folders = os.pathsep.join(str(Path(part).absolute()) for part in named if part)
    return dict.fromkeys(THREAD_VARIABLES, str(threads)) | ({registry.PATH_VARIABLE: folders} if folders else {})


def _run_tasks(ray: Any, run: Run, jobs: Sequence[Job], logs: Path) -> Events:
    from ray.exceptions import RayError

    tasks = _Tasks(ray, run, jobs, logs)
    started = StartedJobs(jobs, logs)
    unfinished, lost, alone = {job.name: job for job in jobs}, set[str](), set[str]()
    try:
        while unfinished:
            refs = {name: tasks.refs[name] for name in unfinished}
            ray.wait(list(refs.values()), timeout=1.0)
            ready, _ = ray.wait(list(refs.values()), num_returns=len(refs), timeout=0)
            for job in started.new():
                if job.name in unfinished:
                    yield job, None
            for job in [unfinished[name] for name, ref in refs.items() if ref in ready]:
                if tasks.refs[job.name] is not refs[job.name] or unfinished.keys() & set(job.after):
                    continue  # a job before it was started again, or may be
                try:
                    outcome = ray.get(refs[job.name])
                except RayError as error:
                    lost.add(job.name)
                    outcome = _lost_outcome(job, lost, error)
                if outcome.out_of_memory and tasks.shares(job.name):
                    alone.add(job.name)
                    tasks.start_alone(job, unfinished.values())
                    continue
                outcome.note = ALONE if job.name in alone else ""
                del unfinished[job.name]
                yield job, outcome
    except BaseException:  # when interrupted, cancel running jobs instead of waiting for them
        for name in unfinished:
            ray.cancel(tasks.refs[name], force=True)
        raise


class _Tasks:
    """The remote tasks of jobs. refs: job name -> the reference of its outcome."""

    def __init__(self, ray: Any, run: Run, jobs: Sequence[Job], logs: Path) -> None:
        self.run, self.logs = run, logs
        # The process of a job on a GPU ends with it: kept, it would keep memory, and the GPU that it first saw.
        self.on_processor, self.on_gpu = ray.remote(_run_on_node), ray.remote(max_calls=1)(_run_on_node)
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        seen = _look(ray, run, jobs, nodes)
        self.needs = needs(run, jobs, nodes, seen)
        self.requests = resources(run, jobs, nodes, seen)
        for line in about_too_large(self.needs, seen.gpus):
            print(line, flush=True)
        self.refs: dict[str, Any] = {}
        for job in jobs:
            self._start(job)

    def shares(self, name: str) -> bool:
        return 0 < self.requests[name].get("num_gpus", 0) < 1

    def start_alone(self, job: Job, unfinished: Iterable[Job]) -> None:
        """Start a job again with a whole GPU, and those that wait for it, which have seen it fail."""
        self.requests[job.name]["num_gpus"] = 1
        again = {job.name}
        self._start(job)
        for other in unfinished:  # in an order in which each comes after those it waits for
            if again & set(other.after):
                again.add(other.name)
                self._start(other)

    def _start(self, job: Job) -> None:
        request = self.requests[job.name]
        kind = self.on_gpu if request.get("num_gpus") else self.on_processor
        task = kind.options(name=job.name, max_retries=RETRIES, **request)
        remote_job = portable(quiet(self.run, job, self.needs[job.name]))
        self.refs[job.name] = task.remote(remote_job, self.logs, *(self.refs[name] for name in job.after))


def _look(ray: Any, run: Run, jobs: Sequence[Job], nodes: Sequence[Mapping[str, float]]) -> Seen:
    """Measure the trainings among `jobs` on a GPU of the cluster, if there is one and it matters."""
    from ray.exceptions import RayError

    measured = to_measure(run, jobs)
    has_gpu = any(node.get("GPU") and node.get("CPU") for node in nodes)
    if run.options.trainer.accelerator == "cpu" or not measured or not has_gpu:
        return NOTHING
    print(MEASURING, flush=True)
    try:
        task = ray.remote(num_gpus=1, max_calls=1)(look).options(name="measure")
        return ray.get(task.remote([portable(job) for job in measured]))
    except RayError as error:
        print(f"nothing could be measured ({first_line(error)}): trainings run alone on a GPU", flush=True)
        return NOTHING


def _run_on_node(job: Job, logs: Path, *awaited: Outcome) -> Outcome:
    return run_logged(job, awaited, logs)


class StartedJobs:
    """Finds jobs that have started: their logs, in a folder that all nodes share, have grown. Unlike a Ray actor, this
    needs no process that stays alive."""

    def __init__(self, jobs: Sequence[Job], logs: Path) -> None:
        self.waiting = {logs / job.log_name: job for job in jobs}
        self.initial_sizes = {log: _size(log) for log in self.waiting}

    def new(self) -> list[Job]:
        """Return the jobs that have started since the last call."""
        grown = [log for log in self.waiting if _size(log) > self.initial_sizes[log]]
        return [self.waiting.pop(log) for log in grown]


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _lost_outcome(job: Job, lost: set[str], error: Exception) -> Outcome:
    """Return the outcome of a task that Ray gave up, or did not run because it gave up another."""
    from ray.exceptions import OutOfMemoryError

    for name in job.after:
        if name in lost:
            return Outcome(waiting=[f"{job.name} waits for {name}"])
    if isinstance(error, OutOfMemoryError):
        reason = f"its node ran out of memory {RETRIES + 1} times: a larger suite.cpus runs fewer jobs at once"
    else:
        reason = f"its process or node was lost {RETRIES + 1} times"
    return Outcome(errors=[f"{job.name}: {reason} ({first_line(error)})"])


def portable(job: Job) -> Job:
    """Return the job with absolute paths, for a process that has another working folder."""
    options = job.run.options
    paths = {key: str(path.expanduser().absolute()) for key in PATHS if (path := getattr(options, key)) is not None}
    return replace(job, run=job.run.replace(paths))


def resources(
    run: Run, jobs: Sequence[Job], nodes: Sequence[Mapping[str, float]], seen: Seen = NOTHING
) -> dict[str, dict[str, float]]:
    """Return what each job requests from Ray, by job name: num_cpus, and num_gpus if it uses GPUs. `nodes`: the total
    "CPU" and "GPU" of each node. `seen`: what was measured on one of them, which stands for all.

    Raises OptionError for a job that fits on no node: Ray would let it wait for ever.
    """
    requests = {name: _request(run, need, seen) for name, need in needs(run, jobs, nodes, seen).items()}
    for name, request in requests.items():
        if not any(_fits(request, node) for node in nodes):
            raise OptionError(
                f"no node of the Ray cluster could run {name}: it requests {request}, the nodes have "
                f"{', '.join(str({name: node.get(name, 0) for name in ('CPU', 'GPU')}) for node in nodes)}. "
                "See suite.cpus, suite.pretrain_gpus, suite.transfer_gpus, trainer.devices and loader.workers."
            )
    return requests


def _request(run: Run, need: Need, seen: Seen) -> dict[str, float]:
    gpus = share_of_gpus(run, need, seen)
    return {"num_cpus": need.cpus} if gpus is None else {"num_cpus": need.cpus, "num_gpus": gpus}


def _fits(request: Mapping[str, float], node: Mapping[str, float]) -> bool:
    return request["num_cpus"] <= node.get("CPU", 0) and request.get("num_gpus", 0) <= node.get("GPU", 0)
