"""From what each dream takes to the wall time of a run.

Actors dream all the time, while other processes decode and encode. Where actors leave cores free, that costs nothing
until it takes longer than the dreams; where they do not, it takes its share of the same cores. In the end actors wait
for the last dream: at a moment chosen by chance a dream in progress is one of mean length E[d^2] / E[d] and is, at the
last of n actors, (n / (n + 1) - 1/2) of that further from its end than the mean of all.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from dreamjobs.estimate.ends import Ends, read_s, write_s
from dreamjobs.estimate.rates import Rate
from dreamjobs.estimate.tally import Group, GroupKey, Tally
from dreamjobs.jobs import Job
from dreamjobs.schedule import BUNDLE_PIXEL_STEPS, is_small

RAY_S = 6.0
"""Ray's start and end, and what it takes until the first dream begins."""
READY_S = 2.0
"""An actor's start where it was not timed."""
_HANDLING_S = 0.25  # of a core a job: the driver, and Ray's processes for fetches and stores
_BUNDLED_S = 0.002  # the same of a small picture, which has none of its own


@dataclass(frozen=True)
class Layout:
    """Actors, how many of them a machine holds, and a machine's cores; `cpu` says that they dream on the cores."""

    actors: int
    a_machine: int
    cores: int
    cpu: bool = True

    @property
    def machines(self) -> int:
        """Machines like this one that hold the actors."""
        return math.ceil(self.actors / self.a_machine)


@dataclass(frozen=True)
class Wall:
    """Seconds of a run: until the first dream, of work, and until the last picture is put."""

    start_s: float
    work_s: float
    tail_s: float

    @property
    def seconds(self) -> float:
        return self.start_s + self.work_s + self.tail_s


def wall(tally: Tally, rates: Mapping[GroupKey, Rate], ends: Ends, layout: Layout, check_s: float) -> Wall:
    """The wall time of a tally's jobs at these rates; `check_s` is what checking the manifest takes."""
    if not tally.groups:
        return Wall(check_s, 0.0, 0.0)
    jobs = sum(group.jobs for group in tally.groups.values())
    handling = sum(group.jobs * _handling_s(group.example) for group in tally.groups.values())
    dream = {key: group.seconds(rates[key]) for key, group in tally.groups.items()}
    read, write = read_s(ends, tally), write_s(ends, tally)
    beside = read + write + handling
    work = _work(sum(dream.values()), beside, _busy(dream, layout, rates), layout)
    work = max(work, max(read, write) / _helpers(layout))
    around = (read + write) / jobs
    longest = max(group.longest(rates[key]) for key, group in tally.groups.items())
    tail = _imbalance(tally.groups, rates, layout.actors) + around
    return Wall(check_s + _start(rates), max(work, longest - tail + around), tail)


def _handling_s(job: Job) -> float:
    return _BUNDLED_S if is_small(job, BUNDLE_PIXEL_STEPS) else _HANDLING_S


def _busy(dream: Mapping[GroupKey, float], layout: Layout, rates: Mapping[GroupKey, Rate]) -> float:
    """The share of the cores that dreams keep, 0 where they are elsewhere or their times tell of that already."""
    total = sum(dream.values())
    if not layout.cpu or not total or any(rate.in_run for rate in rates.values()):
        return 0.0
    threads = sum(seconds * key.kind.threads for key, seconds in dream.items()) / total
    return min(1.0, min(layout.actors, layout.a_machine) * threads / layout.cores)


def _work(dream: float, beside: float, busy: float, layout: Layout) -> float:
    """The longer of the actors' dreams, and of all work shared out over the cores."""
    alone = dream / layout.actors
    return max(alone, busy * alone + beside / (layout.cores * layout.machines))


def _helpers(layout: Layout) -> int:
    """How many photographs are read at once, and pictures written, as `run` has it."""
    return max(2, math.ceil(layout.actors / 4))


def _imbalance(groups: Mapping[GroupKey, Group], rates: Mapping[GroupKey, Rate], actors: int) -> float:
    total = sum(group.seconds(rates[key]) for key, group in groups.items())
    squares = sum(group.squares(rates[key]) for key, group in groups.items())
    return (actors / (actors + 1) - 0.5) * squares / total if total else 0.0


def _start(rates: Mapping[GroupKey, Rate]) -> float:
    """Ray, an actor's process, and what each kind's first dream takes longer."""
    ready = max((rate.ready_s for rate in rates.values()), default=0.0)
    loads = {key.kind: rate.load_s for key, rate in rates.items()}
    return RAY_S + (ready or READY_S) + sum(loads.values())
