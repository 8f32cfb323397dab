"""A TIFF in tiles (BigTIFF too) that stays where it is and is read by window: only the tiles that a window touches.

That goes for what needs nothing done to it but unpacking: upright RGB of 8 or 16 bits in sRGB without alpha, not
compressed or by Deflate or LZW, and JPEG of 8 bits in YCbCr. Any other file is for `decode`. Adobe's TIFF 6.0 and its
supplement of 2002, BigTIFF as libtiff has it. The headers are tifffile's work; tiles are unpacked here, by zlib,
imagecodecs and Pillow, never to more than a tile may hold.
"""

import functools
import io
import itertools
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dreamjobs.errors import SourceChangedError
from dreamjobs.images.colour import is_srgb
from dreamjobs.images.exif import kept_block, orientation
from dreamjobs.images.opening import DAMAGE, damage_as_image_error, prepare_pillow
from dreamjobs.images.values import SampleArray
from dreamjobs.sizes import Size
from dreamjobs.storage import ObjectInfo, Store, open_ranges
from dreamjobs.tiles import Box, Span

if TYPE_CHECKING:
    from tifffile import TiffPage

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0")
_RUN_BYTES, _GAP_BYTES = 16 << 20, 4096  # of one request, and what it may read for nothing between two tiles
_MOST_TILE_PIXELS = 1 << 24
_UPRIGHT, _CONTIGUOUS, _RGB, _YCBCR, _UNSIGNED, _MSB_FIRST = 1, 1, 2, 6, 1, 1
_STORED, _LZW, _JPEG, _DEFLATE, _DIFFERENCES = 1, 5, 7, (8, 32_946), 2


@dataclass(frozen=True)
class Tiled:
    """The picture in an object; its version is looked at before each window, so that no dream is made of two."""

    store: Store
    info: ObjectInfo
    size: Size
    exif: bytes | None
    format: str = "tiff"
    alpha: None = None

    def window(self, box: Box) -> SampleArray:
        """The samples of a box, (3, h, w).

        Raises:
            SourceChangedError: if this is no longer the object that was opened.
            ImageError: if a tile is damaged; NotFoundError, AccessError, StorageError
        """
        now = self.store.info(self.info.key)
        if now is None or now.version != self.info.version:
            raise SourceChangedError(f"{self.info.key!r} in {self.store.url} changed while it was read; run again")
        with damage_as_image_error("decode a tile of", self.info.size_bytes):
            return self._samples(box).transpose(2, 0, 1)

    def _samples(self, box: Box) -> NDArray[np.uint8] | NDArray[np.uint16]:
        page = _page(self.store, self.info)
        out = np.zeros((box.height, box.width, 3), page.dtype)
        for place, data in self._read(page, box):
            both = place.box.shared(box)
            out[both.within(box).slices] = _unpacked(page, data)[both.within(place.box).slices]
        return out

    def _read(self, page: "TiffPage", box: Box) -> Iterator[tuple["_Place", bytes]]:
        """The tiles that a box touches and that are not empty, still packed."""
        for run in _runs([place for place in _places(page, box) if place.length]):
            start = run[0].start
            data = self.store.get_range(self.info.key, start, run[-1].stop - start)
            for place in run:
                yield place, data[place.start - start : place.stop - start]


def open_tiled(store: Store, key: str) -> Tiled | None:
    """The picture at `key`, its header read; None if there is none, or none that can be read by window.

    Raises:
        AccessError, StorageError
    """
    info = store.info(key)
    if info is None or not info.size_bytes or store.get_range(key, 0, 4) not in _MAGIC:
        return None
    with suppress(*DAMAGE):  # what is wrong with it, `decode` says better
        page = _page(store, info)
        prepare_pillow()
        with open_ranges(store, info) as file, Image.open(file, formats=["TIFF"]) as image:
            plain = orientation(image) == _UPRIGHT and is_srgb("RGB", image.info.get("icc_profile"))
            if plain and _is_readable(page):
                return Tiled(store, info, (page.imagelength, page.imagewidth), kept_block(image))
    return None


