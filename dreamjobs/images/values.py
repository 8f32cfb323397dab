"""A picture's samples as files have them, whole numbers or floats, and as the floats that are computed with."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
SampleArray = NDArray[np.uint8] | NDArray[np.uint16] | Floats
"""Samples; of whole numbers, the largest that the type holds stands for 1."""

_FULL_SCALE = {"uint8": 255, "uint16": 65_535, "float32": 1}


def unit(samples: SampleArray) -> Floats:
    """Samples as float32 in [0, 1], white exactly 1; floats come back as they are, in the same memory."""
    full = np.float32(_FULL_SCALE[samples.dtype.name])
    if full == 1:
        return np.asarray(samples, np.float32)
    scaled: Floats = np.divide(samples, full, dtype=np.float32)
    return scaled
