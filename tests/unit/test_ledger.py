"""What a RUN has, why a job is run, whether it all holds, and how it is mended."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dreamjobs import lease, ledger, results
from dreamjobs.engine import Outlook, RunOptions, Watcher, run
from dreamjobs.engine.plan import Plan
from dreamjobs.errors import InputError, NotFoundError, RunError, StorageError
from dreamjobs.jobs import Keys, Source, Summary
from dreamjobs.ledger import Audit, Index, Mended, RunRecord, Shard, Status
from dreamjobs.manifest import build, open_manifest
from dreamjobs.storage import LocalStore, ObjectInfo

TINY: dict[str, Any] = {"net": "tiny", "objective": "things", "octaves": 1, "steps": 1, "jitter": 0}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "run"))


def photos(count: int) -> None:
    os.makedirs("photos", exist_ok=True)
    for number in range(count):
        if os.path.exists(f"photos/{number}.png"):
            continue
        pixels = np.random.default_rng(number).integers(0, 256, (12, 10, 3), np.uint8)
        Image.fromarray(pixels).save(f"photos/{number}.png")


def dream(count: int = 3, grid: dict[str, Any] | None = None, **options: Any) -> Summary:
    """A run of so many photographs, each with each point of the grid."""
    photos(count)
    build(["photos"], "m.parquet", [grid or {}])
    return again(**options)


def again(settings: dict[str, Any] | None = None, **options: Any) -> Summary:
    return run("m.parquet", "run", TINY | (settings or {}), RunOptions(inline=True, **options))


def record_of(store: LocalStore) -> RunRecord:
    return ledger.load_record(store)


def jobs_of(store: LocalStore) -> list[Any]:
    return list(ledger.planned(record_of(store), open_manifest("m.parquet")))


def test_a_job_of_an_empty_run_is_new(store: LocalStore) -> None:
    """Without results every job is to be done, because it is new."""
    dream(1)
    (job,) = jobs_of(store)
    empty = LocalStore(store.root + "-empty")
    assert Index.load(empty).reason(job) == "new"


def test_a_done_job_is_not_run(store: LocalStore) -> None:
    """A job with a done row has no reason to run, whatever is to be retried."""
    dream(1)
    (job,) = jobs_of(store)
    index = Index.load(store)
    assert index.is_done(job.id)
    assert index.reason(job) is None
    assert index.reason(job, {"all"}) is None


def test_a_failed_job_is_run_if_its_error_is_asked_for(store: LocalStore) -> None:
    """A failed job stays as it is unless its error's type, or all, is retried."""
    os.makedirs("photos")
    Path("photos/bad.png").write_bytes(b"text")
    build(["photos"], "m.parquet", [])
    again()
    (job,) = jobs_of(store)
    index = Index.load(store)
    assert not index.is_done(job.id)
    assert index.reason(job) is None
    assert index.reason(job, {"StorageError"}) is None
    assert index.reason(job, {"ImageError", "X"}) == "failed before"
    assert index.reason(job, {"all"}) == "failed before"


