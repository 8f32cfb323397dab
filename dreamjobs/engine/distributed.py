"""The backend that works on a Ray cluster: tasks, actors, and a `ray.wait` over what they report."""

from typing import Any

import numpy as np
import ray
import ray.exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from dreamjobs.engine import told
from dreamjobs.engine.cluster import Layout
from dreamjobs.engine.nodes import Whereabouts, look
from dreamjobs.engine.pixels import Pieces, Pixels
from dreamjobs.engine.remote import ACTOR, COPY, FETCH, FETCH_AGAIN, RESTORE, STITCH, STORE, STORE_FANNED, Ascent, Begun
from dreamjobs.jobs import Job
from dreamjobs.schedule import (
    ActorReady,
    Bundle,
    Event,
    NotBegun,
    Stage,
    Start,
    StartActor,
    StopActor,
)
from dreamjobs.storage import Store
from dreamjobs.worker import Library, Result

_REPORTS_AT_ONCE = 64


class RayBackend:
    """Tasks wherever there is room, actors where the cluster puts them; pixels stay out of this process."""

    def __init__(self, run: Store, library: Library, layout: Layout) -> None:
        self._library, self._need = library, layout.need
        self._whereabouts = Whereabouts(layout.need, grows=layout.grows)
        self._run = ray.put(run)
        self._handles: dict[int | None, Any] = {}
        self._pending: dict[Any, StartActor | Start | Bundle] = {}
        self._placed: dict[Any, str] = {}  # the answer to come of a task -> the node that it was given to
        self._pixels: dict[str, Pixels] = {}
        self._blobs: dict[str, Any] = {}
        self._news: list[Event] = []

    def perform(self, action: StartActor | StopActor | Start | Bundle) -> None:
        match action:
            case StartActor():
                self._start_actor(action)
            case StopActor():
                self._stop_actor(action.actor)
            case Start(stage="copy"):
                self._copy(action)
            case Start():
                self._pending[self._start(action)] = action
            case Bundle(jobs, actor):
                report = self._handles[actor].make.remote(jobs, *self._blob(jobs[0]), self._run)
                self._pending[report] = action

    def events(self, timeout_s: float) -> list[Event]:
        if self._news:
            news, self._news = self._news, []
            return news
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
        self._news.clear()

    def _lost_tasks(self) -> list[Event]:
        """Of tasks on nodes that are gone Ray may tell minutes later, or never."""
        lost = [ref for ref in self._pending if ref in self._placed and self._whereabouts.is_dead(self._placed[ref])]
        error = ray.exceptions.NodeDiedError("of the task")  # type: ignore[no-untyped-call]  # ray leaves it so
        return [event for ref in lost for event in self._lost(self._taken(ref), error)]

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
            self._pixels[job.id] = Pixels(work, little, self._placed[report])
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

    def _store(self, action: Start, pixels: Pixels) -> Any:
        if action.fanned is None:
            return self._task(STORE, action.job, pixels.work, self._run)
        pixels.before.clear()  # no round follows
        return self._task(STORE_FANNED, action.job, pixels.work, action.fanned, self._run, _references(pixels))

    def _stitch(self, action: Start, pixels: Pixels) -> Any:
        part, plan = told.part(action)
        pixels.enter(part)
        groups = plan.needs(part.number, part.index)
        tiles = tuple(tile for group in groups for tile in plan.octave(part.number - 1).groups[group])
        tasks = plan.tasks(action.job.params, part.number, part.index)
        pieces = (pixels.before[group].held for group in groups)
        report, pixels.crops[part.index] = self._task(STITCH, tasks, pixels.work, tiles, *pieces)
        return report

    def _task(self, function: Any, *args: Any) -> Any:
        """Begin a task on the next node; what it returns, of which the first is its report."""
        node = self._whereabouts.place()
        answers = function.options(scheduling_strategy=_on(node)).remote(*args)
        self._placed[answers[0] if isinstance(answers, list) else answers] = node
        return answers

    def _ascend(self, action: Start, pixels: Pixels) -> Any:
        part, plan = told.part(action)
        crops, handle = pixels.crops[part.index], self._handles[action.actor]
        tasks = plan.tasks(action.job.params, part.number, part.index)
        ascent = Ascent(action.job, tasks, part.strengths, part.state)
        report, pieces = handle.ascend.remote(ascent, crops, pixels.little, *self._blob(action.job), self._run)
        pixels.pieces[part.index] = Pieces(pieces, self._whereabouts.of(action.actor))
        return report

    def _copy(self, action: Start) -> None:
        """Have pieces copied to another node; if there is none, that is that."""
        part, _ = told.part(action)
        pieces = self._pixels[action.job.id].pieces[part.index]
        if node := self._whereabouts.another(pieces.node):
            report, pieces.spare = COPY.options(scheduling_strategy=_on(node)).remote(pieces.held)
            pieces.spare_node = self._placed[report] = node
            self._pending[report] = action
        else:
            self._news.append(self._done(action, Result()))

    def _recover(self, job: Job) -> bool:
        """Make do with copies of what a node took with it, and read the photograph again; whether all is there then."""
        pixels, is_dead = self._pixels[job.id], self._whereabouts.is_dead
        self._whereabouts.look_again()
        if is_dead(pixels.node):
            pixels.node = self._whereabouts.place()
            again = FETCH_AGAIN.options(scheduling_strategy=_on(pixels.node))
            pixels.work, pixels.little = again.remote(job)
        return pixels.outlive(is_dead)

    def _restore(self, job: Job, begun: Begun) -> None:
        """Bring back the pieces that the first round is made of, where an earlier attempt left them."""
        if begun.state:
            number = begun.state.number - 1
            kept = (RESTORE.remote(job, self._run, number, group) for group in begun.plan.octave(number).groups)
            self._pixels[job.id].pieces = dict(enumerate(map(Pieces, kept)))

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
            return self._lost(action, error)
        match action:
            case StartActor():
                self._whereabouts.settle(action.actor, report)
                return [ActorReady(action.actor)]
            case Bundle():
                made = [told.made(job, result) for job, result in zip(action.jobs, report, strict=False)]
                return made + [NotBegun(job.id) for job in reversed(action.jobs[len(made) :])]
            case Start():
                return [self._done(action, report)]

    def _done(self, action: Start, report: Result) -> Event:
        pixels = self._pixels.get(action.job.id)
        if isinstance(report.value, Begun):
            self._restore(action.job, report.value)
        if action.stage == "copy" and pixels and action.part and pixels.is_at(action.part):
            pixels.made(action.part)
        return told.done(action, report)

    def _lost(self, action: StartActor | Start | Bundle, error: ray.exceptions.RayError) -> list[Event]:
        if isinstance(action, Start) and told.is_of_pixels(action, error):
            again = self._again(action)
            return [told.failed(action, error, pixels_lost=again is None, again=again)]
        return told.lost(action, error)

    def _again(self, action: Start) -> Stage | None:
        """The stage from which a fanned-out picture goes on after it lost pixels; None if they are not to be had."""
        is_of_fan = action.part is not None or action.fanned is not None
        if action.job.id not in self._pixels or not is_of_fan or not self._recover(action.job):
            return None
        # With an actor the crops are gone, and what they came to before it was copied.
        return "stitch" if action.stage in ("ascend", "copy") else action.stage


def _on(node: str) -> NodeAffinitySchedulingStrategy:
    """On this node, or another if that is gone by then."""
    return NodeAffinitySchedulingStrategy(node, soft=True)


def _references(pixels: Pixels) -> dict[int, tuple[Any, ...]]:
    return {group: pieces.references for group, pieces in pixels.pieces.items()}
