"""What nodes mean for actors: room, drains and deaths, told from lists of nodes."""

from __future__ import annotations

import pytest

from dreamjobs.engine.cluster import Wanted, connected
from dreamjobs.engine.nodes import DOUBT_S, Need, Node, Whereabouts, room
from dreamjobs.engine.pixels import Pieces, Pixels
from dreamjobs.errors import InputError
from dreamjobs.schedule import ActorLeaving, ActorLost, Capacity

CARDS = {"CPU": 16.0, "GPU": 4.0}
CORES = {"CPU": 7.0}


@pytest.mark.parametrize(
    ("need", "cards", "cores"),
    [
        (Need(1, 1), 4, 0),  # a node without a card does what needs no actor
        (Need(1, 0.5), 8, 0),
        (Need(1, 0.3), 12, 0),  # three on each card, not thirteen on four
        (Need(1, 1 / 3), 12, 0),
        (Need(8, 1), 2, 0),  # threads run out first
        (Need(2, 0), 8, 3),
    ],
)
def test_a_node_has_room_for_actors_that_fit_on_it(need: Need, cards: int, cores: int) -> None:
    """One actor a card, or as many as share one; without cards as many as there are threads for."""
    assert need.fits(CARDS) == cards
    assert need.fits(CORES) == cores
    assert room([Node("a", CARDS), Node("b", CORES), Node("c", CARDS, draining=True)], need) == cards + cores


def test_an_actor_is_told_of_its_node_once() -> None:
    """Actors of a drained node leave, idle ones of a dead node are lost; at the next look all of that is old."""
    here = Whereabouts(Need(1, 0), grows=False)
    for actor, node in enumerate("abbc"):
        here.settle(actor, node)
    nodes = [Node("a", CORES, draining=True), Node("c", CORES)]
    leaving, lost = here.news(nodes, at_work=[0, 2])
    assert leaving == ActorLeaving(0)
    assert isinstance(lost, ActorLost)
    assert lost.actor == 1
    assert lost.failure.retryable
    assert "node b died" in lost.failure.message
    assert here.news(nodes, at_work=[2]) == []
    here.forget(1)
    here.settle(1, "a")
    assert here.news(nodes, at_work=[]) == [ActorLost(2, lost.failure), ActorLeaving(1)]


def test_tasks_go_to_each_node_that_stays_in_turn() -> None:
    """However often nodes are looked at; and of a node that is gone it is known that what was on it is."""
    here = Whereabouts(Need(1, 0), grows=False)
    nodes = [Node("b", CORES), Node("a", CORES), Node("c", CORES, draining=True)]
    places = []
    for _ in range(4):
        here.news(nodes, [])
        places.append(here.place())
    assert places == ["a", "b", "a", "b"]
    assert [node for node in "abcd" if here.is_dead(node)] == ["d"]
    here.news(nodes[2:], [])
    assert here.place() == "c"
    assert here.is_dead("a")


def test_tasks_keep_away_from_where_something_was_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that dies is in Ray's list a while longer; if no other is there, it is tried all the same."""
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    here = Whereabouts(Need(1, 0), grows=False)
    here.settle(7, "b")
    here.news([Node(name, CORES) for name in "abc"], [])
    here.doubt(None, 7)
    here.doubt(None, None)
    assert {here.place() for _ in range(6)} == {"a", "c"}
    here.doubt("a", None)
    assert {here.place() for _ in range(6)} == {"c"}
    here.doubt("c", 7)
    assert {here.place() for _ in range(6)} == {"a", "b", "c"}
    now += DOUBT_S + 1
    here.doubt("b", None)
    assert {here.place() for _ in range(6)} == {"a", "c"}


def test_a_head_without_cores_has_tasks_only_where_nothing_else_is_left() -> None:
    """It has them alone at the start, none beside a node that has cores, and again once that is doubted or drained."""
    here = Whereabouts(Need(1, 0), grows=False)
    head, workers = Node("a", {}), [Node("b", CORES), Node("c", CARDS)]
    here.news([head], [])
    assert here.place() == "a"
    here.news([head, *workers], [])
    assert {here.place() for _ in range(6)} == {"b", "c"}
    here.news([head, workers[0], Node("c", CARDS, draining=True)], [])
    assert {here.place() for _ in range(6)} == {"b"}
    here.doubt("b", None)
    assert {here.place() for _ in range(6)} == {"a"}


def test_room_is_told_where_it_changes() -> None:
    """Who wants as many actors as fit hears of each change of that, and who asked for a number hears of none."""
    grows, fixed = Whereabouts(Need(1, 0), grows=True), Whereabouts(Need(1, 0), grows=False)
    one, two = [Node("a", CORES)], [Node("a", CORES), Node("b", CORES)]
    assert [grows.news(nodes, []) for nodes in (one, two, two, one)] == [
        [Capacity(7)],
        [Capacity(14)],
        [],
        [Capacity(7)],
    ]
    assert [fixed.news(nodes, []) for nodes in (one, two)] == [[], []]


@pytest.mark.parametrize("gpus", [-0.5, 1.5])
def test_an_actor_takes_a_card_or_part_of_one(gpus: float) -> None:
    """More than one card for an actor is refused before anything starts."""
    with pytest.raises(InputError, match=rf"{gpus} GPUs per actor: 0 to 1"), connected(None, Wanted(gpus=gpus)):
        pass


def test_the_cluster_at_hand_is_laid_out(ray_cluster: None) -> None:
    """On eight cores there are eight actors of one thread, two of three; or as many as are asked for."""
    with connected(None) as layout:
        assert (layout.actors, layout.least, layout.grows) == (8, 1, True)
    with connected(None, Wanted(threads=3)) as layout:
        assert layout.actors == 2
    with connected(None, Wanted(actors=20)) as layout:
        assert (layout.actors, layout.least, layout.grows) == (20, 20, False)
    with connected(None, Wanted(actors=20, least=2)) as layout:
        assert (layout.actors, layout.least) == (20, 2)
    with connected(None, Wanted(gpus=0.5)) as layout:
        assert (layout.actors, layout.need) == (1, Need(1, 0.5))  # one waits for a card to come


def test_copies_stand_in_for_what_a_node_took() -> None:
    """However many ask, what has a copy on another node is there; what has none is not, unless it is still to come."""
    pixels = Pixels("work", "little", "here", before={0: Pieces("a", "gone", "copy of a", "here")})
    pixels.pieces = {1: Pieces("b", "gone")}
    pixels.crops = {1: "crops"}
    assert pixels.outlive("gone".__eq__)
    assert pixels.outlive("gone".__eq__)
    assert pixels.before[0].references == ("copy of a",)
    pixels.crops.clear()
    assert not pixels.outlive("gone".__eq__)
