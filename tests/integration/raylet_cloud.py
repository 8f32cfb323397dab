"""A cloud that is this machine: what Ray's autoscaler launches there is a raylet in processes of its own.

Ray's autoscaler, which it starts with a head, reads cluster/aws.yaml, and hears what production's does. Others than
there are the provider, a worker's cores (one), when idle workers go, how often it looks, and the head's options.
Workers have logical cards, one each as on AWS (see `integration.cards`).
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import Any

import yaml
from infra_files import aws_config
from integration import cards
from integration.photos import processes_with, wait_for
from integration.ray_head import free_ports
from ray.autoscaler.node_provider import NodeProvider
from ray.util import get_node_ip_address

WORKER = "gpu"  # the name that cluster/aws.yaml has for a worker's kind of machine
_RAY_START = (sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats")
_STORE = "--object-store-memory=80000000"  # Ray takes no less than 75 MB
_SHARED = ("--min-worker-port=0", "--max-worker-port=0", "--dashboard-agent-listen-port=0")  # one machine's ports


class RayletProvider(NodeProvider):  # type: ignore[misc]  # ray is not typed
    """What the autoscaler has its machines from: they are there from their launch until they are terminated.

    As on a real cloud that is so also where Ray on them has ended. The head's is there from the start.
    """

    def __init__(self, provider_config: dict[str, Any], cluster_name: str) -> None:
        super().__init__(provider_config, cluster_name)
        self._lock = RLock()  # the autoscaler calls from several threads
        self._launched = 0
        self._tags = {_head(cluster_name): {"ray-node-type": "head", "ray-user-node-type": "head"}}

    def non_terminated_nodes(self, tag_filters: dict[str, str]) -> list[str]:
        """The machines that have these tags."""
        with self._lock:
            return [node for node, tags in self._tags.items() if tag_filters.items() <= tags.items()]

    def is_running(self, node_id: str) -> bool:
        """Whether this machine is there."""
        return node_id in self._tags

    def is_terminated(self, node_id: str) -> bool:
        """Whether it is not."""
        return node_id not in self._tags

    def node_tags(self, node_id: str) -> dict[str, str]:
        """What the autoscaler tagged it with."""
        with self._lock:
            return dict(self._tags.get(node_id, {}))  # it may be asked for one that was just terminated

    def set_node_tags(self, node_id: str, tags: dict[str, str]) -> None:
        """Tag it with these too."""
        with self._lock:
            self._tags[node_id] |= tags

    def internal_ip(self, node_id: str) -> str:
        """The address that all have."""
        return get_node_ip_address()

    external_ip = internal_ip

    def create_node_with_resources_and_labels(
        self,
        node_config: dict[str, Any],
        tags: dict[str, str],
        count: int,
        resources: dict[str, float],
        labels: dict[str, str],
    ) -> None:
        """Launch so many machines that join the cluster.

        Each has a folder of its own: in one, two that start at once take the same names for their sockets.
        """
        address, folder = self.provider_config["address"], Path(self.provider_config["folder"])
        has = (f"--num-cpus={resources['CPU']:.0f}", f"--num-gpus={resources['GPU']:.0f}")
        for _ in range(count):
            with self._lock:
                self._launched += 1
                number = self._launched
                node = _worker(self.cluster_name, number)
                self._tags[node] = dict(tags)
            names = {"RAY_CLOUD_INSTANCE_ID": node, "RAY_NODE_TYPE_NAME": tags["ray-user-node-type"]}
            with open(folder / f"{node}.log", "wb") as log:
                subprocess.Popen(
                    [*_RAY_START, _STORE, *_SHARED, f"--address={address}", f"--temp-dir={folder / str(number)}", *has],
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    env=os.environ | names,
                )

    def terminate_node(self, node_id: str) -> None:
        """Switch a machine off."""
        with self._lock:
            self._tags.pop(node_id, None)
        _end(f"RAY_CLOUD_INSTANCE_ID={node_id}")


@dataclass(frozen=True)
class Cloud:
    """A head that has no CPU, with an autoscaler; its token; the folder of its machines' logs and of the nets' gate."""

    address: str
    environment: dict[str, str]
    folder: Path

    def workers(self) -> int:
        """How many workers Ray says are part of the cluster."""
        command = [sys.executable, "-m", "ray.scripts.scripts", "status", f"--address={self.address}"]
        said = subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=60, env=os.environ | self.environment
        )
        active = said.stdout.partition("Active:")[2].partition("Pending:")[0]
        return sum(int(count) for count in re.findall(rf"^ *(\d+) {WORKER}$", active, re.MULTILINE))

    def launched(self) -> list[str]:
        """Names of all workers that there ever were."""
        return sorted(log.stem for log in self.folder.glob(f"{_worker(self.folder.name, '*')}.log"))

    def running(self) -> list[int]:
        """Whatever runs on the workers."""
        return processes_with(f"RAY_CLOUD_INSTANCE_ID={_worker(self.folder.name, '')}")


@contextlib.contextmanager
def started(idle_s: float) -> Iterator[Cloud]:
    """Start a head on free ports, whose autoscaler ends workers that are idle for so long; end all that came of it."""
    folder = Path(tempfile.mkdtemp(prefix="cloud-"))  # sockets stand in it, whose paths must be short
    tests = str(Path(__file__).resolve().parents[1])
    (folder / "token").write_text(secrets.token_hex(32))
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(folder / "token")}
    names = {"RAY_CLOUD_INSTANCE_ID": _head(folder.name), "RAY_NODE_TYPE_NAME": "head"}
    paths = os.pathsep.join(filter(None, [cards.hook(folder), tests, os.environ.get("PYTHONPATH")]))
    marks = {"PYTHONPATH": paths, "DREAMJOBS_TEST_GATE": str(folder), cards.FOLDER: str(folder)}
    autoscaler = {"RAY_enable_autoscaler_v2": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
    others = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "CUDA_"))}
    variables = others | token | names | marks | autoscaler
    port, *ports = free_ports()
    address = f"{get_node_ip_address()}:{port.rpartition('=')[2]}"
    (folder / "cluster.yaml").write_text(yaml.safe_dump(_config(folder, address, idle_s)))
    options = ["--head", "--num-cpus=0", "--num-gpus=0", "--include-dashboard=false", f"--temp-dir={folder / 'ray'}"]
    options += [port, *ports, f"--autoscaling-config={folder / 'cluster.yaml'}"]
    with open(folder / "head.log", "wb") as log:
        head = subprocess.Popen(
            [*_RAY_START, _STORE, *options], stdout=log, stderr=subprocess.STDOUT, start_new_session=True, env=variables
        )
    try:
        wait_for(lambda: _is_up(head, folder / "head.log"))
        yield Cloud(address, token, folder)
    finally:
        _end(f"DREAMJOBS_TEST_GATE={folder}")
        head.wait(60)
        shutil.rmtree(folder)


def _config(folder: Path, address: str, idle_s: float) -> dict[str, Any]:
    """cluster/aws.yaml, but for the cloud, what its workers have, and when they go."""
    config = aws_config()
    config["cluster_name"] = folder.name
    config["idle_timeout_minutes"] = idle_s / 60
    config["available_node_types"][WORKER]["resources"]["CPU"] = 1
    config["provider"] = {
        "type": "external",
        "module": f"{RayletProvider.__module__}.{RayletProvider.__name__}",
        "disable_node_updaters": True,  # nothing is to be set up by SSH
        "address": address,
        "folder": str(folder),
    }
    return config


def _head(cluster: str) -> str:
    return f"{cluster}-head"


def _worker(cluster: str, number: int | str) -> str:
    return f"{cluster}-worker-{number}"


def _is_up(head: subprocess.Popen[bytes], log: Path) -> bool:
    if head.poll() is not None:
        raise ChildProcessError(log.read_text())
    return "Ray runtime started" in log.read_text()


def _end(mark: str) -> None:
    """Kill all processes with this mark in their environment, also those that are being started."""

    def none_left() -> bool:
        found = processes_with(mark)
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not found

    wait_for(none_left)
