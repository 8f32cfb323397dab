"""A box of a picture at another size, from no more of the picture than the box depends on.

Bicubic with a low-pass filter on the way down. No torch: the processes that stitch start sooner without it. Pictures
are float32 (C, h, w).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dreamjobs.fanout.plan import reach
from dreamjobs.images import CUBIC, window_at
from dreamjobs.sizes import Size
from dreamjobs.tiles import Box

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Part:
    """A box of a picture of `size` (h, w)."""

    box: Box
    pixels: Floats
    size: Size


def resample(part: Part, box: Box, size: Size) -> Floats:
    """The pixels in `box` of the picture at `size`; `part` must hold `reach(box, size, part.size)`."""
    seen = reach(box, size, part.size)
    pixels = part.pixels[:, *seen.within(part.box).slices]
    if size == part.size:
        return pixels
    return window_at(pixels, seen, part.size, box, size, CUBIC)
