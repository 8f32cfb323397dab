"""Small pictures: bundled for an actor, alone after a failure, and none of them lost."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.schedule_world import ARTIFACT, INPUT, LOST, PASSING

from dreamjobs.jobs import Failure, Job, Source
from dreamjobs.params import DreamParams
from dreamjobs.schedule import (
    Action,
    ActorLeaving,
    ActorLost,
    ActorReady,
    Bundle,
    Drop,
    Finish,
    Limits,
    NotBegun,
    Retry,
    Scheduler,
    StageDone,
    StageFailed,
    Start,
    StopActor,
)

PARAMS = DreamParams(octaves=1, steps=10)
TO_16 = DreamParams(octave_sizes="16", steps=1)
LIMITS = Limits(actors=2, jobs=3, fetches=1, stores=1, bundle=10_000)


def small(number: int, pixels: int = 100, *, weights: str = "w", **params: Any) -> Job:
    """A job of 10 pixel-steps a pixel."""
    return Job(
        number, Source(f"{number}.jpg", f"{number}.jpg", 1, "", pixels, 1), PARAMS.model_copy(update=params), weights
    )


def with_actors(*actors: int, limits: Limits = LIMITS) -> Scheduler:
    """A scheduler that has begun, with these actors up."""
    scheduler = Scheduler(limits)
    scheduler.begin()
    for actor in actors:
        scheduler.handle(ActorReady(actor))
    return scheduler


def submitted(scheduler: Scheduler, *jobs: Job) -> None:
    """Submit them while nobody is there to take them."""
    for job in jobs:
        assert not scheduler.submit(job)


def bundle(actions: list[Action]) -> Bundle:
    """The one bundle among these actions."""
    (found,) = [action for action in actions if isinstance(action, Bundle)]
    return found


def test_a_bundle_is_as_large_as_it_may_be_and_in_order() -> None:
    """Jobs of 4,000 pixel-steps, bundles of 10,000: two at a time."""
    scheduler, jobs = with_actors(), [small(number, 400) for number in range(5)]
    submitted(scheduler, *jobs)
    assert bundle(scheduler.handle(ActorReady(0))) == Bundle(tuple(jobs[:2]), 0)
    assert bundle(scheduler.handle(ActorReady(1))) == Bundle(tuple(jobs[2:4]), 1)


def test_a_bundle_is_an_actors_share() -> None:
    """Six that would be one bundle are shared by the two actors that are up, not by one that may never come."""
    scheduler, jobs = with_actors(limits=Limits(3, 9, 1, 1, bundle=10_000)), [small(number) for number in range(8)]
    first, second, *rest = jobs
    submitted(scheduler, first)
    assert bundle(scheduler.handle(ActorReady(0))).jobs == (first,)
    submitted(scheduler, second)
    assert bundle(scheduler.handle(ActorReady(1))).jobs == (second,)
    submitted(scheduler, *rest)
    _, following = scheduler.handle(StageDone(first.id, "make", ARTIFACT))
    assert following == Bundle(tuple(rest[:3]), 0)


def test_a_bundle_has_at_most_32_jobs() -> None:
    """However small they are."""
    scheduler = with_actors(limits=Limits(actors=1, jobs=9, fetches=1, stores=1, bundle=10**9))
    submitted(scheduler, *(small(number, 1) for number in range(40)))
    assert len(bundle(scheduler.handle(ActorReady(0))).jobs) == 32


@pytest.mark.parametrize("change", [{"weights": "other"}, {"net": "googlenet"}])
def test_a_bundle_is_of_one_net(change: dict[str, str]) -> None:
    """An actor holds one net's weights for it; those of another net wait for the next."""
    scheduler = with_actors(limits=Limits(1, 3, 1, 1, bundle=10_000))
    jobs = [small(0), small(1, **change), small(2), small(3, **change)]
    submitted(scheduler, *jobs)
    assert bundle(scheduler.handle(ActorReady(0))).jobs == (jobs[0], jobs[2])
    scheduler.handle(StageDone(jobs[0].id, "make", ARTIFACT))
    _, following = scheduler.handle(StageDone(jobs[2].id, "make", ARTIFACT))
    assert following == Bundle((jobs[1], jobs[3]), 0)


