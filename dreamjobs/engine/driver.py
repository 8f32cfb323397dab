"""`run`: a manifest and a RUN folder, from the first check to the last row."""

import itertools
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from typing import Any

from dreamjobs import lease, ledger, manifest, results
from dreamjobs.engine.backend import Backend, InlineBackend
from dreamjobs.engine.loop import Control, Hooks, Interrupts, drive
from dreamjobs.errors import RunError
from dreamjobs.jobs import ALGORITHM, Job, Outcome, Summary
from dreamjobs.ledger import Index, RunRecord, Shard
from dreamjobs.params import DreamParams, names_file
from dreamjobs.schedule import Finish, Limits, Scheduler
from dreamjobs.storage import Store, join_url, open_store
from dreamjobs.worker import Dreamer, Library, best_device, versions


@dataclass(frozen=True)
class RunOptions:
    """How a run is carried out; none of it changes a picture. See `run`."""

    actors: int | None = None
    address: str | None = None
    inline: bool = False
    shard: Shard = field(default_factory=Shard)
    limit: int | None = None
    retry_failed: frozenset[str] = frozenset()
    extend: bool = False


@dataclass(frozen=True)
class Outlook:
    """What a run is about to do: why each job is run, and how many are not."""

    reasons: dict[str, int]
    done: int
    failed: int

    @property
    def todo(self) -> int:
        return sum(self.reasons.values())


@dataclass(frozen=True)
class Progress:
    """How far a run is; `pixels` were dreamed in `seconds`."""

    todo: int
    done: int
    failed: int
    in_flight: int
    actors: int
    pixels: int
    seconds: float


@dataclass(frozen=True)
class Watcher:
    """Who wants to know: each function is called from the driver's thread."""

    on_outlook: Callable[[Outlook], None] = lambda outlook: None
    on_progress: Callable[[Progress], None] = lambda progress: None
    on_note: Callable[[str], None] = lambda note: None


def run(
    manifest_url: str,
    run_url: str,
    settings: Mapping[str, Any] | None = None,
    options: RunOptions | None = None,
    watcher: Watcher | None = None,
) -> Summary:
    """Dream every picture that a manifest asks for and a RUN folder does not have yet.

    `settings` stand in place of the manifest's parameters, a list being an axis of the grid. Both urls are local
    paths or `s3://`. A run that was ended in any way is continued by the same call.

    Raises:
        InputError: for a manifest, settings, nets or weights that cannot be used, before anything starts.
        RunError: if RUN belongs to something else, or a driver is at work on it.
    """
    options, watcher = options or RunOptions(), watcher or Watcher()
    begun = time.monotonic()
    library = Library()
    store = open_store(run_url)
    asked, checked, record = _check(manifest_url, store, _absolute(settings or {}), library)
    with lease.acquire(store, options.shard.name, on_wait=watcher.on_note) as held:
        ledger.claim(store, record, extend=options.extend)
        index = Index.load(store)
        outlook = _outlook(record, asked, index, options)
        watcher.on_outlook(outlook)
        session = _Session(store, outlook, watcher, options.shard)
        try:
            if outlook.todo:
                _work(_todo(record, asked, index, options), session, library, options, checked.threads, held)
        finally:
            session.flush()
        session.compact()
    return session.summary(outlook, time.monotonic() - begun)


def _check(
    url: str, store: Store, settings: dict[str, Any], library: Library
) -> tuple[manifest.Manifest, manifest.Checked, RunRecord]:
    """Everything that can be wrong before a start: columns, values, nets, weights, layers."""
    asked = manifest.open_manifest(url)
    dreamer = Dreamer()

    def check_net(params: DreamParams) -> None:
        dreamer.check(params, library.weights(params.net, params.weights))

    trusted = _own_nets(settings)
    checked = manifest.check(asked, settings, check_net, trusted)
    record = RunRecord(
        manifest=join_url(".", url),
        manifest_digest=asked.digest,
        base=asked.base,
        rows=asked.rows,
        jobs=checked.jobs,
        overrides=settings,
        trusted_nets=sorted(trusted),
        weights=library.digests(),
        versions=versions(),
    )
    return asked, checked, record


def _own_nets(settings: Mapping[str, Any]) -> frozenset[str]:
    """Nets named as code by the caller; a manifest's cells never are."""
    nets = settings.get("net")
    return frozenset(net for net in (nets if isinstance(nets, list) else [nets]) if isinstance(net, str))


