"""What a RUN has already: for each job, whether it is done, and if not, why it is run."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from dreamjobs import results
from dreamjobs.jobs import ALGORITHM, Job
from dreamjobs.storage import Store

Reason = Literal["new", "failed before", "source changed", "parameters changed", "weights changed", "algorithm changed"]

_COLUMNS = (
    "id",
    "status",
    "error_type",
    "image",
    "look",
    "source_version",
    "source_size_bytes",
    "weights_digest",
    "algorithm",
    "finished",
)


@dataclass(frozen=True)
class _Past:
    """What a job of the same photograph and parameters was made from."""

    source: tuple[str, int | None]
    weights_digest: str
    algorithm: int


@dataclass(frozen=True)
class Index:
    """The current results, by job: id -> error type, None for done; and what the photographs were made from.

    `extended` says that RUN is now asked for something else than before; only then is the past of interest.
    """

    errors: dict[str, str | None]
    _pasts: dict[tuple[str, str], _Past]
    _images: frozenset[str]
    extended: bool = False

    @classmethod
    def load(cls, run: Store, *, extended: bool = False) -> "Index":
        """Read the results of a RUN."""
        errors, pasts, images = {}, {}, set()
        table = results.read(run, _COLUMNS).sort_by("finished")  # the latest past of a photograph counts
        for batch in table.to_batches(max_chunksize=10_000):
            for row in batch.to_pylist():
                errors[row["id"]] = None if row["status"] == "done" else row["error_type"]
                if not extended:
                    continue
                images.add(row["image"])
                source = (row["source_version"], row["source_size_bytes"])
                pasts[row["image"], row["look"]] = _Past(source, row["weights_digest"], row["algorithm"])
        return cls(errors, pasts, frozenset(images), extended)

    def is_done(self, job_id: str) -> bool:
        """Whether the job has a picture."""
        return job_id in self.errors and self.errors[job_id] is None

    def reason(self, job: Job, retry: Collection[str] = ()) -> Reason | None:
        """Why the job is to be run; None if it is not: done, or failed with an error that is not in `retry`.

        `retry` holds names of error types, or `all`.
        """
        if job.id in self.errors:
            error = self.errors[job.id]
            return "failed before" if error is not None and (error in retry or "all" in retry) else None
        past = self._pasts.get((job.source.image, job.look))
        if past is None:
            return "parameters changed" if self.extended and job.source.image in self._images else "new"
        if past.source != (job.source.version, job.source.size_bytes):
            return "source changed"
        if past.weights_digest != job.weights_digest:
            return "weights changed"
        return "algorithm changed" if past.algorithm != ALGORITHM else "new"
