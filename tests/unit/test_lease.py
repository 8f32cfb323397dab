"""Leases, with a clock and a process table made for the test; no test waits for a real one to run out."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import pytest

from dreamjobs.errors import InputError, RunError, StorageError
from dreamjobs.lease import Lease, Owner, Surroundings, acquire
from dreamjobs.lease.generations import Generations
from dreamjobs.lease.owners import process_start
from dreamjobs.storage import LocalStore, Store

HERE = Owner("here", 10, "start-a", "boot-1")
NEXT = Owner("here", 20, "start-b", "boot-1")
THERE = Owner("there", 10, "start-c", "boot-2")
UNKNOWN = Owner("here", 10)  # a system without /proc


@dataclass
class World:
    """Time that passes only by sleeping, and the processes that run."""

    processes: dict[int, str] = field(default_factory=dict)
    during_sleep: Callable[[], None] = lambda: None
    now_s: float = 1000.0

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        self.during_sleep()

    def around(self) -> Surroundings:
        return Surroundings(lambda: self.now_s, self.sleep, self.processes.get)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalStore:
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    return LocalStore(str(tmp_path))


def take(store: Store, owner: Owner, world: World, told: list[str] | None = None) -> Lease:
    on_wait = None if told is None else told.append
    return acquire(store, "run", owner=owner, beat_s=5, on_wait=on_wait, surroundings=world.around())


def left_behind(store: Store, owner: Owner, *, beats: bool = True) -> Generations:
    """A lease whose driver died without a word."""
    generations = Generations(store, "run")
    assert generations.take(1, owner, 5)
    if beats:
        generations.put_beat(1, 7)
    return generations


def until(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 5
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return condition()


def compete(root: str, rounds: int) -> list[int]:
    won = []
    for number in range(rounds):
        try:
            acquire(LocalStore(root), f"shard-{number}")
            won.append(number)
        except RunError:
            pass
    time.sleep(0.3)  # stay alive until the others have tried
    return won


def test_a_free_lease_is_taken_and_given_back(store: LocalStore) -> None:
    """After a release the next driver has the lease at once, as the next generation."""
    world = World({10: "start-a", 20: "start-b"})
    with take(store, HERE, world) as first:
        assert first.generation == 1
    with take(store, NEXT, world) as second:
        assert second.generation == 2
        assert not second.lost.is_set()
    assert world.now_s == 1000.0


def test_a_holder_that_runs_is_named(store: LocalStore) -> None:
    """A second driver on the same machine is told process, host and since when, without waiting."""
    world = World({10: "start-a"})
    with take(store, HERE, world), pytest.raises(RunError, match=r"process 10 on here since \d{4}-.* UTC"):
        take(store, NEXT, world)
    assert world.now_s == 1000.0


def test_the_same_process_cannot_hold_twice(store: LocalStore) -> None:
    """A lease is not re-entrant."""
    with acquire(store, "run"), pytest.raises(RunError, match=str(os.getpid())):
        acquire(store, "run")


def test_leases_of_two_names_are_two(store: LocalStore) -> None:
    """Shards of one run have a driver each."""
    with acquire(store, "shard-0"), acquire(store, "shard-1") as second:
        assert second.generation == 1


@pytest.mark.parametrize("processes", [{}, {10: "started later"}])
def test_a_dead_process_of_this_machine_is_followed_at_once(store: LocalStore, processes: dict[int, str]) -> None:
    """A pid that is gone, or that another process has now, holds nothing."""
    left_behind(store, HERE)
    world = World(processes)
    with take(store, NEXT, world) as lease:
        assert lease.generation == 2
    assert world.now_s == 1000.0


@pytest.mark.parametrize("owner", [THERE, UNKNOWN])
@pytest.mark.parametrize("beats", [True, False])
def test_a_silent_holder_elsewhere_is_waited_for(store: LocalStore, owner: Owner, beats: bool) -> None:
    """A holder whose process cannot be looked up is dead once its beat stood still for the ttl, and one is told."""
    left_behind(store, owner, beats=beats)
    world = World({10: "start-c"})
    told: list[str] = []
    with take(store, NEXT, world, told) as lease:
        assert lease.generation == 2
    assert 30 <= world.now_s - 1000 <= 32
    assert len(told) == 1
    assert str(owner) in told[0]
    assert "30 s" in told[0]


def test_a_container_with_other_pids_is_elsewhere(store: LocalStore) -> None:
    """A pid is not looked up in another pid namespace of the same host and boot."""
    left_behind(store, Owner("here", 10, "start-a", "boot-1 pid:[2]"))
    world = World()
    with take(store, Owner("here", 20, "start-b", "boot-1 pid:[1]"), world):
        assert world.now_s > 1029


def test_a_beating_holder_elsewhere_is_alive(store: LocalStore) -> None:
    """One changed beat within the ttl is enough to leave the holder its lease."""
    generations = left_behind(store, THERE)
    world = World()
    world.during_sleep = lambda: generations.put_beat(1, 8) if world.now_s > 1020 else None
    with pytest.raises(RunError, match="process 10 on there"):
        take(store, NEXT, world)
    assert world.now_s < 1022
    assert generations.latest() == 1


def test_a_release_is_seen_while_waiting(store: LocalStore) -> None:
    """A holder that ends while it is watched is followed at once."""
    generations = left_behind(store, THERE)
    world = World()
    world.during_sleep = lambda: generations.put_beat(1, 8, released=True)
    with take(store, NEXT, world) as lease:
        assert lease.generation == 2
    assert world.now_s < 1003


def test_a_slow_beat_is_given_more_time(store: LocalStore) -> None:
    """A holder that said it beats every 60 s is watched for three beats, whatever the challenger's ttl."""
    assert Generations(store, "run").take(1, THERE, 60)
    world = World()
    with take(store, NEXT, world):
        assert 1180 <= world.now_s < 1190


