"""What a run is about to do: which jobs, and why each."""

import functools
import itertools
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dreamjobs import ledger
from dreamjobs.jobs import Job
from dreamjobs.ledger import Index, RunRecord, Shard
from dreamjobs.manifest import Manifest


@dataclass(frozen=True)
class Outlook:
    """Why jobs are to be run, how many for each reason, and how many are not because they are done or failed.

    `beyond` counts those that are to be run too, but by another run, for this one has a limit.
    """

    reasons: dict[str, int]
    done: int
    failed: int
    beyond: int = 0

    @property
    def todo(self) -> int:
        """How many jobs are to be run."""
        return sum(self.reasons.values())


@dataclass(frozen=True)
class Plan:
    """The jobs of a shard that RUN lacks, at most `limit` of them, made as they are taken."""

    record: RunRecord
    manifest: Manifest
    index: Index
    shard: Shard
    limit: int | None
    retry: frozenset[str]

    def jobs(self) -> Iterator[Job]:
        """The jobs to run, each once even where rows of the manifest repeat each other."""
        return itertools.islice((job for job in self._distinct() if self._reason(job)), self.limit)

    def outlook(self) -> Outlook:
        """Go through the jobs once and count."""
        reasons: Counter[str] = Counter()
        done = failed = beyond = 0
        for job in self._distinct():
            reason = self._reason(job)
            if reason and reasons.total() == self.limit:
                beyond += 1
            elif reason:
                reasons[reason] += 1
            elif self.index.is_done(job.id):
                done += 1
            else:
                failed += 1
        return Outlook(dict(reasons), done, failed, beyond)

    def _reason(self, job: Job) -> str | None:
        return self.index.reason(job, self.retry)

    def _distinct(self) -> Iterator[Job]:
        """Only ids that may come again are remembered, so that memory does not grow with the manifest."""
        seen: set[str] = set()
        for job in self._planned():
            if _short(job.id) in self._repeated:
                if job.id in seen:
                    continue
                seen.add(job.id)
            yield job

    @functools.cached_property
    def _repeated(self) -> frozenset[int]:
        """The short ids that more than one job has: 8 bytes a job while they are sought, next to none after."""
        shorts = np.sort(np.array(array("Q", (_short(job.id) for job in self._planned()))))
        return frozenset(shorts[1:][shorts[1:] == shorts[:-1]].tolist())

    def _planned(self) -> Iterator[Job]:
        return ledger.planned(self.record, self.manifest, self.shard)


def _short(job_id: str) -> int:
    return int(job_id[:16], 16)
