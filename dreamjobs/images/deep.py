"""More than 8 bits: grey of 12, 16 and 32 bits and float, and 16-bit RGB with or without alpha.

Pillow opens grey with all its bits, but of 16-bit colour it keeps the high bytes only. It reads the low bytes
when told that the samples are in the other byte order; so colour is decoded twice and put together.
"""

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from dreamjobs.images.values import Floats

GREY_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")
_OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
_COLOURS = ("RGB", "RGBA", "RGBX")
_GREY_ALPHA = "LA;16B"
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339
_WHITE_IS_ZERO, _SIGNED = 0, 2


def raw_mode(image: ImageFile.ImageFile) -> str:
    """How the file's samples are packed, in Pillow's words, such as "RGB;16B"; known until it is loaded."""
    args = image.tile[0].args if image.tile else ""
    return str(args[0] if isinstance(args, tuple) and args else args)


def is_deep_colour(packing: str) -> bool:
    """Whether samples packed so have low bytes that Pillow would drop and `read_low_bytes` can fetch."""
    colours, _, bits = packing.partition(";16")
    return packing == _GREY_ALPHA or (colours in _COLOURS and bits in _OTHER_ORDER)


def read_low_bytes(image: ImageFile.ImageFile, packing: str) -> Image.Image:
    """Load a freshly opened deep colour picture so that its pixels are the low bytes of the samples."""
    # Grey and alpha are read as they lie: grey high, grey low, alpha high, alpha low.
    swapped = "RGBA" if packing == _GREY_ALPHA else packing[:-1] + _OTHER_ORDER[packing[-1]]
    image.tile = [tile._replace(args=_with_raw_mode(tile.args, swapped)) for tile in image.tile]
    image.load()
    if packing != _GREY_ALPHA:
        return image
    _, grey, _, alpha = image.split()
    return Image.merge("RGBA", (grey, grey, grey, alpha))


def _with_raw_mode(args: Any, raw: str) -> Any:
    return (raw, *args[1:]) if isinstance(args, tuple) else raw


def joined(high: Image.Image, low: Image.Image) -> NDArray[np.uint16]:
    """The samples (h, w, c) of 16 bits from their high and low bytes."""
    samples = np.asarray(high).astype(np.uint16)
    samples <<= 8
    samples |= np.asarray(low)
    return samples


def unit_grey(image: Image.Image) -> Floats:
    """Deep grey as float32 (h, w) in [0, 1]: the full scale of its type is 1.

    Floats are taken as they are and clipped, and what is not a number is 0.
    """
    tags = getattr(image, "tag_v2", {})
    samples = np.asarray(image)
    if image.mode == "I" and tags.get(_SAMPLE_FORMAT, (1,))[0] != _SIGNED:
        samples = samples.view(np.uint32)
    grey: Floats = np.divide(samples, _full_scale(image.mode, tags), dtype=np.float64).astype(np.float32)
    np.fmin(np.fmax(grey, 0.0, out=grey), 1.0, out=grey)
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        np.subtract(1.0, grey, out=grey)
    return grey


def _full_scale(mode: str, tags: Any) -> float:
    if mode == "F":
        return 1.0
    default_bits = 32 if mode == "I" else 16
    bits = int(tags.get(_BITS, (default_bits,))[0])
    signed = tags.get(_SAMPLE_FORMAT, (1,))[0] == _SIGNED
    return float(2 ** (bits - signed) - 1)
