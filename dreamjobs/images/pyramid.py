"""A picture of any size -> a BigTIFF in tiles with smaller copies of it inside, written as it comes.

Tiles of 512 pixels, compressed by Deflate without loss. Each copy (a SubIFD) is half the one before, by means of 2 x 2
pixels, down to 512: what viewers of very large pictures and GDAL call overviews. Of the picture no more than a row of
tiles is held; copies wait on the disk, in a folder that is gone at the end.

The same pixels give the same bytes: zlib's level is fixed, no date is written, and threads only share out the tiles.
"""

import os
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from dreamjobs.images import directories
from dreamjobs.images.exif import block_with_recipe
from dreamjobs.images.strips import Bytes, Strips
from dreamjobs.sizes import Size

if TYPE_CHECKING:
    from tifffile import TiffWriter

SIDE = 512
"""Of a tile, in pixels; the smallest copy is not larger."""

_ZLIB_LEVEL = 4  # as for PNG: beyond it the bytes hardly shrink
_THREADS = 4
_LEAST, _UNASSOCIATED = 1, 2


def write_pyramid(picture: Strips, path: str, recipe: dict[str, object]) -> None:
    """Write the picture, 8 bits a channel, alpha, EXIF and the recipe in it, to the local file `path`.

    Beside it as much of the disk is taken meanwhile as a third of the picture in 8 bits.

    Raises:
        ImageError: as `encode`; OSError
    """
    from tifffile import TiffWriter

    height, width = picture.size
    channels = 3 if picture.alpha is None else 4
    exif = block_with_recipe(picture.exif, recipe, height=height, width=width, limit_bytes=None)
    first, *others = levels(picture.size)
    with tempfile.TemporaryDirectory(dir=os.path.dirname(path)) as folder, ThreadPoolExecutor(_THREADS) as pool:
        copies = [os.path.join(folder, str(number)) for number in range(len(others) + 1)]
        with TiffWriter(path, bigtiff=True, byteorder="<") as tiff:
            strips = picture.rounded(keep_alpha=True)
            tags = directories.first(exif)
            with open(copies[0], "wb") as smaller:
                _write(tiff, _tiles(_rows(strips), smaller, pool), (*first, channels), subifds=len(others), **tags)
            for number, size in enumerate(others):
                with open(copies[number], "rb") as larger, open(copies[number + 1], "wb") as smaller:
                    rows = _read_rows(larger, size[1], channels)
                    _write(tiff, _tiles(rows, smaller, pool), (*size, channels), subfiletype=_LEAST)
                os.remove(copies[number])
    directories.append(exif, path)


def levels(size: Size) -> list[Size]:
    """The sizes (h, w) of the picture and its copies, large to small."""
    found = [size]
    while max(found[-1]) > SIDE:
        found.append(((found[-1][0] + 1) // 2, (found[-1][1] + 1) // 2))
    return found


def _write(tiff: "TiffWriter", tiles: Iterator[bytes], shape: tuple[int, int, int], **options: Any) -> None:
    tiff.write(
        tiles,
        shape=shape,
        dtype=np.uint8,
        photometric="rgb",
        planarconfig="contig",
        extrasamples=[_UNASSOCIATED] if shape[2] == 4 else None,
        tile=(SIDE, SIDE),
        compression="adobe_deflate",
        predictor=2,
        software=False,
        metadata=None,
        **options,
    )


def _rows(strips: Iterable[Bytes]) -> Iterator[Bytes]:
    """The picture in rows of tiles, each as high as a tile but the last, from strips of any height."""
    kept: list[Bytes] = []
    for strip in strips:
        kept.append(strip)
        while sum(len(part) for part in kept) >= SIDE:
            joined = np.concatenate(kept)
            yield joined[:SIDE]
            kept = [joined[SIDE:]]
    if rest := [part for part in kept if len(part)]:
        yield np.concatenate(rest)


def _read_rows(file: BinaryIO, width: int, channels: int) -> Iterator[Bytes]:
    while data := file.read(SIDE * width * channels):
        yield np.frombuffer(data, np.uint8).reshape(-1, width, channels)


def _tiles(rows: Iterable[Bytes], smaller: BinaryIO, pool: ThreadPoolExecutor) -> Iterator[bytes]:
    """The tiles of a picture, row by row, packed; its copy of half the size goes to `smaller` meanwhile."""
    for row in rows:
        smaller.write(_halved(row).tobytes())  # first, for nobody asks again after the last tile
        yield from pool.map(_packed, (row[:, left : left + SIDE] for left in range(0, row.shape[1], SIDE)))


def _packed(part: Bytes) -> bytes:
    """A tile as differences between neighbours, compressed; what is over the picture's edge is black."""
    tile = np.zeros((SIDE, SIDE, part.shape[2]), np.uint8)
    tile[: part.shape[0], : part.shape[1]] = part
    tile[:, 1:] -= tile[:, :-1].copy()
    return zlib.compress(tile.tobytes(), _ZLIB_LEVEL)


def _halved(row: Bytes) -> Bytes:
    """Means of 2 x 2 pixels, rounded; the last row or column of an odd number counts twice."""
    even = np.pad(row, ((0, row.shape[0] % 2), (0, row.shape[1] % 2), (0, 0)), "edge")
    total = even[::2, ::2].astype(np.uint16)
    for y, x in ((0, 1), (1, 0), (1, 1)):
        total += even[y::2, x::2]
    return ((total + 2) >> 2).astype(np.uint8)
