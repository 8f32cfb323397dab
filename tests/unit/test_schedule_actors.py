"""The scheduler while actors come and go: nodes that join, are drained and die, work that runs out."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from unit.schedule_world import ARTIFACT, LOST, PARAMS, PASSING, World, job, world

from dreamjobs.fanout import make_plan
from dreamjobs.schedule import (
    ActorLeaving,
    ActorLost,
    ActorReady,
    Capacity,
    Drop,
    Finish,
    GiveUp,
    Limits,
    Retry,
    Scheduler,
    StageDone,
    Start,
    StartActor,
    StopActor,
)


def by_stages(actors: int, least_actors: int = 1) -> Limits:
    """What is usual, but without bundles of small pictures."""
    return replace(Limits.of(actors, least_actors), bundle=0)


def test_all_actors_are_asked_for_at_once_and_the_first_begins() -> None:
    """Eight are started before there is room for them, and a job is dreamed as soon as one of them is up."""
    scheduler = Scheduler(by_stages(8, 2))
    assert scheduler.begin() == [StartActor(actor) for actor in range(8)]
    scheduler.submit(job(1))
    scheduler.handle(StageDone(job(1).id, "fetch"))
    assert scheduler.handle(ActorReady(5)) == [Start(job(1), "dream", 5)]


def test_an_idle_actor_on_a_drained_node_goes_at_once() -> None:
    """It is stopped, another is started, and no job goes to it."""
    here = world()
    assert here.leave(0) == [StopActor(0), StartActor(2)]
    here.submit(job(1))
    assert here.dreaming(job(1)) == 1


def test_an_actor_on_a_drained_node_ends_its_dream_and_begins_no_other() -> None:
    """Its successor is asked for meanwhile; its job is stored at the first attempt; then it is stopped."""
    here = world(actors=1)
    one, other = job(1), job(2)
    here.submit(one, other)
    here.dreaming(one)
    here.succeed(other)
    assert here.leave(0) == [StartActor(1)]
    assert here.succeed(one) == [Start(one, "store"), StopActor(0)]
    assert here.ready(1) == [Start(other, "dream", 1)]
    here.succeed(one)
    assert here.finished == [Finish(one, 1, ARTIFACT)]


def test_a_drained_node_that_dies_too_soon_costs_an_attempt() -> None:
    """Its actor's job begins anew, and nobody is started for it twice."""
    here = world(actors=1)
    here.submit(job(1))
    here.dreaming(job(1))
    here.leave(0)
    assert here.lose(0) == [Retry(job(1), 1, LOST), Start(job(1), "fetch"), StopActor(0)]
    assert here.starting == [1]
    assert here.scheduler.restarts == 0


def test_actors_follow_the_room_there_is() -> None:
    """Room for two more starts two more, with a window to match; less room later starts nobody and ends nobody."""
    here = world(jobs=3, fetches=2)
    before = here.scheduler.limits
    assert here.tell(Capacity(12)) == [StartActor(actor) for actor in range(2, 12)]
    assert here.scheduler.limits.jobs > before.jobs
    assert here.scheduler.limits.fetches > before.fetches
    here.ready(2)
    assert set(here.tell(Capacity(2))) == {StopActor(actor) for actor in range(3, 12)}
    assert here.up == {0, 1, 2}
    assert here.scheduler.limits.jobs > before.jobs


def test_there_is_never_less_than_the_least() -> None:
    """A cluster without any node left has its least number of actors waiting, which is what an autoscaler hears of."""
    here = World(by_stages(4, 2))
    here.tell(Capacity(0))
    assert here.starting == [0, 1]


def test_when_no_job_is_left_to_begin_idle_actors_are_given_back() -> None:
    """Of three actors the one that dreams stays, and so does the least number; what never came up goes first."""
    here = World(by_stages(4, 2))
    for actor in range(3):
        here.ready(actor)
    here.submit(job(1))
    here.carry_out(here.scheduler.close())
    assert not here.stopped
    here.dreaming(job(1))
    assert here.stopped == [3, 2]
    here.succeed(job(1))
    here.succeed(job(1))
    assert here.up == {0, 1}


