"""What a run is about to do: which jobs, and why each."""

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from dreamjobs import ledger
from dreamjobs.jobs import Job
from dreamjobs.ledger import Index, RunRecord, Shard, Survey
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
        return itertools.islice(self._survey.jobs(), self.limit)

    def outlook(self) -> Outlook:
        """Count the jobs."""
        survey = self._survey
        reasons, every = survey.reasons(self.limit), survey.reasons(None)
        beyond = sum(every.values()) - sum(reasons.values())
        return Outlook(reasons, survey.count(ledger.DONE), sum(survey.errors().values()), beyond)

    @functools.cached_property
    def _survey(self) -> Survey:
        return ledger.survey(ledger.Order(self.record, self.manifest, self.shard, self.retry), self.index)
