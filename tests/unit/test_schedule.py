"""The scheduler, driven with lists: whatever happens in whatever order, every job ends once."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.schedule_world import ARTIFACT, INPUT, LIMITS, LOST, PASSING, World, job, world

from dreamjobs.schedule import (
    ActorReady,
    Drop,
    Finish,
    GiveUp,
    Limits,
    Retry,
    Scheduler,
    StageDone,
    StageFailed,
    Start,
    StartActor,
)

KINDS = st.sampled_from(["fine"] * 6 + ["input", "passing", "poison"])


@settings(max_examples=80)
@given(
    st.lists(st.tuples(st.integers(1, 900), KINDS), max_size=25),
    st.integers(1, 3),
    st.integers(1, 6),
    st.data(),
)
def test_every_job_ends_once_whatever_happens(
    work: list[tuple[int, str]], actors: int, window: int, data: st.DataObject
) -> None:
    """Under any interleaving of successes, failures and deaths each job finishes once and no bound is passed."""
    here = World(Limits(actors=actors, jobs=window, fetches=2, stores=1, pixels=1000, actor_starts=10**6))
    jobs = [job(number, pixels) for number, (pixels, _) in enumerate(work)]
    kinds = {one.id: kind for one, (_, kind) in zip(jobs, work, strict=True)}
    waiting = list(jobs)
    accidents = 40
    while waiting or here.scheduler.in_flight:
        while waiting and here.scheduler.has_room(waiting[0]):
            here.submit(waiting.pop(0))
            in_flight = {one.id for one in jobs} - {one.id for one in waiting} - {end.job.id for end in here.finished}
            assert len(in_flight) == here.scheduler.in_flight
            pixels = sum(one.pixels for one in jobs if one.id in in_flight)
            assert pixels <= 1000 or len(in_flight) == 1
        choices = [("ready", actor) for actor in here.starting] + [("work", id_) for id_ in here.running]
        if accidents:
            choices += [("lose", actor) for actor in [*here.starting, *here.up]]
        assert choices, "nothing is under way, and not all has ended"
        what, which = data.draw(st.sampled_from(choices))
        if what == "ready":
            here.ready(which)
        elif what == "lose":
            accidents -= 1
            here.lose(which)
        else:
            start = here.running[which]
            kind = kinds[which]
            if kind == "input" and start.stage == "fetch":
                here.fail(start.job, INPUT)
            elif kind == "poison" and start.stage == "dream":
                here.lose(start.actor)
            elif kind == "passing" and data.draw(st.booleans()):
                here.fail(start.job, PASSING)
            else:
                here.succeed(start.job)
    assert Counter(end.job.id for end in here.finished) == Counter(one.id for one in jobs)
    for end in here.finished:
        assert (end.artifact is None) != (end.failure is None)
        assert 1 <= end.attempts <= 3
        fetches = sum(start.stage == "fetch" and start.job.id == end.job.id for start in here.started)
        assert fetches == end.attempts
        if kinds[end.job.id] == "input":
            assert end.failure == INPUT or end.attempts == 3
        if kinds[end.job.id] == "poison":
            assert end.failure == LOST
            assert end.attempts == 3
    assert not here.running
    assert sorted([*here.starting, *here.up]) == list(range(actors))


def test_a_job_goes_through_its_three_stages() -> None:
    """Fetch, dream on an actor, store, and an end with the artifact at the first attempt."""
    here = world()
    one = job(1)
    here.submit(one)
    for _ in range(3):
        here.succeed(one)
    assert [(start.stage, start.actor) for start in here.started] == [("fetch", None), ("dream", 0), ("store", None)]
    assert here.finished == [Finish(one, 1, ARTIFACT)]
    assert here.scheduler.in_flight == 0


def test_an_input_error_is_never_retried() -> None:
    """What is wrong with the photograph is recorded at the first attempt."""
    here = world()
    one = job(1)
    here.submit(one)
    assert here.fail(one, INPUT) == [Finish(one, 1, failure=INPUT)]


@pytest.mark.parametrize("stage", ["fetch", "dream", "store"])
def test_a_failure_that_may_pass_is_retried_three_times_in_all(stage: str) -> None:
    """From any stage an attempt that fails starts again from the fetch; the third failure is recorded."""
    here = world()
    one = job(1)
    here.submit(one)
    for _ in range(3):
        assert not here.finished
        while here.running[one.id].stage != stage:
            here.succeed(one)
        here.fail(one, PASSING)
    assert here.finished == [Finish(one, 3, failure=PASSING)]
    assert [start.stage for start in here.started].count("fetch") == 3
    assert not here.running


def test_a_retry_that_succeeds_counts_its_attempts() -> None:
    """A job that fails once and then succeeds ends well, after two attempts."""
    here = world()
    one = job(1)
    here.submit(one)
    here.fail(one, PASSING)
    for _ in range(3):
        here.succeed(one)
    assert here.finished == [Finish(one, 2, ARTIFACT)]


def test_a_job_that_kills_its_actor_three_times_is_a_failed_job() -> None:
    """The poison job is recorded as lost after three actors; every other job ends well, on the actors restarted."""
    here = world()
    poison, others = job(0), [job(number) for number in range(1, 6)]
    here.submit(poison, *others)
    while here.scheduler.in_flight:
        if here.starting:
            here.ready(here.starting[0])
        start = next(iter(here.running.values()))
        if start.job == poison and start.stage == "dream":
            here.lose(start.actor)
        else:
            here.succeed(start.job)
        here.running = dict(reversed(here.running.items()))
    ends = {end.job.id: end for end in here.finished}
    assert ends.pop(poison.id) == Finish(poison, 3, failure=LOST)
    assert {end.job.id for end in ends.values()} == {one.id for one in others}
    assert all(end.artifact and end.attempts == 1 for end in ends.values())
    assert here.given_up is None


def test_a_lost_actor_is_replaced_and_its_job_fetched_again() -> None:
    """An actor that dies in a dream is started again under its number, and the job begins anew at once."""
    here = world()
    one = job(1)
    here.submit(one)
    actor = here.dreaming(one)
    assert here.lose(actor) == [StartActor(actor), Retry(one, 1, LOST), Start(one, "fetch")]
    here.ready(actor)
    assert here.scheduler.actors_ready == 2


def test_an_idle_actor_that_dies_gets_no_job() -> None:
    """After an idle actor is lost, a job goes to the other one."""
    here = world()
    here.lose(0)
    one, other = job(1), job(2)
    here.submit(one, other)
    here.succeed(one)
    here.succeed(other)
    assert [start.actor for start in here.started if start.stage == "dream"] == [1]
    assert here.ready(0) == [Start(other, "dream", 0)]


def test_an_actor_is_free_after_success_and_failure() -> None:
    """The only actor takes the next job when its dream is done, and when it failed."""
    here = world(actors=1)
    jobs = [job(number) for number in range(3)]
    here.submit(*jobs)
    for one in jobs:
        here.succeed(one)
    assert Start(jobs[1], "dream", 0) in here.succeed(jobs[0])
    assert Start(jobs[2], "dream", 0) in here.fail(jobs[1], INPUT)


def test_actors_that_die_as_they_start_end_the_run() -> None:
    """Five starts in a row of every actor that come to nothing are given up, with the reason."""
    here = World(LIMITS)
    for number in range(8):
        assert here.lose(number % 2) == [StartActor(number % 2)]
    assert here.lose(0) == []
    assert here.lose(1) == [GiveUp(LOST)]


def test_an_actor_that_comes_up_wipes_out_failed_starts() -> None:
    """Failed starts count in a row: one that comes up begins the count anew, and deaths at work do not count."""
    here = World(LIMITS)
    for _ in range(3):
        for _ in range(4):
            here.lose(0)
        here.ready(0)
        here.lose(0)
        here.ready(0)
    assert here.given_up is None


def test_the_window_has_no_room_beyond_its_jobs() -> None:
    """Room ends at the window's number of jobs, and comes back when one ends, not when one is retried."""
    here = world()
    jobs = [job(number) for number in range(6)]
    for one in jobs:
        assert here.scheduler.has_room(one)
        here.submit(one)
    assert not here.scheduler.has_room(job(9))
    here.fail(jobs[0], PASSING)
    assert not here.scheduler.has_room(job(9))
    here.fail(jobs[0], INPUT)
    assert here.scheduler.has_room(job(9))


