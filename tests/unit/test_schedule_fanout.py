"""The scheduler with pictures that are fanned out: every tile of every round once, whatever is lost on the way."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamjobs.fanout import Course, Plan, Report, Steps, make_plan
from dreamjobs.fanout.course import Moments
from dreamjobs.jobs import Artifact, Failure, Job, Seconds, Source
from dreamjobs.params import make_params
from dreamjobs.schedule import (
    Action,
    ActorLost,
    ActorReady,
    Drop,
    Event,
    Finish,
    Limits,
    Part,
    Scheduler,
    StageDone,
    StageFailed,
    Start,
    StartActor,
)
from dreamjobs.schedule.fan import Fan

PARAMS = make_params({"fan_out_mpx": 0.1, "fan_out_tile": 256, "fan_out_overlap": 32, "octaves": 2, "steps": 3})
PLAN = make_plan(PARAMS, (900, 900))
ARTIFACT = Artifact("images/a.jpg", "00", 1, 1, 1, 1, 1, (), Seconds(), "cpu", "node", "node:1")
PASSING = Failure("WorkerLostError", "died", retryable=True)
INPUT = Failure("ImageError", "not a picture", retryable=False)
LIMITS = Limits(actors=3, jobs=4, fetches=2, stores=2)
STEPS = Steps((Moments(1.0, 1.0, 1.0, 1),) * 3, (1.0,) * 3)
REPORT = Report((STEPS,), 2.0, "cpu")


def job(number: int) -> Job:
    return Job(number, Source(f"{number}.jpg", f"{number}.jpg", 1, "", 520, 520), PARAMS, "w")


@dataclass
class World:
    """Does what the scheduler says in an order of its own, and checks what it may never say."""

    scheduler: Scheduler = field(default_factory=lambda: Scheduler(LIMITS))
    running: list[Start] = field(default_factory=list)
    starting: list[int] = field(default_factory=list)
    ended: list[Finish | Drop] = field(default_factory=list)
    ascended: Counter[tuple[str, Part]] = field(default_factory=Counter)
    copied: set[tuple[str, Part]] = field(default_factory=set)
    fanned: Plan | None = PLAN

    def carry_out(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case StartActor(actor):
                    self.starting.append(actor)
                case Start():
                    assert (action.actor is not None) == (action.stage in ("dream", "ascend"))
                    assert action.actor is None or action.actor not in {start.actor for start in self.running}
                    self.running.append(action)
                case Finish() | Drop():
                    assert action.job.id not in {end.job.id for end in self.ended}
                    self.ended.append(action)
        stages = Counter(start.stage for start in self.running)
        assert stages["fetch"] <= LIMITS.fetches
        assert stages["store"] <= LIMITS.stores
        assert stages["stitch"] <= LIMITS.stores

    def tell(self, event: Event) -> None:
        self.carry_out(self.scheduler.handle(event))

    def begin(self, *jobs: Job) -> None:
        self.carry_out(self.scheduler.begin())
        for one in jobs:
            self.carry_out(self.scheduler.submit(one))

    def ready(self) -> None:
        self.tell(ActorReady(self.starting.pop()))

    def succeed(self, start: Start) -> None:
        self.running.remove(start)
        done = StageDone(start.job.id, start.stage, part=start.part)
        match start.stage:
            case "fetch":
                done = StageDone(start.job.id, "fetch", plan=self.fanned)
            case "copy":
                assert start.part
                self.copied.add((start.job.id, start.part))
            case "ascend":
                assert start.part
                self.check_order(start, start.part)
                self.ascended[start.job.id, start.part] += 1
                done = StageDone(start.job.id, "ascend", part=start.part, report=REPORT)
            case "store":
                done = StageDone(start.job.id, "store", artifact=ARTIFACT)
        self.tell(done)

    def check_order(self, start: Start, part: Part) -> None:
        """Every tile of the round before has come back and been copied, in this attempt."""
        if part.number == 0:
            return
        count = len(PLAN.octave(part.number - 1).groups)
        before = {
            one.index
            for job_id, one in self.copied
            if job_id == start.job.id and (one.attempt, one.number) == (part.attempt, part.number - 1)
        }
        assert before == set(range(count))

    def fail(self, start: Start, failure: Failure, *, pixels_lost: bool = False) -> None:
        self.running.remove(start)
        self.tell(StageFailed(start.job.id, start.stage, failure, start.part, pixels_lost))

    def lose(self, start: Start) -> None:
        assert start.actor is not None
        self.running.remove(start)
        self.tell(ActorLost(start.actor, PASSING))

    def run(self) -> None:
        """Let everything that is left go well."""
        while self.starting:
            self.ready()
        while self.running:
            self.succeed(self.running[0])


def groups_of(plan: Plan) -> int:
    return sum(len(plan.octaves[now.octave].groups) for now in plan.rounds)


def at_stage(world: World, stage: str) -> Start:
    """Go on until something is at a stage."""
    while world.starting:
        world.ready()
    while True:
        for start in world.running:
            if start.stage == stage:
                return start
        world.succeed(world.running[0])


def test_every_tile_of_every_round_is_dreamed_once() -> None:
    """A fanned-out picture passes all its rounds and is stored with its plan, its curve and the actors' seconds."""
    world = World()
    world.begin(job(1))
    stored = at_stage(world, "store")
    assert stored.fanned
    assert stored.fanned.plan is PLAN
    assert len(stored.fanned.curve) == 6
    assert stored.fanned.seconds == 2.0 * groups_of(PLAN)
    world.run()
    assert set(world.ascended.values()) == {1}
    assert len(world.ascended) == groups_of(PLAN)
    assert [end.artifact for end in world.ended if isinstance(end, Finish)] == [ARTIFACT]


