"""Geometry of tiles: boxes that cover a picture once, and the context each needs. Whole numbers only, no pixels.

A tile *owns* a box of pixels, and with it the layer positions whose anchor lies in the box; the boxes of all tiles
cover the picture once. To compute the positions it owns, a tile is cut with a halo: the *crop*, which holds
everything those positions see. An objective that is a sum over positions is then the sum of the tiles' objectives,
and its gradient the sum of the tiles' gradients, each added at its crop: exactly, because a position sees nothing
outside its receptive field. Half a receptive field of halo is enough, since gradients are added and not cut.

Lengths are pixels, positions are indices into a layer's grid, intervals are half open, order is (y, x).
"""

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass

from dreamjobs.tiles.boxes import Box, Span, spans


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
    rows = [y.along(span.moved(owned.y.start), None, least) for span in spans(owned.height, size, y.align)]
    columns = [x.along(span.moved(owned.x.start), None, least) for span in spans(owned.width, size, x.align)]
    return [_crossed(row, column) for row in rows for column in columns]


def in_whole(tile: Tile, layers: Sequence[Layer]) -> tuple[Box, ...]:
    """A tile's positions in the grids that the layers have for the whole picture."""
    return tuple(_in_whole(box, tile.crop, layer.field) for box, layer in zip(tile.positions, layers, strict=True))


def _in_whole(box: Box, crop: Box, field: Field) -> Box:
    y, x = crop.y.start // field.y.jump, crop.x.start // field.x.jump
    return Box(box.y.moved(y), box.x.moved(x))


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
        own = (span.moved(-first) for span, first in zip(mine, firsts, strict=True))
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
