"""What `dreamjobs status` shows: plain lines, JSON, or a live screen that is read again from storage."""

import json
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import typer

_ACTORS = 16

if TYPE_CHECKING:
    from rich.console import RenderableType

    from dreamjobs.ledger import Status
    from dreamjobs.reports.live import Look, Monitor


def print_status(found: "Status") -> None:
    """The counts, failures by type, and what stands besides."""
    typer.echo(_counts(found))
    for error, count in found.errors.items():
        typer.echo(f"  {count:,} x {error}")
    if found.other:
        typer.echo(f"  and {found.other:,} results of jobs that the manifest no longer asks for")
    if found.repeats:
        typer.echo(f"  and {found.repeats:,} that repeat others, done with them")


def print_json(look: "Look", *, indent: int | None = 2) -> None:
    """Everything that is known, as one object."""
    typer.echo(json.dumps(look.as_data(), indent=indent))


def watch_run(monitor: "Monitor", interval_s: float, *, as_json: bool = False) -> None:
    """Look until nothing is left or Ctrl-C is pressed: a live screen on a terminal, else lines, of text or JSON."""
    with suppress(KeyboardInterrupt):
        if as_json or not sys.stdout.isatty():
            _watch_in_lines(monitor, interval_s, as_json)
        else:
            _watch_live(monitor, interval_s)


def _watch_in_lines(monitor: "Monitor", interval_s: float, as_json: bool) -> None:
    """A line for every look at which something changed."""
    before = None
    while True:
        look = monitor.look()
        if look.status != before:
            print_json(look, indent=None) if as_json else typer.echo(describe(look))
            before = look.status
        if not look.status.left:
            return
        time.sleep(interval_s)


def _watch_live(monitor: "Monitor", interval_s: float) -> None:
    from rich.live import Live

    look = monitor.look()
    with Live(screen_of(look), auto_refresh=False) as live:
        while look.status.left:
            time.sleep(interval_s)
            look = monitor.look()
            live.update(screen_of(look), refresh=True)


def describe(look: "Look") -> str:
    """A look in one line: counts, failures by type, speed and time left."""
    errors = ", ".join(f"{count:,} x {error}" for error, count in look.status.errors.items())
    return " | ".join(filter(None, [_counts(look.status), errors, _speed(look)]))


def screen_of(look: "Look") -> "RenderableType":
    """A look as a screen: the line, a bar, and tables of failures, nodes, actors and the slowest jobs."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.progress_bar import ProgressBar
    from rich.text import Text

    ended = look.status.done + look.status.failed
    parts: list[Any] = [
        Text(f"{_counts(look.status)} | {_speed(look)}"),
        Padding(ProgressBar(total=max(1, look.status.jobs), completed=ended), (0, 0)),  # ends the bar's line
    ]
    if look.status.errors:
        parts.append(_table(("failed with", "jobs"), [(name, f"{n:,}") for name, n in look.status.errors.items()]))
    if look.nodes:
        parts.append(_nodes(look))
    if look.actors:
        parts.append(_actors(look))
    if look.slowest:
        slowest = [(item.image, f"{item.seconds:.1f} s", item.id[:8]) for item in look.slowest]
        parts.append(_table(("slowest jobs", "took", "id"), slowest))
    return Group(*parts)


def _nodes(look: "Look") -> Any:
    rows = [
        (node.node or "several", node.device, f"{node.done:,}", _per_minute(node.rate_per_min), f"{node.mean_s:.1f} s")
        for node in look.nodes
    ]
    return _table(("node", "device", "done", "lately", "a picture"), rows)


def _actors(look: "Look") -> Any:
    """Those with most pictures; so many as a screen has room for."""
    rows: list[tuple[str, ...]] = [
        (
            actor.actor,
            actor.device,
            f"{actor.done:,}",
            _per_minute(actor.rate_per_min),
            f"{actor.mean_s:.1f} s",
            "" if actor.megapixels_per_s is None else f"{actor.megapixels_per_s:.3g}",
            f"{_hms((look.at - actor.last_finished).total_seconds())} ago",
        )
        for actor in look.actors[:_ACTORS]
    ]
    more = len(look.actors) - len(rows)
    rows += [(f"and {more:,} more (--json)", *[""] * 6)] if more else []
    return _table(("actor", "device", "done", "lately", "a picture", "megapixels/s", "last seen"), rows)


def _table(names: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(*names, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _counts(found: "Status") -> str:
    return f"{found.jobs:,} jobs: {found.done:,} done, {found.failed:,} failed, {found.left:,} left"


def _speed(look: "Look") -> str:
    if not look.status.left:
        return "nothing left"
    return f"{_per_minute(look.rate_per_min)} | {_clock(look.eta_s)}"


def _per_minute(rate: float | None) -> str:
    return "nothing lately" if rate is None else f"{rate:.1f}/min"


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return "time left unknown"
    return f"{_hms(seconds)} left"


def _hms(seconds: float) -> str:
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
