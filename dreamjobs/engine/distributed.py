"""The backend that works on a Ray cluster: tasks, actors, and a `ray.wait` over what they report."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import ray
import ray.exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from dreamjobs.engine.cluster import Layout
from dreamjobs.engine.nodes import Whereabouts, look
from dreamjobs.engine.remote import ACTOR, FETCH, RESTORE, STITCH, STORE, STORE_FANNED, Ascent, Begun
from dreamjobs.errors import WorkerLostError
from dreamjobs.fanout import Task
from dreamjobs.jobs import Job
from dreamjobs.schedule import (
    ActorLost,
    ActorReady,
    Bundle,
    Event,
    NotBegun,
    Part,
    StageDone,
    StageFailed,
    Start,
    StartActor,
    StopActor,
)
from dreamjobs.storage import Store
from dreamjobs.worker import Library, Result, as_failure

_REPORTS_AT_ONCE = 64


@dataclass
class _Pixels:
    """References to the pixels of one job in flight: the work, and of a fanned-out picture what its tiles came to."""

    work: Any
    little: Any = None
    crops: dict[int, Any] = field(default_factory=dict)  # tile -> its crop in the round
    before: dict[int, Any] = field(default_factory=dict)  # tile -> its piece of the round before
    pieces: dict[int, Any] = field(default_factory=dict)  # tile -> its piece of the round
    round: tuple[int, int] = (0, -1)  # attempt and number

    def made(self, part: Part) -> None:
        """A tile's round is over and its crop no longer needed, unless that was of an attempt that is over too."""
        if self.round == (part.attempt, part.number):
            self.crops.pop(part.index, None)

    def enter(self, part: Part) -> None:
        """Go on to the round of a part, if it is the first of it: what is older than one round is let go of."""
        if self.round != (part.attempt, part.number):
            self.round = part.attempt, part.number
            self.before, self.pieces, self.crops = self.pieces, {}, {}


class RayBackend:
    """Tasks wherever there is room, actors where the cluster puts them; pixels stay out of this process."""

    def __init__(self, run: Store, library: Library, layout: Layout) -> None:
        self._library, self._need = library, layout.need
        self._whereabouts = Whereabouts(layout.need, grows=layout.grows)
        self._run = ray.put(run)
        self._handles: dict[int | None, Any] = {}
        self._pending: dict[Any, StartActor | Start | Bundle] = {}
        self._placed: dict[Any, str] = {}  # the answer to come of a task -> the node that it was given to
        self._pixels: dict[str, _Pixels] = {}
        self._blobs: dict[str, Any] = {}

    def perform(self, action: StartActor | StopActor | Start | Bundle) -> None:
        match action:
            case StartActor():
                self._start_actor(action)
            case StopActor():
                self._stop_actor(action.actor)
            case Start():
                self._pending[self._start(action)] = action
            case Bundle(jobs, actor):
                report = self._handles[actor].make.remote(jobs, *self._blob(jobs[0]), self._run)
                self._pending[report] = action

    def events(self, timeout_s: float) -> list[Event]:
        if self._whereabouts.is_due():
            at_work = [action.actor for action in self._pending.values() if action.actor is not None]
            if news := [*self._whereabouts.news(look(), at_work), *self._lost_tasks()]:
                return news
        if not self._pending:
            return []
        count = min(len(self._pending), _REPORTS_AT_ONCE)
        ready, _ = ray.wait(list(self._pending), num_returns=count, timeout=0)
        if not ready:
            ready, _ = ray.wait(list(self._pending), num_returns=1, timeout=timeout_s)
        return [event for ref in ready for event in self._told(ref)]

    def forget(self, job: Job) -> None:
        self._pixels.pop(job.id, None)

    def close(self) -> None:
        for handle in self._handles.values():
            ray.kill(handle)
        self._handles.clear()
        self._pending.clear()
        self._placed.clear()
        self._pixels.clear()

    def _lost_tasks(self) -> list[Event]:
        """Of tasks on nodes that are gone Ray may tell minutes later, or never."""
        lost = [ref for ref in self._pending if ref in self._placed and self._whereabouts.is_dead(self._placed[ref])]
        error = ray.exceptions.NodeDiedError("of the task")  # type: ignore[no-untyped-call]  # ray leaves it so
        return [event for ref in lost for event in _lost(self._taken(ref), error)]

    def _taken(self, ref: Any) -> StartActor | Start | Bundle:
        self._placed.pop(ref, None)
        return self._pending.pop(ref)

    def _start_actor(self, action: StartActor) -> None:
        self._stop_actor(action.actor)  # one that is only unavailable must not come back beside its successor
        handle = ACTOR.options(num_cpus=self._need.threads, num_gpus=self._need.gpus).remote(self._need.gpus)
        self._handles[action.actor] = handle
        self._pending[handle.ready.remote()] = action

    def _stop_actor(self, actor: int) -> None:
        """End an actor, if there is one of this number, and what might still be told of it."""
        if handle := self._handles.pop(actor, None):
            ray.kill(handle)
            self._pending = {ref: action for ref, action in self._pending.items() if action.actor != actor}
            self._whereabouts.forget(actor)

    def _start(self, action: Start) -> Any:
        job = action.job
        if action.stage == "fetch":
            report, work, little = self._task(FETCH, job, self._run)
            self._pixels[job.id] = _Pixels(work, little)
            return report
        pixels = self._pixels[job.id]
        match action.stage:
            case "dream":
                handle = self._handles[action.actor]
                report, pixels.work = handle.dream.remote(job, pixels.work, *self._blob(job), self._run)
                return report
            case "store":
                return self._store(action, pixels)
            case "stitch":
                return self._stitch(action, pixels)
            case "ascend":
                return self._ascend(action, pixels)

    def _store(self, action: Start, pixels: _Pixels) -> Any:
        if action.fanned is None:
            return self._task(STORE, action.job, pixels.work, self._run)
        return self._task(STORE_FANNED, action.job, pixels.work, action.fanned, self._run, dict(pixels.pieces))

    def _stitch(self, action: Start, pixels: _Pixels) -> Any:
        part, task = _part(action)
        pixels.enter(part)
        tiles = task.plan.needs(part.number, part.index)
        pieces = (pixels.before[tile] for tile in tiles)
        report, pixels.crops[part.index] = self._task(STITCH, task, pixels.work, tiles, *pieces)
        return report

    def _task(self, function: Any, *args: Any) -> Any:
        """Begin a task on the next node; what it returns, of which the first is its report."""
        node = self._whereabouts.place()
        answers = function.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=True)).remote(*args)
        self._placed[answers[0] if isinstance(answers, list) else answers] = node
        return answers

    def _ascend(self, action: Start, pixels: _Pixels) -> Any:
        part, task = _part(action)
        crop, handle = pixels.crops[part.index], self._handles[action.actor]
        ascent = Ascent(action.job, task, part.strengths, part.state)
        report, pixels.pieces[part.index] = handle.ascend.remote(
            ascent, crop, pixels.little, *self._blob(action.job), self._run
        )
        return report

    def _restore(self, job: Job, begun: Begun) -> None:
        """Bring back the pieces that the first round is made of, where an earlier attempt left them."""
        if begun.state:
            number = begun.state.number - 1
            tiles = len(begun.plan.octaves[begun.plan.rounds[number].octave].tiles)
            self._pixels[job.id].pieces = {tile: RESTORE.remote(job, self._run, number, tile) for tile in range(tiles)}

    def _blob(self, job: Job) -> tuple[Any, str]:
        """The weights in the object store, put there once for the run."""
        weights = self._library.weights(job.params.net, job.params.weights)
        if weights.digest not in self._blobs:
            self._blobs[weights.digest] = ray.put(np.frombuffer(weights.data, np.uint8))
        return self._blobs[weights.digest], weights.digest

    def _told(self, ref: Any) -> list[Event]:
        """What has come of an action."""
        node = self._placed.get(ref)
        action = self._taken(ref)
        try:
            report = ray.get(ref)
        except ray.exceptions.RayError as error:
            self._whereabouts.doubt(node, action.actor)
            return _lost(action, error)
        match action:
            case StartActor():
                self._whereabouts.settle(action.actor, report)
                return [ActorReady(action.actor)]
            case Bundle():
                made = [_made(job, result) for job, result in zip(action.jobs, report, strict=False)]
                return made + [NotBegun(job.id) for job in reversed(action.jobs[len(made) :])]
            case Start():
                if isinstance(report.value, Begun):
                    self._restore(action.job, report.value)
                pixels = self._pixels.get(action.job.id)
                if action.stage == "ascend" and action.part and pixels and not report.failure:
                    pixels.made(action.part)
                return [_done(action, report)]