def test_a_lost_actor_costs_its_tile_alone() -> None:
    """The tile that an actor was at is given to another, from its crop; nothing else is done again."""
    world = World()
    world.begin(job(1))
    lost = at_stage(world, "ascend")
    world.lose(lost)
    stages: Counter[str] = Counter()
    while world.starting:
        world.ready()
    while world.running:
        stages[world.running[0].stage] += 1
        world.succeed(world.running[0])
    assert world.ascended[lost.job.id, lost.part] == 1
    assert stages["fetch"] == 0
    assert len(world.ascended) == groups_of(PLAN)


def test_lost_pixels_begin_the_picture_again() -> None:
    """Where a node took pieces with it, the picture begins again from its fetch, as another attempt."""
    world = World()
    world.begin(job(1))
    world.fail(at_stage(world, "stitch"), PASSING, pixels_lost=True)
    world.run()
    (end,) = world.ended
    assert isinstance(end, Finish)
    assert end.attempts == 2
    assert end.artifact


@pytest.mark.parametrize(("keep_s", "kept"), [(0.0, [0, 1]), (30.0, [1]), (1e6, [])])
def test_octaves_are_kept_once_actors_were_at_them_for_long(
    keep_s: float, kept: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All tiles of an octave's last round are kept or none, by the time since the last that was; the picture's last
    octave is stored instead.
    """
    monkeypatch.setattr("dreamjobs.schedule.fan.KEEP_S", keep_s)
    params = PARAMS.model_copy(update={"octaves": 3})
    fan = Fan(make_plan(params, (900, 900)), params, 1)
    found = []
    while parts := fan.parts():
        assert len({part.state is None for part in parts}) == 1
        if parts[0].state:
            assert fan.plan.ends_octave(parts[0].number)
            found.append(fan.plan.rounds[parts[0].number].octave)
        for part in parts:
            fan.ascended(part, REPORT)
            assert fan.copied(part) == (part is parts[-1])
    assert found == kept


def test_a_picture_tells_how_much_of_it_is_dreamed() -> None:
    """Its share rises with each tile that comes back, by pixel-steps, from 0 to 1; from 0 again where it goes on."""
    course = Course(PLAN, PARAMS)
    course.advance([STEPS] * len(PLAN.octave(0).tiles))
    for state in (None, course.state()):
        fan = Fan(PLAN, PARAMS, 1, state)
        shares = [fan.share]
        while parts := fan.parts():
            for part in parts:
                fan.ascended(part, REPORT)
                shares.append(fan.share)
            for part in parts:
                fan.copied(part)
                assert fan.share == pytest.approx(shares[-1])
        assert (shares[0], shares[-1]) == (0, 1)
        assert shares == sorted(set(shares))
    last = PLAN.octave(len(PLAN.rounds) - 1)
    whole = sum(max(1, now.steps) * math.prod(PLAN.octaves[now.octave].size) for now in PLAN.rounds[1:])
    assert shares[-1] - shares[-2] == pytest.approx(math.prod(last.size) / len(last.groups) / whole)


def test_pieces_lost_before_they_were_copied_are_made_again_alone() -> None:
    """The round waits for the copies; what a node took before it was copied is stitched and dreamed anew, no more."""
    world = World()
    world.begin(job(0))
    world.ready()
    lost = at_stage(world, "copy")
    world.running.remove(lost)
    assert lost.part
    world.tell(StageFailed(lost.job.id, "copy", PASSING, lost.part, again="stitch"))
    world.run()
    assert world.ended == [Finish(lost.job, 1, artifact=ARTIFACT)]
    assert world.ascended[lost.job.id, lost.part] == 2
    assert set(world.ascended.values()) == {1, 2}
    assert list(world.ascended.values()).count(2) == 1


def test_attempts_are_counted_from_what_was_kept() -> None:
    """A picture that comes further each time may be lost oftener than three times; one that does not may not."""
    world = World()
    world.begin(job(0))
    course, failed = Course(PLAN, PARAMS), 0
    for begun in (0, 2, 4, 4, 4):
        while course.number < begun:
            course.advance([STEPS] * len(PLAN.octaves[course.plan.rounds[course.number].octave].tiles))
        (fetch,) = world.running
        world.running.remove(fetch)
        world.tell(StageDone(fetch.job.id, "fetch", plan=PLAN, state=course.state() if begun else None))
        assert not world.ended
        world.fail(next(start for start in world.running if start.stage == "stitch"), PASSING, pixels_lost=True)
        failed += 1
        world.running = [start for start in world.running if start.stage == "fetch"]
    assert failed == 5
    assert isinstance(world.ended[0], Finish)
    assert world.ended[0].attempts == 5


@pytest.mark.parametrize(("losses", "attempts"), [(2, 1), (3, 2)])
def test_a_lost_crop_is_stitched_again(losses: int, attempts: int) -> None:
    """A tile whose crop went with a node is stitched anew within the attempt; what is lost thrice begins again."""
    world = World()
    world.begin(job(0))
    world.ready()
    world.succeed(world.running[0])
    part = world.running[0].part
    for _ in range(losses):
        while not (lost := next((one for one in world.running if (one.stage, one.part) == ("ascend", part)), None)):
            world.succeed(world.running[0])
        world.running.remove(lost)
        world.tell(StageFailed(lost.job.id, "ascend", PASSING, lost.part, again="stitch"))
    world.run()
    (end,) = world.ended
    assert isinstance(end, Finish)
    assert (end.attempts, end.failure) == (attempts, None)
    assert sum(times for (_, one), times in world.ascended.items() if one.attempt == attempts) == groups_of(PLAN)


def test_a_tile_that_always_fails_fails_its_picture() -> None:
    """After as many tries as a job has, the picture is given up, and what is still going on of it is let go of."""
    world = World()
    world.begin(job(1), job(2))
    bad = at_stage(world, "ascend")
    for _ in range(LIMITS.attempts):
        world.fail(next(start for start in world.running if start.part == bad.part and start.job == bad.job), PASSING)
    world.run()
    failed = {end.job.row: bool(end.failure) for end in world.ended if isinstance(end, Finish)}
    assert failed == {bad.job.row: True, 3 - bad.job.row: False}


def test_bad_input_in_a_tile_fails_at_once() -> None:
    """What another attempt cannot mend is not tried again."""
    world = World()
    world.begin(job(1))
    world.fail(at_stage(world, "ascend"), INPUT)
    world.run()
    (end,) = world.ended
    assert isinstance(end, Finish)
    assert end.failure == INPUT


@pytest.mark.parametrize("stage", ["stitch", "ascend"])
def test_draining_ends_a_picture_that_was_begun(stage: str) -> None:
    """A drain lets a fanned-out picture that is being dreamed go on to its end."""
    world = World()
    world.begin(job(1))
    at_stage(world, stage)
    world.carry_out(world.scheduler.drain())
    world.run()
    (end,) = world.ended
    assert isinstance(end, Finish)
    assert end.artifact


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32), trouble=st.floats(0, 0.2))
def test_whatever_happens_every_job_ends_once(seed: int, trouble: float) -> None:
    """Whole and fanned-out pictures, lost actors, lost pixels and failures in any order: each job ends exactly once."""
    world, chance = World(), random.Random(seed)
    jobs = [job(number) for number in range(4)]
    world.begin(*jobs)
    while world.running or world.starting:
        if world.starting and (not world.running or chance.random() < 0.3):
            world.ready()
            continue
        start = chance.choice(world.running)
        world.fanned = PLAN if start.job.row % 2 else None
        if chance.random() > trouble:
            world.succeed(start)
        elif start.actor is not None and chance.random() < 0.5:
            world.lose(start)
        else:
            world.fail(start, PASSING, pixels_lost=chance.random() < 0.2)
    assert {end.job.id for end in world.ended} == {one.id for one in jobs}
    assert world.scheduler.in_flight == 0
    assert max(world.ascended.values(), default=1) == 1


def test_no_more_is_stitched_than_actors_come_to() -> None:
    """Two crops an actor wait at the most; the next is stitched when one of them is taken."""
    world = World(Scheduler(Limits(actors=1, jobs=4, fetches=2, stores=2)))
    world.begin(job(1))
    world.succeed(world.running[0])
    while world.running:
        world.succeed(world.running[0])
    assert world.scheduler.queues["ascend"] == 2
    assert world.scheduler.queues["stitch"] == len(PLAN.octaves[0].groups) - 2
    world.ready()
    assert [start.stage for start in world.running] == ["ascend", "stitch"]
