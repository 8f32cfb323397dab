"""How fast a run goes and when it ends, from storage alone, asked again and again at little cost.

A look lists the parts of the results and reads those that are new, and the manifest again only where it was replaced:
on S3 a request or two while nothing happens. Times are seconds; rates are jobs a minute, done and failed together. The
clocks of this machine and of the workers are taken to agree.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from dreamjobs import ledger, results
from dreamjobs.errors import StorageError
from dreamjobs.jobs import Keys
from dreamjobs.ledger import Status
from dreamjobs.storage import Store

_STAGES = ("fetch_s", "decode_s", "dream_s", "encode_s", "put_s")
_COLUMNS = (
    *("id", "row", "image", "output", "status", "error_type", "finished", "width", "height", "frames"),
    *("node", "actor", "device"),
    *_STAGES,
)
_WINDOW, _LONG_WINDOW = timedelta(minutes=5), timedelta(hours=1)
_ENOUGH = 5  # jobs to tell a rate from
_SLOWEST = 5
_ATTEMPTS = 10


@dataclass(frozen=True)
class Slow:
    """A done job that took long, all stages together."""

    id: str
    image: str
    output: str
    seconds: float


@dataclass(frozen=True)
class Node:
    """What a node's devices of one kind came to: pictures, those a minute lately, and seconds a picture.

    Its name is empty for pictures that many actors dreamed together, who may be on several nodes.
    """

    node: str
    device: str
    done: int
    rate_per_min: float | None
    mean_s: float


@dataclass(frozen=True)
class Actor:
    """What one process that dreams came to; an actor that was replaced is another one.

    `megapixels_per_s` are those of its pictures, frames included, over the seconds of their dreams alone.
    """

    actor: str
    device: str
    done: int
    rate_per_min: float | None
    mean_s: float
    megapixels_per_s: float | None
    last_finished: datetime


@dataclass(frozen=True)
class Look:
    """A run at one time. `rate_per_min` is None if nothing ended lately, and so is `eta_s`, which is 0 in the end.

    Actors are those that the results name: no one for a picture that many dreamed together. Lately is the last 5
    minutes, or the last hour where fewer than 5 jobs ended in these.
    """

    status: Status
    at: datetime
    rate_per_min: float | None
    eta_s: float | None
    last_finished: datetime | None
    nodes: tuple[Node, ...]
    actors: tuple[Actor, ...]
    slowest: tuple[Slow, ...]

    def as_data(self) -> dict[str, Any]:
        """For JSON: the counts at the top, times in ISO 8601."""
        data: dict[str, Any] = asdict(self, dict_factory=_plain)
        return {**data.pop("status"), **data}


def _plain(cells: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in cells}


class Monitor:
    """Looks at one run, and keeps between looks what need not be read again: its parts, and which jobs it asks for."""

    def __init__(self, run: Store, clock: Callable[[], datetime] = results.now) -> None:
        self._run, self._clock = run, clock
        self._parts: dict[str, pa.Table] = {}
        self._asked: Counter[str] = Counter()
        self._asked_version = ""

    def look(self) -> Look:
        """The run as it is now.

        Raises:
            NotFoundError: if nothing was ever run there.
        """
        asked = self._read_asked()
        rows = self._read_rows().to_pylist()
        ended = {row["id"]: None if row["status"] == "done" else row["error_type"] for row in rows}
        return summarize(ledger.tally(asked, ended), rows, self._clock())

    def _read_asked(self) -> Counter[str]:
        """How often each job is asked for; a run that is extended writes its record last."""
        info = self._run.info(Keys.RUN)
        if info is None or info.version != self._asked_version:
            record = ledger.load_record(self._run)
            manifest = ledger.own_manifest(self._run, record)
            self._asked = Counter(job.id for job in ledger.planned(record, manifest))
            self._asked_version = info.version if info else ""
        return self._asked

    def _read_rows(self) -> pa.Table:
        """The current rows; parts that are merged meanwhile make it list them again."""
        for _ in range(_ATTEMPTS):
            keys = [info.key for info in self._run.list(Keys.RESULTS) if info.key.endswith(".parquet")]
            parts = {key: self._parts[key] if key in self._parts else self._read_part(key) for key in keys}
            self._parts = {key: part for key, part in parts.items() if part.num_rows}
            if len(self._parts) == len(parts):
                return results.current(pa.concat_tables([_nothing(), *parts.values()]))
        raise StorageError(f"the results of {self._run.url!r} changed {_ATTEMPTS} times while being read; try again")

    def _read_part(self, key: str) -> pa.Table:
        """A part's current rows, none if it is gone."""
        part = results.read(self._run, _COLUMNS, prefix=key.removeprefix(Keys.RESULTS))
        return part if part.num_rows else _nothing()


