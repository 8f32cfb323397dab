"""What to do next: events in, actions out. No ray, no clock, no I/O, so it is tested with lists.

A job passes three stages: it is fetched (read and decoded), dreamed by an actor, and stored. At most `Limits.jobs`
are between being submitted and being recorded, and no more than `Limits.pixels` together unless it is one alone, so
that memory does not grow with the manifest. An attempt that fails for a reason that may pass, or is lost with its
actor or node, starts again from the fetch, `Limits.attempts` times in all; any other failure is recorded at once. A
job that kills its actors is therefore a failed job, and a lost actor is replaced. Draining ends what an actor has begun
and drops the rest.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from dreamjobs.jobs import Artifact, Failure, Job

Stage = Literal["fetch", "dream", "store"]


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
    """A job's stage ended well; `store` ends with an artifact."""

    job_id: str
    stage: Stage
    artifact: Artifact | None = None


@dataclass(frozen=True)
class StageFailed:
    """A job's stage failed, or the process or node that worked on it was lost."""

    job_id: str
    stage: Stage
    failure: Failure


Event = ActorReady | ActorLost | StageDone | StageFailed


@dataclass(frozen=True)
class StartActor:
    """Start an actor under this number."""

    actor: int


@dataclass(frozen=True)
class Start:
    """Begin a stage of a job; `actor` is set for `dream`."""

    job: Job
    stage: Stage
    actor: int | None = None


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
class GiveUp:
    """Every actor died as it started, again and again: no job will be dreamed."""

    failure: Failure


Action = StartActor | Start | Finish | Drop | GiveUp


@dataclass
class _Flight:
    """Where a job in flight is: in which stage, waiting for it or in it."""

    job: Job
    attempt: int = 1
    stage: Stage = "fetch"
    actor: int | None = None


