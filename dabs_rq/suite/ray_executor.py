"""Where the jobs of a suite run, third way: on Ray, which is started here or joined where it runs already.

Every job is one remote task that gets the outcomes of those it waits for as object references, so order, places and
lost nodes are Ray's business: a job whose process or node is lost runs again elsewhere and goes on from its last resume
point. That needs a `runs` folder which all nodes share.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dabs_rq import registry
from dabs_rq.errors import OptionError, first_line
from dabs_rq.run import Run
from dabs_rq.run.options import PATHS
from dabs_rq.suite.jobs import Job, Outcome, unattended
from dabs_rq.suite.local import THREADS, Events, logged

RETRIES = 3  # of a job, for processes and nodes that are lost; and as often again for nodes that run out of memory
OBJECTS = 100_000_000  # bytes of Ray's object store, which holds nothing but outcomes


def on_ray(run: Run, jobs: Sequence[Job], logs: Path) -> Events:
    """The jobs on all of Ray that there is: the cluster at `suite.ray_address` or RAY_ADDRESS, else one started here.

    Raises OptionError if Ray is not installed or cannot be reached, or if no node could ever run one of the jobs.
    """
    ray = _ray()
    _connect(ray, run)
    try:
        yield from _tasks(ray, run, jobs, logs.absolute())
    finally:
        ray.shutdown()


def _ray() -> Any:
    # It would tell its makers how it is used, and try for ever a job that is too large for the memory of its node.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_task_oom_retries", str(RETRIES))
    try:
        import ray
    except ImportError as error:
        raise OptionError(f"suite.executor=ray needs a package: pip install 'dabs_rq[cluster]' ({error})") from error
    return ray


def _connect(ray: Any, run: Run) -> None:
    suite = run.options.suite
    address = suite.ray_address or os.environ.get("RAY_ADDRESS") or "local"
    own: dict[str, Any] = {}
    if address == "local":
        cpus = suite.workers and suite.workers * suite.cpus
        own = {"num_cpus": cpus, "object_store_memory": OBJECTS, "include_dashboard": False}
    logging.getLogger("ray").setLevel(logging.ERROR)  # it tells that it makes itself a token
    environment = {"env_vars": _environment(suite.cpus)}
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        if at := re.fullmatch(r"(?:ray://)?(.+):(\d+)", address):  # which Ray itself would try for many minutes
            socket.create_connection((at[1], int(at[2])), timeout=10).close()
        ray.init(address, runtime_env=environment, log_to_driver=False, logging_level=logging.ERROR, **own)
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray has set its own
    except (OSError, ValueError, RuntimeError) as error:
        hint = "" if address == "local" else " Start it with `ray start`, see docs/cluster.md."
        raise OptionError(f"no Ray at {address}: {first_line(error)}{hint}") from error
    if os.environ.get("RAY_AUTH_MODE", "").lower() != "token":  # Ray sets it where it has found or made a token
        print(
            "warning: this Ray has no token, so whoever reaches it can run anything: docs/cluster.md", file=sys.stderr
        )


def _environment(threads: int) -> dict[str, str]:
    """What jobs need of this process's environment wherever they run."""
    named = os.environ.get(registry.PATH_VARIABLE, "").split(os.pathsep)
    folders = os.pathsep.join(str(Path(part).absolute()) for part in named if part)
    return dict.fromkeys(THREADS, str(threads)) | ({registry.PATH_VARIABLE: folders} if folders else {})


def _tasks(ray: Any, run: Run, jobs: Sequence[Job], logs: Path) -> Events:
    from ray.exceptions import RayError

    asked = resources(run, jobs, [node["Resources"] for node in ray.nodes() if node["Alive"]])
    task = ray.remote(_on_node)
    refs: dict[str, Any] = {}
    begun = Begun(jobs, logs)
    for job in jobs:
        of_job = asked[job.name]
        elsewhere = portable(job, int(of_job["num_cpus"]) if job.step == "prepare" else 1)
        options = task.options(name=job.name, max_retries=RETRIES, **of_job)
        refs[job.name] = options.remote(elsewhere, logs, *(refs[name] for name in job.after))
    left, lost = {job.name: job for job in jobs}, set[str]()
    try:
        while left:
            ray.wait([refs[name] for name in left], timeout=1.0)
            ready, _ = ray.wait([refs[name] for name in left], num_returns=len(left), timeout=0)
            for job in begun.since():
                if job.name in left:
                    yield job, None
            for job in [job for job in left.values() if refs[job.name] in ready]:
                del left[job.name]
                try:
                    outcome = ray.get(refs[job.name])
                except RayError as error:
                    lost.add(job.name)
                    outcome = _lost(job, lost, error)
                yield job, outcome
    except BaseException:  # interrupted: what runs is ended, not waited for
        for name in left:
            ray.cancel(refs[name], force=True)
        raise


