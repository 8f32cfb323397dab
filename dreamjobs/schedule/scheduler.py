"""The scheduler's state: jobs in flight, what waits for what, which actor does what."""

import math
from dataclasses import dataclass, field

from dreamjobs.jobs import Failure, Job
from dreamjobs.schedule.bundles import bundled
from dreamjobs.schedule.events import (
    Action,
    ActorLeaving,
    ActorLost,
    ActorReady,
    Bundle,
    Capacity,
    Drop,
    Event,
    Finish,
    GiveUp,
    Limits,
    NotBegun,
    Retry,
    Stage,
    StageDone,
    StageFailed,
    Start,
)
from dreamjobs.schedule.fan import Fan
from dreamjobs.schedule.flights import Flight, Flights
from dreamjobs.schedule.queues import Errand, Queues
from dreamjobs.schedule.roster import Roster

_UNBEGUN: tuple[Stage, ...] = ("fetch", "dream", "make")
"""What no actor has begun waits for one of these."""


@dataclass
class Scheduler:
    """Holds who works on what; every method returns the actions to carry out, in order."""

    limits: Limits
    _flights: Flights = field(default_factory=Flights)
    _queues: Queues = field(default_factory=Queues)
    _closed: bool = False
    _draining: bool = False

    def __post_init__(self) -> None:
        self._roster = Roster(self.limits.actor_starts)

    def begin(self) -> list[Action]:
        """Start the actors."""
        return self._fit()

    def has_room(self, job: Job) -> bool:
        """Whether `job` may be submitted now."""
        return self._flights.has_room(job, self.limits)

    def submit(self, job: Job) -> list[Action]:
        """Take a job on."""
        flight = self._flights.add(job, self.limits)
        self._queues.put(Errand(job.id, "make" if flight.is_small else "fetch"))
        return self._starts()

    def handle(self, event: Event) -> list[Action]:
        """Take note of what happened."""
        return [*self._take_note(event), *self._fit()]

    def close(self) -> list[Action]:
        """No more jobs will be submitted: actors that nothing is left for are given back."""
        self._closed = True
        return self._fit()

    @property
    def in_flight(self) -> int:
        """Jobs submitted and not finished."""
        return len(self._flights)

    def drain(self) -> list[Action]:
        """Let go of every job that no actor has begun; a photograph being fetched is let go of when it comes."""
        self._draining = self._closed = True
        waiting = [errand for stage in _UNBEGUN for errand in self._queues.clear(stage)]
        return [*(self._drop(self._flights[errand.job_id]) for errand in waiting), *self._fit()]

    def holds(self, job_id: str) -> bool:
        """Whether the job is in flight."""
        return job_id in self._flights

    @property
    def actors_ready(self) -> int:
        """Actors that are up."""
        return self._roster.up

    @property
    def restarts(self) -> int:
        """Actors that were started in place of one that died."""
        return self._roster.restarts

    @property
    def queues(self) -> dict[Stage, int]:
        """What waits for each stage to begin."""
        return self._queues.depths()

    @property
    def shares(self) -> tuple[float, ...]:
        """How much is dreamed, in [0, 1], of each picture that many actors dream together, of what was left of it."""
        return self._flights.shares

    @property
    def dreaming(self) -> int:
        """Actors that are dreaming."""
        return self._roster.busy

    def _take_note(self, event: Event) -> list[Action]:
        match event:
            case ActorReady(actor):
                self._roster.ready(actor)
                return self._starts()
            case ActorLeaving(actor):
                self._roster.leave(actor)
                return []
            case ActorLost(actor, failure):
                return self._actor_lost(actor, failure)
            case Capacity(actors):
                self.limits = self.limits.resized(actors)
                return self._starts()
            case StageDone():
                return self._stage_done(event)
            case StageFailed():
                return self._failed(Errand(event.job_id, event.stage, event.part), event)
            case NotBegun(job_id):
                return self._given_back(Errand(job_id, "make"))

    def _fit(self) -> list[Action]:
        """As many actors as there may be while there is work for all; those that have work, and the least, at the end.

        A picture that is being fetched may turn out to be one that all are to dream: meanwhile they stay.
        """
        actors, roster, queues = self.limits.actors, self._roster, self._queues
        if not self._closed or self._flights.any_fanned:
            return roster.fit(actors)
        unbegun = queues.running["fetch"] + sum(len(queues.waiting[stage]) for stage in _UNBEGUN)
        needed = min(actors, max(self.limits.least_actors, roster.busy + unbegun))
        if queues.at("fetch"):
            return roster.fit(max(needed, roster.count))
        return [*roster.fit(needed), *roster.give_back(needed)]

    def _stage_done(self, event: StageDone) -> list[Action]:
        flight = self._leave(Errand(event.job_id, event.stage, event.part))
        if flight is None:
            return self._starts()
        if event.stage in ("store", "make"):
            return [self._finish(flight, Finish(flight.job, flight.attempt, artifact=event.artifact)), *self._starts()]
        if event.stage == "fetch" and self._draining:
            return [self._drop(flight), *self._starts()]
        if event.plan:
            fan = Fan(event.plan, flight.job.params, flight.attempt, event.state)
            flight.fan_out(fan, self.limits.attempts)
            self._begin_round(flight, fan)
        elif event.stage == "stitch":
            self._queues.put(Errand(event.job_id, "ascend", event.part))
        elif flight.fan and event.part and event.report:
            flight.fan.ascended(event.part, event.report)
            self._queues.put(Errand(event.job_id, "copy", event.part))
        elif flight.fan and event.part:
            if flight.fan.copied(event.part):
                self._begin_round(flight, flight.fan)
        else:
            self._queues.put(Errand(event.job_id, "dream" if event.stage == "fetch" else "store"))
        return self._starts()

    def _given_back(self, errand: Errand) -> list[Action]:
        flight = self._leave(errand)
        if flight and self._draining:
            return [self._drop(flight), *self._starts()]
        if flight:
            self._queues.put_first(errand)
        return self._starts()

    def _begin_round(self, flight: Flight, fan: Fan) -> None:
        parts = fan.parts()
        for part in parts:
            self._queues.put(Errand(flight.job.id, "stitch", part))
        if not parts:
            self._queues.put(Errand(flight.job.id, "store"))

    def _failed(self, errand: Errand, event: StageFailed) -> list[Action]:
        flight = self._leave(errand)
        if flight is None:
            return self._starts()
        part, failure = event.part, event.failure
        if flight.fan and failure.retryable and not event.pixels_lost:
            if flight.fan.failed(part) < self.limits.attempts:  # these tiles alone, or the store
                self._queues.put_first(Errand(event.job_id, event.again or event.stage, part))
                return self._starts()
            if part and not event.again:
                failure = Failure(failure.type, failure.message, retryable=False, traceback=failure.traceback)
        return [*self._attempt_failed(flight, failure), *self._starts()]

    def _attempt_failed(self, flight: Flight, failure: Failure) -> list[Action]:
        """The job begins again from its fetch, if that may help; what still runs of it will be taken for nothing."""
        if flight.fan:
            self._queues.forget(flight.job.id)
        if not failure.retryable or flight.attempt >= flight.last_attempt:
            return [self._finish(flight, Finish(flight.job, flight.attempt, failure=failure))]
        if self._draining:
            return [self._drop(flight)]
        retry = Retry(flight.job, flight.attempt, failure)
        flight.attempt += 1
        flight.fan = None
        self._queues.put_first(Errand(flight.job.id, "fetch"))
        return [retry]

    def _actor_lost(self, actor: int, failure: Failure) -> list[Action]:
        interrupted = self._roster.interrupted(actor)
        actions = self._roster.lost(actor)
        if self._roster.is_lost:
            actions.append(GiveUp(failure))
        for errand in interrupted:
            actions += self._failed(errand, StageFailed(errand.job_id, errand.stage, failure, errand.part))
        return actions

    def _leave(self, errand: Errand) -> Flight | None:
        """An errand is over and its actor free; its job, unless that has ended or begun again meanwhile."""
        self._queues.ended(errand)
        self._roster.ended(errand)
        flight = self._flights.get(errand.job_id)
        if flight and errand.part and not (flight.fan and flight.fan.is_of(errand.part)):
            return None
        return flight

    def _drop(self, flight: Flight) -> Drop:
        self._flights.remove(flight)
        return Drop(flight.job)

    def _finish(self, flight: Flight, finish: Finish) -> Finish:
        self._flights.remove(flight)
        return finish

    def _starts(self) -> list[Action]:
        """Begin whatever may begin: what is nearest its end first, so that memory is freed soonest."""
        waiting, running, roster = self._queues.waiting, self._queues.running, self._roster
        actions: list[Action] = []
        while waiting["store"] and running["store"] < self.limits.stores:
            actions.append(self._start("store"))
        while waiting["copy"]:
            actions.append(self._start("copy"))
        while waiting["ascend"] and roster.has_idle:
            actions.append(self._start("ascend"))
        while waiting["stitch"] and running["stitch"] < self._stitches:
            actions.append(self._start("stitch"))
        while waiting["dream"] and roster.has_idle:
            actions.append(self._start("dream"))
        while waiting["make"] and roster.has_idle:
            actions.append(self._bundle())
        while waiting["fetch"] and running["fetch"] < self.limits.fetches:
            actions.append(self._start("fetch"))
        return actions

    @property
    def _stitches(self) -> int:
        """How many may be stitched at once: crops that no actor comes to soon would only fill memory."""
        ahead = 2 * self.limits.actors - len(self._queues.waiting["ascend"])
        return min(self.limits.stores, ahead)

    def _start(self, stage: Stage) -> Start:
        errand = self._queues.take(stage)
        flight = self._flights[errand.job_id]
        actor = self._roster.give(errand) if stage in ("dream", "ascend") else None
        if flight.fan is None:
            return Start(flight.job, stage, actor)
        fanned = flight.fan.made() if stage == "store" else None
        return Start(flight.job, stage, actor, errand.part, flight.fan.plan, fanned)

    def _bundle(self) -> Bundle:
        """What an idle actor makes next: its share of the small pictures that wait, if that is not too much."""
        waiting = self._queues.waiting["make"]
        share = math.ceil(len(waiting) / max(1, self._roster.staying))
        jobs = tuple(bundled((self._flights[errand.job_id].job for errand in waiting), self.limits.bundle, share))
        errands = [Errand(job.id, "make") for job in jobs]
        self._queues.take_these(errands)
        return Bundle(jobs, self._roster.give(*errands))
