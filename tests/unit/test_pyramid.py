"""Pyramids: the picture and its smaller copies in one BigTIFF, EXIF and recipe in it, written without holding it."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dreamjobs import images
from dreamjobs.images import Strips, open_tiled
from dreamjobs.images.values import Floats, unit
from dreamjobs.storage import LocalStore
from dreamjobs.tiles import Box, Span

RECIPE: dict[str, object] = {"program": "dreamjobs", "params": {"steps": 3}}


def noise(height: int, width: int) -> np.ndarray:
    """Pixels of 8 bits."""
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def strips(pixels: np.ndarray, rows: int = 256, **others: np.ndarray | bytes | None) -> Strips:
    """A picture that comes in strips of so many rows."""
    floats = (pixels[top : top + rows] / np.float32(255) for top in range(0, len(pixels), rows))
    known: dict[str, np.ndarray | bytes | None] = {"alpha": None, "exif": None}
    return Strips(pixels.shape[:2], floats, **(known | others))  # type: ignore[arg-type]


def written(picture: Strips, folder: Path, name: str = "a.tif") -> Path:
    """The picture's file."""
    images.write_pyramid(picture, str(folder / name), RECIPE)
    return folder / name


def camera(endian: str = "<") -> bytes:
    """The EXIF of a photograph with a lens, a place and a resolution, as decoding keeps it."""
    exif = Image.Exif()
    exif.endian = endian
    exif[0x010F], exif[0x011A], exif[0x011B], exif[0x0128] = "A Camera", 300.0, 300.0, 2
    exif[0x8769] = {0x829A: 0.008, 0xA434: "a lens with a long name", 0x8827: 400}
    exif[0x8825] = {1: "N", 2: (52.0, 30.0, 15.5)}
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "JPEG", exif=exif)
    block = images.decode(out.getvalue()).exif
    assert block is not None
    assert block.removeprefix(b"Exif\0\0").startswith(b"II" if endian == "<" else b"MM")
    return block


@settings(max_examples=15)
@given(st.integers(1, 1200), st.integers(1, 1200), st.integers(1, 700))
def test_the_picture_comes_back(tmp_path_factory: pytest.TempPathFactory, height: int, width: int, rows: int) -> None:
    """Whatever its size and its strips: Pillow, tifffile and our own windows read the same pixels."""
    folder, pixels = tmp_path_factory.mktemp("p"), noise(height, width)
    path = written(strips(pixels, rows), folder)
    with Image.open(path) as image:
        assert np.array_equal(np.asarray(image), pixels)
    assert np.array_equal(tifffile.imread(path), pixels)
    tiled = open_tiled(LocalStore(str(folder)), "a.tif")
    assert tiled is not None
    whole = unit(tiled.window(Box(Span(0, height), Span(0, width))))
    assert np.array_equal(whole.transpose(1, 2, 0), images.decode(path.read_bytes()).pixels)


def test_levels_are_means_of_four(tmp_path: Path) -> None:
    """Copies of half the size follow each other down to 512 pixels, each made of the one before."""
    pixels = noise(1301, 2100)
    with tifffile.TiffFile(written(strips(pixels), tmp_path)) as tiff:
        assert tiff.is_bigtiff
        (page,) = tiff.pages
        assert page.tile == (512, 512)
        levels = [level.asarray() for level in page.pages]
        assert all(level.is_reduced for level in page.pages)
    assert [level.shape[:2] for level in levels] == [(651, 1050), (326, 525), (163, 263)]
    for larger, smaller in zip([pixels, *levels], levels, strict=False):
        even = np.pad(larger, [(0, larger.shape[0] % 2), (0, larger.shape[1] % 2), (0, 0)], "edge").astype(float)
        means = even.reshape(smaller.shape[0], 2, smaller.shape[1], 2, 3).mean((1, 3))
        assert abs(smaller - means).max() <= 0.5


@pytest.mark.parametrize("endian", ["<", ">"])
def test_recipe_and_camera_are_inside(tmp_path: Path, endian: str) -> None:
    """The recipe is read back, and what the camera said in either byte order: name, resolution, lens and place."""
    path = written(strips(noise(600, 700), exif=camera(endian)), tmp_path)
    assert images.read_recipe(path.read_bytes()) == RECIPE
    with Image.open(path) as image:
        exif = image.getexif()
        assert (exif[0x010F], exif[0x011A], exif[0x0128]) == ("A Camera", 300.0, 2)
        details, place = exif.get_ifd(0x8769), exif.get_ifd(0x8825)
    assert (float(details[0x829A]), details[0xA434], details[0x8827]) == (0.008, "a lens with a long name", 400)
    assert place[1] == "N"
    assert [float(part) for part in place[2]] == [52.0, 30.0, 15.5]
    assert images.decode(path.read_bytes()).exif is not None


def test_alpha_is_kept(tmp_path: Path) -> None:
    """Transparency is the fourth channel, not premultiplied."""
    pixels, alpha = noise(600, 700), noise(600, 700)[..., 0]
    path = written(strips(pixels, alpha=alpha), tmp_path)
    with Image.open(path) as image:
        assert image.mode == "RGBA"
        assert np.array_equal(np.asarray(image), np.dstack([pixels, alpha]))


def test_equal_pictures_are_equal_files(tmp_path: Path) -> None:
    """Nothing of the hour, the path or the strips is in the file."""
    pixels, exif = noise(1100, 700), camera()
    first = written(strips(pixels, exif=exif), tmp_path).read_bytes()
    assert written(strips(pixels, 77, exif=exif), tmp_path, "b.tif").read_bytes() == first
    assert b"tifffile" not in first


def test_memory_does_not_grow_with_height(tmp_path: Path) -> None:
    """Writing a picture ten times as high takes as much memory, a small part of the picture."""

    def peak(height: int) -> int:
        def rows() -> Iterator[Floats]:
            for _ in range(0, height, 256):
                yield np.zeros((256, 1024, 3), np.float32)

        tracemalloc.start()
        try:
            written(Strips((height, 1024), rows(), None, None), tmp_path)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1024)
    low, high = peak(2048), peak(20_480)
    assert high < 1.2 * low
    assert high < 20_480 * 1024 * 3 / 2
