"""The columns of a manifest: their names and types, and what is wrong with those of a given file.

Parquet, one row an image. `image` is needed; `size_bytes`, and `etag` or `mtime` (nanoseconds since 1970), are
written by the builder and are part of a job's identity; `width` and `height` are pixels; any parameter may be a
column, a scalar or a list (an axis of the row's grid); columns `meta_*` are carried to the results.
"""

import typing
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from dreamjobs.errors import ManifestError
from dreamjobs.params import PARAM_NAMES, DreamParams, nearest

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


def param_type(name: str) -> pa.DataType:
    """The Parquet type of one value of a parameter: text wherever text is among what it may be."""
    allowed = _leaves(DreamParams.model_fields[name].annotation)
    if any(kind is str for kind in allowed):
        return pa.string()
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
    """The whole number, at least 0, that a cell holds, 4.0 being one; None if it holds something else."""
    fits = isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 and value % 1 == 0
    return int(value) if fits else None


def to_python(name: str, column: pa.Array) -> list[Any]:
    """A column's cells. A parameter's narrow floats and decimals become the number as it was written, 1.4."""
    convert = _conversion(column.type) if name in PARAM_NAMES else None
    cells: list[Any] = column.to_pylist()
    return [None if cell is None else convert(cell) for cell in cells] if convert else cells


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
    """Raise ManifestError listing every column that is unknown, and `image` if it is not there."""
    known = [*SOURCE_NAMES, *PARAM_NAMES]
    wrong = [
        f"column {name!r} is not known{nearest(name, known)}"
        for name in schema.names
        if name not in known and not name.startswith(META_PREFIX)
    ]
    wrong += [f"column {name!r} stands there twice" for name in set(schema.names) if schema.names.count(name) > 1]
    if "image" not in schema.names:
        wrong.append("column 'image' is missing: the path or s3:// url of each photograph")
    if wrong:
        raise ManifestError(
            "this is no manifest: " + "; ".join(wrong) + f". A column of your own is named {META_PREFIX}*"
        )