@pytest.mark.parametrize(
    "job",
    [
        small(0, 501),
        small(0, frames=2),
        small(0, fan_out_mpx=0.1),
        Job(0, Source("a", "a"), TO_16, "w"),
        Job(0, Source("a", "a", width=8000, height=8000), TO_16.model_copy(update={"max_side": 16}), "w"),
        Job(0, Source("a", "a", width=3000, height=3000), TO_16, "w"),
        Job(0, Source("a/", "a/", width=16, height=16), TO_16, "w"),
    ],
    ids=[
        "more than half a bundle",
        "frames",
        "to be fanned out",
        "of unknown size",
        "large",
        "large until dreamed",
        "clip",
    ],
)
def test_others_pass_the_stages(job: Job) -> None:
    """What is large, or not made whole, is fetched by itself."""
    assert with_actors().submit(job) == [Start(job, "fetch")]


def test_a_picture_of_noise_is_small() -> None:
    """There is no photograph that might be large."""
    job = Job(0, Source("noise:1", "noise:1"), DreamParams(start="noise", size="16", steps=1), "w")
    scheduler = with_actors(0)
    assert scheduler.submit(job) == [Bundle((job,), 0)]


@pytest.mark.parametrize("steps", [0, 1])
def test_without_bundles_all_pass_the_stages(steps: int) -> None:
    """A backend in this process makes none, not of pictures without steps either."""
    scheduler, job = Scheduler(Limits(1, 1, 1, 1)), small(0, 1, steps=steps)
    scheduler.begin()
    assert scheduler.submit(job) == [Start(job, "fetch")]


def test_an_actor_is_idle_when_all_of_its_bundle_has_ended() -> None:
    """Not sooner: the next bundle waits for the last of the first."""
    scheduler, jobs = with_actors(limits=Limits(1, 3, 1, 1, bundle=2000)), [small(number) for number in range(4)]
    submitted(scheduler, *jobs)
    assert bundle(scheduler.handle(ActorReady(0))).jobs == tuple(jobs[:2])
    assert scheduler.dreaming == 1
    assert scheduler.handle(StageDone(jobs[0].id, "make", ARTIFACT)) == [Finish(jobs[0], 1, ARTIFACT)]
    finish, following = scheduler.handle(StageFailed(jobs[1].id, "make", INPUT))
    assert finish == Finish(jobs[1], 1, failure=INPUT)
    assert following == Bundle(tuple(jobs[2:]), 0)


def test_a_picture_whose_attempt_failed_goes_on_alone() -> None:
    """By stages, so that one which kills its actor takes no others along a second time."""
    scheduler, jobs = with_actors(), [small(number) for number in range(2)]
    submitted(scheduler, *jobs)
    scheduler.handle(ActorReady(0))
    actions = scheduler.handle(StageFailed(jobs[0].id, "make", PASSING))
    assert actions == [Retry(jobs[0], 1, PASSING), Start(jobs[0], "fetch")]


def test_a_dead_actors_bundle_is_attempted_again() -> None:
    """Each of it by itself; the actor is replaced."""
    scheduler, jobs = with_actors(limits=Limits(1, 3, 9, 1, bundle=10_000)), [small(number) for number in range(3)]
    submitted(scheduler, *jobs)
    scheduler.handle(ActorReady(0))
    actions = scheduler.handle(ActorLost(0, LOST))
    assert [action.job for action in actions if isinstance(action, Retry)] == jobs
    assert [action.job for action in actions if isinstance(action, Start)] == jobs
    assert scheduler.dreaming == 0


def test_what_an_actor_gives_back_is_next() -> None:
    """No attempt is counted, and it is made before what waited behind it."""
    scheduler, jobs = with_actors(limits=Limits(1, 3, 1, 1, bundle=3000)), [small(number) for number in range(5)]
    submitted(scheduler, *jobs)
    assert bundle(scheduler.handle(ActorReady(0))).jobs == tuple(jobs[:3])
    scheduler.handle(StageDone(jobs[0].id, "make", ARTIFACT))
    assert not scheduler.handle(NotBegun(jobs[2].id))
    assert scheduler.handle(NotBegun(jobs[1].id)) == [Bundle(tuple(jobs[1:4]), 0)]
    assert scheduler.handle(StageDone(jobs[1].id, "make", ARTIFACT)) == [Finish(jobs[1], 1, ARTIFACT)]


def test_what_is_given_back_while_draining_is_dropped() -> None:
    """As if no actor had had it."""
    scheduler, job = with_actors(0), small(0)
    scheduler.submit(job)
    scheduler.drain()
    assert Drop(job) in scheduler.handle(NotBegun(job.id))


