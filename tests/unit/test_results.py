"""The results dataset: written in parts, read as one row a job, compacted without loss."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dreamjobs import results
from dreamjobs.errors import StorageError
from dreamjobs.jobs import Artifact, Failure, Job, Outcome, Seconds, Source
from dreamjobs.params import PARAM_NAMES, DreamParams
from dreamjobs.results import append
from dreamjobs.storage import LocalStore, ObjectInfo

BEGIN = datetime(2024, 5, 1, tzinfo=UTC)
ARTIFACT = Artifact(
    key="images/a.png",
    sha256="ab",
    size_bytes=9,
    width=4,
    height=3,
    source_width=8,
    source_height=6,
    objective=(1.0, 2.0, 4.0),
    seconds=Seconds(1, 2, 3, 4, 5),
    device="cpu",
    node="here",
    actor="here:7",
    overlap_error=0.25,
)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalStore:
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    return LocalStore(str(tmp_path / "run"))


def job(number: int = 1, **meta: Any) -> Job:
    params = DreamParams(net="tiny", objective="edges", overlap=16)
    return Job(number, Source(f"{number}.png", f"/{number}.png", 7, "mtime:5"), params, "digest", meta)


def row(number: int = 1, *, at: int = 0, error: str | None = None, **meta: Any) -> dict[str, Any]:
    failure = Failure(error, "why", False) if error else None
    artifact = None if error else ARTIFACT
    outcome = Outcome(job(number, **meta), 2, BEGIN + timedelta(seconds=at), artifact, failure)
    return results.to_row(outcome, 1, {"torch": "2"})


def add(store: LocalStore, stamp: str, *rows: dict[str, Any], shard: str = "1-of-1") -> None:
    appender = results.Appender(store, shard, stamp)
    for item in rows:
        appender.add(item)
    appender.flush()


def parts(store: LocalStore) -> list[str]:
    return [info.key for info in store.list("results/")]


def read(store: LocalStore) -> list[tuple[int, str, str | None]]:
    return [(item["row"], item["status"], item["error_type"]) for item in results.read(store).to_pylist()]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_done_job_is_a_row_with_everything(store: LocalStore) -> None:
    """What was asked, what came of it, how long it took and with which versions can be read back."""
    add(store, "s", row(3, at=1, meta_place="Köln"))
    (found,) = results.read(store).to_pylist()
    assert found["id"] == job(3).id
    assert (found["row"], found["image"], found["status"], found["attempts"]) == (3, "3.png", "done", 2)
    assert (found["output"], found["sha256"], found["size_bytes"]) == ("images/a.png", "ab", 9)
    assert (found["width"], found["height"], found["source_width"], found["source_height"]) == (4, 3, 8, 6)
    assert (found["objective_start"], found["objective_end"], found["objective_curve"]) == (1.0, 4.0, [1.0, 2.0, 4.0])
    assert [found[f"{stage}_s"] for stage in ("fetch", "decode", "dream", "encode", "put")] == [1, 2, 3, 4, 5]
    assert (found["source_version"], found["source_size_bytes"]) == ("mtime:5", 7)
    assert (found["device"], found["node"], found["actor"]) == ("cpu", "here", "here:7")
    assert (found["weights_digest"], found["algorithm"], found["overlap_error"]) == ("digest", 1, 0.25)
    assert found["finished"] == BEGIN + timedelta(seconds=1)
    assert found["versions"] == [("torch", "2")]
    assert (found["error_type"], found["error"]) == (None, None)
    assert found["meta_place"] == "Köln"
    assert (found["net"], found["objective"], found["overlap"], found["steps"]) == ("tiny", "edges", "16", 10)
    assert set(PARAM_NAMES) <= set(found)


def test_a_failed_job_is_a_row_with_its_reason(store: LocalStore) -> None:
    """The error's type and message are there, and what there is not is null."""
    add(store, "s", row(error="ImageError"))
    (found,) = results.read(store).to_pylist()
    assert (found["status"], found["error_type"], found["error"]) == ("failed", "ImageError", "why")
    assert [found[name] for name in ("output", "sha256", "width", "objective_end", "dream_s")] == [None] * 5


def test_rows_are_put_when_time_has_passed(store: LocalStore) -> None:
    """A row waits for others for FLUSH_S seconds and no longer."""
    clock = Clock()
    appender = results.Appender(store, "1-of-1", "s", clock)
    appender.add(row(1))
    clock.now = results.FLUSH_S - 0.1
    appender.flush_if_due()
    assert parts(store) == []
    clock.now = results.FLUSH_S
    appender.flush_if_due()
    assert parts(store) == ["results/1-of-1-s-000000.parquet"]
    appender.add(row(2))
    assert len(parts(store)) == 1
    clock.now = 2 * results.FLUSH_S
    appender.add(row(3))
    assert parts(store) == ["results/1-of-1-s-000000.parquet", "results/1-of-1-s-000001.parquet"]
    assert [found[0] for found in read(store)] == [1, 2, 3]


