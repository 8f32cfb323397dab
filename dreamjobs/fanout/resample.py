"""A box of a picture at another size, from no more of the picture than the box depends on.

Bicubic with a low-pass filter on the way down, as torch's `interpolate(mode="bicubic", antialias=True)` does it to
whole pictures: Keys's kernel (1981) with a = -0.5, stretched where the picture shrinks, normalised at the edges.
Pictures are float32 (C, h, w). No torch: the processes that stitch start sooner without it.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dreamjobs.fanout.plan import reach
from dreamjobs.sizes import Size
from dreamjobs.tiles import Box, Span

Floats = NDArray[np.float32]

_A = -0.5


@dataclass(frozen=True, eq=False)
class Part:
    """A box of a picture of `size` (h, w)."""

    box: Box
    pixels: Floats
    size: Size


def resample(part: Part, box: Box, size: Size) -> Floats:
    """The pixels in `box` of the picture at `size`; `part` must hold `reach(box, size, part.size)`."""
    wanted = reach(box, size, part.size)
    pixels = part.pixels[:, *wanted.within(part.box).slices]
    if size == part.size:
        return pixels
    rows = _along_rows(pixels, _taps(box.y, wanted.y, size[0], part.size[0]))
    across = _along_rows(rows.swapaxes(1, 2), _taps(box.x, wanted.x, size[1], part.size[1]))
    return np.ascontiguousarray(across.swapaxes(1, 2))


@dataclass(frozen=True, eq=False)
class _Taps:
    """For each position wanted, the first position it is made of, and the weights of that one and the following."""

    first: NDArray[np.int64]
    weights: Floats
    last: int


def _along_rows(pixels: Floats, taps: _Taps) -> Floats:
    out = np.zeros((pixels.shape[0], len(taps.first), pixels.shape[2]), np.float32)
    for step in range(taps.weights.shape[1]):
        # Past the end a tap weighs nothing, wherever it points to.
        places = np.minimum(taps.first + step, taps.last)
        out += pixels[:, places] * taps.weights[:, step, None]
    return out


def _taps(span: Span, seen: Span, length: int, old: int) -> _Taps:
    """The taps of the positions `span` of `length` in the positions `seen` of `old`."""
    scale = old / length
    stretch = max(scale, 1.0)
    centre = (np.arange(span.start, span.stop) + 0.5) * scale
    first = np.maximum(0, np.floor(centre - 2 * stretch + 0.5))
    last = np.minimum(old, np.floor(centre + 2 * stretch + 0.5))
    places = first[:, None] + np.arange(math.ceil(4 * stretch) + 1)
    weights = _kernel((places + 0.5 - centre[:, None]) / stretch) * (places < last[:, None])
    weights /= weights.sum(1, keepdims=True)
    return _Taps(first.astype(np.int64) - seen.start, weights.astype(np.float32), seen.length - 1)


def _kernel(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys's cubic kernel, 0 beyond 2."""
    x = np.abs(x)
    near = ((_A + 2) * x - (_A + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * _A
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))
