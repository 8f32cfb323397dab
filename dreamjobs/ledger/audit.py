"""Status and verification of a RUN, from storage alone."""

import contextlib
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from dreamjobs import grid, images, lease, results
from dreamjobs.errors import ImageError, NotFoundError, RunError
from dreamjobs.jobs import Keys
from dreamjobs.ledger.index import Index
from dreamjobs.ledger.record import RunRecord, Shard, load_record, own_manifest, planned
from dreamjobs.manifest import Manifest, open_manifest
from dreamjobs.storage import Store

_READERS = 4
_STALE_S = 3600.0


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

    @property
    def sound(self) -> bool:
        """Whether the ledger balances and every picture is what its row says."""
        counts = self.status.done + self.status.failed + self.status.left
        return counts == self.expected and not (self.broken or self.orphans or self.repeated)


def status(run: Store) -> Status:
    """Count what is done, failed and left; safe while a run goes on elsewhere.

    Raises:
        NotFoundError: if nothing was ever run there.
    """
    record = load_record(run)
    return _status(record, own_manifest(run, record), Index.load(run))


def _status(record: RunRecord, manifest: Manifest, index: Index) -> Status:
    asked = Counter(job.id for job in planned(record, manifest))
    ended = [index.errors[job_id] for job_id in asked if job_id in index.errors]
    errors = Counter(error for error in ended if error is not None)
    return Status(
        jobs=len(asked),
        done=len(ended) - errors.total(),
        failed=errors.total(),
        left=len(asked) - len(ended),
        errors=dict(errors.most_common()),
        other=len(index.errors) - len(ended),
        repeats=asked.total() - len(asked),
    )


def verify(run: Store, manifest_url: str | None = None, *, on_picture: Callable[[int], None] | None = None) -> Audit:
    """Hold a RUN's results against its manifest and its pictures.

    Every done row's picture must be there with its hash and decode; nothing may stand under `images/` that no done
    row owns. `manifest_url` checks against that manifest in place of RUN's own copy.
    """
    record = load_record(run)
    manifest = open_manifest(manifest_url, record.base) if manifest_url else own_manifest(run, record)
    if manifest.digest != record.manifest_digest:
        raise RunError(
            f"{manifest_url!r} is not the manifest that {run.url!r} was run with; run it with --extend first"
        )
    table = results.read(run, ("id", "status", "output", "sha256"))
    done = {row["output"]: row for row in table.to_pylist() if row["status"] == "done"}
    with ThreadPoolExecutor(_READERS) as pool:
        broken = []
        for number, found in enumerate(pool.map(lambda row: _check_picture(run, row), done.values()), start=1):
            broken += [found] if found else []
            if on_picture:
                on_picture(number)
    orphans = tuple(info.key for info in run.list(Keys.IMAGES) if info.key not in done)
    repeated = sum(row["status"] == "done" for row in table.to_pylist()) - len(done)
    found_status = _status(record, manifest, Index.load(run))
    points = sum(grid.count(row.params | record.overrides) for row in manifest.read())
    return Audit(found_status, points - found_status.repeats, tuple(broken), orphans, repeated)


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


def fix(run: Store, audit: Audit, stamp: str) -> int:
    """Put what is broken back to be done, remove orphans and what dead writers left; returns how many of these.

    Raises:
        RunError: if a driver is at work on this RUN.
    """
    with _all_leases(run):
        results.compact(run, stamp, prefix="", drop=[broken.job_id for broken in audit.broken])
        for key in [*(broken.key for broken in audit.broken), *audit.orphans]:
            run.delete(key)
        return len(audit.broken) + len(audit.orphans) + run.sweep(_STALE_S)


@contextlib.contextmanager
def _all_leases(run: Store) -> Iterator[None]:
    """Hold the lease of every shard that was ever run, so that none starts meanwhile."""
    names = {info.key.split("/")[1] for info in run.list("lease/")} | {Shard().name}
    with contextlib.ExitStack() as stack:
        for name in sorted(names):
            stack.enter_context(lease.acquire(run, name))
        yield
