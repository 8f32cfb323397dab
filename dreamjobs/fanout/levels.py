"""A picture between two rounds, in 65,536 levels: half of what float32 would be to send, to hold and to keep.

A level is a 257th of what a finished picture's 8 bits tell apart. Each sync rounds to the nearest; of what changes by
less than half of one in between, nothing is left.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from dreamjobs.images import Floats

Levels = NDArray[np.uint16]

FULL = 65_535
"""The level of 1.0."""


def to_levels(planes: Iterable[Floats]) -> Levels:
    """The nearest levels (C, h, w) of planes (h, w), C-contiguous.

    What lies outside [0, 1] is clamped, what is not a number becomes 0.
    """
    return np.stack([_nearest(plane) for plane in planes])


def _nearest(plane: Floats) -> Levels:
    scaled = np.multiply(plane, FULL)
    np.fmin(np.fmax(scaled, 0, out=scaled), FULL, out=scaled)
    return np.rint(scaled, out=scaled).astype(np.uint16, order="C")