def _on_node(job: Job, logs: Path, *before: Outcome) -> Outcome:
    return logged(job, before, logs)


class Begun:
    """Which jobs have begun: those whose logs, in a folder that all nodes share, have grown. No process of Ray's has to
    live on for it."""

    def __init__(self, jobs: Sequence[Job], logs: Path) -> None:
        self.waiting = {logs / job.log_name: job for job in jobs}
        self.before = {log: _size(log) for log in self.waiting}

    def since(self) -> list[Job]:
        """Those that have since this was asked before."""
        grown = [log for log in self.waiting if _size(log) > self.before[log]]
        return [self.waiting.pop(log) for log in grown]


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _lost(job: Job, lost: set[str], error: Exception) -> Outcome:
    """The outcome of a task that Ray gave up, or never ran because it gave up another."""
    from ray.exceptions import OutOfMemoryError

    for name in job.after:
        if name in lost:
            return Outcome(waiting=[f"{job.name} waits for {name}"])
    if isinstance(error, OutOfMemoryError):
        why = f"memory ran out on its node, {RETRIES + 1} times: a larger suite.cpus runs fewer jobs beside it"
    else:
        why = f"its process or node was lost {RETRIES + 1} times"
    return Outcome(wrong=[f"{job.name}: {why} ({first_line(error)})"])


def portable(job: Job, processes: int) -> Job:
    """The job with absolute paths, as a process with another working folder needs them."""
    options = job.run.options
    paths = {key: str(path.expanduser().absolute()) for key in PATHS if (path := getattr(options, key)) is not None}
    return unattended(replace(job, run=job.run.replace(paths)), processes)


def resources(run: Run, jobs: Sequence[Job], nodes: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """What each job asks Ray for, by its name: num_cpus, and where there are GPUs for training and probing num_gpus.
    `nodes`: what each node has in all ("CPU", "GPU").

    Raises OptionError for a job that fits on no node, which Ray would let wait for ever.
    """
    suite, trainer, loader = run.options.suite, run.options.trainer, run.options.loader
    has_gpus = trainer.accelerator != "cpu" and any(node.get("GPU") for node in nodes)
    largest = int(max(node.get("CPU", 0) for node in nodes))
    in_all = int(sum(node.get("CPU", 0) for node in nodes))
    share = in_all // max(1, sum(job.step == "prepare" for job in jobs))
    asked: dict[str, dict[str, float]] = {}
    for job in jobs:
        if job.step == "prepare":
            one: dict[str, float] = {"num_cpus": loader.processes or min(max(share, 1), largest)}
        else:
            trains = job.step == "pretrain" and registry.method(job.method).trains
            devices = trainer.devices if trains else 1
            one = {"num_cpus": (suite.cpus + loader.workers) * devices}
            if has_gpus and (trains or job.step == "transfer"):
                given = suite.pretrain_gpus if trains else suite.transfer_gpus
                one["num_gpus"] = devices if given is None else given
        if not any(_fits(one, node) for node in nodes):
            raise OptionError(
                f"no node of the Ray cluster could run {job.name}: it asks for {one}, the nodes have "
                f"{', '.join(str({name: node.get(name, 0) for name in ('CPU', 'GPU')}) for node in nodes)}. "
                "See suite.cpus, suite.pretrain_gpus, suite.transfer_gpus, trainer.devices and loader.workers."
            )
        asked[job.name] = one
    return asked


def _fits(asked: Mapping[str, float], node: Mapping[str, float]) -> bool:
    return asked["num_cpus"] <= node.get("CPU", 0) and asked.get("num_gpus", 0) <= node.get("GPU", 0)
