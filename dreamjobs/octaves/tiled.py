"""One gradient of one picture by tiles: what each tile is cut from, what it adds, and where.

What the objective reads is of three kinds. Sums over positions need one pass: the tiles' gradients are added. Sums
that a function is taken of (Gram matrices), and layers that see the whole picture (a class behind global pooling), need
two: the first sums or assembles, the second goes back through every tile with what the first found.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dreamjobs import tiles
from dreamjobs.nets import Reader
from dreamjobs.objectives.terms import Bound, SummedTerm, View
from dreamjobs.octaves.batches import in_batches
from dreamjobs.octaves.parts import Slices, part_of, within
from dreamjobs.octaves.values import Block, Shift, is_square_of_relus, squares_value, whole_value


@dataclass(frozen=True)
class Gradient:
    """The gradient of an objective by a picture's pixels, shaped as the picture, and the objective, a scalar."""

    pixels: Tensor
    objective: Tensor


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
        whole = dict(zip(layers, tiles.in_whole(tile, list(layers.values())), strict=True))
        return cls(tile.crop, own, whole)


@dataclass(frozen=True)
class _Slopes:
    """What the first pass found: the value of what it summed, and the slope of that by each sum and each map."""

    value: Tensor
    sums: tuple[Tensor, ...]
    maps: Mapping[str, Tensor]


@dataclass(frozen=True)
class _Added:
    """What some pieces add: the gradient by their crops, None where none owns what counts, and the objective."""

    pixels: Tensor | None
    value: Tensor


