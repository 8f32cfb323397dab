"""Opening bytes with Pillow: which kinds, how large, and every way it can fail turned into ImageError."""

import functools
import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from PIL import Image, ImageFile, UnidentifiedImageError

from dreamjobs.errors import ImageError
from dreamjobs.images.webp import canvas_size

# The formats that Pillow may try -> our names; MPO opens as JPEG. No others: EPS, for one, starts a program.
KINDS = {
    "JPEG": "jpeg",
    "PNG": "png",
    "WEBP": "webp",
    "TIFF": "tiff",
    "AVIF": "avif",
    "BMP": "bmp",
    "GIF": "gif",
    "HEIF": "heic",
}

_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_LARGEST_WEBP = 16_383**2

# What Pillow and its plugins raise on damaged bytes. Their parsers trust the lengths and types they read, so
# the list is long; MemoryError is not in it: that may be the machine's fault and worth another attempt.
DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    LookupError,
    ArithmeticError,
    RuntimeError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


@contextmanager
def damage_as_image_error(doing: str, size_bytes: int) -> Iterator[None]:
    """Turn a failure of Pillow inside the block into ImageError: "cannot `doing` a picture of ... bytes"."""
    try:
        yield
    except DAMAGE as error:
        reason = str(error) or type(error).__name__
        raise ImageError(
            f"cannot {doing} a picture of {size_bytes} bytes: {reason}; "
            "it is damaged, cut short or of a rare kind: get it again, or save it as PNG"
        ) from error


def open_picture(data: bytes, max_pixels: int) -> ImageFile.ImageFile:
    """The opened, not yet decoded picture, at most `max_pixels` large.

    Raises ImageError for no bytes, bytes of no known kind, HEIC where its package is missing, and too many pixels; what
    else Pillow raises is left to `damage_as_image_error` around the caller.
    """
    if not data:
        raise ImageError("the picture is empty (0 bytes); it was not written whole, or is a placeholder: get it again")
    prepare_pillow()
    # libwebp takes the memory for the whole canvas when it opens, so its size is read before. The canvas of an
    # animation can be named larger than any picture that WebP can hold.
    canvas = canvas_size(data)
    if canvas is not None:
        check_pixels(canvas.height, canvas.width, min(max_pixels, _LARGEST_WEBP))
    try:
        image = Image.open(io.BytesIO(data), formats=[kind for kind in KINDS if kind in Image.OPEN])
    except UnidentifiedImageError as error:
        if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
            check_heif()
        raise ImageError(
            f"{len(data)} bytes that start with {data[:12]!r} are no picture that can be read; "
            "allowed are whole files of JPEG, PNG, WebP, TIFF, AVIF, BMP, GIF and HEIC"
        ) from error
    check_pixels(image.height, image.width, max_pixels)
    return image


def check_pixels(height: int, width: int, max_pixels: int) -> None:
    """Raise ImageError if height * width is over the limit."""
    if height * width > max_pixels:
        raise ImageError(
            f"the picture has {height * width:,} pixels ({height} x {width}, h x w); "
            f"allowed are at most {max_pixels:,} ({max_pixels / 1e6:.4g} megapixels): shrink it first"
        )


def check_heif() -> None:
    """Raise ImageError if the package that reads and writes HEIC is not installed; nothing else needs it."""
    if "HEIF" not in Image.OPEN:
        raise ImageError("HEIC takes the package pillow-heif, which is not installed: `pip install pillow-heif`")


@functools.cache
def prepare_pillow() -> None:
    """Load the plugins that are needed, once, at first use: importing dreamjobs must do nothing."""
    from PIL import AvifImagePlugin, MpoImagePlugin, TiffImagePlugin, WebPImagePlugin  # noqa: F401

    Image.preinit()
    with suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
    # Pillow's own limit is one number for the whole process and warns; `check_pixels` replaces it, per call.
    # It is set once and never back, so threads cannot see it change.
    Image.MAX_IMAGE_PIXELS = None
