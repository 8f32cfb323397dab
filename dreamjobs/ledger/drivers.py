"""Which drivers are at work on a RUN, told from its leases; and keeping them all out."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from dreamjobs import lease
from dreamjobs.lease.generations import Generations, Holder, released
from dreamjobs.lease.owners import process_start
from dreamjobs.ledger.record import Shard
from dreamjobs.storage import Store

_ROOT = "lease/"


@dataclass(frozen=True)
class Driver:
    """Who holds a lease, and when it was last seen, by the clock of the store.

    It is known to be alive only if it runs on this machine; elsewhere it may have died without a word.
    """

    name: str
    seen_s: float


def at_work(run: Store) -> tuple[Driver, ...]:
    """The drivers that hold a lease, without those of this machine whose process is gone."""
    return tuple(driver for name in sorted(shards(run)) if (driver := _holder(run, name)))


def shards(run: Store) -> frozenset[str]:
    """The name of every shard that was ever run."""
    return frozenset(info.key.split("/")[1] for info in run.list(_ROOT))


@contextlib.contextmanager
def kept_out(run: Store) -> Iterator[frozenset[str]]:
    """Hold the lease of every shard that was ever run, and give their names.

    Raises:
        RunError: naming the driver that is at work on one.
    """
    names = shards(run) | {Shard().name}
    with contextlib.ExitStack() as stack:
        for name in sorted(names):
            stack.enter_context(lease.acquire(run, name))
        yield names


def _holder(run: Store, name: str) -> Driver | None:
    generations = Generations(run, name)
    number = generations.latest()
    holder = generations.holder(number) if number else None
    if holder is None or released(generations.beat(number)) or _is_gone(holder):
        return None
    return Driver(str(holder), max((info.modified_s for info in run.list(f"{_ROOT}{name}/")), default=0.0))


def _is_gone(holder: Holder) -> bool:
    owner = holder.owner
    return lease.Owner.here().shares_machine(owner) and process_start(owner.pid) != owner.process_start
