"""What is known of a run's jobs by their ids alone: the index of results, the survey, and the driver without torch."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from dreamjobs import ledger, results
from dreamjobs.engine.asking import ask, ask_apart
from dreamjobs.errors import ManifestError
from dreamjobs.ledger import Index, Order, Shard
from dreamjobs.ledger.index import AGAIN, DONE, FAILED, NEW, as_ids
from dreamjobs.manifest import Expander, Known, open_manifest
from dreamjobs.manifest.build import build_rows
from dreamjobs.results import merge
from dreamjobs.results.parts import encode
from dreamjobs.storage import LocalStore

NOISE: dict[str, Any] = {"net": "tiny", "objective": "things", "start": "noise", "size": "32"}
KNOWN = Known(lambda net, weights: "digest")
HALF = "0123456789abcdef"


def row(job_id: str, error: str | None = None, at: int = 0) -> dict[str, Any]:
    status = "failed" if error else "done"
    when = datetime.fromtimestamp(at, UTC)
    return {"id": job_id, "row": 1, "status": status, "error_type": error, "finished": when, "versions": []}


def index_of(store: LocalStore, *parts: Sequence[dict[str, Any]]) -> Index:
    """The index of results in so many parts."""
    for number, rows in enumerate(parts):
        appender = results.Appender(store, "1-of-1", f"s{number}")
        for each in rows:
            appender.add(each)
        appender.flush()
    return Index.load(store)


def verdicts(index: Index, *ids: str, retry: Sequence[str] = ()) -> list[int]:
    return index.verdicts(as_ids(map(bytes.fromhex, ids)), retry).tolist()


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "run"))


def manifest(tmp_path: Path, rows: int, **cells: Any) -> str:
    path = str(tmp_path / "m.parquet")
    build_rows(path, {f"noise:{number}": NOISE | {"seed": [1, 2, 3]} | cells for number in range(rows)})
    return path


def test_ids_that_share_their_first_half_are_told_apart(store: LocalStore) -> None:
    """Of ids alike in their first 64 bits each has its own verdict, and one more of that kind has none."""
    ids = [HALF + f"{number:016x}" for number in (9, 1, 5)]
    index = index_of(store, [row(ids[0]), row(ids[1], "ImageError"), row(ids[2])])
    assert verdicts(index, *ids, HALF + "f" * 16, "f" * 32, "0" * 32) == [DONE, FAILED, DONE, NEW, NEW, NEW]
    assert len(index) == 3


def test_the_current_row_counts_whatever_part_it_is_in(store: LocalStore) -> None:
    """A done row beats a later failed one; of failed ones the latest says with what."""
    first, second = "a" * 32, "b" * 32
    index = index_of(
        store,
        [row(first, at=1), row(second, "StorageError", at=3)],
        [row(first, "ImageError", at=2), row(second, "ImageError", at=1)],
    )
    assert verdicts(index, first)[0] == DONE
    assert index.error_types[verdicts(index, second)[0] - FAILED] == "StorageError"
    assert verdicts(index, first, second, retry=["StorageError"]) == [DONE, AGAIN]
    assert verdicts(index, second, retry=["ImageError"])[0] >= FAILED


def test_ids_alone_are_those_of_the_jobs(tmp_path: Path) -> None:
    """What `ids` says of a row is what its jobs say, also where its grid is too large to be kept."""
    url = manifest(tmp_path, 2, seed=list(range(10_050)))
    expander = Expander(str(tmp_path), {}, KNOWN)
    for each in open_manifest(url).read():
        assert [job_id.hex() for job_id in expander.ids(each)] == [job.id for job in expander.jobs(each)]


def test_cells_that_are_equal_and_not_the_same_are_told_apart(tmp_path: Path) -> None:
    """Rows whose grids are equal in Python, 0.0 and -0.0, get each its own parameters."""
    path = str(tmp_path / "m.parquet")
    build_rows(path, {f"noise:{value}": NOISE | {"shift_x": value} for value in (0.0, -0.0)})
    expander = Expander(str(tmp_path), {}, KNOWN)
    assert [str(job.params.shift_x) for each in open_manifest(path).read() for job in expander.jobs(each)] == [
        "0.0",
        "-0.0",
    ]


@pytest.mark.parametrize("shard", [Shard(), Shard(1, 3), Shard(3, 3)])
def test_a_survey_finds_what_is_left(tmp_path: Path, store: LocalStore, shard: Shard) -> None:
    """The jobs of a shard that have no result are those that a survey gives, each with its number of points."""
    asked, _ = ask(manifest(tmp_path, 7), {})
    every = list(ledger.planned(asked.record, asked.manifest, shard))
    done = {job.id for job in every[1::2]}
    found = ledger.survey(Order(asked.record, asked.manifest, shard), index_of(store, [row(job_id) for job_id in done]))
    assert [job.id for job in found.jobs()] == [job.id for job in every if job.id not in done]
    assert (found.reasons(None), found.count(DONE)) == ({"new": len(every) - len(done)}, len(done))


def test_large_parts_are_merged_no_further(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compaction leaves large parts as they are, and what it makes of small ones stays below the bound."""
    index_of(store, *([row(f"{number:032x}")] for number in range(6)))
    sizes = [info.size_bytes for info in store.list("results/")]
    monkeypatch.setattr(merge, "PART_BYTES", 3 * max(sizes))
    results.compact(store, "x", prefix="1-of-1-")
    assert len(list(store.list("results/"))) == 2
    monkeypatch.setattr(merge, "PART_BYTES", 1)
    assert results.compact(store, "y", prefix="1-of-1-") == 0
    assert results.read(store, ("id",)).num_rows == 6


def test_a_column_that_an_older_part_lacks_is_null(store: LocalStore) -> None:
    """Results are gathered from parts that were written before a column was there."""
    index_of(store, [row("a" * 32)])

    def cells(batches: Any) -> list[Any]:
        return pa.Table.from_batches(batches)["error_type"].to_pylist()

    table = results.read(store).drop_columns(["error_type"])
    store.put("results/old.parquet", encode(table))
    assert results.gather(store, ("id", "error_type"), cells) == [None, None]


def test_another_process_finds_the_same(tmp_path: Path) -> None:
    """What is asked for is checked by another process with the same outcome, its errors included."""
    url = manifest(tmp_path, 2)
    (here, library), (there, other) = ask(url, {}), ask_apart(url, {})
    assert (here, library.digests()) == (there, other.digests())
    with pytest.raises(ManifestError, match=r"row 1: .*nowhere"):
        ask_apart(manifest(tmp_path, 1, objective="nowhere"), {})


def test_a_driver_needs_no_torch(tmp_path: Path) -> None:
    """A process that has another check, and plans, never imports torch."""
    code = f"""
import sys
from dreamjobs.engine.asking import ask_apart
from dreamjobs.engine.driver import Plan, Index, Shard
asked, library = ask_apart({manifest(tmp_path, 2)!r}, {{}})
plan = Plan(asked.record, asked.manifest, Index.empty(), Shard(), None, frozenset())
(job, *_) = plan.jobs()
assert library.weights(job.params.net, job.params.weights).digest == job.weights_digest
sys.exit("torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
