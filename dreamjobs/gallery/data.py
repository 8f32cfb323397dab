"""Rows of the results -> what the page is given, in three parts, each so small as it can be.

`header` is read at once: the photographs' names, and each field (a parameter or `meta_*`) with the values that occur,
so that a row is a few small numbers and a filter compares numbers. `chunks` are the pictures in columns, read at once
too. `details` is what only the view of one picture shows, read when it is opened.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from dreamjobs.manifest import META_PREFIX
from dreamjobs.params import PARAM_NAMES, DreamParams

Row = dict[str, Any]

CHUNK_ROWS = 5000
DETAIL_ROWS = 200
_CURVE_POINTS = 120
_ID_LENGTH = 16  # of 32 hex digits: enough to tell pictures apart, and to type


@dataclass(frozen=True)
class Field:
    """A parameter, or a column `meta_*`: its default, and the values that occur, sorted."""

    name: str
    default: Any
    values: tuple[Any, ...]

    @property
    def varies(self) -> bool:
        """Whether rows differ in it."""
        return len(self.values) > 1

    def indices(self, rows: Sequence[Row]) -> list[int]:
        """Where each row's value stands among the values."""
        places = {_key(value): place for place, value in enumerate(self.values)}
        return [places[_key(_value(row, self.name))] for row in rows]


@dataclass(frozen=True)
class Table:
    """Done and failed rows in the order of the wall, photographs by first appearance, and their fields."""

    done: tuple[Row, ...]
    failed: tuple[Row, ...]
    images: tuple[str, ...]
    fields: tuple[Field, ...]

    @classmethod
    def of(cls, rows: Sequence[Row]) -> "Table":
        """Sort rows by photograph, as the manifest has them, and then by what varies."""
        fields = tuple(_field(name, rows) for name in _names(rows))
        varying = [field.indices(rows) for field in fields if field.varies]
        settings = list(zip(*varying, strict=True)) or [()] * len(rows)
        order = sorted(range(len(rows)), key=lambda at: (rows[at]["row"], settings[at], rows[at]["id"]))
        ordered = [rows[at] for at in order]
        return cls(
            tuple(row for row in ordered if row["status"] == "done"),
            tuple(row for row in ordered if row["status"] != "done"),
            tuple(dict.fromkeys(row["image"] for row in ordered)),
            fields,
        )


def header(table: Table, photographs: Sequence[str]) -> dict[str, Any]:
    """What the page is told first; `photographs` are the links of previews, in the order of images, empty for none."""
    return {
        "fields": [
            {
                "name": field.name,
                "meta": field.name.startswith(META_PREFIX),
                "default": _plain(field.default),
                "values": [_plain(value) for value in field.values],
                "large": any(map(_is_large, field.values)),
            }
            for field in table.fields
        ],
        "images": list(table.images),
        "photographs": list(photographs),
        "count": len(table.done),
        "detailRows": DETAIL_ROWS,
    }


def chunks(table: Table, previews: frozenset[str]) -> Iterator[dict[str, Any]]:
    """The pictures in columns, `CHUNK_ROWS` at a time; `previews` are the hashes of which there is one."""
    places = {image: place for place, image in enumerate(table.images)}
    for start in range(0, len(table.done), CHUNK_ROWS):
        rows = table.done[start : start + CHUNK_ROWS]
        yield {
            "id": [row["id"][:_ID_LENGTH] for row in rows],
            "image": [places[row["image"]] for row in rows],
            "output": [quote(row["output"]) for row in rows],
            "preview": [row["sha256"] if row["sha256"] in previews else "" for row in rows],
            "video": [int(is_video(row)) for row in rows],
            "width": [row["width"] for row in rows],
            "height": [row["height"] for row in rows],
            "start": [_short(row["objective_start"]) for row in rows],
            "end": [_short(row["objective_end"]) for row in rows],
            "seconds": [_short(row["dream_s"]) for row in rows],
            "finished": [row["finished"].timestamp() if row["finished"] else None for row in rows],
            "fields": {field.name: field.indices(rows) for field in table.fields if field.varies},
        }