def _absolute(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, weights files named so that they are found from anywhere."""
    cell = settings.get("weights")
    if cell is None:
        return dict(settings)
    values = [join_url(".", value) if isinstance(value, str) and names_file(value) else value for value in _list(cell)]
    return {**settings, "weights": values if isinstance(cell, list) else values[0]}


def _list(cell: Any) -> list[Any]:
    return cell if isinstance(cell, list) else [cell]


def _outlook(record: RunRecord, asked: manifest.Manifest, index: Index, options: RunOptions) -> Outlook:
    reasons: Counter[str] = Counter()
    done = failed = 0
    seen: set[str] = set()
    for job in ledger.planned(record, asked, options.shard):
        if job.id in seen:  # rows of the manifest that repeat each other
            continue
        seen.add(job.id)
        reason = index.reason(job, options.retry_failed)
        if reason:
            reasons[reason] += 1
        elif index.is_done(job.id):
            done += 1
        else:
            failed += 1
        if options.limit is not None and reasons.total() >= options.limit:
            break
    return Outlook(dict(reasons), done, failed)


def _todo(record: RunRecord, asked: manifest.Manifest, index: Index, options: RunOptions) -> Iterator[Job]:
    """The jobs to run, each once even where rows of the manifest repeat each other."""
    seen: set[str] = set()

    def fresh() -> Iterator[Job]:
        for job in ledger.planned(record, asked, options.shard):
            if job.id not in seen and index.reason(job, options.retry_failed):
                seen.add(job.id)
                yield job

    return itertools.islice(fresh(), options.limit)


def _work(
    jobs: Iterator[Job], session: "_Session", library: Library, options: RunOptions, threads: int, held: lease.Lease
) -> None:
    control = Control()
    with _Workplace(session.store, library, options, threads) as (backend, limits), Interrupts(control, session.asked):
        scheduler = Scheduler(limits)

        def on_tick() -> None:
            session.tick(scheduler)
            if held.lost.is_set():
                raise RunError(f"another driver took over {session.store.url!r}; this one stops")

        with suppress(KeyboardInterrupt):
            drive(jobs, scheduler, backend, control, Hooks(session.finish, on_tick))


class _Workplace(AbstractContextManager[tuple[Backend, Limits]]):
    """The backend that the options ask for and how much it takes on at once, given back at the end."""

    def __init__(self, store: Store, library: Library, options: RunOptions, threads: int) -> None:
        self._store, self._library, self._options, self._threads = store, library, options, threads
        self._started_ray = False

    def __enter__(self) -> tuple[Backend, Limits]:
        if self._options.inline:
            self._backend: Backend = InlineBackend(self._store, self._library, best_device())
            return self._backend, Limits(actors=1, jobs=1, fetches=1, stores=1)
        from dreamjobs.engine import cluster

        io_tasks = 2 if (self._options.actors or 1) < 8 else math.ceil((self._options.actors or 1) / 4)
        self._started_ray = not cluster.is_connected()
        layout = cluster.connect(self._options.address, self._options.actors, self._threads, io_tasks)
        io_tasks = max(io_tasks, math.ceil(layout.actors / 4))
        self._backend = cluster.RayBackend(self._store, self._library, layout)
        jobs = 2 * layout.actors + 2 * io_tasks
        return self._backend, Limits(actors=layout.actors, jobs=jobs, fetches=io_tasks, stores=io_tasks)

    def __exit__(self, *_: object) -> None:
        self._backend.close()
        if self._started_ray:
            from dreamjobs.engine import cluster

            cluster.disconnect()


class _Session:
    """Counts what one run does, writes its rows, and tells the watcher."""

    def __init__(self, store: Store, outlook: Outlook, watcher: Watcher, shard: Shard) -> None:
        self.store = store
        self._outlook, self._watcher = outlook, watcher
        self._prefix = f"{shard.name}-"
        self._stamp = results.now().strftime("%Y%m%dT%H%M%S%fZ")
        self._appender = results.Appender(store, shard.name, self._stamp)
        self._done = self._failed = self._pixels = 0
        self._begun = time.monotonic()

    def finish(self, finish: Finish) -> None:
        """A job has ended: write its row."""
        outcome = Outcome(finish.job, finish.attempts, results.now(), finish.artifact, finish.failure)
        self._appender.add(results.to_row(outcome, ALGORITHM, versions()))
        if finish.artifact:
            self._done += 1
            self._pixels += finish.artifact.width * finish.artifact.height
        elif finish.failure:
            self._failed += 1
            self._watcher.on_note(f"failed: {finish.job.source.image}: {finish.failure.type}: {finish.failure.message}")

    def tick(self, scheduler: Scheduler) -> None:
        """Some time has passed."""
        self._appender.flush_if_due()
        self._watcher.on_progress(
            Progress(
                todo=self._outlook.todo,
                done=self._done,
                failed=self._failed,
                in_flight=scheduler.in_flight,
                actors=scheduler.actors_ready,
                pixels=self._pixels,
                seconds=time.monotonic() - self._begun,
            )
        )

    def asked(self, control: Control) -> None:
        """Ctrl-C was pressed."""
        self._watcher.on_note(
            "stopping now; the same command continues"
            if control.stopping
            else "finishing what is in flight; Ctrl-C again stops at once"
        )

    def flush(self) -> None:
        """Write the rows that are not written yet."""
        self._appender.flush()

    def compact(self) -> None:
        """Make one part of this shard's many."""
        results.compact(self.store, self._stamp, prefix=self._prefix)

    def summary(self, outlook: Outlook, seconds: float) -> Summary:
        left = outlook.todo - self._done - self._failed
        jobs = outlook.todo + outlook.done + outlook.failed
        return Summary(jobs, self._done, self._failed, outlook.done, outlook.failed, left, outlook.reasons, seconds)
