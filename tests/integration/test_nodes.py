"""Runs on several nodes that come, go and fail: the pictures are those of a run that nothing happened to."""

from __future__ import annotations

import os
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.photos import GATED, HELD, Command, encoded, noise, pictures, put_photos, rows, wait_for
from integration.raylets import OBJECT_STORE_BYTES, Raylets, Worker, raylets
from integration.s3_server import Fault, broken_proxy

from dreamjobs import ledger
from dreamjobs.engine import RunOptions, run
from dreamjobs.manifest import build
from dreamjobs.storage import open_store

SETTINGS: dict[str, Any] = {"net": HELD, "weights": "random", "objective": "things", "octaves": 1, "steps": 8}
SETTINGS |= {"fan_out_mpx": 1000.0}  # which no picture here is larger than; but none of them is made in a bundle
FAN_OUT: dict[str, Any] = {"fan_out_mpx": 0.05, "fan_out_tile": 256, "fan_out_overlap": 64, "sync_steps": 1}
SEED = 3


Archive = tuple[str, dict[str, bytes]]
"""A manifest, and the pictures that its photographs are dreamed to."""


class Faults:
    """While `share` is not 0, so many of the requests meet a 503 or a reset, before or after they are heard."""

    def __init__(self) -> None:
        self.share = 0.0
        self.seen: Counter[Fault] = Counter()
        self._chance, self._lock = random.Random(SEED), threading.Lock()

    def __call__(self, method: str) -> Fault:
        with self._lock:
            fault: Fault = None
            if self._chance.random() < self.share:
                fault = self._chance.choice([503, "reset", "lost"])
            self.seen[fault] += 1
            return fault


class Place:
    """The cluster, the folder of its gate, and its way to S3."""

    def __init__(self, nodes: Raylets, gate: Path, faults: Faults) -> None:
        self.nodes, self.gate, self.faults = nodes, gate, faults

    def workers(self, count: int) -> list[Worker]:
        """The first so many workers; there are no others."""
        for node in self.nodes.workers[count:]:
            self.nodes.kill(node)
        while len(self.nodes.workers) < count:
            self.nodes.add()
        return list(self.nodes.workers)

    def command(self, manifest: str, url: str, *options: str, more: dict[str, Any] | None = None) -> Command:
        """A driver on the cluster, with the tests' settings and some more; None takes one away."""
        settings = [f"--set={name}={value}" for name, value in (SETTINGS | (more or {})).items() if value is not None]
        return Command(self.gate, "run", manifest, url, *settings, f"--address={self.nodes.address}", *options)

    def held(self, node: Worker) -> bool:
        """Whether an actor on this node is at the gate with a wide picture."""
        return any((self.gate / f"dreaming.{pid}").exists() for pid in node.dreaming())

    def steps(self, node: Worker) -> int:
        """How many steps an actor on this node has begun at the gate."""
        signs = [self.gate / f"dreaming.{pid}" for pid in node.dreaming()]
        return sum(sign.stat().st_size for sign in signs if sign.exists())

    def open(self) -> None:
        (self.gate / "open").touch()


