"""What `images.decode`, `probe` and `fit` make of every kind, mode, profile and orientation."""

import io
import struct
import zlib

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms

from dreamjobs.errors import ImageError
from dreamjobs.images import Photo, Size, decode, fit, probe

KINDS = ("JPEG", "PNG", "WEBP", "TIFF", "AVIF", "BMP", "GIF", "HEIF")
NAMES = {"HEIF": "heic"}


@pytest.fixture(scope="module", autouse=True)
def _heif() -> None:
    pillow_heif.register_heif_opener()


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def ramp(height: int = 24, width: int = 32) -> np.ndarray:
    """A smooth uint8 picture (h, w, 3) whose corners all differ."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    channels = (x / max(width - 1, 1), y / max(height - 1, 1), 0.5 + 0 * x)
    return np.rint(np.stack(channels, -1) * 255).astype(np.uint8)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png16(samples: np.ndarray, *, transparent: bytes = b"") -> bytes:
    """A 16-bit PNG of samples (h, w, c) with c = 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA."""
    height, width, channels = samples.shape
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    extra = chunk(b"tRNS", transparent) if transparent else b""
    body = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def tiff(samples: np.ndarray, *, photometric: int, bits: int, order: str = "<", extra: int | None = None) -> bytes:
    """An uncompressed TIFF of samples (h, w, c) in one strip."""
    height, width, channels = samples.shape
    data = samples.astype(samples.dtype.newbyteorder(order)).tobytes()
    tags = [(256, 4, [width]), (257, 4, [height]), (258, 3, [bits] * channels), (259, 3, [1])]
    tags += [(262, 3, [photometric]), (273, 4, [8]), (277, 3, [channels]), (278, 4, [height]), (279, 4, [len(data)])]
    tags += [(338, 3, [extra])] if extra is not None else []
    entries, tail, tail_at = b"", b"", 8 + len(data) + 2 + 12 * len(tags) + 4
    for tag, kind, values in tags:
        packed = struct.pack(f"{order}{len(values)}{'H' if kind == 3 else 'I'}", *values)
        if len(packed) > 4:
            entries += struct.pack(f"{order}HHII", tag, kind, len(values), tail_at + len(tail))
            tail += packed
        else:
            entries += struct.pack(f"{order}HHI", tag, kind, len(values)) + packed.ljust(4, b"\0")
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(data))
    return start + data + struct.pack(f"{order}H", len(tags)) + entries + b"\0" * 4 + tail


def icc(space: bytes, tags: dict[bytes, bytes], pcs: bytes = b"XYZ ") -> bytes:
    """A version 2 ICC profile with these tags."""
    at = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, raw in tags.items():
        value = raw.ljust(-(-len(raw) // 4) * 4, b"\0")
        table += name + struct.pack(">II", at + len(body), len(value))
        body += value
    head = struct.pack(">I4sI4s4s4s", at + len(body), b"lcms", 0x02400000, b"prtr", space, pcs)
    head += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + b"\0" * 28
    head += struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + table + body


WHITE = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)


def grey_profile(gamma: float) -> bytes:
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))
    return icc(b"GRAY", {b"wtpt": WHITE, b"kTRC": curve})


def cmyk_profile() -> bytes:
    """Says that any ink but black (K) is invisible: a table of 2^4 points to Lab."""
    lab = b"".join(bytes((0 if k else 255, 128, 128)) for _ in range(8) for k in (0, 1))
    ramp_256 = bytes(range(256))
    matrix = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    table = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + matrix + ramp_256 * 4 + lab + ramp_256 * 3
    return icc(b"CMYK", {b"wtpt": WHITE, b"A2B0": table, b"A2B1": table}, pcs=b"Lab ")


def srgb_profile(*, swapped: bool) -> bytes:
    """sRGB, or sRGB with red and blue exchanged."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    if not swapped:
        return profile
    return profile.replace(b"rXYZ", b"----", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"----", b"bXYZ", 1)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_decodes(kind: str) -> None:
    """Every kind gives its pixels as float32 RGB in [0, 1], and its own name."""
    photo = decode(saved(Image.fromarray(ramp()), kind))
    assert photo.format == NAMES.get(kind, kind.lower())
    assert photo.pixels.dtype == np.float32
    assert photo.pixels.flags.c_contiguous
    assert (photo.height, photo.width) == (24, 32)
    assert np.abs(photo.pixels - ramp() / 255).mean() < 0.03
    assert 0 <= photo.pixels.min() <= photo.pixels.max() <= 1


