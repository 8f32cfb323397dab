"""The loop: takes jobs on while there is room, carries out what the scheduler decides, tells it what happened."""

import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType

from dreamjobs.engine.backend import Backend
from dreamjobs.errors import RunError
from dreamjobs.jobs import Job
from dreamjobs.schedule import Action, Drop, Event, Finish, GiveUp, Retry, Scheduler

_TICK_S = 0.5


class Control:
    """How a run is asked to stop: drain what is in flight, or stop now."""

    def __init__(self) -> None:
        self.draining = False
        self.stopping = False

    def ask(self) -> None:
        """Drain at the first call, stop at the second."""
        self.stopping = self.draining
        self.draining = True


class Interrupts:
    """While entered, Ctrl-C and SIGTERM ask the control to stop; only the main thread can listen.

    The second one raises KeyboardInterrupt, because a dream in this process would go on for minutes.
    """

    def __init__(self, control: Control, on_ask: Callable[[Control], None]) -> None:
        self._control, self._on_ask = control, on_ask

    def __enter__(self) -> None:
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._asked)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _asked(self, number: int, frame: FrameType | None) -> None:
        self._control.ask()
        self._on_ask(self._control)
        if self._control.stopping:
            raise KeyboardInterrupt


@dataclass(frozen=True)
class Hooks:
    """What the loop tells its caller: a job's end, that some time has passed, a job attempted again, what happened."""

    on_finish: Callable[[Finish], None]
    on_tick: Callable[[], None]
    on_retry: Callable[[Retry], None] = lambda retry: None
    on_event: Callable[[Event], None] = lambda event: None


def drive(jobs: Iterator[Job], scheduler: Scheduler, backend: Backend, control: Control, hooks: Hooks) -> None:
    """Work until the jobs have ended, or the control asks to stop.

    Raises:
        RunError: if actors die as they start, again and again.
    """
    backlog = _Backlog(jobs)
    _carry_out(scheduler.begin(), backend, hooks)
    drained = False
    while not control.stopping:
        if control.draining and not drained:
            drained = True
            _carry_out(scheduler.drain(), backend, hooks)
        while not control.draining and (job := backlog.peek()) and scheduler.has_room(job):
            backlog.take()
            if not scheduler.holds(job.id):
                _carry_out(scheduler.submit(job), backend, hooks)
        if not scheduler.in_flight:
            return
        if backlog.peek() is None:
            _carry_out(scheduler.close(), backend, hooks)
        for event in backend.events(_TICK_S):
            hooks.on_event(event)
            _carry_out(scheduler.handle(event), backend, hooks)
        hooks.on_tick()


def _carry_out(actions: list[Action], backend: Backend, hooks: Hooks) -> None:
    for action in actions:
        if isinstance(action, GiveUp):
            raise RunError(f"actors die as they start: {action.failure.message}")
        if isinstance(action, Finish | Drop):
            backend.forget(action.job)
            if isinstance(action, Finish):
                hooks.on_finish(action)
        elif isinstance(action, Retry):
            hooks.on_retry(action)
        else:
            backend.perform(action)


class _Backlog:
    """An iterator of jobs with the next one in view."""

    def __init__(self, jobs: Iterator[Job]) -> None:
        self._jobs = jobs
        self._next: Job | None = next(jobs, None)

    def peek(self) -> Job | None:
        return self._next

    def take(self) -> None:
        self._next = next(self._jobs, None)
