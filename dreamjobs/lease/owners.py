"""Who holds a lease: a process, told apart from one that later gets its pid; and how to see whether it runs."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass


def process_start(pid: int) -> str | None:
    """Return when a live process started, in clock ticks since boot; None if it is gone or a zombie.

    Without /proc it is "" for any process that exists.
    """
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()  # the name before it may hold anything
    except (FileNotFoundError, ProcessLookupError):
        return "" if _exists_without_proc(pid) else None
    return None if fields[0] in {"Z", "X"} else fields[19]


def _exists_without_proc(pid: int) -> bool:
    if os.path.exists("/proc/self/stat"):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _machine() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return f"{file.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


@dataclass(frozen=True)
class Owner:
    """A driver process.

    `machine` is a boot and a pid namespace, for two containers may share host and boot but not their pids.
    It and `process_start` are empty where the operating system does not tell (they need /proc).
    """

    host: str
    pid: int
    process_start: str = ""
    machine: str = ""

    @classmethod
    def here(cls) -> Owner:
        """Return this process."""
        pid = os.getpid()
        return cls(socket.gethostname(), pid, process_start(pid) or "", _machine())

    def shares_machine(self, other: Owner) -> bool:
        """Whether this process's table of processes also tells of `other`; False where that is not known."""
        return bool(self.machine) and (self.host, self.machine) == (other.host, other.machine)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


@dataclass(frozen=True)
class Surroundings:
    """What `acquire` looks at besides the store; tests give their own.

    `clock_s` counts seconds from any origin. `process_start(pid)` is None if there is no such process.
    """

    clock_s: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    process_start: Callable[[int], str | None] = process_start
