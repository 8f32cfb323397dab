"""Contact sheets: where pictures and labels stand, and what is refused."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from dreamjobs.errors import ImageError
from dreamjobs.images.sheet import cell_side, contact_sheet

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def plain(color: tuple[int, int, int], height: int = 40, width: int = 60) -> NDArray[np.float32]:
    """A picture of one colour."""
    return np.full((height, width, 3), np.array(color, np.float32) / 255, np.float32)


def seen(data: bytes) -> NDArray[np.uint8]:
    """The pixels of a PNG."""
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        return np.asarray(image)


def box(pixels: NDArray[np.uint8], color: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Top, left, bottom and right of what has a colour; it is a full rectangle of it."""
    ys, xs = np.nonzero((pixels == color).all(2))
    top, left, bottom, right = int(ys.min()), int(xs.min()), int(ys.max()) + 1, int(xs.max()) + 1
    assert len(ys) == (bottom - top) * (right - left)
    return top, left, bottom, right


def test_pictures_stand_in_their_cells() -> None:
    """Rows run down, columns to the right, pixels as they were, gaps between."""
    pixels = seen(contact_sheet([[plain(RED), plain(GREEN)], [None, plain(BLUE)]]))
    red, green, blue = (box(pixels, color) for color in (RED, GREEN, BLUE))
    for top, left, bottom, right in (red, green, blue):
        assert (bottom - top, right - left) == (40, 60)
    assert red[0] == green[0]
    assert green[1] == blue[1]
    assert blue[0] > green[2]
    assert green[1] > red[3]
    assert pixels.shape[:2] == (blue[2] + red[0], blue[3] + red[1])


def test_a_smaller_picture_is_enlarged_and_centred() -> None:
    """Cells are of equal size; proportions are kept."""
    pixels = seen(contact_sheet([[plain(RED, 40, 60), plain(GREEN, 10, 10)]]))
    cell, found = box(pixels, RED), box(pixels, GREEN)
    assert (found[2] - found[0], found[3] - found[1]) == (40, 40)
    assert found[0] == cell[0]
    assert found[1] - cell[3] == 6 + (60 - 40) // 2


@pytest.mark.parametrize(
    "labels",
    [
        {"column_labels": ["octaves 3", "octaves 4"]},
        {"row_labels": ["mix4b", "mix8c"]},
        {"captions": [["one", "two"], ["three", "four"]]},
        {"title": "A sheet"},
    ],
)
def test_labels_take_their_place_and_can_be_seen(labels: dict[str, list[str]]) -> None:
    """Each kind of label makes the sheet larger, is light on dark, changes with its text, and leaves pictures whole."""
    cells = [[plain(RED), plain(GREEN)], [plain(BLUE), None]]
    bare, labelled = seen(contact_sheet(cells)), seen(contact_sheet(cells, **labels))  # type: ignore[arg-type]
    assert labelled.shape[0] > bare.shape[0] or labelled.shape[1] > bare.shape[1]
    grey = (labelled.max(2) - labelled.min(2)) < 16
    assert not ((bare.min(2) > 180).any())
    assert (grey & (labelled.min(2) > 180)).sum() > 20
    for color in (RED, GREEN, BLUE):
        top, left, bottom, right = box(labelled, color)
        assert (bottom - top, right - left) == (40, 60)
    (name, texts), *_ = labels.items()
    reverse = texts[::-1]
    assert not np.array_equal(seen(contact_sheet(cells, **{name: reverse})), labelled)  # type: ignore[arg-type]


def test_each_label_stands_at_its_picture() -> None:
    """Only the strip of a label's own row or column changes with it."""
    cells = [[plain(RED), plain(GREEN)], [plain(BLUE), None]]
    before = seen(contact_sheet(cells, column_labels=["a", "b"], captions=[["1", "2"], ["3", "4"]]))
    for changed, color in (
        ({"column_labels": ["a", "x"], "captions": [["1", "2"], ["3", "4"]]}, GREEN),
        ({"column_labels": ["a", "b"], "captions": [["1", "2"], ["9", "4"]]}, BLUE),
    ):
        after = seen(contact_sheet(cells, **changed))  # type: ignore[arg-type]
        ys, xs = np.nonzero((before != after).any(2))
        top, left, bottom, right = box(after, color)
        assert left <= xs.min() <= xs.max() < right
        assert ys.max() < top if color == GREEN else ys.min() >= bottom


