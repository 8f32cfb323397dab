"""The manifest's columns as a page of the documents.

Nothing of it is a list kept beside the code: names, types and defaults come from the model, and which Parquet types a
column may have is found by reading a value of each type as a manifest's is read.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa

from dreamjobs import grid
from dreamjobs.errors import ParamsError
from dreamjobs.manifest.columns import (
    META_PREFIX,
    SOURCE_FIELDS,
    WHOLE_NAMES,
    carried_type,
    param_type,
    to_python,
    whole,
)
from dreamjobs.params import CELL_NAMES, DreamParams, allowed, json_schema, make_params
from dreamjobs.presets import PRESETS

COMMAND = 'python -c "from dreamjobs.manifest.schema import markdown_page; print(markdown_page())"'

FAMILIES: dict[str, tuple[pa.DataType, ...]] = {
    "STRING": (pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())),
    "INT": (
        *(pa.int8(), pa.int16(), pa.int32(), pa.int64()),
        *(pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
    ),
    "FLOAT": (pa.float16(), pa.float32(), pa.float64()),
    "DECIMAL": (pa.decimal128(9, 2), pa.decimal256(50, 2)),
    "BOOLEAN": (pa.bool_(),),
}
"""Types that are accepted or refused together, as Arrow has them."""

_FAMILY_WORDS = {
    "STRING": "text; dictionary-coded, large and view strings too",
    "INT": "8 to 64 bits, signed or not; of 64 unsigned bits what is below 2^63",
    "FLOAT": "FLOAT16, FLOAT, DOUBLE; a FLOAT stands for the number as it was written: 1.4, not 1.39999998",
    "DECIMAL": "of any precision",
    "BOOLEAN": "true and false",
}
_SOURCES = {
    "image": "a path, relative ones relative to the manifest's folder, or `s3://bucket/key`; with a `/` at the end a "
    "folder of a video's frames; `noise:anything` is no photograph. Needed",
    "size_bytes": "size of the file; part of the job's identity",
    "etag": "version of the file on S3; part of the job's identity",
    "mtime": "version of a local file, nanoseconds since 1970; part of the job's identity where there is no `etag`",
    "width": "pixels, upright; keeps the pictures in flight within memory",
    "height": "likewise",
}
_PARQUET = {"string": "STRING", "int32": "INT32", "int64": "INT64", "double": "DOUBLE", "bool": "BOOLEAN"}
_TRIED = (0, 1, 2, 50, 512, 0.0, 0.25, 0.5, 1.5, 2.0, 50.0, True, "true", "1", "text")
_CARRIED = (
    *(pa.string(), pa.bool_(), pa.int32(), pa.int64(), pa.uint64(), pa.float16(), pa.float32(), pa.float64()),
    *(pa.decimal128(9, 2), pa.date32(), pa.timestamp("ms"), pa.timestamp("ns", "UTC"), pa.list_(pa.int64())),
    *(pa.time64("us"), pa.binary(), pa.struct([("a", pa.int64())]), pa.map_(pa.string(), pa.string())),
)
_EXAMPLE: dict[str, Any] = {"objective": ["mix4b", "mix8c"], "octaves": [3, 4], "steps": 20}


def source_families(name: str) -> list[str]:
    """The families of types that a column of the photograph may have."""
    return _families(name, lambda value: whole(value) is not None if name in WHOLE_NAMES else isinstance(value, str))


def param_families(name: str) -> list[str]:
    """The families of types that a parameter's values may have; lists have these as items."""
    return _families(name, lambda value: _is_allowed(name, value))


def _families(name: str, accepts: Callable[[Any], bool]) -> list[str]:
    """Those whose types hold something that is accepted, and all that they hold of it is accepted once it is read."""
    values = [value for value in _values(name) if value is not None and accepts(value)]
    read = {family: [_read(name, values, kind) for kind in kinds] for family, kinds in FAMILIES.items()}
    return [family for family, cells in read.items() if any(cells) and all(map(accepts, itertools.chain(*cells)))]


