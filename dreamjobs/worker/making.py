"""Several small pictures made in one go."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from dreamjobs.jobs import Job
from dreamjobs.storage import Store
from dreamjobs.worker.fetching import fetch
from dreamjobs.worker.sequence import store
from dreamjobs.worker.stages import Result, Work, attempt

PATIENCE_S = 5.0
"""After so long no further picture is begun: what a lost process, or one that is to go, has not told of is little."""
_AHEAD = 2  # photographs that are fetched before their turn, and pictures that wait to be stored


def make(
    jobs: Sequence[Job], dream: Callable[[Job, Work], Work], run: Store, patience_s: float = PATIENCE_S
) -> list[Result]:
    """An artifact or a failure for each job, the first at least, in order; those after them were not begun.

    While one is dreamed, those after it are fetched and those before stored, two of each at the most.
    """
    begun = time.monotonic()
    fetched: deque[Future[Result]] = deque()
    stored: list[Future[Result]] = []
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        for number, job in enumerate(jobs):
            if number and time.monotonic() - begun > patience_s:
                reader.shutdown(cancel_futures=True)
                break
            while len(fetched) <= _AHEAD and (following := number + len(fetched)) < len(jobs):
                fetched.append(reader.submit(attempt, fetch, jobs[following]))
            dreamed = _then(dream, job, fetched.popleft().result())
            stored.append(writer.submit(_then, store, job, dreamed, run))
            if number >= _AHEAD:
                stored[number - _AHEAD].result()
        return [result.result() for result in stored]


def _then(stage: Callable[..., object], job: Job, result: Result, *more: object) -> Result:
    """The next stage's result, unless there is nothing for it to work on."""
    return result if result.failure else attempt(stage, job, result.value, *more)
