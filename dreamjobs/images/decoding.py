"""Bytes -> Samples -> Photo: orientation, colour profile, alpha and bit depth are dealt with here, once."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from dreamjobs.images import deep
from dreamjobs.images.colour import is_srgb, to_srgb
from dreamjobs.images.exif import kept_block, orientation
from dreamjobs.images.opening import KINDS, damage_as_image_error, open_picture
from dreamjobs.images.photo import Photo
from dreamjobs.images.source import Samples
from dreamjobs.images.values import SampleArray, unit

DEFAULT_MAX_PIXELS = 500_000_000

_TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, eq=False)
class _Planes:
    """Colour (h, w, 3) and alpha (h, w) or None."""

    colour: SampleArray
    alpha: SampleArray | None


def decode(data: bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS, least_side: int | None = None) -> Photo:
    """The picture in these bytes, upright, in sRGB, float32 in [0, 1]; of an animation the first frame.

    With `least_side` a large JPEG comes at a half, a quarter or an eighth of its size, both sides at least that long:
    several times faster, where it is to be made small anyway.

    The header is checked against max_pixels before anything is decoded. Raises ImageError if the bytes are
    empty, no picture, damaged, cut short, or hold more than max_pixels.
    """
    return decode_samples(data, max_pixels=max_pixels, least_side=least_side).photo()


def decode_samples(data: bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS, least_side: int | None = None) -> Samples:
    """The same picture with the samples that its file has: 8 bits, 16, or floats in [0, 1] of deep grey.

    Raises:
        ImageError: as `decode`.
    """
    with damage_as_image_error("decode", len(data)), open_picture(data, max_pixels) as image:
        packing = deep.raw_mode(image)
        if least_side is not None:
            image.draft(None, (least_side, least_side))  # what is no JPEG stays as it is
        image.load()
        turn = _TURN.get(orientation(image))
        exif = kept_block(image)
        low = _low_bytes(data, packing, max_pixels) if deep.is_deep_colour(packing) else None
        planes = _planes(_turned(image, turn), None if low is None else _turned(low, turn))
        return Samples(planes.colour, planes.alpha, exif, KINDS.get(str(image.format), "jpeg"))


def _low_bytes(data: bytes, packing: str, max_pixels: int) -> Image.Image:
    with open_picture(data, max_pixels) as again:
        return deep.read_low_bytes(again, packing)


def _turned(image: Image.Image, turn: Image.Transpose | None) -> Image.Image:
    return image if turn is None else image.transpose(turn)


def _planes(image: Image.Image, low: Image.Image | None) -> _Planes:
    profile = image.info.get("icc_profile")
    if image.mode in deep.GREY_MODES:
        return _deep_grey(image, profile)
    if low is not None and is_srgb("RGB", profile):
        return _deep_colour(image, low)
    image = _simple_mode(image)
    alpha = np.asarray(image.getchannel("A")) if image.mode in ("LA", "RGBA") else None
    opaque = image.convert(image.mode[:-1]) if alpha is not None else image
    return _Planes(np.asarray(to_srgb(opaque, profile)), alpha)


def _simple_mode(image: Image.Image) -> Image.Image:
    """The same picture in one of the modes L, LA, RGB, RGBA, CMYK and LAB."""
    if image.mode in ("La", "RGBa"):
        return image.convert(image.mode.upper())
    if image.mode not in ("LA", "RGBA") and image.has_transparency_data:
        return image.convert("RGBA")
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode in ("L", "LA", "RGB", "RGBA", "CMYK", "LAB") else image.convert("RGB")


def _deep_grey(image: Image.Image, profile: bytes | None) -> _Planes:
    """Grey goes through its profile as a curve of 256 points, so that its own bits survive between them."""
    grey = deep.unit_grey(image)
    alpha = None
    if "transparency" in image.info:
        alpha = (np.asarray(image) != image.info["transparency"]).astype(np.float32)
    if is_srgb("L", profile):
        return _Planes(np.repeat(grey[..., None], 3, axis=2), alpha)
    levels = np.arange(256, dtype=np.uint8)[None]
    curve = unit(np.asarray(to_srgb(Image.fromarray(levels), profile)))[0]
    colour = np.empty((*grey.shape, 3), np.float32)
    for channel in range(3):
        colour[..., channel] = np.interp(grey, np.linspace(0, 1, 256), curve[:, channel])
    return _Planes(colour, alpha)


def _deep_colour(image: Image.Image, low: Image.Image) -> _Planes:
    samples = deep.joined(image, low)
    colour = np.ascontiguousarray(samples[..., :3])
    if image.mode == "RGBA":
        return _Planes(colour, np.ascontiguousarray(samples[..., 3]))
    if "transparency" in image.info:
        return _Planes(colour, (samples != np.array(image.info["transparency"])).any(axis=2).astype(np.float32))
    return _Planes(colour, None)
