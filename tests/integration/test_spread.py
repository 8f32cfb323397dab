"""A function on many items by Ray tasks, and the gallery's previews made so: in windows, nothing lost, all told."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import ray
from integration.calls import Signed, die_sometimes, half, refuse
from integration.photos import Command, encoded, go, noise, put_photos, rows
from unit.gallery_rows import put_rows, row

from dreamjobs.engine import spread
from dreamjobs.errors import WorkerLostError
from dreamjobs.gallery import write_gallery
from dreamjobs.manifest import build
from dreamjobs.reports.live import Monitor
from dreamjobs.storage import open_store

MEMORY = 1_000_000


def test_items_are_taken_in_windows(ray_cluster: None) -> None:
    """Every item has its outcome once, and never are more in flight than a window holds."""
    taken, given, most = 0, [], 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(300):
            taken += 1
            yield number

    for item, outcome in spread.each(half, items(), memory_bytes=MEMORY):
        most = max(most, taken - len(given))
        given.append((item, outcome))
    assert sorted(given) == [(number, number / 2) for number in range(300)]
    assert most == 64


def test_no_items_are_no_calls(ray_cluster: None) -> None:
    """Nothing to do ends at once."""
    assert list(spread.each(half, [], memory_bytes=MEMORY)) == []


def test_a_process_that_dies_costs_its_own_item_only(ray_cluster: None, tmp_path: Path) -> None:
    """A call is made again where its process died, three times at most; then the error stands in its place."""
    found = dict(spread.each(partial(die_sometimes, str(tmp_path)), range(8), memory_bytes=MEMORY))
    assert isinstance(found.pop(3), WorkerLostError)
    assert found == dict.fromkeys((0, 1, 2, 4, 5, 6, 7), "made")
    assert {path.name: path.stat().st_size for path in tmp_path.iterdir() if path.stat().st_size > 1} == {
        "3": 3,
        "5": 2,
    }


def test_an_error_of_the_function_is_raised(ray_cluster: None) -> None:
    """As by `map`: what the function raises is the caller's to deal with."""
    with pytest.raises(ValueError, match="1 is refused"):
        list(spread.each(refuse, [1], memory_bytes=MEMORY))


def test_more_memory_than_any_node_has_still_runs(ray_cluster: None) -> None:
    """A call that may take more than there is goes alone, rather than waiting for ever."""
    assert dict(spread.each(half, range(3), memory_bytes=2**60)) == {0: 0.0, 1: 0.5, 2: 1.0}


def put_run(url: str, numbers: range) -> None:
    """A run of these pictures, of which number 1 is damaged."""
    store = open_store(url)
    for number in numbers:
        store.put(f"images/{number:08d}.jpg", b"text" if number == 1 else encoded(noise(number), "JPEG"))
    put_rows(url, [row(number, image="noise:1") for number in range(numbers.stop)])


def thumbnails(url: str) -> dict[str, bytes]:
    store = open_store(url)
    return {info.key: store.get(info.key) for info in store.list("gallery/thumbs/")}


def test_tasks_make_the_thumbnails_that_threads_make(ray_cluster: None, tmp_path: Path) -> None:
    """Made by other processes, only the new ones, the same bytes; a picture that is damaged costs its own alone."""
    run, here = str(tmp_path / "run"), str(tmp_path / "here")
    put_run(run, range(4))
    failed: list[str] = []
    write_gallery(Signed(run), each=spread.each, on_failed=failed.append)
    pids = {int(open_store(run).get(info.key)) for info in open_store(run).list("pids/")}
    assert pids
    assert os.getpid() not in pids
    assert [reason.partition(": ")[0] for reason in failed] == ["images/00000001.jpg"]
    before = {info.key: info.version for info in open_store(run).list("gallery/thumbs/")}
    assert len(before) == 3
    put_run(run, range(4, 6))
    made: list[int] = []
    write_gallery(Signed(run), each=spread.each, on_made=made.append)
    assert made == [1, 2, 3]  # two that are new, and the damaged one again
    after = {info.key: info.version for info in open_store(run).list("gallery/thumbs/")}
    assert {key: after[key] for key in before} == before
    put_run(here, range(6))
    write_gallery(open_store(here))
    assert thumbnails(run) == thumbnails(here)


@pytest.fixture
def dreamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A run of three pictures, made inline, of which one was damaged since; returns its folder."""
    monkeypatch.chdir(tmp_path)
    put_photos("photos", 3)
    build(["photos"], "m.parquet", [])
    go("m.parquet", "run", inline=True)
    Path("run", rows("run")[1]["output"]).write_bytes(b"text")
    return str(tmp_path / "run")


def test_the_command_joins_a_cluster(ray_cluster: None, dreamed: str, tmp_path: Path) -> None:
    """`gallery --address` from a process of its own: the page is there, and it is told which picture has no preview."""
    address = ray.get_runtime_context().gcs_address
    with Command(tmp_path, "gallery", dreamed, "--no-photographs", "--address", address) as command:
        assert command.wait() == 0, command.output
        assert f"{dreamed}/gallery/index.html" in command.output
        assert "1 preview could not be made" in command.output
        assert f"{rows(dreamed)[1]['output']}: ImageError" in command.output
    assert len(thumbnails(dreamed)) == 2


def test_a_cluster_that_is_not_there_is_told(dreamed: str, tmp_path: Path) -> None:
    """An address where nobody listens is an error that names it, and no page."""
    with Command(tmp_path, "gallery", dreamed, "--address", "127.0.0.1:1") as command:
        assert command.wait() == 2
        assert "no Ray cluster at '127.0.0.1:1'" in command.output
    assert not Path(dreamed, "gallery").exists()


def test_thumbnails_on_s3(s3_bucket_url: str, ray_cluster: None) -> None:
    """Tasks read the pictures from S3 and put the thumbnails there."""
    run = f"{s3_bucket_url}/{uuid.uuid4().hex[:8]}"
    put_run(run, range(3))
    write_gallery(open_store(run), each=spread.each)
    assert sorted(thumbnails(run)) == [f"gallery/thumbs/{number:064x}.webp" for number in (0, 2)]


def test_results_name_the_actors(ray_cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row names the process that dreamed it, an actor's and not the driver's; so does the status."""
    monkeypatch.chdir(tmp_path)
    put_photos("photos", 4)
    build(["photos"], "m.parquet", [])
    go("m.parquet", "run", actors=2)
    actors = {row["actor"] for row in rows("run")}
    assert {actor.rpartition(":")[0] for actor in actors} == {socket.gethostname()}
    assert str(os.getpid()) not in {actor.rpartition(":")[2] for actor in actors}
    look = Monitor(open_store("run")).look()
    assert {actor.actor for actor in look.actors} == actors
    assert sum(actor.done for actor in look.actors) == 4
