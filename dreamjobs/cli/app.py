"""The commands. Whatever a command needs is imported inside it, so that help comes at once."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from dreamjobs.errors import DreamjobsError

app = typer.Typer(
    name="dreamjobs",
    help="DeepDream for whole archives: a manifest of photographs and parameter grids becomes dreamed pictures.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)

Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="A parameter; VALUE is YAML, a list is an axis of the grid: --set 'octaves=[3,4]'. Repeat for more.",
    ),
]
RunUrl = Annotated[str, typer.Argument(metavar="RUN", help="Folder or s3://bucket/prefix of a run.")]


def main() -> None:
    """Run the command line; every error the person can mend is printed without a traceback, exit code 2."""
    try:
        app(args=_with_default_types(sys.argv[1:]))
    except DreamjobsError as error:
        typer.echo(f"dreamjobs: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("dreamjobs: stopped; the same command continues", err=True)
        sys.exit(130)


def _with_default_types(arguments: list[str]) -> list[str]:
    """`--retry-failed` alone means every type of error."""
    pairs = zip(arguments, [*arguments[1:], "--"], strict=True)
    return [
        argument + "=all" if argument == "--retry-failed" and following.startswith("-") else argument
        for argument, following in pairs
    ]


@app.command(
    epilog="Examples:  dreamjobs manifest photos -o m.parquet --set 'octaves=[3,4]'"
    "   |   dreamjobs manifest s3://bucket/2024 a.jpg -o s3://bucket/m.parquet --grid grid.yaml"
)
def manifest(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE...", help="Files, folders, s3://bucket/prefix.")],
    out: Annotated[str, typer.Option("-o", "--out", metavar="FILE.parquet", help="Where to write it, local or s3://.")],
    grid: Annotated[str | None, typer.Option("--grid", metavar="GRID.yaml", help="Names to values or lists.")] = None,
    settings: Settings = None,
    sizes: Annotated[bool, typer.Option("--sizes/--no-sizes", help="Read each photograph's width and height.")] = True,
) -> None:
    """Build a manifest from photographs and a grid."""
    from dreamjobs.grid import merge_settings, parse_grid
    from dreamjobs.manifest import build
    from dreamjobs.storage import read_url

    mappings = parse_grid(read_url(grid).decode(), grid) if grid else [{}]
    overrides = merge_settings(settings or [])
    with _spinner("photographs") as count:
        built = build(
            sources, out, [{**mapping, **overrides} for mapping in mappings], sizes=sizes, on_photograph=count
        )
    typer.echo(
        f"{out}: {built.rows:,} rows from {built.photographs:,} photographs ({built.skipped:,} other files passed over)"
    )


@app.command(
    epilog="Examples:  dreamjobs run m.parquet run1   |   dreamjobs run m.parquet s3://bucket/run1 --address auto"
    "   |   dreamjobs run m.parquet run1 --retry-failed StorageError"
)
def run(
    manifest_url: Annotated[str, typer.Argument(metavar="MANIFEST", help="A manifest, local or s3://.")],
    run_url: RunUrl,
    settings: Settings = None,
    actors: Annotated[
        int | None, typer.Option(min=1, help="Actors that dream; default one a GPU, or cores / threads.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="A Ray cluster (`auto`, host:port, ray://); default: start one here.")
    ] = None,
    inline: Annotated[bool, typer.Option("--inline", help="The same work in this process, without ray.")] = False,
    shard: Annotated[str, typer.Option(metavar="I/N", help="Only every N-th row, from the I-th.")] = "1/1",
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after this many jobs.")] = None,
    retry_failed: Annotated[
        str | None,
        typer.Option("--retry-failed", metavar="[TYPES]", help="Try failed jobs again: all, or error types a,b."),
    ] = None,
    extend: Annotated[
        bool, typer.Option("--extend", help="Go on in RUN although manifest, settings or versions differ.")
    ] = False,
) -> None:
    """Dream what a manifest asks for into RUN; the same command continues a run that was ended."""
    from dreamjobs.cli.progress import watch
    from dreamjobs.engine import RunOptions
    from dreamjobs.engine import run as start
    from dreamjobs.ledger import Shard

    options = RunOptions(
        actors=actors,
        address=address,
        inline=inline,
        shard=Shard.parse(shard),
        limit=limit,
        retry_failed=frozenset((retry_failed or "").replace(",", " ").split()),
        extend=extend,
    )
    with watch() as watcher:
        summary = start(manifest_url, run_url, _settings(settings), options, watcher)
    typer.echo(
        f"{summary.done:,} done, {summary.failed:,} failed, {summary.left:,} left, "
        f"{summary.done_before:,} done before; {summary.seconds:.1f} s; pictures in {run_url}/images"
    )
    if summary.left:
        raise typer.Exit(130)  # stopped on request
    raise typer.Exit(1 if summary.failed or summary.failed_before else 0)


@app.command(epilog="Example:  dreamjobs dream cat.jpg -o dream.jpg --set octaves=5 --set objective=mix8b")
def dream(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="A photograph, local or s3://.")],
    out: Annotated[
        str, typer.Option("-o", "--out", metavar="OUT", help="The picture; its extension chooses the format.")
    ],
    settings: Settings = None,
) -> None:
    """Dream one picture now, on every core of this machine, without ray."""
    from dreamjobs.params import make_params

    values = {"format": _format_of(out), "threads": os.cpu_count() or 1} | _settings(settings)
    _reject_axes(values)
    _dream_to(image, out, make_params(values, trusted=True))


@app.command(epilog="Example:  dreamjobs layers googlenet --weights random")
def layers(
    net: Annotated[str, typer.Argument(metavar="NET", help="The built-in net, or a torchvision classifier.")],
    weights: Annotated[str, typer.Option(help="As the parameter; `random` needs no download.")] = "default",
    every: Annotated[bool, typer.Option("--all", help="Also the parts of blocks.")] = False,
) -> None:
    """List the layers of a net that can be dreamed."""
    from dreamjobs.nets import load_net

    _importable(net)
    infos = load_net(net, weights).layers()
    shown = [info for info in infos if every or info.name.count(".") <= 1]
    width = max(len(info.name) for info in shown)
    typer.echo(f"{'layer':{width}}  channels  stride  receptive field")
    for info in shown:
        seen = f"{info.field.y.size} x {info.field.x.size}" if info.field else "the whole picture (is not tiled)"
        typer.echo(f"{info.name:{width}}  {info.channels:8}  {info.stride:6}  {seen}")
    if len(shown) < len(infos):
        typer.echo(f"{len(infos) - len(shown)} more with --all")


@app.command(epilog="Example:  dreamjobs status s3://bucket/run1")
def status(run_url: RunUrl) -> None:
    """Say what is done, failed and left, from storage alone; also while a run goes on elsewhere."""
    from dreamjobs.ledger import status as look
    from dreamjobs.storage import open_store

    found = look(open_store(run_url))
    typer.echo(f"{found.jobs:,} jobs: {found.done:,} done, {found.failed:,} failed, {found.left:,} left")
    for error, count in found.errors.items():
        typer.echo(f"  {count:,} x {error}")
    if found.other:
        typer.echo(f"  and {found.other:,} results of jobs that the manifest no longer asks for")


@app.command(epilog="Examples:  dreamjobs verify run1   |   dreamjobs verify run1 m.parquet --fix")
def verify(
    run_url: RunUrl,
    manifest_url: Annotated[str | None, typer.Argument(metavar="[MANIFEST]", help="The manifest it fulfils.")] = None,
    fix: Annotated[
        bool, typer.Option("--fix", help="Put broken jobs back to be done, remove what no row owns.")
    ] = False,
) -> None:
    """Hold a run's results against its manifest and its pictures."""
    from dreamjobs import ledger, results
    from dreamjobs.storage import open_store

    store = open_store(run_url)
    with _spinner("pictures checked") as count:
        audit = ledger.verify(store, manifest_url, on_picture=count)
    _print_audit(audit)
    if fix:
        mended = ledger.fix(store, audit, results.now().strftime("%Y%m%dT%H%M%S%fZ"))
        typer.echo(f"fixed: {mended} things mended or removed; `dreamjobs run` does again what is missing")
        return
    raise typer.Exit(0 if audit.sound else 1)


