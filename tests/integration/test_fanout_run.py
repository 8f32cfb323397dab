"""Fanned-out pictures on Ray: the same bytes whoever dreams which tile, and whatever is lost on the way."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from integration.photos import GATED, encoded, go, killing, noise, pictures, put_photos, rows

from dreamjobs import images, ledger, worker
from dreamjobs.fanout import Report, make_plan
from dreamjobs.manifest import build
from dreamjobs.params import make_params
from dreamjobs.schedule import Part
from dreamjobs.schedule.fan import Fan
from dreamjobs.storage import open_store

FAN_OUT: dict[str, Any] = {
    "octaves": 2,
    "steps": 4,
    "fan_out_mpx": 0.02,
    "fan_out_tile": 256,
    "fan_out_overlap": 64,
    "sync_steps": 2,
}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_same_picture_however_many_actors_dream_it(ray_cluster: None) -> None:
    """Large pictures by tiles and small ones whole, in one run: the bytes are those of one process."""
    put_photos("photos", 2, size=(600, 420))
    put_photos("photos/small", 1, size=(130, 100))
    build(["photos"], "m.parquet", [])
    go("m.parquet", "inline", FAN_OUT, inline=True)
    go("m.parquet", "two", FAN_OUT, actors=2)
    go("m.parquet", "three", FAN_OUT, actors=3)
    assert len(pictures("two")) == 3
    assert pictures("two") == pictures("three") == pictures("inline")
    found = rows("two")
    assert [row["status"] for row in found] == ["done"] * 3
    assert all(row["objective_end"] > row["objective_start"] for row in found)
    assert ledger.verify(open_store("two")).sound


def test_a_killed_actor_costs_a_tile(gate: Path) -> None:
    """An actor killed within a tile is replaced and the tile done again; the picture is the same, at attempt 1."""
    put_photos("photos", 1, size=(600, 420))
    build(["photos"], "m.parquet", [])
    gated = FAN_OUT | {"net": GATED, "weights": "random", "octaves": 1}
    with killing(gate) as killed:
        go("m.parquet", "run", gated, actors=2)
    assert len(killed) == 1
    assert [row["attempts"] for row in rows("run")] == [1]
    go("m.parquet", "inline", gated, inline=True)
    assert pictures("run") == pictures("inline")


@pytest.mark.parametrize("place", ["local", "s3"])
def test_a_tiled_tiff_becomes_a_pyramid(ray_cluster: None, s3_bucket_url: str, place: str) -> None:
    """Read by window and written by tiles, from disk and from S3: the same bytes as in one process, made again alike.

    What is dreamed is what the same pixels in a PNG come to.
    """
    folder = "tiles" if place == "local" else f"{s3_bucket_url}/tiles"
    pixels = np.asarray(noise(7, (600, 420)))
    tifffile.imwrite("a.tif", pixels, photometric="rgb", tile=(128, 128), compression="adobe_deflate", bigtiff=True)
    open_store(folder).put_file("a.tif", "a.tif")
    open_store("pngs").put("a.png", encoded(noise(7, (600, 420))))
    build([folder], "m.parquet", [])
    build(["pngs"], "p.parquet", [])
    asked = FAN_OUT | {"keep_colors": True}
    go("m.parquet", "inline", asked, inline=True)
    go("m.parquet", "two", asked, actors=2)
    go("p.parquet", "png", asked, actors=2)
    made = pictures("two")
    assert made == pictures("inline")
    ((key, data),) = made.items()
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        assert tiff.is_bigtiff
        assert [level.shape for level in tiff.pages.first.pages] == [(210, 300, 3)]
    (other,) = pictures("png").values()
    assert np.array_equal(images.decode(data).pixels, images.decode(other).pixels)
    assert [(row["width"], row["height"]) for row in rows("two")] == [(600, 420)]
    again = worker.reproduce_picture(os.path.join("two", key), source=f"{folder}/a.tif")
    assert (again.same, again.differences) == (True, ())


def test_a_picture_too_large_for_its_format_is_not_begun(ray_cluster: None) -> None:
    """Where the dream would not fit into its format, that is said before it begins, and what would take it."""
    put_photos("photos", 1, size=(600, 420))
    build(["photos"], "m.parquet", [])
    go("m.parquet", "run", FAN_OUT | {"octave_sizes": "300 17000", "octaves": 1, "format": "webp"}, actors=2)
    (row,) = rows("run")
    assert (row["status"], row["error_type"]) == ("failed", "ImageError")
    assert "11900 x 17000" in row["error"]
    assert "`format: tiff`" in row["error"]


class BrokenError(Exception):
    """The driver came to an end."""


@dataclass
class Count:
    """Counts groups of tiles as they come back, and breaks the driver off at some."""

    groups: int = 0
    stop_at: int | None = None

    def watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        ascended = Fan.ascended

        def counted(fan: Fan, part: Part, report: Report) -> bool:
            self.groups += 1
            if self.groups == self.stop_at:
                raise BrokenError
            return ascended(fan, part, report)

        monkeypatch.setattr(Fan, "ascended", counted)


def test_finished_octaves_are_not_dreamed_again(ray_cluster: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was kept of a broken-off picture is gone on from: the same bytes, fewer tiles, and nothing is left over."""
    put_photos("photos", 1, size=(500, 300))
    build(["photos"], "m.parquet", [])
    asked = FAN_OUT | {"octaves": 3}
    go("m.parquet", "inline", asked, inline=True)
    plan = make_plan(make_params(asked), (300, 500))
    total = sum(len(plan.octaves[now.octave].groups) for now in plan.rounds)
    monkeypatch.setattr("dreamjobs.schedule.fan.KEEP_S", 0.0)
    count = Count(stop_at=total - 2)
    count.watch(monkeypatch)
    with pytest.raises(BrokenError):
        go("m.parquet", "run", asked, actors=2)
    count.groups, count.stop_at = 0, None
    go("m.parquet", "run", asked, actors=2)
    last = sum(len(plan.octaves[2].groups) for now in plan.rounds if now.octave == 2)
    assert count.groups == last < total
    assert pictures("run") == pictures("inline")
    assert not list(open_store("run").list("checkpoints/"))
