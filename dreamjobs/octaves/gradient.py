"""The gradient of an objective by a picture's pixels, taken by tiles: memory is bounded by the tile, not the picture.

With exact overlaps it is the untiled gradient up to rounding; with narrower ones it is near it, and how near can be
measured. Terms on pixels read the picture as it is.
"""

import math
from contextlib import suppress
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dreamjobs import tiles
from dreamjobs.nets import Reader
from dreamjobs.objectives.terms import Bound
from dreamjobs.octaves.moves import STILL, Move
from dreamjobs.octaves.tiled import Gradient, Piece, Tiled
from dreamjobs.octaves.values import picture_value
from dreamjobs.params import DreamParams

MOST_SEEN = 3.0
"""`overlap: auto` is exact while the crops together hold at most so many times the picture's pixels."""

_LEAST_TILE = 128  # pixels; below, a tile is hardly more than its halo
_LEAST_PART = 16  # pixels


@dataclass(frozen=True)
class Goal:
    """What is climbed, the net to read it from, and how the picture is tiled for that.

    `batch` tiles go through the net at once. None is one on a CPU, where their number changes bytes, and on a graphics
    card as many as its free memory allows.
    """

    reader: Reader
    bound: Bound
    params: DreamParams
    batch: int | None = None

    def gradient(self, picture: Tensor, move: Move = STILL) -> Gradient:
        """The gradient over the whole picture (1, 3, h, w), seen as `move` has it, brought back to where it was."""
        picture = picture.detach()
        if self.bound.layers:
            found = self._through_net(picture, move)
        else:
            found = Gradient(torch.zeros_like(picture), picture.new_zeros(()))
        if self.bound.pixels:
            leaf = picture.clone().requires_grad_()
            value = torch.stack([term.value(leaf) for term in self.bound.pixels]).sum()
            found.pixels.add_(torch.autograd.grad(value, leaf)[0])
            found = Gradient(found.pixels, found.objective + value.detach())
        return found

    def fitting(self, picture: Tensor, move: Move = STILL) -> tuple["Goal", Gradient]:
        """The gradient, and the goal that it is of: by smaller tiles, to 128 pixels, where memory runs out.

        Raises:
            torch.OutOfMemoryError
        """
        goal = self
        while True:
            try:
                return goal, goal.gradient(picture, move)
            except torch.OutOfMemoryError:
                if goal.params.tile_size < 2 * _LEAST_TILE:
                    raise
            goal = goal.with_tiles(goal.params.tile_size // 2)

    def with_tiles(self, size: int) -> "Goal":
        """The same goal by tiles of another size."""
        return replace(self, params=self.params.model_copy(update={"tile_size": size}))

    def overlap(self, height: int, width: int) -> int | None:
        """The halo, in pixels, with which a picture of this size is cut; None where it is exact."""
        overlap = self.params.overlap
        if overlap == "exact":
            return None
        if overlap != "auto":
            return overlap
        layers = list(self.reader.tiling_layers(height, width).values())
        size, least = self.params.tile_size, self.reader.least_side
        return tiles.affordable_overlap(height, width, layers, size=size, most=MOST_SEEN, least=least)

    def cut(self, height: int, width: int) -> list[tiles.Tile]:
        """How a picture of this size is cut; one tile if it is not."""
        layers = list(self.reader.tiling_layers(height, width).values())
        size, least = self.params.tile_size, self.reader.least_side
        return tiles.cut(height, width, layers, size=size, overlap=self.overlap(height, width), least=least)

    def overlap_error(self, picture: Tensor) -> float | None:
        """How far the gradient is from the exact one, as a share of it, by L2 norms; None where it is exact.

        Measured on what the tile in the middle of the picture adds to the gradient. To see that exactly without more
        memory than a step takes, it is added up from parts of half the tile's side, or less; it is NaN, for not known,
        if memory runs out on the least of them, too.
        """
        height, width = picture.shape[2:]
        if self.overlap(height, width) is None:
            return None
        found = self.cut(height, width)
        middle = next((tile for tile in found if tile.owned.holds(height // 2, width // 2)), None)
        if len(found) < 2 or middle is None:
            return None
        layers = self.reader.tiling_layers(height, width)
        seen = Tiled(self.reader, self.bound, picture.detach(), [Piece.of(tile, layers) for tile in found])
        size = self.params.tile_size // 2
        while size >= _LEAST_PART:
            parts = tiles.exact_parts(
                middle.owned, height, width, list(layers.values()), size=size, least=self.reader.least_side
            )
            with suppress(torch.OutOfMemoryError):
                return seen.difference(Piece.of(middle, layers), [Piece.of(part, layers) for part in parts])
            size //= 2
        return math.nan

    def _through_net(self, picture: Tensor, move: Move) -> Gradient:
        height, width = picture.shape[2:]
        layers = self.reader.tiling_layers(height, width)
        pieces = [Piece.of(tile, layers) for tile in self.cut(height, width)]
        batch = 1 if self.batch is None and picture.device.type == "cpu" else self.batch
        if len(pieces) > 1 and move.is_roll:  # a roll is made as tiles are cut: no second picture in memory
            return Tiled(self.reader, self.bound, picture, pieces, (move.y, move.x)).gradient(batch)
        moved, shift = move.apply(picture), move.shift(height, width)
        if len(pieces) > 1:
            seen = Tiled(self.reader, self.bound, moved, pieces, moved=shift).gradient(batch)
        else:
            leaf = moved.requires_grad_()
            value = picture_value(self.reader, self.bound, leaf, shift)
            seen = Gradient(torch.autograd.grad(value, leaf)[0], value.detach())
        return Gradient(move.pull_back(seen.pixels, picture.shape), seen.objective)
