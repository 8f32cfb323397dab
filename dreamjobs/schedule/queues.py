"""What waits for a stage to begin, in order, and how much is at each stage now."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from dreamjobs.schedule.events import Part, Stage

_STAGES: tuple[Stage, ...] = ("fetch", "dream", "stitch", "ascend", "copy", "store", "make")


@dataclass(frozen=True)
class Errand:
    """One thing to be done: a stage of a job, or of a part of it."""

    job_id: str
    stage: Stage
    part: Part | None = None


@dataclass
class Queues:
    """A queue of errands for each stage; `running` counts those that were taken and have not ended."""

    waiting: dict[Stage, deque[Errand]] = field(default_factory=lambda: {stage: deque() for stage in _STAGES})
    running: dict[Stage, int] = field(default_factory=lambda: dict.fromkeys(_STAGES, 0))

    def put(self, errand: Errand) -> None:
        """It waits behind all others of its stage."""
        self.waiting[errand.stage].append(errand)

    def put_first(self, errand: Errand) -> None:
        """It is the next of its stage."""
        self.waiting[errand.stage].appendleft(errand)

    def take(self, stage: Stage) -> Errand:
        """The next errand of a stage, which is running from now on."""
        self.running[stage] += 1
        return self.waiting[stage].popleft()

    def take_these(self, errands: Iterable[Errand]) -> None:
        """These are running from now on; they wait near the front."""
        for errand in errands:
            self.running[errand.stage] += 1
            self.waiting[errand.stage].remove(errand)

    def ended(self, errand: Errand) -> None:
        """A running errand is over."""
        self.running[errand.stage] -= 1

    def clear(self, stage: Stage) -> list[Errand]:
        """Nothing waits for a stage any more; what did."""
        errands = list(self.waiting[stage])
        self.waiting[stage].clear()
        return errands

    def forget(self, job_id: str) -> None:
        """Nothing of a job waits any more."""
        for stage, errands in self.waiting.items():
            self.waiting[stage] = deque(errand for errand in errands if errand.job_id != job_id)

    def depths(self) -> dict[Stage, int]:
        """How much waits for each stage."""
        return {stage: len(errands) for stage, errands in self.waiting.items()}

    def at(self, stage: Stage) -> int:
        """How much waits for a stage or is running."""
        return len(self.waiting[stage]) + self.running[stage]
