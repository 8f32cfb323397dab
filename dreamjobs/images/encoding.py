"""A picture -> bytes with the recipe inside, and which formats can be written.

Whatever could make the bytes depend on the machine or the hour is fixed here: no timestamps, and a fixed
number of threads for AVIF, whose bytes differ between one thread and more.
"""

import io
from dataclasses import dataclass, field
from typing import Literal, get_args

from PIL import Image

from dreamjobs.errors import ImageError
from dreamjobs.images.exif import block_with_recipe, recipe_in
from dreamjobs.images.opening import DAMAGE, check_heif, damage_as_image_error, open_picture, prepare_pillow
from dreamjobs.images.source import Source
from dreamjobs.images.strips import Strips, strips_of
from dreamjobs.sizes import Size

Encoding = Literal["jpeg", "png", "webp", "tiff", "avif", "heic"]

_FULL_CHROMA_QUALITY = 90
_MAX_PIXELS = 2**40


@dataclass(frozen=True)
class _Container:
    """A format that can be written: Pillow's name, the file name's ending, and what it can hold."""

    pillow: str
    extension: str
    max_side: int
    has_alpha: bool = True
    exif_limit_bytes: int | None = None
    options: dict[str, object] = field(default_factory=dict)


# PNG level 4, WebP method 2, AVIF speed 9: beyond them the bytes hardly shrink and the time doubles or worse.
# TIFF is not compressed: Pillow can write the camera's directories (lens, place) only into a plain one.
_CONTAINERS = {
    "jpeg": _Container("JPEG", "jpg", 65_500, has_alpha=False, exif_limit_bytes=65_533),
    "png": _Container("PNG", "png", 2**31 - 1, options={"compress_level": 4}),
    "webp": _Container("WEBP", "webp", 16_383, options={"method": 2}),
    "tiff": _Container("TIFF", "tiff", 2**31 - 1, options={"compression": "raw"}),
    "avif": _Container("AVIF", "avif", 32_768, options={"speed": 9, "max_threads": 2}),
    "heic": _Container("HEIF", "heic", 16_384),
}


def output_format(requested: str, source_format: str) -> str:
    """The format to write: the requested one; for "auto" the source's, or png in place of bmp and gif.

    Raises ImageError for an unknown name.
    """
    if requested == "auto":
        return source_format if source_format in _CONTAINERS else "png"
    _container(requested)
    return requested


def extension(format: str) -> str:  # noqa: A002  # the word for it
    """The ending of a file name, without a dot: "jpg" for jpeg, else the format's name. Raises ImageError."""
    return _container(format).extension


def format_of_name(name: str) -> str:
    """The format that a file name's ending asks for. Raises ImageError listing the endings that can be written."""
    ending = name.rpartition(".")[2].lower()
    endings = {"jpeg": "jpeg", "tif": "tiff"} | {item.extension: name for name, item in _CONTAINERS.items()}
    if "." not in name or ending not in endings:
        raise ImageError(f"{name!r}: no format is known by that ending; allowed are {', '.join(sorted(endings))}")
    return endings[ending]


def check_size(size: Size, format: str) -> None:  # noqa: A002  # the word for it
    """Raise ImageError if a picture of `size` (h, w) does not fit into a format, or there is no such format."""
    longest = _container(format).max_side
    if max(size) > longest:
        raise ImageError(
            f"a picture of {size[0]} x {size[1]} (h x w) does not fit into {format}, whose longest side is {longest}; "
            "write png or tiff (`format: tiff`)"
        )


def encode(
    picture: Source | Strips,
    *,
    format: str,  # noqa: A002  # the word for it
    quality: int,
    recipe: dict[str, object],
) -> bytes:
    """The whole file: pixels clamped to [0, 1] and rounded to 8 bits, alpha, EXIF, and the recipe in it.

    The same arguments give the same bytes. JPEG has no alpha: there the picture is laid on white. `quality`
    is 1 to 100, of the lossy formats only; from 90 on JPEG and AVIF keep colour at full resolution (4:4:4);
    WebP, which never does, is lossless at 100. The recipe holds what JSON holds.

    Raises ImageError for an unknown format, a quality out of range, and a picture or a recipe too large for the
    format.
    """
    container = _container(format)
    if not 1 <= quality <= 100:
        raise ImageError(f"quality is {quality}; allowed is 1 to 100")
    strips = picture if isinstance(picture, Strips) else strips_of(picture)
    check_size(strips.size, format)
    height, width = strips.size
    exif = block_with_recipe(strips.exif, recipe, height=height, width=width, limit_bytes=container.exif_limit_bytes)
    return _written(Image.fromarray(strips.whole(keep_alpha=container.has_alpha)), format, quality, exif)


def read_recipe(data: bytes) -> dict[str, object]:
    """The recipe that `encode` put into these bytes. Raises ImageError if they carry none."""
    with damage_as_image_error("read", len(data)), open_picture(data, _MAX_PIXELS) as image:
        recipe = recipe_in(image)
    if recipe is None:
        raise ImageError(
            f"the picture of {len(data)} bytes carries no dreamjobs recipe; "
            "it was not made by dreamjobs, or was saved again by a program that drops EXIF"
        )
    return recipe


def _container(name: str) -> _Container:
    if name not in _CONTAINERS:
        raise ImageError(f"cannot write {name!r}; allowed are {', '.join(get_args(Encoding))}")
    return _CONTAINERS[name]


def _written(image: Image.Image, name: str, quality: int, exif: bytes) -> bytes:
    prepare_pillow()
    if name == "heic":
        check_heif()
    container = _CONTAINERS[name]
    options: dict[str, object] = {"exif": exif, **container.options}
    if name not in ("png", "tiff"):
        options["quality"] = quality
    if name in ("jpeg", "avif"):
        options["subsampling"] = "4:4:4" if quality >= _FULL_CHROMA_QUALITY else "4:2:0"
    if name == "webp":
        options["lossless"] = quality == 100
    out = io.BytesIO()
    try:
        image.save(out, container.pillow, **options)
    except DAMAGE as error:
        raise ImageError(f"cannot write {image.height} x {image.width} (h x w) as {name}: {error}") from error
    return out.getvalue()
