"""Commands that make something. What a command needs is imported inside it, so that help comes at once."""

import os
from typing import Annotated

import typer

from dreamjobs.cli.app import (
    Extend,
    FailuresOk,
    Limit,
    LogFormat,
    ManifestUrl,
    RetryFailed,
    RunUrl,
    Settings,
    ShardText,
    app,
    examples,
)
from dreamjobs.cli.terminal import bar, read_settings, reject_axes, spinner, write


@app.command(
    epilog=examples(
        "dreamjobs manifest photos -o m.parquet --set 'octaves=[3,4]'",
        "dreamjobs manifest s3://bucket/2024 a.jpg -o s3://bucket/m.parquet --grid grid.yaml",
        "dreamjobs manifest photos -o try.parquet --sample 20 --where 'width >= 1000 and image like \"%2024%\"'",
    )
)
def manifest(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE...", help="Files, folders, s3://bucket/prefix.")],
    out: Annotated[str, typer.Option("-o", "--out", metavar="FILE.parquet", help="Where to write it, local or s3://.")],
    grid: Annotated[str | None, typer.Option("--grid", metavar="GRID.yaml", help="Names to values or lists.")] = None,
    settings: Settings = None,
    sizes: Annotated[bool, typer.Option("--sizes/--no-sizes", help="Read each photograph's width and height.")] = True,
    clips: Annotated[bool, typer.Option("--clips", help="Each source is a folder of a video's frames.")] = False,
    where: Annotated[
        str | None, typer.Option("--where", metavar="EXPR", help="Only photographs such as 'width >= 1000'.")
    ] = None,
    sample: Annotated[
        int | None, typer.Option("--sample", min=1, help="Only so many photographs, spread over all of them.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Another sample for another seed.")] = 0,
) -> None:
    """Build a manifest from photographs and a grid.

    --where compares image, size_bytes, etag, mtime, width and height with = != < <= > >= and text also with like and
    not like; comparisons are joined by and: 'mtime >= "2024-05-01" and image like "%.jpg"'.
    """
    from dreamjobs.grid import merge_settings, parse_grid
    from dreamjobs.manifest import Condition, Selection, build, parse_condition
    from dreamjobs.storage import read_url

    selection = Selection(parse_condition(where) if where is not None else Condition(), sample, seed)
    mappings = parse_grid(read_url(grid), grid) if grid else [{}]
    overrides = merge_settings(settings or [])
    with spinner("photographs") as count:
        built = build(
            sources,
            out,
            [{**mapping, **overrides} for mapping in mappings],
            sizes=sizes,
            clips=clips,
            selection=selection,
            on_photograph=count,
        )
    if built.left_out:
        typer.echo(f"{built.left_out:,} of {built.left_out + built.photographs:,} photographs are left out", err=True)
    typer.echo(
        f"{out}: {built.rows:,} rows from {built.photographs:,} photographs ({built.skipped:,} other files passed over)"
    )
    for reason in built.unusable:
        typer.echo(f"  passed over: {reason}")


