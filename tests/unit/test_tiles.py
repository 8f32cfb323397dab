"""The geometry of tiles, for arbitrary pictures, fields and tile sizes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamjobs import tiles
from dreamjobs.tiles import Axis, Box, Field, Layer, Span, Tile


@dataclass(frozen=True)
class Case:
    """A picture, the layers of an objective, and how it is to be cut."""

    height: int
    width: int
    layers: tuple[Layer, ...]
    size: int
    overlap: int | None
    least: int

    def cut(self) -> list[Tile]:
        return tiles.cut(self.height, self.width, self.layers, size=self.size, overlap=self.overlap, least=self.least)


axes = st.builds(Axis, st.integers(1, 40), st.sampled_from([1, 2, 3, 4, 6, 8]), st.integers(0, 20))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    height, width = draw(st.integers(1, 90)), draw(st.integers(1, 90))
    layers = []
    for field in draw(st.lists(st.builds(Field, axes, axes), min_size=1, max_size=3)):
        # As many positions as a net may have: any number whose windows touch the picture, over the end or not.
        rows = draw(st.integers(1, max(1, (height - 1 + field.y.padding) // field.y.jump + 1)))
        columns = draw(st.integers(1, max(1, (width - 1 + field.x.padding) // field.x.jump + 1)))
        layers.append(Layer(field, rows, columns))
    overlap = draw(st.none() | st.integers(0, 30))
    return Case(height, width, tuple(layers), draw(st.integers(4, 64)), overlap, draw(st.integers(1, 40)))


def in_whole(tile: Tile, index: int, layer: Layer) -> Box:
    """A tile's positions in the layer's grid for the whole picture."""
    y, x = tile.crop.y.start // layer.field.y.jump, tile.crop.x.start // layer.field.x.jump
    box = tile.positions[index]
    return Box(Span(box.y.start + y, box.y.stop + y), Span(box.x.start + x, box.x.stop + x))


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 100), st.tuples(st.integers(1, 32), st.integers(1, 32)))
def test_boxes_cover_every_pixel_once(height: int, width: int, size: int, align: tuple[int, int]) -> None:
    """The boxes of a cover count every pixel exactly once, the last row and column too."""
    seen = np.zeros((height, width), int)
    for box in tiles.cover(height, width, size, align):
        seen[box.slices] += 1
    assert (seen == 1).all()


@given(st.integers(1, 2000), st.integers(1, 300), st.integers(1, 64))
def test_spans_are_few_aligned_and_hardly_longer_than_asked(length: int, size: int, align: int) -> None:
    """Spans start on the alignment, exceed the size by an eighth, or where it is under one step, and are few."""
    found = tiles.spans(length, size, align)
    longest = max(align, (size + size // 8) // align * align)
    assert all(span.start % align == 0 and 0 < span.length <= longest for span in found)
    assert len(found) == math.ceil(math.ceil(length / align) * align / longest)
    assert max(span.length for span in found[:-1] or found) - min(s.length for s in found[:-1] or found) <= align


@given(cases())
def test_every_position_is_owned_once(case: Case) -> None:
    """Over all tiles every position of every layer is owned once, those that hang over the end included."""
    for index, layer in enumerate(case.layers):
        seen = np.zeros((layer.height, layer.width), int)
        for tile in case.cut():
            box = in_whole(tile, index, layer)
            assert box.y.stop <= layer.height
            assert box.x.stop <= layer.width
            seen[box.slices] += 1
        assert (seen == 1).all()


@given(cases())
def test_crops_lie_in_the_picture_and_start_on_the_alignment(case: Case) -> None:
    """A crop is inside the picture, holds a pixel, and starts where every layer's grid falls on the whole one's."""
    align_y, align_x = tiles.alignment([layer.field for layer in case.layers])
    for tile in case.cut():
        assert 0 <= tile.crop.y.start < tile.crop.y.stop <= case.height
        assert 0 <= tile.crop.x.start < tile.crop.x.stop <= case.width
        assert tile.crop.y.start % align_y == 0
        assert tile.crop.x.start % align_x == 0


@given(cases())
def test_an_exact_crop_holds_all_that_its_positions_see(case: Case) -> None:
    """With no overlap given, whatever an owned position sees of the picture is in the crop, and so is its index."""
    exact = Case(case.height, case.width, case.layers, case.size, None, case.least)
    for tile in exact.cut():
        for index, layer in enumerate(case.layers):
            box = in_whole(tile, index, layer)
            if not (box.height and box.width):
                continue
            for positions, axis, crop, length in (
                (box.y, layer.field.y, tile.crop.y, case.height),
                (box.x, layer.field.x, tile.crop.x, case.width),
            ):
                first = positions.start * axis.jump - axis.padding
                last = (positions.stop - 1) * axis.jump - axis.padding + axis.size
                assert crop.start <= max(0, first)
                assert crop.stop >= min(length, last)
            assert tile.positions[index].y.start >= 0
            assert tile.positions[index].x.start >= 0


@given(cases())
def test_no_crop_is_smaller_than_the_least_side(case: Case) -> None:
    """A crop is at least `least` long on each axis wherever the picture is, whatever the overlap."""
    for tile in case.cut():
        assert tile.crop.height >= min(case.least, case.height)
        assert tile.crop.width >= min(case.least, case.width)


@given(cases())
def test_a_given_overlap_widens_the_owned_box(case: Case) -> None:
    """A crop holds its owned box and the overlap around it, as far as the picture goes."""
    overlap = case.overlap or 0
    asked = Case(case.height, case.width, case.layers, case.size, overlap, case.least)
    for tile in asked.cut():
        assert tile.crop.y.start <= max(0, tile.owned.y.start - overlap)
        assert tile.crop.x.stop >= min(case.width, tile.owned.x.stop + overlap)


@given(cases(), st.floats(1, 6))
def test_an_affordable_overlap_is_the_widest_there_is(case: Case, most: float) -> None:
    """The crops hold no more than they may, one step more of halo would be too much; None where exact ones do not."""

    def seen(overlap: int | None) -> int:
        lines = tiles.cutting._lines(case.height, case.width, case.layers)
        along = [sum(band.crop.length for band in line.cut(case.size, overlap, case.least)) for line in lines]
        return along[0] * along[1]

    limit = most * case.height * case.width
    found = tiles.affordable_overlap(case.height, case.width, case.layers, size=case.size, most=most, least=case.least)
    if found is None:
        assert seen(None) <= limit
        return
    step = math.lcm(*tiles.alignment([layer.field for layer in case.layers]))
    assert seen(None) > limit
    assert found % step == 0
    assert seen(found) <= limit or found == 0
    assert seen(found + step) > limit or found > max(case.height, case.width)


@given(cases(), st.integers(4, 64))
def test_exact_parts_own_what_their_tile_owns(case: Case, size: int) -> None:
    """Cut into parts, a tile's positions are owned once, from crops that hold what they see."""
    for tile in case.cut():
        parts = tiles.exact_parts(tile.owned, case.height, case.width, case.layers, size=size, least=case.least)
        wholes = [tiles.in_whole(part, case.layers) for part in parts]
        for index, (layer, box) in enumerate(zip(case.layers, tiles.in_whole(tile, case.layers), strict=True)):
            seen = np.zeros((layer.height, layer.width), int)
            for whole in wholes:
                seen[whole[index].slices] += 1
            assert seen.sum() == seen[box.slices].sum() == max(0, box.height) * max(0, box.width)
            assert seen.max(initial=0) <= 1


