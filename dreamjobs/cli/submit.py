"""`dreamjobs submit`: a run as a job of a Ray cluster. What the command needs is imported inside it."""

import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

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

if TYPE_CHECKING:
    from dreamjobs.engine.submission import Ending, JobServer

_NOT_FOUND = 127  # what a shell ends with where there is no such command


@app.command(
    epilog=examples(
        "dreamjobs submit s3://bucket/m.parquet s3://bucket/run1 --address http://head:8265",
        "dreamjobs submit s3://bucket/m.parquet s3://bucket/run1 --shard 1/4 --no-follow",
        "dreamjobs status s3://bucket/run1 --watch",
    )
)
def submit(
    manifest_url: ManifestUrl,
    run_url: RunUrl,
    settings: Settings = None,
    address: Annotated[
        str | None,
        typer.Option(
            help="The cluster's job server (http://head:8265) or its head (host:port, ray://, `auto`); default: where "
            "RAY_API_SERVER_ADDRESS or RAY_ADDRESS says, else a cluster on this machine."
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", help="Show the job's output until it ends, or only its id.")
    ] = True,
    actors: Annotated[str | None, typer.Option(metavar="N|MIN..MAX", help="As for `dreamjobs run`.")] = None,
    gpus_per_actor: Annotated[float | None, typer.Option(min=0, max=1, help="As for `dreamjobs run`.")] = None,
    shard: ShardText = "1/1",
    limit: Limit = None,
    retry_failed: RetryFailed = None,
    extend: Extend = False,
    failures_ok: FailuresOk = False,
    log_format: LogFormat = "text",
) -> None:
    """Run a manifest on a Ray cluster, as a job that outlives this command.

    Prints the job's id, then follows it; the exit code is the job's. Ctrl-C, a closed terminal or a lost connection
    end the following alone: `ray job stop ID` stops the job. MANIFEST and RUN are read by the cluster's machines, so
    they are s3://, or file:/// where every machine has the path. Where the cluster is this machine alone, the job runs
    in the current folder, and paths mean what they mean here.
    """
    from dreamjobs.cli.running import actor_range
    from dreamjobs.engine.submission import JobServer, command
    from dreamjobs.grid import merge_settings
    from dreamjobs.ledger import Shard

    Shard.parse(shard)
    actor_range(actors)
    paths = list(_paths(manifest_url, run_url, merge_settings(settings or [])))
    server = JobServer(address)
    here = server.is_this_machine()
    if paths and not here:
        _refuse(paths[0])
    given = {"--actors": actors, "--gpus-per-actor": gpus_per_actor, "--shard": shard}
    given |= {"--limit": limit, "--retry-failed": retry_failed}
    options = [f"{name}={value}" for name, value in given.items() if value is not None]
    options += [f"--set={setting}" for setting in settings or []]
    options += [name for name, given in (("--extend", extend), ("--failures-ok", failures_ok)) if given]
    arguments = ["run", manifest_url, run_url, *options, "--address=auto", f"--log-format={log_format}"]
    job_id = server.submit(command(arguments, os.getcwd() if here else None))
    typer.echo(job_id)
    if follow:
        raise typer.Exit(_follow(server, job_id, run_url))


def _paths(manifest_url: str, run_url: str, settings: Mapping[str, Any]) -> Iterator[str]:
    """What is given as a path of this machine; file:/// says that it is the cluster's."""
    from dreamjobs.params import names_file

    weights = settings.get("weights")
    weights = weights if isinstance(weights, list) else [weights]
    places = [manifest_url, run_url, *(value for value in weights if isinstance(value, str) and names_file(value))]
    return (place for place in places if "://" not in place)


def _refuse(path: str) -> None:
    from dreamjobs.errors import InputError

    raise InputError(
        f"{path!r} is a path on this machine, and the job runs on others: put it on s3://, or give "
        "file:///PATH if every machine of the cluster has it there"
    )


def _follow(server: "JobServer", job_id: str, run_url: str) -> int:
    """Show the job's output as it comes; returns the exit code."""
    there = f"--address {shlex.quote(server.address)}"
    _tell(f"following; Ctrl-C ends that and not the job, which `ray job stop {job_id} {there}` stops")
    try:
        ending = server.follow(job_id, _show)
    except KeyboardInterrupt:
        _tell(
            f"no longer following; the job goes on. `dreamjobs status {shlex.quote(run_url)} --watch` tells how far it "
            f"is, `ray job logs --follow {job_id} {there}` follows it, `ray job stop {job_id} {there}` stops it"
        )
        return 130
    return _exit_code(job_id, ending)


def _exit_code(job_id: str, ending: "Ending") -> int:
    """The job's; 130 where it was stopped, 128 and the signal where one killed it.

    Raises:
        RunError: if the command was not started.
    """
    from dreamjobs.errors import RunError

    if ending.stopped:
        _tell(f"job {job_id} was stopped; the same command continues")
        return 130
    if ending.exit_code is None:
        raise RunError(f"job {job_id} did not run: {ending.message}")
    if ending.exit_code == _NOT_FOUND:
        raise RunError(f"job {job_id} found no `dreamjobs` on the cluster's head: install it there")
    return ending.exit_code if ending.exit_code >= 0 else 128 - ending.exit_code


def _show(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


def _tell(text: str) -> None:
    typer.echo(text, err=True)