@functools.lru_cache(maxsize=4)
def _page(store: Store, info: ObjectInfo) -> "TiffPage":
    """The first directory of a TIFF; kept, because the places of a gigapixel's tiles alone are hundreds of KiB."""
    from tifffile import TiffFile, TiffPage

    with open_ranges(store, info) as file, TiffFile(file) as tiff:
        page = tiff.pages.first
        if not isinstance(page, TiffPage):
            raise ValueError("the first directory is no page")
        return page


def _is_readable(page: "TiffPage") -> bool:
    return (
        page.is_tiled
        and (page.samplesperpixel, page.planarconfig) == (3, _CONTIGUOUS)
        and (page.fillorder, page.imagedepth) == (_MSB_FIRST, 1)
        and page.tilelength * page.tilewidth <= _MOST_TILE_PIXELS
        and (_is_jpeg(page) or _is_of_samples(page))
    )


def _is_jpeg(page: "TiffPage") -> bool:
    return (page.compression, page.photometric, page.bitspersample) == (_JPEG, _YCBCR, 8)


def _is_of_samples(page: "TiffPage") -> bool:
    return (
        page.compression in (_STORED, _LZW, *_DEFLATE)
        and page.photometric == _RGB
        and (page.sampleformat, page.bitspersample) in ((_UNSIGNED, 8), (_UNSIGNED, 16))
        and page.predictor in (1, _DIFFERENCES)
    )


def _unpacked(page: "TiffPage", data: bytes) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """A tile's samples (h, w, 3), what hangs over the picture's edge with them."""
    if page.compression == _JPEG:
        return _of_jpeg(page, data)
    wanted = page.tilelength * page.tilewidth * 3 * page.bitspersample // 8
    raw = _decompressed(page.compression, data, wanted)
    if len(raw) != wanted:
        raise ValueError(f"a tile holds {len(raw)} bytes in place of {wanted}")
    samples = np.frombuffer(raw, f"{page.parent.byteorder}u{page.bitspersample // 8}")
    tile = samples.reshape(page.tilelength, page.tilewidth, 3).astype(page.dtype, copy=False)
    return np.cumsum(tile, axis=1, dtype=page.dtype) if page.predictor == _DIFFERENCES else tile


def _decompressed(compression: int, data: bytes, wanted: int) -> bytes:
    """At most so many bytes."""
    if compression == _LZW:
        from imagecodecs import lzw_decode

        return bytes(lzw_decode(data, out=wanted))
    return zlib.decompressobj().decompress(data, wanted) if compression in _DEFLATE else data[:wanted]


def _of_jpeg(page: "TiffPage", data: bytes) -> NDArray[np.uint8]:
    """A tile that is a JPEG, its tables often in the directory for all; its size is looked at before its pixels."""
    whole = page.jpegtables[:-2] + data[2:] if page.jpegtables else data
    with Image.open(io.BytesIO(whole), formats=["JPEG"]) as image:
        if (image.height, image.width) != (page.tilelength, page.tilewidth):
            raise ValueError(f"a tile is {image.width} x {image.height}")
        return np.asarray(image.convert("RGB"))


@dataclass(frozen=True)
class _Place:
    """A tile: its pixels in the picture, its bytes in the file."""

    box: Box
    start: int
    length: int

    @property
    def stop(self) -> int:
        return self.start + self.length


def _places(page: "TiffPage", box: Box) -> Iterator[_Place]:
    """The tiles that a box touches."""
    across = -(-page.imagewidth // page.tilewidth)
    rows = range(box.y.start // page.tilelength, -(-box.y.stop // page.tilelength))
    columns = range(box.x.start // page.tilewidth, -(-box.x.stop // page.tilewidth))
    for row, column in itertools.product(rows, columns):
        index = row * across + column
        whole = Box(_span(row, page.tilelength, page.imagelength), _span(column, page.tilewidth, page.imagewidth))
        yield _Place(whole, page.dataoffsets[index], page.databytecounts[index])


def _span(number: int, length: int, end: int) -> Span:
    return Span(number * length, min(end, (number + 1) * length))


def _runs(places: Sequence[_Place]) -> Iterator[list[_Place]]:
    """The tiles in the order of the file, those together that lie side by side."""
    run: list[_Place] = []
    for place in sorted(places, key=lambda place: place.start):
        far = run and (place.start - run[-1].stop > _GAP_BYTES or place.stop - run[0].start > _RUN_BYTES)
        if far:
            yield run
            run = []
        run.append(place)
    if run:
        yield run
