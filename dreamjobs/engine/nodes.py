"""The cluster's nodes as they join, are drained and die, and what that means for the actors.

Ray tells of a node's death those who wait for something on it, and of the rest nobody: nodes are looked at every
2 seconds. A node is drained when a spot notice, an autoscaler or a person asked Ray to (`ray drain-node`); Ray then
puts nothing new on it. A driver at a `ray://` address sees joins and deaths, and no drains.
"""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import ray
import ray.util.client

from dreamjobs.errors import WorkerLostError
from dreamjobs.schedule import ActorLeaving, ActorLost, Capacity, Event
from dreamjobs.worker import as_failure

LOOK_S = 2.0
DOUBT_S = 15.0


@dataclass(frozen=True)
class Need:
    """What an actor takes of a node: CPU threads, and a GPU, a part of one, or none."""

    threads: int
    gpus: float

    def fits(self, resources: Mapping[str, float]) -> int:
        """How many actors a node of these resources has room for; an actor lies on one card."""
        by_cpu = int(resources.get("CPU", 0) // self.threads)
        if not self.gpus:
            return by_cpu
        a_card = int(1 / self.gpus + 1e-9)
        return min(by_cpu, int(resources.get("GPU", 0)) * a_card)


@dataclass(frozen=True)
class Node:
    """A node that is alive, and what it has in all."""

    id: str
    resources: Mapping[str, float]
    draining: bool = False


def look() -> list[Node]:
    """The nodes that are alive now."""
    draining: Collection[str] = ()
    if not ray.util.client.ray.is_connected():  # type: ignore[no-untyped-call]  # ray leaves it so
        # Ray has no public call for this; its own libraries make the same.
        draining = ray._private.state.state.get_draining_nodes()
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]  # ray leaves it so
    return [Node(node["NodeID"], node["Resources"], node["NodeID"] in draining) for node in nodes if node["Alive"]]


def room(nodes: Collection[Node], need: Need) -> int:
    """How many actors there is room for, now and later: those on nodes that are drained count no more."""
    return sum(need.fits(node.resources) for node in nodes if not node.draining)


class Whereabouts:
    """On which node each actor is, what its node comes to, and where tasks are to go."""

    def __init__(self, need: Need, *, grows: bool) -> None:
        """`grows`: tell also for how many actors there is room."""
        self._need, self._grows = need, grows
        self._nodes: dict[int, str] = {}
        self._told: set[int] = set()
        self._seen: set[str] = set()
        self._staying: list[str] = []
        self._with_cores: set[str] = set()
        self._turns = count()
        self._doubted: dict[str, float] = {}
        self._room = 0
        self._next = 0.0

    def settle(self, actor: int, node: str) -> None:
        """An actor has come up on a node."""
        self._nodes[actor] = node

    def forget(self, actor: int) -> None:
        """An actor is no more."""
        self._nodes.pop(actor, None)
        self._told.discard(actor)

    def place(self) -> str:
        """The node for the next task, each in turn; so that what was on a node is known when it dies.

        Ray tells of that at once where a process ends, but not for minutes where a machine falls silent. A node without
        cores, as a head that is to drive and no more, has its turn only where nothing else is left.
        """
        return self._in_turn(self._choice())

    def another(self, node: str | None) -> str | None:
        """A node for a copy of what is on this one; None where there is no other."""
        others = [other for other in self._choice() if other != node]
        return self._in_turn(others) if others else None

    def of(self, actor: int | None) -> str | None:
        """The node that an actor came up on."""
        return None if actor is None else self._nodes.get(actor)

    def doubt(self, node: str | None, actor: int | None) -> None:
        """Something was lost on a node, or an actor was: if there are others, tasks go to those for a while.

        Where a node dies, what was on it tells so before Ray's list of nodes does, and what is tried again at once
        would be lost again.
        """
        node = node or self.of(actor)
        if node:
            self._doubted[node] = time.monotonic() + DOUBT_S

    def is_dead(self, node: str | None) -> bool:
        """Whether a node was gone at the last look; None is one that is not known, and not told of as dead."""
        return node is not None and node not in self._seen

    def look_again(self) -> None:
        """See now which nodes there are; `news` tells of it when it is due."""
        self._see(look())

    def is_due(self) -> bool:
        """Whether it is time to look again."""
        return time.monotonic() >= self._next

    def news(self, nodes: Collection[Node], at_work: Collection[int]) -> list[Event]:
        """What has changed since the last look; of the death of an actor at work its work tells."""
        self._next = time.monotonic() + LOOK_S
        self._see(nodes)
        return [*self._of_actors({node.id: node for node in nodes}, at_work), *self._of_room(nodes)]

    def _choice(self) -> list[str]:
        if not self._staying:
            self._see(look())
        trusted = [node for node in self._staying if self._doubted.get(node, 0) < time.monotonic()]
        return [node for node in trusted if node in self._with_cores] or trusted or self._staying

    def _in_turn(self, nodes: Sequence[str]) -> str:
        return nodes[next(self._turns) % len(nodes)]

    def _see(self, nodes: Collection[Node]) -> None:
        self._seen = {node.id for node in nodes}
        self._staying = sorted(node.id for node in nodes if not node.draining) or sorted(self._seen)
        self._with_cores = {node.id for node in nodes if node.resources.get("CPU", 0) > 0}

    def _of_actors(self, nodes: Mapping[str, Node], at_work: Collection[int]) -> Iterator[Event]:
        for actor, node_id in self._nodes.items():
            if actor in self._told:
                continue
            node = nodes.get(node_id)
            if node is None and actor not in at_work:
                self._told.add(actor)
                yield ActorLost(actor, as_failure(WorkerLostError(f"node {node_id} died")))
            elif node and node.draining:
                self._told.add(actor)
                yield ActorLeaving(actor)

    def _of_room(self, nodes: Collection[Node]) -> Iterator[Event]:
        before, self._room = self._room, room(nodes, self._need)
        if self._grows and self._room != before:
            yield Capacity(self._room)