def test_pixels_bound_the_window_and_an_oversize_job_goes_alone() -> None:
    """Jobs together hold no more than the pixels allowed; one with more is taken when nothing else is there."""
    here = world()
    half, oversize = job(1, 500), job(2, 5000)
    assert here.scheduler.has_room(oversize)
    here.submit(half)
    assert here.scheduler.has_room(job(3, 500))
    assert not here.scheduler.has_room(job(3, 501))
    assert not here.scheduler.has_room(oversize)
    here.fail(half, INPUT)
    here.submit(oversize)
    assert not here.scheduler.has_room(job(4, 1))
    here.fail(oversize, INPUT)
    here.submit(job(5, 400))
    assert here.scheduler.has_room(job(3, 600))
    assert not here.scheduler.has_room(job(3, 601))


def test_what_is_nearest_its_end_goes_first() -> None:
    """Of what may begin at once, stores are begun before dreams and dreams before fetches."""
    here = world(actors=1, stores=1, fetches=1, jobs=9)
    jobs = [job(number) for number in range(4)]
    here.submit(*jobs)
    here.succeed(jobs[0])
    here.succeed(jobs[1])
    actions = here.succeed(jobs[0])
    assert [(action.stage, action.job) for action in actions] == [("store", jobs[0]), ("dream", jobs[1])]
    here.succeed(jobs[2])
    here.succeed(jobs[1])
    actions = here.succeed(jobs[0])
    assert actions[0] == Finish(jobs[0], 1, ARTIFACT)
    assert [(action.stage, action.job) for action in actions[1:]] == [("store", jobs[1])]


