"""Actors on graphics cards of several nodes: logical cards, which Ray hands out though the machine has none.

The actors compute on the CPU, and the cards' memory is played (see `integration.cards`): no test here has a card.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from integration import cards
from integration.photos import HELD, Command, pixels, put_photos, rows
from integration.raylets import Raylets, Worker, raylets

from dreamjobs import ledger
from dreamjobs.engine import RunOptions, run
from dreamjobs.manifest import build
from dreamjobs.storage import open_store

Pixels = dict[str, np.ndarray]

PHOTOS = 6
SETTINGS: dict[str, Any] = {"net": HELD, "weights": "random", "objective": "things", "octaves": 1, "steps": 2}
SETTINGS |= {"jitter": 2, "format": "png", "tile_size": 64}
SETTINGS |= {"fan_out_mpx": 1000.0}  # which no picture here is larger than; but none of them is made in a bundle


@dataclass(frozen=True)
class Dreamed:
    """What came of a run, what its processes noted, and what one process makes of the same photographs on its CPU."""

    rows: list[dict[str, Any]]
    made: Pixels
    alone: Pixels
    notes: list[cards.Note]

    def noted(self, what: str) -> list[cards.Note]:
        """The notes of one kind."""
        return [note for note in self.notes if note["what"] == what]

    def actors(self) -> Counter[tuple[str, str]]:
        """How many actors had each card of each node."""
        return Counter((note["node"], note["card"]) for note in self.noted("actor"))

    def batches(self, node: Worker) -> Counter[int]:
        """How many tiles went through the net at once on a node, and how often."""
        return Counter(note["tiles"] for note in self.noted("batch") if note["node"] == node.id)

    def difference(self) -> int:
        """By how much of 255 the pixels of the same pictures differ at the most."""
        assert self.made.keys() == self.alone.keys()
        return max(int(np.abs(self.made[key] - self.alone[key]).max()) for key in self.made)


class Place:
    """A cluster, two cards on one node, one on another, none on a third; and the folder of its gate and notes."""

    def __init__(self, nodes: Raylets, gate: Path) -> None:
        self.nodes, self.gate = nodes, gate
        self.two = nodes.add(cpus=2, num_gpus=2)
        self.one = nodes.add(cpus=2, num_gpus=1)
        self.none = nodes.add(cpus=1, num_gpus=0)

    def dream(self, folder: Path, side: int, actors: int, *options: str) -> Dreamed:
        """Dream photographs, none of which ends before all are fetched and so many actors have one each."""
        photos, manifest, url = (str(folder / name) for name in ("photos", "m.parquet", "run"))
        put_photos(photos, PHOTOS, size=(side, side))
        build([photos], manifest, [])
        settings = [f"--set={name}={value}" for name, value in SETTINGS.items()]
        command = Command(self.gate, "run", manifest, url, *settings, f"--address={self.nodes.address}", *options)
        with command:
            command.until(lambda: sum(note["what"] == "fetch" for note in cards.notes(self.gate)) == PHOTOS)
            command.until(lambda: len([*self.gate.glob("dreaming.*")]) >= actors)
            self.open()
            assert command.wait() == 0, command.output
        run(manifest, f"{url}-alone", SETTINGS, RunOptions(inline=True))
        assert ledger.verify(open_store(url)).sound
        return Dreamed(rows(url), pixels(url), pixels(f"{url}-alone"), cards.notes(self.gate))

    def open(self) -> None:
        (self.gate / "open").touch()

    def clear(self) -> None:
        """Forget what an earlier run left at the gate and noted."""
        for path in [*self.gate.glob("dreaming*"), *self.gate.glob("open")]:
            path.unlink()
        cards.forget(self.gate)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    gate = tmp_path_factory.mktemp("gate")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(cards.FOLDER, str(gate))
        patch.setenv("DREAMJOBS_TEST_GATE", str(gate))
        patch.delenv("CUDA_VISIBLE_DEVICES", raising=False)  # Ray would hand out no more cards than it names
        patch.setattr("dreamjobs.engine.driver.best_device", lambda: "cpu")  # for who dreams alone, if cards are here
        with raylets(gate, cards.hook(gate)) as nodes:
            yield Place(nodes, gate)


@pytest.fixture(scope="module")
def on_whole_cards(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Dreamed:
    """A run without options for actors, of many tiles: 3 fit on each card of the one node, 6 on the other's."""
    place.clear()
    cards.put_rooms(place.gate, {place.two.id: 3, place.one.id: 6})
    return place.dream(tmp_path_factory.mktemp("whole"), 400, 3)


def test_each_actor_has_a_logical_card_of_its_own(place: Place, on_whole_cards: Dreamed) -> None:
    """There is one actor for each card of each node, none where there is no card, and no job is tried twice."""
    assert on_whole_cards.actors() == {(place.two.id, "0"): 1, (place.two.id, "1"): 1, (place.one.id, "0"): 1}
    assert {note["device"] for note in on_whole_cards.noted("actor")} == {"cuda"}
    assert Counter((row["status"], row["attempts"]) for row in on_whole_cards.rows) == {("done", 1): PHOTOS}
    at_work = {row["actor"].rpartition(":")[2] for row in on_whole_cards.rows}
    assert at_work == {str(note["pid"]) for note in on_whole_cards.noted("actor")}


@pytest.mark.parametrize("stage", ["fetch", "store"])
def test_a_node_without_a_card_does_its_part(place: Place, on_whole_cards: Dreamed, stage: str) -> None:
    """What needs no actor is done on all nodes, also on the one that has no logical card."""
    by_node = Counter(note["node"] for note in on_whole_cards.noted(stage))
    assert by_node.keys() == {place.two.id, place.one.id, place.none.id}
    assert by_node.total() == PHOTOS


def test_cards_of_two_kinds_take_batches_of_their_own(place: Place, on_whole_cards: Dreamed) -> None:
    """In one run as many tiles go through the net at once as the (played) memory of the actor's own card has room for.

    The pictures are those that one tile at a time comes to, up to rounding.
    """
    assert max(on_whole_cards.batches(place.two)) == 3
    assert max(on_whole_cards.batches(place.one)) == 6
    assert {note["device"] for note in on_whole_cards.noted("batch")} == {"cuda"}
    assert {row["device"] for row in on_whole_cards.rows} == {cards.name(3), cards.name(6)}
    assert on_whole_cards.difference() <= 1


def test_two_actors_share_a_logical_card(place: Place, tmp_path: Path) -> None:
    """With half a GPU for each actor a node with one card and two cores has two actors, which dream at a time."""
    place.clear()
    dreamed = place.dream(tmp_path, 64, 4, "--gpus-per-actor=0.5")
    assert dreamed.actors()[place.one.id, "0"] == 2
    assert Counter(note["node"] for note in dreamed.noted("actor")) == {place.two.id: 2, place.one.id: 2}
    assert {row["status"] for row in dreamed.rows} == {"done"}
    assert dreamed.difference() == 0  # each is one tile
