"""Writes a manifest's rows to a Parquet file."""

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dreamjobs.manifest.columns import SOURCE_FIELDS, param_type

_ROWS_A_GROUP = 8192


class Writer:
    """Writes a row for each of the `mappings` of parameters, a row group at a time."""

    def __init__(self, path: str, mappings: list[dict[str, Any]]) -> None:
        self._mappings = mappings
        self._schema = _schema(mappings)
        self._file = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._rows: list[dict[str, Any]] = []

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()
        self._file.close()

    def add(self, row: dict[str, Any]) -> None:
        """A photograph's row with each of the mappings."""
        for mapping in self._mappings:
            self.add_one(row, mapping)

    def add_one(self, row: dict[str, Any], mapping: dict[str, Any]) -> None:
        """A photograph's row with one mapping."""
        self._rows.append(row | {name: self._cell(name, value) for name, value in mapping.items()})
        if len(self._rows) >= _ROWS_A_GROUP:
            self._flush()

    def _cell(self, name: str, value: Any) -> Any:
        kind = self._schema.field(name).type
        is_list = pa.types.is_list(kind)
        text = pa.types.is_string(kind.value_type if is_list else kind)
        items = value if isinstance(value, list) else [value]
        values = [str(item) if text and item is not None else item for item in items]
        return values if is_list else values[0]

    def _flush(self) -> None:
        if self._rows:
            self._file.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
            self._rows.clear()


def _schema(mappings: list[dict[str, Any]]) -> pa.Schema:
    """The source's columns, then a column for each parameter: a list if any mapping gives one."""
    names = dict.fromkeys(name for mapping in mappings for name in mapping)
    fields = list(SOURCE_FIELDS)
    for name in names:
        is_axis = any(isinstance(mapping.get(name), list) for mapping in mappings)
        fields.append(pa.field(name, pa.list_(param_type(name)) if is_axis else param_type(name)))
    return pa.schema(fields)
