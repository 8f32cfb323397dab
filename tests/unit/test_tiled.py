"""Tiled TIFFs read by window: the same pixels as decoding the whole, from no more than the tiles touched."""

from __future__ import annotations

import io
import os
import tracemalloc
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dreamjobs import images
from dreamjobs.errors import ImageError, SourceChangedError
from dreamjobs.images import Source, unit
from dreamjobs.storage import LocalStore
from dreamjobs.tiles import Box, Span

HEIGHT, WIDTH = 300, 420
PIXELS = np.random.default_rng(0).integers(0, 65_536, (HEIGHT, WIDTH, 3), np.uint16)
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "deflate": {"compression": "adobe_deflate", "predictor": 2},
    "deep": {"compression": "adobe_deflate", "predictor": 2, "byteorder": ">"},
    "big": {"bigtiff": True},
    "lzw": {"compression": "lzw", "predictor": 2},
    "deep lzw": {"compression": "lzw", "predictor": 2, "byteorder": ">"},
    "jpeg": {"compression": "jpeg", "compressionargs": {"level": 90}},
}


@dataclass(frozen=True)
class Counting(LocalStore):
    """A local store that notes what is read."""

    read: list[tuple[int, int]] = field(default_factory=list, compare=False)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        self.read.append((start, length))
        return super().get_range(key, start, length)


def put_tiff(path: Path, pixels: np.ndarray, *, tile: int = 64, **options: Any) -> Path:
    """A tiled TIFF of these pixels."""
    writer = {name: options.pop(name) for name in ("bigtiff", "byteorder") if name in options}
    with tifffile.TiffWriter(path, **writer) as tiff:
        tiff.write(pixels, photometric="rgb", tile=(tile, tile), **options)
    return path


