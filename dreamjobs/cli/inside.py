"""Commands that look inside a net, as contact sheets. What a command needs is imported inside it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dreamjobs.cli.app import RunUrl, Settings, app, examples
from dreamjobs.cli.terminal import make_importable, read_settings, reject_axes, write
from dreamjobs.params import DEFAULT_NET

if TYPE_CHECKING:
    from dreamjobs.engine import RunOptions
    from dreamjobs.images.sheet import Picture
    from dreamjobs.jobs import Summary
    from dreamjobs.storage import Store
    from dreamjobs.worker.inside import FilterRows

_LARGEST = 2048  # pixels of a picture's side
_WIDE = 1.6  # about how much wider than high a sheet is

Layer = Annotated[str, typer.Option(metavar="LAYER", help="A layer, as `dreamjobs layers` lists them.")]


@app.command(
    epilog=examples(
        "dreamjobs activations cat.jpg -o cat-mix8c.png --layer mix8c",
        "dreamjobs activations cat.jpg -o cat.png --net googlenet --layer inception4c --top 24 --side 768",
    )
)
def activations(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="A photograph, local or s3://.")],
    out: Annotated[str, typer.Option("-o", "--out", metavar="SHEET.png", help="Where to write the sheet.")],
    layer: Layer,
    net: Annotated[str, typer.Option(help="The built-in net, or a torchvision classifier.")] = DEFAULT_NET,
    weights: Annotated[str, typer.Option(help="As the parameter.")] = "default",
    top: Annotated[int, typer.Option(min=1, help="How many channels, those that respond most.")] = 64,
    side: Annotated[int, typer.Option(min=16, max=_LARGEST, help="Shrink the photograph to this longer side.")] = 512,
) -> None:
    """Show how a layer responds to a photograph.

    A sheet of the photograph and the map of each channel, strongest first. A map is white where its channel is largest;
    under it stand the channel's number and its mean.
    """
    from dreamjobs.worker import inside

    _refuse_other_formats(out)
    make_importable(net)
    found = inside.responses(image, inside.open_net(net, weights), layer, top=top, side=side)
    shown = [_Shown("photograph", found.photo)]
    shown += [_Shown(f"{item.channel}: {item.mean:.3g}", item.picture) for item in found.maps]
    name = image.rstrip("/").rpartition("/")[2]
    title = f"{layer} of {net} on {name}: {len(found.maps)} of {found.channels} channels by mean response"
    write(out, _sheet(shown, title))
    typer.echo(out)


@app.command(
    epilog=examples(
        "dreamjobs filters dreamnet mix8c mix8c-run --channels 0-15,40",
        "dreamjobs filters googlenet inception4c run1 -o inception4c.png --size 224 --set steps=64 --actors 4",
    )
)
def filters(
    net: Annotated[str, typer.Argument(metavar="NET", help="The built-in net, or a torchvision classifier.")],
    layer: Annotated[str, typer.Argument(metavar="LAYER", help="A layer, as `dreamjobs layers` lists them.")],
    run_url: RunUrl,
    out: Annotated[
        str | None, typer.Option("-o", "--out", metavar="SHEET.png", help="The sheet; default RUN/filters.png.")
    ] = None,
    channels: Annotated[str, typer.Option(metavar="0-15,40", help="Which channels; default all.")] = "",
    size: Annotated[int, typer.Option(min=16, max=_LARGEST, help="Side of a picture, in pixels.")] = 128,
    settings: Settings = None,
    weights: Annotated[str, typer.Option(help="As the parameter.")] = "default",
    actors: Annotated[
        int | None, typer.Option(min=1, help="Actors that dream; default one a GPU, or cores / threads.")
    ] = None,
    inline: Annotated[bool, typer.Option("--inline", help="The same work in this process, without ray.")] = False,
    extend: Annotated[
        bool, typer.Option("--extend", help="Go on in RUN although channels, settings or versions differ.")
    ] = False,
) -> None:
    """Dream each channel of a layer from noise.

    A run like any other, whose manifest stands in RUN too, and a sheet of its pictures in the end. However it was
    ended, the same command does only what is missing.
    """
    from dreamjobs.engine import RunOptions
    from dreamjobs.storage import join_url, open_store
    from dreamjobs.worker import inside

    _refuse_other_formats(out or "filters.png")
    changes = read_settings(settings)
    reject_axes(changes)
    make_importable(net)
    wanted = inside.filter_rows(net, weights, layer, channels=channels, size=size, settings=changes)
    store = open_store(run_url)
    summary = _dream(store, wanted, net, RunOptions(actors=actors, inline=inline, extend=extend))
    typer.echo(
        f"{summary.done:,} done, {summary.failed:,} failed, {summary.left:,} left, "
        f"{summary.done_before:,} done before; {summary.seconds:.1f} s"
    )
    if summary.left:
        raise typer.Exit(130)  # stopped on request
    place = out or join_url(store.url, "filters.png")
    write(place, _sheet(_pictures(store, wanted), f"{layer} of {net}: {len(wanted.rows)} of {wanted.count} channels"))
    typer.echo(place)
    raise typer.Exit(1 if summary.failed or summary.failed_before else 0)


def _dream(store: "Store", wanted: "FilterRows", net: str, options: "RunOptions") -> "Summary":
    """Run the manifest of these rows in the store, beside which it stands."""
    from dreamjobs.cli.progress import watch
    from dreamjobs.engine import run
    from dreamjobs.errors import RunError
    from dreamjobs.jobs import Keys
    from dreamjobs.manifest.build import build_rows
    from dreamjobs.storage import join_url

    key = f"filters-{wanted.digest}.parquet"  # another name for other rows, so that none is written over another's
    if not options.extend and store.exists(Keys.RUN) and not store.exists(key):
        raise RunError(
            f"{store.url!r} was started with something else: other channels or settings. "
            "Give another RUN, or --extend to add to this one"
        )
    if not store.exists(key):
        build_rows(join_url(store.url, key), wanted.rows)
    with watch() as watcher:
        return run(join_url(store.url, key), store.url, {"net": net} if ":" in net else {}, options, watcher)


@dataclass(frozen=True, eq=False)
class _Shown:
    """A picture of a sheet and what stands under it."""

    caption: str
    picture: "Picture | None"


def _refuse_other_formats(out: str) -> None:
    from dreamjobs.errors import InputError

    if not out.lower().endswith(".png"):
        raise InputError(f"--out {out!r}: a sheet is a PNG; give it a name that ends in .png")


def _pictures(store: "Store", wanted: "FilterRows") -> list[_Shown]:
    """The pictures of a run's jobs, in the order of its manifest; why one is missing is told."""
    from dreamjobs import images, ledger, results
    from dreamjobs.images.sheet import cell_side

    record = ledger.load_record(store)
    columns = ("id", "status", "output", "error_type", "error", "objective_end")
    ended = {row["id"]: row for row in results.read(store, columns).to_pylist()}
    side, shown = cell_side(len(wanted.rows), _LARGEST), []
    for job in ledger.planned(record, ledger.own_manifest(store, record)):
        row, channel = ended[job.id], wanted.channels[job.source.image]
        if row["status"] == "done":
            picture = images.fit(images.decode(store.get(row["output"])), side).pixels
            shown.append(_Shown(_caption(channel, row), picture))
        else:
            shown.append(_Shown(f"{channel} failed", None))
            typer.echo(f"  channel {channel} failed: {row['error_type']}: {row['error']}")
    return shown


def _caption(channel: int, row: dict[str, Any]) -> str:
    """The channel; a silent one responds to nothing in its picture, which is little but the noise it began with."""
    return f"{channel} silent" if row["objective_end"] == 0 else str(channel)


def _sheet(shown: Sequence[_Shown], title: str) -> bytes:
    """The pictures line by line, on a sheet wider than high."""
    from dreamjobs.images.sheet import contact_sheet

    shapes = [item.picture.shape for item in shown if item.picture is not None]
    tallest = max((height / width for height, width, _ in shapes), default=1.0)
    columns = min(len(shown), math.ceil(math.sqrt(len(shown) * tallest * _WIDE)))
    lines = [shown[start : start + columns] for start in range(0, len(shown), columns)]
    return contact_sheet(
        [[item.picture for item in line] for line in lines],
        captions=[[item.caption for item in line] for line in lines],
        title=title,
    )
