"""Ray's own autoscaler hears what a run asks for, brings as many machines, and takes them away when they are idle.

The machines have logical cards, on which the CPU computes (see `integration.cards`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from integration import cards, raylet_cloud
from integration.photos import HELD, Command, encoded, noise, pixels, put_photos, rows, wait_for

from dreamjobs import ledger
from dreamjobs.engine import RunOptions, run
from dreamjobs.manifest import build
from dreamjobs.storage import open_store

SETTINGS: dict[str, Any] = {"net": HELD, "weights": "random", "objective": "things", "octaves": 1, "steps": 4}
SETTINGS |= {"fan_out_mpx": 1000.0}  # which no picture here is larger than; but none of them is made in a bundle
IDLE_S = 15.0  # for a busy machine to start, meanwhile, the process that stores what was dreamed on a node


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A manifest in the current folder of photographs, some wide, and what one process dreams them to."""
    monkeypatch.chdir(tmp_path)
    put_photos("photos", 6)
    for number in (1, 2, 3):
        open_store("photos").put(f"{number}.png", encoded(noise(number, (64, 20))))
    build(["photos"], "m.parquet", [])
    (tmp_path / "open").touch()
    monkeypatch.setenv("DREAMJOBS_TEST_GATE", str(tmp_path))
    assert run("m.parquet", "alone", SETTINGS, RunOptions(inline=True)).done == 6
    return pixels("alone")


@pytest.mark.timeout(600)
def test_a_run_brings_the_machines_that_it_needs(made: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no worker; a run asks for two actors with a card each; two come, dream, and go once it has ended.

    The pictures are those of one process.
    """
    settings = [f"--set={name}={value}" for name, value in SETTINGS.items()]
    with raylet_cloud.started(IDLE_S) as cloud:
        assert (cloud.workers(), cloud.launched()) == (0, [])
        for name, value in cloud.environment.items():
            monkeypatch.setenv(name, value)
        actors = ["--actors=1..2", "--gpus-per-actor=1"]
        with Command(
            cloud.folder, "run", "m.parquet", "run", *settings, f"--address={cloud.address}", *actors
        ) as command:
            command.until(lambda: len(list(cloud.folder.glob("dreaming.*"))) == 2, 180.0)
            assert cloud.workers() == 2
            (cloud.folder / "open").touch()
            assert command.wait() == 0, command.output
        wait_for(lambda: not cloud.running() and cloud.workers() == 0)
        assert len(cloud.launched()) == 2
        begun = [note for note in cards.notes(cloud.folder) if note["what"] == "actor"]
        assert len({note["node"] for note in begun}) == 2
        assert {(note["device"], note["card"]) for note in begun} == {("cuda", "0")}
    found = rows("run")
    assert {row["status"] for row in found} == {"done"}
    assert {row["attempts"] for row in found} == {1}
    assert len({row["actor"] for row in found if row["actor"]}) == 2
    found_pixels = pixels("run")
    assert found_pixels.keys() == made.keys()
    assert all((found_pixels[key] == made[key]).all() for key in made)
    assert ledger.verify(open_store("run")).sound
