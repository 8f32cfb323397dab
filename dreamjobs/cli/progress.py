"""Progress of a run: one live bar on a terminal, a plain line every 30 s elsewhere. On standard error."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

from dreamjobs.engine import Outlook, Progress, Watcher
from dreamjobs.schedule import Finish

_LINE_S = 30.0


@contextmanager
def watch() -> Iterator[Watcher]:
    """The watcher for this terminal, or for a log."""
    if not sys.stderr.isatty():
        yield _Log().watcher
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bars

    with Bars(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"), console=Console(stderr=True)
    ) as bars:
        task = bars.add_task("dreaming", total=None, text="starting")
        yield Watcher(
            on_outlook=lambda outlook: bars.console.print(describe_outlook(outlook), markup=False),
            on_progress=lambda now: bars.update(
                task, completed=now.done + now.failed + sum(now.shares), total=now.todo, text=describe(now)
            ),
            on_note=lambda note: bars.console.print(note, markup=False),
            on_finish=lambda finish: _tell_failure(finish, lambda text: bars.console.print(text, markup=False)),
        )


def describe_outlook(outlook: Outlook) -> str:
    """`12 to do: 10 new, 2 source changed; 5 done before`."""
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in outlook.reasons.items())
    parts = [f"{outlook.todo:,} to do" + (f": {reasons}" if reasons else ""), f"{outlook.done:,} done before"]
    if outlook.beyond:
        parts.append(f"{outlook.beyond:,} beyond --limit")
    if outlook.failed:
        parts.append(f"{outlook.failed:,} failed before (--retry-failed tries them again)")
    return "; ".join(parts)


def describe(now: Progress) -> str:
    """Counts, speed and time left, in one line."""
    ended = now.done + now.failed
    made = ended + sum(now.shares)
    seconds = max(now.seconds, 1e-9)
    eta = f"{_clock((now.todo - made) * now.seconds / made)} left" if made else "time left unknown"
    return (
        f"{now.done:,} done, {now.failed:,} failed, {now.todo - ended:,} left{_by_tiles(now.shares)} | "
        f"{now.done / seconds * 60:.1f} pictures/min, {now.pixels / 1e6 / seconds:.2f} megapixels/s | {eta} | "
        f"{now.actors} actor{'' if now.actors == 1 else 's'}"
    )


def _by_tiles(shares: tuple[float, ...]) -> str:
    """`, 37% of 1 dreamed by tiles`."""
    if not shares:
        return ""
    return f", {sum(shares) / len(shares):.0%} of {len(shares)} dreamed by tiles"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def _tell_failure(finish: Finish, line: Callable[[str], None]) -> None:
    if failure := finish.failure:
        line(f"failed: {finish.job.source.image}: {failure.type}: {failure.message}")


class _Log:
    """Plain lines, for a file or a pipe."""

    def __init__(self) -> None:
        self._next = time.monotonic() + _LINE_S
        self.watcher = Watcher(
            on_outlook=lambda outlook: self._line(describe_outlook(outlook)),
            on_progress=self._progress,
            on_note=self._line,
            on_finish=lambda finish: _tell_failure(finish, self._line),
        )

    def _progress(self, now: Progress) -> None:
        if time.monotonic() >= self._next:
            self._next += _LINE_S
            self._line(describe(now))

    def _line(self, text: str) -> None:
        typer.echo(text, err=True)
