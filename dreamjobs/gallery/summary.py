"""What a run came to, in numbers. Times are seconds; a number that is not known is None."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dreamjobs.gallery.data import Row

_STAGES = ("fetch_s", "decode_s", "dream_s", "encode_s", "put_s")


@dataclass(frozen=True)
class Summary:
    """A run in numbers.

    `wall_s` is how long at least one picture was in the making, pauses between drivers left out; `compute_s` the sum
    over pictures. `megapixel_steps` counts the pixels of every step of every octave, a clip as one picture.
    """

    jobs: int
    done: int
    failed: int
    left: int
    wall_s: float
    compute_s: float
    size_bytes: int
    megapixel_steps: float
    pictures_per_hour: float | None
    begun: float | None
    ended: float | None
    cost_usd: float | None

    def as_data(self) -> dict[str, Any]:
        """For the page."""
        return asdict(self)


def summarize(rows: Sequence[Row], *, left: int = 0, cost_usd: float | None = None) -> Summary:
    """The numbers of current results; `left` is what is still to be done."""
    done = [row for row in rows if row["status"] == "done"]
    spans = [_span(row) for row in done if row["finished"]]
    wall = _covered(spans)
    return Summary(
        jobs=len(rows) + left,
        done=len(done),
        failed=len(rows) - len(done),
        left=left,
        wall_s=wall,
        compute_s=sum(row["dream_s"] or 0.0 for row in done),
        size_bytes=sum(row["size_bytes"] or 0 for row in done),
        megapixel_steps=sum(map(megapixel_steps, done)),
        pictures_per_hour=len(done) / wall * 3600 if wall else None,
        begun=min((begin for begin, _ in spans), default=None),
        ended=max((end for _, end in spans), default=None),
        cost_usd=cost_usd,
    )


def megapixel_steps(row: Row) -> float:
    """Millions of pixels that a picture's steps went over, summed over octaves, of which small ones count less."""
    areas = _octave_areas(row)
    steps = len(row["objective_curve"] or ()) or row["steps"] * len(areas)  # of a sequence the curve is the last one's
    return float(row["width"] * row["height"] / 1e6 * (row.get("frames") or 1) * steps * sum(areas) / len(areas))


def _octave_areas(row: Row) -> list[float]:
    """The area of each octave, as a share of the last one's."""
    if row.get("octave_sizes"):
        sides = [int(side) for side in row["octave_sizes"].split()]
        return [(side / sides[-1]) ** 2 for side in sides]
    return [row["octave_scale"] ** (-2.0 * octave) for octave in range(row["octaves"])]


def _span(row: Row) -> tuple[float, float]:
    """When a picture's stages began and ended, as seconds since 1970, waiting between them left out."""
    end: float = row["finished"].timestamp()
    return end - sum(row[name] or 0.0 for name in _STAGES), end


def _covered(spans: Iterable[tuple[float, float]]) -> float:
    """How much time lies in at least one of the spans."""
    covered, reached = 0.0, float("-inf")
    for begin, end in sorted(spans):
        covered += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return covered
