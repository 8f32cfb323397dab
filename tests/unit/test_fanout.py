"""Fan-out: windows that sum to 1, crops equal to the picture's, strengths, and dreams near to one actor's."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from unit.cramped import cramped

from dreamjobs import octaves
from dreamjobs.errors import ObjectiveError, ParamsError
from dreamjobs.fanout import Course, Steps, Task, check_params, is_wanted, make_plan
from dreamjobs.fanout.ascent import _moments, _seen_along, ascend, margin
from dreamjobs.fanout.canvas import Along, Canvas
from dreamjobs.fanout.check import check_objective
from dreamjobs.fanout.climber import Climber
from dreamjobs.fanout.course import Moments
from dreamjobs.fanout.dream import dream
from dreamjobs.fanout.levels import FULL, Levels, to_levels
from dreamjobs.fanout.plan import ALIGN, TOGETHER, Octave, reach
from dreamjobs.fanout.resample import Part, resample
from dreamjobs.fanout.stitch import blend, crop, window
from dreamjobs.images import Photo, Samples, Source, unit
from dreamjobs.nets import load_net
from dreamjobs.octaves.context import read_local
from dreamjobs.params import DreamParams, make_params
from dreamjobs.tiles import Box, Span

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = load_net("tiny")


def params(**values: Any) -> DreamParams:
    few = {"net": "tiny", "objective": "things", "octaves": 2, "steps": 3, "jitter": 8}
    fan_out = {"fan_out_mpx": 0.01, "fan_out_tile": 256, "fan_out_overlap": 64}
    return make_params(few | fan_out | values)


def photograph(height: int, width: int) -> Photo:
    """Waves above, which are dull, noise below, which is not."""
    y, x = np.mgrid[:height, :width]
    waves = np.stack([np.sin(y / (17 + c)) * np.cos(x / (21 - c)) for c in range(3)], axis=2)
    noise = np.random.default_rng(0).random((height, width, 3)) - 0.5
    pixels = 0.5 + 0.2 * waves + 0.5 * noise * (y > height / 2)[..., None]
    return Photo(np.ascontiguousarray(pixels.clip(0, 1), np.float32), None, None, "png")


def held(photo: Photo, kind: str) -> Source:
    """The photograph as decoded from a file with samples of a kind, which nobody may write to."""
    full = {"uint8": 255, "uint16": FULL}.get(kind, 1)
    samples = np.rint(photo.pixels * full).astype(kind) if full > 1 else photo.pixels
    samples.flags.writeable = False  # as they lie in the object store
    return Samples(samples, None, None, "png")


sizes = st.tuples(st.integers(130, 900), st.integers(130, 900))
cuts = st.tuples(st.sampled_from([256, 320, 512]), st.sampled_from([0, 32, 64]))


@st.composite
def boxes(draw: Any, size: tuple[int, int]) -> Box:
    """A box inside a picture of `size`."""
    y, x = draw(st.integers(0, size[0] - 1)), draw(st.integers(0, size[1] - 1))
    return Box(Span(y, draw(st.integers(y + 1, size[0]))), Span(x, draw(st.integers(x + 1, size[1]))))


def noise(seed: int, size: tuple[int, int]) -> Levels:
    """A picture (3, h, w) of every level."""
    return np.random.default_rng(seed).integers(0, FULL, (3, *size), np.uint16, endpoint=True)


def climb(
    begun: torch.Tensor, task: Task, strengths: tuple[float, ...], goal: octaves.Goal, mask: torch.Tensor | None
) -> tuple[Steps, torch.Tensor]:
    """What a tile reports of a round that it begins with a crop (1, 3, h, w), and what the crop comes to."""
    canvas = Canvas(task.octave.view, margin(task, goal), begun.device)
    canvas.put(begun)
    return ascend(canvas, task, strengths, goal, mask), canvas.crop


def pieces_of(picture: Levels, octave: Octave) -> dict[int, Levels]:
    """The tiles' pieces of a picture (3, h, w)."""
    return {number: picture[:, *tile.support.slices] for number, tile in enumerate(octave.tiles)}