def test_long_labels_end_in_an_ellipsis() -> None:
    """A label never reaches into the next cell, however long; two that begin alike are shortened alike."""
    cells = [[plain(RED), plain(GREEN)]]
    sheets = [seen(contact_sheet(cells, captions=[["long " * count, ""]], title="t" * count)) for count in (50, 60)]
    assert np.array_equal(*sheets)
    under = sheets[0][box(sheets[0], RED)[2] :]
    lit = np.nonzero((under.min(2) > 100).any(0))[0]
    assert lit.size
    assert lit.max() < box(sheets[0], RED)[3]


def test_text_of_any_kind_is_drawn() -> None:
    """Line breaks, control signs and signs that the font lacks are no error and stay on one line."""
    cells = [[plain(RED)]]
    for text in ("a\nb\x00c", "波", "", "\ud800"):
        tall = seen(contact_sheet(cells, captions=[[text]], row_labels=[text], title=text))
        assert tall.shape[0] < 110


def test_values_out_of_range_are_clamped() -> None:
    """What is below 0, above 1 or not a number is drawn all the same."""
    picture = np.array([[[-1.0, 2.0, np.nan]]], np.float32).repeat(48, 0).repeat(48, 1)
    assert box(seen(contact_sheet([[picture]])), (0, 255, 0))


def test_a_sheet_of_nothing_but_empty_cells() -> None:
    """Where every picture failed there is still a sheet with its captions."""
    pixels = seen(contact_sheet([[None, None]], captions=[["1 failed", "2 failed"]]))
    assert (pixels.min(2) > 180).any()


def test_rows_may_be_short() -> None:
    """A last row with fewer pictures leaves the rest of the sheet empty."""
    pixels = seen(contact_sheet([[plain(RED), plain(GREEN)], [plain(BLUE)]]))
    assert pixels.shape == seen(contact_sheet([[plain(RED), plain(GREEN)], [plain(BLUE), None]])).shape


def test_the_same_sheet_is_the_same_bytes() -> None:
    """Nothing of the hour or the machine is in the file."""
    assert contact_sheet([[plain(RED)]], title="x") == contact_sheet([[plain(RED)]], title="x")


@pytest.mark.parametrize(
    ("cells", "labels", "said"),
    [
        ([], {}, "no pictures"),
        ([[]], {}, "no pictures"),
        ([[plain(RED)]], {"column_labels": ["a", "b"]}, "2 column labels for 1 columns"),
        ([[plain(RED)]], {"row_labels": ["a", "b"]}, "2 row labels for 1 rows"),
        ([[plain(RED)]], {"captions": [["a", "b"]]}, "captions and pictures differ"),
        ([[plain(RED)[..., 0]]], {}, r"shape \(40, 60\)"),
        ([[plain(RED)[:0]]], {}, r"shape \(0, 60, 3\)"),
        ([[None] * 1000], {}, "use fewer or smaller pictures"),
    ],
)
def test_what_is_no_sheet_is_refused(
    cells: list[list[NDArray[np.float32]]], labels: dict[str, object], said: str
) -> None:
    """The message says what was given and what is needed."""
    with pytest.raises(ImageError, match=said):
        contact_sheet(cells, **labels)  # type: ignore[arg-type]


@given(count=st.integers(0, 10**6), largest=st.integers(1, 10**5))
def test_cells_fit_on_a_sheet_of_bounded_size(count: int, largest: int) -> None:
    """So many cells of that side have at most 32 megapixels, and no cell is larger than asked for."""
    side = cell_side(count, largest)
    assert 1 <= side <= largest
    assert count * side**2 <= 32 * 2**20
