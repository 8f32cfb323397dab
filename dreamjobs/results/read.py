"""Reads the results: the current row of every job, or all rows a batch at a time."""

import contextlib
from collections.abc import Callable, Collection, Iterable
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from dreamjobs.errors import StorageError
from dreamjobs.results.parts import batches, list_parts, read_parts
from dreamjobs.storage import Store

_READ_ATTEMPTS = 10

_Taken = TypeVar("_Taken")


def read(store: Store, columns: Collection[str] | None = None, *, prefix: str = "") -> pa.Table:
    """The current row of every job, in the order of manifest rows; `prefix` restricts it to some parts."""
    return _steadily(store, prefix, lambda keys: current(read_parts(store, keys, columns), columns))


def gather(store: Store, columns: Collection[str], take: Callable[[Iterable[pa.RecordBatch]], _Taken]) -> _Taken:
    """What `take` makes of all rows, current or not, of which it holds a batch at a time.

    It is called again if a driver merges parts meanwhile.
    """
    return _steadily(store, "", lambda keys: take(batches(store, keys, columns)))


def _steadily(store: Store, prefix: str, read_them: Callable[[list[str]], _Taken]) -> _Taken:
    for _ in range(_READ_ATTEMPTS):
        with contextlib.suppress(FileNotFoundError):  # a driver that ends meanwhile makes one part of its many
            return read_them([info.key for info in list_parts(store, prefix)])
    raise StorageError(f"the results of {store.url!r} changed {_READ_ATTEMPTS} times while they were read; try again")


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
