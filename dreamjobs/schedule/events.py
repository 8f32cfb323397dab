"""What the scheduler is told and what it asks for."""

import math
from dataclasses import dataclass, replace
from typing import Literal

from dreamjobs.fanout import Fanned, Plan, Report, State
from dreamjobs.jobs import Artifact, Failure, Job
from dreamjobs.schedule.bundles import BUNDLE_PIXEL_STEPS

Stage = Literal["fetch", "dream", "stitch", "ascend", "copy", "store", "make"]
"""What is done to a job: `dream` to a picture whole; `stitch`, `ascend` and `copy` to tiles of one that is fanned out.

`copy` brings what they came to to a second node.

`make` is all of it, from fetch to store, by an actor that is given several small pictures.
"""


@dataclass(frozen=True)
class Limits:
    """Bounds on what is under way at once.

    `actors` are asked for at the start, and as many are there while there is work for them; `least_actors` stay when
    there is not. Small pictures are made in bundles of `bundle` pixel-steps; with 0 all pass the stages one by one.
    """

    actors: int
    jobs: int
    fetches: int
    stores: int
    pixels: int = 400_000_000
    attempts: int = 3
    actor_starts: int = 5
    least_actors: int = 1
    bundle: int = 0

    @classmethod
    def of(cls, actors: int, least_actors: int = 1) -> "Limits":
        """What is usual: fetches and stores for a quarter of the actors, two jobs or bundles for whoever works."""
        helpers = max(2, math.ceil(actors / 4))
        jobs = 2 * (actors + helpers)
        return cls(actors, jobs, helpers, helpers, least_actors=least_actors, bundle=BUNDLE_PIXEL_STEPS)

    def resized(self, actors: int) -> "Limits":
        """For another number of actors; what was under way may go on, so that no other bound becomes narrower."""
        usual = Limits.of(actors)
        return replace(
            self,
            actors=max(actors, self.least_actors),
            jobs=max(self.jobs, usual.jobs),
            fetches=max(self.fetches, usual.fetches),
            stores=max(self.stores, usual.stores),
        )


@dataclass(frozen=True)
class Part:
    """A group of tiles in a round of a fanned-out picture, in an attempt at it, and what steps are divided by.

    `state` is set in a round that is to be kept: how far the picture was before it.
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
class ActorLeaving:
    """An actor's node is about to go: it can end what it is at, if that is soon, and is to begin nothing."""

    actor: int


@dataclass(frozen=True)
class Capacity:
    """The cluster has room for so many actors, from now on."""

    actors: int


@dataclass(frozen=True)
class StageDone:
    """A job's stage ended well.

    `fetch` ends with a plan where the picture is to be fanned out, and with how far an earlier attempt at it came;
    `ascend` with a report, `store` and `make` with an artifact.
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

    `pixels_lost` says that what it was to work on is gone: the stage alone cannot be done again. `again` is the stage
    from which it can, now that what a node took with it has been replaced.
    """

    job_id: str
    stage: Stage
    failure: Failure
    part: Part | None = None
    pixels_lost: bool = False
    again: Stage | None = None


@dataclass(frozen=True)
class NotBegun:
    """A job of a bundle that took too long: its actor has not begun it and gives it back."""

    job_id: str


Event = ActorReady | ActorLost | ActorLeaving | Capacity | StageDone | StageFailed | NotBegun


@dataclass(frozen=True)
class StartActor:
    """Start an actor under this number."""

    actor: int


@dataclass(frozen=True)
class StopActor:
    """Stop this actor, which has nothing to do or has not come up."""

    actor: int


@dataclass(frozen=True)
class Start:
    """Begin a stage of a job: `dream` and `ascend` by an actor; `stitch`, `ascend` and `copy` of a part of a plan.

    `fanned` is set where a picture is stored that was fanned out.
    """

    job: Job
    stage: Stage
    actor: int | None = None
    part: Part | None = None
    plan: Plan | None = None
    fanned: Fanned | None = None


@dataclass(frozen=True)
class Bundle:
    """Have an actor make these, all of one net; of each is told how its stage `make` ended, or that it has not begun.

    That one, `NotBegun`, is no failed attempt.
    """

    jobs: tuple[Job, ...]
    actor: int


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


Action = StartActor | StopActor | Start | Bundle | Finish | Drop | Retry | GiveUp
