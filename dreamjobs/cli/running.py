"""`dreamjobs run`, once its options are read: the run, told as text or as JSON."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Literal

import typer

from dreamjobs.cli.logs import json_log
from dreamjobs.cli.progress import watch
from dreamjobs.engine import RunOptions, run
from dreamjobs.jobs import Summary


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
