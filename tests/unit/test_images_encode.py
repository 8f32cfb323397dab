"""What `images.encode` writes: pixels, alpha, EXIF and the recipe, the same bytes each time."""

import io
import struct
import subprocess
import sys
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from dreamjobs.errors import ImageError
from dreamjobs.images import Encoding, Photo, decode, encode, extension, output_format, read_recipe, rounded
from dreamjobs.tiles import Box, Span

FORMATS = get_args(Encoding)
WITH_ALPHA = [name for name in FORMATS if name != "jpeg"]
RECIPE: dict[str, object] = {"layer": "mixed4c", "octaves": 4, "step_size": 0.05, "café": [1, None, True, {"a": "\0"}]}
MAKER_NOTE, USER_COMMENT = 0x927C, 0x9286


def noise(height: int = 20, width: int = 28, *, alpha: bool = False, exif: bytes | None = None) -> Photo:
    generator = np.random.default_rng(0)
    pixels = generator.random((height, width, 3), np.float32)
    return Photo(pixels, generator.random((height, width), np.float32) if alpha else None, exif, "png")


def camera_exif(*, maker_note: bytes = b"maker", comment: bytes = b"ASCII\0\0\0hello") -> Image.Exif:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112], exif[0x0132] = "Camera", 6, "2024:05:06 07:08:09"
    exif[0x8769] = {
        0x9003: "2024:05:06 07:08:09",
        0xA002: 28,
        0xA003: 20,
        MAKER_NOTE: maker_note,
        USER_COMMENT: comment,
    }
    exif[0x8825] = {1: "N", 2: (48.0, 12.0, 30.5), 3: "E", 4: (16.0, 22.0, 1.0)}
    return exif


def jpeg_with(exif: Image.Exif, *, block: bytes | None = None) -> bytes:
    """A grey JPEG of 16 x 16 with this EXIF, or with a block made by hand."""
    out = io.BytesIO()
    Image.new("RGB", (16, 16), "grey").save(out, "JPEG", exif=block or exif.tobytes())
    return out.getvalue()


def loaded(block: bytes | None) -> Image.Exif:
    assert block is not None
    exif = Image.Exif()
    exif.load(block)
    return exif


@pytest.mark.parametrize("name", FORMATS)
def test_recipe_round_trips(name: str) -> None:
    """What encode embeds read_recipe gives back, in every format that can be written."""
    data = encode(noise(), format=name, quality=90, recipe=RECIPE)
    assert read_recipe(data) == RECIPE
    assert decode(data).format == name


@given(
    st.dictionaries(
        st.text(max_size=8),
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        max_size=5,
    )
)
def test_any_recipe_round_trips(recipe: dict[str, object]) -> None:
    """Any JSON object survives, whatever its characters and numbers."""
    assert read_recipe(encode(noise(2, 2), format="png", quality=90, recipe=recipe)) == recipe


def test_recipe_of_a_dream_of_a_dream() -> None:
    """A dreamed picture dreamed again carries the new recipe only."""
    once = decode(encode(noise(), format="jpeg", quality=90, recipe={"first": 1}))
    assert read_recipe(encode(once, format="webp", quality=90, recipe={"second": 2})) == {"second": 2}


@pytest.mark.parametrize("name", ["png", "tiff"])
def test_lossless_pixels(name: str) -> None:
    """PNG and TIFF give back every pixel and alpha within half of 1/255."""
    photo = noise(alpha=True)
    again = decode(encode(photo, format=name, quality=90, recipe={}))
    assert photo.alpha is not None
    assert again.alpha is not None
    np.testing.assert_allclose(again.pixels, photo.pixels, atol=0.5 / 255 + 1e-6)
    np.testing.assert_allclose(again.alpha, photo.alpha, atol=0.5 / 255 + 1e-6)


