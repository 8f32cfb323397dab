"""A function called on each of many items by Ray tasks, a window of them in flight, whatever their number.

It works on the cluster that `engine.cluster.connected` gives. Function and items are pickled, so they are small, and
name in storage what they read and write. Outcomes come in the order in which calls end: a slow one holds up no other. A
call takes a CPU, which starts a node where the cluster grows on demand, and waits where actors hold every CPU.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

import ray
import ray.exceptions

from dreamjobs.errors import WorkerLostError

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

_ATTEMPTS = 3
_LEAST_WINDOW = 64  # enough to be noticed where nodes are started on demand


def each(
    function: Callable[[Item], Outcome], items: Iterable[Item], *, memory_bytes: int
) -> Iterator[tuple[Item, Outcome | WorkerLostError]]:
    """Each item with what the function returned; items are taken as there is room for them.

    A call whose process or node died is made again, so it must bear that; after the third time the error stands in
    place of what it returns. What the function itself raises is raised. A node takes on no more calls than its memory
    has room for, `memory_bytes` each.
    """
    task = _CALL.options(memory=min(memory_bytes, _node_bytes()))
    waiting = iter(items)
    pending: dict[Any, tuple[Item, int]] = {}
    while True:
        for item in islice(waiting, max(0, _window() - len(pending))):
            pending[task.remote(function, item)] = (item, 1)
        if not pending:
            return
        for ref in _ended(list(pending)):
            item, attempt = pending.pop(ref)
            outcome = _outcome(ref)
            if isinstance(outcome, WorkerLostError) and attempt < _ATTEMPTS:
                pending[task.remote(function, item)] = (item, attempt + 1)
            else:
                yield item, outcome


def _call(function: Callable[[Item], Outcome], item: Item) -> Outcome:
    return function(item)


# Any: ray's decorators change types in ways that its annotations do not follow.
_CALL: Any = ray.remote(num_cpus=1, max_retries=0, scheduling_strategy="SPREAD")(_call)


def _window() -> int:
    """How many calls are in flight: one that runs and one that waits for each CPU that there is now."""
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]  # ray leaves it so
    return max(_LEAST_WINDOW, 2 * int(resources.get("CPU", 0)))


def _node_bytes() -> int:
    """The memory of the largest node; a call that asked for more would never start."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]  # ray leaves it so
    return max((int(node["Resources"].get("memory", 0)) for node in nodes if node["Alive"]), default=0)


def _ended(refs: list[Any]) -> list[Any]:
    """The calls that have ended, or the first that does."""
    ready, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
    return ready or list(ray.wait(refs, num_returns=1)[0])


def _outcome(ref: Any) -> Any:
    try:
        return ray.get(ref)
    except ray.exceptions.RayTaskError:
        raise  # the function's own
    except ray.exceptions.RayError as error:
        lines = str(error).strip().splitlines() or [""]
        return WorkerLostError(f"{type(error).__name__}: {lines[0]}")
