"""The scheduler's state: jobs in flight, what waits for what, which actor does what."""

from collections import deque
from dataclasses import dataclass, field

from dreamjobs.fanout import Report
from dreamjobs.jobs import Failure, Job
from dreamjobs.schedule.events import (
    Action,
    ActorLost,
    ActorReady,
    Drop,
    Event,
    Finish,
    GiveUp,
    Limits,
    Part,
    Retry,
    Stage,
    StageDone,
    StageFailed,
    Start,
    StartActor,
)
from dreamjobs.schedule.fan import Fan

_STAGES: tuple[Stage, ...] = ("fetch", "dream", "stitch", "ascend", "store")


@dataclass(frozen=True)
class _Errand:
    """One thing to be done: a stage of a job, or of a part of it."""

    job_id: str
    stage: Stage
    part: Part | None = None


@dataclass
class _Flight:
    """A job in flight; `fan` is set while it is dreamed by tiles."""

    job: Job
    attempt: int = 1
    fan: Fan | None = None


@dataclass
class Scheduler:
    """Holds who works on what; every method returns the actions to carry out, in order."""

    limits: Limits
    restarts: int = 0
    _flights: dict[str, _Flight] = field(default_factory=dict)
    _waiting: dict[Stage, deque[_Errand]] = field(default_factory=lambda: {stage: deque() for stage in _STAGES})
    _running: dict[Stage, int] = field(default_factory=lambda: dict.fromkeys(_STAGES, 0))
    _busy: dict[_Errand, int] = field(default_factory=dict)  # what an actor is at -> the actor
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
        self._waiting["fetch"].append(_Errand(job.id, "fetch"))
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
            case StageDone():
                return self._stage_done(event)
            case StageFailed():
                return self._failed(_Errand(event.job_id, event.stage, event.part), event)

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
        return [self._drop(self._flights[errand.job_id]) for errand in waiting]

    def holds(self, job_id: str) -> bool:
        """Whether the job is in flight."""
        return job_id in self._flights

    @property
    def actors_ready(self) -> int:
        """Actors that are up."""
        return len(self._up)

    @property
    def queues(self) -> dict[Stage, int]:
        """What waits for each stage to begin."""
        return {stage: len(errands) for stage, errands in self._waiting.items()}

    @property
    def dreaming(self) -> int:
        """Actors that are dreaming."""
        return len(self._busy)

    def _stage_done(self, event: StageDone) -> list[Action]:
        flight = self._leave(_Errand(event.job_id, event.stage, event.part))
        if flight is None:
            return self._starts()
        if event.stage == "store":
            return [self._finish(flight, Finish(flight.job, flight.attempt, artifact=event.artifact)), *self._starts()]
        if event.stage == "fetch" and self._draining:
            return [self._drop(flight), *self._starts()]
        if event.plan:
            flight.fan = Fan(event.plan, flight.job.params, flight.attempt, event.state)
            self._begin_round(flight, flight.fan)
        elif event.stage == "stitch":
            self._wait(_Errand(event.job_id, "ascend", event.part))
        elif flight.fan and event.part and event.report:
            self._ascended(flight, flight.fan, event.part, event.report)
        else:
            self._wait(_Errand(event.job_id, "dream" if event.stage == "fetch" else "store"))
        return self._starts()

    def _ascended(self, flight: _Flight, fan: Fan, part: Part, report: Report) -> None:
        if fan.ascended(part, report):
            self._begin_round(flight, fan)

    def _begin_round(self, flight: _Flight, fan: Fan) -> None:
        parts = fan.parts()
        for part in parts:
            self._wait(_Errand(flight.job.id, "stitch", part))
        if not parts:
            self._wait(_Errand(flight.job.id, "store"))

    def _failed(self, errand: _Errand, event: StageFailed) -> list[Action]:
        flight = self._leave(errand)
        if flight is None:
            return self._starts()
        part, failure = event.part, event.failure
        if flight.fan and part and failure.retryable and not event.pixels_lost:
            if flight.fan.failed(part) < self.limits.attempts:
                self._waiting[errand.stage].appendleft(errand)  # this tile alone, its crop is still there
                return self._starts()
            failure = Failure(failure.type, failure.message, retryable=False, traceback=failure.traceback)
        return [*self._attempt_failed(flight, failure), *self._starts()]

    def _attempt_failed(self, flight: _Flight, failure: Failure) -> list[Action]:
        """The job begins again from its fetch, if that may help."""
        self._forget(flight)
        if not failure.retryable or flight.attempt >= self.limits.attempts:
            return [self._finish(flight, Finish(flight.job, flight.attempt, failure=failure))]
        if self._draining:
            return [self._drop(flight)]
        retry = Retry(flight.job, flight.attempt, failure)
        flight.attempt += 1
        flight.fan = None
        self._waiting["fetch"].appendleft(_Errand(flight.job.id, "fetch"))
        return [retry]

    def _forget(self, flight: _Flight) -> None:
        """Nothing of the job waits any more; what is still going on of it will be taken for nothing."""
        if flight.fan:
            for stage, errands in self._waiting.items():
                self._waiting[stage] = deque(errand for errand in errands if errand.job_id != flight.job.id)

    def _actor_lost(self, actor: int, failure: Failure) -> list[Action]:
        if actor in self._idle:
            self._idle.remove(actor)
        lost = [errand for errand, at in self._busy.items() if at == actor]
        actions: list[Action] = self._replace(actor, failure)
        for errand in lost:
            del self._busy[errand]  # the actor does not come back as idle
            actions += self._failed(errand, StageFailed(errand.job_id, errand.stage, failure, errand.part))
        return actions

    def _replace(self, actor: int, failure: Failure) -> list[Action]:
        """Start the actor again, unless its starts keep failing: then do without it, or give up if it was the last."""
        failed = 0 if actor in self._up else self._starting[actor] + 1
        self._up.discard(actor)
        if failed < self.limits.actor_starts:
            self._starting[actor] = failed
            self.restarts += 1
            return [StartActor(actor)]
        del self._starting[actor]
        return [] if self._up or self._starting else [GiveUp(failure)]

    def _leave(self, errand: _Errand) -> _Flight | None:
        """An errand is over and its actor free; its job, unless that has ended or begun again meanwhile."""
        self._running[errand.stage] -= 1
        if errand in self._busy:
            self._idle.append(self._busy.pop(errand))
        flight = self._flights.get(errand.job_id)
        if flight and errand.part and not (flight.fan and flight.fan.is_of(errand.part)):
            return None
        return flight

    def _drop(self, flight: _Flight) -> Drop:
        self._remove(flight)
        return Drop(flight.job)

    def _finish(self, flight: _Flight, finish: Finish) -> Finish:
        self._remove(flight)
        return finish

    def _remove(self, flight: _Flight) -> None:
        del self._flights[flight.job.id]
        self._pixels -= flight.job.pixels

    def _wait(self, errand: _Errand) -> None:
        self._waiting[errand.stage].append(errand)

    def _starts(self) -> list[Action]:
        """Begin whatever may begin: what is nearest its end first, so that memory is freed soonest."""
        actions: list[Action] = []
        while self._waiting["store"] and self._running["store"] < self.limits.stores:
            actions.append(self._start("store"))
        while self._waiting["ascend"] and self._idle:
            actions.append(self._start("ascend", self._idle.popleft()))
        while self._waiting["stitch"] and self._running["stitch"] < self.limits.stores:
            actions.append(self._start("stitch"))
        while self._waiting["dream"] and self._idle:
            actions.append(self._start("dream", self._idle.popleft()))
        while self._waiting["fetch"] and self._running["fetch"] < self.limits.fetches:
            actions.append(self._start("fetch"))
        return actions

    def _start(self, stage: Stage, actor: int | None = None) -> Start:
        errand = self._waiting[stage].popleft()
        flight = self._flights[errand.job_id]
        self._running[stage] += 1
        if actor is not None:
            self._busy[errand] = actor
        if flight.fan is None:
            return Start(flight.job, stage, actor)
        fanned = flight.fan.made() if stage == "store" else None
        return Start(flight.job, stage, actor, errand.part, flight.fan.plan, fanned)