def test_multi_picture_jpeg_is_jpeg() -> None:
    """An MPO, as phones write, gives its first picture and the kind jpeg."""
    first, second = Image.fromarray(ramp()), Image.new("RGB", (32, 24))
    photo = decode(saved(first, "MPO", save_all=True, append_images=[second], quality=95))
    assert photo.format == "jpeg"
    assert np.abs(photo.pixels - ramp() / 255).mean() < 0.03


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_an_animation_gives_its_first_frame(kind: str) -> None:
    """Of an animation only the first frame is seen."""
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    photo = decode(saved(frames[0], kind, save_all=True, append_images=frames[1:]))
    np.testing.assert_allclose(photo.pixels[4, 4], [1, 0, 0], atol=0.02)


def test_eight_bits_are_exact() -> None:
    """All 256 levels of a PNG become level / 255, and white is exactly 1."""
    levels = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    pixels = decode(saved(Image.fromarray(levels), "PNG")).pixels
    np.testing.assert_array_equal(pixels, levels / np.float32(255))
    assert pixels.max() == 1


@pytest.mark.parametrize(
    ("mode", "colour", "pixel", "alpha"),
    [
        ("1", 1, (1, 1, 1), None),
        ("L", 51, (0.2, 0.2, 0.2), None),
        ("LA", (51, 102), (0.2, 0.2, 0.2), 0.4),
        ("RGB", (255, 0, 51), (1, 0, 0.2), None),
        ("RGBA", (255, 0, 51, 102), (1, 0, 0.2), 0.4),
    ],
)
def test_modes_of_png(mode: str, colour: object, pixel: tuple[float, ...], alpha: float | None) -> None:
    """1-bit, grey and colour, with and without alpha, become RGB and a separate alpha."""
    photo = decode(saved(Image.new(mode, (3, 2), colour), "PNG"))
    np.testing.assert_allclose(photo.pixels[0, 0], pixel, atol=1e-6)
    if alpha is None:
        assert photo.alpha is None
    else:
        assert photo.alpha is not None
        assert photo.alpha.shape == (2, 3)
        np.testing.assert_allclose(photo.alpha, alpha, atol=1e-6)


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_palette_with_transparency(kind: str) -> None:
    """A transparent palette entry becomes alpha 0; the others keep their colour."""
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putpixel((1, 0), 1)
    photo = decode(saved(image, kind, transparency=0))
    assert photo.alpha is not None
    np.testing.assert_array_equal(photo.alpha, [[0, 1]])
    np.testing.assert_array_equal(photo.pixels[0, 1], [0, 1, 0])


def test_palette_without_transparency_has_no_alpha() -> None:
    """A plain palette gives colours and no alpha."""
    image = Image.new("P", (2, 1), 1)
    image.putpalette([255, 0, 0, 0, 0, 255])
    photo = decode(saved(image, "PNG"))
    assert photo.alpha is None
    np.testing.assert_array_equal(photo.pixels[0, 0], [0, 0, 1])


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk(kind: str) -> None:
    """CMYK without a profile, and JPEG's inverted one of Adobe, is not a negative."""
    photo = decode(saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), kind))
    np.testing.assert_allclose(photo.pixels[4, 4], [1, 0, 0], atol=0.02)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_png_keeps_its_bits(channels: int) -> None:
    """16-bit grey, grey and alpha, RGB and RGBA are read as sample / 65535, low bytes too."""
    samples = np.random.default_rng(0).integers(0, 65536, (5, 7, channels), np.uint16)
    photo = decode(png16(samples))
    colour = samples[..., :3] if channels > 2 else samples[..., :1].repeat(3, 2)
    np.testing.assert_allclose(photo.pixels, colour / 65535, atol=1e-6)
    if channels in (2, 4):
        assert photo.alpha is not None
        np.testing.assert_allclose(photo.alpha, samples[..., -1] / 65535, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_transparent_colour(channels: int) -> None:
    """The transparent colour of a 16-bit PNG is compared in 16 bits."""
    samples = np.full((1, 2, channels), 0x1234, np.uint16)
    samples[0, 1] += 1
    photo = decode(png16(samples, transparent=struct.pack(">H", 0x1234) * channels))
    assert photo.alpha is not None
    np.testing.assert_array_equal(photo.alpha, [[0, 1]])


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("channels", "extra"), [(1, None), (3, None), (4, 2)])
def test_16_bit_tiff_keeps_its_bits(order: str, channels: int, extra: int | None) -> None:
    """16-bit TIFF of either byte order is read as sample / 65535."""
    samples = np.random.default_rng(1).integers(0, 65536, (4, 6, channels), np.uint16)
    data = tiff(samples, photometric=1 if channels == 1 else 2, bits=16, order=order, extra=extra)
    colour = samples[..., :3] if channels > 2 else samples.repeat(3, 2)
    np.testing.assert_allclose(decode(data).pixels, colour / 65535, atol=1e-6)


