"""Status and verification of a RUN, from storage alone."""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from dreamjobs import grid, images, results
from dreamjobs.errors import ImageError, NotFoundError, RunError
from dreamjobs.jobs import Keys
from dreamjobs.ledger.drivers import Driver, at_work, kept_out, shards
from dreamjobs.ledger.index import DONE, REPEAT, Index
from dreamjobs.ledger.record import RunRecord, load_record, own_manifest
from dreamjobs.ledger.survey import Order, survey
from dreamjobs.manifest import Manifest, open_manifest
from dreamjobs.storage import Store

_READERS = 4
_COLUMNS = ("id", "status", "output", "sha256")
_RECENT_S = 600.0  # many times what passes between a picture and its row


@dataclass(frozen=True)
class Status:
    """How far a RUN is, in jobs that differ.

    `other` counts results of jobs that its manifest no longer asks for, `repeats` what it asks for once more.
    """

    jobs: int
    done: int
    failed: int
    left: int
    errors: dict[str, int]
    other: int
    repeats: int = 0


@dataclass(frozen=True)
class Broken:
    """A done row whose picture is not what the row says."""

    job_id: str
    key: str
    reason: str


@dataclass(frozen=True)
class Audit:
    """What `verify` found. `expected` is the manifest's number of jobs, its grids' points without the repeats."""

    status: Status
    expected: int
    broken: tuple[Broken, ...] = field(default=())
    orphans: tuple[str, ...] = field(default=())
    repeated: int = 0
    drivers: tuple[Driver, ...] = field(default=())

    @property
    def sound(self) -> bool:
        """Whether the ledger balances and every picture is what its row says."""
        counts = self.status.done + self.status.failed + self.status.left
        return counts == self.expected and not (self.broken or self.orphans or self.repeated)


@dataclass(frozen=True)
class Mended:
    """What `mend` found, and how many things it then put right or removed."""

    audit: Audit
    count: int


def status(run: Store) -> Status:
    """Count what is done, failed and left; safe while a run goes on elsewhere.

    Raises:
        NotFoundError: if nothing was ever run there.
    """
    record = load_record(run)
    return _status(record, own_manifest(run, record), Index.load(run))


def _status(record: RunRecord, manifest: Manifest, index: Index) -> Status:
    found = survey(Order(record, manifest), index)
    repeats, done, errors = found.count(REPEAT), found.count(DONE), found.errors()
    jobs, failed = len(found.verdicts) - repeats, sum(errors.values())
    return Status(jobs, done, failed, jobs - done - failed, errors, len(index) - done - failed, repeats)


def tally(asked: Counter[str], ended_with: Mapping[str, str | None]) -> Status:
    """Count the jobs that are asked for, each so often, by how they ended: id -> error type, None for done."""
    ended = [ended_with[job_id] for job_id in asked if job_id in ended_with]
    errors = Counter(error for error in ended if error is not None)
    return Status(
        jobs=len(asked),
        done=len(ended) - errors.total(),
        failed=errors.total(),
        left=len(asked) - len(ended),
        errors=dict(errors.most_common()),
        other=len(ended_with) - len(ended),
        repeats=asked.total() - len(asked),
    )


def verify(run: Store, manifest_url: str | None = None, *, on_picture: Callable[[int], None] | None = None) -> Audit:
    """Hold a RUN's results against its manifest and its pictures.

    Every done row's picture must be there with its hash and decode; nothing may stand under `images/` that no done
    row owns, but for what a driver at work has just put. `manifest_url` checks against that manifest in place of
    RUN's own copy.
    """
    return _audit(run, manifest_url, at_work, on_picture)


def _audit(
    run: Store,
    manifest_url: str | None,
    find_drivers: Callable[[Store], tuple[Driver, ...]],
    on_picture: Callable[[int], None] | None,
) -> Audit:
    record = load_record(run)
    manifest = _manifest(run, record, manifest_url)
    # In this order: who puts a picture before the first line and its row after the third is seen by the second.
    pictures = {info.key: info.modified_s for info in run.list(Keys.IMAGES)}
    drivers = find_drivers(run)
    rows = [row for row in results.read(run, _COLUMNS).to_pylist() if row["status"] == "done"]
    done = {row["output"]: row for row in rows}
    found = _status(record, manifest, Index.load(run))
    return Audit(
        status=found,
        expected=sum(grid.count(row.params | record.overrides) for row in manifest.read()) - found.repeats,
        broken=_broken(run, done.values(), on_picture),
        orphans=tuple(key for key, at_s in pictures.items() if key not in done and not _is_recent(at_s, drivers)),
        repeated=len(rows) - len(done),
        drivers=drivers,
    )


def _manifest(run: Store, record: RunRecord, url: str | None) -> Manifest:
    manifest = open_manifest(url, record.base) if url else own_manifest(run, record)
    if manifest.digest != record.manifest_digest:
        raise RunError(f"{url!r} is not the manifest that {run.url!r} was run with; run it with --extend first")
    return manifest


def _is_recent(modified_s: float, drivers: tuple[Driver, ...]) -> bool:
    """Whether a picture may have been put by one of the drivers whose row of it is still to come."""
    return any(modified_s > driver.seen_s - _RECENT_S for driver in drivers)


def _broken(run: Store, rows: Iterable[dict[str, str]], on_picture: Callable[[int], None] | None) -> tuple[Broken, ...]:
    broken = []
    with ThreadPoolExecutor(_READERS) as pool:
        for number, found in enumerate(pool.map(lambda row: _check_picture(run, row), rows), start=1):
            broken += [found] if found else []
            if on_picture:
                on_picture(number)
    return tuple(broken)


def _check_picture(run: Store, row: dict[str, str]) -> Broken | None:
    try:
        data = run.get(row["output"])
        if hashlib.sha256(data).hexdigest() != row["sha256"]:
            return Broken(row["id"], row["output"], "its bytes are not those that were written")
        images.decode(data)
    except NotFoundError:
        return Broken(row["id"], row["output"], "it is not there")
    except ImageError as error:  # a store that does not answer is no reason to make a picture again
        return Broken(row["id"], row["output"], str(error))
    return None


def mend(
    run: Store, stamp: str, manifest_url: str | None = None, *, on_picture: Callable[[int], None] | None = None
) -> Mended:
    """Verify while no driver may work; put what is broken back to be done, remove orphans and what dead writers left.

    Raises:
        RunError: if a driver is at work on this RUN, or begins a new shard meanwhile; nothing was changed then.
    """
    load_record(run)  # a folder without a run gets no leases
    with kept_out(run) as names:
        begun = time.monotonic()
        audit = _audit(run, manifest_url, lambda run: (), on_picture)
        if shards(run) != names:
            raise RunError(
                f"a driver began a new shard of {run.url!r}; nothing was changed: wait for it, then try again"
            )
        results.compact(run, stamp, prefix="", drop=[broken.job_id for broken in audit.broken])
        for key in [*(broken.key for broken in audit.broken), *audit.orphans]:
            run.delete(key)
        swept = run.sweep(time.monotonic() - begun)  # what is younger is our own leases'
    return Mended(audit, len(audit.broken) + len(audit.orphans) + swept)
