"""What the terms of an objective are worth over activations and pixels, in parts that tiles can add.

Every term is one of three. Local: a sum over positions, so that tiles which own every position once add up to it
exactly. Summed: a function of a sum over positions (a Gram matrix), so that the sums of the tiles are added first. Of
pixels: a function of the whole picture. Terms are means over positions, so that weights compare layers of any size.

Activations are (1, C, rows, columns); pictures (1, 3, h, w) in [0, 1].
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

_LARGEST_MATRIX = 16 * 2**20  # numbers: 64 MiB of float32
_EDGE = 1e-9  # of a height or width: far less than a position, far more than rounding
_GREY = 0.5


@dataclass(frozen=True)
class View:
    """Where a block of positions lies in its layer of `rows` x `columns`: from row `top` and column `left` on.

    `shift` is by how much of its height and width the picture was rolled, so that a spot of the picture is found again.
    """

    rows: int
    columns: int
    top: int
    left: int
    shift: tuple[float, float] = (0, 0)

    @property
    def positions(self) -> int:
        """How many positions the whole layer has."""
        return self.rows * self.columns

    def place(self, spot: tuple[float, float]) -> tuple[int, int]:
        """Row and column, counted from the block's first, of a spot (y, x) of the picture before it was rolled."""
        y, x = (_rolled(share, shift) for share, shift in zip(spot, self.shift, strict=True))
        row, column = min(int(y * self.rows), self.rows - 1), min(int(x * self.columns), self.columns - 1)
        return row - self.top, column - self.left


def _rolled(share: float, shift: float) -> float:
    # The far edge belongs to the last position, not to the first one of the next turn; a near edge to its own position.
    return (min(share, 1 - _EDGE) + shift + _EDGE / 2) % 1.0


@dataclass(frozen=True, eq=False)
class LocalTerm(ABC):
    """A term that is a sum over the positions of a layer."""

    layer: str
    weight: float

    @abstractmethod
    def part(self, owned: Tensor, view: View) -> Tensor:
        """What the positions in `owned` (1, C, r, c) add, a scalar; over blocks that own all positions, the term."""


@dataclass(frozen=True, eq=False)
class Activations(LocalTerm):
    """Mean of a, or of a**2 / 2 if `squared`, over some channels (none named: all), everywhere or at a spot.

    The gradient of the square at the layer is the activations themselves, up to a factor (Mordvintsev et al. 2015).
    """

    channels: tuple[int, ...] = ()
    squared: bool = False
    spot: tuple[float, float] | None = None

    def part(self, owned: Tensor, view: View) -> Tensor:
        positions = 1 if self.spot else view.positions
        block = _neuron(owned, *view.place(self.spot)) if self.spot else owned
        chosen = block[:, list(self.channels)] if self.channels else block
        numbers = chosen.shape[1] * positions
        total: Tensor = _HalfSquare.apply(chosen) if self.squared else chosen.sum()
        return self.weight * total / numbers

    @property
    def is_square_of_all(self) -> bool:
        """Whether it is the square of every channel, everywhere."""
        return self.squared and not self.channels and self.spot is None

    def part_before_relus(self, maps: Sequence[Tensor], rows: slice, columns: slice, view: View) -> Tensor:
        """What `part` gives for a block of rows and columns, where the term is the square of all.

        `maps` (1, C_i, r, c) are what ReLUs are taken of that make up the layer side by side. They are overwritten.
        """
        numbers = sum(values.shape[1] for values in maps) * view.positions
        total: Tensor = _HalfSquareOfReLUs.apply(rows, columns, *maps)
        return self.weight * total / numbers


def _half_square(numbers: Tensor) -> Tensor:
    # By rows: the norm of all at once is a long sum in float32, of up to a thousandth less than there is.
    half: Tensor = torch.linalg.vector_norm(numbers, dim=(1, 3)).square().sum() / 2
    return half


class _HalfSquare(torch.autograd.Function):
    """Half the sum of squares, whose gradient are the numbers themselves: one pass over them instead of four."""

    @staticmethod
    def forward(ctx: Any, numbers: Tensor) -> Tensor:
        ctx.save_for_backward(numbers)
        return _half_square(numbers)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        numbers: Tensor = ctx.saved_tensors[0]
        return numbers * slope


