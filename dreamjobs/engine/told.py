"""What an action's answer, or its loss, tells the scheduler."""

from typing import Any

import ray.exceptions

from dreamjobs.engine.remote import Begun
from dreamjobs.errors import WorkerLostError
from dreamjobs.fanout import Plan
from dreamjobs.jobs import Failure, Job
from dreamjobs.schedule import ActorLost, Bundle, Event, Part, StageDone, StageFailed, Start, StartActor
from dreamjobs.worker import Result, as_failure


def is_of_pixels(action: Start, error: ray.exceptions.RayError) -> bool:
    """Whether it was pixels that were lost, and not whoever worked on them.

    Stages tell of their own errors in what they report: what Ray tells of one is that of whoever was to bring it its
    pixels.
    """
    lost = isinstance(error, ray.exceptions.ObjectLostError | ray.exceptions.RayTaskError)
    return lost and not _is_actors(action, error)


def lost(action: StartActor | Start | Bundle, error: ray.exceptions.RayError) -> list[Event]:
    """A process, an actor or a node is gone; what was lost is worth another attempt."""
    if action.actor is not None and (isinstance(action, StartActor) or _is_actors(action, error)):
        return [ActorLost(action.actor, _failure(error))]
    if isinstance(action, Bundle):
        return [StageFailed(job.id, "make", _failure(error)) for job in action.jobs]
    return [failed(action, error)]


def failed(action: Start, error: ray.exceptions.RayError, **more: Any) -> StageFailed:
    """A stage failed by this error."""
    return StageFailed(action.job.id, action.stage, _failure(error), action.part, **more)


def _is_actors(action: StartActor | Start | Bundle, error: ray.exceptions.RayError) -> bool:
    gone = isinstance(error, ray.exceptions.ActorDiedError | ray.exceptions.ActorUnavailableError)
    return gone and action.actor is not None


def _failure(error: ray.exceptions.RayError) -> Failure:
    what = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return as_failure(WorkerLostError(f"{type(error).__name__}: {what}"))


def part(action: Start) -> tuple[Part, Plan]:
    """The part of a picture that an action is about, and the plan that it is of."""
    if action.part is None or action.plan is None:
        raise ValueError(f"{action.stage} without a part")
    return action.part, action.plan


def made(job: Job, result: Result) -> Event:
    """What came of a picture in a bundle."""
    if result.failure:
        return StageFailed(job.id, "make", result.failure)
    return StageDone(job.id, "make", result.value)


def done(action: Start, result: Result) -> Event:
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
