"""A picture between two rounds, in 65,536 levels: half of what float32 would be to send, to hold and to keep.

A level is a 257th of what a finished picture's 8 bits tell apart. Each sync rounds to the nearest; of what changes by
less than half of one in between, nothing is left.
"""

import numpy as np
from numpy.typing import NDArray

from dreamjobs.fanout.resample import Floats

Levels = NDArray[np.uint16]

FULL = 65_535
"""The level of 1.0."""


def to_levels(pixels: Floats) -> Levels:
    """The nearest levels, C-contiguous; `pixels` is overwritten.

    What lies outside [0, 1] is clamped, what is not a number becomes 0.
    """
    np.multiply(pixels, FULL, out=pixels)
    np.fmin(np.fmax(pixels, 0, out=pixels), FULL, out=pixels)
    return np.rint(pixels, out=pixels).astype(np.uint16, order="C")
