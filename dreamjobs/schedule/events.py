"""What the scheduler is told and what it asks for."""

from dataclasses import dataclass
from typing import Literal

from dreamjobs.fanout import Fanned, Plan, Report, State
from dreamjobs.jobs import Artifact, Failure, Job

Stage = Literal["fetch", "dream", "stitch", "ascend", "store"]
"""What is done to a job: `dream` to a picture whole, `stitch` and `ascend` to a tile of one that is fanned out."""


@dataclass(frozen=True)
class Limits:
    """Bounds on what is under way at once."""

    actors: int
    jobs: int
    fetches: int
    stores: int
    pixels: int = 400_000_000
    attempts: int = 3
    actor_starts: int = 5


@dataclass(frozen=True)
class Part:
    """A tile in a round of a fanned-out picture, in an attempt at it, and what its steps are divided by.

    `state` is set in the last round of an octave, which is worth keeping: how far the picture was before it.
    """

    attempt: int
    number: int
    index: int
    strengths: tuple[float, ...] = ()
    state: State | None = None


@dataclass(frozen=True)
class ActorReady:
    """An actor can take a job."""

    actor: int


@dataclass(frozen=True)
class ActorLost:
    """An actor died; what it was dreaming is lost."""

    actor: int
    failure: Failure


@dataclass(frozen=True)
class StageDone:
    """A job's stage ended well.

    `fetch` ends with a plan where the picture is to be fanned out, and with how far an earlier attempt at it came;
    `ascend` with a report, `store` with an artifact.
    """

    job_id: str
    stage: Stage
    artifact: Artifact | None = None
    plan: Plan | None = None
    state: State | None = None
    part: Part | None = None
    report: Report | None = None


@dataclass(frozen=True)
class StageFailed:
    """A job's stage failed, or the process or node that worked on it was lost.

    `pixels_lost` says that what it was to work on is gone: the stage alone cannot be done again.
    """

    job_id: str
    stage: Stage
    failure: Failure
    part: Part | None = None
    pixels_lost: bool = False


Event = ActorReady | ActorLost | StageDone | StageFailed


@dataclass(frozen=True)
class StartActor:
    """Start an actor under this number."""

    actor: int


@dataclass(frozen=True)
class Start:
    """Begin a stage of a job: `dream` and `ascend` by an actor, `stitch` and `ascend` of a part of a plan.

    `fanned` is set where a picture is stored that was fanned out.
    """

    job: Job
    stage: Stage
    actor: int | None = None
    part: Part | None = None
    plan: Plan | None = None
    fanned: Fanned | None = None


@dataclass(frozen=True)
class Finish:
    """The job has ended after so many attempts, with an artifact or a failure; forget its pixels."""

    job: Job
    attempts: int
    artifact: Artifact | None = None
    failure: Failure | None = None


@dataclass(frozen=True)
class Drop:
    """The job is let go of, neither done nor failed; forget its pixels."""

    job: Job


@dataclass(frozen=True)
class Retry:
    """So many attempts at the job have failed, the last for this reason; another begins."""

    job: Job
    attempts: int
    failure: Failure


@dataclass(frozen=True)
class GiveUp:
    """Every actor died as it started, again and again: no job will be dreamed."""

    failure: Failure


Action = StartActor | Start | Finish | Drop | Retry | GiveUp
