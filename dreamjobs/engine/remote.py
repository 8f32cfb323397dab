"""The stages as Ray tasks and an actor's methods.

Each call returns a `Result`, which the driver reads, and pixels, which it never does: these travel between processes as
object references. Ray's own retries and restarts are off; `schedule` decides about both.
"""

import functools
import itertools
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray
import ray.exceptions

from dreamjobs import fanout
from dreamjobs.engine.steps import Steps
from dreamjobs.errors import WorkerLostError
from dreamjobs.fanout import Fanned, Plan, Report, State, Task
from dreamjobs.heap import collect_seldom
from dreamjobs.jobs import Job
from dreamjobs.storage import Store
from dreamjobs.weights import Weights
from dreamjobs.worker import Dreamer, Result, Work, attempt, fanned, fetch, make, store
from dreamjobs.worker.kept import Kept


@dataclass(frozen=True)
class Ascent:
    """A round of a group of tiles, but for their pixels.

    Where there is a `state`, their pieces are kept under RUN.
    """

    job: Job
    tasks: tuple[Task, ...]
    strengths: tuple[float, ...]
    state: State | None


@dataclass(frozen=True)
class Begun:
    """A picture that is to be fanned out: its plan, and how far an earlier attempt came."""

    plan: Plan
    state: State | None


def _fetch(job: Job, run: Store) -> tuple[Result, Work | None, Any]:
    """What `Begun` says of a picture that is to be fanned out; the work; and the photograph of such a one in little."""
    result = attempt(fetch, job)
    if result.failure:
        return result, None, None
    work: Work = result.value
    if work.little is None:
        return Result(), work, None
    plan, little = fanout.make_plan(job.params, work.photo.size), work.little.pixels
    state = attempt(Kept(job, run).find, plan, little)
    return Result(Begun(plan, state.value), state.failure), work, little


def _fetch_again(job: Job) -> tuple[Work, Any]:
    """The work of a picture that is fanned out, and the photograph in little; who needs them hears of an error."""
    result = attempt(fetch, job)
    if result.failure:
        raise WorkerLostError(f"the photograph was lost with a node, and now: {result.failure.message}")
    return result.value, result.value.little.pixels


def _restore(job: Job, run: Store, number: int, tiles: tuple[int, ...]) -> Any:
    """A group's pieces that were kept."""
    return tuple(Kept(job, run).piece(number, tile) for tile in tiles)


def _copy(pieces: Any) -> tuple[Result, Any]:
    """Pieces, to lie where this runs too."""
    return Result(), pieces


def _store(job: Job, work: Work, run: Store) -> Result:
    return attempt(store, job, work, run)


def _stitch(tasks: tuple[Task, ...], work: Work, tiles: tuple[int, ...], *groups: Any) -> tuple[Result, Any]:
    """A group's crops; `tiles` are those whose pieces are in `groups`, in order."""
    pieces = dict(zip(tiles, itertools.chain.from_iterable(groups), strict=True))
    result = attempt(fanned.stitch, tasks, work, pieces)
    return Result(failure=result.failure), result.value


def _store_fanned(job: Job, work: Work, made: Fanned, run: Store, pieces: Mapping[int, tuple[Any, ...]]) -> Result:
    return attempt(fanned.store_fanned, job, work, made, _Pieces(pieces, made.plan), run)


class _Pieces(Mapping[int, Any]):
    """Pieces by tile, each brought to this process when it is asked for, since all may be more than a node holds.

    Of each group there are references to it and to its copy. A strip of the picture touches two rows of tiles at most;
    so many are remembered.
    """

    def __init__(self, references: Mapping[int, tuple[Any, ...]], plan: Plan) -> None:
        octave = plan.octaves[-1]
        self._references = references
        self._where = {tile: (group, at) for group, tiles in enumerate(octave.groups) for at, tile in enumerate(tiles)}
        row = sum(tile.owned.y.start == 0 for tile in octave.tiles)
        self._group = functools.lru_cache(maxsize=2 * row)(self._got)

    def __getitem__(self, tile: int) -> Any:
        group, at = self._where[tile]
        return self._group(group)[at]

    def __iter__(self) -> Iterator[int]:
        return iter(self._where)

    def __len__(self) -> int:
        return len(self._where)

    def _got(self, group: int) -> Any:
        lost: Exception | None = None
        for reference in self._references[group]:
            try:
                return ray.get(reference)
            except ray.exceptions.RayError as error:
                lost = error
        raise WorkerLostError(f"pieces of tiles are gone: {lost}")


