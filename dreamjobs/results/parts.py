"""Parts, the Parquet files of the results: listed, encoded, and read as one whatever columns each has."""

import contextlib
import io
from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq

from dreamjobs.errors import StorageError
from dreamjobs.jobs import Keys
from dreamjobs.manifest import META_PREFIX
from dreamjobs.results.rows import SCHEMA
from dreamjobs.storage import ObjectInfo, Store


def list_parts(store: Store, prefix: str) -> list[ObjectInfo]:
    """The parts whose names begin with `prefix`, in order."""
    return [info for info in store.list(Keys.RESULTS + prefix) if info.key.endswith(".parquet")]


def to_table(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows as a table of the schema, with the columns `meta_*` that any row has, of the type they suggest."""
    names = dict.fromkeys(name for row in rows for name in row if name.startswith(META_PREFIX))
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    for name in names:
        table = table.append_column(name, pa.array([row.get(name) for row in rows]))
    return table


def encode(table: pa.Table) -> bytes:
    """A table as a part."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def batches(store: Store, keys: list[str], columns: Collection[str]) -> Iterator[pa.RecordBatch]:
    """The rows of some parts; a column that a part lacks is null."""
    schema = pa.schema([SCHEMA.field(name) for name in columns])
    filesystem, root = store.arrow()
    for key in keys:
        with _opened(f"{root.rstrip('/')}/{key}", filesystem) as file:
            there = [name for name in columns if name in file.schema_arrow.names]
            for batch in file.iter_batches(columns=there):
                yield pa.RecordBatch.from_arrays([_column(batch, field) for field in schema], schema=schema)


def _column(batch: pa.RecordBatch, field: pa.Field) -> pa.Array:
    there = field.name in batch.schema.names
    return batch[field.name].cast(field.type) if there else pa.nulls(batch.num_rows, field.type)


def read_parts(store: Store, keys: list[str], columns: Collection[str] | None) -> pa.Table:
    """All rows of some parts; the columns that choosing the current ones takes are always there."""
    if not keys:
        return SCHEMA.empty_table()
    filesystem, root = store.arrow()
    wanted = None if columns is None else sorted({*columns, "id", "row", "status", "finished"})
    tables = [_read_part(f"{root.rstrip('/')}/{key}", filesystem, wanted) for key in keys]
    if wanted is not None:  # what an older version's parts lack is null
        tables.append(SCHEMA.empty_table().select([name for name in SCHEMA.names if name in wanted]))
    return _concat(tables)


def _read_part(path: str, filesystem: pa.fs.FileSystem, columns: list[str] | None) -> pa.Table:
    """A part's rows; of the columns asked for, those that it has."""
    with _opened(path, filesystem) as file:
        there = file.schema_arrow.names
        return file.read(None if columns is None else [name for name in columns if name in there])


@contextlib.contextmanager
def _opened(path: str, filesystem: pa.fs.FileSystem) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path, filesystem=filesystem, pre_buffer=True) as file:
            yield file
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise StorageError(f"results part {path!r} cannot be read: {error}") from None


def _concat(tables: list[pa.Table]) -> pa.Table:
    """All rows; a `meta_*` column that has not one type in all parts, because manifests differed, becomes text."""
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        kinds = {(field.name, field.type) for table in tables for field in table.schema}
        names = Counter(name for name, _ in kinds if name.startswith(META_PREFIX))
        several = {name for name, count in names.items() if count > 1}
        return pa.concat_tables([_as_text(table, several) for table in tables], promote_options="permissive")


def _as_text(table: pa.Table, names: Collection[str]) -> pa.Table:
    for name in set(names).intersection(table.schema.names):
        cells = [None if cell is None else str(cell) for cell in table[name].to_pylist()]
        index = table.schema.get_field_index(name)
        table = table.set_column(index, name, pa.array(cells, pa.string()))
    return table
