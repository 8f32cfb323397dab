"""A cluster made of lists: does what the scheduler says, and checks what it may never say."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from dreamjobs.jobs import Artifact, Failure, Job, Seconds, Source
from dreamjobs.params import DreamParams
from dreamjobs.schedule import (
    Action,
    ActorLeaving,
    ActorLost,
    ActorReady,
    Event,
    Finish,
    GiveUp,
    Limits,
    Scheduler,
    StageDone,
    StageFailed,
    Start,
    StartActor,
    StopActor,
)

PARAMS = DreamParams()
INPUT = Failure("ImageError", "not a picture", retryable=False)
PASSING = Failure("StorageError", "did not answer", retryable=True)
LOST = Failure("WorkerLostError", "died", retryable=True)
ARTIFACT = Artifact("images/a.jpg", "00", 1, 1, 1, 1, 1, (), Seconds(), "cpu", "node", "node:1")
LIMITS = Limits(actors=2, jobs=6, fetches=3, stores=2, pixels=1000)


def job(number: int, pixels: int = 10) -> Job:
    return Job(number, Source(f"{number}.jpg", f"{number}.jpg", 1, "", pixels, 1), PARAMS, "w")


@dataclass
class World:
    """Does what the scheduler says, checks its bounds, and lets a test say what happens next."""

    limits: Limits
    scheduler: Scheduler = field(init=False)
    running: dict[str, Start] = field(default_factory=dict)
    starting: list[int] = field(default_factory=list)
    up: set[int] = field(default_factory=set)
    leaving: set[int] = field(default_factory=set)
    stopped: list[int] = field(default_factory=list)
    finished: list[Finish] = field(default_factory=list)
    started: list[Start] = field(default_factory=list)
    given_up: GiveUp | None = None

    def __post_init__(self) -> None:
        self.scheduler = Scheduler(self.limits)
        self.carry_out(self.scheduler.begin())

    def carry_out(self, actions: list[Action]) -> list[Action]:
        for action in actions:
            match action:
                case StartActor(actor):
                    assert actor not in self.starting
                    assert actor not in self.up
                    self.starting.append(actor)
                case StopActor(actor):
                    assert actor not in {start.actor for start in self.running.values()}
                    self.starting = [other for other in self.starting if other != actor]
                    self.up.discard(actor)
                    self.leaving.discard(actor)
                    self.stopped.append(actor)
                case Start(work, stage, actor):
                    assert work.id not in self.running
                    assert (actor is not None) == (stage == "dream")
                    assert actor is None or actor in self.up - self.leaving
                    assert actor is None or actor not in {start.actor for start in self.running.values()}
                    self.running[work.id] = action
                    self.started.append(action)
                case Finish(work):
                    assert work.id not in self.running
                    self.finished.append(action)
                case GiveUp():
                    self.given_up = action
        self.check_bounds()
        return actions

    def check_bounds(self) -> None:
        stages = Counter(start.stage for start in self.running.values())
        assert stages["fetch"] <= self.scheduler.limits.fetches
        assert stages["store"] <= self.scheduler.limits.stores
        assert stages["dream"] == self.scheduler.dreaming <= len(self.up)
        assert self.scheduler.in_flight <= self.scheduler.limits.jobs
        assert self.scheduler.actors_ready == len(self.up)

    def tell(self, event: Event) -> list[Action]:
        return self.carry_out(self.scheduler.handle(event))

    def submit(self, *jobs: Job) -> list[Action]:
        return [action for one in jobs for action in self.carry_out(self.scheduler.submit(one))]

    def ready(self, actor: int) -> list[Action]:
        self.starting.remove(actor)
        self.up.add(actor)
        return self.tell(ActorReady(actor))

    def succeed(self, work: Job) -> list[Action]:
        start = self.running.pop(work.id)
        return self.tell(StageDone(work.id, start.stage, ARTIFACT if start.stage == "store" else None))

    def fail(self, work: Job, failure: Failure) -> list[Action]:
        start = self.running.pop(work.id)
        return self.tell(StageFailed(work.id, start.stage, failure))

    def lose(self, actor: int) -> list[Action]:
        self.starting = [other for other in self.starting if other != actor]
        self.up.discard(actor)
        self.leaving.discard(actor)
        for start in [start for start in self.running.values() if start.actor == actor]:
            del self.running[start.job.id]
        return self.tell(ActorLost(actor, LOST))

    def leave(self, actor: int) -> list[Action]:
        """The actor's node is drained."""
        self.leaving.add(actor)
        return self.tell(ActorLeaving(actor))

    def dreaming(self, work: Job) -> int:
        """Bring a job to its dream; returns the actor."""
        while self.running[work.id].stage != "dream":
            self.succeed(work)
        actor = self.running[work.id].actor
        assert actor is not None
        return actor


def world(**limits: int) -> World:
    made = World(Limits(**({"actors": 2, "jobs": 6, "fetches": 3, "stores": 2, "pixels": 1000} | limits)))
    for actor in range(made.limits.actors):
        made.ready(actor)
    return made
