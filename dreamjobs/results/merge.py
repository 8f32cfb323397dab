"""Merges parts, of which a long run leaves thousands."""

from collections.abc import Collection, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from dreamjobs.jobs import Keys
from dreamjobs.results.parts import encode, list_parts, read_parts
from dreamjobs.results.read import current
from dreamjobs.storage import ObjectInfo, Store

PART_BYTES = 8 << 20  # more are merged no further: some 100 MB of memory


def compact(store: Store, stamp: str, *, prefix: str, drop: Collection[str] = ()) -> int:
    """Merge the parts whose names begin with `prefix`, those of `PART_BYTES` apart; returns how many were merged.

    A group of parts becomes one of their current rows. Rows of the jobs in `drop` are left out, from whatever part:
    those jobs are to be done again.
    """
    merged = 0
    for number, keys in enumerate(_groups(list_parts(store, prefix), whole=bool(drop))):
        if len(keys) < 2 and not drop:
            continue
        table = current(read_parts(store, keys, None))
        if drop:
            table = table.filter(pc.invert(pc.is_in(table["id"], pa.array(list(drop), pa.string()))))
        if table.num_rows:
            store.put(f"{Keys.RESULTS}{prefix or 'all-'}{stamp}-{number:04d}-compact.parquet", encode(table))
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