@settings(max_examples=60)
@given(size=sizes, cut=cuts)
def test_tiles_own_every_pixel_once(size: tuple[int, int], cut: tuple[int, int]) -> None:
    """The tiles of every octave own each pixel once, and begin where every net's grid does."""
    plan = make_plan(params(fan_out_tile=cut[0], fan_out_overlap=cut[1]), size)
    assert plan.octaves[-1].size == size
    for octave in plan.octaves:
        owned = np.zeros(octave.size, int)
        for tile in octave.tiles:
            owned[tile.owned.slices] += 1
            assert tile.crop.y.start % ALIGN == tile.crop.x.start % ALIGN == 0
        assert (owned == 1).all()


@settings(max_examples=60)
@given(data=st.data(), size=sizes, cut=cuts)
def test_windows_sum_to_one(data: st.DataObject, size: tuple[int, int], cut: tuple[int, int]) -> None:
    """Pieces of one picture, blended over any box of it, are that picture: the windows sum to 1 everywhere."""
    plan = make_plan(params(fan_out_tile=cut[0], fan_out_overlap=cut[1]), size)
    octave = plan.octaves[-1]
    box = data.draw(boxes(size))
    picture = noise(1, size)
    stitched = blend(box, octave, plan.ramp, pieces_of(picture, octave))
    np.testing.assert_array_equal(stitched, picture[:, *box.slices])


@settings(max_examples=40)
@given(data=st.data(), size=sizes, cut=cuts)
def test_where_tiles_meet_they_are_weighed(data: st.DataObject, size: tuple[int, int], cut: tuple[int, int]) -> None:
    """Pieces of pictures that differ are added by their weights at every pixel, and where one is alone it is copied."""
    plan = make_plan(params(fan_out_tile=cut[0], fan_out_overlap=cut[1]), size)
    octave = plan.octaves[-1]
    box = data.draw(boxes(size))
    pieces = {number: noise(number, (t.support.height, t.support.width)) for number, t in enumerate(octave.tiles)}
    stitched = blend(box, octave, plan.ramp, pieces)
    expected, weights, total = np.zeros((3, *size)), np.zeros(size), np.zeros(size)
    for number, tile in enumerate(octave.tiles):
        rows = window(tile.support.y, tile.owned.y, size[0], plan.ramp)[:, None]
        weight = rows * window(tile.support.x, tile.owned.x, size[1], plan.ramp)
        expected[:, *tile.support.slices] += pieces[number] * weight
        weights[tile.support.slices] = np.maximum(weights[tile.support.slices], weight)
        total[tile.support.slices] += weight
    np.testing.assert_allclose(total, 1, atol=1e-6)
    here = (..., *box.slices)
    np.testing.assert_allclose(stitched, expected[here], atol=0.52)
    alone = weights[here] == 1
    np.testing.assert_array_equal(stitched[:, alone], expected[here][:, alone])


def test_levels_are_the_nearest() -> None:
    """Every level comes back from its pixel; what lies outside [0, 1] is clamped, and what is no number is 0."""
    every = np.arange(FULL + 1, dtype=np.uint16).reshape(2, 1, -1)
    np.testing.assert_array_equal(to_levels(unit(every)), every)
    odd = np.array([[[-0.1, 1.1, np.nan, np.inf, 0.4 / FULL, 0.6 / FULL]]], np.float32)
    assert to_levels(odd).tolist() == [[[0, FULL, 0, FULL, 0, 1]]]