@app.command(
    epilog=examples(
        "dreamjobs run m.parquet run1",
        "dreamjobs run m.parquet s3://bucket/run1 --address auto --actors 2..16",
        "dreamjobs run m.parquet run1 --retry-failed StorageError",
    )
)
def run(
    manifest_url: ManifestUrl,
    run_url: RunUrl,
    settings: Settings = None,
    actors: Annotated[
        str | None,
        typer.Option(
            metavar="N|MIN..MAX",
            help="Actors that dream: so many, or MAX while there is work for them and MIN to the end. Those that there "
            "is no room for are waited for, and asked of an autoscaler. Default: one a GPU, or cores / threads, also "
            "as nodes come and go.",
        ),
    ] = None,
    gpus_per_actor: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Of one card, 0.5 for two actors on each. Default: 1 if there are any, else 0."
        ),
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="A Ray cluster (`auto`, host:port, ray://); default: start one here.")
    ] = None,
    inline: Annotated[bool, typer.Option("--inline", help="The same work in this process, without ray.")] = False,
    shard: ShardText = "1/1",
    limit: Limit = None,
    retry_failed: RetryFailed = None,
    extend: Extend = False,
    failures_ok: FailuresOk = False,
    log_format: LogFormat = "text",
) -> None:
    """Dream what a manifest asks for into RUN, or continue that.

    However a run was ended, the same command does only what is missing.
    """
    from dreamjobs.cli.running import actor_range, start
    from dreamjobs.engine import RunOptions
    from dreamjobs.ledger import Shard

    least, most = actor_range(actors)
    options = RunOptions(
        actors=most,
        least_actors=least,
        gpus_per_actor=gpus_per_actor,
        address=address,
        inline=inline,
        shard=Shard.parse(shard),
        limit=limit,
        retry_failed=frozenset((retry_failed or "").replace(",", " ").split()),
        extend=extend,
    )
    summary = start(manifest_url, run_url, read_settings(settings), options, log_format)
    if summary.left:
        raise typer.Exit(130)  # stopped on request
    failed = summary.failed or summary.failed_before
    raise typer.Exit(1 if failed and not failures_ok else 0)


@app.command(
    epilog=examples(
        "dreamjobs dream cat.jpg -o dream.jpg --set octaves=5 --set objective=mix8b",
    )
)
def dream(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="A photograph, local or s3://.")],
    out: Annotated[
        str, typer.Option("-o", "--out", metavar="OUT", help="The picture; its extension chooses the format.")
    ],
    settings: Settings = None,
) -> None:
    """Dream one picture now, without ray, on every core."""
    from dreamjobs.images import format_of_name
    from dreamjobs.params import make_params
    from dreamjobs.worker import one_picture

    values = {"format": format_of_name(out), "threads": os.cpu_count() or 1} | read_settings(settings)
    reject_axes(values)
    notes: list[str] = []
    with bar() as on_step:
        data = one_picture(image, make_params(values, trusted=True), on_step=on_step, on_note=notes.append)
    write(out, data)
    typer.echo(out)
    for note in notes:
        typer.echo(f"  {note}")


@app.command(
    epilog=examples(
        "dreamjobs reproduce run1/images/cat--mix8d-0a1b2c3d.jpg -o again.jpg",
    )
)
def reproduce(
    picture: Annotated[str, typer.Argument(metavar="PICTURE", help="A picture that dreamjobs made, local or s3://.")],
    out: Annotated[str, typer.Option("-o", "--out", metavar="OUT", help="Where to write the picture made again.")],
    source: Annotated[str | None, typer.Option(help="The photograph, if it is no longer where it was.")] = None,
    settings: Settings = None,
) -> None:
    """Make a dreamed picture again from its recipe."""
    from dreamjobs.worker import reproduce_picture

    overrides = read_settings(settings)
    reject_axes(overrides)
    with bar() as on_step:
        made = reproduce_picture(picture, source=source, overrides=overrides, on_step=on_step)
    write(out, made.data)
    typer.echo(out)
    for difference in made.differences:
        typer.echo(f"  differs: {difference}")
    typer.echo("  the same bytes as the picture" if made.same else "  not the same bytes as the picture")


@app.command(
    epilog=examples(
        "dreamjobs demo",
        "dreamjobs demo my-demo --photos ~/Pictures/2024",
    )
)
def demo(
    folder: Annotated[str, typer.Argument(metavar="[DIR]", help="Where everything is kept.")] = "demo-run",
    photos: Annotated[
        str | None, typer.Option(help="Your own photographs; default: some that scikit-image carries.")
    ] = None,
) -> None:
    """Dream a small archive: manifest, run, gallery."""
    from dreamjobs.cli.demo import run_demo

    raise typer.Exit(run_demo(folder, photos))
