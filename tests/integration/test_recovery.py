"""Runs that are killed, interrupted and started twice: nothing is lost, nothing done is done again."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from integration.photos import (
    GATED,
    Command,
    all_rows,
    encoded,
    go,
    leftovers,
    noise,
    pictures,
    put_photos,
    rows,
    wait_for,
)

from dreamjobs import images, ledger, results
from dreamjobs.manifest import build
from dreamjobs.storage import open_store

COUNT = 10
WIDE_ONES = ("3.png", "4.png")
SETTINGS = ["net=" + GATED, "weights=random", "objective=things", "octaves=1", "jitter=2", "steps=100"]
# No picture here is larger; but none is made in a bundle, where it would wait for the others.
UNBUNDLED = "--set=fan_out_mpx=1000"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def command(folder: Path, *options: str) -> Command:
    return Command(folder, "run", "m.parquet", "run", *[f"--set={setting}" for setting in SETTINGS], *options)


def gated_photos() -> None:
    """Ten photographs, of which two are wide and wait at the gate while the others are done."""
    put_photos("photos", COUNT)
    for name in WIDE_ONES:
        open_store("photos").put(name, encoded(noise(100, (64, 20))))
    build(["photos"], "m.parquet", [])


def written() -> list[dict[str, Any]]:
    """Rows that are in storage by now."""
    return rows("run") if os.path.exists("run/results") else []


def check_resumed(before: list[dict[str, Any]]) -> None:
    """Every job has one done row; those done before are as they were; every picture is whole and owned."""
    after = {row["id"]: row for row in rows("run")}
    assert len(after) == COUNT
    assert {row["status"] for row in after.values()} == {"done"}
    assert all(after[row["id"]] == row for row in before)
    assert len(all_rows("run")) == COUNT
    assert ledger.verify(open_store("run")).sound


@pytest.mark.parametrize("options", [["--inline"], ["--actors=2", UNBUNDLED]], ids=["inline", "ray"])
def test_a_killed_driver_is_continued(tmp_path: Path, options: list[str]) -> None:
    """After kill -9 every picture there is whole; the same command does what is missing and nothing else."""
    gated_photos()
    with command(tmp_path, *options) as first:
        first.until(written)
        first.kill()
    before = written()
    assert 0 < len(before) < COUNT
    for data in pictures("run").values():
        images.decode(data)
    wait_for(lambda: not leftovers(first))
    Path("open").touch()
    with command(tmp_path, *options) as second:
        assert second.wait() == 0, second.output
        left = COUNT - len(before)
        assert f"{left} to do: {left} new; {len(before)} done before" in second.output
    check_resumed(before)
    wait_for(lambda: not leftovers(second))


def test_killed_again_and_again_it_ends_as_if_never(tmp_path: Path) -> None:
    """A driver killed at several moments of its life ends with the bytes of one that was left alone."""
    gated_photos()
    moments = (
        lambda: os.path.exists("run/lease"),
        lambda: os.path.exists("run/run.json"),
        lambda: os.path.exists("run/images"),
        lambda: os.path.exists("dreaming"),
    )
    for moment in moments:
        with command(tmp_path, "--inline") as killed:
            killed.until(moment)
            killed.kill()
    Path("open").touch()
    with command(tmp_path, "--inline") as last:
        assert last.wait() == 0, last.output
    check_resumed([])
    made = pictures("run")
    os.rename("run", "killed")
    with command(tmp_path, "--inline") as alone:
        assert alone.wait() == 0, alone.output
    assert pictures("run") == made


def test_a_picture_whose_row_was_lost_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the picture and its row, that one job is done again, to the same bytes, and no other."""
    put_photos("photos", 5)
    build(["photos"], "m.parquet", [])
    taken: list[str] = []
    to_row = results.to_row

    def dying(outcome: Any, *rest: Any) -> Any:
        taken.append(outcome.job.source.image)
        if len(taken) == 3:
            raise SystemExit("killed")
        return to_row(outcome, *rest)

    monkeypatch.setattr(results, "to_row", dying)
    with pytest.raises(SystemExit):
        go("m.parquet", "run", inline=True)
    before = pictures("run")
    assert len(before) == 3
    assert len(rows("run")) == 2
    assert len(ledger.verify(open_store("run")).orphans) == 1
    summary = go("m.parquet", "run", inline=True)
    assert (summary.done, summary.done_before) == (3, 2)
    assert taken[3:] == ["photos/2.png", "photos/3.png", "photos/4.png"]
    assert before.items() <= pictures("run").items()
    assert ledger.verify(open_store("run")).sound


def test_a_second_driver_is_refused_and_the_first_drains(tmp_path: Path) -> None:
    """A driver on a RUN that has a live one ends with 2 and names it; Ctrl-C then drains the first, resumably."""
    gated_photos()
    with command(tmp_path, "--inline") as first:
        first.until(lambda: os.path.exists("dreaming"))
        (tmp_path / "second").mkdir()
        with command(tmp_path / "second", "--inline") as second:
            assert second.wait() == 2
            assert f"process {first.process.pid} on {socket.gethostname()}" in second.output
            assert "Traceback" not in second.output
        assert first.process.poll() is None
        first.interrupt()
        first.until(lambda: "finishing what is in flight" in first.output)
        Path("open").touch()
        assert first.wait() == 130
        assert "stopping now" not in first.output
        assert "4 done, 0 failed, 6 left" in first.output
    before = rows("run")
    assert {row["output"] for row in before} == set(pictures("run"))
    with command(tmp_path, "--inline") as again:
        assert again.wait() == 0, again.output
    check_resumed(before)


def test_an_interrupt_drains_the_cluster(tmp_path: Path) -> None:
    """Ctrl-C reaches Ray's processes too: the jobs in flight are finished and recorded all the same."""
    put_photos("photos", 80, size=(64, 20))
    build(["photos"], "m.parquet", [])
    with command(tmp_path, "--actors=2") as first:
        first.until(lambda: os.path.exists("dreaming"))
        first.interrupt()
        first.until(lambda: "finishing what is in flight" in first.output)
        Path("open").touch()
        assert first.wait() == 130, first.output
    found = rows("run")
    assert 0 < len(found) < 80
    assert {row["status"] for row in found} == {"done"}
    assert {row["attempts"] for row in found} == {1}
    assert {row["output"] for row in found} == set(pictures("run"))
    wait_for(lambda: not leftovers(first))


def test_a_second_interrupt_stops_at_once(tmp_path: Path) -> None:
    """Ctrl-C twice ends a run in the middle of a long dream; what was done stays, the rest is left to do."""
    gated_photos()
    with command(tmp_path, "--inline") as first:
        first.until(lambda: os.path.exists("dreaming"))
        first.interrupt()
        first.until(lambda: "finishing what is in flight" in first.output)
        first.interrupt()
        assert first.wait(15) == 130
        assert "stopping now" in first.output
        assert "3 done, 0 failed, 7 left" in first.output
        assert "Traceback" not in first.output
    before = rows("run")
    assert ledger.verify(open_store("run")).sound
    Path("open").touch()
    with command(tmp_path, "--inline") as again:
        assert again.wait() == 0, again.output
    check_resumed(before)
