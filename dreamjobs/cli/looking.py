"""Commands that look at something. What a command needs is imported inside it, so that help comes at once."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dreamjobs.cli.app import RunUrl, app, examples
from dreamjobs.cli.terminal import make_importable, spinner
from dreamjobs.params import DEFAULT_NET

if TYPE_CHECKING:
    from dreamjobs.gallery import Each

_TOLD = 5  # previews that could not be made


@app.command(
    epilog=examples(
        "dreamjobs status s3://bucket/run1",
        "dreamjobs status run1 --watch",
        "dreamjobs status run1 --json | jq .eta_s",
    )
)
def status(
    run_url: RunUrl,
    as_json: Annotated[
        bool, typer.Option("--json", help="Everything that is known, rate and time left too, as JSON.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Look again and again until nothing is left.")] = False,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between looks.")] = 5.0,
) -> None:
    """Say what is done, failed and left.

    From storage alone, so also while a run goes on elsewhere. Ctrl-C ends --watch, and nothing else.
    """
    from dreamjobs.cli.watching import print_json, print_status, watch_run
    from dreamjobs.reports.live import Monitor
    from dreamjobs.storage import open_store

    monitor = Monitor(open_store(run_url))
    if watch:
        watch_run(monitor, interval, as_json=as_json)
    elif as_json:
        print_json(monitor.look())
    else:
        print_status(monitor.look().status)


@app.command(
    epilog=examples(
        "dreamjobs verify run1",
        "dreamjobs verify run1 m.parquet --fix",
    )
)
def verify(
    run_url: RunUrl,
    manifest_url: Annotated[str | None, typer.Argument(metavar="[MANIFEST]", help="The manifest it fulfils.")] = None,
    fix: Annotated[
        bool, typer.Option("--fix", help="Put broken jobs back to be done, remove what no row owns.")
    ] = False,
) -> None:
    """Hold a run against its manifest and its pictures."""
    from dreamjobs import ledger, results
    from dreamjobs.storage import open_store

    store = open_store(run_url)
    with spinner("pictures checked") as count:
        if fix:
            stamp = results.now().strftime("%Y%m%dT%H%M%S%fZ")
            mended = ledger.mend(store, stamp, manifest_url, on_picture=count)
        else:
            audit = ledger.verify(store, manifest_url, on_picture=count)
    if fix:
        _print_audit(mended.audit)
        typer.echo(f"fixed: {mended.count} things mended or removed; `dreamjobs run` does again what is missing")
        return
    _print_audit(audit)
    raise typer.Exit(0 if audit.sound else 1)


@app.command(
    epilog=examples(
        "dreamjobs gallery run1",
        "dreamjobs gallery s3://bucket/run1 -o s3://my-site/dreams --no-photographs",
        "dreamjobs gallery s3://bucket/run1 --address auto",
    )
)
def gallery(
    run_url: RunUrl,
    out: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--out",
            metavar="DIR",
            help="A site that stands for itself, pictures copied, local or s3://; default RUN/gallery, which links.",
        ),
    ] = None,
    photographs: Annotated[
        bool, typer.Option("--photographs/--no-photographs", help="Show each picture beside its photograph.")
    ] = True,
    cost_usd: Annotated[float | None, typer.Option(min=0.0, help="What the run cost, to be shown.")] = None,
    address: Annotated[
        str | None,
        typer.Option(help="A Ray cluster (`auto`, host:port, ray://) that makes the previews; default: threads here."),
    ] = None,
) -> None:
    """Write a site of a run's pictures.

    It opens from disk and from a bucket. Given again it makes only the previews that are new.
    """
    from dreamjobs.gallery import Choices, write_gallery
    from dreamjobs.ledger import load_record
    from dreamjobs.storage import open_store

    store = open_store(run_url)
    load_record(store)  # a folder without a run gets no page
    place = open_store(out) if out else None
    choices, failed = Choices(photographs, cost_usd), list[str]()
    with _each(address) as each, spinner("previews made") as count:
        page = write_gallery(store, place, choices=choices, each=each, on_made=count, on_failed=failed.append)
    typer.echo(page)
    _print_failed(failed)


@contextmanager
def _each(address: str | None) -> Iterator["Each"]:
    """How previews are made: by threads here, or by tasks on the cluster at `address`."""
    from dreamjobs.gallery import by_threads

    if address is None:
        yield by_threads
        return
    from dreamjobs.engine import cluster, spread

    with cluster.connected(address):
        yield spread.each


def _print_failed(failed: Sequence[str]) -> None:
    if failed:
        what = "1 preview" if len(failed) == 1 else f"{len(failed):,} previews"
        typer.echo(f"{what} could not be made; the same command tries again:", err=True)
    for reason in failed[:_TOLD]:
        typer.echo(f"  {reason}", err=True)
    if len(failed) > _TOLD:
        typer.echo(f"  and {len(failed) - _TOLD:,} more", err=True)


@app.command(
    epilog=examples(
        "dreamjobs layers googlenet --weights random",
    )
)
def layers(
    net: Annotated[str, typer.Argument(metavar="NET", help="The built-in net, or a torchvision classifier.")],
    weights: Annotated[str, typer.Option(help="As the parameter; `random` needs no download.")] = "default",
    every: Annotated[bool, typer.Option("--all", help="Also the parts of blocks.")] = False,
) -> None:
    """List the layers of a net that can be dreamed.

    Those that see the whole picture are read from maps that are assembled from tiles.
    """
    from dreamjobs.nets import load_net

    make_importable(net)
    infos = load_net(net, weights).layers()
    shown = [info for info in infos if every or info.name.count(".") <= 1]
    width = max(len(info.name) for info in shown)
    typer.echo(f"{'layer':{width}}  channels  stride  receptive field")
    for info in shown:
        seen = f"{info.field.y.size} x {info.field.x.size}" if info.field else "the whole picture"
        typer.echo(f"{info.name:{width}}  {info.channels:8}  {info.stride:6}  {seen}")
    if len(shown) < len(infos):
        typer.echo(f"{len(infos) - len(shown)} more with --all")


@app.command(
    epilog=examples(
        "dreamjobs classify cat.jpg",
        "dreamjobs classify s3://bucket/cat.jpg --net resnet50 --top 3",
    )
)
def classify(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="A photograph, local or s3://.")],
    net: Annotated[str, typer.Option(help="The built-in net, or a torchvision classifier.")] = DEFAULT_NET,
    weights: Annotated[str, typer.Option(help="As the parameter.")] = "default",
    top: Annotated[int, typer.Option(min=1, help="How many classes.")] = 5,
) -> None:
    """Say what a net sees in a photograph."""
    from dreamjobs.worker import classify_picture

    make_importable(net)
    for guess in classify_picture(image, net, weights, top):
        typer.echo(f"{guess.probability:6.1%}  {guess.label}")


def _print_audit(audit: Any) -> None:
    found = audit.status
    typer.echo(
        f"{audit.expected:,} jobs in the manifest = {found.done:,} done + {found.failed:,} failed + {found.left:,} left"
    )
    if found.repeats:
        typer.echo(f"  and {found.repeats:,} that repeat others, done with them")
    for broken in audit.broken:
        typer.echo(f"  broken: {broken.key}: {broken.reason}")
    for key in audit.orphans:
        typer.echo(f"  no row owns: {key}")
    if audit.repeated:
        typer.echo(f"  {audit.repeated:,} rows share a picture with another")
    for driver in audit.drivers:
        typer.echo(f"  a driver is at work ({driver.name}): what it has just put is not counted")
    typer.echo("sound" if audit.sound else "not sound; `dreamjobs verify RUN --fix` mends it")
