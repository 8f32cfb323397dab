"""One run as it goes on: counts what ends, writes its rows, tells who watches."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from dreamjobs import results
from dreamjobs.engine.plan import Outlook
from dreamjobs.errors import RunError
from dreamjobs.jobs import ALGORITHM, Outcome, Summary
from dreamjobs.lease import Lease
from dreamjobs.ledger import Shard
from dreamjobs.schedule import ActorLeaving, Event, Finish, Retry, Stage
from dreamjobs.storage import Store
from dreamjobs.worker import versions

_PATIENCE_S = 60.0
_PARTS_TOGETHER = 300  # ten minutes of parts: a status reads few, and few are written twice


@dataclass(frozen=True)
class Progress:
    """How far a run is; `pixels` were dreamed in `seconds`.

    `queues` counts the jobs in flight that wait for a stage to begin, `restarts` the actors started for one that died.
    `shares` says of each picture that many actors dream together how much is dreamed, in [0, 1].
    """

    todo: int
    done: int
    failed: int
    in_flight: int
    actors: int
    pixels: int
    seconds: float
    queues: Mapping[Stage, int] = field(default_factory=dict)
    restarts: int = 0
    shares: tuple[float, ...] = ()


@dataclass(frozen=True)
class Watcher:
    """Who wants to know: each function is called from the driver's thread."""

    on_outlook: Callable[[Outlook], None] = lambda outlook: None
    on_progress: Callable[[Progress], None] = lambda progress: None
    on_note: Callable[[str], None] = lambda note: None
    on_finish: Callable[[Finish], None] = lambda finish: None
    on_retry: Callable[[Retry], None] = lambda retry: None


class Session:
    """Lives as long as one call of `run`."""

    def __init__(self, store: Store, shard: Shard, lease: Lease, outlook: Outlook, watcher: Watcher) -> None:
        self.store = store
        self._shard, self._lease, self._outlook = shard, lease, outlook
        self._watchers = [watcher]
        self._stamp = results.now().strftime("%Y%m%dT%H%M%S%fZ")
        self._appender = results.Appender(store, shard.name, self._stamp)
        self._done = self._failed = self._pixels = 0
        self._begun = time.monotonic()
        self._waited = False
        self._merged = 0

    def attach(self, watcher: Watcher) -> None:
        """Tell one more watcher, from here on."""
        watcher.on_outlook(self._outlook)
        self._watchers.append(watcher)

    def finish(self, finish: Finish) -> None:
        """A job has ended: write its row."""
        outcome = Outcome(finish.job, finish.attempts, results.now(), finish.artifact, finish.failure)
        self._appender.add(results.to_row(outcome, ALGORITHM, versions()))
        if finish.artifact:
            self._done += 1
            self._pixels += finish.artifact.width * finish.artifact.height
        elif finish.failure:
            self._failed += 1
        for watcher in self._watchers:
            watcher.on_finish(finish)

    def retry(self, retry: Retry) -> None:
        """An attempt at a job has failed and another follows."""
        for watcher in self._watchers:
            watcher.on_retry(retry)

    def event(self, event: Event) -> None:
        """Something happened; who watches is told of machines that go, as jobs may say nothing of it."""
        if isinstance(event, ActorLeaving):
            self.note("a machine is to be taken back: its actor ends what it is at")

    def tick(
        self,
        in_flight: int,
        actors: int,
        *,
        queues: Mapping[Stage, int] | None = None,
        restarts: int = 0,
        shares: tuple[float, ...] = (),
    ) -> None:
        """Some time has passed.

        Raises:
            RunError: if another driver took the lease, because this one was taken for dead.
        """
        if self._lease.lost.is_set():
            raise RunError(f"another driver took over {self.store.url!r}; this one stops")
        self._appender.flush_if_due()
        if self._appender.parts - self._merged >= _PARTS_TOGETHER:
            self.compact()
        seconds = time.monotonic() - self._begun
        if not actors and not self._waited and seconds > _PATIENCE_S:
            self._waited = True
            self.note(f"no actor is up after {seconds:.0f} s; has the cluster free what one needs? See `ray status`")
        counts = (self._outlook.todo, self._done, self._failed)
        now = Progress(*counts, in_flight, actors, self._pixels, seconds, queues or {}, restarts, shares)
        for watcher in self._watchers:
            watcher.on_progress(now)

    def note(self, text: str) -> None:
        """Tell the watchers something in words."""
        for watcher in self._watchers:
            watcher.on_note(text)

    def flush(self) -> None:
        """Write the rows that are not written yet."""
        self._appender.flush()

    def compact(self) -> None:
        """Make one part of this shard's many."""
        self._merged = self._appender.parts
        results.compact(self.store, f"{self._stamp}-{self._merged:06d}", prefix=f"{self._shard.name}-")

    def summary(self, seconds: float) -> Summary:
        """What came of it."""
        outlook = self._outlook
        return Summary(
            jobs=outlook.todo + outlook.done + outlook.failed + outlook.beyond,
            done=self._done,
            failed=self._failed,
            done_before=outlook.done,
            failed_before=outlook.failed,
            left=outlook.todo - self._done - self._failed,
            reasons=outlook.reasons,
            seconds=seconds,
            beyond=outlook.beyond,
        )
