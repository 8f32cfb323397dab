"""Pixels at another size, by Pillow's kernels on float32 planes: nothing is rounded to 8 bits on the way."""

import numpy as np
from PIL import Image

from dreamjobs.images.values import Floats, SampleArray, unit
from dreamjobs.sizes import Size
from dreamjobs.tiles import Box

Place = tuple[float, float, float, float]
"""left, top, right, bottom"""

CUBIC = Image.Resampling.BICUBIC
"""Keys's kernel (1981) with a = -0.5, stretched where a picture shrinks, as torch's with `antialias=True`."""
LANCZOS = Image.Resampling.LANCZOS


def resized(planes: SampleArray, size: Size, kernel: Image.Resampling, place: Place | None = None) -> Floats:
    """Planes (C, h, w) at `size`; with a `place`, that part of them alone, made of what is around it too."""
    out = np.empty((len(planes), *size), np.float32)
    for plane, made in zip(planes, out, strict=True):
        image = Image.fromarray(np.ascontiguousarray(unit(plane)))
        made[:] = np.asarray(image.resize((size[1], size[0]), kernel, place and _inside(place, image)))
    return out


def window_at(planes: SampleArray, seen: Box, old: Size, box: Box, size: Size, kernel: Image.Resampling) -> Floats:
    """A box (C, h, w) of a picture at `size`, from what it depends on: the box `seen` of the picture at `old`."""
    down, across = old[0] / size[0], old[1] / size[1]
    top, left = box.y.start * down - seen.y.start, box.x.start * across - seen.x.start
    place = (left, top, left + box.width * across, top + box.height * down)
    return resized(planes, (box.height, box.width), kernel, place)


def _inside(place: Place, image: Image.Image) -> Place:
    """The place, where rounding has moved it out of the image, within it."""
    left, top, right, bottom = place
    return max(0.0, left), max(0.0, top), min(right, image.width), min(bottom, image.height)
