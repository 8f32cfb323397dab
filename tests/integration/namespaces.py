"""Machines made of network namespaces: each has an address of its own and a cable that can be pulled. Needs root."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Machine:
    """A namespace and its address; `cable` is the end of its cable that is plugged in at the switch."""

    name: str
    address: str
    cable: str

    def command(self, *arguments: str) -> list[str]:
        """A command that runs on this machine."""
        return ["ip", "netns", "exec", self.name, *arguments]

    def ray_start(self, *options: str) -> list[str]:
        """The command that makes this machine one of a cluster, until it is ended."""
        ray = (sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats")
        return self.command(*ray, f"--node-ip-address={self.address}", "--object-store-memory=80000000", *options)

    def cut_off(self) -> None:
        """Pull the cable: nobody is told, nothing arrives."""
        _ip("link", "set", self.cable, "down")

    def switch_off(self) -> None:
        """End whatever runs on it."""
        for pid in _ip("netns", "pids", self.name).split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)


@contextlib.contextmanager
def machines(count: int) -> Iterator[list[Machine]]:
    """So many machines on one switch, all of which is gone afterwards."""
    mark, switch = os.getpid() % 100_000, f"djbr{os.getpid() % 100_000}"
    made = [Machine(f"dj{mark}-{n}", f"10.213.{mark % 250}.{n}", f"dj{mark}v{n}") for n in range(1, count + 1)]
    with contextlib.ExitStack() as stack:
        _ip("link", "add", switch, "type", "bridge")
        stack.callback(_ip, "link", "delete", switch)
        _ip("link", "set", switch, "up")
        for machine in made:
            _ip("netns", "add", machine.name)
            stack.callback(_ip, "netns", "delete", machine.name)  # its cable goes with it
            _plug_in(machine, switch)
        yield made


def _plug_in(machine: Machine, switch: str) -> None:
    _ip("link", "add", machine.cable, "type", "veth", "peer", "name", "eth0", "netns", machine.name)
    _ip("link", "set", machine.cable, "master", switch, "up")
    _ip("-netns", machine.name, "address", "add", f"{machine.address}/24", "dev", "eth0")
    for device in ("lo", "eth0"):
        _ip("-netns", machine.name, "link", "set", device, "up")


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=30, text=True).stdout


def is_allowed() -> bool:
    """Whether this process may make machines."""
    try:
        with machines(1):
            return True
    except (OSError, subprocess.SubprocessError):
        return False
