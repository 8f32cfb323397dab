"""Intervals and rectangles of whole numbers, and how a length or a picture is covered by some."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

_SLACK = 8


@dataclass(frozen=True)
class Span:
    """The interval [start, stop) on one axis."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        return self.stop - self.start

    def within(self, whole: "Span") -> "Span":
        """The same interval, counted from where `whole` starts."""
        return self.moved(-whole.start)

    def moved(self, by: int) -> "Span":
        """The same interval, so much further on."""
        return Span(self.start + by, self.stop + by)


@dataclass(frozen=True)
class Box:
    """The rectangle [y.start, y.stop) x [x.start, x.stop)."""

    y: Span
    x: Span

    @property
    def height(self) -> int:
        return self.y.length

    @property
    def width(self) -> int:
        return self.x.length

    @property
    def slices(self) -> tuple[slice, slice]:
        """For indexing the last two axes of a tensor: `picture[..., *box.slices]`."""
        return slice(self.y.start, self.y.stop), slice(self.x.start, self.x.stop)

    def holds(self, y: int, x: int) -> bool:
        """Whether a pixel lies in it."""
        return self.y.start <= y < self.y.stop and self.x.start <= x < self.x.stop

    def within(self, whole: "Box") -> "Box":
        """The same rectangle, counted from where `whole` starts."""
        return Box(self.y.within(whole.y), self.x.within(whole.x))

    def shared(self, other: "Box") -> "Box":
        """What both have; of no height or width, or less, where they do not meet."""
        y = Span(max(self.y.start, other.y.start), min(self.y.stop, other.y.stop))
        return Box(y, Span(max(self.x.start, other.x.start), min(self.x.stop, other.x.stop)))

    @property
    def is_empty(self) -> bool:
        """Whether no pixel lies in it."""
        return self.height <= 0 or self.width <= 0


def spans(length: int, size: int, align: int) -> list[Span]:
    """The fewest spans of nearly equal length that cover [0, length) once, each up to an eighth longer than `size`.

    What two neighbours both see costs more than that. Every start is a multiple of `align`; a span is longer still only
    where `align` leaves no other way.
    """
    units = math.ceil(length / align)
    number = math.ceil(units / max(1, (size + size // _SLACK) // align))
    cuts = [units * index // number * align for index in range(number)] + [length]
    return [Span(start, stop) for start, stop in itertools.pairwise(cuts)]


def cover(height: int, width: int, size: int, align: tuple[int, int]) -> Iterator[Box]:
    """Boxes that cover (height, width) once, row by row, cut at multiples of `align` (y, x)."""
    for y in spans(height, size, align[0]):
        for x in spans(width, size, align[1]):
            yield Box(y, x)


def around(one: Box, other: Box) -> Box:
    """The smallest box that holds both."""
    axes = ((one.y, other.y), (one.x, other.x))
    return Box(*(Span(min(a.start, b.start), max(a.stop, b.stop)) for a, b in axes))
