"""A manifest's work, summed as it goes by: groups of jobs alike, and what is read and written.

No job is held but for examples: a group keeps the sums of its jobs' amounts and of their products, from which the sum
of times and of squared times follows for any rate.
"""

import random
from array import array
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dreamjobs.estimate.rates import Rate
from dreamjobs.estimate.work import JobWork, Kind
from dreamjobs.jobs import Job

Vector = NDArray[np.float64]
_EXAMPLES = 3
_MERGED = 1 << 16
SIZES = (0.25, 1.0, 4.0, 16.0, 64.0)
"""Bounds of the size classes, in megapixels of the picture."""


@dataclass(frozen=True)
class GroupKey:
    """Jobs of a kind and a size class: the index in `SIZES` of the class's bound, or its length."""

    kind: Kind
    size: int


@dataclass
class Group:
    """Sums over jobs alike, and one of the jobs."""

    example: Job
    jobs: int = 0
    pictures: int = 0
    megapixel_steps: float = 0.0
    amounts: Vector = field(default_factory=lambda: np.zeros(4))
    products: Vector = field(default_factory=lambda: np.zeros((4, 4)))
    largest: Vector = field(default_factory=lambda: np.zeros(4))

    def add(self, work: JobWork) -> None:
        """Count a job."""
        row = np.array(work.amounts.row)
        self.jobs += 1
        self.pictures += work.pictures
        self.megapixel_steps += work.megapixel_steps
        self.amounts += row
        self.products += np.outer(row, row)
        self.largest = row if row[2] > self.largest[2] else self.largest

    def seconds(self, rate: Rate) -> float:
        """What all its dreams take."""
        return float(self.amounts @ rate.row)

    def squares(self, rate: Rate) -> float:
        """The sum of the squares of what each dream takes."""
        return float(np.array(rate.row) @ self.products @ np.array(rate.row))

    def longest(self, rate: Rate) -> float:
        """What its largest dream takes."""
        return float(self.largest @ rate.row)


@dataclass
class Files:
    """Files of one format: how many, their megapixels, and of the first few an example job."""

    count: int = 0
    megapixels: float = 0.0
    examples: list[Job] = field(default_factory=list)

    def add(self, job: Job, megapixels: float, chance: random.Random) -> None:
        """Count a file; the examples are a fair choice of all."""
        self.count += 1
        self.megapixels += megapixels
        if len(self.examples) < _EXAMPLES:
            self.examples.append(job)
        elif (place := chance.randrange(self.count)) < _EXAMPLES:
            self.examples[place] = job


class Tally:
    """Everything that is summed over the jobs that are to be done."""

    def __init__(self) -> None:
        self.groups: dict[GroupKey, Group] = {}
        self.read: defaultdict[str, Files] = defaultdict(Files)
        self.written: defaultdict[tuple[str, int], Files] = defaultdict(Files)
        self.bytes_in = self.unknown_bytes = self.ends_early = 0
        self._chance = random.Random(0)
        self._images = _Distinct()

    def add(self, job: Job, work: JobWork) -> None:
        """Count a job."""
        key = GroupKey(work.kind, sum(work.megapixels > bound for bound in SIZES))
        self.groups.setdefault(key, Group(job)).add(work)
        if work.source_kind:
            self.read[work.source_kind].add(job, work.source_megapixels, self._chance)
        self.written[work.format, job.params.quality].add(job, work.written_megapixels, self._chance)
        self.bytes_in += job.source.size_bytes or 0
        self.unknown_bytes += job.source.size_bytes is None
        self.ends_early += job.params.until > 0
        self._images.add(job.source.image)

    @property
    def photographs(self) -> int:
        """How many different photographs the jobs have."""
        return self._images.count()

    def kinds(self) -> Iterator[tuple[Kind, Job]]:
        """Each kind once, with an example of its largest size class."""
        found = {key.kind: group.example for key, group in sorted(self.groups.items(), key=lambda pair: pair[0].size)}
        yield from found.items()


class _Distinct:
    """Counts different texts, 8 bytes each."""

    def __init__(self) -> None:
        self._new = array("q")
        self._known: NDArray[np.int64] = np.zeros(0, np.int64)

    def add(self, text: str) -> None:
        self._new.append(hash(text))
        if len(self._new) >= max(_MERGED, len(self._known)):
            self.count()

    def count(self) -> int:
        self._known = np.union1d(self._known, np.array(self._new, np.int64))
        self._new = array("q")
        return len(self._known)
