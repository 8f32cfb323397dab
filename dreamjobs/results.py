"""The results of a run: a Parquet dataset under RUN/results, a row a job, written in parts and read as one.

Parts are only ever added; a part is put whole. Of several rows for one job the current one is a done one before a
failed one, and otherwise the latest. `compact` replaces parts by one that holds their current rows, putting the new
before it deletes the old, so that a crash between leaves rows twice but loses none.
"""

import contextlib
import io
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs
import pyarrow.parquet as pq

from dreamjobs.errors import StorageError
from dreamjobs.jobs import Keys, Outcome
from dreamjobs.manifest import META_PREFIX, param_type
from dreamjobs.params import PARAM_NAMES
from dreamjobs.storage import ObjectInfo, Store

FLUSH_ROWS = 2000
FLUSH_S = 2.0
PART_BYTES = 8 << 20  # more are merged no further: some 100 MB of memory
_READ_ATTEMPTS = 10

_Taken = TypeVar("_Taken")

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("row", pa.int64()),
        ("image", pa.string()),
        ("status", pa.string()),
        ("output", pa.string()),
        ("attempts", pa.int32()),
        ("error_type", pa.string()),
        ("error", pa.string()),
        ("traceback", pa.string()),
        ("source_version", pa.string()),
        ("source_size_bytes", pa.int64()),
        ("source_width", pa.int32()),
        ("source_height", pa.int32()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("size_bytes", pa.int64()),
        ("sha256", pa.string()),
        ("weights_digest", pa.string()),
        ("algorithm", pa.int32()),
        ("look", pa.string()),
        ("objective_start", pa.float64()),
        ("objective_end", pa.float64()),
        ("objective_curve", pa.list_(pa.float32())),
        ("fetch_s", pa.float64()),
        ("decode_s", pa.float64()),
        ("dream_s", pa.float64()),
        ("encode_s", pa.float64()),
        ("put_s", pa.float64()),
        ("device", pa.string()),
        ("node", pa.string()),
        ("actor", pa.string()),
        ("overlap_error", pa.float64()),
        ("finished", pa.timestamp("us", tz="UTC")),
        ("versions", pa.map_(pa.string(), pa.string())),
        *((name, param_type(name)) for name in PARAM_NAMES),
    ]
)


def to_row(outcome: Outcome, algorithm: int, versions: dict[str, str]) -> dict[str, Any]:
    """An outcome as a row of the dataset, `meta_*` columns included."""
    job, failure = outcome.job, outcome.failure
    row: dict[str, Any] = {
        "id": job.id,
        "row": job.row,
        "image": job.source.image,
        "status": outcome.status,
        "attempts": outcome.attempts,
        "error_type": failure.type if failure else None,
        "error": failure.message if failure else None,
        "traceback": failure.traceback or None if failure else None,
        "source_version": job.source.version,
        "source_size_bytes": job.source.size_bytes,
        "weights_digest": job.weights_digest,
        "algorithm": algorithm,
        "look": job.look,
        "finished": outcome.finished,
        "versions": list(versions.items()),
    }
    params = {name: _param(name, value) for name, value in job.params.model_dump().items()}
    return row | _artifact_cells(outcome) | params | job.meta


def _param(name: str, value: Any) -> Any:
    return str(value) if value is not None and pa.types.is_string(param_type(name)) else value


def _artifact_cells(outcome: Outcome) -> dict[str, Any]:
    artifact = outcome.artifact
    if artifact is None:
        return {}
    seconds, curve = artifact.seconds, artifact.objective
    return {
        "output": artifact.key,
        "source_width": artifact.source_width,
        "source_height": artifact.source_height,
        "width": artifact.width,
        "height": artifact.height,
        "size_bytes": artifact.size_bytes,
        "sha256": artifact.sha256,
        "objective_start": curve[0] if curve else None,
        "objective_end": curve[-1] if curve else None,
        "objective_curve": list(curve),
        "fetch_s": seconds.fetch,
        "decode_s": seconds.decode,
        "dream_s": seconds.dream,
        "encode_s": seconds.encode,
        "put_s": seconds.put,
        "device": artifact.device,
        "node": artifact.node,
        "actor": artifact.actor,
        "overlap_error": artifact.overlap_error,
    }


