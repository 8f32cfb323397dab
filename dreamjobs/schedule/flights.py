"""The jobs in flight, and whether there is room for one more."""

from dataclasses import dataclass, field

from dreamjobs.jobs import Job
from dreamjobs.schedule.bundles import MOST_JOBS, is_small
from dreamjobs.schedule.events import Limits
from dreamjobs.schedule.fan import Fan


@dataclass
class Flight:
    """A job in flight; `fan` is set while it is dreamed by tiles.

    `last_attempt` is the one whose failure is the job's. It moves on where one finds more kept than those before:
    of a picture of hours more nodes may be lost than of another.
    """

    job: Job
    is_small: bool
    last_attempt: int
    attempt: int = 1
    fan: Fan | None = None
    kept: int = 0

    def fan_out(self, fan: Fan, attempts: int) -> None:
        """It is dreamed by tiles from here on; `attempts` are allowed from any point that was reached."""
        if fan.number > self.kept:
            self.kept, self.last_attempt = fan.number, self.attempt + attempts - 1
        self.fan = fan

    @property
    def room(self) -> int:
        """What it takes of the room there is: a bundle of small pictures takes as much as one other."""
        return 1 if self.is_small else MOST_JOBS


@dataclass
class Flights:
    """Flights by the id of their job."""

    _by_id: dict[str, Flight] = field(default_factory=dict)
    _pixels: int = 0
    _room: int = 0

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._by_id

    def __getitem__(self, job_id: str) -> Flight:
        return self._by_id[job_id]

    def get(self, job_id: str) -> Flight | None:
        """The job's flight, if it is in one."""
        return self._by_id.get(job_id)

    def has_room(self, job: Job, limits: Limits) -> bool:
        """Whether there is room for a job; for one alone there always is."""
        if not self._by_id:
            return True
        room = self._room + _flight(job, limits).room
        return room <= limits.jobs * MOST_JOBS and self._pixels + job.pixels <= limits.pixels

    def add(self, job: Job, limits: Limits) -> Flight:
        """The flight of a job from now on."""
        flight = self._by_id[job.id] = _flight(job, limits)
        self._pixels += job.pixels
        self._room += flight.room
        return flight

    def remove(self, flight: Flight) -> None:
        """The flight is over."""
        del self._by_id[flight.job.id]
        self._pixels -= flight.job.pixels
        self._room -= flight.room

    @property
    def shares(self) -> tuple[float, ...]:
        """How much is dreamed, in [0, 1], of each picture that is dreamed by tiles, of what was left of it."""
        return tuple(flight.fan.share for flight in self._by_id.values() if flight.fan)

    @property
    def any_fanned(self) -> bool:
        """Whether some job is dreamed by tiles."""
        return any(flight.fan for flight in self._by_id.values())


def _flight(job: Job, limits: Limits) -> Flight:
    return Flight(job, is_small(job, limits.bundle), limits.attempts)
