"""What an actor does with one tile: some steps uphill, each divided by the strength it is told.

As in the octave loop, a step sees the picture through a random shift, the same for all tiles. Here nothing wraps: what
matters of a shift is where the picture lies on the net's grid of strides, so the tile is seen from a few pixels further
in and to a few further on, and at the picture's edge through its mirror image. Pictures are (1, 3, h, w) float32 RGB in
[0, 1].
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from dreamjobs import gradients, tiles
from dreamjobs.fanout.canvas import Along, Canvas
from dreamjobs.fanout.course import Moments, Steps
from dreamjobs.fanout.plan import MIRRORED, Task
from dreamjobs.octaves import Goal, moves
from dreamjobs.params import DreamParams
from dreamjobs.tiles import Box, Span

_LONGEST = 1e38  # that float32 can hold; with a gradient as faint as that asks for, it still is a step
_ROWS = 64  # whose doubles fit a processor's cache


def ascend(canvas: Canvas, task: Task, strengths: tuple[float, ...], goal: Goal, mask: Tensor | None) -> Steps:
    """Take a round's steps on a canvas's crop, in place; `mask` (1, 1, h, w) is the crop's part of the picture's."""
    params, now, crop = task.params, task.round, canvas.crop
    seen, owned = _Seen(task, goal), task.tile.owned.within(task.tile.crop)
    moments, values = [], []
    for step, strength in enumerate(strengths, now.first):
        slope = seen.slope(canvas, step)
        moments.append(slope.moments(owned))
        values.append(slope.objective)
        pixels = slope.pixels if mask is None else slope.pixels.mul_(mask[..., *slope.box.slices])
        size = params.step_size * gradients.step_factor(params.schedule, step, params.steps)
        length = min(size * slope.scale / strength, _LONGEST)
        crop[..., *slope.box.slices].add_(pixels, alpha=length).clamp_(0, 1)
    if not strengths:
        slope = seen.slope(canvas, now.first)
        moments, values = [slope.moments(owned)], [slope.objective]
    return Steps(tuple(moments), tuple(float(value) for value in values))


@dataclass(frozen=True)
class _Slope:
    """The gradient (1, 3, r, c) by a box of a crop, smoothed, over `scale`; and the objective."""

    pixels: Tensor
    scale: int
    box: Box
    objective: Tensor

    def moments(self, owned: Box) -> Moments:
        """Those of the gradient in a box of the crop, as far as it is known there."""
        return _moments(self.pixels[..., *owned.shared(self.box).within(self.box).slices], self.scale)


@dataclass
class _Seen:
    """One tile as the net sees it, by a goal whose tiles become smaller where memory runs out."""

    task: Task
    goal: Goal

    def slope(self, canvas: Canvas, step: int) -> _Slope:
        """The gradient per position of the net's grid, by what a step sees of the crop."""
        params, octave = self.task.params, self.task.octave
        move = _move(params, self.task.round.octave * params.steps + step)
        stride_y, stride_x = _strides(self.goal, *octave.view)
        place, (height, width) = self.task.tile.crop, octave.view
        rows = _seen_along(place.y, octave.height, height, move.y, stride_y)
        columns = _seen_along(place.x, octave.width, width, move.x, stride_x)
        box = Box(rows.inner, columns.inner)
        seen = canvas.seen(rows, columns)
        self.goal, found = self.goal.fitting(seen)
        pixels = found.pixels[..., *Box(rows.shown, columns.shown).slices]
        smoothed = gradients.smooth(pixels, gradients.sigma_at(params, step))
        # The objective is a mean over what is seen; a sum does not depend on how much that is.
        return _Slope(smoothed, seen.shape[2] * seen.shape[3], box, found.objective)


def margin(task: Task, goal: Goal) -> int:
    """How far beyond a crop of the task's octave a step of that goal may see, in pixels, whatever its shift."""
    return MIRRORED + max(_strides(goal, *task.octave.view))


def _strides(goal: Goal, height: int, width: int) -> tuple[int, int]:
    """By how many pixels (y, x) a picture must be shifted for the net's grid to fall on it again."""
    layers = goal.reader.tiling_layers(height, width).values()
    return tiles.alignment([layer.field for layer in layers])


def _move(params: DreamParams, count: int) -> moves.Move:
    """The move of the step before which `count` were taken, drawn as the octave loop draws it."""
    generator = torch.Generator().manual_seed(params.seed)
    for _ in range(count):
        moves.draw(params, generator)
    return moves.draw(params, generator)


def _seen_along(span: Span, length: int, view: int, shift: int, stride: int) -> Along:
    """What is seen of a crop's `span` of a picture of `length`, for the net's grid to lie `shift` pixels further on.

    It is `view` pixels long whatever the shift; or, where the picture is not cut and so nothing of it may be left out,
    by so much longer that every shift finds room.
    """
    if span.start:
        first, before = -shift % stride, 0
    else:
        first, before = 0, MIRRORED // stride * stride + shift % stride
    if span.length == length:
        view += stride - 1
    inner = Span(first, min(span.length, first + view - before))
    return Along(inner, before, view - before - inner.length)


def _moments(slope: Tensor, scale: int) -> Moments:
    """Of `slope` times `scale`, in double precision, since squares of a faint gradient are too small for single."""
    parts = (_sums(rows.double().mul_(scale)) for rows in torch.split(slope, _ROWS, 2))
    return sum(parts, Moments(0.0, 0.0, 0.0, 0))


def _sums(slope: Tensor) -> Moments:
    squared, plain = slope.square().sum(), slope.sum()
    return Moments(float(slope.abs_().sum()), float(squared), float(plain), slope.numel())
