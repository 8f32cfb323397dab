"""Ray: tasks that fetch and store, actors that dream, and a `ray.wait` over their reports.

Every call returns a small report, which the driver reads, and a picture, which it never does: pictures travel
between processes as object references. Ray's own retries and restarts are off; `schedule` decides about both.
"""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import ray
import ray.exceptions

from dreamjobs.errors import RunError, WorkerLostError
from dreamjobs.jobs import Failure, Job
from dreamjobs.schedule import ActorLost, ActorReady, Event, StageDone, StageFailed, Start, StartActor
from dreamjobs.storage import Store
from dreamjobs.worker import Dreamer, Library, Result, Work, as_failure, attempt, fetch, store

if TYPE_CHECKING:
    from dreamjobs.nets import Weights

_REPORTS_AT_ONCE = 64
_KNOCK_S = 10.0


@dataclass(frozen=True)
class Layout:
    """How many actors, each with how many CPU threads and GPUs."""

    actors: int
    threads: int
    gpus: int


def _fetch(job: Job) -> tuple[Failure | None, Work | None]:
    result = attempt(fetch, job)
    return result.failure, result.value


def _store(job: Job, work: Work, run: Store) -> Result:
    return attempt(store, job, work, run)


class _Actor:
    """Holds the nets of one device."""

    def __init__(self, gpus: int) -> None:
        self._dreamer = Dreamer("cuda" if gpus else "cpu")

    def ready(self) -> int:
        """Answers when the process is up, torch and all."""
        import torch  # noqa: F401  # two seconds that the first job need not wait for

        return os.getpid()

    @ray.method(num_returns=2)
    def dream(self, job: Job, work: Work, blob: Any, digest: str, run: Store) -> tuple[Failure | None, Work | None]:
        result = attempt(self._dream, job, work, _weights(blob, digest), run)
        return result.failure, result.value

    def _dream(self, job: Job, work: Work, weights: "Weights", run: Store) -> Work:
        try:
            return self._dreamer.dream(job, work, weights, run=run)
        except RuntimeError as error:
            if type(error).__name__ == "AcceleratorError":
                # After an error of the device itself every later call in this process fails too: be replaced.
                os._exit(1)
            raise


def _weights(blob: Any, digest: str) -> "Weights":
    """The blob as it lies in shared memory, not copied until a net is loaded from it."""
    from dreamjobs.nets import Weights

    return Weights(memoryview(blob), digest)


# Any: ray's decorators change types in ways that its annotations do not follow.
# No CPU is reserved for fetches and stores: the scheduler bounds their number, and actors may have taken every CPU.
_FETCH: Any = ray.remote(num_cpus=0, max_retries=0, num_returns=2, scheduling_strategy="SPREAD")(_fetch)
_STORE: Any = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy="SPREAD")(_store)
_ACTOR: Any = ray.remote(max_restarts=0, max_task_retries=0)(_Actor)


