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

RAY_S = 6.0
"""Ray's start and end, and what it takes until the first dream begins."""
READY_S = 2.0
"""An actor's start where it was not timed."""


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
    dream = {key: group.seconds(rates[key]) for key, group in tally.groups.items()}
    read, write = read_s(ends, tally), write_s(ends, tally)
    work = _work(sum(dream.values()), read, write, _busy(dream, layout, rates), layout)
    around = (read + write) / jobs
    longest = max(group.longest(rates[key]) for key, group in tally.groups.items())
    tail = _imbalance(tally.groups, rates, layout.actors) + around
    return Wall(check_s + _start(rates), max(work, longest - tail + around), tail)


def _busy(dream: Mapping[GroupKey, float], layout: Layout, rates: Mapping[GroupKey, Rate]) -> float:
    """The share of the cores that dreams keep, 0 where they are elsewhere or their times tell of that already."""
    total = sum(dream.values())
    if not layout.cpu or not total or any(rate.in_run for rate in rates.values()):
        return 0.0
    threads = sum(seconds * key.kind.threads for key, seconds in dream.items()) / total
    return min(1.0, min(layout.actors, layout.a_machine) * threads / layout.cores)


def _work(dream: float, read: float, write: float, busy: float, layout: Layout) -> float:
    """The longest of: the actors' dreams, all work shared out over the cores, and what few helpers read and write."""
    helpers = max(2, math.ceil(layout.actors / 4))
    cores = layout.cores * layout.machines
    shared = busy * dream / layout.actors + (read + write) / cores
    return max(dream / layout.actors, shared, read / helpers, write / helpers)


def _imbalance(groups: Mapping[GroupKey, Group], rates: Mapping[GroupKey, Rate], actors: int) -> float:
    total = sum(group.seconds(rates[key]) for key, group in groups.items())
    squares = sum(group.squares(rates[key]) for key, group in groups.items())
    return (actors / (actors + 1) - 0.5) * squares / total if total else 0.0


def _start(rates: Mapping[GroupKey, Rate]) -> float:
    """Ray, an actor's process, and every net once."""
    ready = max((rate.ready_s for rate in rates.values()), default=0.0)
    loads: dict[str, float] = {}
    for key, rate in rates.items():
        loads[key.kind.weights_digest] = max(rate.load_s, loads.get(key.kind.weights_digest, 0.0))
    return RAY_S + (ready or READY_S) + sum(loads.values())
