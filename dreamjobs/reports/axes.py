"""Rows of the results -> the cells of a sheet: one photograph (or several, on an axis) over two swept parameters.

What may be an axis is every parameter, every column `meta_*`, and `image`. What else varies is held at one value, so
that a cell is one picture; of several that remain, with other weights perhaps, the latest is shown.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dreamjobs.errors import InputError
from dreamjobs.gallery.data import Field, Row, Table
from dreamjobs.manifest import META_PREFIX
from dreamjobs.params import nearest

IMAGE = "image"
_TOLD = 12  # values or names that a message lists


@dataclass(frozen=True)
class Asked:
    """What a person asks of a sheet: names of axes, a photograph, and values that are held; None leaves it open.

    What is `moving` shows its rows one after another, so it has rows, and columns only where they are asked for.
    """

    rows: str | None = None
    columns: str | None = None
    image: str | None = None
    where: Mapping[str, Any] = field(default_factory=dict)
    moving: bool = False


@dataclass(frozen=True)
class Axis:
    """A swept name and its values, sorted; an axis without a name has one value, and no label."""

    name: str = ""
    values: tuple[Any, ...] = (None,)

    @property
    def labels(self) -> list[str]:
        """What stands at the edge of the sheet, a text for each value."""
        if self.name == IMAGE:
            return [_file_name(value) for value in self.values]
        said = "" if self.name == "objective" else f"{self.name} "
        return [said + show(value) for value in self.values] if self.name else []


@dataclass(frozen=True)
class Held:
    """A name that varies too, and the one of its values that is shown."""

    name: str
    value: Any
    others: tuple[Any, ...]


@dataclass(frozen=True)
class Sweep:
    """The rows of a sheet, None where there is none; `image` is the photograph, empty if photographs are an axis."""

    down: Axis
    across: Axis
    image: str
    held: tuple[Held, ...]
    cells: tuple[tuple[Row | None, ...], ...]

    @property
    def title(self) -> str:
        """The photograph's file, the axes and what is held, in one line."""
        axes = [f"{axis.name} {way}" for axis, way in ((self.down, "down"), (self.across, "across")) if axis.name]
        held = [f"{item.name} {show(item.value)}" for item in self.held]
        return ", ".join(filter(None, [_file_name(self.image), *axes, *held]))


def arrange(rows: Sequence[Row], asked: Asked) -> Sweep:
    """The cells that `asked` asks for; the two names that vary most are the axes where it names none.

    Raises:
        InputError: for no results, an axis or a photograph that there is not, or values that no result has; it says
            what varies, which photographs there are, and the nearest name.
    """
    if not rows:
        raise InputError("there are no results yet; `dreamjobs run` makes some")
    _check_names(rows, asked)
    chosen = _held_by_hand([_plain(row) for row in rows], asked.where)
    image = "" if IMAGE in (asked.rows, asked.columns) else _photograph(chosen, asked.image)
    chosen = [row for row in chosen if not image or row[IMAGE] == image]
    down, across = _axes(chosen, asked)
    chosen, held = _hold_the_rest(chosen, (down.name, across.name))
    # Held values may leave an axis fewer of its own.
    down, across = (_axis(chosen, axis.name) for axis in (down, across))
    return Sweep(down, across, image, held, _cells(chosen, down, across))


def show(value: Any) -> str:
    """A value as one would write it after `--set`, but that text is not quoted."""
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def varying(rows: Sequence[Row]) -> list[Field]:
    """The parameters and `meta_*` in which rows differ, those with most values first."""
    return sorted(filter(_differs, Table.of(rows).fields), key=lambda item: -len(item.values))


def _plain(row: Row) -> Row:
    """The row with lists, dates and the like in `meta_*` as text, so that they can be compared and looked up."""
    mine = [name for name, value in row.items() if name.startswith(META_PREFIX) and not _is_plain(value)]
    return row | {name: str(row[name]) for name in mine}


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value))


def _differs(item: Field) -> bool:
    return item.varies


def _check_names(rows: Sequence[Row], asked: Asked) -> None:
    """Raise InputError for an axis that cannot be one."""
    known = [IMAGE, *(item.name for item in Table.of(rows[:1]).fields)]
    options = [("--rows", asked.rows), ("--cols", asked.columns), *(("--where", name) for name in asked.where)]
    for option, name in options:
        if name is not None and name not in known:
            raise InputError(f"{option} {name!r} is not known{nearest(name, known)}\n  {_what_varies(rows)}")
    if asked.rows is not None and asked.rows == asked.columns:
        raise InputError(f"--rows and --cols are both {asked.rows!r}; leave one out for a strip")
    if asked.moving and asked.columns and not asked.rows:
        raise InputError(f"an animation goes through --rows; give it one, or --rows {asked.columns} alone")
    if asked.image is not None and IMAGE in (asked.rows, asked.columns):
        raise InputError("--image names one photograph, but photographs are an axis; leave one of them out")


