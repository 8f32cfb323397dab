"""A Ray cluster to work on: one we are connected to, one at an address, or one started here and now."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray

from dreamjobs.errors import RunError

_KNOCK_S = 10.0


@dataclass(frozen=True)
class Layout:
    """How many actors, each with how many CPU threads and GPUs."""

    actors: int
    threads: int
    gpus: int


@contextmanager
def connected(address: str | None, actors: int | None, threads: int) -> Iterator[Layout]:
    """A cluster to work on, and how the actors lie on it: the one we are on, the one at `address`, or a new one here.

    Without `actors` there is one a GPU, or, where there is none, as many actors of `threads` threads as there are
    cores. A cluster that was started or joined here is left at the end.

    Raises:
        RunError: if the cluster does not answer.
    """
    joined = not ray.is_initialized()
    if joined:
        _join(address, actors, threads)
    try:
        yield _lay_out(actors, threads)
    finally:
        if joined:
            ray.shutdown()


def _join(address: str | None, actors: int | None, threads: int) -> None:
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        if address:
            _knock(address)
            ray.init(address=address, **quiet)
        else:
            # "local": without it ray joins whatever cluster it finds on this machine, which may be another person's.
            slots = max(os.cpu_count() or 1, (actors or 1) * threads)
            ray.init(address="local", num_cpus=slots, include_dashboard=False, **quiet)
    except Exception as error:  # ray raises bare ones, as where a node does not start in time
        where = f"at {address!r}" if address else "on this machine"
        hint = "; if it asks for a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH" if address else ""
        raise RunError(f"no Ray cluster {where}: {error}{hint}") from None


def _knock(address: str) -> None:
    """Raise OSError if nobody listens at host:port; Ray itself would go on asking for ten minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=_KNOCK_S).close()


def _lay_out(actors: int | None, threads: int) -> Layout:
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]  # ray leaves it so
    gpus = int(resources.get("GPU", 0))
    if gpus:
        return Layout(actors or gpus, threads, 1)
    return Layout(actors or max(1, int(resources.get("CPU", 1)) // threads), threads, 0)