class _HalfSquareOfReLUs(torch.autograd.Function):
    """Half the sum of squares of a block of the maps' ReLUs.

    Its gradient is what the ReLUs give, which is 0 where theirs is: they need no mask, and maps that make up a layer
    side by side need not be joined and parted again.
    """

    @staticmethod
    def forward(ctx: Any, rows: slice, columns: slice, *maps: Tensor) -> Tensor:
        ctx.kept = [values.detach().relu_() for values in maps]
        for values in ctx.kept:
            for beside in (slice(rows.start), slice(rows.stop, None)):
                values[:, :, beside] = 0
            for beside in (slice(columns.start), slice(columns.stop, None)):
                values[:, :, rows, beside] = 0
        return torch.stack([_half_square(values) for values in ctx.kept]).sum()

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        kept, ctx.kept = ctx.kept, ()
        return None, None, *(values.mul_(slope) for values in kept)


def _neuron(owned: Tensor, row: int, column: int) -> Tensor:
    """The one position (1, C, 1, 1), or none if it lies in another block."""
    if 0 <= row < owned.shape[2] and 0 <= column < owned.shape[3]:
        return owned[:, :, row : row + 1, column : column + 1]
    return owned[:, :, :0, :0]


@dataclass(frozen=True, eq=False)
class Guided(LocalTerm):
    """At every position, the largest dot product with any position of `features` (C, n), over positions and channels.

    The gradient at a position is the feature it is nearest to (Mordvintsev et al. 2015, controlled dreams), so only
    that one is kept, and not the products.
    """

    features: Tensor = field(repr=False)

    def part(self, owned: Tensor, view: View) -> Tensor:
        columns = owned[0].flatten(1)
        features = self.features.to(columns)
        found = features[:, _nearest(columns.detach(), features)]
        return self.weight * (columns * found).sum() / (len(columns) * view.positions)


def _nearest(columns: Tensor, features: Tensor) -> Tensor:
    """For each of (C, m) columns, which of (C, n) features has the largest dot product; no large matrix at a time."""
    step = max(1, _LARGEST_MATRIX // features.shape[1])
    starts = range(0, max(1, columns.shape[1]), step)
    return torch.cat([(columns[:, start : start + step].T @ features).argmax(1) for start in starts])


@dataclass(frozen=True, eq=False)
class Along(LocalTerm):
    """Mean over positions of the dot product with a unit `vector` (C,)."""

    vector: Tensor = field(repr=False)

    def part(self, owned: Tensor, view: View) -> Tensor:
        return self.weight * (owned * self.vector.to(owned).view(1, -1, 1, 1)).sum() / view.positions


@dataclass(frozen=True, eq=False)
class SummedTerm:
    """Minus the mean squared difference of Gram matrices, over the mean square of the `target` (C, C).

    A Gram matrix is the sum over positions of a a^T, over their number (Gatys et al. 2015). 0 is equal, -1 as far as
    a picture without any activation.
    """

    layer: str
    weight: float
    target: Tensor = field(repr=False)

    def reduce(self, owned: Tensor, view: View) -> Tensor:
        """What the positions in `owned` (1, C, r, c) add to the Gram matrix (C, C)."""
        return gram(owned) / view.positions

    def value(self, total: Tensor) -> Tensor:
        """The term, a scalar, given the Gram matrix summed over blocks that own all positions."""
        target = self.target.to(total)
        return -self.weight * (total - target).square().mean() / target.square().mean()


def gram(activations: Tensor) -> Tensor:
    """The sum over positions of a a^T (C, C) of activations (1, C, r, c)."""
    columns = activations[0].flatten(1)
    return columns @ columns.T


@dataclass(frozen=True, eq=False)
class PixelTerm:
    """A weight times a measure of the whole picture."""

    weight: float
    measure: Callable[[Tensor], Tensor]

    def value(self, picture: Tensor) -> Tensor:
        """The term, a scalar, for a picture (1, 3, h, w) that is not rolled."""
        return self.weight * self.measure(picture)


def _roughness(picture: Tensor) -> Tensor:
    """Mean squared difference of neighbouring pixels, over both directions (`tv`)."""
    down, along = picture.diff(dim=2).square(), picture.diff(dim=3).square()
    return (down.sum() + along.sum()) / max(1, down.numel() + along.numel())


def _contrast(picture: Tensor) -> Tensor:
    """Mean squared distance of the pixels from mid grey (`l2`)."""
    return (picture - _GREY).square().mean()


PENALTIES: dict[str, Callable[[Tensor], Tensor]] = {"tv": _roughness, "l2": _contrast}
