"""The columns of a manifest: their names and types, and what is wrong with those of a given file.

Parquet, one row an image. `image` is needed; `size_bytes`, and `etag` or `mtime` (nanoseconds since 1970), are
written by the builder and are part of a job's identity; `width` and `height` are pixels; any parameter may be a
column, a scalar or a list (an axis of the row's grid); columns `meta_*` are carried to the results.
"""

import typing
from typing import Any

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
