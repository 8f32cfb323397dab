"""A Ray head with its job server in processes of its own, and what may stand between it and a client."""

from __future__ import annotations

import contextlib
import http.client
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from integration.photos import processes_with, wait_for


@dataclass(frozen=True)
class Head:
    """Where a head's job server is, its token, and the folder where its actors look for a gate."""

    address: str
    environment: dict[str, str]
    gate: Path

    def close_gate(self) -> None:
        """Let wide pictures wait again."""
        for name in ("dreaming", "open"):
            (self.gate / name).unlink(missing_ok=True)


@contextlib.contextmanager
def started() -> Iterator[Head]:
    """Start a head on free ports that asks for a token; stop it and all that it started."""
    folder = Path(tempfile.mkdtemp(prefix="head-"))  # sockets stand in it, whose paths must be short
    (folder / "token").write_text(secrets.token_hex(32))
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(folder / "token")}
    port = _free_port()
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            [*_COMMAND, f"--dashboard-port={port}", f"--temp-dir={folder / 'ray'}", *free_ports()],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=_environment(folder) | token,
        )
    try:
        wait_for(lambda: _answers(process, port, folder / "log"))
        yield Head(f"http://127.0.0.1:{port}", token, folder)
    finally:
        process.terminate()
        process.wait(60)
        wait_for(lambda: not processes_with(f"DREAMJOBS_TEST_GATE={folder}"))
        shutil.rmtree(folder)


_COMMAND = (
    *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats"),
    *("--include-dashboard=true", "--num-cpus=4", "--object-store-memory=200000000"),
)


def free_ports() -> list[str]:
    """What has a port of its own by default, which another cluster on this machine may have taken."""
    return [f"--{what}={_free_port()}" for what in ("port", "ray-client-server-port", "dashboard-agent-listen-port")]


def _environment(folder: Path) -> dict[str, str]:
    """What jobs inherit: `dreamjobs` on PATH, the tests' nets, the gate."""
    here, tests = str(Path(sys.executable).parent), str(Path(__file__).resolve().parents[1])
    variables = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    paths = os.pathsep.join(filter(None, [tests, variables.get("PYTHONPATH")]))
    path = os.pathsep.join([here, variables["PATH"]])
    return variables | {"PATH": path, "PYTHONPATH": paths, "DREAMJOBS_TEST_GATE": str(folder)}


def _answers(process: subprocess.Popen[bytes], port: int, log: Path) -> bool:
    if process.poll() is not None:
        raise ChildProcessError(log.read_text())
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/api/version")
        return connection.getresponse().status == 401  # it is up, and asks for the token
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class Relay:
    """Passes connections on to a port of this machine, and cuts them on request."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Relay:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """End every connection there is."""
        for end in self._open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    @property
    def connections(self) -> int:
        """How many there are, or were since the last cut."""
        return len(self._open) // 2

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._port))
                self._open += [client, server]
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=_pass_on, args=pair, daemon=True).start()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