def test_a_retry_goes_before_new_jobs() -> None:
    """A job that is tried again is fetched before those that wait for their first fetch."""
    here = world(fetches=1)
    jobs = [job(number) for number in range(3)]
    here.submit(*jobs)
    assert here.fail(jobs[0], PASSING) == [Retry(jobs[0], 1, PASSING), Start(jobs[0], "fetch")]


def test_the_scheduler_counts_what_waits_and_whom_it_replaced() -> None:
    """Queues are the jobs that wait for each stage; an actor that dies or fails to start is a restart."""
    here = world(actors=1, fetches=2)
    jobs = [job(number) for number in range(4)]
    here.submit(*jobs)
    assert here.scheduler.queues == {"fetch": 2, "dream": 0, "stitch": 0, "ascend": 0, "copy": 0, "store": 0, "make": 0}
    here.succeed(jobs[0])
    here.succeed(jobs[1])
    assert (here.scheduler.queues["fetch"], here.scheduler.queues["dream"]) == (0, 1)
    assert here.scheduler.restarts == 0
    here.lose(0)
    here.lose(0)
    assert here.scheduler.restarts == 2


def test_the_scheduler_knows_what_it_holds() -> None:
    """A job is held from being submitted to its end."""
    here = world()
    one = job(1)
    assert not here.scheduler.holds(one.id)
    here.submit(one)
    assert here.scheduler.holds(one.id)
    here.fail(one, INPUT)
    assert not here.scheduler.holds(one.id)


def test_an_actor_that_cannot_start_is_done_without_while_another_works() -> None:
    """Starts that fail again and again end the run only if no actor is up; the last one up is tried again too."""
    here = world(actors=2)
    for _ in range(5):  # once as it was up, four times as it starts
        assert here.lose(1) == [StartActor(1)]
    assert here.lose(1) == []
    assert here.lose(0) == [StartActor(0)]


def test_draining_ends_what_an_actor_began_and_drops_the_rest() -> None:
    """After drain, dreams under way are stored, what was fetched or waits is let go of, and nothing new begins."""
    dreaming, fetched, fetching, waiting = jobs = [job(number) for number in range(4)]
    scheduler = Scheduler(Limits(actors=1, jobs=4, fetches=2, stores=1))
    scheduler.begin()
    scheduler.handle(ActorReady(0))
    for one in jobs:
        scheduler.submit(one)
    assert scheduler.handle(StageDone(dreaming.id, "fetch"))[0] == Start(dreaming, "dream", 0)
    scheduler.handle(StageDone(fetched.id, "fetch"))
    assert scheduler.drain() == [Drop(fetched)]
    assert scheduler.handle(StageDone(fetching.id, "fetch")) == [Drop(fetching)]
    assert scheduler.handle(StageFailed(waiting.id, "fetch", PASSING)) == [Drop(waiting)]
    assert scheduler.handle(StageDone(dreaming.id, "dream")) == [Start(dreaming, "store")]
    assert scheduler.handle(StageDone(dreaming.id, "store", ARTIFACT)) == [Finish(dreaming, 1, ARTIFACT)]
    assert scheduler.in_flight == 0