def test_rows_are_put_when_there_are_many(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """FLUSH_ROWS rows are put at once, whatever the time."""
    monkeypatch.setattr(append, "FLUSH_ROWS", 3)
    appender = results.Appender(store, "1-of-1", "s", Clock())
    for number in range(1, 8):
        appender.add(row(number))
    assert len(parts(store)) == 2
    assert [found[0] for found in read(store)] == [1, 2, 3, 4, 5, 6]
    appender.flush()
    assert len(read(store)) == 7


def test_nothing_to_put_puts_nothing(store: LocalStore) -> None:
    """Flushing an empty appender writes no part."""
    add(store, "s")
    assert parts(store) == []


def test_a_failed_put_keeps_the_rows(store: LocalStore) -> None:
    """If the store fails while a part is put, the next flush puts the same rows, under the same name."""

    class Failing(LocalStore):
        broken = True

        def put(self, key: str, data: bytes) -> None:
            if self.broken:
                raise StorageError("disk full")
            super().put(key, data)

    failing = Failing(store.root)
    appender = results.Appender(failing, "1-of-1", "s", Clock())
    appender.add(row(1))
    with pytest.raises(StorageError):
        appender.flush()
    Failing.broken = False
    appender.flush()
    assert parts(store) == ["results/1-of-1-s-000000.parquet"]
    assert read(store) == [(1, "done", None)]


def test_no_results_are_an_empty_table(store: LocalStore) -> None:
    """A run without results reads as no rows with all columns, or those asked for."""
    assert results.read(store).num_rows == 0
    assert results.read(store).schema.names == results.SCHEMA.names
    assert results.read(store, ("id", "status")).num_rows == 0


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([row(at=1, error="A"), row(at=2, error="B")], ("failed", "B")),
        ([row(at=2, error="B"), row(at=1, error="A")], ("failed", "B")),
        ([row(at=1), row(at=2, error="A")], ("done", None)),
        ([row(at=2, error="A"), row(at=1)], ("done", None)),
        ([row(at=1, error="A"), row(at=2)], ("done", None)),
    ],
)
def test_one_row_of_a_job_is_current(store: LocalStore, rows: list[dict[str, Any]], expected: tuple[str, str]) -> None:
    """Done goes before failed and later before earlier, in whatever order and parts they were written."""
    for stamp, item in enumerate(rows):
        add(store, str(stamp), item)
    assert [(status, error) for _, status, error in read(store)] == [expected]
    together = pa.concat_tables([pq.read_table(f"{store.root}/{key}") for key in parts(store)])
    assert results.current(together).num_rows == 1


def test_rows_come_in_the_order_of_the_manifest(store: LocalStore) -> None:
    """The order of finishing does not show."""
    add(store, "s", *[row(number, at=number) for number in (5, 2, 9, 1)])
    assert [found[0] for found in read(store)] == [1, 2, 5, 9]


def test_only_the_columns_asked_for_are_read(store: LocalStore) -> None:
    """Columns needed only to choose the current rows are dropped again."""
    add(store, "s", row())
    assert results.read(store, ("image", "error_type")).to_pylist() == [{"image": "1.png", "error_type": None}]


def test_a_part_of_an_older_version_reads(store: LocalStore) -> None:
    """A column that came later is null where it is asked for, beside parts that have it, and alone."""
    add(store, "a", row(1))
    old = pq.read_table(f"{store.root}/{parts(store)[0]}").drop_columns(["actor", "frames"])
    store.put("results/1-of-1-a-000000.parquet", _file(old))
    assert results.read(store, ("row", "actor", "frames")).to_pylist() == [{"row": 1, "actor": None, "frames": None}]
    assert "actor" not in results.read(store).column_names
    add(store, "b", row(2))
    assert results.read(store, ("actor",)).to_pylist() == [{"actor": None}, {"actor": "here:7"}]
    assert [item["actor"] for item in results.read(store).to_pylist()] == [None, "here:7"]