def test_32_bit_tiff_spans_its_type() -> None:
    """32-bit grey is scaled by its full range and does not wrap to black."""
    samples = np.array([[[0], [2**31], [2**32 - 1]]], np.uint32)
    pixels = decode(tiff(samples, photometric=1, bits=32)).pixels
    np.testing.assert_allclose(pixels[0, :, 0], [0, 0.5, 1], atol=1e-6)


def test_16_bit_tiff_with_white_as_zero() -> None:
    """A scan whose white is 0 is not a negative."""
    samples = np.array([[[0], [65535]]], np.uint16)
    np.testing.assert_array_equal(decode(tiff(samples, photometric=0, bits=16)).pixels[0, :, 0], [1, 0])


def test_float_tiff_is_clipped() -> None:
    """Float grey is taken as it is, clipped to [0, 1], and not-a-number is 0."""
    image = Image.fromarray(np.array([[0.25, 1.5, -1, np.nan]], np.float32))
    pixels = decode(saved(image, "TIFF")).pixels
    np.testing.assert_array_equal(pixels[0, :, 1], np.float32([0.25, 1, 0, 0]))


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_compressed_tiff(compression: str) -> None:
    """The usual lossless compressions of TIFF are read exactly."""
    pixels = decode(saved(Image.fromarray(ramp()), "TIFF", compression=compression)).pixels
    np.testing.assert_array_equal(pixels, ramp() / np.float32(255))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 3000), (3000, 1)])
@pytest.mark.parametrize("kind", KINDS)
def test_thin_pictures(kind: str, height: int, width: int) -> None:
    """One pixel, and one row or column of 3,000, decode in every kind."""
    photo = decode(saved(Image.fromarray(ramp(height, width)), kind))
    assert (photo.height, photo.width) == (height, width)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_orientation(kind: str, orientation: int) -> None:
    """All 8 EXIF orientations are undone once, the block then says 1, and probe gives the turned size."""
    upright = ramp()
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "Camera"
    data = saved(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif.tobytes())
    photo = decode(data)
    assert np.abs(photo.pixels - upright / 255).mean() < 0.03
    assert probe(data) == Size(24, 32)
    if photo.exif is not None:
        exif.load(photo.exif)
        assert exif.get(0x0112, 1) == 1


