"""Photographs, manifest, weights and RUN on S3: the same pictures as on local disk, and as hard to lose."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from integration.photos import (
    GATED,
    HELD,
    Command,
    all_rows,
    encoded,
    go,
    noise,
    pictures,
    put_photos,
    rows,
    save_weights,
)

from dreamjobs import images, ledger
from dreamjobs.engine import RunOptions, run
from dreamjobs.errors import ManifestError, NotFoundError
from dreamjobs.jobs import Keys, Summary
from dreamjobs.ledger import Status
from dreamjobs.manifest import build
from dreamjobs.storage import open_store

GRID = {"objective": ["edges", "parts:3"]}


def go_grid(manifest: str, url: str, **options: Any) -> Summary:
    """Run a manifest with its own objectives."""
    return run(manifest, url, {"net": "tiny", "octaves": 2, "steps": 2}, RunOptions(**options))


@pytest.fixture
def place(s3_bucket_url: str) -> str:
    return f"{s3_bucket_url}/{uuid.uuid4().hex[:8]} ü"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def pixels(url: str) -> dict[tuple[str, str, str], bytes]:
    """Each picture of a run without its recipe, by photograph and parameters."""
    store = open_store(url)
    return {
        (row["image"].rpartition("/")[2], row["objective"], row["weights_digest"]): images.decode(
            store.get(row["output"])
        ).pixels.tobytes()
        for row in rows(url)
    }


def test_everything_on_s3(place: str, ray_cluster: None) -> None:
    """Built, run on two actors, counted, verified and run again on S3, the dreams are those of the local disk."""
    put_photos(f"{place}/photos", 3)
    put_photos("photos", 3)
    assert build([f"{place}/photos"], f"{place}/m.parquet", [GRID]).rows == 3
    build(["photos"], "m.parquet", [GRID])
    summary = go_grid(f"{place}/m.parquet", f"{place}/run", actors=2)
    assert (summary.done, summary.failed, summary.left) == (6, 0, 0)
    found = rows(f"{place}/run")
    assert {row["image"] for row in found} == {f"{place}/photos/{number}.png" for number in range(3)}
    assert all(row["source_version"].startswith("etag:") for row in found)
    assert all(row["source_width"] == 24 for row in found)
    store = open_store(f"{place}/run")
    assert ledger.status(store) == Status(6, 6, 0, 0, {}, 0)
    assert ledger.verify(store, f"{place}/m.parquet").sound
    again = go_grid(f"{place}/m.parquet", f"{place}/run", actors=2)
    assert (again.done, again.done_before) == (0, 6)
    go_grid("m.parquet", "run", inline=True)
    assert pixels(f"{place}/run") == pixels("run")


def test_the_same_photographs_give_the_same_bytes_on_s3_and_on_disk(place: str) -> None:
    """A RUN on S3 and one on disk of one manifest hold the same files under the same keys."""
    put_photos(f"{place}/photos", 2)
    build([f"{place}/photos"], "m.parquet", [GRID])
    go("m.parquet", f"{place}/run", inline=True)
    go("m.parquet", "run", inline=True)
    assert pictures(f"{place}/run") == pictures("run")
    assert len(pictures("run")) == 2


def test_weights_on_s3(place: str) -> None:
    """A weights file on S3 is used, dreams as the same file on disk, and counts by its content."""
    put_photos("photos", 1)
    build(["photos"], "m.parquet", [])
    data = save_weights("w.safetensors", seed=1)
    open_store(place).put("w.safetensors", data)
    go("m.parquet", "s3", {"weights": f"{place}/w.safetensors"}, inline=True)
    go("m.parquet", "disk", {"weights": "w.safetensors"}, inline=True)
    go("m.parquet", "own", inline=True)
    assert rows("s3")[0]["id"] == rows("disk")[0]["id"] != rows("own")[0]["id"]
    assert pixels("s3") == pixels("disk")
    assert list(pixels("s3").values()) != list(pixels("own").values())
    with pytest.raises(ManifestError, match=r"missing\.safetensors does not exist"):
        go("m.parquet", "none", {"weights": f"{place}/missing.safetensors"}, inline=True)


def test_a_missing_photograph_on_s3_is_a_failed_row(place: str) -> None:
    """An object that went since the manifest was built fails with its url; the rest is done."""
    put_photos(f"{place}/photos", 3)
    build([f"{place}/photos"], f"{place}/m.parquet", [])
    open_store(place).delete("photos/1.png")
    summary = go(f"{place}/m.parquet", f"{place}/run", inline=True)
    assert (summary.done, summary.failed) == (2, 1)
    (failed,) = [row for row in rows(f"{place}/run") if row["status"] == "failed"]
    assert failed["error_type"] == "NotFoundError"
    assert f"{place}/photos/1.png" in failed["error"]
    open_store(place).put("photos/1.png", encoded(noise(1)))
    retried = go(f"{place}/m.parquet", f"{place}/run", inline=True, retry_failed=frozenset(["NotFoundError"]))
    assert (retried.done, retried.reasons) == (1, {"failed before": 1})
    assert ledger.verify(open_store(f"{place}/run")).sound


def test_a_changed_photograph_on_s3_is_dreamed_again(place: str) -> None:
    """A photograph overwritten with another has another etag: its job alone is new."""
    put_photos(f"{place}/photos", 2)
    build([f"{place}/photos"], "m.parquet", [])
    go("m.parquet", f"{place}/run", inline=True)
    open_store(place).put("photos/1.png", encoded(noise(77)))
    build([f"{place}/photos"], "m.parquet", [])
    again = go("m.parquet", f"{place}/run", inline=True, extend=True)
    assert (again.reasons, again.done_before) == ({"source changed": 1}, 1)


def test_a_killed_driver_on_s3_is_continued(place: str, tmp_path: Path) -> None:
    """kill -9 of a driver whose RUN is on S3: a second driver is refused before, and continues after."""
    put_photos(f"{place}/photos", 6)
    open_store(place).put("photos/3.png", encoded(noise(100, (64, 20))))
    build([f"{place}/photos"], f"{place}/m.parquet", [])
    store = open_store(f"{place}/run")
    settings = [f"net={GATED}", "weights=random", "objective=things", "octaves=1", "steps=100"]
    arguments = ["run", f"{place}/m.parquet", f"{place}/run", "--inline", *[f"--set={item}" for item in settings]]
    with Command(tmp_path, *arguments) as first:
        first.until(lambda: any(store.list(Keys.RESULTS)))
        (tmp_path / "second").mkdir()
        with Command(tmp_path / "second", *arguments) as second:
            assert second.wait() == 2
            assert f"process {first.process.pid} on" in second.output
        first.kill()
    before = {row["id"]: row for row in rows(store)}
    assert 0 < len(before) < 6
    (tmp_path / "open").touch()
    with Command(tmp_path, *arguments) as third:
        assert third.wait() == 0, third.output
        assert f"{6 - len(before)} to do: {6 - len(before)} new; {len(before)} done before" in third.output
    after = {row["id"]: row for row in rows(store)}
    assert len(after) == len(all_rows(store.url)) == 6
    assert before.items() <= after.items()
    assert ledger.verify(store).sound


def status_elsewhere(url: str, folder: Path) -> str:
    """What `dreamjobs status` prints in an empty folder and with no word of a Ray cluster, as on another machine."""
    folder.mkdir()
    said = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    command = [sys.executable, "-m", "dreamjobs", "status", url]
    done = subprocess.run(command, cwd=folder, env=said, capture_output=True, text=True, timeout=90, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(folder.iterdir()) == []
    return done.stdout


def test_status_is_told_anywhere(place: str, tmp_path: Path) -> None:
    """`status s3://...` knows a run that goes on elsewhere, and when it is over, from the bucket alone."""
    put_photos(f"{place}/photos", 2)
    open_store(place).put("photos/2.png", encoded(noise(100, (64, 20))))
    build([f"{place}/photos"], f"{place}/m.parquet", [])
    open_store(place).delete("photos/1.png")
    settings = [f"net={HELD}", "weights=random", "objective=things", "octaves=1", "steps=1"]
    arguments = ["run", f"{place}/m.parquet", f"{place}/run", "--inline", *[f"--set={item}" for item in settings]]
    with Command(tmp_path, *arguments) as driver:
        driver.until((tmp_path / "dreaming").exists)
        during = status_elsewhere(f"{place}/run", tmp_path / "during")
        (tmp_path / "open").touch()
        assert driver.wait() == 1, driver.output
    # What is done while the wide picture waits may not be told yet; what waits is left.
    assert re.fullmatch(r"3 jobs: \d done, \d failed, [1-3] left\n(  1 x NotFoundError\n)?", during)
    after = status_elsewhere(f"{place}/run", tmp_path / "after")
    assert after == "3 jobs: 2 done, 1 failed, 0 left\n  1 x NotFoundError\n"


def test_broken_pictures_on_s3_are_mended(place: str) -> None:
    """verify finds what is missing, changed and foreign on S3; fix and another run bring the same bytes back."""
    put_photos("photos", 3)
    build(["photos"], "m.parquet", [])
    go("m.parquet", f"{place}/run", inline=True)
    store = open_store(f"{place}/run")
    good = pictures(store.url)
    keys = sorted(good)
    store.delete(keys[0])
    store.put(keys[1], good[keys[1]][:-5])
    store.put("images/stranger.png", b"x")
    audit = ledger.verify(store)
    assert sorted(broken.key for broken in audit.broken) == keys[:2]
    assert audit.orphans == ("images/stranger.png",)
    assert ledger.mend(store, "fix").count >= 3
    assert go("m.parquet", f"{place}/run", inline=True).done == 2
    assert pictures(store.url) == good
    assert ledger.verify(store).sound


def test_a_missing_bucket_is_an_input_error(s3_bucket_url: str) -> None:
    """A RUN in a bucket that does not exist is refused before anything is dreamed."""
    put_photos("photos", 1)
    build(["photos"], "m.parquet", [])
    with pytest.raises(NotFoundError, match="dreamjobs-no-such-bucket"):
        go("m.parquet", "s3://dreamjobs-no-such-bucket-x/run", inline=True)
