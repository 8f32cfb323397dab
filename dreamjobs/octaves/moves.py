"""The random transform of one step: a shift, and where asked a zoom and a rotation.

What a net shows only at one place, size and angle is noise; what it shows wherever the picture is moved stays
(transformation robustness: Olah, Mordvintsev, Schubert: Feature Visualization, 2017). A move is linear in the picture,
so that a gradient is brought back by its transpose. Pictures are (N, C, h, w), order is (y, x).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dreamjobs.params import DreamParams


@dataclass(frozen=True)
class Move:
    """A cyclic shift by (y, x) pixels, then a zoom by `scale` and a turn by `angle` degrees about the centre.

    A scale above 1 makes things larger; a positive angle turns them counterclockwise.
    """

    y: int
    x: int
    scale: float = 1.0
    angle: float = 0.0

    @property
    def is_roll(self) -> bool:
        """Whether it is a shift only, whose transpose is its inverse."""
        return self.scale == 1 and self.angle == 0

    def apply(self, picture: Tensor) -> Tensor:
        """The moved picture, of the same size; what comes in at the edges is the picture's mirror image."""
        rolled = torch.roll(picture, (self.y, self.x), dims=(2, 3))
        return rolled if self.is_roll else self._warp(rolled)

    def pull_back(self, gradient: Tensor, shape: Sequence[int]) -> Tensor:
        """The gradient by the picture (of `shape`) from the gradient by the moved picture: the transpose of `apply`.

        For a shift that is the shift undone, to the last bit.
        """
        if not self.is_roll:
            with torch.enable_grad():
                anything = torch.zeros(*shape, dtype=gradient.dtype, device=gradient.device, requires_grad=True)
                gradient = torch.autograd.grad(self._warp(anything), anything, gradient)[0]
        return torch.roll(gradient, (-self.y, -self.x), dims=(2, 3))

    def shift(self, height: int, width: int) -> tuple[float, float]:
        """The shift (y, x) as shares of the picture's height and width."""
        return self.y / height, self.x / width

    def _warp(self, picture: Tensor) -> Tensor:
        """Zoomed and turned: each pixel takes, between four neighbours, what lay where the move brings it from."""
        return _sample(picture, self.scale, self.angle, (0.0, 0.0), "bilinear")


STILL = Move(0, 0)


def glide(picture: Tensor, params: DreamParams) -> Tensor:
    """The picture as the next one of a sequence sees it: zoomed and turned about its centre, then shifted, bicubic.

    What comes in at the edges is the picture's mirror image. Nothing to do returns the picture as it is.
    """
    shift = (params.shift_y, params.shift_x)
    if params.zoom == 1 and params.rotate == 0 and shift == (0, 0):
        return picture
    return _sample(picture, params.zoom, params.rotate, shift, "bicubic").clamp(0, 1)


def _sample(picture: Tensor, scale: float, angle: float, shift: tuple[float, float], mode: str) -> Tensor:
    height, width = picture.shape[2:]
    y = torch.arange(height, device=picture.device, dtype=picture.dtype).view(-1, 1) - (height - 1) / 2 - shift[0]
    x = torch.arange(width, device=picture.device, dtype=picture.dtype).view(1, -1) - (width - 1) / 2 - shift[1]
    cosine, sine = math.cos(math.radians(angle)) / scale, math.sin(math.radians(angle)) / scale
    # In pixels from the centre; grid_sample wants -1 and 1 at the outer edges.
    places = torch.stack([(cosine * x - sine * y) * (2 / width), (sine * x + cosine * y) * (2 / height)], dim=-1)
    grid = places.expand(len(picture), -1, -1, -1)
    return F.grid_sample(picture, grid, mode=mode, padding_mode="reflection", align_corners=False)


def draw(params: DreamParams, generator: torch.Generator) -> Move:
    """A random move: a shift in [-jitter, jitter] each way, a scale within `jitter_scale` of 1, an angle.

    The shift is one draw; scale and angle are drawn after it, and only where asked for, so that a dream without them
    takes the same random numbers as if they did not exist.
    """
    y, x = torch.randint(-params.jitter, params.jitter + 1, (2,), generator=generator).tolist()
    scale = 1 + _within(params.jitter_scale, generator) if params.jitter_scale else 1.0
    angle = _within(params.jitter_rotate, generator) if params.jitter_rotate else 0.0
    return Move(y, x, scale, angle)


def _within(largest: float, generator: torch.Generator) -> float:
    """Uniform in [-largest, largest]."""
    return largest * (2 * torch.rand((), generator=generator).item() - 1)
