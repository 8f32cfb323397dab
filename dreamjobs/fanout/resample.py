"""A box of a picture at another size, from no more of the picture than the box depends on.

Bicubic with a low-pass filter on the way down, as `F.interpolate(mode="bicubic", antialias=True)` does it to whole
pictures: Keys's kernel (1981) with a = -0.5, stretched where the picture shrinks, cut off and normalised at the edges.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dreamjobs.fanout.plan import reach
from dreamjobs.sizes import Size
from dreamjobs.tiles import Box, Span

_A = -0.5


@dataclass(frozen=True)
class Part:
    """A box of a picture of size `size`: its pixels (1, C, h, w)."""

    box: Box
    pixels: Tensor
    size: Size


def resample(part: Part, box: Box, size: Size) -> Tensor:
    """The pixels (1, C, h, w) in `box` of the picture at `size`; `part` must hold `reach(box, size, part.size)`."""
    wanted = reach(box, size, part.size)
    rows = slice(wanted.y.start - part.box.y.start, wanted.y.stop - part.box.y.start)
    columns = slice(wanted.x.start - part.box.x.start, wanted.x.stop - part.box.x.start)
    pixels = part.pixels[..., rows, columns]
    if size == part.size:
        return pixels
    pixels = _along(pixels, -1, box.x, wanted.x, size[1], part.size[1])
    return _along(pixels, -2, box.y, wanted.y, size[0], part.size[0])


def _along(pixels: Tensor, axis: int, span: Span, seen: Span, length: int, old: int) -> Tensor:
    """One axis: positions `span` of `length`, from `pixels`, which are the positions `seen` of `old`."""
    first, weights = _taps(span, length, old)
    out = pixels.new_zeros(())
    for tap in range(weights.shape[1]):
        # Past the end a tap weighs nothing, wherever it points to.
        places = (first + tap - seen.start).clamp_(max=seen.length - 1)
        weight = weights[:, tap].to(pixels.dtype)
        out = out + pixels.index_select(axis, places) * (weight if axis == -1 else weight[:, None])
    return out


def _taps(span: Span, length: int, old: int) -> tuple[Tensor, Tensor]:
    """For each position of `span`, the first position it is made of, and the weights of that and the following."""
    scale = old / length
    stretch = max(scale, 1.0)
    centre = (torch.arange(span.start, span.stop, dtype=torch.float64) + 0.5) * scale
    first = (centre - 2 * stretch + 0.5).floor().clamp_(min=0)
    last = (centre + 2 * stretch + 0.5).floor().clamp_(max=old)
    steps = torch.arange(math.ceil(4 * stretch) + 1, dtype=torch.float64)
    places = first[:, None] + steps
    weights = _kernel((places + 0.5 - centre[:, None]) / stretch) * (places < last[:, None])
    return first.long(), weights / weights.sum(1, keepdim=True)


def _kernel(x: Tensor) -> Tensor:
    """Keys's cubic kernel, 0 beyond 2."""
    x = x.abs()
    near = ((_A + 2) * x - (_A + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * _A
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))
