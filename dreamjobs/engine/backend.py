"""What the loop needs of whatever carries the work out, and the twin that does it in this process without ray."""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from dreamjobs.jobs import Job
from dreamjobs.schedule import ActorReady, Bundle, Event, StageDone, StageFailed, Start, StartActor, StopActor
from dreamjobs.storage import Store
from dreamjobs.worker import Dreamer, Library, Result, Work, attempt, fetch, store


class Backend(Protocol):
    """Carries out actions and tells what came of them."""

    def perform(self, action: StartActor | StopActor | Start | Bundle) -> None:
        """Begin an action; returns at once where the work is done elsewhere."""

    def events(self, timeout_s: float) -> list[Event]:
        """What has happened since; waits up to `timeout_s` seconds for the first."""

    def forget(self, job: Job) -> None:
        """Drop the job's pixels."""

    def close(self) -> None:
        """End what is still going on and give everything back."""


class _Escape(BaseException):
    """Carries an error of the driver through a job's attempt, which would take an Exception for the job's own."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


class InlineBackend:
    """The same stages, one after another in this process; `on_step` is called within a dream, which may be long."""

    def __init__(self, run: Store, library: Library, device: str, on_step: Callable[[], None]) -> None:
        self._run, self._library, self._on_step = run, library, on_step
        self._dreamer = Dreamer(device)
        self._actions: deque[StartActor | Start] = deque()
        self._work: dict[str, Work] = {}

    def perform(self, action: StartActor | StopActor | Start | Bundle) -> None:
        match action:
            case StartActor() | Start():
                self._actions.append(action)
            case Bundle():
                raise ValueError("pictures are made one by one here: limits with bundle=0")
            case StopActor():
                pass  # the one actor is this process

    def events(self, timeout_s: float) -> list[Event]:
        if not self._actions:
            return []
        action = self._actions.popleft()
        if isinstance(action, StartActor):
            return [ActorReady(action.actor)]
        return [self._event(action, self._do(action))]

    def forget(self, job: Job) -> None:
        self._work.pop(job.id, None)

    def close(self) -> None:
        self._actions.clear()
        self._work.clear()

    def _step(self, done: int, total: int) -> None:
        try:
            self._on_step()
        except Exception as error:  # the watcher's own: it must get past `attempt`, as no job is to blame
            raise _Escape(error) from error

    def _do(self, action: Start) -> Result:
        try:
            return self._attempt(action)
        except _Escape as escape:
            raise escape.error from None

    def _attempt(self, action: Start) -> Result:
        job = action.job
        if action.stage == "fetch":
            return attempt(fetch, job)
        work = self._work[job.id]
        if action.stage == "dream":
            weights = self._library.weights(job.params.net, job.params.weights)
            return attempt(self._dreamer.dream, job, work, weights, self._step, self._run)
        return attempt(store, job, work, self._run)

    def _event(self, action: Start, result: Result) -> Event:
        job_id, stage = action.job.id, action.stage
        if result.failure:
            return StageFailed(job_id, stage, result.failure)
        if stage == "store":
            return StageDone(job_id, stage, result.value)
        self._work[job_id] = result.value
        return StageDone(job_id, stage)
