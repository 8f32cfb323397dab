"""Runs handed to a Ray cluster as jobs: submitted to its job server, followed by their output, how they ended.

A job lives on the cluster: neither the process that submitted it nor a connection to it needs to last. Ray's token
authentication applies here as in all of Ray (RAY_AUTH_MODE, RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH).
"""

import asyncio
import logging
import os
import shlex
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ray.exceptions import RayError
from ray.job_submission import JobStatus, JobSubmissionClient
from ray.util.state import list_nodes
from ray.util.state.exception import RayStateApiException

from dreamjobs.errors import InputError, RunError

_KNOCK_S = 10.0
_POLL_S = 1.0
_SILENCE_S = 120.0  # a run says something every 30 s; a connection that is silent for longer may be dead
_PATIENCE_S = 300.0
_LAST_TRIES = 3
_ADDRESSES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")


@dataclass(frozen=True)
class Ending:
    """How a job ended; `exit_code` is None where its command was not started or was stopped."""

    status: str
    exit_code: int | None
    message: str

    @property
    def stopped(self) -> bool:
        """Whether it was stopped on request."""
        return self.status == JobStatus.STOPPED


def command(arguments: Sequence[str], folder: str | None = None) -> str:
    """The shell's line for `dreamjobs` with these arguments, given in `folder` if there is one."""
    line = shlex.join(["dreamjobs", *arguments])
    return f"cd {shlex.quote(folder)} && exec {line}" if folder else f"exec {line}"


class JobServer:
    """The job server of a cluster, on its head beside the dashboard."""

    def __init__(self, address: str | None) -> None:
        """Connect to `http://head:8265`, host:port, ray:// or `auto`; without an address, to where Ray's variables say.

        Raises:
            InputError: if a variable names another address, which Ray would take.
            RunError: if it does not answer, or asks for another token.
        """
        _reject_another(address)
        # Ray tells of each connection that closes; its errors come as exceptions too.
        logging.getLogger(JobSubmissionClient.__module__).setLevel(logging.WARNING)
        where = f"at {address!r}" if address else "where Ray looks for one"
        try:
            _knock(address or "")
            self._client = JobSubmissionClient(address)
        except (RayError, RuntimeError, ValueError, OSError) as error:
            raise RunError(f"no job server {where}: {_first_line(error)}{_hint(error)}") from None

    @property
    def address(self) -> str:
        """Where it is, as `ray job --address` takes it."""
        return str(self._client.get_address())

    def is_this_machine(self) -> bool:
        """Whether every node of the cluster is known to be this machine, so that a path means the same there."""
        try:
            nodes = list_nodes(address=self.address, filters=[("state", "=", "ALIVE")])
        except (RayStateApiException, RayError, OSError):
            return False  # as of another version of Ray; what stands on s3:// can be run there all the same
        return all(_is_here(node.node_ip) for node in nodes)

    def submit(self, line: str) -> str:
        """Start a job of this command and give its id.

        Raises:
            RunError: if the cluster does not take it.
        """
        try:
            return str(self._client.submit_job(entrypoint=line))
        except (RayError, RuntimeError, OSError) as error:
            raise RunError(f"the job server at {self.address} took no job: {_first_line(error)}") from None

    def follow(self, job_id: str, on_text: Callable[[str], None]) -> Ending:
        """Give a job's output as it comes, each character once however often the connection breaks, until it ends.

        Raises:
            RunError: if the job server has not answered for some minutes, or knows no such job.
        """
        output, tries = _Output(self._client, job_id, on_text), 0
        while True:
            whole = output.read()
            details = self._details(job_id)
            if details.status.is_terminal():
                tries += 1
                if whole or tries == _LAST_TRIES:
                    return Ending(details.status, details.driver_exit_code, details.message or "")
            time.sleep(_POLL_S)

    def _details(self, job_id: str) -> Any:
        """What the server knows of a job; it is asked again while it does not answer."""
        end = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return self._client.get_job_info(job_id)
            except (RayError, RuntimeError, OSError) as error:
                if time.monotonic() > end or "does not exist" in str(error):
                    raise RunError(f"nothing is known of job {job_id} any more: {_first_line(error)}") from None
            time.sleep(_POLL_S)


class _Output:
    """A job's output and how much of it was given out."""

    def __init__(self, client: JobSubmissionClient, job_id: str, on_text: Callable[[str], None]) -> None:
        self._client, self._job_id, self._on_text = client, job_id, on_text
        self._given = 0

    def read(self) -> bool:
        """Give out what is new until the server says that this was all, True, or the connection breaks, False."""
        return asyncio.run(self._read())

    async def _read(self) -> bool:
        import aiohttp  # part of ray[default]

        texts, passed = self._client.tail_job_logs(self._job_id), 0
        while True:
            try:
                async with asyncio.timeout(_SILENCE_S):
                    text = await anext(texts)
            except StopAsyncIteration:
                return True
            except (aiohttp.ClientError, RuntimeError, OSError):
                return False
            fresh = text[max(0, self._given - passed) :]
            passed += len(text)
            if fresh:
                self._given = passed
                self._on_text(fresh)


def _reject_another(address: str | None) -> None:
    """Ray takes these variables over any argument, without a word."""
    for name in _ADDRESSES:
        other = os.environ.get(name)
        if address and other and other != address:
            raise InputError(
                f"the address is {address!r}, but {name} is {other!r}, which Ray takes: unset that variable"
            )


def _knock(address: str) -> None:
    """Raise OSError if nobody listens; Ray would wait for minutes, or for ever."""
    url = urlsplit(address if "://" in address else f"//{address}")
    port = url.port or {"http": 80, "https": 443}.get(url.scheme)
    if url.hostname and port:
        socket.create_connection((url.hostname, port), timeout=_KNOCK_S).close()


def _is_here(host: str) -> bool:
    """Whether an address is this machine's: only its own can be listened at."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as taken:
        try:
            taken.bind((host, 0))
        except OSError:
            return False
    return True


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _hint(error: Exception) -> str:
    if isinstance(error, RayError):
        return "; a cluster that asks for a token needs RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH or RAY_AUTH_TOKEN"
    if "ray[default]" in str(error):
        return "; or `pip install 'dreamjobs[cluster]'`"
    return ""
