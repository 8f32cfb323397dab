"""The columns of a manifest: their names and types, and what is wrong with those of a given file.

Parquet, one row an image. `image` is needed; `size_bytes`, and `etag` or `mtime` (nanoseconds since 1970), are
written by the builder and are part of a job's identity; `width` and `height` are pixels; any parameter may be a
column, a scalar or a list (an axis of the row's grid); columns `meta_*` are carried to the results: numbers, text,
booleans, dates, timestamps (in microseconds) and lists of these.
"""

import functools
import typing
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dreamjobs.errors import ManifestError
from dreamjobs.params import CELL_NAMES, DreamParams, nearest

SOURCE_FIELDS = (
    pa.field("image", pa.string()),
    pa.field("size_bytes", pa.int64()),
    pa.field("etag", pa.string()),
    pa.field("mtime", pa.int64()),
    pa.field("width", pa.int32()),
    pa.field("height", pa.int32()),
)
SOURCE_NAMES = tuple(field.name for field in SOURCE_FIELDS)
META_PREFIX = "meta_"
WHOLE_NAMES = ("size_bytes", "mtime", "width", "height")
_WHOLE_END = 2**63  # what the results' columns hold


@functools.cache
def param_type(name: str) -> pa.DataType:
    """The Parquet type of one value of a parameter: text wherever text is among what it may be."""
    if name == "preset":
        return pa.string()
    allowed = _leaves(DreamParams.model_fields[name].annotation)
    if any(kind is str for kind in allowed):
        return pa.string()
    if bool in allowed:
        return pa.bool_()
    return pa.float64() if float in allowed else pa.int64()


def _leaves(annotation: Any) -> set[type]:
    """The plain types in an annotation: those of its values where it lists values."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return {type(value) for value in arguments}
    if origin is typing.Annotated:
        return _leaves(arguments[0])
    if arguments:
        return set().union(*map(_leaves, arguments))
    return {annotation}


def whole(value: Any) -> int | None:
    """The whole number, at least 0 and below 2^63, in a cell, 4.0 being one; None if it holds something else."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    fits = is_number and 0 <= value < _WHOLE_END and value % 1 == 0
    return int(value) if fits else None


def to_python(name: str, column: pa.Array) -> list[Any]:
    """A column's cells. A parameter's narrow floats and decimals become the number as it was written, 1.4.

    Raises:
        ManifestError: if a cell is beyond what Python or the results can hold.
    """
    convert = _conversion(column.type) if name in CELL_NAMES else None
    try:
        cells: list[Any] = (_carried(column) if name.startswith(META_PREFIX) else column).to_pylist()
    except (pa.ArrowException, ValueError, OverflowError) as error:
        raise ManifestError(f"column {name!r} ({column.type}) has a cell that cannot be read: {error}") from None
    return [None if cell is None else convert(cell) for cell in cells] if convert else cells


def _carried(column: pa.Array) -> pa.Array:
    kind = carried_type(column.type)
    return column if kind == column.type else pc.cast(column, options=pc.CastOptions(kind, allow_time_truncate=True))


def carried_type(kind: pa.DataType) -> pa.DataType | None:
    """The type as which the results carry a column: one that Python's values give back; None if there is none."""
    kinds = pa.types
    if kinds.is_dictionary(kind):
        return carried_type(kind.value_type)
    if any(is_list(kind) for is_list in _LISTS):
        items = carried_type(kind.value_type)
        return items and pa.list_(items)
    if kinds.is_timestamp(kind):
        return pa.timestamp("us", kind.tz)  # Python's have no nanoseconds
    if kinds.is_uint64(kind):
        return pa.int64()
    if kinds.is_float16(kind):
        return pa.float32()
    return kind if any(is_scalar(kind) for is_scalar in _SCALARS) else None


_LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
_SCALARS = (
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_decimal,
    pa.types.is_boolean,
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
    pa.types.is_date,
    pa.types.is_null,
)


def _conversion(kind: pa.DataType) -> Callable[[Any], Any] | None:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        convert = _conversion(kind.value_type)
        return convert and (lambda cell: [None if item is None else convert(item) for item in cell])
    if pa.types.is_decimal(kind):
        return float
    return _written if pa.types.is_float32(kind) else None


def _written(value: float) -> float:
    return float(str(np.float32(value)))


def check_columns(schema: pa.Schema) -> None:
    """Raise ManifestError listing every column that is unknown or cannot be carried, and `image` if it is not there."""
    known = [*SOURCE_NAMES, *CELL_NAMES]
    wrong = [
        f"column {name!r} is not known{nearest(name, known)}"
        for name in schema.names
        if name not in known and not name.startswith(META_PREFIX)
    ]
    wrong += [f"column {name!r} stands there twice" for name in set(schema.names) if schema.names.count(name) > 1]
    wrong += [
        f"column {field.name!r} holds {field.type}; what is carried is numbers, text, booleans, dates, timestamps "
        "and lists of these: write it as text"
        for field in schema
        if field.name.startswith(META_PREFIX) and carried_type(field.type) is None
    ]
    if "image" not in schema.names:
        wrong.append("column 'image' is missing: the path or s3:// url of each photograph")
    if wrong:
        raise ManifestError(
            "this is no manifest: " + "; ".join(wrong) + f". A column of your own is named {META_PREFIX}*"
        )
