"""Goes through the jobs of a run once and keeps what is to become of each: two bytes a job, and no job.

Repeats, jobs that rows of a manifest ask for once more, are told from the first of their kind.
"""

import itertools
from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dreamjobs.jobs import Job
from dreamjobs.ledger.index import DONE, FAILED, NEW, REASONS, REPEAT, Ids, Index, Verdicts, as_ids
from dreamjobs.ledger.record import RunRecord, Shard, expander
from dreamjobs.manifest import Expander, Manifest, Row

_ROWS_AT_ONCE = 1000


@dataclass(frozen=True)
class Order:
    """Jobs that are asked for: those of a manifest's shard as a record has them; `retry` is as in `Index.reason`."""

    record: RunRecord
    manifest: Manifest
    shard: Shard = field(default_factory=Shard)
    retry: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Survey:
    """The verdict on each job of an order; those of the order's `n`-th row begin at `starts[n]`."""

    order: Order
    verdicts: Verdicts
    starts: NDArray[np.int64]
    error_types: tuple[str, ...]

    def todo(self, numbers: range) -> NDArray[np.bool_]:
        """Of rows by number, whether each of their jobs is to be run."""
        shard = self.order.shard
        start, stop = self.starts[shard.before(numbers.start)], self.starts[shard.before(numbers.stop)]
        return self.verdicts[start:stop] < DONE

    def jobs(self) -> Iterator[Job]:
        """The jobs that are to be run, in order, made as they are taken."""
        made = expander(self.order.record)
        for row in self.order.manifest.read(lambda numbers: bool(self.todo(numbers).any())):
            todo = self.todo(range(row.number, row.number + 1))  # of a row of another shard, nothing
            if todo.any():
                yield from itertools.compress(made.jobs(row), todo.tolist())

    def reasons(self, limit: int | None) -> dict[str, int]:
        """Why jobs are to be run, how many for each reason, of the first `limit` of them."""
        todo = self.verdicts[self.verdicts < DONE][:limit]
        counts = Counter(dict(enumerate(np.bincount(todo, minlength=len(REASONS)).tolist())))
        return {REASONS[number]: count for number, count in counts.items() if count}

    def count(self, verdict: int) -> int:
        """How many jobs have this verdict."""
        return int(np.count_nonzero(self.verdicts == verdict))

    def errors(self) -> dict[str, int]:
        """How many jobs failed, by type of error, the most frequent first."""
        counts = Counter({name: self.count(FAILED + number) for number, name in enumerate(self.error_types)})
        return {name: count for name, count in counts.most_common() if count}


def survey(order: Order, index: Index) -> Survey:
    """Go through an order's jobs."""
    made, halves, verdicts, starts = expander(order.record), array("Q"), array("h"), array("q", [0])
    for rows in _some_rows(order):
        ids_of = [made.ids(row) for row in rows]
        ids = as_ids(itertools.chain.from_iterable(ids_of))
        halves.frombytes(ids[:, 0].tobytes())
        verdicts.frombytes(_verdicts(index, ids, rows, made, order.retry).tobytes())
        starts.extend(itertools.accumulate(map(len, ids_of), initial=starts.pop()))
    found = Survey(order, np.frombuffer(verdicts, np.int16), np.frombuffer(starts, np.int64), index.error_types)
    _mark_repeats(found, np.frombuffer(halves, np.uint64), made)
    return found


def _some_rows(order: Order) -> Iterator[list[Row]]:
    rows = (row for row in order.manifest.read() if order.shard.holds(row.number))
    while some := list(itertools.islice(rows, _ROWS_AT_ONCE)):
        yield some


def _verdicts(index: Index, ids: Ids, rows: list[Row], made: Expander, retry: Collection[str]) -> Verdicts:
    """By id, and for those that are new, if there is a past, by what has changed."""
    verdicts = index.verdicts(ids, retry)
    if index.extended and (verdicts == NEW).any():
        jobs = itertools.chain.from_iterable(map(made.jobs, rows))
        for place, job in enumerate(jobs):
            if verdicts[place] == NEW:
                verdicts[place] = REASONS.index(index.why_new(job))
    return verdicts


def _mark_repeats(found: Survey, halves: NDArray[np.uint64], made: Expander) -> None:
    """Most manifests have none: only halves of ids that come twice are worth a second look, at whole ids."""
    halves.sort()
    twice = frozenset(halves[1:][halves[1:] == halves[:-1]].tolist())
    if not twice:
        return
    seen: set[bytes] = set()
    for place, job_id in enumerate(_every_id(found.order, made)):
        if int.from_bytes(job_id[:8]) in twice:
            if job_id in seen:
                found.verdicts[place] = REPEAT
            seen.add(job_id)


def _every_id(order: Order, made: Expander) -> Iterable[bytes]:
    return itertools.chain.from_iterable(made.ids(row) for rows in _some_rows(order) for row in rows)
