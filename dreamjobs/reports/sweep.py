"""The pictures of a sweep as one sheet, or as a video that goes through its rows.

Pictures are brought to the side of a cell as they are read, a few at once; a full one is in memory for each reader, the
cells for all. A picture that is not there, or cannot be read, is an empty cell that says why.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from dreamjobs import images, ledger, results
from dreamjobs.errors import InputError
from dreamjobs.gallery import previews
from dreamjobs.gallery.data import Row
from dreamjobs.images.sheet import Picture, cell_side, contact_sheet
from dreamjobs.images.video import Frame, Kind
from dreamjobs.jobs import NO_PHOTOGRAPH
from dreamjobs.reports.axes import IMAGE, Asked, Sweep, arrange
from dreamjobs.storage import Store, join_url, open_store, read_url, split_url

ENDINGS = ("png", "webp", "mp4")
_READERS = 4
_HEAVY = ("traceback", "versions", "objective_curve")
_PHOTOGRAPH = "photograph"
_BLANK = 0.15  # grey of a frame's empty cell

OnPicture = Callable[[int], None]


@dataclass(frozen=True, eq=False)
class Cell:
    """A picture, or what is said where there is none."""

    picture: Picture | None
    note: str = ""


@dataclass(frozen=True, eq=False)
class Sheet:
    """Cells line by line, with a label a column and a line, none or all."""

    cells: list[list[Cell]]
    row_labels: list[str]
    column_labels: list[str]
    title: str

    def png(self) -> bytes:
        """The sheet as a file; captions only where something is to be said."""
        speaks = any(cell.note for line in self.cells for cell in line)
        return contact_sheet(
            [[cell.picture for cell in line] for line in self.cells],
            row_labels=self.row_labels,
            column_labels=self.column_labels,
            captions=[[cell.note for cell in line] for line in self.cells] if speaks else (),
            title=self.title,
        )


def ending(out: str) -> str:
    """`png`, `webp` or `mp4`.

    Raises:
        InputError: for a name that ends otherwise.
    """
    found = out.rpartition(".")[2].lower()
    if found not in ENDINGS:
        raise InputError(f"--out {out!r}: a sheet is a .png, an animation over its rows a .webp or .mp4")
    return found


def find(run: Store, asked: Asked) -> Sweep:
    """The sweep in a run's current results; errors as `arrange`, and NotFoundError if nothing was ever run there."""
    ledger.load_record(run)
    table = results.read(run)
    return arrange(table.drop_columns([name for name in _HEAVY if name in table.column_names]).to_pylist(), asked)


def draw(run: Store, sweep: Sweep, *, side: int, original: bool = False, on_picture: OnPicture | None = None) -> Sheet:
    """The sheet of a sweep, its pictures' longer sides at most `side` pixels; `original` adds the photographs.

    They are a first row where photographs go across or nothing does, else a first column.
    """
    side = cell_side(sum(map(len, sweep.cells)), side)
    flat = [row for line in sweep.cells for row in line]
    with ThreadPoolExecutor(_READERS) as pool:
        made = iter(_watched(pool.map(lambda row: _read(run, row, side), flat), on_picture))
        cells = [[next(made) for _ in line] for line in sweep.cells]
    sheet = Sheet(cells, sweep.down.labels, sweep.across.labels, sweep.title)
    return _with_photographs(run, sweep, sheet, side) if original else sheet


def animate(sheet: Sheet, out: str, fps: float) -> None:
    """Write a video whose frames are the sheet's rows, one after another, each under its label; local or on S3."""
    kind: Kind = "mp4" if ending(out) == "mp4" else "webp"
    place = split_url(out)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, f"sheet.{kind}")
        images.write_video(_frames(sheet), path, kind=kind, fps=fps)
        open_store(place.base).put_file(place.key, path)


def _watched(cells: Iterator[Cell], on_picture: OnPicture | None) -> Iterator[Cell]:
    for number, cell in enumerate(cells, start=1):
        if on_picture:
            on_picture(number)
        yield cell


def _read(run: Store, row: Row | None, side: int) -> Cell:
    if row is None:
        return Cell(None, "not there")
    if row["status"] != "done":
        return Cell(None, row["error_type"] or "failed")
    try:
        (preview,) = previews.thumbnails("", run, [row]).values()  # of a sequence the picture in its middle
        return Cell(_fitted(preview.read(), side))
    except InputError as error:  # `dreamjobs verify` tells more
        return Cell(None, type(error).__name__)


def _fitted(data: bytes, side: int) -> Picture:
    return images.fit(images.decode(data), side).pixels


def _with_photographs(run: Store, sweep: Sweep, sheet: Sheet, side: int) -> Sheet:
    base = ledger.load_record(run).base
    across = not sweep.across.name or sweep.across.name == IMAGE
    names: Sequence[Any] = [sweep.image]
    for axis in (sweep.down, sweep.across):
        names = axis.values if axis.name == IMAGE else names
    dreamed = [max(cell.picture.shape[:2]) for line in sheet.cells for cell in line if cell.picture is not None]
    shown = [_photograph(base, name, max(dreamed, default=side)) for name in names]
    if across:
        labels = [_PHOTOGRAPH, *(sheet.row_labels or [""])]
        return Sheet([shown, *sheet.cells], labels, sheet.column_labels, sheet.title)
    shown = shown * len(sheet.cells) if len(shown) == 1 else shown
    cells = [[photo, *line] for photo, line in zip(shown, sheet.cells, strict=True)]
    return Sheet(cells, sheet.row_labels, [_PHOTOGRAPH, *sheet.column_labels], sheet.title)


def _photograph(base: str, name: str, side: int) -> Cell:
    if name.startswith(NO_PHOTOGRAPH) or name.endswith("/"):
        return Cell(None, "no photograph")
    try:
        return Cell(_fitted(read_url(join_url(base, name)), side))
    except InputError as error:  # gone, or no picture: the other photographs are shown
        return Cell(None, type(error).__name__)


def _frames(sheet: Sheet) -> Iterator[Frame]:
    """Each row as a sheet of its own; pictures are padded to one size, so that all frames have one."""
    sizes = [cell.picture.shape[:2] for line in sheet.cells for cell in line if cell.picture is not None]
    height, width = (max((size[at] for size in sizes), default=96) for at in (0, 1))
    gap = " " if any(cell.note for line in sheet.cells for cell in line) else ""
    for label, line in zip(sheet.row_labels or [""] * len(sheet.cells), sheet.cells, strict=True):
        cells = [Cell(_padded(cell.picture, height, width), cell.note or gap) for cell in line]
        frame = Sheet([cells], [], sheet.column_labels, label or " ")
        yield np.rint(images.decode(frame.png()).pixels * 255).astype(np.uint8)


def _padded(picture: Picture | None, height: int, width: int) -> Picture:
    """The picture in the middle of one of this size (h, w)."""
    padded = np.full((height, width, 3), _BLANK, np.float32)
    if picture is not None:
        top, left = (height - picture.shape[0]) // 2, (width - picture.shape[1]) // 2
        padded[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return padded
