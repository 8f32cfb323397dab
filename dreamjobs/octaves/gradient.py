"""The gradient of an objective by a picture's pixels, taken by tiles: memory is bounded by the tile, not the picture.

What the objective reads is of three kinds. Sums over positions need one pass: the tiles' gradients are added. Sums
that a function is taken of (Gram matrices), and layers that see the whole picture (a class behind global pooling), need
two: the first sums or assembles, the second goes back through every tile with what the first found. Terms on pixels
read the picture. All of it is exact: the gradient is the untiled one up to rounding.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from dreamjobs import tiles
from dreamjobs.nets import Reader
from dreamjobs.objectives.terms import Bound, SummedTerm, View
from dreamjobs.octaves.moves import STILL, Move
from dreamjobs.params import DreamParams

Shift = tuple[float, float]
Slices = tuple[slice, slice]


@dataclass(frozen=True)
class Gradient:
    """The gradient of an objective by a picture's pixels, shaped as the picture, and the objective, a scalar."""

    pixels: Tensor
    objective: Tensor


@dataclass(frozen=True)
class Goal:
    """What is climbed, the net to read it from, and how the picture is tiled for that."""

    reader: Reader
    bound: Bound
    params: DreamParams

    def gradient(self, picture: Tensor, move: Move = STILL) -> Gradient:
        """The gradient over the whole picture (1, 3, h, w), seen as `move` has it, brought back to where it was."""
        picture = picture.detach()
        found = Gradient(torch.zeros_like(picture), picture.new_zeros(()))
        if self.bound.layers:
            found = self._through_net(picture, move)
        if self.bound.pixels:
            leaf = picture.clone().requires_grad_()
            value = torch.stack([term.value(leaf) for term in self.bound.pixels]).sum()
            found.pixels.add_(torch.autograd.grad(value, leaf)[0])
            found = Gradient(found.pixels, found.objective + value.detach())
        return found

    def _through_net(self, picture: Tensor, move: Move) -> Gradient:
        pieces = self._cut(*picture.shape[2:])
        if len(pieces) > 1 and move.is_roll:  # a roll is made as tiles are cut: no second picture in memory
            return _Tiled(self, picture, (move.y, move.x), pieces).gradient()
        moved, shift = move.apply(picture), move.shift(*picture.shape[2:])
        if len(pieces) > 1:
            seen = _Tiled(self, moved, (0, 0), pieces, shift).gradient()
        else:
            leaf = moved.requires_grad_()
            value = _whole_value(self.bound, self.reader(leaf), shift)
            seen = Gradient(torch.autograd.grad(value, leaf)[0], value.detach())
        return Gradient(move.pull_back(seen.pixels, picture.shape), seen.objective)

    def _cut(self, height: int, width: int) -> list["Piece"]:
        layers = self.reader.tiling_layers(height, width)
        overlap = None if self.params.overlap == "exact" else self.params.overlap
        cut = tiles.cut(
            height,
            width,
            list(layers.values()),
            size=self.params.tile_size,
            overlap=overlap,
            least=self.reader.least_side,
        )
        return [Piece.of(tile, layers) for tile in cut]


@dataclass(frozen=True)
class Piece:
    """A tile with, for every map of the trunk, the positions it owns: in its own map and in the whole one."""

    crop: tiles.Box
    own: Mapping[str, tiles.Box]
    whole: Mapping[str, tiles.Box]

    @classmethod
    def of(cls, tile: tiles.Tile, layers: Mapping[str, tiles.Layer]) -> "Piece":
        """The piece of a tile that was cut for these layers."""
        own = dict(zip(layers, tile.positions, strict=True))
        return cls(tile.crop, own, {name: _moved(box, tile.crop, layers[name]) for name, box in own.items()})


def _moved(box: tiles.Box, crop: tiles.Box, layer: tiles.Layer) -> tiles.Box:
    """A box in the crop's map as a box in the whole picture's."""
    y, x = crop.y.start // layer.field.y.jump, crop.x.start // layer.field.x.jump
    return tiles.Box(tiles.Span(box.y.start + y, box.y.stop + y), tiles.Span(box.x.start + x, box.x.stop + x))


@dataclass(frozen=True)
class _Slopes:
    """What the first pass found: the value of what it summed, and the slope of that by each sum and each map."""

    value: Tensor
    sums: tuple[Tensor, ...]
    maps: Mapping[str, Tensor]


