"""Contact sheets: pictures -> one PNG, a grid with labels at its edges and a caption under each picture.

Pictures are float32 RGB (h, w, 3) in [0, 1]. Memory is theirs, and 3 bytes for each pixel of the sheet: a caller brings
them to the side that `cell_side` says first.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from dreamjobs.errors import ImageError

Picture = NDArray[np.float32]

_BACKGROUND, _EMPTY, _TEXT = (24, 24, 27), (39, 39, 42), (228, 228, 231)
_GAP = 6
_NOTHING = (96, 96)  # the cell (h, w) of a sheet without any picture
_LEAST_WIDTH = 48  # of a cell, so that a short label can be read under a picture of a few pixels
_FONT = (11, 28)
_CHARACTERS = 13  # of a caption that a cell has room for, about
_SHEET_PIXELS = 32 * 2**20
_SHEET_SIDE = 60_000


def cell_side(count: int, largest: int) -> int:
    """The longer side, at most `largest`, that so many square pictures can have on a sheet of 32 megapixels."""
    return max(1, min(largest, math.isqrt(_SHEET_PIXELS // max(1, count))))


def contact_sheet(
    cells: Sequence[Sequence[Picture | None]],
    *,
    column_labels: Sequence[str] = (),
    row_labels: Sequence[str] = (),
    captions: Sequence[Sequence[str]] = (),
    title: str = "",
) -> bytes:
    """A PNG of rows of pictures; None is an empty cell, and a row may be shorter than others.

    All cells have the size (h, w) of the largest picture; others are enlarged or shrunk to fit, proportions kept, and
    centred. Labels, where there are any, are one a column, one a row and, as captions, one a picture; what is too long
    for its place ends in an ellipsis.

    Raises:
        ImageError: for no cells, an array that is no picture, labels of another number, or a sheet too large for PNG
            readers.
    """
    _check(cells, column_labels, row_labels, captions)
    sheet = _Sheet(_layout(cells, column_labels, row_labels, captions, title))
    sheet.write_edges(column_labels, row_labels, title)
    for row, pictures in enumerate(cells):
        for column, picture in enumerate(pictures):
            sheet.paste(picture, row, column)
            if captions:
                sheet.caption(captions[row][column], row, column)
    return sheet.png()


@dataclass(frozen=True)
class _Layout:
    """Sizes in pixels: of a cell, of the text, and of the strips that labels take (0 where there are none)."""

    rows: int
    columns: int
    height: int
    width: int
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont
    line: int
    above: int
    left: int
    below: int

    @property
    def size(self) -> tuple[int, int]:
        """Of the whole sheet, as (width, height)."""
        return self.x(self.columns), self.y(self.rows)

    def y(self, row: int) -> int:
        """The top of a row's pictures."""
        return self.above + _GAP + row * (self.height + self.below + _GAP)

    def x(self, column: int) -> int:
        """The left edge of a column's pictures."""
        return self.left + _GAP + column * (self.width + _GAP)