def test_orientation_of_deep_pictures() -> None:
    """The low bytes of a 16-bit picture are turned with the high ones."""
    samples = np.random.default_rng(2).integers(0, 65536, (3, 5, 3), np.uint16)
    data = png16(samples)
    exif = Image.Exif()
    exif[0x0112] = 6
    block = chunk(b"eXIf", exif.tobytes()[6:])
    photo = decode(data[:33] + block + data[33:])
    np.testing.assert_allclose(photo.pixels, np.rot90(samples, -1) / 65535, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_is_dropped() -> None:
    """A picture with broken EXIF is read as if it had none."""
    photo = decode(saved(Image.fromarray(ramp()), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"))
    assert photo.exif is None
    assert (photo.height, photo.width) == (24, 32)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_profile_is_converted(kind: str) -> None:
    """Red in a profile with red and blue exchanged is blue in sRGB."""
    image = Image.new("RGB", (16, 16), (255, 0, 0))
    photo = decode(saved(image, kind, icc_profile=srgb_profile(swapped=True), quality=95))
    np.testing.assert_allclose(photo.pixels[8, 8], [0, 0, 1], atol=0.05)


def test_srgb_profile_changes_nothing() -> None:
    """A picture tagged as sRGB keeps its pixels to the bit, 16-bit ones too."""
    data = saved(Image.fromarray(ramp()), "PNG", icc_profile=srgb_profile(swapped=False))
    np.testing.assert_array_equal(decode(data).pixels, ramp() / np.float32(255))


def test_alpha_survives_a_profile() -> None:
    """Colours are converted and alpha is left alone."""
    image = Image.new("RGBA", (2, 2), (255, 0, 0, 51))
    photo = decode(saved(image, "PNG", icc_profile=srgb_profile(swapped=True)))
    np.testing.assert_allclose(photo.pixels[0, 0], [0, 0, 1], atol=0.01)
    assert photo.alpha is not None
    np.testing.assert_allclose(photo.alpha, 0.2, atol=1e-6)


def test_grey_profile() -> None:
    """Linear grey 0.5 is 0.735 in sRGB, at 8 bits and, finer than that, at 16."""
    profile = grey_profile(1.0)
    shallow = decode(saved(Image.new("L", (2, 2), 128), "PNG", icc_profile=profile)).pixels
    np.testing.assert_allclose(shallow, 0.736, atol=0.006)
    levels = np.arange(32768, 33280, dtype=np.uint16).reshape(16, 32)
    deep = decode(saved(Image.fromarray(levels), "PNG", icc_profile=profile)).pixels
    np.testing.assert_allclose(deep[0, 0], 0.735, atol=0.006)
    assert len(np.unique(deep[..., 0])) > 100


def test_grey_with_a_colour_profile() -> None:
    """Grey pixels in an RGB profile are taken as equal red, green and blue."""
    photo = decode(saved(Image.new("L", (2, 2), 255), "PNG", icc_profile=srgb_profile(swapped=True)))
    np.testing.assert_allclose(photo.pixels, 1, atol=0.01)


def test_cmyk_profile() -> None:
    """CMYK goes through its own profile: here only black ink is visible."""
    image = Image.new("CMYK", (2, 1), (255, 255, 255, 0))
    image.putpixel((1, 0), (0, 0, 0, 255))
    photo = decode(saved(image, "TIFF", icc_profile=cmyk_profile()))
    np.testing.assert_allclose(photo.pixels[0], [[1, 1, 1], [0, 0, 0]], atol=0.03)


@pytest.mark.parametrize("profile", [b"not a profile", grey_profile(1.0), srgb_profile(swapped=True)[:200]])
def test_unsound_profile_is_ignored(profile: bytes) -> None:
    """A profile that is broken, or describes other pixels, changes nothing."""
    data = saved(Image.fromarray(ramp()), "PNG", icc_profile=profile)
    np.testing.assert_array_equal(decode(data).pixels, ramp() / np.float32(255))


def test_lab_tiff() -> None:
    """A TIFF in CIE Lab becomes sRGB."""
    photo = decode(saved(Image.new("LAB", (2, 2), (255, 128, 128)), "TIFF"))
    assert photo.pixels.shape == (2, 2, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_probe_reads_the_header(kind: str) -> None:
    """The whole file of any kind tells its size."""
    assert probe(saved(Image.fromarray(ramp()), kind)) == Size(24, 32)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "WEBP"])
def test_probe_needs_only_a_prefix(kind: str) -> None:
    """The first bytes of these kinds tell the size; too few of them tell nothing."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    data = saved(Image.fromarray(noise), kind)
    assert probe(data[: len(data) * 2 // 3]) == Size(64, 96)
    assert probe(data[:9]) is None


def test_probe_of_webp_waits_for_its_exif() -> None:
    """WebP keeps EXIF at its end, so a prefix of one that has it tells nothing."""
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(Image.fromarray(ramp()), "WEBP", exif=exif.tobytes())
    assert probe(data) == Size(32, 24)
    assert probe(data[:60]) is None


def test_fit_makes_smaller_only() -> None:
    """The longer side becomes max_side, the shape is kept, and nothing is ever enlarged."""
    photo = Photo(np.full((30, 60, 3), 0.5, np.float32), np.ones((30, 60), np.float32), b"exif", "png")
    small = fit(photo, 20)
    assert (small.height, small.width) == (10, 20)
    assert small.alpha is not None
    assert small.alpha.shape == (10, 20)
    assert small.exif == b"exif"
    np.testing.assert_allclose(small.pixels, 0.5, atol=1e-6)
    assert fit(photo, 60) is photo
    assert fit(photo, None) is photo


def test_fit_stays_in_range_and_above_zero() -> None:
    """Lanczos' overshoot is clipped, and a thin picture keeps one pixel of width."""
    edges = np.zeros((3000, 1, 3), np.float32)
    edges[1000:2000] = 1
    small = fit(Photo(edges, None, None, "png"), 100).pixels
    assert small.shape == (100, 1, 3)
    assert small.min() >= 0
    assert small.max() <= 1
    assert small.flags.c_contiguous


def test_fit_refuses_no_size() -> None:
    """A longer side of 0 is an error that says so."""
    with pytest.raises(ImageError, match="max_side is 0"):
        fit(Photo(np.zeros((1, 1, 3), np.float32), None, None, "png"), 0)


@pytest.mark.parametrize(
    ("kind", "least", "expected"),
    [
        ("JPEG", 320, (400, 600)),  # a quarter: an eighth would have a side of 200
        ("JPEG", 100, (200, 300)),
        ("JPEG", 801, (1600, 2400)),
        ("PNG", 100, (1600, 2400)),
    ],
)
def test_a_large_jpeg_may_be_decoded_smaller(kind: str, least: int, expected: tuple[int, int]) -> None:
    """It comes at a half, quarter or eighth, no side below `least_side`, upright, and shows what the whole shows."""
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(Image.fromarray(ramp(1600, 2400)), kind, exif=exif, **({"quality": 95} if kind == "JPEG" else {}))
    reduced = decode(data, least_side=least)
    assert (reduced.width, reduced.height) == expected
    np.testing.assert_allclose(fit(reduced, 100).pixels, fit(decode(data), 100).pixels, atol=0.02)