@dataclass(frozen=True)
class _Tiled:
    """One gradient of one picture, which is seen rolled by `roll` (y, x) pixels, cut into pieces.

    `moved` is by what shares of its height and width it was rolled before.
    """

    goal: Goal
    picture: Tensor
    roll: tuple[int, int]
    pieces: list[Piece]
    moved: Shift = (0.0, 0.0)

    def gradient(self) -> Gradient:
        slopes = self._first_pass() if self._summed() or self.goal.reader.read_by_head else None
        total = torch.zeros_like(self.picture)
        value = slopes.value.clone() if slopes else self.picture.new_zeros(())
        for piece in self.pieces:
            crop = self._crop(piece).requires_grad_()
            owned = self._owned(piece, crop)
            part = self._local_part(piece, owned)
            value += part.detach()
            if slopes:
                part = part + self._sloped_part(piece, owned, slopes)
            if part.requires_grad:  # not where this tile owns nothing that counts
                self._add(total, piece, torch.autograd.grad(part, crop)[0])
        return Gradient(total, value)

    @property
    def shift(self) -> Shift:
        """The roll as shares of the picture's height and width."""
        height, width = self.picture.shape[2:]
        return self.moved[0] + self.roll[0] / height, self.moved[1] + self.roll[1] / width

    def _crop(self, piece: Piece) -> Tensor:
        crop = self.picture.new_empty(1, self.picture.shape[1], piece.crop.height, piece.crop.width)
        for there, here in self._places(piece):
            crop[..., *here] = self.picture[..., *there]
        return crop

    def _add(self, total: Tensor, piece: Piece, values: Tensor) -> None:
        for there, here in self._places(piece):
            total[..., *there] += values[..., *here]

    def _places(self, piece: Piece) -> list[tuple[Slices, Slices]]:
        """Where the parts of a crop lie in the picture: (there, in the crop), at most four."""
        height, width = self.picture.shape[2:]
        rows = _unrolled(piece.crop.y, self.roll[0], height)
        columns = _unrolled(piece.crop.x, self.roll[1], width)
        return [((y, x), (top, left)) for y, top in rows for x, left in columns]

    def _owned(self, piece: Piece, crop: Tensor) -> dict[str, Tensor]:
        maps = self.goal.reader.trunk(crop)
        return {name: maps[name][..., *box.slices] for name, box in piece.own.items()}

    def _view(self, piece: Piece, layer: str) -> View:
        _, rows, columns = self.goal.reader.sizes(*self.picture.shape[2:])[layer]
        box = piece.whole[layer]
        return View(rows, columns, box.y.start, box.x.start, self.shift)

    def _summed(self) -> list[SummedTerm]:
        return [term for term in self.goal.bound.sums if term.layer in self.pieces[0].own]

    def _local_part(self, piece: Piece, owned: Mapping[str, Tensor]) -> Tensor:
        total = self.picture.new_zeros(())
        for term in self.goal.bound.local:
            if term.layer in owned:
                total = total + term.part(owned[term.layer], self._view(piece, term.layer))
        return total

    def _sloped_part(self, piece: Piece, owned: Mapping[str, Tensor], slopes: _Slopes) -> Tensor:
        total = self.picture.new_zeros(())
        for term, slope in zip(self._summed(), slopes.sums, strict=True):
            total = total + (slope * term.reduce(owned[term.layer], self._view(piece, term.layer))).sum()
        for name, slope in slopes.maps.items():
            total = total + (slope[..., *piece.whole[name].slices] * owned[name]).sum()
        return total

    def _first_pass(self) -> _Slopes:
        reader, summed = self.goal.reader, self._summed()
        sizes = reader.sizes(*self.picture.shape[2:])
        maps = {name: self.picture.new_zeros(1, *sizes[name]) for name in reader.read_by_head}
        sums: list[Tensor] = []
        with torch.no_grad():
            for piece in self.pieces:
                owned = self._owned(piece, self._crop(piece))
                found = [term.reduce(owned[term.layer], self._view(piece, term.layer)) for term in summed]
                sums = [a + b for a, b in zip(sums, found, strict=True)] if sums else found
                for name, values in maps.items():
                    values[..., *piece.whole[name].slices] = owned[name]
        leaves = [value.requires_grad_() for value in (*sums, *maps.values())]
        value = sum((term.value(total) for term, total in zip(summed, sums, strict=True)), self.picture.new_zeros(()))
        if maps:
            value = value + _whole_value(self.goal.bound, reader.head(maps), self.shift)
        slopes = torch.autograd.grad(value, leaves)
        return _Slopes(value.detach(), slopes[: len(sums)], dict(zip(maps, slopes[len(sums) :], strict=True)))


def _unrolled(span: tiles.Span, roll: int, length: int) -> list[tuple[slice, slice]]:
    """Where an interval of a rolled axis lies in the axis itself: (there, in the interval), one part or two."""
    start = (span.start - roll) % length
    first = min(span.length, length - start)
    parts = [(slice(start, start + first), slice(0, first))]
    if first < span.length:
        parts.append((slice(0, span.length - first), slice(first, span.length)))
    return parts


def _whole_value(bound: Bound, activations: Mapping[str, Tensor], shift: Shift) -> Tensor:
    """What the terms on these layers, each complete, are worth."""
    value = next(iter(activations.values())).new_zeros(())
    views = {name: View(values.shape[2], values.shape[3], 0, 0, shift) for name, values in activations.items()}
    for local in bound.local:
        if local.layer in activations:
            value = value + local.part(activations[local.layer], views[local.layer])
    for summed in bound.sums:
        if summed.layer in activations:
            value = value + summed.value(summed.reduce(activations[summed.layer], views[summed.layer]))
    return value