class _Sheet:
    """The picture while it is drawn."""

    def __init__(self, layout: _Layout) -> None:
        self._layout = layout
        self._image = Image.new("RGB", layout.size, _BACKGROUND)
        self._draw = ImageDraw.Draw(self._image)

    def write_edges(self, column_labels: Sequence[str], row_labels: Sequence[str], title: str) -> None:
        """The title, and the labels of columns and rows."""
        at = self._layout
        self._write(title, _GAP, _GAP, at.size[0] - 2 * _GAP)
        for column, label in enumerate(column_labels):
            self._write(label, at.x(column), at.above - at.line, at.width, centred=True)
        for row, label in enumerate(row_labels):
            self._write(label, _GAP, at.y(row) + (at.height - at.line) // 2, at.left - _GAP)

    def paste(self, picture: Picture | None, row: int, column: int) -> None:
        """A picture in its cell, or the empty cell."""
        at = self._layout
        x, y = at.x(column), at.y(row)
        self._draw.rectangle((x, y, x + at.width - 1, y + at.height - 1), fill=_EMPTY)
        if picture is None:
            return
        image = _fitted(picture, at.height, at.width)
        self._image.paste(image, (x + (at.width - image.width) // 2, y + (at.height - image.height) // 2))

    def caption(self, text: str, row: int, column: int) -> None:
        """What is said of one picture, under it."""
        at = self._layout
        self._write(text, at.x(column), at.y(row) + at.height, at.width, centred=True)

    def png(self) -> bytes:
        """The file."""
        out = io.BytesIO()
        self._image.save(out, "PNG", compress_level=4)
        return out.getvalue()

    def _write(self, text: str, x: int, y: int, width: int, *, centred: bool = False) -> None:
        """One line of text within `width` pixels."""
        shown = _shortened(text, self._layout.font, width)
        indent = (width - self._layout.font.getlength(shown)) / 2 if centred else 0
        self._draw.text((x + max(0, round(indent)), y), shown, fill=_TEXT, font=self._layout.font)


def _check(
    cells: Sequence[Sequence[Picture | None]],
    column_labels: Sequence[str],
    row_labels: Sequence[str],
    captions: Sequence[Sequence[str]],
) -> None:
    columns = max((len(row) for row in cells), default=0)
    if not columns:
        raise ImageError("a contact sheet of no pictures was asked for; give it one cell or more")
    for what, labels, count in (("column", column_labels, columns), ("row", row_labels, len(cells))):
        if labels and len(labels) != count:
            raise ImageError(f"{len(labels)} {what} labels for {count} {what}s; give one each, or none")
    if captions and [len(row) for row in captions] != [len(row) for row in cells]:
        raise ImageError("captions and pictures differ in number; give one for each picture, or none")


def _layout(
    cells: Sequence[Sequence[Picture | None]],
    column_labels: Sequence[str],
    row_labels: Sequence[str],
    captions: Sequence[Sequence[str]],
    title: str,
) -> _Layout:
    sizes = [_size(picture) for row in cells for picture in row if picture is not None] or [_NOTHING]
    height, width = max(size[0] for size in sizes), max(_LEAST_WIDTH, *(size[1] for size in sizes))
    font = ImageFont.load_default(min(max(_FONT[0], width // _CHARACTERS), _FONT[1]))
    line = math.ceil(font.getbbox("Ág")[3]) + _GAP // 2
    widest = max((math.ceil(font.getlength(_plain(label))) for label in row_labels), default=0)
    layout = _Layout(
        rows=len(cells),
        columns=max(len(row) for row in cells),
        height=height,
        width=width,
        font=font,
        line=line,
        above=(line + _GAP if title else 0) + (line + _GAP // 2 if column_labels else 0),
        left=min(widest, 2 * width) + _GAP if row_labels else 0,
        below=line if captions else 0,
    )
    if max(layout.size) > _SHEET_SIDE:
        raise ImageError(
            f"a sheet of {layout.rows} x {layout.columns} cells of {height} x {width} pixels (h x w) would be "
            f"{layout.size[1]} x {layout.size[0]}, its longest side being {_SHEET_SIDE}; use fewer or smaller pictures"
        )
    return layout


def _size(picture: Picture) -> tuple[int, int]:
    if picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise ImageError(f"a cell holds an array of shape {picture.shape}; a picture is (h, w, 3)")
    return picture.shape[0], picture.shape[1]


def _fitted(picture: Picture, height: int, width: int) -> Image.Image:
    """The picture in 8 bits, as large as the cell (h, w) takes it."""
    levels = np.rint(np.fmin(np.fmax(picture, 0.0), 1.0) * 255.0).astype(np.uint8)
    image = Image.fromarray(levels)
    scale = min(height / image.height, width / image.width)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image if size == image.size else image.resize(size, Image.Resampling.LANCZOS)


def _plain(text: str) -> str:
    """One line of it: line breaks and other control signs are blanks."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def _shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """As much of the text as `width` pixels hold, an ellipsis in place of the rest."""
    text = _plain(text)
    if font.getlength(text) <= width:
        return text
    low, high = 0, len(text)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if font.getlength(text[:middle] + "…") <= width else (low, middle)
    return text[:low].rstrip() + "…"
