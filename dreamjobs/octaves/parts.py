"""The part of a layer's map that a tile owns, with a gradient that lies as the map does."""

from typing import Any

import torch
from torch import Tensor

from dreamjobs import tiles

Slices = tuple[slice, slice]


def part_of(one: Tensor, box: tiles.Box) -> Tensor:
    """The part of a map (1, C, rows, columns) in a box, (1, C, r, c), as far as it lies in the map."""
    return _Part.apply(one, *within(one, box))  # type: ignore[no-any-return]  # torch leaves `apply` untyped


def within(maps: Tensor, box: tiles.Box) -> Slices:
    """A box as far as it lies in maps (N, C, rows, columns)."""
    rows, columns = (
        slice(min(span.start, size), min(span.stop, size))
        for span, size in zip((box.y, box.x), maps.shape[2:], strict=True)
    )
    return rows, columns


class _Part(torch.autograd.Function):
    """A part of a map by slices, whose own gradient would not be channels-last and take two passes more."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, rows: slice, columns: slice) -> Tensor:
        ctx.sizes, ctx.rows, ctx.columns = maps.shape, rows, columns
        return maps[:, :, rows, columns]

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None]:
        rows, columns = ctx.rows, ctx.columns
        whole = torch.empty(ctx.sizes, dtype=slope.dtype, device=slope.device, memory_format=torch.channels_last)
        for beside in (slice(rows.start), slice(rows.stop, None)):
            whole[:, :, beside] = 0
        for beside in (slice(columns.start), slice(columns.stop, None)):
            whole[:, :, rows, beside] = 0
        whole[:, :, rows, columns] = slope
        return whole, None, None