class _Actor:
    """Holds the nets of one device."""

    def __init__(self, gpus: float) -> None:
        collect_seldom()
        self._dreamer = Dreamer("cuda" if gpus else "cpu")
        self._steps = Steps()

    def ready(self) -> str:
        """Answers when the process is up, torch and all, with the id of its node."""
        import torchvision  # noqa: F401  # and torch: three seconds that the first job need not wait for

        return str(ray.get_runtime_context().get_node_id())

    @ray.method(num_returns=2)
    def dream(self, job: Job, work: Work, blob: Any, digest: str, run: Store) -> tuple[Result, Work | None]:
        result = attempt(self._dream, job, work, _weights(blob, digest), run.url, run)
        return Result(failure=result.failure), result.value

    def make(self, jobs: tuple[Job, ...], blob: Any, digest: str, run: Store) -> list[Result]:
        weights = _weights(blob, digest)
        return make(jobs, lambda job, work: self._dream(job, work, weights, run.url), run)

    @ray.method(num_returns=2)
    def ascend(
        self, ascent: Ascent, crops: tuple[Any, ...], little: Any, blob: Any, digest: str, run: Store
    ) -> tuple[Result, Any]:
        tiles = [fanned.Tile(*each, ascent.strengths, little) for each in zip(ascent.tasks, crops, strict=True)]
        result = attempt(self._ascend_all, ascent, tiles, _weights(blob, digest), run)
        if result.failure:
            return result, None
        report, pieces = result.value
        return Result(value=report), pieces

    def _dream(self, job: Job, work: Work, weights: Weights, run_url: str, keep_in: Store | None = None) -> Work:
        def on_step(done: int, total: int) -> None:
            self._steps.add(1, run_url)

        with _device_errors():
            return self._dreamer.dream(job, work, weights, on_step, keep_in)

    def _ascend_all(
        self, ascent: Ascent, tiles: list[fanned.Tile], weights: Weights, run: Store
    ) -> tuple[Report, tuple[Any, ...]]:
        made = [self._ascend(ascent, tile, weights, run) for tile in tiles]
        steps = tuple(steps for report, _ in made for steps in report.steps)
        seconds = sum(report.seconds for report, _ in made)
        return Report(steps, seconds, self._dreamer.device), tuple(piece for _, piece in made)

    def _ascend(self, ascent: Ascent, tile: fanned.Tile, weights: Weights, run: Store) -> tuple[Report, Any]:
        begun = time.perf_counter()
        with _device_errors():
            made = self._dreamer.ascend(ascent.job, tile, weights)
        report = Report((made.steps,), time.perf_counter() - begun, self._dreamer.device)
        self._steps.add(len(made.steps.objective), run.url)
        if ascent.state:
            Kept(ascent.job, run).put(tile.task, made.piece, ascent.state, report, tile.little)
        return report, made.piece


@contextmanager
def _device_errors() -> Iterator[None]:
    """After an error of the device itself every later call in this process fails too: end it, and be replaced."""
    try:
        yield
    except RuntimeError as error:
        if type(error).__name__ == "AcceleratorError":
            os._exit(1)
        raise


def _weights(blob: Any, digest: str) -> Weights:
    """The blob as it lies in shared memory, not copied until a net is loaded from it."""
    return Weights(memoryview(blob), digest)


# Any: ray's decorators change types in ways that its annotations do not follow.
# No CPU is reserved beside the actors': the scheduler bounds the number of tasks, and actors may have taken every CPU.
_TASK: dict[str, Any] = {"num_cpus": 0, "max_retries": 0}
COPY: Any = ray.remote(**_TASK, num_returns=2)(_copy)
RESTORE: Any = ray.remote(**_TASK)(_restore)
FETCH_AGAIN: Any = ray.remote(**_TASK, num_returns=2)(_fetch_again)
FETCH: Any = ray.remote(**_TASK, num_returns=3)(_fetch)
STITCH: Any = ray.remote(**_TASK, num_returns=2)(_stitch)
STORE: Any = ray.remote(**_TASK)(_store)
STORE_FANNED: Any = ray.remote(**_TASK)(_store_fanned)
ACTOR: Any = ray.remote(max_restarts=0, max_task_retries=0)(_Actor)
