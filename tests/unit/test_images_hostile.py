"""Bytes that are no picture, damaged, cut short or too large end in ImageError and in nothing else."""

import contextlib
import functools
import io
import struct
import warnings
import zlib

import numpy as np
import pillow_heif
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dreamjobs.errors import ImageError
from dreamjobs.images import Size, decode, probe, read_recipe

KINDS = ("JPEG", "PNG", "WEBP", "TIFF", "AVIF", "BMP", "GIF", "HEIF")
VARIANTS = (*KINDS, "progressive JPEG", "lossless WEBP", "LZW TIFF", "JPEG TIFF", "16-bit PNG", "interlaced GIF")

pytestmark = pytest.mark.filterwarnings("ignore")


@functools.cache
def sample(variant: str) -> bytes:
    """A small noisy picture of this kind, with EXIF where the kind has it."""
    pillow_heif.register_heif_opener()
    noise = np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)
    image = Image.fromarray(noise)
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Camera", 6
    exif[0x8769] = {0x9003: "2024:05:06 07:08:09", 0x927C: b"note"}
    exif[0x8825] = {1: "N", 2: (48.0, 12.0, 30.5)}
    kind = variant.rpartition(" ")[2]
    options: dict[str, object] = {} if kind in ("BMP", "GIF") else {"exif": exif.tobytes()}
    extra: dict[str, dict[str, object]] = {
        "progressive JPEG": {"progressive": True},
        "lossless WEBP": {"lossless": True},
        "LZW TIFF": {"compression": "tiff_lzw", "exif": b""},
        "JPEG TIFF": {"compression": "jpeg", "exif": b""},
        "interlaced GIF": {"interlace": 1},
    }
    if variant == "16-bit PNG":
        image = Image.fromarray(noise[..., 0].astype(np.uint16) * 257)
    out = io.BytesIO()
    image.save(out, kind, **{**options, **extra.get(variant, {})})
    return out.getvalue()


def only_image_errors(data: bytes) -> None:
    """Run everything that reads bytes; any exception but ImageError fails the test."""
    with contextlib.suppress(ImageError):
        decode(data, max_pixels=1_000_000)
    with contextlib.suppress(ImageError):
        read_recipe(data)
    size = probe(data)
    assert size is None or isinstance(size, Size)


def test_no_bytes() -> None:
    """An empty object says that it has 0 bytes."""
    with pytest.raises(ImageError, match="0 bytes"):
        decode(b"")
    assert probe(b"") is None


def test_text_renamed() -> None:
    """Text under a picture's name shows how it starts and what is allowed."""
    with pytest.raises(ImageError, match=r"hello.* no picture .* JPEG, PNG, WebP"):
        decode(b"hello, I am no picture")


def test_postscript_is_not_tried() -> None:
    """Formats that are not listed, such as EPS, never reach their readers."""
    with pytest.raises(ImageError, match="no picture"):
        decode(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")


@pytest.mark.parametrize("kind", KINDS)
def test_over_the_limit(kind: str) -> None:
    """One pixel too many is refused with the size and the limit, and as many as allowed are not."""
    data = sample(kind)
    assert decode(data, max_pixels=1920).pixels.size == 3 * 1920
    with pytest.raises(ImageError, match=r"1,920 pixels .* at most 1,919 \(.* megapixels\): shrink it first"):
        decode(data, max_pixels=1919)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "WEBP"])
def test_limit_is_checked_before_decoding(kind: str) -> None:
    """A header that claims a huge picture is refused as such, though its pixels are missing."""
    at, packed = {
        "PNG": (16, struct.pack(">II", 60_000, 60_000)),
        "BMP": (18, struct.pack("<ii", 60_000, 60_000)),
        "GIF": (6, struct.pack("<HH", 60_000, 60_000)),
        "WEBP": (24, (59_999).to_bytes(3, "little") * 2),
    }[kind]
    data = bytearray(sample(kind))
    data[at : at + len(packed)] = packed
    if kind == "PNG":
        data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    said = r"3,600,000,000 pixels .* at most (500,000,000 \(500|268,402,689 \(268\.4) megapixels\): shrink it first"
    with pytest.raises(ImageError, match=said):
        decode(bytes(data))


def test_large_pictures_do_not_warn() -> None:
    """Pillow's process-wide limit and its warning play no part."""
    out = io.BytesIO()
    Image.new("1", (10_000, 9_500)).save(out, "PNG")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert probe(out.getvalue()) == Size(9_500, 10_000)


@pytest.mark.parametrize("variant", VARIANTS)
def test_cut_short(variant: str) -> None:
    """A file cut anywhere is an error or, if only its tail is missing, the whole picture: never a grey half."""
    data = sample(variant)
    whole = decode(data).pixels
    refused = 0
    for tenths in range(1, 10):
        try:
            pixels = decode(data[: len(data) * tenths // 10]).pixels
        except ImageError:
            refused += 1
        else:
            # A TIFF or WebP may have its EXIF, which turns the picture, behind the pixels.
            assert np.array_equal(np.sort(pixels, axis=None), np.sort(whole, axis=None))
    assert refused >= 7


@pytest.mark.parametrize("variant", VARIANTS)
@settings(max_examples=60)
@given(data=st.data())
def test_mutated_bytes(variant: str, data: st.DataObject) -> None:
    """Bytes changed, cut out or put in anywhere give a picture or ImageError."""
    mutated = bytearray(sample(variant))
    for _ in range(data.draw(st.integers(1, 4))):
        # Headers are where parsers can be misled, so half of the changes fall there.
        last = min(len(mutated) - 1, data.draw(st.sampled_from([120, 10**6])))
        at = data.draw(st.integers(0, max(last, 0)))
        mutated[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    only_image_errors(bytes(mutated))


@pytest.mark.parametrize("variant", VARIANTS)
@settings(max_examples=25)
@given(rubbish=st.binary(max_size=60))
def test_rubbish_after_a_good_start(variant: str, rubbish: bytes) -> None:
    """The first bytes of a picture followed by anything give ImageError or a picture."""
    only_image_errors(sample(variant)[:24] + rubbish)