def _values(name: str) -> list[Any]:
    """Values to try: what the model names for a parameter, and a few of every kind."""
    if name not in DreamParams.model_fields:
        return [*PRESETS, *_TRIED]
    schema = json_schema()[name]
    options = [schema, *schema.get("anyOf", [])]
    named = [value for option in options for value in (*option.get("enum", ()), *option.get("examples", ()))]
    return [DreamParams.model_fields[name].default, *named, *_TRIED]


def _read(name: str, values: Sequence[Any], kind: pa.DataType) -> list[Any]:
    """Those of the values that the type can hold, as a manifest's reader gives them."""
    columns = []
    for value in values:
        if isinstance(value, float) and pa.types.is_integer(kind):
            continue  # it would be cut to a whole number
        with suppress(pa.ArrowException, TypeError, ValueError):
            columns.append(pa.array([value], kind))
    return [cell for column in columns for cell in to_python(name, column)]


def _is_allowed(name: str, value: Any) -> bool:
    try:
        make_params({name: value})
    except ParamsError:
        return False
    return True


def markdown_page() -> str:
    """The page, whole, as docs/manifest-schema.md holds it."""
    parts = [_head(), _types(), _photograph(), _parameters(), _axes(), _own_columns()]
    return "\n\n".join(text for part in parts for text in part)


def _head() -> Iterator[str]:
    yield "# The manifest's schema"
    yield f"Generated from the model: `{COMMAND}`."
    yield (
        "A manifest is a Parquet file, a row a photograph; [manifest.md](manifest.md) says what it is for. Only "
        "`image` is needed. Columns may stand in any order; one of another name is an error that says the nearest one. "
        "A null is what is not known, or the default."
    )


def _types() -> Iterator[str]:
    yield "## Types"
    yield "What the tables below call a type is any of these in the file:"
    yield _table(("type", "in the file"), ([f"`{name}`", words] for name, words in _FAMILY_WORDS.items()))


def _photograph() -> Iterator[str]:
    yield "## The photograph"
    yield _table(("column", "written as", "read from", "meaning"), map(_source_cells, SOURCE_FIELDS))


def _parameters() -> Iterator[str]:
    yield "## Parameters"
    yield (
        "A column holds one value a row, or a list of values a row (LIST; large and fixed-size ones too) whose items "
        "have these types. In a FLOAT or DECIMAL a whole number is one such as 4.0. What they mean: "
        "[parameters.md](parameters.md)."
    )
    yield _table(("column", "written as", "read from", "default", "allowed"), map(_param_cells, CELL_NAMES))


def _axes() -> Iterator[str]:
    yield "## Lists are axes"
    yield (
        "A list is an axis of the row's grid: the row's jobs are the product of its lists, the first in the order "
        "above varying slowest. A null in a list is the default; an empty list is an error. A row with "
        f"{', '.join(f'`{name}` {value}' for name, value in _EXAMPLE.items())} is {grid.count(_EXAMPLE)} jobs:"
    )
    yield _table(tuple(_EXAMPLE), ([f"{value}" for value in point.values()] for point in grid.points(_EXAMPLE)))


def _own_columns() -> Iterator[str]:
    yield "## Columns of your own"
    yield f"`{META_PREFIX}*` are carried to the results. A list is carried as it is: it is no axis."
    yield _table(("Arrow type", "in the results"), ([f"`{kind}`", _carried(kind)] for kind in _CARRIED))


def _source_cells(field: pa.Field) -> list[str]:
    read = ", ".join(source_families(field.name))
    return [f"`{field.name}`", _PARQUET[str(field.type)], read, _SOURCES[field.name]]


def _param_cells(name: str) -> list[str]:
    known = DreamParams.model_fields.get(name)
    default = f"`{known.default}`" if known and known.default is not None else "none"
    may_be = allowed(name) if known else ", ".join(f"`{preset}`" for preset in PRESETS)
    return [f"`{name}`", _PARQUET[str(param_type(name))], ", ".join(param_families(name)), default, may_be]


def _carried(kind: pa.DataType) -> str:
    carried = carried_type(kind)
    return f"`{carried}`" if carried else "refused: write it as text"


def _table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    return "\n".join([*head, *("| " + " | ".join(cells) + " |" for cells in rows)])
