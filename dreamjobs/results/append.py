"""Rows are gathered and put as parts, each whole."""

import time
from collections.abc import Callable
from typing import Any

from dreamjobs.jobs import Keys
from dreamjobs.results.parts import encode, to_table
from dreamjobs.storage import Store

FLUSH_ROWS = 2000
FLUSH_S = 2.0


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
        self._store.put(Keys.results_part(self._shard, self._stamp, self._number), encode(to_table(self._rows)))
        self._number += 1
        self._rows.clear()
