"""Several small pictures made in one go."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from dreamjobs.jobs import Job
from dreamjobs.storage import Store
from dreamjobs.worker.fetching import fetch
from dreamjobs.worker.sequence import store
from dreamjobs.worker.stages import Result, Work, attempt


def make(jobs: Sequence[Job], dream: Callable[[Job, Work], Work], run: Store) -> list[Result]:
    """An artifact or a failure for each job. While one is dreamed, those after it are fetched and those before stored.

    The photographs of all may be in memory together.
    """
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        fetched = [reader.submit(attempt, fetch, job) for job in jobs]
        stored = []
        for job, coming in zip(jobs, fetched, strict=True):
            dreamed = _then(dream, job, coming.result())
            stored.append(writer.submit(_then, store, job, dreamed, run))
        return [result.result() for result in stored]


def _then(stage: Callable[..., object], job: Job, result: Result, *more: object) -> Result:
    """The next stage's result, unless there is nothing for it to work on."""
    return result if result.failure else attempt(stage, job, result.value, *more)
