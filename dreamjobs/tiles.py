"""Geometry of tiles: boxes that cover a picture once, and the context each needs. Whole numbers only, no pixels.

A tile *owns* a box of pixels, and with it the layer positions whose anchor lies in the box; the boxes of all tiles
cover the picture once. To compute the positions it owns, a tile is cut with a halo: the *crop*, which holds
everything those positions see. An objective that is a sum over positions is then the sum of the tiles' objectives,
and its gradient the sum of the tiles' gradients, each added at its crop: exactly, because a position sees nothing
outside its receptive field. Half a receptive field of halo is enough, since gradients are added and not cut.

Lengths are pixels, positions are indices into a layer's grid, intervals are half open, order is (y, x).
"""

import bisect
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_SLACK = 8


@dataclass(frozen=True)
class Axis:
    """Receptive field along one axis: position p sees the pixels [p * jump - padding, p * jump - padding + size)."""

    size: int
    jump: int
    padding: int


@dataclass(frozen=True)
class Field:
    """Receptive field of a layer."""

    y: Axis
    x: Axis


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
        return Span(self.start - whole.start, self.stop - whole.start)


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

    def without(self, inner: "Box") -> "list[Box]":
        """What is left around a box inside, in at most four boxes."""
        if inner.is_empty:
            return [self]
        above, below = Span(self.y.start, inner.y.start), Span(inner.y.stop, self.y.stop)
        left, right = Span(self.x.start, inner.x.start), Span(inner.x.stop, self.x.stop)
        rest = Box(above, self.x), Box(below, self.x), Box(inner.y, left), Box(inner.y, right)
        return [box for box in rest if not box.is_empty]


@dataclass(frozen=True)
class Layer:
    """What cutting needs to know of a layer: its field and the size of its grid for the whole picture."""

    field: Field
    height: int
    width: int


@dataclass(frozen=True)
class Tile:
    """One tile: the pixels it owns, the crop it is computed from, and the positions it owns in each layer.

    `positions[i]` is a box in the grid that layer i has *for the crop*, not for the whole picture.
    """

    owned: Box
    crop: Box
    positions: tuple[Box, ...]


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


def alignment(fields: Sequence[Field]) -> tuple[int, int]:
    """The (y, x) steps at which a crop may start so that every layer's grid falls on the whole picture's."""
    return math.lcm(*(field.y.jump for field in fields)), math.lcm(*(field.x.jump for field in fields))


def cut(
    height: int, width: int, layers: Sequence[Layer], *, size: int, overlap: int | None = None, least: int = 1
) -> list[Tile]:
    """The tiles of a picture of (height, width) for an objective on these layers; none without a position.

    `overlap` is the halo in pixels, None for as much as the layers see (exact). No crop is smaller than `least`
    where the picture is not.
    """
    rows, columns = (line.cut(size, overlap, least) for line in _lines(height, width, layers))
    tiles = (_crossed(y, x) for y in rows for x in columns)
    return [tile for tile in tiles if any(box.height and box.width for box in tile.positions)]


def affordable_overlap(
    height: int, width: int, layers: Sequence[Layer], *, size: int, most: float, least: int = 1
) -> int | None:
    """The widest halo, in pixels, with which the crops together hold at most `most` times the picture's pixels.

    None where the exact halo is affordable, else a multiple of the layers' strides, 0 where nothing more is.
    """
    lines = _lines(height, width, layers)

    def seen(overlap: int | None) -> int:
        return math.prod(sum(band.crop.length for band in line.cut(size, overlap, least)) for line in lines)

    limit = most * height * width
    if seen(None) <= limit:
        return None
    step = math.lcm(*(line.align for line in lines))
    wider = range(step, max(height, width) + step, step)
    return step * bisect.bisect_right(wider, limit, key=seen)


def exact_parts(
    owned: Box, height: int, width: int, layers: Sequence[Layer], *, size: int, least: int = 1
) -> list[Tile]:
    """A box of a picture of (height, width), which begins on the layers' alignment, in exact tiles of about `size`."""
    y, x = _lines(height, width, layers)
    rows = [y.along(_shifted(span, owned.y.start), None, least) for span in spans(owned.height, size, y.align)]
    columns = [x.along(_shifted(span, owned.x.start), None, least) for span in spans(owned.width, size, x.align)]
    return [_crossed(row, column) for row in rows for column in columns]


