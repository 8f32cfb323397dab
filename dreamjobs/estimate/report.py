"""What a plan says, as data."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from dreamjobs.estimate.rates import Rate
from dreamjobs.estimate.tally import SIZES, GroupKey, Tally
from dreamjobs.estimate.wall import Layout, Wall

_SECONDS_AN_HOUR = 3600.0


@dataclass(frozen=True)
class Sources:
    """How many kinds of dream have their rate from an earlier run, from the cache, and from dreams timed now."""

    earlier_run: int
    cached: int
    timed: int
    run: str | None = None


@dataclass(frozen=True)
class Line:
    """Jobs of one net, objective's layers, threads and size class. `actor_hours` are hours of one actor's dreaming."""

    net: str
    weights_digest: str
    layers: str
    shaping: str
    threads: int
    size: str
    jobs: int
    pictures: int
    megapixel_steps: float
    actor_hours: float


@dataclass(frozen=True)
class Estimate:
    """What is to be done and what it takes. `seconds` is the wall time of a run on `actors` actors."""

    jobs: int
    photographs: int
    pictures: int
    megapixel_steps: float
    bytes_in: int
    actors: int
    machines: int
    wall: Wall
    lines: tuple[Line, ...]
    rates: Sources
    jobs_done: int = 0
    jobs_failed: int = 0
    bytes_out: int = 0
    device: str = "cpu"
    usd_per_hour: float | None = None
    sample: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def hours(self) -> float:
        """Wall time in hours."""
        return self.wall.seconds / _SECONDS_AN_HOUR

    @property
    def cost_usd(self) -> float | None:
        """Hours times what all the machines together cost an hour."""
        return None if self.usd_per_hour is None else self.hours * self.usd_per_hour

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"seconds": self.wall.seconds, "hours": self.hours, "cost_usd": self.cost_usd}


def make_estimate(
    tally: Tally, rates: Mapping[GroupKey, Rate], took: Wall, layout: Layout, sources: Sources
) -> Estimate:
    """The counts of a tally and the time that it takes."""
    groups = tally.groups.values()
    return Estimate(
        jobs=sum(group.jobs for group in groups),
        photographs=tally.photographs,
        pictures=sum(group.pictures for group in groups),
        megapixel_steps=sum(group.megapixel_steps for group in groups),
        bytes_in=tally.bytes_in,
        actors=layout.actors,
        machines=layout.machines,
        wall=took,
        lines=tuple(_line(tally, key, rates[key]) for key in sorted(tally.groups, key=_order)),
        rates=sources,
    )


def _order(key: GroupKey) -> tuple[Any, ...]:
    return key.kind.net, key.kind.layers, key.kind.shaping, key.kind.threads, key.size, key.kind.weights_digest


def _line(tally: Tally, key: GroupKey, rate: Rate) -> Line:
    group, kind = tally.groups[key], key.kind
    return Line(
        net=kind.net,
        weights_digest=kind.weights_digest,
        layers=kind.layers,
        shaping=kind.shaping,
        threads=kind.threads,
        size=_size(key.size),
        jobs=group.jobs,
        pictures=group.pictures,
        megapixel_steps=group.megapixel_steps,
        actor_hours=group.seconds(rate) / _SECONDS_AN_HOUR,
    )


def _size(index: int) -> str:
    """`1 to 4` megapixels."""
    if index == 0:
        return f"under {SIZES[0]:g}"
    return f"{SIZES[index - 1]:g} to {SIZES[index]:g}" if index < len(SIZES) else f"over {SIZES[-1]:g}"
