"""A finished picture that comes a strip at a time, from the top down, on its way to 8 bits."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dreamjobs.images.source import Samples, Source
from dreamjobs.images.values import Floats, SampleArray, unit
from dreamjobs.sizes import Size
from dreamjobs.tiles import Box, Span

Bytes = NDArray[np.uint8]

_ROWS = 256


@dataclass(frozen=True, eq=False)
class Strips:
    """A picture of `size` (h, w), which can be gone through once.

    pixels: samples (rows, w, 3) each, sRGB. alpha and exif: as a `Source`'s, of the same size.
    """

    size: Size
    pixels: Iterable[SampleArray]
    alpha: SampleArray | None
    exif: bytes | None

    def rounded(self, *, keep_alpha: bool) -> Iterator[Bytes]:
        """Strips of 8 bits (rows, w, channels): 4 channels if there is alpha and it is kept, else 3, laid on white."""
        top = 0
        for strip in self.pixels:
            if self.alpha is None:
                yield _to_bytes(strip)
            else:
                alpha = unit(self.alpha[top : top + len(strip)])[..., None]
                yield np.dstack([_to_bytes(strip), _to_bytes(alpha)]) if keep_alpha else _on_white(unit(strip), alpha)
            top += len(strip)

    def whole(self, *, keep_alpha: bool) -> Bytes:
        """All of it in 8 bits (h, w, channels)."""
        channels = 4 if keep_alpha and self.alpha is not None else 3
        out, top = np.empty((*self.size, channels), np.uint8), 0
        for strip in self.rounded(keep_alpha=keep_alpha):
            out[top : top + len(strip)] = strip
            top += len(strip)
        return out


def strips_of(source: Source) -> Strips:
    """A picture in strips."""
    height, width = source.size
    boxes = (Box(Span(top, min(top + _ROWS, height)), Span(0, width)) for top in range(0, height, _ROWS))
    pixels = (source.window(box).transpose(1, 2, 0) for box in boxes)
    return Strips(source.size, pixels, source.alpha, source.exif)


def rounded(source: Source) -> Source:
    """The picture in 8 bits, as its file gets it; as it is if there is alpha, since JPEG lays that on white first."""
    if source.alpha is not None:
        return source
    return Samples(strips_of(source).whole(keep_alpha=False), None, source.exif, source.format)


def _on_white(strip: Floats, alpha: Floats) -> Bytes:
    return _to_bytes(strip * alpha + (1.0 - alpha))


def _to_bytes(samples: SampleArray) -> Bytes:
    """Clamped to [0, 1] and rounded; what is not a number becomes 0, the same on every machine. Bytes stay."""
    if samples.dtype == np.uint8:
        return np.asarray(samples, np.uint8)
    clamped = np.fmin(np.fmax(unit(samples), 0.0), 1.0)
    return np.rint(clamped * 255.0).astype(np.uint8)