def around(one: Box, other: Box) -> Box:
    """The smallest box that holds both."""
    axes = ((one.y, other.y), (one.x, other.x))
    return Box(*(Span(min(a.start, b.start), max(a.stop, b.stop)) for a, b in axes))


def in_whole(tile: Tile, layers: Sequence[Layer]) -> tuple[Box, ...]:
    """A tile's positions in the grids that the layers have for the whole picture."""
    return tuple(_in_whole(box, tile.crop, layer.field) for box, layer in zip(tile.positions, layers, strict=True))


def _in_whole(box: Box, crop: Box, field: Field) -> Box:
    y, x = crop.y.start // field.y.jump, crop.x.start // field.x.jump
    return Box(_shifted(box.y, y), _shifted(box.x, x))


def _shifted(span: Span, by: int) -> Span:
    return Span(span.start + by, span.stop + by)


def uncut(height: int, width: int, grids: Sequence[tuple[int, int]]) -> Tile:
    """The whole picture as one tile, for layers with these (rows, columns)."""
    picture = Box(Span(0, height), Span(0, width))
    return Tile(picture, picture, tuple(Box(Span(0, rows), Span(0, columns)) for rows, columns in grids))


@dataclass(frozen=True)
class _Along:
    """A tile along one axis."""

    owned: Span
    crop: Span
    positions: tuple[Span, ...]


def _crossed(y: _Along, x: _Along) -> Tile:
    return Tile(Box(y.owned, x.owned), Box(y.crop, x.crop), tuple(map(Box, y.positions, x.positions)))


@dataclass(frozen=True)
class _Line:
    """One axis of a picture: its length, each layer's field and number of positions along it, and their alignment."""

    length: int
    axes: tuple[tuple[Axis, int], ...]
    align: int

    def cut(self, size: int, overlap: int | None, least: int) -> list[_Along]:
        """The tiles along this axis."""
        return [self.along(owned, overlap, least) for owned in spans(self.length, size, self.align)]

    def along(self, owned: Span, overlap: int | None, least: int) -> _Along:
        """The tile that owns a span."""
        mine = [_owned_positions(owned, self.length, axis, count) for axis, count in self.axes]
        seen = [owned] if overlap is not None else []
        for positions, (axis, _) in zip(mine, self.axes, strict=True):
            if positions.length and overlap is None:
                seen.append(_seen(positions, axis))
        start = min((span.start for span in seen), default=owned.start) - (overlap or 0)
        stop = max((span.stop for span in seen), default=owned.stop) + (overlap or 0)
        crop = _fit(Span(start, stop), self.length, self.align, least)
        firsts = [crop.start // axis.jump for axis, _ in self.axes]
        own = (_shifted(span, -first) for span, first in zip(mine, firsts, strict=True))
        return _Along(owned, crop, tuple(own))


def _lines(height: int, width: int, layers: Sequence[Layer]) -> tuple[_Line, _Line]:
    """The picture's two axes, y and x."""
    align = alignment([layer.field for layer in layers])
    y = _Line(height, tuple((layer.field.y, layer.height) for layer in layers), align[0])
    x = _Line(width, tuple((layer.field.x, layer.width) for layer in layers), align[1])
    return y, x


def _owned_positions(owned: Span, length: int, axis: Axis, count: int) -> Span:
    """Positions whose anchor p * jump lies in `owned`; the last span also takes those that hang over the end."""
    start = min(count, math.ceil(owned.start / axis.jump))
    stop = count if owned.stop == length else min(count, math.ceil(owned.stop / axis.jump))
    return Span(start, max(start, stop))


def _seen(positions: Span, axis: Axis) -> Span:
    start = positions.start * axis.jump - axis.padding
    return Span(start, (positions.stop - 1) * axis.jump - axis.padding + axis.size)


def _fit(span: Span, length: int, align: int, least: int) -> Span:
    """The span inside [0, length), its start moved down to a multiple of `align`, at least `least` long if it can."""
    stop = min(length, max(span.stop, max(0, span.start) + least))
    start = max(0, min(span.start, stop - least)) // align * align
    return Span(start, stop)
