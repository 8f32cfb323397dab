"""A photograph that is read by window, so that nobody need hold all of it as floats."""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dreamjobs import tiles
from dreamjobs.images.photo import Photo, fit
from dreamjobs.images.resizing import LANCZOS, window_at
from dreamjobs.images.values import Floats, SampleArray, unit
from dreamjobs.sizes import Size
from dreamjobs.tiles import Box, Span

_WINDOW = 4096  # pixels, of the larger picture
_LANCZOS = 3  # pixels of the smaller picture that its kernel reaches


class Source(Protocol):
    """What can be asked of a photograph without its pixels: `Photo`, `Samples` and `Tiled` answer alike."""

    @property
    def size(self) -> Size:
        """(h, w)."""

    @property
    def alpha(self) -> SampleArray | None:
        """Samples (h, w), not premultiplied; None where there are none."""

    @property
    def exif(self) -> bytes | None:
        """As a `Photo`'s."""

    @property
    def format(self) -> str:
        """As a `Photo`'s."""

    def window(self, box: Box) -> SampleArray:
        """The samples of a box, (3, h, w), sRGB; they may lie in the picture's own memory.

        Raises:
            ImageError, SourceChangedError, NotFoundError, AccessError, StorageError: where they have yet to be read.
        """


@dataclass(frozen=True, eq=False)
class Samples:
    """A picture with the samples that its file has, or is to have: a quarter or half of what a `Photo` takes.

    pixels: (h, w, 3), sRGB; of uint8 or uint16 full scale is 1, float32 is in [0, 1]. alpha: (h, w) of any of these, or
    None.
    """

    pixels: SampleArray
    alpha: SampleArray | None
    exif: bytes | None
    format: str

    @property
    def size(self) -> Size:
        """(h, w)."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def window(self, box: Box) -> SampleArray:
        """The samples of a box, (3, h, w), in the same memory."""
        return self.pixels[box.slices].transpose(2, 0, 1)

    def photo(self) -> Photo:
        """The same as floats."""
        alpha = None if self.alpha is None else unit(self.alpha)
        return Photo(unit(self.pixels), alpha, self.exif, self.format)


def reduced(source: Source, side: int) -> Photo:
    """The photograph as `fit` would shrink it. If it is no `Photo` it is read in windows, without alpha.

    Windows overlap by what the kernel reaches; Pillow rounds where they lie, so both differ by 1e-4 at the most.
    """
    if isinstance(source, Photo):
        return fit(source, side)
    scale = max(1.0, max(source.size) / side)
    small = max(1, round(source.size[0] / scale)), max(1, round(source.size[1] / scale))
    pixels = np.empty((*small, 3), np.float32)
    for box in tiles.cover(*small, max(1, int(_WINDOW / scale)), (1, 1)):
        pixels[box.slices] = _shrunk(source, box, small)
    return Photo(pixels, None, source.exif, source.format)


def _shrunk(source: Source, box: Box, small: Size) -> Floats:
    """A box (h, w, 3) of the photograph at the size `small`."""
    scales = source.size[0] / small[0], source.size[1] / small[1]
    seen = Box(_seen(box.y, scales[0], source.size[0]), _seen(box.x, scales[1], source.size[1]))
    made = window_at(source.window(seen), seen, source.size, box, small, LANCZOS).clip(0.0, 1.0)
    return made.transpose(1, 2, 0)


def _seen(span: Span, scale: float, length: int) -> Span:
    reach = _LANCZOS * scale + 1
    return Span(max(0, math.floor(span.start * scale - reach)), min(length, math.ceil(span.stop * scale + reach)))