@dataclass
class Scheduler:
    """Holds who works on what; every method returns the actions to carry out, in order."""

    limits: Limits
    _flights: dict[str, _Flight] = field(default_factory=dict)
    _waiting: dict[Stage, deque[str]] = field(
        default_factory=lambda: {"fetch": deque(), "dream": deque(), "store": deque()}
    )
    _running: dict[Stage, int] = field(default_factory=lambda: {"fetch": 0, "dream": 0, "store": 0})
    _idle: deque[int] = field(default_factory=deque)
    _pixels: int = 0
    _up: set[int] = field(default_factory=set)
    _starting: dict[int, int] = field(default_factory=dict)  # actor -> how often its start failed in a row
    _draining: bool = False

    def begin(self) -> list[Action]:
        """Start the actors."""
        self._starting = dict.fromkeys(range(self.limits.actors), 0)
        return [StartActor(actor) for actor in self._starting]

    def has_room(self, job: Job) -> bool:
        """Whether `job` may be submitted now."""
        if not self._flights:
            return True
        return len(self._flights) < self.limits.jobs and self._pixels + job.pixels <= self.limits.pixels

    def submit(self, job: Job) -> list[Action]:
        """Take a job on."""
        self._flights[job.id] = _Flight(job)
        self._pixels += job.pixels
        self._waiting["fetch"].append(job.id)
        return self._starts()

    def handle(self, event: Event) -> list[Action]:
        """Take note of what happened."""
        match event:
            case ActorReady(actor):
                self._idle.append(actor)
                self._up.add(actor)
                del self._starting[actor]
                return self._starts()
            case ActorLost(actor, failure):
                return self._actor_lost(actor, failure)
            case StageDone(job_id, stage, artifact):
                return self._stage_done(job_id, stage, artifact)
            case StageFailed(job_id, _, failure):
                return self._attempt_failed(job_id, failure)

    @property
    def in_flight(self) -> int:
        """Jobs submitted and not finished."""
        return len(self._flights)

    def drain(self) -> list[Action]:
        """Let go of every job that no actor has begun; a photograph being fetched is let go of when it comes."""
        self._draining = True
        waiting = [*self._waiting["fetch"], *self._waiting["dream"]]
        self._waiting["fetch"].clear()
        self._waiting["dream"].clear()
        return [self._drop(self._flights[job_id]) for job_id in waiting]

    def holds(self, job_id: str) -> bool:
        """Whether the job is in flight."""
        return job_id in self._flights

    @property
    def actors_ready(self) -> int:
        """Actors that are up."""
        return len(self._up)

    @property
    def dreaming(self) -> int:
        """Jobs that an actor is dreaming."""
        return self._running["dream"]

    def _stage_done(self, job_id: str, stage: Stage, artifact: Artifact | None) -> list[Action]:
        flight = self._leave(job_id)
        if stage == "store":
            return [self._finish(flight, artifact=artifact), *self._starts()]
        if stage == "fetch" and self._draining:
            return [self._drop(flight), *self._starts()]
        flight.stage = "dream" if stage == "fetch" else "store"
        self._waiting[flight.stage].append(job_id)
        return self._starts()

    def _attempt_failed(self, job_id: str, failure: Failure) -> list[Action]:
        flight = self._leave(job_id)
        if not failure.retryable or flight.attempt >= self.limits.attempts:
            return [self._finish(flight, failure=failure), *self._starts()]
        if self._draining:
            return [self._drop(flight), *self._starts()]
        flight.attempt += 1
        flight.stage = "fetch"
        self._waiting["fetch"].appendleft(job_id)
        return self._starts()

    def _actor_lost(self, actor: int, failure: Failure) -> list[Action]:
        if actor in self._idle:
            self._idle.remove(actor)
        lost = [flight.job.id for flight in self._flights.values() if flight.actor == actor]
        for job_id in lost:
            self._flights[job_id].actor = None  # it does not come back as idle
        actions: list[Action] = self._replace(actor, failure)
        for job_id in lost:
            actions += self._attempt_failed(job_id, failure)
        return actions

    def _replace(self, actor: int, failure: Failure) -> list[Action]:
        """Start the actor again, unless its starts keep failing: then do without it, or give up if it was the last."""
        failed = 0 if actor in self._up else self._starting[actor] + 1
        self._up.discard(actor)
        if failed < self.limits.actor_starts:
            self._starting[actor] = failed
            return [StartActor(actor)]
        del self._starting[actor]
        return [] if self._up or self._starting else [GiveUp(failure)]

    def _leave(self, job_id: str) -> _Flight:
        """The job is no longer in the stage it was in; its actor, if it has one, is free."""
        flight = self._flights[job_id]
        self._running[flight.stage] -= 1
        if flight.actor is not None:
            self._idle.append(flight.actor)
            flight.actor = None
        return flight

    def _drop(self, flight: _Flight) -> Drop:
        del self._flights[flight.job.id]
        self._pixels -= flight.job.pixels
        return Drop(flight.job)

    def _finish(self, flight: _Flight, *, artifact: Artifact | None = None, failure: Failure | None = None) -> Finish:
        del self._flights[flight.job.id]
        self._pixels -= flight.job.pixels
        return Finish(flight.job, flight.attempt, artifact, failure)

    def _starts(self) -> list[Action]:
        """Begin whatever may begin: what is nearest its end first, so that memory is freed soonest."""
        actions: list[Action] = []
        while self._waiting["store"] and self._running["store"] < self.limits.stores:
            actions.append(self._start("store"))
        while self._waiting["dream"] and self._idle:
            actions.append(self._start("dream", self._idle.popleft()))
        while self._waiting["fetch"] and self._running["fetch"] < self.limits.fetches:
            actions.append(self._start("fetch"))
        return actions

    def _start(self, stage: Stage, actor: int | None = None) -> Start:
        flight = self._flights[self._waiting[stage].popleft()]
        flight.stage, flight.actor = stage, actor
        self._running[stage] += 1
        return Start(flight.job, stage, actor)
