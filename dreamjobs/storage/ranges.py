"""An object as a file that is open for reading: no more of it is asked for than is read, in blocks."""

from __future__ import annotations

import functools
import io
from typing import TYPE_CHECKING

from dreamjobs.storage.base import ObjectInfo, Store

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_BLOCK_BYTES, _BLOCKS = 1 << 16, 64


def open_ranges(store: Store, info: ObjectInfo) -> io.BufferedReader:
    """The object, for libraries that read headers here and there; the last 4 MiB of blocks are remembered.

    Reading raises what `Store.get_range` does. Not for more than one thread at a time.
    """
    return io.BufferedReader(_RangeFile(store, info.key, info.size_bytes), _BLOCK_BYTES)


class _RangeFile(io.RawIOBase):
    def __init__(self, store: Store, key: str, size_bytes: int) -> None:
        self._store, self._key, self._size, self._at = store, key, size_bytes, 0
        self._block = functools.lru_cache(maxsize=_BLOCKS)(self._fetched)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: WriteableBuffer) -> int:
        """As much as the block at hand has of what is asked for; nothing at the end."""
        view = memoryview(buffer).cast("B")
        number, skipped = divmod(self._at, _BLOCK_BYTES)
        if not view or self._at >= self._size:
            return 0
        part = self._block(number)[skipped : skipped + len(view)]
        view[: len(part)] = part
        self._at += len(part)
        return len(part)

    def _fetched(self, number: int) -> bytes:
        return self._store.get_range(self._key, number * _BLOCK_BYTES, _BLOCK_BYTES)