def test_every_change_has_its_name(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job of a known photograph is run because its source, parameters, weights or the algorithm changed."""
    dream(1)
    (job,) = jobs_of(store)
    index = Index.load(store, extended=True)
    source = job.source
    assert index.reason(replace(job, source=replace(source, version="mtime:1"))) == "source changed"
    assert index.reason(replace(job, source=replace(source, size_bytes=1))) == "source changed"
    assert index.reason(replace(job, params=job.params.model_copy(update={"steps": 2}))) == "parameters changed"
    assert index.reason(replace(job, weights_digest="other")) == "weights changed"
    assert index.reason(replace(job, source=Source("other.png", "/other.png"))) == "new"
    monkeypatch.setattr("dreamjobs.jobs.job.ALGORITHM", 2)
    monkeypatch.setattr("dreamjobs.ledger.index.ALGORITHM", 2)
    assert index.reason(replace(job)) == "algorithm changed"


def test_a_grid_half_done_has_new_points(store: LocalStore) -> None:
    """In a run that is continued as it was, a point of the grid that was never dreamed is new, not changed."""
    dream(1)
    (job,) = jobs_of(store)
    other = replace(job, params=job.params.model_copy(update={"steps": 2}))
    assert Index.load(store).reason(other) == "new"


def test_the_latest_past_counts(store: LocalStore) -> None:
    """Of a photograph that changed twice, the reason is told from what was dreamed last."""
    dream(1)
    (job,) = jobs_of(store)
    for at in range(6):
        latest = replace(job, source=replace(job.source, version=f"mtime:{at}"))
        row = results.read(store).to_pylist()[0]
        row |= {"id": latest.id, "source_version": latest.source.version, "finished": results.now()}
        appender = results.Appender(store, "1-of-1", f"s{at}")
        appender.add(row | {"versions": list(row["versions"])})
        appender.flush()
    index = Index.load(store, extended=True)
    assert index.reason(replace(latest, weights_digest="other")) == "weights changed"


def reasons_of(**options: Any) -> dict[str, int]:
    seen: list[Outlook] = []
    settings = TINY | options.pop("settings", {})
    run("m.parquet", "run", settings, RunOptions(inline=True, **options), Watcher(on_outlook=seen.append))
    return seen[0].reasons


def test_a_run_counts_its_reasons(store: LocalStore) -> None:
    """Each run tells how many jobs it runs for which reason, and runs no others."""
    photos(3)
    build(["photos"], "m.parquet", [])
    assert reasons_of() == {"new": 3}
    assert reasons_of() == {}
    photos(4)
    os.utime("photos/1.png", ns=(5, 5))
    build(["photos"], "m.parquet", [{}, {"seed": 1}])
    assert reasons_of(extend=True) == {"parameters changed": 3, "source changed": 1, "new": 2}


def test_a_limit_hides_no_job() -> None:
    """What a limit keeps from being run is counted, and so is all that was done before."""
    first = dream(4, limit=1)
    assert (first.jobs, first.done, first.left, first.beyond, first.done_before) == (4, 1, 0, 3, 0)
    second = again(limit=2)
    assert (second.jobs, second.done, second.left, second.beyond, second.done_before) == (4, 2, 0, 1, 1)
    third = again(limit=2)
    assert (third.jobs, third.done, third.left, third.beyond, third.done_before) == (4, 1, 0, 0, 3)


def test_repeated_rows_are_one_job() -> None:
    """Rows that repeat each other are dreamed once, and the run is complete, not stopped."""
    photos(1)
    build(["photos", "photos", "photos/0.png"], "m.parquet", [])
    summary = again()
    assert (summary.jobs, summary.done, summary.left) == (1, 1, 0)
    assert (again().done_before, again().left) == (1, 0)


def test_a_record_is_kept(store: LocalStore) -> None:
    """run.json says what was asked and with what, and RUN holds its own copy of the manifest."""
    dream(2)
    record = record_of(store)
    assert (record.rows, record.jobs, record.overrides) == (2, 2, TINY)
    assert record.manifest_digest == open_manifest("m.parquet").digest
    assert list(record.weights) == ["tiny|default"]
    assert {"torch", "pillow", "dreamjobs", "python"} <= set(record.versions)
    assert store.get(Keys.MANIFEST) == Path("m.parquet").read_bytes()


def test_the_same_run_may_be_claimed_again(store: LocalStore) -> None:
    """The same manifest, settings, weights and versions continue a run without a word."""
    dream(1)
    before = store.get(Keys.RUN)
    ledger.claim(store, record_of(store), extend=False)
    assert store.get(Keys.RUN) == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"manifest_digest": "other"}, "the manifest"),
        ({"overrides": {"steps": 9}}, "the settings"),
        ({"weights": {"tiny|default": "other"}}, "the weights"),
        ({"algorithm": 99}, "the algorithm's version"),
        ({"versions": {"torch": "0.1"}}, "torch .* -> 0.1"),
    ],
)
def test_another_run_is_refused(store: LocalStore, change: dict[str, Any], said: str) -> None:
    """RUN refuses what differs, naming it, and takes it with `extend`."""
    dream(1)
    before = store.get(Keys.RUN)
    other = record_of(store).model_copy(update=change)
    with pytest.raises(RunError, match=f"started with something else: {said}.*--extend"):
        ledger.claim(store, other, extend=False)
    assert store.get(Keys.RUN) == before
    ledger.claim(store, other, extend=True)
    assert record_of(store) == other


def test_a_claim_cut_short_is_completed(store: LocalStore) -> None:
    """Killed between writing the record and copying the manifest, the next claim copies it."""
    dream(1)
    store.delete(Keys.MANIFEST)
    ledger.claim(store, record_of(store), extend=False)
    assert store.exists(Keys.MANIFEST)


def test_a_folder_without_a_run_is_told(store: LocalStore) -> None:
    """Status and verify of a folder where nothing was run say so."""
    for look in (ledger.status, ledger.verify):
        with pytest.raises(NotFoundError, match="holds no run"):
            look(store)


def test_a_damaged_record_is_told(store: LocalStore) -> None:
    """A run.json that cannot be read is an error that names it."""
    store.put(Keys.RUN, b"{")
    with pytest.raises(RunError, match=r"run/run\.json cannot be read"):
        ledger.status(store)


def test_status_adds_up(store: LocalStore) -> None:
    """Done, failed and left are the manifest's jobs, with failures counted by type."""
    photos(4)
    Path("photos/1.png").write_bytes(b"text")
    build(["photos"], "m.parquet", [{"seed": [0, 1]}])
    os.remove("photos/0.png")
    assert again(limit=6).left == 0
    assert ledger.status(store) == Status(8, 2, 4, 2, {"NotFoundError": 2, "ImageError": 2}, 0)
    again()
    assert ledger.status(store) == Status(8, 4, 4, 0, {"NotFoundError": 2, "ImageError": 2}, 0)


def test_repeats_are_counted_apart(store: LocalStore) -> None:
    """Status and verify count the jobs that a run counts, however many rows ask for one."""
    photos(3)
    Path("photos/1.png").write_bytes(b"text")
    build(["photos", "photos", "photos/0.png"], "m.parquet", [{"seed": [0, 1]}])
    assert again(limit=5).jobs == 6
    expected = Status(6, 3, 2, 1, {"ImageError": 2}, 0, repeats=8)
    assert ledger.status(store) == expected
    audit = ledger.verify(store)
    assert (audit.status, audit.expected, audit.sound) == (expected, 6, True)


def test_results_of_other_jobs_are_apart(store: LocalStore) -> None:
    """After another grid, earlier results are counted apart and their pictures are no orphans."""
    dream(2)
    again({"seed": 1}, extend=True)
    assert ledger.status(store) == Status(2, 2, 0, 0, {}, 2)
    assert ledger.verify(store).sound


def test_a_sound_run_verifies(store: LocalStore) -> None:
    """Every picture of a complete run is looked at and found good, against either copy of the manifest."""
    dream(3)
    seen: list[int] = []
    audit = ledger.verify(store, on_picture=seen.append)
    assert audit == Audit(Status(3, 3, 0, 0, {}, 0), expected=3)
    assert audit.sound
    assert seen == [1, 2, 3]
    assert ledger.verify(store, "m.parquet") == audit


def test_an_unfinished_run_is_sound(store: LocalStore) -> None:
    """Jobs that are left or failed do not make a run unsound."""
    dream(3, limit=1)
    audit = ledger.verify(store)
    assert (audit.sound, audit.status.left, audit.expected) == (True, 2, 3)


def test_another_manifest_does_not_verify(store: LocalStore) -> None:
    """Verifying against a manifest that the run was not made with is refused."""
    dream(1)
    build(["photos"], "other.parquet", [{"seed": 1}])
    with pytest.raises(RunError, match=r"other\.parquet' is not the manifest"):
        ledger.verify(store, "other.parquet")


def broken_run(store: LocalStore) -> list[str]:
    """Of four pictures one is missing, one changed, one no picture although its row says so, one good."""
    keys = [info.key for info in store.list(Keys.IMAGES)]
    store.delete(keys[0])
    store.put(keys[1], store.get(keys[1]) + b"x")
    (table,) = [f"run/{info.key}" for info in store.list(Keys.RESULTS)]
    found = pq.read_table(table)
    cells = found["sha256"].to_pylist()
    cells[found["output"].to_pylist().index(keys[2])] = hashlib.sha256(b"text").hexdigest()
    pq.write_table(found.set_column(found.schema.get_field_index("sha256"), "sha256", pa.array(cells)), table)
    store.put(keys[2], b"text")
    return keys


def test_broken_pictures_are_found(store: LocalStore) -> None:
    """A picture that is missing, changed or does not decode is told with its key and reason."""
    dream(4)
    keys = broken_run(store)
    audit = ledger.verify(store)
    assert not audit.sound
    reasons = {broken.key: broken.reason for broken in audit.broken}
    assert reasons.pop(keys[0]) == "it is not there"
    assert reasons.pop(keys[1]) == "its bytes are not those that were written"
    assert "no picture" in reasons.pop(keys[2])
    assert reasons == {}


def test_what_no_row_owns_is_found(store: LocalStore) -> None:
    """A file under images/ that no done row names is an orphan."""
    dream(1)
    store.put("images/photos/stranger.png", b"x")
    audit = ledger.verify(store)
    assert (audit.sound, audit.orphans) == (False, ("images/photos/stranger.png",))


def test_two_rows_of_one_picture_are_found(store: LocalStore) -> None:
    """Two done jobs that claim one picture make a run unsound."""
    dream(1)
    row = results.read(store).to_pylist()[0]
    appender = results.Appender(store, "1-of-1", "s")
    appender.add(row | {"id": "a" * 32, "versions": list(row["versions"])})
    appender.flush()
    audit = ledger.verify(store)
    assert (audit.sound, audit.repeated) == (False, 1)


def test_mend_mends_what_is_broken(store: LocalStore) -> None:
    """Broken jobs are put back to be done, orphans go, and the next run makes a sound whole of the same bytes."""
    dream(4)
    good = {info.key: store.get(info.key) for info in store.list(Keys.IMAGES)}
    keys = broken_run(store)
    store.put("images/stranger.png", b"x")
    temporary = Path(store.root, ".dreamjobs-tmp", "dead")
    temporary.parent.mkdir()
    temporary.write_bytes(b"half")
    before = ledger.verify(store)
    assert ledger.mend(store, "fix") == Mended(before, 3 + 1 + 1)
    assert sorted(info.key for info in store.list(Keys.IMAGES)) == keys[3:]
    assert not temporary.exists()
    audit = ledger.verify(store)
    assert (audit.sound, audit.status.done, audit.status.left) == (True, 1, 3)
    assert again().done == 3
    assert {info.key: store.get(info.key) for info in store.list(Keys.IMAGES)} == good
    assert ledger.verify(store).sound


def test_mend_of_a_sound_run_changes_nothing(store: LocalStore) -> None:
    """Nothing broken, nothing done."""
    dream(2)
    before = {info.key: store.get(info.key) for info in store.list() if not info.key.startswith("lease/")}
    assert ledger.mend(store, "fix").count == 0
    assert {info.key: store.get(info.key) for info in store.list() if not info.key.startswith("lease/")} == before


def test_mend_waits_for_no_driver(store: LocalStore) -> None:
    """While a driver holds any shard, mend refuses and touches nothing."""
    dream(1, shard=Shard(1, 2))
    store.put("images/stranger.png", b"x")
    with lease.acquire(store, Shard(1, 2).name), pytest.raises(RunError, match="already being run by process"):
        ledger.mend(store, "fix")
    assert store.exists("images/stranger.png")


def test_mend_makes_no_run(store: LocalStore) -> None:
    """A folder where nothing was run is told, and nothing is written there."""
    with pytest.raises(NotFoundError, match="holds no run"):
        ledger.mend(store, "fix")
    assert not os.path.exists(store.root)


class Meanwhile(LocalStore):
    """Calls `then`, once, when what begins with `prefix` is listed."""

    prefix = Keys.RESULTS
    then: Callable[[], object] | None = None

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        if prefix == self.prefix and (then := self.then):
            object.__setattr__(self, "then", None)
            then()
        return super().list(prefix)


def at_a_look(store: LocalStore, then: Callable[[], object], prefix: str = Keys.RESULTS) -> Meanwhile:
    looked = Meanwhile(store.root)
    object.__setattr__(looked, "prefix", prefix)
    object.__setattr__(looked, "then", then)
    return looked


def test_mend_keeps_drivers_out(store: LocalStore) -> None:
    """While mend looks no driver can begin, so that nothing new is taken for an orphan."""
    dream(2, limit=1)

    def begin() -> None:
        with pytest.raises(RunError, match="already being run by process"):
            again()

    assert ledger.mend(at_a_look(store, begin), "fix").count == 0
    assert again().done == 1
    assert ledger.verify(store).sound


def test_mend_leaves_all_to_a_new_shard(store: LocalStore) -> None:
    """A driver of a shard that was never run before may begin meanwhile; then nothing is changed."""
    dream(2, limit=1)
    store.put("images/stranger.png", b"x")
    with pytest.raises(RunError, match="began a new shard"):
        ledger.mend(at_a_look(store, lambda: again(shard=Shard(2, 2))), "fix")
    assert store.exists("images/stranger.png")


@pytest.mark.parametrize("prefix", [Keys.IMAGES, Keys.RESULTS])
def test_verify_takes_no_new_picture_for_an_orphan(store: LocalStore, prefix: str) -> None:
    """A picture whose row comes while verify looks is owned."""
    dream(2, limit=1)
    audit = ledger.verify(at_a_look(store, again, prefix))
    assert (audit.sound, audit.status.done) == (True, 2)


def test_what_a_driver_has_just_put_is_no_orphan(store: LocalStore) -> None:
    """While a driver is at work only what is old has lost its row; once it is done, all that has none."""
    dream(1)
    for name, age_s in (("new", 0), ("old", 3600)):
        store.put(f"images/{name}.png", b"x")
        then_s = os.stat(f"run/images/{name}.png").st_mtime - age_s
        os.utime(f"run/images/{name}.png", (then_s, then_s))
    with lease.acquire(store, "2-of-2") as held:
        audit = ledger.verify(store)
        assert held.generation == 1
    assert audit.orphans == ("images/old.png",)
    assert [driver.name.split(" since")[0] for driver in audit.drivers] == [str(lease.Owner.here())]
    after = ledger.verify(store)
    assert (after.orphans, after.drivers) == (("images/new.png", "images/old.png"), ())


def test_a_driver_that_died_here_is_not_at_work(store: LocalStore) -> None:
    """A lease that nobody gave back counts for nothing once its process is gone."""
    dream(1)
    store.put("images/new.png", b"x")
    gone = replace(lease.Owner.here(), process_start="1")
    with lease.acquire(store, "2-of-2", owner=gone):
        audit = ledger.verify(store)
    assert (audit.orphans, audit.drivers) == (("images/new.png",), ())


class Silent(LocalStore):
    """Does not answer for pictures."""

    def get(self, key: str) -> bytes:
        if key.startswith(Keys.IMAGES):
            raise StorageError("the server does not answer")
        return super().get(key)


def test_a_store_that_does_not_answer_breaks_no_picture(store: LocalStore) -> None:
    """An outage ends the check with its own error; no picture is called broken, or it would be thrown away."""
    dream(1)
    with pytest.raises(StorageError, match="does not answer"):
        ledger.verify(Silent(store.root))


def test_shards_share_the_rows_out() -> None:
    """Every row is in exactly one of N shards."""
    for count in (1, 2, 5):
        shards = [Shard(index, count) for index in range(1, count + 1)]
        assert all(sum(shard.holds(row) for shard in shards) == 1 for row in range(1, 100))


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2", "1/2/3", "", "1.0/2"])
def test_a_wrong_shard_is_refused(text: str) -> None:
    """I/N needs 1 <= I <= N."""
    with pytest.raises(InputError, match="--shard"):
        Shard.parse(text)


def test_a_shard_is_parsed() -> None:
    """`2/8` is the second of eight."""
    assert Shard.parse("2/8") == Shard(2, 8)
    assert Shard(2, 8).name == "2-of-8"


def test_a_plan_has_no_repeats(store: LocalStore) -> None:
    """Of many jobs of which some are the same, each is planned once."""
    photos(3)
    build(["photos", "photos/1.png"], "m.parquet", [{"seed": list(range(5))}])
    run("m.parquet", "run", TINY, RunOptions(inline=True, limit=1))
    record = ledger.load_record(store)
    plan = Plan(record, ledger.own_manifest(store, record), Index.load(store), Shard(), None, frozenset())
    ids = [job.id for job in plan.jobs()]
    assert len(ids) == len(set(ids)) == 14
    assert plan.outlook().todo == 14
