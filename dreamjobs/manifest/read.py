"""Reads a manifest row by row and expands each row into its jobs; never the whole table.

Parquet written by pyarrow, pandas, polars or DuckDB is read: plain, large, view and dictionary strings, any integer
or float width, any kind of list.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dreamjobs import grid
from dreamjobs.errors import ManifestError, NotFoundError
from dreamjobs.jobs import NO_PHOTOGRAPH, Job, NamedFile, Source, file_names
from dreamjobs.manifest.columns import META_PREFIX, check_columns, to_python, whole
from dreamjobs.params import CELL_NAMES, DreamParams, make_params, names_file
from dreamjobs.storage import join_url, open_store, split_url

_BATCH_ROWS = 4096
_HASH_CHUNK_BYTES = 1 << 22

DigestOf = Callable[[str, str], str]
"""(net, weights) -> the digest of the weights."""


@dataclass(frozen=True)
class Known:
    """What stands behind the names in parameters: digests of weights, and files by name."""

    digest_of: DigestOf
    files: Mapping[str, NamedFile] = field(default_factory=dict)
    trusted: frozenset[str] = frozenset()


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

    def read(self) -> Iterator[Row]:
        """Every row in order, a batch of them in memory at a time."""
        number = 0
        with _Opened(self.url) as file:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                columns = {name: to_python(name, batch.column(name)) for name in batch.schema.names}
                for index in range(batch.num_rows):
                    number += 1
                    cells = {name: values[index] for name, values in columns.items() if values[index] is not None}
                    yield Row(number, cells)


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


def expand(row: Row, base: str, overrides: Mapping[str, Any], known: Known) -> Iterator[Job]:
    """The row's jobs, one for each point of its grid; `overrides` stand in place of its parameters.

    `known.trusted` are the nets that may name code, because the command line and not the manifest named them.
    """
    source = _source(row, base)
    for point in grid.points(row.params | dict(overrides)):
        params = point_params(point, base, known.trusted)
        files = tuple(known.files[name] for name in file_names(params))
        yield Job(row.number, source, params, known.digest_of(params.net, params.weights), row.meta, files)


def point_params(point: Mapping[str, Any], base: str, trusted: frozenset[str]) -> DreamParams:
    """Parameters of one point; a weights file's path is taken relative to `base`."""
    weights = point.get("weights")
    if isinstance(weights, str) and names_file(weights):
        point = {**point, "weights": join_url(base, weights)}
    return make_params(point, trusted=point.get("net") in trusted)


def _source(row: Row, base: str) -> Source:
    cells = row.cells
    mtime = f"mtime:{whole(cells['mtime'])}" if "mtime" in cells else ""
    version = f"etag:{cells['etag']}" if "etag" in cells else mtime
    image = cells["image"]
    return Source(
        image,
        _place(image, base),
        whole(cells.get("size_bytes")),
        version,
        whole(cells.get("width")),
        whole(cells.get("height")),
    )


def _place(image: str, base: str) -> str:
    """Where an image is: a file, a folder of frames if it ends with `/`, or nowhere."""
    if image.startswith(NO_PHOTOGRAPH):
        return image
    return join_url(base, image.rstrip("/")) + ("/" if image.endswith("/") else "")


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
