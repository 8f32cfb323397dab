"""Commands over a run's results: a sheet of a sweep, and SQL. What a command needs is imported inside it."""

import csv
import enum
import io
import json
import sys
import textwrap
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dreamjobs.cli.app import RunUrl, app, examples
from dreamjobs.cli.terminal import spinner, write

if TYPE_CHECKING:
    from dreamjobs.reports.axes import Sweep
    from dreamjobs.reports.query import Answer

_LARGEST = 2048
_WIDTH = 110
_FIRST_ROWS = 5
_SHOWN = ("row", "image", "status", "objective", "dream_s", "output")


class Format(enum.StrEnum):
    """How an answer is printed."""

    table = "table"
    csv = "csv"
    json = "json"


@app.command(
    epilog=examples(
        "dreamjobs sheet run1 -o sheet.png --rows objective --cols octaves --image cat.jpg",
        "dreamjobs sheet run1 -o strip.png --cols steps --where octave_scale=1.4 --original",
        "dreamjobs sheet run1 -o photographs.png --rows image --cols objective --original",
        "dreamjobs sheet run1 -o layers.webp --rows objective --fps 4",
    )
)
def sheet(
    run_url: RunUrl,
    out: Annotated[
        str,
        typer.Option("-o", "--out", metavar="FILE", help="A sheet .png, or an animation over --rows .webp or .mp4."),
    ],
    rows: Annotated[str | None, typer.Option("--rows", metavar="NAME", help="A parameter, meta_* or image.")] = None,
    cols: Annotated[str | None, typer.Option("--cols", metavar="NAME", help="Another; alone it is a strip.")] = None,
    image: Annotated[
        str | None, typer.Option("--image", metavar="NAME", help="Which photograph; default the first.")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", metavar="NAME=VALUE", help="Only results with this value, or one of a list. Repeat."),
    ] = None,
    side: Annotated[int, typer.Option(min=16, max=_LARGEST, help="The longer side of a picture, in pixels.")] = 320,
    original: Annotated[bool, typer.Option("--original", help="Show the photograph too.")] = False,
    fps: Annotated[float, typer.Option(min=0.1, max=60.0, help="Rows a second of an animation.")] = 2.0,
) -> None:
    """Show a photograph's pictures over two swept parameters, labelled.

    Without --rows and --cols these are the two that vary most. What else varies is held at its default, or else at its
    first value, and told.
    """
    from dreamjobs.reports import sweep
    from dreamjobs.reports.axes import Asked
    from dreamjobs.storage import open_store

    kind = sweep.ending(out)
    store = open_store(run_url)
    found = sweep.find(store, Asked(rows, cols, image, _where(where or []), moving=kind != "png"))
    with spinner("pictures read") as count:
        made = sweep.draw(store, found, side=side, original=original, on_picture=count)
    if kind == "png":
        write(out, made.png())
    else:
        sweep.animate(made, out, fps)
    _print_sheet(out, found)


@app.command(
    epilog=examples(
        "dreamjobs results run1",
        'dreamjobs results run1 --sql "SELECT objective, avg(dream_s) FROM results GROUP BY ALL"',
        "dreamjobs results s3://bucket/run1 --format csv > run1.csv",
    )
)
def results(
    run_url: RunUrl,
    sql: Annotated[
        str | None, typer.Option("--sql", metavar="SQL", help="Asked by DuckDB of a table `results`, a row a job.")
    ] = None,
    as_: Annotated[Format, typer.Option("--format", help="How to print it.")] = Format.table,
) -> None:
    """Look into a run's results: what its columns hold, or an answer to SQL.

    docs/manifest.md lists the columns, docs/queries.md has queries to start from. Without --sql, csv and json are
    every row and column.
    """
    from dreamjobs.reports import query
    from dreamjobs.storage import open_store

    table = query.read(open_store(run_url))
    if sql is None and as_ is Format.table:
        _print_summary(table)
        return
    answer = query.ask(table, sql) if sql is not None else query.as_answer(table)
    {Format.table: _print_table, Format.csv: _print_csv, Format.json: _print_json}[as_](answer)


def _where(texts: list[str]) -> dict[str, Any]:
    """`--where` texts as a mapping, as `--set` texts are."""
    from dreamjobs.errors import InputError, ParamsError
    from dreamjobs.grid import merge_settings

    try:
        return merge_settings(texts)
    except ParamsError as error:
        raise InputError(str(error).replace("--set", "--where", 1)) from None


def _print_sheet(out: str, found: "Sweep") -> None:
    """What is on the sheet, what is held, and what is missing."""
    from dreamjobs.reports.axes import show

    typer.echo(f"{out}: {found.title}")
    for item in found.held:
        others = ", ".join(map(show, item.others))
        typer.echo(f"  {item.name} varies too: held at {show(item.value)}; --where {item.name}=VALUE takes {others}")
    flat = [row for line in found.cells for row in line]
    missing = sum(row is None or row["status"] != "done" for row in flat)
    if missing:
        typer.echo(f"  {missing:,} of {len(flat):,} cells are empty: failed, or not there")


def _print_summary(table: Any) -> None:
    """How many rows, what each column holds, and the first rows."""
    from dreamjobs.reports import query

    statuses = table["status"].to_pylist()
    counts = ", ".join(f"{statuses.count(name):,} {name}" for name in ("done", "failed") if name in statuses)
    typer.echo(f"{table.num_rows:,} rows{f': {counts}' if counts else ''}")
    if not table.num_rows:
        return
    columns = query.describe(table)
    cells = tuple((item.name, item.type, item.filled, item.values) for item in columns if not item.same)
    typer.echo()
    _print_table(query.Answer(("column", "type", "filled", "values"), cells))
    same = "; ".join(f"{item.name} {item.values}" for item in columns if item.same)
    typer.echo("\n" + textwrap.fill(f"the same in all: {same}", _WIDTH, break_on_hyphens=False))
    typer.echo()
    _print_table(query.as_answer(table.slice(0, _FIRST_ROWS).select(list(_SHOWN))))


def _print_table(answer: "Answer") -> None:
    """Aligned columns, numbers to the right; as wide as it takes where no terminal cuts it."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not answer.columns:
        return
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for at, name in enumerate(answer.columns):
        numeric = all(isinstance(row[at], int | float | None) for row in answer.rows)
        grid.add_column(Text(name), justify="right" if numeric and answer.rows else "left", overflow="fold")
    for row in answer.rows:
        grid.add_row(*(Text(_shown(cell)) for cell in row))
    console = Console() if sys.stdout.isatty() else Console(width=100_000)
    with console.capture() as captured:
        console.print(grid)
    for line in captured.get().splitlines():
        typer.echo(line.rstrip())


def _print_csv(answer: "Answer") -> None:
    """RFC 4180 but for line feeds alone; none is empty, lists and mappings are JSON."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(answer.columns)
    for row in answer.rows:
        writer.writerow([json.dumps(cell) if isinstance(cell, list | dict | bool) else cell for cell in row])
    typer.echo(out.getvalue(), nl=False)


def _print_json(answer: "Answer") -> None:
    """A list of objects, one a line."""
    lines = [json.dumps(dict(zip(answer.columns, row, strict=True)), ensure_ascii=False) for row in answer.rows]
    typer.echo("[" + ",\n ".join(lines) + "]")


def _shown(cell: Any) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float):
        return f"{cell:.6g}"
    text = json.dumps(cell, ensure_ascii=False) if isinstance(cell, list | dict | bool) else str(cell)
    return " ".join(text.split())
