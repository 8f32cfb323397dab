"""`run`: a manifest and a RUN folder, from the first check to the last row."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from dreamjobs import lease, ledger
from dreamjobs.engine.asking import ask, ask_apart
from dreamjobs.engine.backend import Backend, InlineBackend
from dreamjobs.engine.loop import Control, Hooks, Interrupts, drive
from dreamjobs.engine.plan import Plan
from dreamjobs.engine.session import Session, Watcher
from dreamjobs.jobs import Summary
from dreamjobs.ledger import Index, Shard
from dreamjobs.schedule import Limits, Scheduler
from dreamjobs.storage import open_store
from dreamjobs.worker import Library, best_device


@dataclass(frozen=True)
class RunOptions:
    """How a run is carried out; none of it changes a picture.

    `actors` are asked for at the start, whatever the cluster has room for; once nothing is left to begin, idle ones are
    given back down to `least_actors`, which is all of them if not said. Without `actors` there are as many as there is
    room for, also as nodes come and go. Each takes `gpus_per_actor`, from 0 to 1: 1 if not said, where there are any.
    """

    actors: int | None = None
    least_actors: int | None = None
    gpus_per_actor: float | None = None
    address: str | None = None
    inline: bool = False
    shard: Shard = field(default_factory=Shard)
    limit: int | None = None
    retry_failed: frozenset[str] = frozenset()
    extend: bool = False


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
    store = open_store(run_url)
    checked_here = options.inline or "torch" in sys.modules
    asked, library = (ask if checked_here else ask_apart)(manifest_url, settings or {})
    with lease.acquire(store, options.shard.name, on_wait=watcher.on_note) as held:
        extended = ledger.claim(store, asked.record, extend=options.extend)
        index = Index.load(store, extended=extended)
        plan = Plan(asked.record, asked.manifest, index, options.shard, options.limit, options.retry_failed)
        outlook = plan.outlook()
        watcher.on_outlook(outlook)
        session = Session(store, options.shard, held, outlook, watcher)
        try:
            if outlook.todo:
                _work(plan, session, library, options, asked.threads)
        finally:
            session.flush()
        session.compact()
    return session.summary(time.monotonic() - begun)


def _work(plan: Plan, session: Session, library: Library, options: RunOptions, threads: int) -> None:
    """Dream the plan's jobs; Ctrl-C once drains, twice stops."""
    control = Control()

    def on_ask(control: Control) -> None:
        session.note(
            "stopping now; the same command continues"
            if control.stopping
            else "finishing what is in flight; Ctrl-C again stops at once"
        )

    with (
        _workplace(session, library, options, threads) as (backend, limits),
        Interrupts(control, on_ask),
        suppress(KeyboardInterrupt),
    ):
        scheduler = Scheduler(limits)
        hooks = Hooks(session.finish, lambda: _tick(session, scheduler), session.retry, session.event)
        drive(plan.jobs(), scheduler, backend, control, hooks)


@contextmanager
def _workplace(
    session: Session, library: Library, options: RunOptions, threads: int
) -> Iterator[tuple[Backend, Limits]]:
    """The backend that the options ask for and how much it takes on at once, given back at the end."""
    if options.inline:
        backend = InlineBackend(session.store, library, best_device(), _tick_inline(session))
        yield backend, Limits(actors=1, jobs=1, fetches=1, stores=1)
        return
    from dreamjobs.engine import cluster, metrics
    from dreamjobs.engine.distributed import RayBackend
    from dreamjobs.engine.steps import short_name

    wanted = cluster.Wanted(options.actors, options.least_actors, threads, options.gpus_per_actor)
    with cluster.connected(options.address, wanted) as layout:
        if options.address and options.gpus_per_actor is None and not layout.need.gpus:
            session.note("no card is there now, so this dreams on cores; --gpus-per-actor 1 would wait for a card")
        session.attach(metrics.watcher(short_name(session.store.url)))
        ray_backend = RayBackend(session.store, library, layout)
        try:
            yield ray_backend, Limits.of(layout.actors, layout.least)
        finally:
            ray_backend.close()


def _tick(session: Session, scheduler: Scheduler) -> None:
    session.tick(
        scheduler.in_flight,
        scheduler.actors_ready,
        queues=scheduler.queues,
        restarts=scheduler.restarts,
        shares=scheduler.shares,
    )


def _tick_inline(session: Session) -> Callable[[], None]:
    """A dream in this process keeps the loop waiting, so that time passes within it."""
    return lambda: session.tick(in_flight=1, actors=1)
