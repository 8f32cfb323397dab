"""A run on machines with addresses of their own, one of which is cut off."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.namespaces import Machine, is_allowed, machines
from integration.photos import HELD, Command, encoded, noise, pictures, put_photos, rows, wait_for

from dreamjobs import ledger
from dreamjobs.engine import RunOptions, run
from dreamjobs.manifest import build
from dreamjobs.storage import open_store

PORT = 6379
SOON = json.dumps({"health_check_period_ms": 500, "health_check_timeout_ms": 2000, "health_check_failure_threshold": 4})
SETTINGS: dict[str, Any] = {"net": HELD, "weights": "random", "objective": "things", "octaves": 1, "steps": 4}
SETTINGS |= {"fan_out_mpx": 1000.0}  # which no picture here is larger than; but none of them is made in a bundle


@contextlib.contextmanager
def cluster(head: Machine, workers: list[Machine], gate: Path) -> Iterator[None]:
    """Ray on these machines; the head has no CPU, each worker one."""
    environment = os.environ | {
        "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
        "DREAMJOBS_TEST_GATE": str(gate),
    }
    commands = [
        head.ray_start(
            "--head", f"--port={PORT}", "--num-cpus=0", "--include-dashboard=false", f"--system-config={SOON}"
        )
    ]
    commands += [worker.ray_start(f"--address={head.address}:{PORT}", "--num-cpus=1") for worker in workers]
    started: list[subprocess.Popen[bytes]] = []
    with open(gate / "ray.log", "wb") as log:
        try:
            for command in commands:
                started.append(
                    subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env=environment)
                )
                wait_for(lambda: log_says(gate, len(started)))
            yield
        finally:
            for machine in (head, *workers):
                machine.switch_off()
            for process in started:
                process.wait(60)


def log_says(gate: Path, count: int) -> bool:
    """Whether so many machines have said that Ray runs on them."""
    return (gate / "ray.log").read_text().count("Ray runtime started") == count


def test_a_machine_that_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two machines dream; the cable of one is pulled. The other makes all pictures, with the bytes of one process."""
    if not is_allowed():
        pytest.skip("network namespaces need root and the `ip` command")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "token").write_text(secrets.token_hex(32))
    for name, value in {"MODE": "token", "TOKEN_PATH": str(tmp_path / "token")}.items():
        monkeypatch.setenv(f"RAY_AUTH_{name}", value)
    monkeypatch.setenv("DREAMJOBS_TEST_GATE", str(tmp_path))
    put_photos("photos", 4)
    for number in (1, 2):
        open_store("photos").put(f"{number}.png", encoded(noise(number, (64, 20))))
    build(["photos"], "m.parquet", [])
    (tmp_path / "open").touch()
    assert run("m.parquet", "alone", SETTINGS, RunOptions(inline=True)).done == 4
    (tmp_path / "open").unlink()
    for sign in tmp_path.glob("dreaming*"):
        sign.unlink()
    with machines(3) as (head, first, second), cluster(head, [first, second], tmp_path):
        options = [f"--set={name}={value}" for name, value in SETTINGS.items()]
        arguments = ["run", "m.parquet", "run", *options, f"--address={head.address}:{PORT}"]
        with Command(tmp_path, *arguments, inside=head.command()) as command:
            command.until(lambda: len(list(tmp_path.glob("dreaming.*"))) == 2)
            first.cut_off()
            (tmp_path / "open").touch()
            assert command.wait(240) == 0, command.output
    found = rows("run")
    assert {row["status"] for row in found} == {"done"}
    assert {row["attempts"] for row in found} == {1, 2}
    assert pictures("run") == pictures("alone")
    assert ledger.verify(open_store("run")).sound