@settings(max_examples=60)
@given(data=st.data(), old=sizes, new=sizes)
def test_a_box_is_resampled_as_the_whole_is(data: st.DataObject, old: tuple[int, int], new: tuple[int, int]) -> None:
    """A box at another size, made from what it depends on alone, is the box of the whole picture at that size."""
    picture = np.random.default_rng(2).random((3, *old), dtype=np.float32)
    whole = F.interpolate(torch.tensor(picture)[None], new, mode="bicubic", antialias=True)[0]
    box = data.draw(boxes(new))
    seen = reach(box, new, old)
    found = resample(Part(seen, picture[:, *seen.slices], old), box, new)
    np.testing.assert_allclose(found, whole[:, *box.slices].numpy(), atol=2e-4)


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("rescale", ["detail", "picture"])
def test_crops_are_those_of_the_whole_picture(rescale: str, kind: str) -> None:
    """A new octave's crops, from the pieces that they need alone, are what enlarging the whole picture gives."""
    photo = held(photograph(400, 520), kind)
    plan = make_plan(asked := params(rescale=rescale, blend=0.25), (400, 520))
    number = next(number for number, now in enumerate(plan.rounds) if now.octave == 1)
    small, octave = plan.octaves
    levels = noise(3, small.size)
    levels.flags.writeable = False

    def at(pixels: np.ndarray, size: tuple[int, int]) -> torch.Tensor:
        return F.interpolate(torch.tensor(pixels)[None], size, mode="bicubic", antialias=True)[0]

    base, dreamed = unit(photo.window(Box(Span(0, 400), Span(0, 520)))), unit(levels)
    if rescale == "picture":
        begun = at(dreamed, octave.size)
    else:
        begun = at(dreamed - at(base, small.size).numpy(), octave.size) + torch.tensor(base)
    whole = torch.lerp(begun, torch.tensor(base), 0.25).clamp(0, 1)
    for group in range(len(octave.groups)):
        needed = {tile for before in plan.needs(number, group) for tile in small.groups[before]}
        pieces = {tile: pieces_of(levels, small)[tile] for tile in needed}
        for task in plan.tasks(asked, number, group):
            found = unit(crop(task, photo, pieces))
            np.testing.assert_allclose(found, whole[:, *task.tile.crop.slices].numpy(), atol=2e-4)


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32", "writeable"])
def test_a_photograph_is_left_as_it_was(kind: str) -> None:
    """The first crops are the photograph's nearest levels, one after another in memory, and it is not written to."""
    photo = photograph(300, 400)
    source = photo if kind == "writeable" else held(photo, kind)
    task = Task(make_plan(asked := params(octaves=1), (300, 400)), asked, 0, 1)
    before = unit(source.window(task.tile.crop)).copy()
    found = crop(task, source, {})
    np.testing.assert_array_equal(unit(source.window(task.tile.crop)), before)
    np.testing.assert_allclose(unit(found), before, atol=0.51 / FULL)
    assert found.flags.c_contiguous


