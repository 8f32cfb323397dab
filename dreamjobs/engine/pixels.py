"""References to the pixels of jobs in flight, and what is left of them when a node dies.

A piece of a picture that many actors dream is copied to another node as soon as it is made, and no round ends before
its pieces are: what a node takes with it is the tiles that were being dreamed there, not the picture.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from dreamjobs.schedule import Part

IsDead = Callable[[str | None], bool]


@dataclass
class Pieces:
    """Those of a group of tiles, the node that they lie on, and the copy and its node where there is another."""

    held: Any
    node: str | None = None
    spare: Any = None
    spare_node: str | None = None

    def outlive(self, is_dead: IsDead) -> bool:
        """Put the copy in their place if they are gone; whether they are there then."""
        if is_dead(self.node) and self.spare is not None:
            self.held, self.node, self.spare, self.spare_node = self.spare, self.spare_node, None, None
        return not is_dead(self.node)

    @property
    def references(self) -> tuple[Any, ...]:
        """To them, and to the copy if there is one."""
        return (self.held,) if self.spare is None else (self.held, self.spare)


@dataclass
class Pixels:
    """The work of one job and the node that it was read on; of a fanned-out picture also what its tiles came to."""

    work: Any
    little: Any
    node: str | None
    crops: dict[int, Any] = field(default_factory=dict)  # group -> its crops in the round
    before: dict[int, Pieces] = field(default_factory=dict)  # group -> its pieces of the round before
    pieces: dict[int, Pieces] = field(default_factory=dict)  # group -> its pieces of the round
    round: tuple[int, int] = (0, -1)  # attempt and number

    def is_at(self, part: Part) -> bool:
        """Whether a part is one of the round."""
        return self.round == (part.attempt, part.number)

    def made(self, part: Part) -> None:
        """A group's round is over, its crops no longer needed."""
        self.crops.pop(part.index, None)

    def enter(self, part: Part) -> None:
        """Go on to the round of a part, if it is the first of it: what is older than one round is let go of."""
        if not self.is_at(part):
            self.round = part.attempt, part.number
            self.before, self.pieces, self.crops = self.pieces, {}, {}

    def outlive(self, is_dead: IsDead) -> bool:
        """Take copies for the pieces that are gone; whether all are there then.

        Pieces that are still to come, or to be copied, need not be: their tiles are dreamed again.
        """
        there = [each.outlive(is_dead) for each in self.before.values()]
        there += [each.outlive(is_dead) for group, each in self.pieces.items() if group not in self.crops]
        return all(there)