def details(table: Table) -> Iterator[list[dict[str, Any]]]:
    """What the view of one picture shows besides, `DETAIL_ROWS` pictures at a time."""
    for start in range(0, len(table.done), DETAIL_ROWS):
        yield [_detail(row) for row in table.done[start : start + DETAIL_ROWS]]


def failures(table: Table) -> list[dict[str, Any]]:
    """Why jobs failed."""
    return [
        {
            "id": row["id"][:_ID_LENGTH],
            "image": row["image"],
            "settings": settings(row),
            "type": row["error_type"] or "",
            "error": row["error"] or "",
            "attempts": row["attempts"],
            "fields": {field.name: index for field in table.fields for index in field.indices([row])},
        }
        for row in table.failed
    ]


def settings(row: Row) -> str:
    """The objective, and the parameters that differ from the defaults."""
    fields = DreamParams.model_fields
    changed = [
        f"{name} {row[name]}"
        for name in PARAM_NAMES
        if name not in ("objective", "weights", "threads") and row.get(name) not in (None, fields[name].default)
    ]
    return ", ".join([row["objective"], *changed])


def is_video(row: Row) -> bool:
    """Whether what a job wrote moves: the video of a sequence or of a clip."""
    if row["output"].endswith(".mp4"):
        return True
    is_sequence = (row.get("frames") or 1) > 1 or row["image"].endswith("/")
    return is_sequence and row["output"].endswith(".webp") and row.get("video") == "webp"


def _detail(row: Row) -> dict[str, Any]:
    names = ("size_bytes", "source_width", "source_height", "attempts", "device", "algorithm", "weights_digest")
    seconds = {name: _short(row[f"{name}_s"]) for name in ("fetch", "decode", "dream", "encode", "put")}
    curve = _thinned(row["objective_curve"] or [])
    return {name: row[name] for name in names} | {"id": row["id"], "seconds": seconds} | curve


def _thinned(curve: list[float]) -> dict[str, Any]:
    """So many points of a curve as a small drawing shows, and how many there were."""
    step = max(1, math.ceil(len(curve) / _CURVE_POINTS))
    shown = [*curve[::step], *curve[-1:]] if step > 1 else curve
    return {"curve": [_short(value) for value in shown], "curveSteps": len(curve), "curveStep": step}


def _names(rows: Sequence[Row]) -> list[str]:
    """Every parameter, those that the results are too old to know left out, and every column `meta_*`."""
    there = dict.fromkeys(name for row in rows[:1] for name in row)
    return [name for name in PARAM_NAMES if name in there] + [name for name in there if name.startswith(META_PREFIX)]


def _field(name: str, rows: Sequence[Row]) -> Field:
    known = DreamParams.model_fields.get(name)
    values = {_key(value): value for value in (_value(row, name) for row in rows)}
    return Field(name, known.default if known else None, tuple(sorted(values.values(), key=_natural)))


def _value(row: Row, name: str) -> Any:
    value = row.get(name)
    is_scalar = value is None or isinstance(value, str | bool | int)
    return value if is_scalar or (isinstance(value, float) and math.isfinite(value)) else str(value)


def _key(value: Any) -> Any:
    """What tells values apart, so that true is not 1."""
    return type(value).__name__, value


def _natural(value: Any) -> tuple[Any, ...]:
    """None first, numbers by size, text with its numbers by size: mix4 before mix10."""
    if value is None:
        return (0,)
    if isinstance(value, int | float):
        return (1, value)
    parts = re.split(r"(\d+)", str(value))
    return (2, [(int(part), "") if part.isdecimal() else (-1, part) for part in parts], str(value))


def _plain(value: Any) -> Any:
    """What JavaScript keeps as it is: whole numbers beyond 2^53, seeds perhaps, are text."""
    return str(value) if _is_large(value) else value


def _is_large(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**53


def _short(value: float | None) -> float | None:
    """Five digits, which is more than a drawing shows; what is no number is none."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.5g}")
