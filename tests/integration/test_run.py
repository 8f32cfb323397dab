"""A manifest run on Ray: every job a row and a picture, the same bytes however it is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from integration.photos import GATED, POISON, RED, TINY, all_rows, encoded, go, killing, pictures, put_photos, rows
from PIL import Image

from dreamjobs import ledger
from dreamjobs.engine import RunOptions, Watcher, run
from dreamjobs.jobs import Summary
from dreamjobs.manifest import build
from dreamjobs.storage import open_store

GRID: dict[str, Any] = {"objective": ["edges", "parts + 0.5*things:3"], "octaves": [1, 2]}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def without_objective(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in GRID}


def test_a_grid_on_two_actors_is_the_grid_in_one_process(ray_cluster: None) -> None:
    """12 jobs on 2 actors, on 1, and inline: each job one done row, one picture, and the same bytes each time."""
    put_photos("photos", 3)
    build(["photos"], "m.parquet", [GRID])
    settings = without_objective(TINY)
    for url, options in (
        ("two", RunOptions(actors=2)),
        ("one", RunOptions(actors=1)),
        ("inline", RunOptions(inline=True)),
    ):
        summary = run("m.parquet", url, settings, options)
        assert (summary.jobs, summary.done, summary.failed, summary.left) == (12, 12, 0, 0)
        assert summary.reasons == {"new": 12}
    found = rows("two")
    assert [row["status"] for row in found] == ["done"] * 12
    assert len({row["id"] for row in found}) == 12
    assert {(row["image"], row["objective"], row["octaves"]) for row in found} == {
        (f"photos/{number}.png", objective, octaves)
        for number in range(3)
        for objective in GRID["objective"]
        for octaves in GRID["octaves"]
    }
    made = pictures("two")
    assert set(made) == {row["output"] for row in found}
    assert len(made) == len(set(made.values())) == 12
    assert made == pictures("one") == pictures("inline")
    assert {row["attempts"] for row in found} == {1}
    assert all(row["objective_end"] > row["objective_start"] for row in found)
    assert ledger.verify(open_store("two")).sound


def test_the_driver_is_told_how_far_it_is(ray_cluster: None) -> None:
    """Outlook first, then progress up to all done, and each job's end."""
    put_photos("photos", 4)
    Path("photos/2.png").write_bytes(b"text")
    build(["photos"], "m.parquet", [])
    outlooks, counts, ended = [], [], []
    watcher = Watcher(
        outlooks.append, lambda now: counts.append((now.done, now.failed, now.todo)), on_finish=ended.append
    )
    summary = run("m.parquet", "run", TINY, RunOptions(actors=1), watcher)
    assert isinstance(summary, Summary)
    assert [outlook.reasons for outlook in outlooks] == [{"new": 4}]
    assert counts == sorted(counts)
    assert counts[-1] == (3, 1, 4)
    failures = {finish.job.source.image: finish.failure and finish.failure.type for finish in ended}
    assert failures == {f"photos/{number}.png": "ImageError" if number == 2 else None for number in range(4)}


@pytest.mark.parametrize(
    ("more", "actors", "attempts"),
    [({}, 1, [2, 2, 2, 2]), ({"fan_out_mpx": 1000}, 2, [1, 1, 1, 2])],
    ids=["in a bundle of four", "by stages"],
)
def test_a_killed_actor_costs_an_attempt(gate: Path, more: dict[str, Any], actors: int, attempts: list[int]) -> None:
    """An actor killed in mid-job is replaced; what it was at is done at the second attempt, with the same bytes."""
    put_photos("photos", 4, size=(80, 60))
    build(["photos"], "m.parquet", [])
    gated = {"net": GATED, "weights": "random", "steps": 8} | more
    with killing(gate) as killed:
        summary = go("m.parquet", "run", gated, actors=actors)
    assert len(killed) == 1
    assert (summary.done, summary.failed, summary.left) == (4, 0, 0)
    assert sorted(row["attempts"] for row in rows("run")) == attempts
    go("m.parquet", "inline", gated, inline=True)
    assert pictures("run") == pictures("inline")
    assert len(all_rows("run")) == 4


def test_a_job_that_kills_its_actors_is_a_failed_job(ray_cluster: None) -> None:
    """A photograph whose dream ends the process fails after 3 attempts, with what was lost.

    The others are done: what was bundled with it costs a second attempt, not a third.
    """
    put_photos("photos", 5)
    open_store("photos").put("2.png", encoded(Image.new("RGB", (24, 20), RED)))
    build(["photos"], "m.parquet", [])
    summary = go("m.parquet", "run", {"net": POISON}, actors=2)
    assert (summary.done, summary.failed, summary.left) == (4, 1, 0)
    found = {row["image"]: (row["status"], row["attempts"], row["error_type"]) for row in rows("run")}
    assert found.pop("photos/2.png") == ("failed", 3, "WorkerLostError")
    assert {(status, error) for status, _, error in found.values()} == {("done", None)}
    assert {attempts for _, attempts, _ in found.values()} <= {1, 2}
    assert ledger.verify(open_store("run")).sound


def test_pictures_never_pass_through_the_driver(ray_cluster: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the driver gets from its tasks and actors are reports of a few kilobytes."""
    import pickle

    import ray

    put_photos("photos", 3, size=(1000, 800))
    build(["photos"], "m.parquet", [])
    sizes: list[int] = []
    get = ray.get

    def measured(ref: Any) -> Any:
        value = get(ref)
        sizes.append(len(pickle.dumps(value)))
        return value

    monkeypatch.setattr("dreamjobs.engine.distributed.ray.get", measured)
    assert go("m.parquet", "run", {"steps": 13, "octaves": 1}, actors=1).done == 3
    assert len(sizes) == 1 + 3 * 3
    assert max(sizes) < 10_000 < 1000 * 800 * 3 * 4


def test_small_pictures_are_one_call_together(ray_cluster: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 20 the driver gets one answer, beside that of the actor which came up."""
    import ray

    put_photos("photos", 20)
    build(["photos"], "m.parquet", [])
    answers: list[Any] = []
    get = ray.get

    def seen(ref: Any) -> Any:
        answers.append(get(ref))
        return answers[-1]

    monkeypatch.setattr("dreamjobs.engine.distributed.ray.get", seen)
    assert go("m.parquet", "run", {"steps": 1, "octaves": 1}, actors=1).done == 20
    assert [len(answer) for answer in answers[1:]] == [20]


def test_weights_reach_the_object_store_once(ray_cluster: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run puts the weights there once, however many actors and jobs there are."""
    import numpy as np
    import ray

    put_photos("photos", 4)
    build(["photos"], "m.parquet", [])
    blobs: list[int] = []
    put = ray.put

    def counted(value: Any) -> Any:
        blobs.append(isinstance(value, np.ndarray))
        return put(value)

    monkeypatch.setattr("dreamjobs.engine.distributed.ray.put", counted)
    assert go("m.parquet", "run", actors=2).done == 4
    assert sum(blobs) == 1