def samples(kind: str) -> np.ndarray:
    """The pixels in as many bits as a kind has."""
    return PIXELS if kind.startswith("deep") else (PIXELS >> 8).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TIFF of each kind."""
    path = tmp_path_factory.mktemp("tiffs")
    for kind, options in KINDS.items():
        put_tiff(path / f"{kind}.tif", samples(kind), **options)
    return path


@st.composite
def boxes(draw: Any) -> Box:
    """A box inside the picture."""
    y, x = draw(st.integers(0, HEIGHT - 1)), draw(st.integers(0, WIDTH - 1))
    return Box(Span(y, draw(st.integers(y + 1, HEIGHT))), Span(x, draw(st.integers(x + 1, WIDTH))))


@settings(max_examples=80)
@given(box=boxes(), kind=st.sampled_from(sorted(KINDS)))
def test_windows_are_those_of_the_decoded_picture(folder: Path, box: Box, kind: str) -> None:
    """A window read from the file, from samples in memory and from the decoded photo are the same to the last bit."""
    data = (folder / f"{kind}.tif").read_bytes()
    tiled = images.open_tiled(LocalStore(str(folder)), f"{kind}.tif")
    assert tiled is not None
    whole = images.decode(data)
    assert tiled.size == whole.size == (HEIGHT, WIDTH)
    expected = whole.pixels[box.slices].transpose(2, 0, 1)
    found: list[Source] = [tiled, images.decode_samples(data), whole]
    assert all(np.array_equal(unit(source.window(box)), expected) for source in found)


def test_only_the_tiles_touched_are_read(tmp_path: Path) -> None:
    """Of a file of 6 MB a window of 4 tiles takes two requests of two tiles each, and opening it no pixels."""
    pixels = np.random.default_rng(1).integers(0, 256, (1024, 2048, 3), np.uint8)
    put_tiff(tmp_path / "a.tif", pixels, tile=128)
    store = Counting(str(tmp_path))
    tiled = images.open_tiled(store, "a.tif")
    assert tiled is not None
    assert sum(length for _, length in store.read) < 200_000
    store.read.clear()
    box = Box(Span(200, 300), Span(600, 700))
    assert np.array_equal(unit(tiled.window(box)), (pixels[box.slices] / np.float32(255)).transpose(2, 0, 1))
    assert [length for _, length in store.read] == [2 * 128 * 128 * 3] * 2


def test_empty_tiles_are_black(tmp_path: Path) -> None:
    """A tile that a sparse file leaves out is black, as in other readers."""
    tile = np.full((64, 64, 3), 200, np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(iter([tile, None]), shape=(64, 128, 3), dtype=np.uint8, photometric="rgb", tile=(64, 64))
    tiled = images.open_tiled(LocalStore(str(tmp_path)), "a.tif")
    assert tiled is not None
    window = unit(tiled.window(Box(Span(0, 64), Span(0, 128))))
    assert not window[:, :, 64:].any()
    assert np.array_equal(window[:, :, :64], np.full((3, 64, 64), 200 / 255, np.float32))


@pytest.mark.parametrize(
    "options",
    [
        {"tile": None},
        {"planarconfig": "separate"},
        {"extratags": [(0x0112, 3, 1, 6, True)]},
    ],
)
def test_what_needs_more_than_unpacking_is_not_read_by_window(tmp_path: Path, options: dict[str, Any]) -> None:
    """Strips, planes and pictures that must be turned are left to be decoded whole."""
    pixels = samples("plain")
    pixels = pixels.transpose(2, 0, 1) if "planarconfig" in options else pixels
    tile = (64, 64) if "tile" not in options else None
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", **({"tile": tile} | options))
    assert images.open_tiled(LocalStore(str(tmp_path)), "a.tif") is None
    images.decode((tmp_path / "a.tif").read_bytes())


@pytest.mark.parametrize("shape", [(HEIGHT, WIDTH), (HEIGHT, WIDTH, 4)])
def test_grey_and_alpha_are_not_read_by_window(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """What is not RGB alone is left to be decoded whole."""
    photometric = "minisblack" if len(shape) == 2 else "rgb"
    tifffile.imwrite(tmp_path / "a.tif", np.zeros(shape, np.uint8), photometric=photometric, tile=(64, 64))
    assert images.open_tiled(LocalStore(str(tmp_path)), "a.tif") is None


def test_other_files_are_not_read_by_window(tmp_path: Path) -> None:
    """A PNG, a TIFF cut short within its header, an empty file and none at all are no error but nothing."""
    out = io.BytesIO()
    Image.fromarray(samples("plain")).save(out, "PNG")
    (tmp_path / "a.png").write_bytes(out.getvalue())
    (tmp_path / "short.tif").write_bytes(b"II*\0\x08\0\0")
    (tmp_path / "empty.tif").touch()
    for name in ("a.png", "short.tif", "empty.tif", "none.tif"):
        assert images.open_tiled(LocalStore(str(tmp_path)), name) is None


def test_a_damaged_tile_is_an_image_error(tmp_path: Path) -> None:
    """Bytes that cannot be unpacked are said to be damaged, where a window meets them and nowhere else."""
    path = put_tiff(tmp_path / "a.tif", samples("plain"), compression="adobe_deflate")
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages.first.dataoffsets[0]
    data = bytearray(path.read_bytes())
    data[offset : offset + 50] = b"\xff" * 50
    path.write_bytes(data)
    tiled = images.open_tiled(LocalStore(str(tmp_path)), "a.tif")
    assert tiled is not None
    tiled.window(Box(Span(64, 128), Span(64, 128)))
    with pytest.raises(ImageError, match="damaged"):
        tiled.window(Box(Span(0, 10), Span(0, 10)))


def test_a_tile_is_not_unpacked_beyond_its_size(tmp_path: Path) -> None:
    """A tile of 260 KB that unpacks to 256 MB takes no more memory than its pixels."""
    bomb = zlib.compress(bytes(1 << 28), 9)
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        options: dict[str, Any] = {"photometric": "rgb", "tile": (64, 64), "compression": "adobe_deflate"}
        tiff.write(iter([bomb]), shape=(64, 64, 3), dtype=np.uint8, **options)
    tiled = images.open_tiled(LocalStore(str(tmp_path)), "a.tif")
    assert tiled is not None
    tracemalloc.start()
    try:
        tiled.window(Box(Span(0, 64), Span(0, 64)))
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_a_file_that_changes_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    """No picture is dreamed from two versions of its photograph."""
    path = put_tiff(tmp_path / "a.tif", samples("plain"))
    tiled = images.open_tiled(LocalStore(str(tmp_path)), "a.tif")
    assert tiled is not None
    os.utime(path, ns=(1, 1))
    with pytest.raises(SourceChangedError, match=r"a\.tif"):
        tiled.window(Box(Span(0, 10), Span(0, 10)))


@pytest.mark.parametrize("size", [(300, 420), (1000, 90), (5000, 4500)])
def test_reduced_by_windows_is_reduced_whole(size: tuple[int, int]) -> None:
    """A photograph shrunk window by window is the one that is shrunk whole, but for rounding."""
    noise = np.random.default_rng(2).integers(0, 256, (*size, 3), np.uint8)
    found = images.Samples(noise, None, None, "png")
    np.testing.assert_allclose(images.reduced(found, 512).pixels, images.fit(found.photo(), 512).pixels, atol=2e-6)


def jpeg_tiles(side: int) -> tuple[bytes, list[bytes]]:
    """The picture as JPEGs of tiles of 64 pixels that share their tables, and the tables; `side` is what they hold."""
    tables, tiles = b"", []
    padded = np.zeros((320, 448, 3), np.uint8)
    padded[:HEIGHT, :WIDTH] = PIXELS >> 8
    for top, left in ((top, left) for top in range(0, 320, 64) for left in range(0, 448, 64)):
        out = io.BytesIO()
        Image.fromarray(np.resize(padded[top : top + 64, left : left + 64], (side, side, 3))).save(out, "JPEG")
        data, place, shared, rest = out.getvalue(), 2, b"", b""
        while data[place + 1] != 0xDA:  # the scan
            end = place + 2 + int.from_bytes(data[place + 2 : place + 4])
            if data[place + 1] in (0xDB, 0xC4):  # quantisation, Huffman
                shared += data[place:end]
            else:
                rest += data[place:end]
            place = end
        tables = b"\xff\xd8" + shared + b"\xff\xd9"
        tiles.append(b"\xff\xd8" + rest + data[place:])
    return tables, tiles


def put_jpeg_tiles(path: Path, side: int = 64) -> None:
    tables, tiles = jpeg_tiles(side)
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(
            iter(tiles),
            shape=(HEIGHT, WIDTH, 3),
            dtype=np.uint8,
            tile=(64, 64),
            compression="jpeg",
            photometric="ycbcr",
            subsampling=(2, 2),
            extratags=[(347, 7, len(tables), tables, True)],
        )


def test_jpeg_tiles_share_their_tables(tmp_path: Path) -> None:
    """As libtiff writes them: what is decoded by window is what is decoded whole."""
    put_jpeg_tiles(tmp_path / "a.tif")
    tiled = images.open_tiled(LocalStore(str(tmp_path)), "a.tif")
    assert tiled is not None
    whole = images.decode((tmp_path / "a.tif").read_bytes()).pixels
    box = Box(Span(50, 300), Span(10, 420))
    assert np.array_equal(unit(tiled.window(box)), whole[box.slices].transpose(2, 0, 1))
    assert np.abs(whole - (PIXELS >> 8) / 255).mean() < 0.3  # noise in JPEG, but that noise


def test_a_jpeg_larger_than_its_tile_is_not_decoded(tmp_path: Path) -> None:
    """A tile that says it is 64 times as large as a tile is damaged, and its pixels are not asked for."""
    put_jpeg_tiles(tmp_path / "a.tif", side=512)
    tiled = images.open_tiled(LocalStore(str(tmp_path)), "a.tif")
    assert tiled is not None
    with pytest.raises(ImageError, match="a tile is 512 x 512"):
        tiled.window(Box(Span(0, 10), Span(0, 10)))