def _nothing() -> pa.Table:
    return results.SCHEMA.empty_table().select(list(_COLUMNS))


def summarize(status: Status, rows: list[dict[str, Any]], at: datetime) -> Look:
    """The rate, the time left, the nodes and the slowest jobs, from current rows."""
    ended = [row for row in rows if row["finished"]]
    lately = _lately(ended, at)
    rate = lately.rate(ended)
    done = [row for row in ended if row["status"] == "done"]
    slowest = sorted(done, key=_seconds, reverse=True)[:_SLOWEST]
    return Look(
        status=status,
        at=at,
        rate_per_min=rate,
        eta_s=0.0 if not status.left else status.left / rate * 60 if rate else None,
        last_finished=max((row["finished"] for row in ended), default=None),
        nodes=_nodes(done, lately),
        actors=_actors(done, lately),
        slowest=tuple(Slow(row["id"], row["image"], row["output"], _seconds(row)) for row in slowest),
    )


@dataclass(frozen=True)
class _Lately:
    """The jobs of the last minutes, and how long it is since the first of them was begun."""

    ids: frozenset[str]
    minutes: float

    def rate(self, rows: list[dict[str, Any]]) -> float | None:
        """How many of these rows a minute; None if none of them is of the last minutes."""
        count = sum(row["id"] in self.ids for row in rows)
        return count / self.minutes if count else None


def _lately(rows: list[dict[str, Any]], at: datetime) -> _Lately:
    """Of the last minutes, or of the last hour if they are too few to tell from."""
    recent = [row for row in rows if row["finished"] > at - _WINDOW]
    if len(recent) < _ENOUGH:
        recent = [row for row in rows if row["finished"] > at - _LONG_WINDOW]
    begun = min((row["finished"] - timedelta(seconds=_seconds(row)) for row in recent), default=at)
    return _Lately(frozenset(row["id"] for row in recent), max((at - begun).total_seconds(), 1.0) / 60)


def _nodes(done: list[dict[str, Any]], lately: _Lately) -> tuple[Node, ...]:
    """By node and kind of device, those with most pictures first."""
    nodes = (
        Node(
            node=node,
            device=device,
            done=len(rows),
            rate_per_min=lately.rate(rows),
            mean_s=_mean(rows),
        )
        for (node, device), rows in _grouped(done, "node").items()
    )
    return tuple(sorted(nodes, key=lambda node: (-node.done, node.node, node.device)))


def _actors(done: list[dict[str, Any]], lately: _Lately) -> tuple[Actor, ...]:
    """By actor, those with most pictures first."""
    actors = (
        Actor(
            actor=actor,
            device=device,
            done=len(rows),
            rate_per_min=lately.rate(rows),
            mean_s=_mean(rows),
            megapixels_per_s=_megapixels_per_s(rows),
            last_finished=max(row["finished"] for row in rows),
        )
        for (actor, device), rows in _grouped(done, "actor").items()
        if actor
    )
    return tuple(sorted(actors, key=lambda actor: (-actor.done, actor.actor, actor.device)))


def _grouped(rows: list[dict[str, Any]], name: str) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Rows by a column and the kind of device."""
    grouped: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        grouped.setdefault((row[name] or "", row["device"] or ""), []).append(row)
    return grouped


def _megapixels_per_s(rows: list[dict[str, Any]]) -> float | None:
    dreamed = sum(row["width"] * row["height"] * (row["frames"] or 1) for row in rows if row["width"])
    seconds = sum(row["dream_s"] or 0.0 for row in rows)
    return dreamed / 1e6 / seconds if seconds else None


def _mean(rows: list[dict[str, Any]]) -> float:
    return sum(map(_seconds, rows)) / len(rows)


def _seconds(row: dict[str, Any]) -> float:
    return float(sum(row[name] or 0.0 for name in _STAGES))