def _what_varies(rows: Sequence[Row]) -> str:
    found = [f"{item.name} ({_listed(item.values)})" for item in varying(rows)]
    return f"What varies: {'; '.join(found)}" if found else "Nothing varies but photographs"


def _held_by_hand(rows: Sequence[Row], where: Mapping[str, Any]) -> list[Row]:
    chosen = list(rows)
    for name, value in where.items():
        wanted = {_same(item) for item in (value if isinstance(value, list) else [value])}
        kept = [row for row in chosen if _same(row.get(name)) in wanted]
        if not kept:
            there = dict.fromkeys(show(row.get(name)) for row in chosen)
            raise InputError(f"--where {name}={show(value)}: no result has it; there are {_listed(sorted(there))}")
        chosen = kept
    return chosen


def _same(value: Any) -> str:
    """Values that are one to a person: 2 and 2.0, and 64 in a column of text."""
    is_whole = isinstance(value, float) and value.is_integer()
    return str(int(value)) if is_whole else str(value) if isinstance(value, float) else show(value)


def _photograph(rows: Sequence[Row], name: str | None) -> str:
    """The photograph of that name, of that file name, or of that file name without its ending; else the first."""
    images = list(dict.fromkeys(row[IMAGE] for row in rows))
    if name is None:
        return str(images[0])
    for way in (str, _file_name, _stem):
        found = [image for image in images if way(image) == name]
        if len(found) == 1:
            return str(found[0])
        if found:
            raise InputError(f"--image {name!r} is the name of {len(found):,} photographs: {_listed(found)}")
    names = [*images, *map(_file_name, images), *map(_stem, images)]
    close = nearest(name, dict.fromkeys(names))
    said = f"--image {name!r} is none of the {len(images):,} photographs{close if 'did you mean' in close else ''}"
    raise InputError(f"{said}\n  There are {_listed(images)}")


def _file_name(image: str) -> str:
    return image.rstrip("/").rpartition("/")[2]


def _stem(image: str) -> str:
    return _file_name(image).rpartition(".")[0]


def _listed(values: Iterable[Any]) -> str:
    texts = [show(value) for value in values]
    more = f" and {len(texts) - _TOLD:,} more" if len(texts) > _TOLD else ""
    return ", ".join(texts[:_TOLD]) + more


def _axes(rows: Sequence[Row], asked: Asked) -> tuple[Axis, Axis]:
    """Down and across. One name alone is a strip; with none, what varies most goes across a screen's longer side."""
    if asked.rows or asked.columns:
        return _axis(rows, asked.rows or ""), _axis(rows, asked.columns or "")
    most = [item.name for item in varying(rows)[:2]]
    across, down = [*most, "", ""][:2]
    if asked.moving:
        return _axis(rows, across), Axis()
    return _axis(rows, down), _axis(rows, across)


def _axis(rows: Sequence[Row], name: str) -> Axis:
    if not name:
        return Axis()
    if name == IMAGE:
        return Axis(IMAGE, tuple(dict.fromkeys(row[IMAGE] for row in rows)))
    (values,) = (item.values for item in Table.of(rows).fields if item.name == name)
    return Axis(name, values)


def _hold_the_rest(rows: Sequence[Row], axes: tuple[str, str]) -> tuple[list[Row], tuple[Held, ...]]:
    """Rows that differ in the axes only: of each other name its default if there is one, else its first value."""
    chosen, held = list(rows), []
    for name in [item.name for item in varying(rows) if item.name not in axes]:
        (found,) = (item for item in Table.of(chosen).fields if item.name == name)
        if found.varies:  # it may not any more, now that others are held
            value = found.default if found.default in found.values else found.values[0]
            held.append(Held(name, value, tuple(item for item in found.values if item != value)))
            chosen = [row for row in chosen if row.get(name) == value]
    return chosen, tuple(held)


def _cells(rows: Sequence[Row], down: Axis, across: Axis) -> tuple[tuple[Row | None, ...], ...]:
    latest = {
        (row.get(down.name), row.get(across.name)): row
        for row in sorted(rows, key=lambda row: (row["status"] == "done", row["finished"]))
    }
    return tuple(tuple(latest.get((y, x)) for x in across.values) for y in down.values)