class RayBackend:
    """Work on a Ray cluster: the one we are connected to, the one at `address`, or one started here and now."""

    def __init__(self, run: Store, library: Library, layout: Layout) -> None:
        self._library, self._layout = library, layout
        self._run = ray.put(run)
        self._handles: dict[int | None, Any] = {}
        self._pending: dict[Any, StartActor | Start] = {}
        self._work: dict[str, Any] = {}
        self._blobs: dict[str, Any] = {}

    def perform(self, action: StartActor | Start) -> None:
        if isinstance(action, StartActor):
            self._start_actor(action)
        else:
            self._pending[self._start(action)] = action

    def events(self, timeout_s: float) -> list[Event]:
        if not self._pending:
            return []
        count = min(len(self._pending), _REPORTS_AT_ONCE)
        ready, _ = ray.wait(list(self._pending), num_returns=count, timeout=0)
        if not ready:
            ready, _ = ray.wait(list(self._pending), num_returns=1, timeout=timeout_s)
        return [self._event(self._pending.pop(ref), ref) for ref in ready]

    def forget(self, job: Job) -> None:
        self._work.pop(job.id, None)

    def close(self) -> None:
        for handle in self._handles.values():
            ray.kill(handle)
        self._handles.clear()
        self._pending.clear()
        self._work.clear()

    def _start_actor(self, action: StartActor) -> None:
        if old := self._handles.pop(action.actor, None):
            ray.kill(old)  # one that is only unavailable must not come back beside its successor
        options = {"num_cpus": self._layout.threads, "num_gpus": self._layout.gpus}
        handle = _ACTOR.options(**options).remote(self._layout.gpus)
        self._handles[action.actor] = handle
        self._pending[handle.ready.remote()] = action

    def _start(self, action: Start) -> Any:
        job = action.job
        if action.stage == "store":
            return _STORE.remote(job, self._work[job.id], self._run)
        if action.stage == "fetch":
            report, work = _FETCH.remote(job)
        else:
            blob, digest = self._blob(job)
            report, work = self._handles[action.actor].dream.remote(job, self._work[job.id], blob, digest, self._run)
        self._work[job.id] = work
        return report

    def _blob(self, job: Job) -> tuple[Any, str]:
        """The weights in the object store, put there once for the run."""
        weights = self._library.weights(job.params.net, job.params.weights)
        if weights.digest not in self._blobs:
            self._blobs[weights.digest] = ray.put(np.frombuffer(weights.data, np.uint8))
        return self._blobs[weights.digest], weights.digest

    def _event(self, action: StartActor | Start, ref: Any) -> Event:
        try:
            report = ray.get(ref)
        except ray.exceptions.RayError as error:
            return _lost(action, error)
        if isinstance(action, StartActor):
            return ActorReady(action.actor)
        job_id, stage = action.job.id, action.stage
        result = report if isinstance(report, Result) else Result(failure=report)
        if result.failure:
            return StageFailed(job_id, stage, result.failure)
        return StageDone(job_id, stage, result.value)


def _lost(action: StartActor | Start, error: ray.exceptions.RayError) -> Event:
    """A process, an actor, a node or an object is gone; what was lost is worth another attempt."""
    what = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    failure = as_failure(WorkerLostError(f"{type(error).__name__}: {what}"))
    if isinstance(action, StartActor):
        return ActorLost(action.actor, failure)
    gone = isinstance(error, ray.exceptions.ActorDiedError | ray.exceptions.ActorUnavailableError)
    if gone and action.actor is not None:
        return ActorLost(action.actor, failure)
    return StageFailed(action.job.id, action.stage, failure)


@contextmanager
def connected(address: str | None, actors: int | None, threads: int) -> Iterator[Layout]:
    """A cluster to work on, and how the actors lie on it: the one we are on, the one at `address`, or a new one here.

    Without `actors` there is one a GPU, or, where there is none, as many actors of `threads` threads as there are
    cores. A cluster that was started or joined here is left at the end.

    Raises:
        RunError: if the cluster does not answer.
    """
    joined = not ray.is_initialized()
    if joined:
        _join(address, actors, threads)
    try:
        yield _lay_out(actors, threads)
    finally:
        if joined:
            ray.shutdown()


def _join(address: str | None, actors: int | None, threads: int) -> None:
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        if address:
            _knock(address)
            ray.init(address=address, **quiet)
        else:
            # "local": without it ray joins whatever cluster it finds on this machine, which may be another person's.
            slots = max(os.cpu_count() or 1, (actors or 1) * threads)
            ray.init(address="local", num_cpus=slots, include_dashboard=False, **quiet)
    except Exception as error:  # ray raises bare ones, as where a node does not start in time
        where = f"at {address!r}" if address else "on this machine"
        hint = "; if it asks for a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH" if address else ""
        raise RunError(f"no Ray cluster {where}: {error}{hint}") from None


def _knock(address: str) -> None:
    """Raise OSError if nobody listens at host:port; Ray itself would go on asking for ten minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=_KNOCK_S).close()


def _lay_out(actors: int | None, threads: int) -> Layout:
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]  # ray leaves it so
    gpus = int(resources.get("GPU", 0))
    if gpus:
        return Layout(actors or gpus, threads, 1)
    return Layout(actors or max(1, int(resources.get("CPU", 1)) // threads), threads, 0)
