"""How a fanned-out picture is cut and in what order it is dreamed: whole numbers only, no pixels.

Each octave is covered by tiles. A tile *owns* a box; it is dreamed from its *crop*, the box with `fan_out_overlap`
pixels around it; it hands on its *support*, the box with a quarter of that around it, over which it is blended with its
neighbours by windows that sum to 1. The rest of the overlap, which the edge of the crop spoils, is let go. What the net
sees of a tile, its *view*, is as large for all tiles of an octave: none keeps the others waiting, and oneDNN, which
compiles its code anew for every size of map, has few sizes to do that for. So a tile at the picture's edge, which needs
no overlap there but some of its mirror image, owns more.

An octave is dreamed in rounds: all tiles take so many steps, then they are stitched. Everything here follows from the
picture's size and its parameters, never from the cluster.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from dreamjobs import objectives, tiles
from dreamjobs.params import DreamParams
from dreamjobs.sizes import Size, octave_sizes
from dreamjobs.tiles import Box, Span

ALIGN = 32
"""Pixels: crops begin at multiples, so that nets whose strides divide it see all tiles on one grid."""

MIRRORED = 32
"""Pixels of mirror image, at least, that a tile at the picture's edge is seen with there."""

RAMPS = 4
"""The overlap over the width of a ramp: a pixel's gradient depends on others as far away as the net sees."""

LEAST_SIDE = 128
"""Pixels: an octave has no fewer, so that every net but the oddest has a position there."""

LITTLE_SIDE = 512
"""Pixels, of the photograph as objectives see it that ask which channels it moves."""

TOGETHER = 150_000
"""Pixels of crops that go to an actor in one call, if they are not one tile's: a call costs some 3 ms, and a graphics
card may need no longer for a step of so many."""


@dataclass(frozen=True)
class FanTile:
    """One tile of one octave, in pixels of the octave: what it owns, what it hands on, what it is dreamed from."""

    owned: Box
    support: Box
    crop: Box


@dataclass(frozen=True)
class Octave:
    """One size of the picture, its tiles, row by row, and their view: of how many pixels (h, w) each is seen."""

    height: int
    width: int
    tiles: tuple[FanTile, ...]
    view: Size

    @property
    def size(self) -> Size:
        """(h, w)."""
        return self.height, self.width

    @cached_property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """The tiles that are stitched, dreamed and handed on together: one, or several in a row that are small."""
        found: list[list[int]] = []
        held = 0
        for number, tile in enumerate(self.tiles):
            pixels = tile.crop.height * tile.crop.width
            if not found or held + pixels > TOGETHER:
                found, held = [*found, []], 0
            found[-1].append(number)
            held += pixels
        return tuple(map(tuple, found))

    def tiles_over(self, box: Box) -> tuple[int, ...]:
        """The tiles whose supports have a part in a box."""
        both = (tile.support.shared(box) for tile in self.tiles)
        return tuple(number for number, part in enumerate(both) if not part.is_empty)


@dataclass(frozen=True)
class Round:
    """What all tiles of an octave do between two syncs: the steps from `first` on.

    A round of 0 steps takes the gradient and changes nothing: it measures how strong the picture's gradient is.
    """

    octave: int
    first: int
    steps: int


@dataclass(frozen=True)
class Plan:
    """A picture's octaves, small to large, and its rounds in order; `ramp` is half the width of a blended seam."""

    octaves: tuple[Octave, ...]
    rounds: tuple[Round, ...]
    ramp: int

    def is_measured(self, octave: int) -> bool:
        """Whether an octave begins with a round that only measures."""
        return any(now.octave == octave and not now.steps for now in self.rounds)

    def ends_octave(self, number: int) -> bool:
        """Whether round `number` is the last of an octave that others follow."""
        return number + 1 < len(self.rounds) and self.rounds[number + 1].octave > self.rounds[number].octave

    def octave(self, number: int) -> Octave:
        """The octave of a round."""
        return self.octaves[self.rounds[number].octave]

    def needs(self, number: int, group: int) -> tuple[int, ...]:
        """The groups of the round before whose pieces the crops of a group are made of in round `number`."""
        if number == 0:
            return ()
        now, old = self.octave(number), self.octave(number - 1)
        crops = (reach(now.tiles[tile].crop, now.size, old.size) for tile in now.groups[group])
        tiles = {tile for crop in crops for tile in old.tiles_over(crop)}
        return tuple(number for number, group in enumerate(old.groups) if not tiles.isdisjoint(group))

    def tasks(self, params: DreamParams, number: int, group: int) -> "tuple[Task, ...]":
        """The tiles of a group in a round."""
        return tuple(Task(self, params, number, tile) for tile in self.octave(number).groups[group])


