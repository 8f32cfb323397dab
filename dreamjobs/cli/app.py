"""The application that commands are added to, options that several share, and `main`."""

import importlib.metadata
import sys
from typing import Annotated, Literal

import typer

from dreamjobs.errors import DreamjobsError
from dreamjobs.heap import collect_seldom

app = typer.Typer(
    name="dreamjobs",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
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
ShardText = Annotated[str, typer.Option("--shard", metavar="I/N", help="Only every N-th row, from the I-th.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Stop after this many jobs.")]
RetryFailed = Annotated[
    str | None,
    typer.Option("--retry-failed", metavar="[TYPES]", help="Try failed jobs again: all, or error types a,b."),
]
Extend = Annotated[bool, typer.Option("--extend", help="Go on in RUN although manifest, settings or versions differ.")]
FailuresOk = Annotated[
    bool,
    typer.Option(
        "--failures-ok",
        help="Exit with 0 also where pictures failed: for schedulers that start anew what ends otherwise.",
    ),
]
LogFormat = Annotated[
    Literal["text", "json"],
    typer.Option("--log-format", help="json: an object a line on standard error for each thing that happens."),
]
ManifestUrl = Annotated[str, typer.Argument(metavar="MANIFEST", help="A manifest, local or s3://.")]
RunUrl = Annotated[str, typer.Argument(metavar="RUN", help="Folder or s3://bucket/prefix of a run.")]


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(importlib.metadata.version("dreamjobs"))
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """DeepDream for whole archives: a manifest of photographs and parameter grids becomes dreamed pictures."""


def examples(*commands: str) -> str:
    """An epilog of commands, a line each."""
    return "\b\nExamples:\n" + "\n".join(f"  {command}" for command in commands)


def main() -> None:
    """Run the command line; every error the person can mend is printed without a traceback, exit code 2."""
    collect_seldom()
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
