"""Reads a manifest row by row, never the whole table.

Parquet written by pyarrow, pandas, polars or DuckDB is read: plain, large, view and dictionary strings, any integer
or float width, any kind of list.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dreamjobs.errors import ManifestError, NotFoundError
from dreamjobs.manifest.columns import META_PREFIX, check_columns, to_python
from dreamjobs.params import CELL_NAMES
from dreamjobs.storage import open_store, split_url

_BATCH_ROWS = 4096
_HASH_CHUNK_BYTES = 1 << 22


@dataclass(frozen=True)
class Row:
    """One row: its number from 1, its cells by column, null cells left out."""

    number: int
    cells: dict[str, Any]

    @property
    def params(self) -> dict[str, Any]:
        """The cells that are parameters."""
        return {name: self.cells[name] for name in CELL_NAMES if name in self.cells}

    @property
    def meta(self) -> dict[str, Any]:
        """The cells that are carried to the results."""
        return {name: value for name, value in self.cells.items() if name.startswith(META_PREFIX)}


@dataclass(frozen=True)
class Manifest:
    """A manifest in storage. `base` is the folder that its relative paths start from."""

    url: str
    base: str
    rows: int
    digest: str

    def read(self, is_wanted: Callable[[range], bool] = lambda numbers: True) -> Iterator[Row]:
        """Every row in order, a batch of them in memory at a time.

        A batch whose rows' numbers are not wanted is passed over.
        """
        end = 1
        with _Opened(self.url) as file:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                numbers = range(end, end + batch.num_rows)
                end = numbers.stop
                if is_wanted(numbers):
                    yield from _rows(batch, numbers)


def open_manifest(url: str, base: str | None = None) -> Manifest:
    """The manifest at a path or `s3://` url, its columns checked; `base` if its relative paths start elsewhere.

    Raises:
        ManifestError: if it is no Parquet file or has columns that are not known.
        NotFoundError, AccessError: if it cannot be read.
    """
    with _Opened(url) as file:
        check_columns(file.schema_arrow)
        rows = file.metadata.num_rows
    return Manifest(url, base if base is not None else split_url(url).base, rows, _digest(url))


def _rows(batch: pa.RecordBatch, numbers: range) -> Iterator[Row]:
    columns = {name: to_python(name, batch.column(name)) for name in batch.schema.names}
    for number, values in zip(numbers, zip(*columns.values(), strict=True), strict=True):
        yield Row(number, {name: value for name, value in zip(columns, values, strict=True) if value is not None})


class _Opened:
    """A Parquet file opened for reading, local or on S3, as a context."""

    def __init__(self, url: str) -> None:
        parts = split_url(url)
        store = open_store(parts.base)
        if not store.exists(parts.key):
            raise NotFoundError(f"there is no manifest at {url!r}; make one with `dreamjobs manifest`")
        self._filesystem, root = store.arrow()
        self._path = f"{root.rstrip('/')}/{parts.key}"
        self._url = url

    def __enter__(self) -> pq.ParquetFile:
        try:
            self._file = pq.ParquetFile(self._path, filesystem=self._filesystem, pre_buffer=True)
        except _UNREADABLE as error:
            raise ManifestError(f"{self._url!r} is no Parquet file: {error}") from None
        return self._file

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._file.close()
        if isinstance(error, _UNREADABLE):
            raise ManifestError(f"{self._url!r} is a damaged Parquet file: {error}; write it again") from None


_UNREADABLE = (pa.ArrowException, OSError)


def _digest(url: str) -> str:
    """SHA-256 over the file's bytes, read in pieces."""
    parts = split_url(url)
    store, start, hasher = open_store(parts.base), 0, hashlib.sha256()
    while chunk := store.get_range(parts.key, start, _HASH_CHUNK_BYTES):
        hasher.update(chunk)
        start += len(chunk)
    return hasher.hexdigest()