def _part(action: Start) -> tuple[Part, Task]:
    """The part of a picture that an action is about, in short and in full."""
    if action.part is None or action.plan is None:
        raise ValueError(f"{action.stage} without a part")
    return action.part, Task(action.plan, action.job.params, action.part.number, action.part.index)


def _made(job: Job, result: Result) -> Event:
    """What came of a picture in a bundle."""
    if result.failure:
        return StageFailed(job.id, "make", result.failure)
    return StageDone(job.id, "make", result.value)


def _done(action: Start, result: Result) -> Event:
    """What a stage reported."""
    job_id, stage, part, value = action.job.id, action.stage, action.part, result.value
    if result.failure:
        return StageFailed(job_id, stage, result.failure, part)
    return StageDone(
        job_id,
        stage,
        artifact=value if stage == "store" else None,
        plan=value.plan if isinstance(value, Begun) else None,
        state=value.state if isinstance(value, Begun) else None,
        part=part,
        report=value if stage == "ascend" else None,
    )


def _lost(action: StartActor | Start | Bundle, error: ray.exceptions.RayError) -> list[Event]:
    """A process, an actor, a node or an object is gone; what was lost is worth another attempt."""
    what = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    failure = as_failure(WorkerLostError(f"{type(error).__name__}: {what}"))
    if isinstance(action, StartActor):
        return [ActorLost(action.actor, failure)]
    gone = isinstance(error, ray.exceptions.ActorDiedError | ray.exceptions.ActorUnavailableError)
    if gone and action.actor is not None:
        return [ActorLost(action.actor, failure)]
    if isinstance(action, Bundle):
        return [StageFailed(job.id, "make", failure) for job in action.jobs]
    # Stages tell of their own errors in what they report: what Ray tells of one is that of whoever was to bring pixels.
    pixels_lost = isinstance(error, ray.exceptions.ObjectLostError | ray.exceptions.RayTaskError)
    return [StageFailed(action.job.id, action.stage, failure, action.part, pixels_lost)]