def is_wanted(params: DreamParams, size: Size) -> bool:
    """Whether a picture of `size` (h, w) is fanned out: decided by its size and its parameters alone."""
    if params.fan_out_mpx is None or params.frames > 1 or not params.steps:
        return False
    return min(size) >= LEAST_SIDE and size[0] * size[1] > params.fan_out_mpx * 1e6


def make_plan(params: DreamParams, size: Size) -> Plan:
    """The plan for a picture of `size` (h, w)."""
    sizes = octave_sizes(size, params, LEAST_SIDE)
    octaves = tuple(_octave(*octave, params) for octave in sizes)
    return Plan(octaves, tuple(_rounds(len(octaves), params)), params.fan_out_overlap // RAMPS)


def reach(box: Box, size: Size, old: Size) -> Box:
    """The pixels of a picture of size `old` that a box of it at another size is interpolated from."""
    if size == old:
        return box
    return Box(_reach(box.y, size[0], old[0]), _reach(box.x, size[1], old[1]))


def _reach(span: Span, length: int, old: int) -> Span:
    """A cubic kernel sees two pixels each way, of the larger size's spacing where it shrinks; one more for rounding."""
    scale = old / length
    wide = 2 * max(scale, 1.0) + 1
    return Span(max(0, int(span.start * scale - wide)), min(old, int(span.stop * scale + wide) + 1))


def _octave(height: int, width: int, params: DreamParams) -> Octave:
    (rows, view_height), (columns, view_width) = (_line(length, params) for length in (height, width))
    found = (FanTile(*map(Box, y, x)) for y, x in itertools.product(rows, columns))
    return Octave(height, width, tuple(found), (view_height, view_width))


def _line(length: int, params: DreamParams) -> tuple[list[tuple[Span, Span, Span]], int]:
    """Along one axis: what each tile owns, its support and its crop; and the view, in pixels."""
    overlap = params.fan_out_overlap
    more = max(0, overlap - MIRRORED)  # is owned at either end
    inner = tiles.spans(max(1, length - 2 * more), params.fan_out_tile, ALIGN)
    owned = list(itertools.starmap(Span, itertools.pairwise([0, *(span.start + more for span in inner[1:]), length])))
    crops = [_widened(span, overlap, length) for span in owned]
    view = max(_viewed(crop, length) for crop in crops)
    # Parts are equal but for what ALIGN leaves over: crops that are shorter by that see more behind them.
    crops = [Span(crop.start, min(length, crop.stop + view - _viewed(crop, length))) for crop in crops]
    supports = [_widened(span, overlap // RAMPS, length) for span in owned]
    return list(zip(owned, supports, crops, strict=True)), view


def _viewed(crop: Span, length: int) -> int:
    """Of how many pixels a crop is seen, mirror image and all."""
    return crop.length + MIRRORED * ((crop.start == 0) + (crop.stop == length))


def _widened(span: Span, margin: int, length: int) -> Span:
    return Span(max(0, span.start - margin), min(length, span.stop + margin))


def _rounds(octaves: int, params: DreamParams) -> Iterator[Round]:
    """The smallest octave is measured and synced at every step, which costs little and shows how strength grows.

    So is the first octave of another objective, of which nothing is known yet. The others begin with one step, since
    how strong the gradient is at a new size is then only guessed.
    """
    goals = objectives.parse(params.objective)
    before = None
    for octave in range(octaves):
        goal = goals[min(octave, len(goals) - 1)]
        is_new, before = goal != before, goal
        if is_new:
            yield Round(octave, 0, 0)
        first = 0
        while first < params.steps:
            steps = min(1 if is_new or not first else params.sync_steps, params.steps - first)
            yield Round(octave, first, steps)
            first += steps


@dataclass(frozen=True)
class Task:
    """One tile in one round of a plan."""

    plan: Plan
    params: DreamParams
    number: int
    index: int

    @property
    def round(self) -> Round:
        """The round it is in."""
        return self.plan.rounds[self.number]

    @property
    def octave(self) -> Octave:
        """The octave it is in."""
        return self.plan.octave(self.number)

    @property
    def tile(self) -> FanTile:
        """Its boxes."""
        return self.octave.tiles[self.index]