@app.command(epilog="Example:  dreamjobs reproduce run1/images/cat--mix16a-0a1b2c3d.jpg -o again.jpg")
def reproduce(
    picture: Annotated[str, typer.Argument(metavar="PICTURE", help="A picture that dreamjobs made, local or s3://.")],
    out: Annotated[str, typer.Option("-o", "--out", metavar="OUT", help="Where to write the picture made again.")],
    source: Annotated[str | None, typer.Option(help="The photograph, if it is no longer where it was.")] = None,
    settings: Settings = None,
) -> None:
    """Make a dreamed picture again from the recipe inside it."""
    from dreamjobs.worker import reproduce_picture

    overrides = _settings(settings)
    _reject_axes(overrides)
    with _bar() as on_step:
        made = reproduce_picture(picture, source=source, overrides=overrides, on_step=on_step)
    _write(out, made.data)
    typer.echo(out)
    for difference in made.differences:
        typer.echo(f"  differs: {difference}")
    typer.echo("  the same bytes as the picture" if made.same else "  not the same bytes as the picture")


@app.command(epilog="Examples:  dreamjobs demo   |   dreamjobs demo my-demo --photos ~/Pictures/2024")
def demo(
    folder: Annotated[str, typer.Argument(metavar="[DIR]", help="Where everything is kept.")] = "demo-run",
    photos: Annotated[
        str | None, typer.Option(help="Your own photographs; default: some that scikit-image carries.")
    ] = None,
) -> None:
    """Dream a small archive of photographs: manifest, run on two actors, gallery."""
    from dreamjobs.cli.demo import run_demo

    raise typer.Exit(run_demo(folder, photos))


