"""cluster/local-multi-node.py: several nodes on one machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.photos import put_photos, wait_for

from dreamjobs.manifest import build

SCRIPT = Path(__file__).parents[2] / "cluster/local-multi-node.py"


class Nodes:
    """The script while it runs, and what it has printed."""

    def __init__(self, process: subprocess.Popen[str], output: Path) -> None:
        self.process, self._output = process, output

    def lines(self) -> list[str]:
        return self._output.read_text().splitlines()

    def raylets(self) -> list[int]:
        """Each node's process."""
        return [int(line.rpartition(" ")[2]) for line in self.lines() if line.startswith("node ")]

    def address(self) -> str:
        """What --address takes, once it is known."""
        return next((line.rpartition(" ")[2] for line in self.lines() if "--address" in line), "")


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    output = tmp_path / "nodes.out"
    with (
        output.open("w") as file,
        subprocess.Popen(
            [sys.executable, str(SCRIPT)], stdin=subprocess.PIPE, stdout=file, stderr=subprocess.DEVNULL, text=True
        ) as process,
    ):
        found = Nodes(process, output)
        wait_for(lambda: found.address() or process.poll() is not None)
        yield found
        process.stdin.close()  # type: ignore[union-attr]  # a pipe was asked for
        process.wait(60)


def is_alive(pid: int) -> bool:
    """Whether there is such a process, and it is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except FileNotFoundError:
        return False


def test_a_run_on_three_nodes(nodes: Nodes, tmp_path: Path) -> None:
    """Two pictures of the built-in net are dreamed at the printed address; all nodes end with the script's input."""
    put_photos(str(tmp_path / "photos"), 2)
    build([str(tmp_path / "photos")], str(tmp_path / "m.parquet"), [{"octaves": 1, "steps": 1}])
    raylets = nodes.raylets()
    assert len(raylets) == 3
    assert all(is_alive(pid) for pid in raylets)
    arguments = ["run", "m.parquet", "run", "--address", nodes.address()]
    command = [sys.executable, "-m", "dreamjobs", *arguments]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 done, 0 failed, 0 left")
    nodes.process.stdin.close()  # type: ignore[union-attr]  # a pipe was asked for
    assert nodes.process.wait(60) == 0
    wait_for(lambda: not any(is_alive(pid) for pid in raylets), 30)