@pytest.mark.parametrize("name", WITH_ALPHA)
def test_alpha_is_kept(name: str) -> None:
    """Every format but JPEG carries alpha."""
    photo = Photo(np.full((16, 16, 3), 0.5, np.float32), np.full((16, 16), 0.4, np.float32), None, name)
    again = decode(encode(photo, format=name, quality=95, recipe={}))
    assert again.alpha is not None
    np.testing.assert_allclose(again.alpha, 0.4, atol=0.03)


def test_webp_of_quality_100_is_lossless() -> None:
    """WebP halves colour's resolution at any quality but 100, which keeps every pixel."""
    photo = noise()
    again = decode(encode(photo, format="webp", quality=100, recipe={}))
    np.testing.assert_allclose(again.pixels, photo.pixels, atol=0.5 / 255 + 1e-6)


def test_jpeg_lays_alpha_on_white() -> None:
    """Black that is 60% transparent is light grey in JPEG."""
    photo = Photo(np.zeros((16, 16, 3), np.float32), np.full((16, 16), 0.4, np.float32), None, "png")
    again = decode(encode(photo, format="jpeg", quality=95, recipe={}))
    assert again.alpha is None
    np.testing.assert_allclose(again.pixels, 0.6, atol=0.01)


def test_values_out_of_range_are_clamped() -> None:
    """Below 0 and not-a-number is black, above 1 is white, and halves are rounded."""
    row = np.array([-1, np.nan, 2, np.inf, 100.4 / 255, 100.6 / 255], np.float32)
    photo = Photo(np.repeat(row[None, :, None], 3, axis=2), None, None, "png")
    again = decode(encode(photo, format="png", quality=90, recipe={})).pixels
    np.testing.assert_array_equal(np.rint(again[0, :, 0] * 255), [0, 0, 255, 255, 100, 101])


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("alpha", [False, True])
def test_rounded_pictures_give_the_same_bytes(name: str, alpha: bool) -> None:
    """What has 8 bits already is written as its floats would be, as are those with alpha, which stay floats."""
    photo = noise(300, 28, alpha=alpha)
    photo.pixels[0, :3, 0] = np.nan, -0.5, 1.5
    samples = rounded(photo)
    assert samples.window(Box(Span(0, 1), Span(0, 1))).dtype == (np.float32 if alpha else np.uint8)
    assert encode(samples, format=name, quality=90, recipe={}) == encode(photo, format=name, quality=90, recipe={})


def test_tall_pictures_are_rounded_whole() -> None:
    """A picture higher than one band of rows is rounded from top to bottom."""
    photo = noise(700, 2)
    again = decode(encode(photo, format="png", quality=90, recipe={}))
    np.testing.assert_allclose(again.pixels, photo.pixels, atol=0.5 / 255 + 1e-6)


@pytest.mark.parametrize("name", FORMATS)
def test_bytes_are_deterministic(name: str) -> None:
    """The same photo and recipe give the same bytes, whatever the order of the recipe's keys."""
    photo = decode(jpeg_with(camera_exif()))
    first = encode(photo, format=name, quality=90, recipe=RECIPE)
    assert encode(photo, format=name, quality=90, recipe=dict(reversed(RECIPE.items()))) == first


@pytest.mark.parametrize("name", FORMATS)
def test_exif_is_kept(name: str) -> None:
    """Camera, dates and place travel to every format; orientation is 1 and the size is the new one."""
    photo = decode(jpeg_with(camera_exif()))
    again = loaded(decode(encode(photo, format=name, quality=90, recipe=RECIPE)).exif)
    assert (again[0x010F], again[0x0112], again[0x0132]) == ("Camera", 1, "2024:05:06 07:08:09")
    assert again.get_ifd(0x8825)[2] == (48.0, 12.0, 30.5)
    details = again.get_ifd(0x8769)
    assert details[0x9003] == "2024:05:06 07:08:09"
    assert details[MAKER_NOTE] == b"maker"
    assert (details[0xA002], details[0xA003]) == (16, 16)