@settings(max_examples=60)
@given(size=sizes, cut=cuts, shift=st.integers(-64, 64), stride=st.sampled_from([1, 2, 4, 8, 16, 32]))
def test_all_tiles_are_seen_alike(size: tuple[int, int], cut: tuple[int, int], shift: int, stride: int) -> None:
    """What the net sees of a tile is as large for all of an octave, whatever the shift, and hardly more than it needs.

    Nothing of what a tile owns is left out, nor of the overlap but less than a stride.
    """
    tile_size, overlap = cut
    plan = make_plan(params(fan_out_tile=tile_size, fan_out_overlap=overlap), size)
    for octave in plan.octaves:
        for axis, length, view in (("y", octave.height, octave.view[0]), ("x", octave.width, octave.view[1])):
            tiles = {(getattr(tile.owned, axis), getattr(tile.crop, axis)) for tile in octave.tiles}
            whole = len(tiles) == 1
            for owned, span in tiles:
                seen = _seen_along(span, length, view, shift, stride)
                inner = seen.inner.moved(span.start)
                assert seen.seen.length == view + (stride - 1) * whole
                assert inner.start - max(0, owned.start - overlap) in range(stride)
                assert inner.stop > min(length, owned.stop + overlap) - stride
                assert inner == span or not whole
            assert view <= min(length + 2 * 32, tile_size * 9 // 8 + 2 * max(overlap, 32) + ALIGN)


@given(
    start=st.sampled_from([0, 224]),
    beyond=st.sampled_from([0, 100]),
    side=st.integers(128, 400),
    more=st.integers(0, 32),
    shift=st.integers(-64, 64),
    stride=st.sampled_from([1, 2, 4, 8, 16, 32]),
)
def test_what_a_tile_sees_lies_on_the_grid(
    start: int, beyond: int, side: int, more: int, shift: int, stride: int
) -> None:
    """The net's grid lies where the shift asks for it, and what is seen is as long for every shift.

    At the picture's edges nothing is left out, and there is mirror image of 32 pixels or more; elsewhere less than a
    stride is left out, and there is mirror image of less than a stride, and of what the view is longer than the crop.
    """
    span, length = Span(start, start + side), start + side + beyond
    edges = 32 * ((start == 0) + (beyond == 0))
    seen, still = (_seen_along(span, length, side + edges + more, by, stride) for by in (shift, 0))
    assert (start + seen.inner.start - seen.before + shift) % stride == 0
    assert seen.seen.length == still.seen.length
    assert 0 <= max(seen.before, seen.after) < seen.inner.length  # as mirror images must be
    if start:
        assert (seen.before, seen.inner.start in range(stride)) == (0, True)
    else:
        assert (seen.before >= 32, seen.inner.start) == (True, 0)
    if beyond:
        assert (seen.after in range(more + stride), side - seen.inner.stop in range(stride)) == (True, True)
    else:
        assert (seen.after >= 32, seen.inner.stop) == (True, side)


@given(
    size=st.tuples(st.integers(128, 200), st.integers(128, 200)),
    rows=st.tuples(st.integers(0, 31), st.integers(0, 127)),
    columns=st.tuples(st.integers(0, 31), st.integers(0, 127)),
)
def test_a_canvas_shows_the_mirror_image(
    size: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    """Of a crop as it is now, mirrored as `F.pad` does; what lay on the canvas before does not show."""
    canvas = Canvas((200, 200), 128, torch.device("cpu"))
    canvas.put(torch.full((1, 3, 200, 200), 9.0))
    canvas.put(torch.rand(1, 3, *size))
    canvas.crop.mul_(0.5)
    seen = canvas.seen(Along(Span(0, size[0]), *rows), Along(Span(0, size[1]), *columns))
    assert torch.equal(seen, F.pad(canvas.crop, (*columns, *rows), mode="reflect"))
    assert seen.data_ptr() == canvas.crop.data_ptr() - 4 * (rows[0] * canvas.crop.stride(2) + columns[0])


def test_no_steps_change_nothing() -> None:
    """Of a round that only measures, an actor hands back the levels that it was given, and those are not touched."""
    asked = params(octaves=1)
    task = Task(make_plan(asked, (300, 400)), asked, 0, 1)
    given = noise(4, (task.tile.crop.height, task.tile.crop.width))
    given.flags.writeable = False
    made = Climber(TINY, asked, photograph(130, 140).pixels, read_local).ascend(given, task, ())
    np.testing.assert_array_equal(made.piece, given[:, *task.tile.support.within(task.tile.crop).slices])
    assert made.piece.flags.c_contiguous


def test_one_tile_needs_its_neighbours_only() -> None:
    """Within an octave a tile is stitched from itself and the tiles around it, however many there are."""
    plan = make_plan(params(octaves=1, fan_out_tile=512), (2560, 2560))
    assert len(plan.octaves[0].tiles) == len(plan.octaves[0].groups) == 25
    assert [len(plan.needs(2, index)) for index in (0, 2, 12)] == [4, 6, 9]


@given(sizes, st.sampled_from([256, 320, 512]))
@settings(deadline=None)
def test_small_tiles_go_together(size: tuple[int, int], tile: int) -> None:
    """Every tile is in one group; a group holds one tile or so many neighbours as are few pixels together."""
    for octave in make_plan(params(fan_out_tile=tile), size).octaves:
        assert [number for group in octave.groups for number in group] == list(range(len(octave.tiles)))
        held = [[octave.tiles[number].crop for number in group] for group in octave.groups]
        pixels = [sum(crop.height * crop.width for crop in crops) for crops in held]
        assert all(count <= TOGETHER or len(crops) == 1 for count, crops in zip(pixels, held, strict=True))
        firsts = [crops[0].height * crops[0].width for crops in held]
        assert all(count + first > TOGETHER for count, first in zip(pixels, firsts[1:], strict=False))


def test_rounds_cover_every_step_once() -> None:
    """Rounds take an octave's steps in order: singly in the smallest, then one step and as many as are asked for."""
    plan = make_plan(params(octaves=3, steps=8, sync_steps=3), (400, 400))
    assert [(now.first, now.steps) for now in plan.rounds if now.octave == 2] == [(0, 1), (1, 3), (4, 3), (7, 1)]
    assert [now.steps for now in plan.rounds if now.octave == 0] == [0] + [1] * 8


def test_strengths_are_foretold_from_the_octave_before() -> None:
    """A step's strength is the last measured, times the growth over the same steps of the octave before, slowed.

    An octave begins where the one before it ended, less what that one lost so. A step half as long again as it should
    have been makes the next half as long, and so on until nothing is owed.
    """
    asked = params(octaves=3, steps=3, sync_steps=2)
    course = Course(make_plan(asked, (600, 600)), asked)

    def report(*strengths: float) -> list[Steps]:
        return [Steps(tuple(Moments(s * 10, s * s * 10, 0.0, 10) for s in strengths), (1.0,) * len(strengths))]

    assert course.strengths() == ()
    course.advance(report(2.0))
    found = []
    for measured in (2.0, 3.0, 4.5):
        found += course.strengths()
        course.advance(report(measured))
    assert found == pytest.approx([2.0, 2.0, 3.0 / 0.5])
    assert course.strengths() == pytest.approx((4.5 / 0.75,))
    course.advance(report(3.0))
    grown = 3.0 * (3.0 / 2.0) ** 0.75, 3.0 * (4.5 / 2.0) ** 0.75
    assert course.strengths() == pytest.approx([each / 1.125 for each in grown])
    course.advance(report(*grown))
    assert course.strengths() == pytest.approx((grown[-1] * 3.0 / 4.5,))
    course.advance(report(4.0))
    course.advance(report(5.0, 7.0))
    assert course.round is None


def test_another_objective_is_measured_first() -> None:
    """Where an octave dreams of something else, its strength is measured, and it is synced at every step."""
    asked = params(octaves=4, steps=3, sync_steps=2, objective="things | edges | edges")
    plan = make_plan(asked, (800, 800))
    assert [plan.is_measured(octave) for octave in range(4)] == [True, True, False, False]
    assert [now.steps for now in plan.rounds] == [0, 1, 1, 1, 0, 1, 1, 1, 1, 2, 1, 2]


def test_no_gradient_is_no_step() -> None:
    """After an octave without a gradient none is taken blindly, and what was not taken does not pile up."""
    asked = params(octaves=2, steps=10, sync_steps=9)
    course = Course(make_plan(asked, (500, 500)), asked)
    while (now := course.round) and now.octave == 0:
        course.advance([Steps((Moments(0.0, 0.0, 0.0, 10),) * max(1, now.steps), (1.0,) * max(1, now.steps))])
    assert course.strengths() == (math.inf,)
    course.advance([Steps((Moments(50.0, 250.0, 0.0, 10),), (1.0,))])
    assert course.strengths() == pytest.approx([5.0 / (1 + 3.0 / 9)] * 9)


@given(
    st.lists(st.floats(-5, 5, width=32), min_size=2, max_size=40),
    st.integers(1, 5),
    st.sampled_from(["mean_abs", "rms"]),
)
def test_moments_of_parts_add_up(values: list[float], at: int, how: str) -> None:
    """The strength of a gradient follows from the sums over its parts."""

    def moments(part: np.ndarray) -> Moments:
        return Moments(float(abs(part).sum()), float((part**2).sum()), float(part.sum()), len(part))

    whole = np.array(values)
    together = moments(whole[:at]) + moments(whole[at:])
    expected = abs(whole).mean() if how == "mean_abs" else np.sqrt((whole**2).mean())
    assert together.strength(how) == pytest.approx(expected, abs=1e-9)
    assert together.strength("std") == pytest.approx(whole.std(), abs=1e-6)


def test_a_faint_gradient_has_a_strength() -> None:
    """Moments of a tile's gradient are exact where its squares are too small for single precision, and of all rows."""
    slope = torch.randn(1, 3, 150, 40, generator=torch.Generator().manual_seed(0))
    for faint in (1.0, 1e-30):
        wide = (slope * faint).double() * 1000
        found = _moments(slope * faint, 1000)
        assert found.count == wide.numel()
        assert found.strength("mean_abs") == pytest.approx(float(wide.abs().mean()), rel=1e-9)
        assert found.strength("rms") == pytest.approx(float(wide.square().mean().sqrt()), rel=1e-9)
        assert found.strength("std") == pytest.approx(float(wide.std(correction=0)), rel=1e-6)


def test_fan_out_depends_on_size_and_parameters() -> None:
    """A picture of more megapixels than fan_out_mpx is fanned out; a sequence, a strip, a dream of no steps are not."""
    asked = params(fan_out_mpx=0.1)
    assert is_wanted(asked, (400, 400))
    assert not is_wanted(asked, (300, 300))
    assert not is_wanted(asked, (100, 4000))
    assert not is_wanted(params(steps=0), (400, 400))
    assert not is_wanted(params(frames=2), (400, 400))
    assert not is_wanted(make_params({}), (40_000, 40_000))


@pytest.mark.parametrize("sync_steps", [1, 3])
@pytest.mark.parametrize("objective", ["things", "things | 0.001 * edges", "things | 1000 * edges"])
def test_as_loud_as_one_actor(sync_steps: int, objective: str) -> None:
    """Tile by tile, dull ones too, what is dreamed is as strong as what one actor dreams, also where goals change."""
    photo, asked = photograph(500, 700), params(steps=6, sync_steps=sync_steps, objective=objective)
    fanned = dream(photo, TINY, asked).picture
    base = torch.tensor(photo.pixels).permute(2, 0, 1)[None]
    alone = octaves.dream(base, TINY, asked).picture
    for tile in make_plan(asked, (500, 700)).octaves[-1].tiles:
        part = (..., *tile.owned.slices)
        loudness = (fanned - base)[part].square().mean().sqrt() / (alone - base)[part].square().mean().sqrt()
        assert 0.9 < loudness < 1.1


def test_the_objective_rises() -> None:
    """A fanned-out dream climbs: in each octave the objective after the first step is below that of the last."""
    asked = params(steps=6, sync_steps=2)
    curve = dream(photograph(500, 700), TINY, asked).objective
    assert len(curve) == 12
    assert curve[5] > curve[0]
    assert curve[11] > curve[6]


def test_memory_that_runs_out_makes_smaller_tiles() -> None:
    """An actor whose card does not hold a tile's crop dreams it by smaller ones, to the same picture."""
    photo, asked = photograph(400, 500), params(octaves=1, steps=2, jitter=0)
    task = Task(make_plan(asked, (400, 500)), asked, 1, 0)
    pieces = pieces_of(to_levels(photo.pixels.transpose(2, 0, 1)), task.octave)
    begun = torch.tensor(unit(crop(task, photo, pieces)))[None]
    goal = octaves.prepare(TINY, asked, begun)[-1]
    found = []
    for one in (goal, cramped(goal, 200 * 200, 1)[0]):
        found.append(climb(begun, task, (1.0,), one, None)[1])
    assert (found[0] - begun).abs().max() > 0.001
    assert (found[1] - found[0]).abs().max() < 1e-4


@pytest.mark.parametrize("overlap", [0, 64])
@pytest.mark.parametrize("seed", range(3))
def test_a_masked_tile_is_the_tile_where_the_mask_is_white(overlap: int, seed: int) -> None:
    """Whatever part of its crop a shifted step sees: black keeps a pixel, white has it dreamed as without a mask."""
    photo, asked = photograph(600, 600), params(octaves=1, fan_out_overlap=overlap, jitter=5, seed=seed)
    plan = make_plan(asked, (600, 600))
    task = Task(plan, asked, 1, len(plan.octaves[0].tiles) - 1)
    begun = torch.tensor(unit(crop(task, photo, pieces_of(to_levels(photo.pixels.transpose(2, 0, 1)), task.octave))))[
        None
    ]
    goal, half = octaves.prepare(TINY, asked, begun)[-1], begun.shape[3] // 2
    mask = torch.zeros(1, 1, *begun.shape[2:])
    mask[..., half:] = 1
    (told, plain), (too, masked) = (climb(begun, task, (1.0,), goal, each) for each in (None, mask))
    assert told == too
    assert torch.equal(masked[..., :half], begun[..., :half])
    assert torch.equal(masked[..., half:], plain[..., half:])
    assert not torch.equal(plain[..., :half], begun[..., :half])
    owned = task.tile.owned
    assert 0 <= 3 * owned.height * owned.width - told.moments[0].count <= (0 if overlap else 3 * 2 * 32 * 300)


def test_the_faintest_strength_is_a_step() -> None:
    """A step over next to nothing is longer than float32 can tell, and still ends in a picture."""
    photo, asked = photograph(300, 300), params(octaves=1)
    task = Task(make_plan(asked, (300, 300)), asked, 1, 0)
    picture = torch.tensor(unit(crop(task, photo, pieces_of(to_levels(photo.pixels.transpose(2, 0, 1)), task.octave))))[
        None
    ]
    _, picture = climb(picture, task, (5e-324,), octaves.prepare(TINY, asked, picture)[-1], None)
    assert (picture.min(), picture.max()) == (0, 1)


def test_a_mask_keeps_what_is_black() -> None:
    """Where the mask is black, the picture stays as it was."""
    mask = np.zeros((50, 70), np.uint8)
    mask[:, 40:] = 255
    photo, asked = photograph(500, 700), params(octaves=1, mask="mask.png")
    made = dream(photo, TINY, asked, read=lambda name: _png(mask)).picture[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(made[:, :380], photo.pixels[:, :380], atol=0.51 / FULL)
    assert abs(made[:, 420:] - photo.pixels[:, 420:]).mean() > 0.005


def _png(grey: np.ndarray) -> bytes:
    import io

    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(grey).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"optimizer": "adam"}, "optimizer"),
        ({"normalize": "laplacian"}, "normalize"),
        ({"start": "noise"}, "start"),
        ({"until": 0.1}, "until"),
        ({"jitter_rotate": 5.0}, "jitter_rotate"),
        ({"fan_out_overlap": 128}, "fan_out_overlap"),
    ],
)
def test_parameters_that_tiles_cannot_follow_are_refused(values: dict[str, Any], named: str) -> None:
    """What would need to know the whole picture is refused with the parameter's name, and only where fan-out is set."""
    with pytest.raises(ParamsError, match=named):
        check_params(params(**values))
    check_params(params(**values, fan_out_mpx=None))


@pytest.mark.parametrize("objective", ["style(things, a.jpg)", "things:3@0.5,0.5", 'things + text:"a dog"'])
def test_objectives_of_the_whole_picture_are_refused(objective: str) -> None:
    """An objective that looks at the whole picture is refused before anything starts."""
    with pytest.raises(ObjectiveError, match="whole picture"):
        check_objective(TINY, params(objective=objective), read_local)


def test_a_net_that_needs_larger_pictures_than_octaves_may_be_is_refused() -> None:
    """Where a layer has no position in 128 pixels, it is said before the smallest octave fails."""
    net = load_net(f"{__name__}:far", "random")
    with pytest.raises(ObjectiveError, match="needs pictures of 161 pixels"):
        check_objective(net, params(objective="far"), read_local)


def far() -> nn.Module:
    """Two taps on each side, far apart."""
    return nn.Sequential(OrderedDict(near=nn.Conv2d(3, 4, 1), far=nn.Conv2d(4, 4, 5, dilation=40)))