def test_who_comes_second_after_waiting_is_refused(store: LocalStore) -> None:
    """Of two challengers that wait for the same dead holder, the later one meets the earlier as the holder."""
    left_behind(store, THERE)
    world, other = World({30: "start-d"}), World()
    winners: list[Lease] = []

    def overtake() -> None:
        if world.now_s > 1029 and not winners:
            winners.append(take(store, Owner("here", 30, "start-d", "boot-1"), other))

    world.during_sleep = overtake
    with pytest.raises(RunError, match="process 30"):
        take(store, NEXT, world)
    winners[0].release()


def test_a_sleeper_cannot_take_a_cleaned_generation(store: LocalStore) -> None:
    """A generation created anew below the holder's counts for nothing."""
    generations = left_behind(store, THERE)
    assert generations.take(2, HERE, 5)
    assert generations.take(3, HERE, 5)
    generations.clean_up(below=3)
    assert not generations.take(2, NEXT, 5)
    assert generations.latest() == 3


def test_a_holder_learns_that_it_lost(store: LocalStore) -> None:
    """`lost` is set within a beat of a higher generation, and the release then leaves the other's lease alone."""
    with acquire(store, "run", beat_s=0.01, ttl_s=1) as lease:
        assert not lease.lost.wait(0.05)
        assert Generations(store, "run").take(2, THERE, 5)
        assert lease.lost.wait(5)
    assert Generations(store, "run").latest() == 2
    assert Generations(store, "run").beat(2) is None


def test_a_holder_beats(store: LocalStore) -> None:
    """The beat changes as long as the lease is held, and not after."""
    generations = Generations(store, "run")
    with acquire(store, "run", beat_s=0.01, ttl_s=1):
        assert until(lambda: generations.beat(1) is not None)
        first = generations.beat(1)
        assert until(lambda: generations.beat(1) != first)
    last = generations.beat(1)
    time.sleep(0.05)
    assert generations.beat(1) == last


def test_a_store_that_fails_does_not_end_the_beat(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A beat that could not be written is made up for by the next one."""
    generations = Generations(store, "run")
    with acquire(store, "run", beat_s=0.01, ttl_s=1):

        def fail(self: LocalStore, key: str, data: bytes) -> None:
            raise StorageError("down")

        with monkeypatch.context() as patch:
            patch.setattr(LocalStore, "put", fail)
            time.sleep(0.05)
        before = generations.beat(1)
        assert until(lambda: generations.beat(1) != before)


def test_old_generations_are_removed(store: LocalStore) -> None:
    """However often a run is started, a handful of objects stay."""
    for _ in range(5):
        acquire(store, "run").release()
    assert [info.key for info in store.list()] == ["lease/run/000005.beat", "lease/run/000005.json"]


def test_one_of_many_threads_gets_it(store: LocalStore) -> None:
    """Of 12 drivers that start at once one gets the lease and the others are told of it."""

    def attempt(_: int) -> Lease | None:
        try:
            return acquire(store, "run")
        except RunError:
            return None

    with ThreadPoolExecutor(12) as pool:
        leases = [lease for lease in pool.map(attempt, range(12)) if lease]
    assert len(leases) == 1
    leases[0].release()


def test_one_of_many_processes_gets_it(store: LocalStore) -> None:
    """Of three processes that compete for ten leases, each lease has one holder."""
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        won = pool.starmap(compete, [(store.root, 10)] * 3, chunksize=1)
    assert sorted(chain.from_iterable(won)) == list(range(10))


def test_a_killed_process_is_followed(store: LocalStore) -> None:
    """With the real process table: refused while the holder lives, taken over at once after it was killed."""
    context = multiprocessing.get_context("fork")
    ready = context.Event()

    def hold() -> None:
        acquire(store, "run")
        ready.set()
        time.sleep(60)

    process = context.Process(target=hold)
    process.start()
    assert ready.wait(10)
    with pytest.raises(RunError, match=str(process.pid)):
        acquire(store, "run")
    process.kill()
    process.join()
    started = time.monotonic()
    with acquire(store, "run") as lease:
        assert lease.generation == 2
    assert time.monotonic() - started < 2


def test_a_zombie_is_dead() -> None:
    """A process that ended counts as gone before its parent has noticed."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    assert until(lambda: process_start(pid) is None)
    os.waitpid(pid, 0)
    assert process_start(os.getpid())


@pytest.mark.parametrize(("beat_s", "ttl_s"), [(0, 30), (-1, 30), (30, 30), (40, 30)])
def test_impossible_times_are_refused(store: LocalStore, beat_s: float, ttl_s: float) -> None:
    """A beat slower than the ttl would let every challenger in."""
    with pytest.raises(InputError, match="beat_s < ttl_s"):
        acquire(store, "run", beat_s=beat_s, ttl_s=ttl_s)