@pytest.fixture(scope="module")
def cluster(s3_bucket_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    gate, faults = tmp_path_factory.mktemp("gate"), Faults()
    with broken_proxy(faults) as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", url)
        patch.setenv("DREAMJOBS_TEST_GATE", str(gate))
        with raylets(gate) as nodes:
            yield Place(nodes, gate, faults)


@pytest.fixture
def place(cluster: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.chdir(tmp_path)
    for sign in cluster.gate.iterdir():
        sign.unlink()
    yield cluster
    cluster.open()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, cluster: Place) -> Archive:
    """A manifest of small photographs, three of them wide, and what one process dreams them to in peace."""
    folder = tmp_path_factory.mktemp("archive")
    put_photos(str(folder / "photos"), 8)
    photos = open_store(str(folder / "photos"))
    for number in (3, 4, 5):
        photos.put(f"{number}.png", encoded(noise(number, (64, 20))))
    manifest = str(folder / "m.parquet")
    build([str(folder / "photos")], manifest, [])
    cluster.open()
    assert run(manifest, str(folder / "alone"), SETTINGS, RunOptions(inline=True)).done == 8
    return manifest, pictures(str(folder / "alone"))


def check_as_if_nothing_happened(made: dict[str, bytes]) -> None:
    """Every job is done, and the pictures are the same ones."""
    assert {row["status"] for row in rows("run")} == {"done"}
    assert pictures("run") == made
    assert ledger.verify(open_store("run")).sound


def test_a_node_killed_in_the_middle(place: Place, archive: Archive) -> None:
    """What was on it is done again on the node that is left, and its actor waits for another node."""
    manifest, made = archive
    workers = place.workers(2)
    with place.command(manifest, "run") as command:
        command.until(lambda: all(place.held(node) for node in workers))
        place.nodes.kill(workers[0])
        place.open()
        assert command.wait() == 0, command.output
    check_as_if_nothing_happened(made)
    assert {row["attempts"] for row in rows("run")} == {1, 2}


def test_a_node_killed_with_tiles_of_a_picture(place: Place) -> None:
    """A picture that several actors dream together ends the same though a node takes tiles with it.

    At its first attempt, since only the tiles are made again.
    """
    workers = place.workers(2)
    put_photos("photos", 1, size=(1000, 500))
    build(["photos"], "m.parquet", [])
    more = {"steps": 8, "net": GATED} | FAN_OUT
    with place.command("m.parquet", "run", more=more) as command:
        command.until(lambda: place.steps(workers[1]) >= 7)  # one a tile, four tiles a round: amid the second
        place.nodes.kill(workers[1])
        place.open()
        assert command.wait() == 0, command.output
    run("m.parquet", "alone", SETTINGS | more, RunOptions(inline=True))
    check_as_if_nothing_happened(pictures("alone"))
    assert [row["attempts"] for row in rows("run")] == [1]


def test_a_drained_node_loses_nothing(place: Place, archive: Archive) -> None:
    """After a spot notice a node's actor ends its dream and is replaced where there is room: no job is tried again."""
    manifest, made = archive
    leaving, staying = place.workers(2)
    with place.command(manifest, "run", "--actors=1..2") as command:
        command.until(lambda: place.held(leaving) and place.held(staying))
        place.nodes.drain(leaving, 100)
        joined = place.nodes.add()
        command.until(lambda: place.held(joined))
        assert place.held(leaving)
        place.open()
        assert command.wait() == 0, command.output
        assert command.output.count("a machine is to be taken back") == 1
    place.nodes.kill(leaving)
    check_as_if_nothing_happened(made)
    assert {row["attempts"] for row in rows("run")} == {1}


@pytest.mark.parametrize("options", [[], ["--actors=1..2"]], ids=["as many as there are", "asked for"])
def test_a_node_that_joins_late_has_work_in_ten_seconds(place: Place, archive: Archive, options: list[str]) -> None:
    """An actor begins to dream on a node that joined in the middle of a run.

    In ten seconds where each process has a core; where more want one, as other tests run too, in as many times more.
    """
    manifest, made = archive
    (first,) = place.workers(1)
    with place.command(manifest, "run", *options) as command:
        command.until(lambda: place.held(first))
        joined = place.nodes.add()
        begun = time.monotonic()
        command.until(lambda: place.held(joined))
        took_s = time.monotonic() - begun
        waiting = max(1.0, os.getloadavg()[0] / len(os.sched_getaffinity(0)))
        place.open()
        assert command.wait() == 0, command.output
    assert took_s < 10 * waiting
    check_as_if_nothing_happened(made)
    assert len({row["actor"] for row in rows("run") if row["actor"]}) == 2


def test_a_driver_killed_and_started_again(place: Place, archive: Archive) -> None:
    """The cluster lets go of a killed driver's actors, and the next driver does what is missing on new ones."""
    manifest, made = archive
    workers = place.workers(2)
    with place.command(manifest, "run") as killed:
        killed.until(lambda: all(place.held(node) for node in workers))
        killed.until(lambda: os.path.exists("run/results") and rows("run"))
        killed.kill()
    before = rows("run")
    assert 0 < len(before) < len(made)
    wait_for(lambda: not any(node.dreaming() for node in workers))
    place.open()
    with place.command(manifest, "run") as command:
        assert command.wait() == 0, command.output
    check_as_if_nothing_happened(made)
    assert all(row in rows("run") for row in before)


def test_object_stores_that_are_full(place: Place) -> None:
    """Pictures that are more than the object stores hold go on to disk and come back."""
    place.workers(1)
    put_photos("photos", 7, size=(1815, 1210))
    shrunk = {"steps": 1, "max_side": 1800}  # what is shrunk travels as floats
    assert OBJECT_STORE_BYTES < 6 * 1800 * 1200 * 12
    build(["photos"], "m.parquet", [])
    with place.command("m.parquet", "run", more=shrunk) as command:
        command.until(place.nodes.spilled)
        place.open()
        assert command.wait() == 0, command.output
    run("m.parquet", "alone", SETTINGS | shrunk, RunOptions(inline=True))
    check_as_if_nothing_happened(pictures("alone"))
    assert {row["attempts"] for row in rows("run")} == {1}


def test_five_in_a_hundred_requests_to_s3_fail(place: Place, s3_bucket_url: str) -> None:
    """With photographs, manifest and RUN on an S3 that answers 503 or hangs up now and then, no job is tried again."""
    place.workers(2)
    place.open()
    there = f"{s3_bucket_url}/{uuid.uuid4().hex[:8]}"
    put_photos(f"{there}/photos", 12)
    build([f"{there}/photos"], f"{there}/m.parquet", [{"objective": ["things", "edges"]}])
    settings = {name: value for name, value in SETTINGS.items() if name != "objective"}
    run(f"{there}/m.parquet", f"{there}/alone", settings, RunOptions(inline=True))
    place.faults.seen.clear()
    place.faults.share = 0.05
    try:
        with place.command(f"{there}/m.parquet", f"{there}/run", more={"objective": None}) as command:
            assert command.wait() == 0, command.output
    finally:
        place.faults.share = 0.0
    assert min(place.faults.seen[503], place.faults.seen["reset"]) > 0
    assert pictures(f"{there}/run") == pictures(f"{there}/alone")
    assert {row["attempts"] for row in rows(f"{there}/run")} == {1}
    assert ledger.verify(open_store(f"{there}/run")).sound
