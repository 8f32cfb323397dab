"""The command that says what a run will take. What it needs is imported inside it, so that help comes at once."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dreamjobs.cli.app import Settings, app, examples
from dreamjobs.cli.terminal import read_settings

if TYPE_CHECKING:
    from dreamjobs.estimate import Estimate

_WIDTH = 110  # of the table where the terminal's width is not known


@app.command(
    epilog=examples(
        "dreamjobs plan m.parquet",
        "dreamjobs plan m.parquet run1 --actors 8 --device cuda --usd-per-hour 12.5",
        "dreamjobs plan m.parquet --from run0 --json",
        "dreamjobs plan m.parquet run1 --sample 6",
    )
)
def plan(
    manifest_url: Annotated[str, typer.Argument(metavar="MANIFEST", help="A manifest, local or s3://.")],
    run_url: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="What this run has already is not counted.")
    ] = None,
    settings: Settings = None,
    usd_per_hour: Annotated[
        float | None, typer.Option(min=0.0, help="What all the machines together cost an hour.")
    ] = None,
    actors: Annotated[int | None, typer.Option(min=1, help="Actors that dream; default as `run` here.")] = None,
    device: Annotated[str | None, typer.Option(metavar="cpu|cuda", help="Default cuda where there is one.")] = None,
    earlier: Annotated[
        str | None, typer.Option("--from", metavar="RUN0", help="Take times from this run's results.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Time dreams again, although they were timed before.")] = False,
    sample: Annotated[
        int, typer.Option(min=0, metavar="K", help="Dream this many jobs first, spread over the manifest.")
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="The same as data.")] = False,
) -> None:
    """Say what a run will take, before anything is spent.

    Counts what the manifest asks for and RUN lacks, and times small dreams of each kind here. Nothing is written,
    but for a sample: into RUN or, without one, a temporary folder.
    """
    from dreamjobs.errors import InputError
    from dreamjobs.estimate import PlanOptions
    from dreamjobs.estimate import plan as look

    if device not in (None, "cpu", "cuda"):
        raise InputError(f"--device {device!r} is refused; allowed is cpu or cuda")
    options = PlanOptions(actors, device, earlier, fresh, sample, usd_per_hour)
    with _notes() as on_note:
        found = look(manifest_url, run_url, read_settings(settings), options, on_note)
    if as_json:
        typer.echo(json.dumps(found.as_data(), indent=2))
    else:
        _print(found)


@contextmanager
def _notes() -> Iterator[Callable[[str], None]]:
    """What goes on, on a terminal's last line; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda note: None
        return
    from rich.console import Console

    with Console(stderr=True).status("checking the manifest") as line:
        yield line.update


def _print(found: "Estimate") -> None:
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False, markup=False)
    if found.jobs:
        console.print(_table(found))
    done = f"; {found.jobs_done:,} done before" if found.jobs_done else ""
    failed = f", {found.jobs_failed:,} failed before" if found.jobs_failed else ""
    console.print(
        f"{found.jobs:,} jobs to do{done}{failed}: {found.photographs:,} photographs, {found.pictures:,} pictures"
    )
    console.print(f"read {human_bytes(found.bytes_in)}, write about {human_bytes(found.bytes_out)}")
    console.print(_time(found))
    console.print(_sources(found))
    if found.sample:
        console.print(f"sample: pictures in {found.sample}/images")
    for note in found.notes:
        console.print(f"note: {note}")


def _table(found: "Estimate") -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_footer=True)
    table.add_column("net", "total")
    table.add_column("layers")
    table.add_column("megapixels")
    table.add_column("jobs", f"{found.jobs:,}", justify="right")
    table.add_column("pictures", f"{found.pictures:,}", justify="right")
    table.add_column("megapixel-steps", human_number(found.megapixel_steps), justify="right")
    hours = sum(line.actor_hours for line in found.lines)
    table.add_column("one actor", human_time(hours * 3600), justify="right")
    for line in found.lines:
        table.add_row(
            line.net + (f", {line.threads} threads" if line.threads > 1 else ""),
            line.layers + (f" ({line.shaping})" if line.shaping else ""),
            line.size,
            f"{line.jobs:,}",
            f"{line.pictures:,}",
            human_number(line.megapixel_steps),
            human_time(line.actor_hours * 3600),
        )
    return table


def _time(found: "Estimate") -> str:
    plural = "s" if found.actors > 1 else ""
    text = f"about {human_time(found.wall.seconds)} with {found.actors} actor{plural} on {found.device}"
    if found.cost_usd is not None:
        text += f", {human_cost(found.cost_usd)} at {found.usd_per_hour:,.2f} USD an hour"
    return text


def _sources(found: "Estimate") -> str:
    rates = found.rates
    parts = {
        f"of {rates.run}": rates.earlier_run,
        "timed before on this machine (--fresh times again)": rates.cached,
        "timed now on this machine": rates.timed,
    }
    said = [f"{count} {words}" for words, count in parts.items() if count]
    return "rates: " + ("; ".join(said) if said else "none needed")


def human_time(seconds: float) -> str:
    """`0.4 s`, `42 s`, `3.5 min`, `2.4 h`, `3.1 days`."""
    for unit, length, most in (("s", 1, 100), ("min", 60, 100), ("h", 3600, 72)):
        if seconds < most * length:
            return f"{seconds / length:.{0 if unit == 's' and seconds >= 10 else 1}f} {unit}"
    return f"{seconds / 86_400:,.1f} days"


def human_cost(usd: float) -> str:
    """`1,234.50 USD`, `under 0.01 USD`."""
    return "under 0.01 USD" if 0 < usd < 0.01 else f"{usd:,.2f} USD"


def human_bytes(count: float) -> str:
    """`1.2 GB`, in powers of 1000."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"


def human_number(value: float) -> str:
    """Three digits below 100, whole numbers above."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
