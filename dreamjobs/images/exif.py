"""EXIF: what is kept of a photo's block, how it turns the picture, and the recipe carried inside it.

The recipe of a dream travels in ImageHistory (0x9213 of TIFF/EP, a record of what was done to the image) in
the first directory, because EXIF is the one carrier that every format written here has.
"""

import json
from collections.abc import Iterator

from PIL import Image

from dreamjobs.errors import ImageError
from dreamjobs.images.opening import DAMAGE

_ORIENTATION = 0x0112
_HISTORY = 0x9213
_EXIF_IFD, _GPS_IFD, _INTEROP_IFD = 0x8769, 0x8825, 0xA005
_MAKER_NOTE, _COLOUR_SPACE, _PIXEL_WIDTH, _PIXEL_HEIGHT = 0x927C, 0xA001, 0xA002, 0xA003
_SRGB = 1
_BULKY_BYTES = 1024
_DESCRIPTION = 0x010E
_LAYOUTS = ('{"shape"', "ImageJ=", "<?xml", "<OME")  # tifffile, ImageJ and OME say there how a file's arrays lie

# The first directory of a TIFF also says where its strips lie and how they are packed, so only tags that
# describe the photograph may travel to another file: description, make, model, resolution (3), software,
# date, artist, host, rating (2), copyright, and Windows' title, comment, author, keywords and subject.
_DESCRIPTIVE = (
    *(0x010E, 0x010F, 0x0110, 0x011A, 0x011B, 0x0128, 0x0131, 0x0132, 0x013B, 0x013C),
    *(0x4746, 0x4749, 0x8298, 0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F),
)


def orientation(image: Image.Image) -> int:
    """How the picture must be turned (1 to 8); 1 if nothing, or nothing readable, says so."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except DAMAGE:
        return 1


def kept_block(image: Image.Image) -> bytes | None:
    """The photo's EXIF block with orientation 1, without thumbnail and layout tags; None if it has none.

    Damaged EXIF is common and no reason to refuse a picture: what cannot be read or written again is dropped.
    """
    try:
        source = image.getexif()
        if not len(source):
            return None
        kept = _kept(source)
    except DAMAGE:
        return None
    return _first_that_fits(kept, None)


def block_with_recipe(
    block: bytes | None, recipe: dict[str, object], *, height: int, width: int, limit_bytes: int | None
) -> bytes:
    """The EXIF block of a dreamed picture: the photo's own, its new size, sRGB, and the recipe.

    If it is over `limit_bytes`, the maker note goes first, then values over 1 KiB, then all but the recipe.
    Raises ImageError if the recipe alone is over the limit.
    """
    text = json.dumps(recipe, sort_keys=True, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    exif = _loaded(block)
    details = exif.get(_EXIF_IFD, {})
    now = {_PIXEL_WIDTH: width, _PIXEL_HEIGHT: height, _COLOUR_SPACE: _SRGB}
    details.update({tag: value for tag, value in now.items() if tag in details})
    exif[_ORIENTATION] = 1
    exif[_HISTORY] = text
    result = _first_that_fits(exif, limit_bytes)
    if result is None:
        raise ImageError(
            f"the recipe is {len(text)} bytes and EXIF in this format holds {limit_bytes}; "
            "write another format, such as png, or shorten the recipe"
        )
    return result


def recipe_in(image: Image.Image) -> dict[str, object] | None:
    """The recipe inside an opened picture; None if there is none."""
    try:
        recipe = json.loads(image.getexif().get(_HISTORY, "null"))
    except DAMAGE:
        return None
    return recipe if isinstance(recipe, dict) else None


def _kept(source: Image.Exif) -> Image.Exif:
    """A fresh block of what describes the photograph; its byte order is kept, for maker notes rely on it."""
    kept = Image.Exif()
    kept.endian = source.endian
    kept[_ORIENTATION] = 1
    for tag in _DESCRIPTIVE:
        if tag in source and not (tag == _DESCRIPTION and str(source[tag]).startswith(_LAYOUTS)):
            kept[tag] = source[tag]
    for tag in (_EXIF_IFD, _GPS_IFD):
        directory = dict(source.get_ifd(tag))
        # Pillow writes this one's offset wrong into TIFF, and all it says is that the colours were sRGB.
        directory.pop(_INTEROP_IFD, None)
        if directory:
            kept[tag] = directory
    return kept


def _loaded(block: bytes | None) -> Image.Exif:
    exif = Image.Exif()
    try:
        exif.load(block or b"")
        return _kept(exif) if block else exif
    except DAMAGE:
        return Image.Exif()


def _first_that_fits(exif: Image.Exif, limit_bytes: int | None) -> bytes | None:
    """The richest form of `exif` that can be written within the limit, or None. `exif` is changed."""
    for poorer in _ever_poorer(exif):
        try:
            block = poorer.tobytes()
        except DAMAGE:
            continue
        if limit_bytes is None or len(block) <= limit_bytes:
            return block
    return None


def _ever_poorer(exif: Image.Exif) -> Iterator[Image.Exif]:
    """The block itself, then each time with less in it; ImageHistory and the orientation always stay."""
    yield exif
    for drop in (_drop_maker_note, _drop_bulky, _drop_directories, _drop_all):
        drop(exif)
        yield exif


def _drop_maker_note(exif: Image.Exif) -> None:
    details = exif.get(_EXIF_IFD)
    if isinstance(details, dict):
        details.pop(_MAKER_NOTE, None)


def _drop_bulky(exif: Image.Exif) -> None:
    for directory in (exif, exif.get(_EXIF_IFD), exif.get(_GPS_IFD)):
        if directory is None:
            continue
        for tag in [tag for tag, value in directory.items() if tag != _HISTORY and _is_bulky(value)]:
            del directory[tag]


def _is_bulky(value: object) -> bool:
    return isinstance(value, str | bytes | tuple) and len(value) > _BULKY_BYTES


def _drop_directories(exif: Image.Exif) -> None:
    for tag in (_EXIF_IFD, _GPS_IFD):
        exif.pop(tag, None)


def _drop_all(exif: Image.Exif) -> None:
    for tag in [tag for tag in exif if tag not in (_HISTORY, _ORIENTATION)]:
        del exif[tag]
