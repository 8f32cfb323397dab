"""Where a fanned-out picture is: which of the round's groups of tiles have come back."""

import itertools
import math
from collections import Counter
from dataclasses import replace

from dreamjobs.fanout import Course, Fanned, Plan, Report, State
from dreamjobs.params import DreamParams
from dreamjobs.schedule.events import Part

KEEP_S = 120.0
"""A finished octave is kept once actors were at it, and at those before it, for so many seconds together."""


class Fan:
    """One attempt at one picture; all tiles of a round are stitched, dreamed, then copied, before the next begins."""

    def __init__(self, plan: Plan, params: DreamParams, attempt: int, state: State | None = None) -> None:
        self._course = Course.resumed(plan, params, state) if state else Course(plan, params)
        self._attempt = attempt
        self._reports: dict[int, Report] = {}
        self._copied: set[int] = set()
        self._failures: Counter[Part | None] = Counter()
        self._seconds = self._kept_s = 0.0
        self._keeps = False
        self._devices = set(state.devices) if state else set()
        # Pixel-steps before each round, and all; one that only measures takes a gradient, as a step does.
        rounds = (max(1, now.steps) * math.prod(plan.octaves[now.octave].size) for now in plan.rounds)
        self._work = [*itertools.accumulate(rounds, initial=0)]
        self._begun = self._work[self.number]

    @property
    def share(self) -> float:
        """How much is dreamed, in [0, 1], of the pixel-steps that were left as this attempt began."""
        if self._course.round is None:
            return 1.0
        before, after = self._work[self.number : self.number + 2]
        back = len(self._reports) / len(self.plan.octave(self.number).groups)
        return (before + back * (after - before) - self._begun) / (self._work[-1] - self._begun)

    @property
    def plan(self) -> Plan:
        """What is dreamed in which order."""
        return self._course.plan

    @property
    def number(self) -> int:
        """The round that is now to be dreamed."""
        return self._course.number

    def parts(self) -> list[Part]:
        """The groups of tiles of the round that is now to be dreamed; none at the end."""
        now = self._course.round
        if now is None:
            return []
        number, strengths = self._course.number, self._course.strengths()
        self._keeps = self.plan.ends_octave(number) and self._seconds - self._kept_s >= KEEP_S
        state = replace(self._course.state(), devices=tuple(sorted(self._devices))) if self._keeps else None
        groups = len(self.plan.octave(number).groups)
        return [Part(self._attempt, number, index, strengths, state) for index in range(groups)]

    def is_of(self, part: Part) -> bool:
        """Whether a part belongs to this attempt."""
        return part.attempt == self._attempt

    def ascended(self, part: Part, report: Report) -> None:
        """Take a group back."""
        self._reports[part.index] = report
        self._seconds += report.seconds
        self._devices.add(report.device)

    def copied(self, part: Part) -> bool:
        """No node takes a group with it any more; whether it was the last of its round, and the next has begun."""
        self._copied.add(part.index)
        if len(self._copied) < len(self.plan.octave(self.number).groups):
            return False
        if self._keeps:
            self._kept_s = self._seconds
        self._course.advance([steps for index in sorted(self._reports) for steps in self._reports[index].steps])
        self._reports.clear()
        self._copied.clear()
        return True

    def failed(self, part: Part | None) -> int:
        """How often a part has failed, or the store, with this time."""
        self._failures[part] += 1
        return self._failures[part]

    def made(self) -> Fanned:
        """How the picture came about, at the end."""
        return Fanned(self._course.plan, tuple(self._course.curve), self._seconds, ", ".join(sorted(self._devices)))