def test_a_retry_at_the_end_starts_no_more_than_it_needs() -> None:
    """The last job, tried again after the others were given back, has the actor that is left."""
    here = World(by_stages(4))
    here.ready(0)
    here.submit(job(1))
    here.carry_out(here.scheduler.close())
    here.dreaming(job(1))
    here.fail(job(1), PASSING)
    assert (here.starting, here.up) == ([], {0})
    here.dreaming(job(1))
    here.lose(0)
    assert here.starting == [0]


def test_a_picture_dreamed_by_tiles_has_all_actors_to_its_end() -> None:
    """With one job left that is fanned out nobody is given back, and room for more is used."""
    params = PARAMS.model_copy(update={"fan_out_mpx": 0.1, "fan_out_tile": 256, "fan_out_overlap": 32})
    scheduler = Scheduler(by_stages(3))
    scheduler.begin()
    scheduler.submit(job(1))
    assert scheduler.close() == []
    scheduler.handle(StageDone(job(1).id, "fetch", plan=make_plan(params, (520, 520))))
    assert scheduler.handle(Capacity(4)) == [StartActor(3)]


def test_what_is_told_of_a_stopped_actor_is_passed_over() -> None:
    """It may have come up or died on the way to being stopped."""
    scheduler = Scheduler(by_stages(2))
    scheduler.begin()
    assert scheduler.handle(Capacity(1)) == [StopActor(1)]
    for event in (ActorReady(1), ActorLost(1, LOST), ActorLeaving(1)):
        assert scheduler.handle(event) == []
    assert scheduler.actors_ready == 0


def test_a_successor_is_tried_again_when_the_last_actor_leaves() -> None:
    """Starts that failed while a drained actor was still at work do not leave the run without anyone."""
    here = world(actors=1)
    here.submit(job(1))
    here.dreaming(job(1))
    here.leave(0)
    for _ in range(5):
        here.lose(1)
    assert here.starting == []
    assert here.succeed(job(1)) == [Start(job(1), "store"), StopActor(0), StartActor(2)]
    for _ in range(4):
        here.lose(2)
    assert here.lose(2) == [GiveUp(LOST)]


def test_draining_the_run_gives_actors_back() -> None:
    """After Ctrl-C those that dream go on and the idle go, but for the least number."""
    here = world(actors=3)
    here.submit(job(1), job(2))
    here.dreaming(job(1))
    here.succeed(job(2))
    actions = here.carry_out(here.scheduler.drain())
    assert not any(isinstance(action, Drop) for action in actions)
    assert here.up == {0, 1}


@settings(max_examples=100)
@given(st.integers(0, 20), st.integers(1, 4), st.integers(1, 4), st.data())
def test_every_job_ends_once_however_the_cluster_changes(jobs: int, most: int, least: int, data: st.DataObject) -> None:
    """Nodes join, are drained and die at any moment: each job ends once, and no drained actor begins anything."""
    here = World(Limits(most, 5, 2, 1, attempts=10**6, actor_starts=10**6, least_actors=min(least, most)))
    waiting, trouble = [job(number) for number in range(jobs)], 40
    while waiting or here.scheduler.in_flight:
        while waiting and here.scheduler.has_room(waiting[0]):
            here.submit(waiting.pop(0))
        if not waiting:
            here.carry_out(here.scheduler.close())
        choices = [("ready", actor) for actor in here.starting] + [("work", id_) for id_ in here.running]
        if trouble:
            choices += [("lose", actor) for actor in [*here.starting, *here.up]]
            choices += [("leave", actor) for actor in here.up - here.leaving] + [("room", n) for n in range(6)]
        assert choices, "nothing is under way, and not all has ended"
        what, which = data.draw(st.sampled_from(choices))
        trouble -= what in ("lose", "leave", "room")
        match what:
            case "ready":
                here.ready(which)
            case "lose":
                here.lose(which)
            case "leave":
                here.leave(which)
            case "room":
                here.tell(Capacity(which))
            case "work":
                here.succeed(here.running[which].job)
    assert Counter(end.job.id for end in here.finished) == Counter(job(number).id for number in range(jobs))
    assert all(end.artifact for end in here.finished)
    assert not here.running
    assert not here.leaving & here.up
