"""Ray's own autoscaler hears what a run asks for, brings as many machines, and takes them away when they are idle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from integration import raylet_cloud
from integration.photos import HELD, Command, encoded, noise, pictures, put_photos, rows, wait_for

from dreamjobs import ledger
from dreamjobs.engine import RunOptions, run
from dreamjobs.manifest import build
from dreamjobs.storage import open_store

SETTINGS: dict[str, Any] = {"net": HELD, "weights": "random", "objective": "things", "octaves": 1, "steps": 4}
SETTINGS |= {"fan_out_mpx": 1000.0}  # which no picture here is larger than; but none of them is made in a bundle
IDLE_S = 6.0


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """A manifest in the current folder of photographs, some wide, and what one process dreams them to."""
    monkeypatch.chdir(tmp_path)
    put_photos("photos", 6)
    for number in (1, 2, 3):
        open_store("photos").put(f"{number}.png", encoded(noise(number, (64, 20))))
    build(["photos"], "m.parquet", [])
    (tmp_path / "open").touch()
    monkeypatch.setenv("DREAMJOBS_TEST_GATE", str(tmp_path))
    assert run("m.parquet", "alone", SETTINGS, RunOptions(inline=True)).done == 6
    return pictures("alone")


def test_a_run_brings_the_machines_that_it_needs(made: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no worker; a run asks for two actors, and two come; both dream, and are gone some time after its end.

    The pictures are those of one process.
    """
    settings = [f"--set={name}={value}" for name, value in SETTINGS.items()]
    with raylet_cloud.started(IDLE_S) as cloud:
        assert cloud.workers() == 0
        for name, value in cloud.environment.items():
            monkeypatch.setenv(name, value)
        arguments = ["run", "m.parquet", "run", *settings, f"--address={cloud.address}", "--actors=1..2"]
        with Command(cloud.folder, *arguments) as command:
            command.until(lambda: len(list(cloud.folder.glob("dreaming.*"))) == 2, 180.0)
            assert cloud.workers() == 2
            (cloud.folder / "open").touch()
            assert command.wait() == 0, command.output
        wait_for(lambda: not cloud.running() and cloud.workers() == 0)
        assert len(cloud.launched()) == 2
    found = rows("run")
    assert {row["status"] for row in found} == {"done"}
    assert {row["attempts"] for row in found} == {1}
    assert len({row["actor"] for row in found if row["actor"]}) == 2
    assert pictures("run") == made
    assert ledger.verify(open_store("run")).sound
