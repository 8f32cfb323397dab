"""A Ray cluster of several nodes on this machine, each a raylet, that a test adds, drains and kills.

`python raylets.py` starts a head and prints its address, folder and pid; a line on its standard input, of arguments for
Ray as JSON, starts one more node, of which it prints the id and its raylet's pid. All of them end when its standard
input does.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

OBJECT_STORE_BYTES = 80_000_000  # Ray takes no less than 75 MB
_DEAD_SOON: dict[str, Any] = {"health_check_period_ms": 500, "health_check_failure_threshold": 4}


def serve() -> None:
    """Be the cluster, in a process of its own: Ray's nodes change how signals of their process are handled."""
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    limits: dict[str, Any] = {"object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False}
    head = cluster.add_node(num_cpus=0, _system_config=_DEAD_SOON, **limits)
    _say(f"{cluster.address} {head.get_session_dir_path()} {_pid(head)}")
    try:
        for line in sys.stdin:
            node = cluster.add_node(**json.loads(line), **limits)
            _say(f"{node.node_id} {_pid(node)}")
    finally:
        cluster.shutdown()


def _pid(node: Any) -> int:
    """The raylet's."""
    return int(node.all_processes["raylet"][0].process.pid)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


@dataclass(frozen=True)
class Worker:
    """A node: its id and its raylet's process."""

    id: str
    pid: int

    def dreaming(self) -> list[int]:
        """Its actors' processes that are dreaming now."""
        from integration.photos import dreaming_below

        return dreaming_below(self.pid)


@dataclass
class Raylets:
    """A head that has no CPU, `pid` being its raylet, and the workers that were added to it."""

    process: subprocess.Popen[str]
    address: str
    folder: Path
    pid: int
    workers: list[Worker] = field(default_factory=list)

    def add(self, cpus: int = 1, **resources: int) -> Worker:
        """One more worker, part of the cluster by then; cards, `num_gpus`, are logical and need not be there."""
        line = json.dumps({"num_cpus": cpus} | resources)
        self.process.stdin.write(f"{line}\n")  # type: ignore[union-attr]  # a pipe was asked for
        self.process.stdin.flush()  # type: ignore[union-attr]
        node_id, pid = _words(self.process)
        self.workers.append(Worker(node_id, int(pid)))
        return self.workers[-1]

    def kill(self, worker: Worker) -> None:
        """As a machine that is switched off: nothing on it gets to say anything; it may have ended."""
        self.workers.remove(worker)
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker.pid, signal.SIGKILL)

    def drain(self, worker: Worker, deadline_s: int) -> None:
        """As a spot notice: the node will be gone in so many seconds."""
        command = [sys.executable, "-m", "ray.scripts.scripts", "drain-node", f"--address={self.address}"]
        command += [f"--node-id={worker.id}", "--reason=DRAIN_NODE_REASON_PREEMPTION", "--reason-message=spot"]
        subprocess.run([*command, f"--deadline-remaining-seconds={deadline_s}"], check=True, capture_output=True)

    def spilled(self) -> list[Path]:
        """What the object stores had no room for and is on disk now."""
        return list(self.folder.glob("ray_spilled_objects*/*"))


@contextlib.contextmanager
def raylets(gate: Path, hook: str = "") -> Iterator[Raylets]:
    """A cluster whose actors find the tests' nets and this gate, and what is in the folder `hook` as they start."""
    tests = str(Path(__file__).resolve().parents[1])
    paths = os.pathsep.join(filter(None, [hook, tests, os.environ.get("PYTHONPATH")]))
    with subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"PYTHONPATH": paths, "DREAMJOBS_TEST_GATE": str(gate)},
    ) as process:
        try:
            address, folder, pid = _words(process)
            yield Raylets(process, address, Path(folder), int(pid))
        finally:
            process.stdin.close()  # type: ignore[union-attr]
            process.wait(60)


def _words(process: subprocess.Popen[str]) -> list[str]:
    """The next line that the cluster prints."""
    return process.stdout.readline().split()  # type: ignore[union-attr]


if __name__ == "__main__":
    serve()