class Appender:
    """Gathers rows and puts them as parts: every `FLUSH_S` seconds or `FLUSH_ROWS` rows, and at `flush`.

    `stamp` must differ between runs of a shard; the clock is a parameter for tests.
    """

    def __init__(self, store: Store, shard: str, stamp: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._shard, self._stamp, self._clock = store, shard, stamp, clock
        self._rows: list[dict[str, Any]] = []
        self._number = 0
        self._flushed_at = clock()

    @property
    def parts(self) -> int:
        """How many parts were put."""
        return self._number

    def add(self, row: dict[str, Any]) -> None:
        """Take a row; it is durable after the next flush."""
        self._rows.append(row)
        self.flush_if_due()

    def flush_if_due(self) -> None:
        """Put what was gathered if it is time."""
        if len(self._rows) >= FLUSH_ROWS or self._clock() - self._flushed_at >= FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Put what was gathered, as one part."""
        self._flushed_at = self._clock()
        if not self._rows:
            return
        self._store.put(Keys.results_part(self._shard, self._stamp, self._number), _encode(_to_table(self._rows)))
        self._number += 1
        self._rows.clear()


def read(store: Store, columns: Collection[str] | None = None, *, prefix: str = "") -> pa.Table:
    """The current row of every job, in the order of manifest rows; `prefix` restricts it to some parts."""
    return _steadily(store, prefix, lambda keys: current(_read_parts(store, keys, columns), columns))


def gather(store: Store, columns: Collection[str], take: Callable[[Iterable[pa.RecordBatch]], _Taken]) -> _Taken:
    """What `take` makes of all rows, current or not, of which it holds a batch at a time.

    It is called again if a driver merges parts meanwhile.
    """
    return _steadily(store, "", lambda keys: take(_batches(store, keys, columns)))


def _steadily(store: Store, prefix: str, read_them: Callable[[list[str]], _Taken]) -> _Taken:
    for _ in range(_READ_ATTEMPTS):
        with contextlib.suppress(FileNotFoundError):  # a driver that ends meanwhile makes one part of its many
            return read_them([info.key for info in _parts(store, prefix)])
    raise StorageError(f"the results of {store.url!r} changed {_READ_ATTEMPTS} times while they were read; try again")


def _batches(store: Store, keys: list[str], columns: Collection[str]) -> Iterator[pa.RecordBatch]:
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


def current(table: pa.Table, columns: Collection[str] | None = None) -> pa.Table:
    """One row a job: a done one before a failed one, otherwise the latest."""
    if table.num_rows == 0:
        return table
    rank = pc.cast(pc.equal(table["status"], "done"), pa.int8())
    position = pa.array(range(table.num_rows), pa.int64())
    order = pa.table({"id": table["id"], "rank": rank, "finished": table["finished"], "position": position})
    order = order.sort_by([("id", "ascending"), ("rank", "ascending"), ("finished", "ascending")])
    last = order.group_by("id", use_threads=False).aggregate([("position", "last")])["position_last"]
    chosen = table.take(last).sort_by([("row", "ascending"), ("id", "ascending")])
    return chosen.select(list(columns)) if columns is not None else chosen


def compact(store: Store, stamp: str, *, prefix: str, drop: Collection[str] = ()) -> int:
    """Merge the parts whose names begin with `prefix`, those of `PART_BYTES` apart; returns how many were merged.

    A group of parts becomes one of their current rows. Rows of the jobs in `drop` are left out, from whatever part:
    those jobs are to be done again.
    """
    merged = 0
    for number, keys in enumerate(_groups(_parts(store, prefix), whole=bool(drop))):
        if len(keys) < 2 and not drop:
            continue
        table = current(_read_parts(store, keys, None))
        if drop:
            table = table.filter(pc.invert(pc.is_in(table["id"], pa.array(list(drop), pa.string()))))
        if table.num_rows:
            store.put(f"{Keys.RESULTS}{prefix or 'all-'}{stamp}-{number:04d}-compact.parquet", _encode(table))
        for key in keys:
            store.delete(key)
        merged += len(keys)
    return merged


def _groups(parts: list[ObjectInfo], *, whole: bool) -> Iterator[list[str]]:
    """Parts to be merged, together no larger than `PART_BYTES` if they are several; `whole`: large ones too."""
    keys: list[str] = []
    size_bytes = 0
    for part in parts:
        if part.size_bytes >= PART_BYTES and not whole:
            continue
        if keys and size_bytes + part.size_bytes > PART_BYTES:
            yield keys
            keys, size_bytes = [], 0
        keys.append(part.key)
        size_bytes += part.size_bytes
    if keys:
        yield keys


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def _parts(store: Store, prefix: str) -> list[ObjectInfo]:
    return [info for info in store.list(Keys.RESULTS + prefix) if info.key.endswith(".parquet")]


def _to_table(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows as a table of the schema, with the columns `meta_*` that any row has, of the type they suggest."""
    names = dict.fromkeys(name for row in rows for name in row if name.startswith(META_PREFIX))
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    for name in names:
        table = table.append_column(name, pa.array([row.get(name) for row in rows]))
    return table


def _encode(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _read_parts(store: Store, keys: list[str], columns: Collection[str] | None) -> pa.Table:
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