def _file(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def test_parts_with_different_meta_columns_unify(store: LocalStore) -> None:
    """A meta column that a part lacks, or has only nulls in, or integers for fractions, reads as one."""
    add(store, "a", row(1, meta_x=1, meta_y=None))
    add(store, "b", row(2, meta_x=2.5, meta_z="z"))
    add(store, "c", row(3, meta_y="y"))
    found = results.read(store).to_pylist()
    assert [item["meta_x"] for item in found] == [1.0, 2.5, None]
    assert [item["meta_y"] for item in found] == [None, None, "y"]
    assert [item["meta_z"] for item in found] == [None, "z", None]


def test_a_meta_column_of_two_kinds_becomes_text(store: LocalStore) -> None:
    """Two manifests that disagree on the type of a meta column leave a run that can be read and compacted."""
    add(store, "a", row(1, meta_x=1, meta_same=7))
    add(store, "b", row(2, meta_x="two", meta_same=8))
    expected = [("1", 7), ("two", 8)]
    assert [(item["meta_x"], item["meta_same"]) for item in results.read(store).to_pylist()] == expected
    results.compact(store, "z", prefix="1-of-1-")
    assert [(item["meta_x"], item["meta_same"]) for item in results.read(store).to_pylist()] == expected


def test_a_folder_named_like_a_column_adds_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A RUN below a folder `steps=9` is read as it was written: folder names are no data."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    store = LocalStore(str(tmp_path / "steps=9" / "camera=x"))
    add(store, "a", row())
    (found,) = results.read(store).to_pylist()
    assert found["steps"] == 10
    assert "camera" not in found


def test_compacting_keeps_the_current_rows(store: LocalStore) -> None:
    """Many parts become one with the same current rows; a second time does nothing."""
    add(store, "a", row(1, at=1, error="A"), row(2, at=1, meta_x=1))
    add(store, "b", row(1, at=2), row(3, at=2, error="B"))
    before = results.read(store).to_pylist()
    assert results.compact(store, "c", prefix="1-of-1-") == 2
    assert parts(store) == ["results/1-of-1-c-0000-compact.parquet"]
    assert results.read(store).to_pylist() == before
    assert pq.read_table(f"{store.root}/{parts(store)[0]}").num_rows == 3
    assert results.compact(store, "d", prefix="1-of-1-") == 0
    assert parts(store) == ["results/1-of-1-c-0000-compact.parquet"]


def test_compacting_a_shard_leaves_the_others(store: LocalStore) -> None:
    """Only parts of the shard's name are replaced, 1-of-1 not being 1-of-16."""
    for stamp in ("a", "b"):
        add(store, stamp, row(1, at=1), shard="1-of-1")
        add(store, stamp, row(2, at=1), shard="1-of-16")
    results.compact(store, "c", prefix="1-of-1-")
    assert parts(store) == [
        "results/1-of-1-c-0000-compact.parquet",
        "results/1-of-16-a-000000.parquet",
        "results/1-of-16-b-000000.parquet",
    ]


def test_a_crash_while_compacting_loses_nothing(store: LocalStore) -> None:
    """Killed before the old parts are gone, or with some of them gone, the current rows are what they were."""

    class Crash(Exception):
        pass

    class Crashing(LocalStore):
        deletes_left = 0

        def delete(self, key: str) -> None:
            if Crashing.deletes_left == 0:
                raise Crash
            Crashing.deletes_left -= 1
            super().delete(key)

    for number in range(4):
        add(store, f"{number}", row(number, at=1, error="A"), row(number + 1, at=2))
    before = results.read(store).to_pylist()
    for deletes in (0, 2):
        Crashing.deletes_left = deletes
        with pytest.raises(Crash):
            results.compact(Crashing(store.root), f"c{deletes}", prefix="1-of-1-")
        assert len(parts(store)) > 1
        assert results.read(store).to_pylist() == before
    results.compact(store, "d", prefix="1-of-1-")
    assert results.read(store).to_pylist() == before


def test_dropped_jobs_have_no_row(store: LocalStore) -> None:
    """Jobs to be done again are left out, even where only one part stands and none of it stays."""
    add(store, "a", row(1), row(2))
    results.compact(store, "b", prefix="", drop=[job(1).id])
    assert read(store) == [(2, "done", None)]
    results.compact(store, "c", prefix="", drop=[job(2).id])
    assert parts(store) == []


class Restless(LocalStore):
    """Compacts between being listed and being read, as a driver elsewhere does when it ends."""

    compactions = 1

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        found = list(super().list(prefix))
        if Restless.compactions:
            Restless.compactions -= 1
            plain = LocalStore(self.root)
            add(plain, f"new{Restless.compactions}", row(9))
            results.compact(plain, f"c{Restless.compactions:03}", prefix="1-of-1-")
        return iter(found)


def test_reading_survives_compaction(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts that a driver elsewhere has just replaced are read again from their successor."""
    monkeypatch.setattr(Restless, "compactions", 2)
    add(store, "a", row(1), row(2))
    add(store, "b", row(3))
    assert [found[0] for found in read(Restless(store.root))] == [1, 2, 3, 9]


def test_reading_gives_up_at_last(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results that never hold still are an error worth another attempt."""
    monkeypatch.setattr(Restless, "compactions", 1000)
    add(store, "a", row(1), row(2))
    with pytest.raises(StorageError, match="while they were read"):
        results.read(Restless(store.root))


def test_a_damaged_part_is_named(store: LocalStore) -> None:
    """A part that is no Parquet is an error that says which."""
    add(store, "a", row(1))
    store.put("results/zz.parquet", b"not parquet")
    with pytest.raises(StorageError, match=r"results/zz\.parquet"):
        results.read(store)


def test_other_files_among_the_parts_are_left_alone(store: LocalStore) -> None:
    """What is no Parquet by name is neither read nor compacted away."""
    store.put("results/README.txt", b"mine")
    add(store, "a", row(1))
    add(store, "b", row(2))
    results.compact(store, "c", prefix="")
    assert len(read(store)) == 2
    assert store.get("results/README.txt") == b"mine"