def test_decode_drops_the_thumbnail_and_keeps_the_place() -> None:
    """The directory of the thumbnail goes; the place stays."""
    block = bytearray(camera_exif().tobytes()[6:])
    entries = int.from_bytes(block[8:10], "big")
    block[10 + 12 * entries : 14 + 12 * entries] = len(block).to_bytes(4, "big")
    block += struct.pack(">HHHII", 1, 0x0103, 4, 1, 6) + b"\0" * 4
    source = Image.Exif()
    source.load(bytes(block))
    assert source.get_ifd(ExifTags.IFD.IFD1) == {0x0103: 6}
    exif = loaded(decode(jpeg_with(source, block=b"Exif\0\0" + bytes(block))).exif)
    assert exif.get_ifd(ExifTags.IFD.IFD1) == {}
    assert exif[0x0112] == 1
    assert exif.get_ifd(0x8825)[4] == (16.0, 22.0, 1.0)


@pytest.mark.parametrize(
    ("description", "kept"),
    [("A cat, asleep", True), ('{"shape": [64, 64, 3]}', False), ("ImageJ=1.54\nimages=2", False)],
)
def test_a_description_of_arrays_stays_behind(description: str, kept: bool) -> None:
    """A caption travels; what scientific TIFFs say there of their own arrays is not true of the dream."""
    out = io.BytesIO()
    Image.new("RGB", (64, 64)).save(out, "TIFF", tiffinfo={0x010E: description})
    again = loaded(decode(encode(decode(out.getvalue()), format="tiff", quality=90, recipe=RECIPE)).exif)
    assert again.get(0x010E) == (description if kept else None)


def test_layout_tags_of_a_tiff_stay_behind() -> None:
    """What a TIFF says of its strips does not travel to the picture made from it."""
    out = io.BytesIO()
    Image.new("RGB", (64, 64)).save(out, "TIFF", compression="tiff_lzw", tiffinfo={0x010F: "Camera"})
    exif = loaded(decode(encode(decode(out.getvalue()), format="tiff", quality=90, recipe={})).exif)
    assert exif[0x010F] == "Camera"
    assert not {256, 257, 259, 273, 279} & set(exif)


def test_large_maker_note_gives_way_to_the_recipe() -> None:
    """JPEG holds 64 KiB of EXIF: the maker note goes, the rest and the recipe stay."""
    photo = decode(jpeg_with(camera_exif(maker_note=b"m" * 62_000)))
    recipe: dict[str, object] = {"objective": "x" * 5_000}
    data = encode(photo, format="jpeg", quality=90, recipe=recipe)
    assert read_recipe(data) == recipe
    details = loaded(decode(data).exif).get_ifd(0x8769)
    assert MAKER_NOTE not in details
    assert details[USER_COMMENT] == b"ASCII\0\0\0hello"
    png = loaded(decode(encode(photo, format="png", quality=90, recipe=recipe)).exif)
    assert len(png.get_ifd(0x8769)[MAKER_NOTE]) == 62_000


def test_large_comment_gives_way_to_the_recipe() -> None:
    """Then values over 1 KiB go; camera and place stay."""
    photo = decode(jpeg_with(camera_exif(comment=b"c" * 62_000)))
    recipe: dict[str, object] = {"objective": "x" * 5_000}
    data = encode(photo, format="jpeg", quality=90, recipe=recipe)
    assert read_recipe(data) == recipe
    exif = loaded(decode(data).exif)
    assert exif[0x010F] == "Camera"
    assert exif.get_ifd(0x8825)[1] == "N"


def test_recipe_that_fills_the_segment_stays_alone() -> None:
    """A recipe that leaves no room at all is written without the camera's EXIF."""
    recipe: dict[str, object] = {"objective": "x" * 65_300}
    data = encode(decode(jpeg_with(camera_exif())), format="jpeg", quality=90, recipe=recipe)
    assert read_recipe(data) == recipe


