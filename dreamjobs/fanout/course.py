"""How far a fanned-out picture is, and by how much its steps are divided. Numbers only, no pixels.

A step's gradient is divided by its strength over the whole picture, or sky would come out as loud as what is busy.
While tiles are away from each other nobody knows that strength, so it is foretold: what it was at the last sync, times
how it grew over the same steps of the octave before, which is a little faster than it does now. An octave begins
weaker than the one before it ended, by as much as that one did. Of the smallest octave and of the first for another
objective nothing can be foretold: it is measured. A step that came out too long or too short, as the next sync shows,
is made up for by the steps after it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from dreamjobs.fanout.plan import Plan, Round
from dreamjobs.params import DreamParams

_LARGEST_SHARE = 0.5  # of a step, that it makes up for others
_LARGEST_DEBT = 3.0  # steps; what was far too long cannot be taken back by shorter ones
_LARGEST_CHANGE = 10.0  # of strength, that is believed
_SLOWER = 0.75  # power of the growth in the octave before; 0.5 to 1 for photographs and skies, three nets


@dataclass(frozen=True)
class Moments:
    """Sums over the pixels of a gradient, from which its strength follows: of |g|, g squared, g; and their number."""

    absolute: float
    squared: float
    plain: float
    count: int

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(
            self.absolute + other.absolute,
            self.squared + other.squared,
            self.plain + other.plain,
            self.count + other.count,
        )

    def strength(self, normalize: str) -> float:
        """What `normalize` divides a gradient by: `mean_abs`, `rms` or `std`."""
        if normalize == "mean_abs":
            return self.absolute / self.count
        mean = self.plain / self.count if normalize == "std" else 0.0
        return math.sqrt(max(0.0, self.squared / self.count - mean**2))


@dataclass(frozen=True)
class Steps:
    """What a tile reports of a round: each step's moments over what it owns and sees, the objective over its crop."""

    moments: tuple[Moments, ...]
    objective: tuple[float, ...]


@dataclass(frozen=True)
class State:
    """How far a course is: enough, with the pieces of the round before, to go on from there; on which devices."""

    number: int
    curve: tuple[float, ...]
    first: float
    owed: float
    measured: tuple[tuple[float, ...], ...]
    devices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """What comes of a group's round beside its pixels: each tile's steps; `device` in words."""

    steps: tuple[Steps, ...]
    seconds: float
    device: str


@dataclass(frozen=True)
class Fanned:
    """How a picture was made: its plan, the objective before each step, the actors' seconds together, the devices."""

    plan: Plan
    curve: tuple[float, ...]
    seconds: float
    device: str


@dataclass
class Course:
    """The rounds of one picture, one after another, and what was measured in them."""

    plan: Plan
    params: DreamParams
    number: int = 0
    curve: list[float] = field(default_factory=list)
    _first: float = 1.0
    _owed: float = 0.0  # steps of full length asked for, less the lengths of those taken
    _measured: dict[int, list[float]] = field(default_factory=dict)  # octave -> the strength at each of its steps

    @classmethod
    def resumed(cls, plan: Plan, params: DreamParams, state: State) -> "Course":
        """The course that said this of itself."""
        measured = {octave: list(found) for octave, found in enumerate(state.measured)}
        return cls(plan, params, state.number, list(state.curve), state.first, state.owed, measured)

    def state(self) -> State:
        """How far it is."""
        measured = tuple(tuple(found) for _, found in sorted(self._measured.items()))
        return State(self.number, tuple(self.curve), self._first, self._owed, measured)

    @property
    def round(self) -> Round | None:
        """The round to be dreamed now, None at the end."""
        return self.plan.rounds[self.number] if self.number < len(self.plan.rounds) else None

    def strengths(self) -> tuple[float, ...]:
        """What the gradient of each of the round's steps is to be divided by."""
        now = self.plan.rounds[self.number]
        share = self._owed / max(1, now.steps)
        longer = 1 + min(_LARGEST_SHARE, max(-_LARGEST_SHARE, share))
        foretold = (self._foretold(now, now.first + step) for step in range(now.steps))
        # Where there was no gradient at all no step is taken: one would be without bounds if there now is.
        return tuple(strength / longer if strength else math.inf for strength in foretold)

    def advance(self, reports: Sequence[Steps]) -> None:
        """Go on to the next round; every tile has reported."""
        now, told = self.plan.rounds[self.number], self.strengths()
        self.number += 1
        if not now.steps:
            self._first = self._strength(reports, 0)
        found = [self._strength(reports, step) for step in range(now.steps)]
        self._measured.setdefault(now.octave, []).extend(found)
        owed = self._owed + sum(1 - strength / divisor for strength, divisor in zip(found, told, strict=True))
        self._owed = min(_LARGEST_DEBT, max(-_LARGEST_DEBT, owed))
        self.curve += [_objective(reports, step) for step in range(now.steps)]

    def _strength(self, reports: Sequence[Steps], step: int) -> float:
        first, *others = (report.moments[step] for report in reports)
        return sum(others, first).strength(self.params.normalize)

    def _foretold(self, now: Round, step: int) -> float:
        if self.plan.is_measured(now.octave):
            return self._measured[now.octave][-1] if now.first else self._first
        before = self._measured[now.octave - 1]
        if not now.first:
            return before[-1] * self._fall(now.octave - 1)
        return self._measured[now.octave][-1] * math.pow(_change(before[now.first - 1], before[step]), _SLOWER)

    def _fall(self, octave: int) -> float:
        """How strong an octave began, over how strong the one before it ended; 1 where that was for something else."""
        if self.plan.is_measured(octave):
            return 1.0
        return _change(self._measured[octave - 1][-1], self._measured[octave][0])


def _change(old: float, new: float) -> float:
    """From one strength to another, as far as it is believed; 1 where there was no gradient."""
    if not (old and new):
        return 1.0
    return min(_LARGEST_CHANGE, max(1 / _LARGEST_CHANGE, new / old))


def _objective(reports: Sequence[Steps], step: int) -> float:
    """The tiles' mean, each counting by what it owns: overlaps are seen twice, so it is near the picture's only."""
    pixels = sum(report.moments[step].count for report in reports)
    return sum(report.objective[step] * report.moments[step].count for report in reports) / pixels
