"""A function called on each of many items, some at once: here by threads; a caller may bring another way."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from dreamjobs.errors import WorkerLostError

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

MOST_THREADS = 8
_MEMORY_BYTES = 2_700_000_000


class Each(Protocol):
    """A way to call a function on every item, in other processes perhaps: then both are pickled."""

    def __call__(
        self, function: Callable[[Item], Outcome], items: Iterable[Item], *, memory_bytes: int
    ) -> Iterator[tuple[Item, Outcome | WorkerLostError]]:
        """Each item with what the function returned, in any order, or with the error if its process died.

        A call takes up to `memory_bytes`. What the function raises is raised here and ends it.
        """


def by_threads(
    function: Callable[[Item], Outcome], items: Iterable[Item], *, memory_bytes: int
) -> Iterator[tuple[Item, Outcome | WorkerLostError]]:
    """Threads of this process, as many as cores and 2.7 GB allow."""
    threads = max(1, min(MOST_THREADS, os.cpu_count() or 1, _MEMORY_BYTES // max(1, memory_bytes)))
    taken = list(items)
    with ThreadPoolExecutor(threads) as pool:
        yield from zip(taken, pool.map(function, taken), strict=True)