def test_recipe_over_the_segment_is_an_error() -> None:
    """A recipe over 64 KiB is refused by JPEG with a way out, and written by PNG."""
    recipe: dict[str, object] = {"objective": "x" * 70_000}
    with pytest.raises(ImageError, match=r"700\d\d bytes .* png"):
        encode(noise(), format="jpeg", quality=90, recipe=recipe)
    assert read_recipe(encode(noise(), format="png", quality=90, recipe=recipe)) == recipe


def test_broken_exif_of_a_photo_does_not_stop_encoding() -> None:
    """EXIF that cannot be read is left out."""
    assert read_recipe(encode(noise(exif=b"Exif\0\0rubbish"), format="jpeg", quality=90, recipe=RECIPE)) == RECIPE


@pytest.mark.parametrize("history", [None, "rotated in another program", "[1, 2]"])
def test_pictures_without_a_recipe(history: str | None) -> None:
    """Other people's pictures carry no recipe, even if their history is written down."""
    exif = Image.Exif()
    exif[0x010F] = "Camera"
    if history is not None:
        exif[0x9213] = history
    with pytest.raises(ImageError, match="no dreamjobs recipe"):
        read_recipe(jpeg_with(exif))


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 3000), (63, 17)])
def test_odd_sizes_are_written(name: str, height: int, width: int) -> None:
    """One pixel, one row and odd sides keep their size in every format."""
    again = decode(encode(noise(height, width, alpha=name != "jpeg"), format=name, quality=90, recipe={}))
    assert (again.height, again.width) == (height, width)


@pytest.mark.parametrize("quality", [0, 101])
def test_quality_out_of_range(quality: int) -> None:
    """Quality is 1 to 100."""
    with pytest.raises(ImageError, match=f"quality is {quality}; allowed is 1 to 100"):
        encode(noise(), format="jpeg", quality=quality, recipe={})


def test_too_large_for_the_format() -> None:
    """A side over the format's limit names the limit and another format."""
    with pytest.raises(ImageError, match=r"1 x 16384 .* webp.* 16383; write png"):
        encode(noise(1, 16_384), format="webp", quality=90, recipe={})


def test_full_colour_from_quality_90() -> None:
    """JPEG keeps colour at full resolution from quality 90 on and halves it below."""
    samplings = []
    for quality in (89, 90):
        data = encode(noise(), format="jpeg", quality=quality, recipe={})
        with Image.open(io.BytesIO(data)) as image:
            samplings.append(image.layer[0][1:3])  # type: ignore[attr-defined]
    assert samplings == [(2, 2), (1, 1)]


@pytest.mark.parametrize(
    ("requested", "source", "written"),
    [
        ("auto", "jpeg", "jpeg"),
        ("auto", "heic", "heic"),
        ("auto", "bmp", "png"),
        ("auto", "gif", "png"),
        ("webp", "bmp", "webp"),
    ],
)
def test_output_format(requested: str, source: str, written: str) -> None:
    """ "auto" keeps the kind of the source where it can be written, and makes PNG of the rest."""
    assert output_format(requested, source) == written


def test_unknown_format() -> None:
    """An unknown format lists the known ones."""
    with pytest.raises(ImageError, match="'jpg'; allowed are jpeg, png"):
        output_format("jpg", "png")


def test_extensions() -> None:
    """Every format has an ending without a dot, jpg for jpeg."""
    assert [extension(name) for name in FORMATS] == ["jpg", "png", "webp", "tiff", "avif", "heic"]


def test_importing_does_nothing() -> None:
    """Importing loads neither torch nor the HEIC plugin and leaves Pillow's limit alone."""
    code = (
        "import sys, PIL.Image; limit = PIL.Image.MAX_IMAGE_PIXELS; import dreamjobs.images; "
        "sys.exit('torch' in sys.modules or 'pillow_heif' in sys.modules or PIL.Image.MAX_IMAGE_PIXELS != limit)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