@app.command(epilog="Example:  dreamjobs gallery run1")
def gallery(run_url: RunUrl) -> None:
    """Write a page of a run's pictures, RUN/gallery/index.html."""
    from dreamjobs.gallery import write_gallery
    from dreamjobs.storage import open_store

    typer.echo(write_gallery(open_store(run_url)))


def _settings(texts: list[str] | None) -> dict[str, Any]:
    from dreamjobs.grid import merge_settings

    settings = merge_settings(texts or [])
    nets = settings.get("net")
    for net in nets if isinstance(nets, list) else [nets]:
        _importable(str(net))
    return settings


def _importable(net: str) -> None:
    """A net of one's own is looked for in the current folder too, here and in the actors."""
    if ":" in net:
        sys.path.insert(0, os.getcwd())
        os.environ["PYTHONPATH"] = os.pathsep.join([os.getcwd(), *filter(None, [os.environ.get("PYTHONPATH")])])


def _reject_axes(values: dict[str, Any]) -> None:
    from dreamjobs.errors import ParamsError

    lists = [name for name, value in values.items() if isinstance(value, list)]
    if lists:
        raise ParamsError(
            f"{', '.join(lists)}: one value is needed for one picture; lists are for `dreamjobs manifest`"
        )


def _format_of(out: str) -> str:
    from dreamjobs.images import format_of_name

    return format_of_name(out)


def _dream_to(image: str, out: str, params: Any) -> None:
    from dreamjobs.worker import one_picture

    with _bar() as on_step:
        data = one_picture(image, params, on_step=on_step)
    _write(out, data)
    typer.echo(out)


def _write(out: str, data: bytes) -> None:
    from dreamjobs.storage import open_store, split_url

    place = split_url(out)
    open_store(place.base).put(place.key, data)


def _print_audit(audit: Any) -> None:
    found = audit.status
    typer.echo(
        f"{audit.expected:,} jobs in the manifest = {found.done:,} done + {found.failed:,} failed + {found.left:,} left"
    )
    for broken in audit.broken:
        typer.echo(f"  broken: {broken.key}: {broken.reason}")
    for key in audit.orphans:
        typer.echo(f"  no row owns: {key}")
    if audit.repeated:
        typer.echo(f"  {audit.repeated:,} rows share a picture with another")
    typer.echo("sound" if audit.sound else "not sound; `dreamjobs verify RUN --fix` mends it")


@contextmanager
def _spinner(what: str) -> Iterator[Any]:
    """A count on a terminal's last line, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda number: None
        return
    from rich.console import Console

    with Console(stderr=True).status(f"0 {what}") as line:
        yield lambda number: line.update(f"{number:,} {what}") if number % 100 == 0 else None


@contextmanager
def _bar() -> Iterator[Any]:
    """A bar of steps on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("dreaming", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