@given(st.integers(1, 80), st.integers(1, 80), st.integers(4, 40), st.sampled_from([1, 2, 8]))
def test_split_then_merge_is_the_identity(height: int, width: int, size: int, align: int) -> None:
    """Cutting an array at its owned boxes and putting the parts back gives the array."""
    picture = np.random.default_rng(height * 100 + width).random((3, height, width))
    parts = [(box, picture[:, *box.slices].copy()) for box in tiles.cover(height, width, size, (align, align))]
    merged = np.full_like(picture, np.nan)
    for box, part in parts:
        assert part.shape == (3, box.height, box.width)
        merged[:, *box.slices] = part
    assert (merged == picture).all()


@pytest.mark.parametrize(
    ("size", "lengths"),
    [
        (64, [48, 52]),
        (48, [48, 52]),
        (44, [32, 32, 36]),
        (100, [100]),
        (89, [100]),
        (88, [48, 52]),
        (25, [24, 24, 24, 28]),
    ],
)
def test_spans_are_of_nearly_equal_length(size: int, lengths: list[int]) -> None:
    """100 pixels cut at multiples of 4 give spans that differ by one step, not a sliver at the end."""
    assert sorted(span.length for span in tiles.spans(100, size, 4)) == lengths


@pytest.mark.parametrize(
    ("length", "lengths"), [(1152, [1152]), (1160, [576, 584]), (2304, [1152] * 2), (3000, [1000] * 3)]
)
def test_a_tile_may_be_an_eighth_longer(length: int, lengths: list[int]) -> None:
    """Where that makes them fewer; not where there are as many of them anyway."""
    layer = Layer(Field(Axis(8, 8, 0), Axis(8, 8, 0)), length // 8, 128)
    assert [tile.owned.height for tile in tiles.cut(length, 1024, [layer], size=1024)] == lengths


def test_a_tile_without_positions_is_left_out() -> None:
    """Where a layer has no position for the last pixels, no tile is computed for them."""
    layer = Layer(Field(Axis(8, 4, 0), Axis(8, 4, 0)), 1, 1)
    assert len(tiles.cut(12, 12, [layer], size=4)) == 1


def test_alignment_is_the_common_multiple_of_the_strides() -> None:
    """Layers of stride 4 and 6 along y align at 12, of 1 and 8 along x at 8."""
    fields = [Field(Axis(1, 4, 0), Axis(1, 1, 0)), Field(Axis(1, 6, 0), Axis(1, 8, 0))]
    assert tiles.alignment(fields) == (12, 8)


def test_uncut_is_one_tile_that_owns_everything() -> None:
    """The whole picture as one tile owns all pixels and all positions."""
    tile = tiles.uncut(5, 7, [(2, 3)])
    assert tile.owned == tile.crop == Box(Span(0, 5), Span(0, 7))
    assert tile.positions == (Box(Span(0, 2), Span(0, 3)),)