@dataclass(frozen=True)
class Tiled:
    """A picture that is seen rolled by `roll` (y, x) pixels and cut into pieces.

    `moved` is by what shares of its height and width it was rolled before.
    """

    reader: Reader
    bound: Bound
    picture: Tensor
    pieces: Sequence[Piece]
    roll: tuple[int, int] = (0, 0)
    moved: Shift = (0.0, 0.0)

    def gradient(self, batch: int | None = 1) -> Gradient:
        """The picture's gradient, `batch` pieces at once in the net, None for as many as memory allows."""
        slopes, device = self._slopes(batch), self.picture.device
        total = torch.zeros_like(self.picture)
        value = slopes.value.clone() if slopes else self.picture.new_zeros(())
        for group, added in in_batches(self.pieces, lambda pieces: self._added(pieces, slopes), batch, device):
            value += added.value
            if added.pixels is not None:
                for index, piece in enumerate(group):
                    self._add(total, piece, added.pixels[index : index + 1])
        return Gradient(total, value)

    def difference(self, piece: Piece, exact: Sequence[Piece]) -> float:
        """How far the gradient of what a piece owns is from what others add to it that own the same together.

        It is the L2 norm of the difference over that of the others' gradient.
        """
        slopes = self._slopes(1)
        box = functools.reduce(tiles.around, (part.crop for part in exact), piece.crop)
        wanted = self.picture.new_zeros(1, self.picture.shape[1], box.height, box.width)
        for part in exact:
            self._put(wanted, box, part, slopes, 1)
        length = wanted.norm().clamp_min(torch.finfo(wanted.dtype).tiny)
        self._put(wanted, box, piece, slopes, -1)
        return float(wanted.norm() / length)

    @property
    def shift(self) -> Shift:
        """The roll as shares of the picture's height and width."""
        height, width = self.picture.shape[2:]
        return self.moved[0] + self.roll[0] / height, self.moved[1] + self.roll[1] / width

    def _crops(self, pieces: Sequence[Piece]) -> Tensor:
        """What pieces of one size are cut from, (pieces, 3, h, w)."""
        box = pieces[0].crop
        crops = self.picture.new_empty(len(pieces), self.picture.shape[1], box.height, box.width)
        for index, piece in enumerate(pieces):
            for there, here in self._places(piece):
                crops[index : index + 1, ..., *here] = self.picture[..., *there]
        return crops

    def _add(self, total: Tensor, piece: Piece, values: Tensor) -> None:
        for there, here in self._places(piece):
            total[..., *there].add_(values[..., *here])  # `+=` would copy the sum onto itself

    def _put(self, canvas: Tensor, box: tiles.Box, piece: Piece, slopes: _Slopes | None, sign: int) -> None:
        """Add what one piece adds, or its opposite, to the part of the gradient that lies in a box."""
        pixels = self._added([piece], slopes).pixels
        if pixels is not None:
            canvas[..., *piece.crop.within(box).slices] += sign * pixels

    def _places(self, piece: Piece) -> list[tuple[Slices, Slices]]:
        """Where the parts of a crop lie in the picture: (there, in the crop), at most four."""
        height, width = self.picture.shape[2:]
        rows = _unrolled(piece.crop.y, self.roll[0], height)
        columns = _unrolled(piece.crop.x, self.roll[1], width)
        return [((y, x), (top, left)) for y, top in rows for x, left in columns]

    def _owned(self, pieces: Sequence[Piece], crops: Tensor) -> list[dict[str, Tensor]]:
        """Each piece's own part of every map, from their crops, which are of one size."""
        maps = self.reader.trunk(crops)
        # Split at once: of a slice for each piece, each gradient would be as large as all maps together.
        ones = {name: torch.split(values, 1) if len(pieces) > 1 else (values,) for name, values in maps.items()}
        return [
            {name: part_of(ones[name][index], box) for name, box in piece.own.items()}
            for index, piece in enumerate(pieces)
        ]

    def _view(self, piece: Piece, layer: str) -> View:
        _, rows, columns = self.reader.sizes(*self.picture.shape[2:])[layer]
        box = piece.whole[layer]
        return View(rows, columns, box.y.start, box.x.start, self.shift)

    def _summed(self) -> list[SummedTerm]:
        return [term for term in self.bound.sums if term.layer in self.pieces[0].own]

    def _added(self, pieces: Sequence[Piece], slopes: _Slopes | None) -> _Added:
        crops = self._crops(pieces).requires_grad_()
        if len(pieces) == 1 and is_square_of_relus(self.reader, self.bound):
            square = self._squared(pieces[0], crops)
            return _Added(torch.autograd.grad(square, crops)[0], square.detach())
        value, total = self.picture.new_zeros(()), self.picture.new_zeros(())
        for piece, owned in zip(pieces, self._owned(pieces, crops), strict=True):
            part = self._local_part(piece, owned)
            value += part.detach()
            total = total + (part + self._sloped_part(piece, owned, slopes) if slopes else part)
        return _Added(torch.autograd.grad(total, crops)[0] if total.requires_grad else None, value)

    def _squared(self, piece: Piece, crop: Tensor) -> Tensor:
        def block(layer: str, maps: Tensor) -> Block:
            return *within(maps, piece.own[layer]), self._view(piece, layer)

        return squares_value(self.reader, self.bound, crop, block)

    def _local_part(self, piece: Piece, owned: Mapping[str, Tensor]) -> Tensor:
        total = self.picture.new_zeros(())
        for term in self.bound.local:
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

    def _slopes(self, batch: int | None) -> _Slopes | None:
        """The first pass, None where no term needs one."""
        summed = self._summed()
        if not summed and not self.reader.read_by_head:
            return None
        sums, maps = self._sums_and_maps(summed, batch)
        leaves = [value.requires_grad_() for value in (*sums, *maps.values())]
        value = sum((term.value(total) for term, total in zip(summed, sums, strict=True)), self.picture.new_zeros(()))
        if maps:
            value = value + whole_value(self.bound, self.reader.head(maps), self.shift)
        slopes = torch.autograd.grad(value, leaves)
        return _Slopes(value.detach(), slopes[: len(sums)], dict(zip(maps, slopes[len(sums) :], strict=True)))

    def _sums_and_maps(self, summed: list[SummedTerm], batch: int | None) -> tuple[list[Tensor], dict[str, Tensor]]:
        """What the summed terms add up to over the picture, and the whole maps that the head reads."""
        sizes = self.reader.sizes(*self.picture.shape[2:])
        maps = {name: self.picture.new_zeros(1, *sizes[name]) for name in self.reader.read_by_head}
        sums: list[Tensor] = []
        with torch.no_grad():
            for group, every in in_batches(self.pieces, self._seen, batch, self.picture.device):
                for piece, owned in zip(group, every, strict=True):
                    found = [term.reduce(owned[term.layer], self._view(piece, term.layer)) for term in summed]
                    sums = [a + b for a, b in zip(sums, found, strict=True)] if sums else found
                    for name, values in maps.items():
                        values[..., *piece.whole[name].slices] = owned[name]
        return sums, maps

    def _seen(self, pieces: Sequence[Piece]) -> list[dict[str, Tensor]]:
        return self._owned(pieces, self._crops(pieces))


def _unrolled(span: tiles.Span, roll: int, length: int) -> list[tuple[slice, slice]]:
    """Where an interval of a rolled axis lies in the axis itself: (there, in the interval), one part or two."""
    start = (span.start - roll) % length
    first = min(span.length, length - start)
    parts = [(slice(start, start + first), slice(0, first))]
    if first < span.length:
        parts.append((slice(0, span.length - first), slice(first, span.length)))
    return parts