def test_at_the_end_actors_stay_for_bundles_not_for_their_jobs() -> None:
    """Of eight actors one is at a bundle of four, and one is to stay in any case."""
    limits = Limits(8, 3, 1, 1, bundle=10_000)
    scheduler = with_actors(limits=limits)
    submitted(scheduler, *(small(number) for number in range(4)))
    scheduler.handle(ActorReady(0))
    for actor in range(1, 8):
        scheduler.handle(ActorReady(actor))
    assert len([action for action in scheduler.close() if isinstance(action, StopActor)]) == 7


def test_an_actor_that_is_to_leave_ends_its_bundle() -> None:
    """And is stopped then."""
    scheduler, job = with_actors(limits=Limits(1, 3, 1, 1, bundle=10_000)), small(0)
    submitted(scheduler, job)
    scheduler.handle(ActorReady(0))
    assert StopActor(0) not in scheduler.handle(ActorLeaving(0))
    assert StopActor(0) in scheduler.handle(StageDone(job.id, "make", ARTIFACT))


def test_draining_drops_what_waits_to_be_made() -> None:
    """What an actor has been given is ended."""
    scheduler, jobs = with_actors(limits=Limits(1, 3, 1, 1, bundle=2000)), [small(number) for number in range(4)]
    submitted(scheduler, *jobs)
    scheduler.handle(ActorReady(0))
    assert [action for action in scheduler.drain() if isinstance(action, Drop)] == [Drop(jobs[2]), Drop(jobs[3])]
    assert scheduler.in_flight == 2


def test_there_is_room_for_bundles_as_for_jobs() -> None:
    """Three jobs, or 96 small ones, or something between."""
    scheduler = with_actors()
    submitted(scheduler, *(small(number) for number in range(64)))
    scheduler.submit(small(64, 10_000))
    assert not scheduler.has_room(small(65))
    assert not scheduler.has_room(small(65, 10_000))


@settings(max_examples=60)
@given(st.lists(st.sampled_from(["small", "large", "input", "poison"]), max_size=40), st.integers(1, 3), st.data())
def test_every_job_ends_once(kinds: list[str], actors: int, data: st.DataObject) -> None:
    """Small ones and large ones, bad ones and those that kill their actors, in any order of events."""
    scheduler = Scheduler(Limits(actors, 4, 2, 2, bundle=5000, actor_starts=10**6))
    jobs = [small(number, 1000 if kind == "large" else 100) for number, kind in enumerate(kinds)]
    kind_of = {job.id: kind for job, kind in zip(jobs, kinds, strict=True)}
    waiting, ended = list(jobs), Counter[str]()
    bundles: dict[int, tuple[Job, ...]] = {}
    starts: list[Start] = []
    starting = set(range(actors))

    def carry_out(actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Bundle(made, actor):
                    assert actor not in bundles
                    assert actor not in {start.actor for start in starts}
                    bundles[actor] = made
                case Start():
                    assert action.actor is None or action.actor not in bundles
                    starts.append(action)
                case Finish(job, attempts, artifact, failure):
                    ended[job.id] += 1
                    assert attempts <= 3
                    assert (artifact is None) == (kind_of[job.id] in ("input", "poison")), failure

    def lose(actor: int) -> None:
        bundles.pop(actor, None)
        starts[:] = [start for start in starts if start.actor != actor]
        carry_out(scheduler.handle(ActorLost(actor, LOST)))
        starting.add(actor)

    def end(job: Job, stage: Any) -> None:
        failure: Failure | None = INPUT if kind_of[job.id] == "input" else None
        event = StageFailed(job.id, stage, failure) if failure else StageDone(job.id, stage, ARTIFACT)
        carry_out(scheduler.handle(event))

    carry_out(scheduler.begin())
    while waiting or scheduler.in_flight:
        while waiting and scheduler.has_room(waiting[0]):
            carry_out(scheduler.submit(waiting.pop(0)))
        choices: list[tuple[str, Any]] = [("ready", actor) for actor in sorted(starting)]
        choices += [("bundle", actor) for actor in sorted(bundles)] + [("start", start) for start in starts]
        what, which = data.draw(st.sampled_from(choices))
        if what == "ready":
            starting.remove(which)
            carry_out(scheduler.handle(ActorReady(which)))
        elif what == "start":
            if which.stage == "dream" and kind_of[which.job.id] == "poison":
                lose(which.actor)
            else:
                starts.remove(which)
                end(which.job, which.stage)
        elif any(kind_of[job.id] == "poison" for job in bundles[which]):
            lose(which)
        else:
            made = bundles.pop(which)
            count = data.draw(st.integers(1, len(made)))
            for job in made[:count]:
                end(job, "make")
            for job in reversed(made[count:]):
                carry_out(scheduler.handle(NotBegun(job.id)))
    assert ended == Counter(job.id for job in jobs)
