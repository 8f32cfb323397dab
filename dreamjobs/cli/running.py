"""`dreamjobs run`, once its options are read: the run, told as text or as JSON."""

import re
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Literal, NamedTuple

import typer

from dreamjobs.cli.logs import json_log
from dreamjobs.cli.progress import watch
from dreamjobs.engine import RunOptions, run
from dreamjobs.errors import InputError
from dreamjobs.jobs import Summary


class ActorRange(NamedTuple):
    """How many actors stay to the end, and how many are asked for."""

    least: int | None
    most: int | None


def actor_range(text: str | None) -> ActorRange:
    """`N` or `MIN..MAX` with 1 <= MIN <= MAX.

    Raises:
        InputError: for anything else.
    """
    if text is None:
        return ActorRange(None, None)
    found = re.fullmatch(r"(\d+)(?:\.\.(\d+))?", text, re.ASCII)
    least, most = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 1 <= least <= most:
        raise InputError(f"--actors {text!r}: N or MIN..MAX is needed with 1 <= MIN <= MAX, such as 8 or 2..16")
    return ActorRange(least, most)


def start(
    manifest_url: str,
    run_url: str,
    settings: Mapping[str, Any],
    options: RunOptions,
    log_format: Literal["text", "json"],
) -> Summary:
    """Run, and tell how it goes: in words, the result on standard output, or all as JSON on standard error."""
    if log_format == "json":
        with json_log(run_url) as log:
            asked = {
                "manifest": manifest_url,
                "settings": settings,
                "shard": f"{options.shard.index}/{options.shard.count}",
            }
            log.start(**asked, version=version("dreamjobs"))
            summary = run(manifest_url, run_url, settings, options, log.watcher)
            log.end(summary)
            return summary
    with watch() as watcher:
        summary = run(manifest_url, run_url, settings, options, watcher)
    typer.echo(
        f"{summary.done:,} done, {summary.failed:,} failed, {summary.left + summary.beyond:,} left, "
        f"{summary.done_before:,} done before; {summary.seconds:.1f} s; pictures in {run_url}/images"
    )
    return summary
