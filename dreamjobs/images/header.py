"""The size of a picture from its header, for the width and height columns of a manifest. Decodes nothing."""

from PIL import Image, ImageFile

from dreamjobs.errors import ImageError
from dreamjobs.images.opening import DAMAGE, open_picture
from dreamjobs.images.webp import Size, canvas_size, exif_chunk, promises_exif

__all__ = ["Size", "probe"]

_ORIENTATION = 0x0112
_NO_LIMIT = 2**63


def probe(data_or_prefix: bytes) -> Size | None:
    """The size (h, w) after orientation, from the first bytes of a picture; None if they do not tell.

    64 KiB tell it for most JPEG, PNG, BMP and GIF files, and for WebP without EXIF; the other kinds keep what
    is needed anywhere, so give them whole. An EXIF chunk after the pixels of a PNG is not looked for.
    """
    try:
        canvas = canvas_size(data_or_prefix)
        if canvas is not None:
            return _webp_size(data_or_prefix, canvas)
        with open_picture(data_or_prefix, _NO_LIMIT) as image:
            return _turned(Size(image.height, image.width), _orientation(image))
    except (ImageError, *DAMAGE):
        return None


def _webp_size(data: bytes, canvas: Size) -> Size | None:
    block = exif_chunk(data)
    if block is None:
        return None if promises_exif(data) else canvas
    exif = Image.Exif()
    exif.load(block)
    return _turned(canvas, exif.get(_ORIENTATION, 1))


def _orientation(image: ImageFile.ImageFile) -> int:
    """How the header says the picture must be turned (1 to 8); 1 also if the EXIF is damaged."""
    if image.format in ("TIFF", "HEIF"):
        return 1  # both readers give the size after turning
    try:
        # Not image.getexif(): for a PNG without EXIF in front that decodes all of it.
        return int(Image.Image.getexif(image).get(_ORIENTATION, 1))
    except DAMAGE:
        return 1


def _turned(size: Size, orientation: int) -> Size:
    return Size(size.width, size.height) if orientation in (5, 6, 7, 8) else size
