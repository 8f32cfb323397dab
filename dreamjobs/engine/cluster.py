"""A Ray cluster to work on: one we are connected to, one at an address, or one started here and now."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray

from dreamjobs.engine.nodes import Need, look, room
from dreamjobs.errors import InputError, RunError

_KNOCK_S = 10.0
_QUIET: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}


@dataclass(frozen=True)
class Wanted:
    """The actors that are asked for: how many, of which so many stay when work runs out, and what each takes.

    Without `actors` there are as many as the cluster has room for, also as that changes. `gpus` for each, from 0 to 1:
    1 if not given, or 0 where the cluster has none.
    """

    actors: int | None = None
    least: int | None = None
    threads: int = 1
    gpus: float | None = None


@dataclass(frozen=True)
class Layout:
    """How many actors to ask for, how many stay to the end, and what each takes; `grows` with the cluster, or not.

    All are asked of Ray at once. Those that there is no room for wait as its autoscaler's demand, which ends with this
    process; `ray.autoscaler.sdk.request_resources` would be heard sooner in a large cluster, but each driver's call
    overrides the others', and a driver that is killed leaves it standing.
    """

    actors: int
    least: int
    need: Need
    grows: bool


@contextmanager
def connected(address: str | None, wanted: Wanted | None = None) -> Iterator[Layout]:
    """A cluster to work on, and how the actors lie on it: the one we are on, the one at `address`, or a new one here.

    A cluster that was started or joined here is left at the end.

    Raises:
        InputError: for GPUs per actor that no card can be shared out by, or that this machine alone cannot have.
        RunError: if the cluster does not answer.
    """
    wanted = wanted or Wanted()
    if wanted.gpus is not None and not 0 <= wanted.gpus <= 1:
        raise InputError(f"{wanted.gpus} GPUs per actor: 0 to 1 are allowed, for an actor dreams on one card")
    joined = not ray.is_initialized()
    if joined:
        _join(address, wanted)
    try:
        layout = _lay_out(wanted)
        if joined and not address and wanted.gpus and not room(look(), layout.need):
            raise InputError(
                f"{wanted.gpus} GPUs per actor, and this machine has none: leave it out, or give --address"
            )
        yield layout
    finally:
        if joined:
            ray.shutdown()


def _join(address: str | None, wanted: Wanted) -> None:
    try:
        if address:
            _knock(address)
            ray.init(address=address, **_QUIET)
        else:
            slots = max(os.cpu_count() or 1, (wanted.actors or 1) * wanted.threads)
            start_local(slots)
    except Exception as error:  # ray raises bare ones, as where a node does not start in time
        where = f"at {address!r}" if address else "on this machine"
        hint = "; if it asks for a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH" if address else ""
        raise RunError(f"no Ray cluster {where}: {error}{hint}") from None


def start_local(slots: int) -> None:
    """Start Ray on this machine alone, for so many CPUs, and connect to it."""
    # Ray ends a process that is idle for a second if there are more than CPUs, and actors are processes too: with one
    # on each CPU every task would begin by starting a process (0.5 s). As many again may stay, and two more.
    kept = {"num_workers_soft_limit": 2 * slots + 2}
    # "local": without it ray joins whatever cluster it finds on this machine, which may be another person's.
    ray.init(address="local", num_cpus=slots, include_dashboard=False, _system_config=kept, **_QUIET)


def _knock(address: str) -> None:
    """Raise OSError if nobody listens at host:port; Ray itself would go on asking for ten minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=_KNOCK_S).close()


def _lay_out(wanted: Wanted) -> Layout:
    nodes = look()
    has_gpus = any(node.resources.get("GPU") for node in nodes)
    need = Need(wanted.threads, (1 if has_gpus else 0) if wanted.gpus is None else wanted.gpus)
    if wanted.actors is None:
        return Layout(max(1, room(nodes, need)), wanted.least or 1, need, grows=True)
    least = wanted.actors if wanted.least is None else wanted.least
    return Layout(wanted.actors, least, need, grows=False)
