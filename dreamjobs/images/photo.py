"""The picture between decoding and encoding, and making it smaller. Values are in [0, 1]."""

from dataclasses import dataclass, replace

import numpy as np

from dreamjobs.errors import ImageError
from dreamjobs.images.resizing import LANCZOS, resized
from dreamjobs.images.values import Floats
from dreamjobs.sizes import Size
from dreamjobs.tiles import Box

EXTENSIONS = frozenset(
    ["jpg", "jpeg", "jpe", "mpo", "png", "webp", "tif", "tiff", "avif", "bmp", "gif", "heic", "heif"]
)
"""How the names of pictures end, in lower case."""


def is_picture(name: str) -> bool:
    """Whether a file's name ends as a picture's does."""
    return name.rpartition(".")[2].lower() in EXTENSIONS


@dataclass(frozen=True, eq=False)
class Photo:
    """One upright picture.

    pixels: float32 (h, w, 3), C-contiguous, sRGB in [0, 1].
    alpha: float32 (h, w) in [0, 1], not premultiplied; None where the source had none.
    exif: the camera's EXIF block (dates, lens, place), orientation 1, without its thumbnail; or None.
    format: the kind of the source: jpeg, png, webp, tiff, avif, bmp, gif or heic.
    """

    pixels: Floats
    alpha: Floats | None
    exif: bytes | None
    format: str

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.pixels.shape[1])

    @property
    def size(self) -> Size:
        """(h, w)."""
        return self.height, self.width

    def window(self, box: Box) -> Floats:
        """The pixels of a box, (3, h, w), in the same memory."""
        return self.pixels[box.slices].transpose(2, 0, 1)


def fit(photo: Photo, max_side: int | None) -> Photo:
    """The photo with its longer side at most `max_side` pixels; None, or one that fits, returns it as it is.

    Lanczos in float, each channel for itself, so nothing is rounded to 8 bits on the way. The shorter side is
    at least 1. Raises ImageError if max_side is below 1.
    """
    if max_side is not None and max_side < 1:
        raise ImageError(f"max_side is {max_side}; it must be 1 or more, or None to keep the size")
    longer = max(photo.height, photo.width)
    if max_side is None or longer <= max_side:
        return photo
    height = max(1, round(photo.height * max_side / longer))
    width = max(1, round(photo.width * max_side / longer))
    pixels = np.ascontiguousarray(_shrunk(photo.pixels.transpose(2, 0, 1), (height, width)).transpose(1, 2, 0))
    alpha = None if photo.alpha is None else _shrunk(photo.alpha[None], (height, width))[0]
    return replace(photo, pixels=pixels, alpha=alpha)


def _shrunk(planes: Floats, size: Size) -> Floats:
    """Planes (C, h, w) at another size; Lanczos overshoots at edges, so they are clipped to [0, 1]."""
    made = resized(planes, size, LANCZOS)
    return np.clip(made, 0.0, 1.0, out=made)
