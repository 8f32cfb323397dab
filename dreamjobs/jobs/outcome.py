"""What came of jobs: of one, and of a run."""

from dataclasses import dataclass
from datetime import datetime

from dreamjobs.jobs.job import Job


@dataclass(frozen=True)
class Seconds:
    """Wall time of a job's stages."""

    fetch: float = 0.0
    decode: float = 0.0
    dream: float = 0.0
    encode: float = 0.0
    put: float = 0.0


@dataclass(frozen=True)
class Failure:
    """Why a stage failed: the exception's type and message, and whether another attempt may end otherwise."""

    type: str
    message: str
    retryable: bool
    traceback: str = ""


@dataclass(frozen=True)
class Artifact:
    """The picture that a job wrote: its key under RUN, what it is, and how it was made.

    `node` and `actor` are the machine and the process that dreamed it. `overlap_error` is the relative error of its
    gradient where tiles saw less than the net does.
    """

    key: str
    sha256: str
    size_bytes: int
    width: int
    height: int
    source_width: int
    source_height: int
    objective: tuple[float, ...]
    seconds: Seconds
    device: str
    node: str
    actor: str
    overlap_error: float | None = None


@dataclass(frozen=True)
class Outcome:
    """How a job ended: with an artifact or with a failure, after so many attempts."""

    job: Job
    attempts: int
    finished: datetime
    artifact: Artifact | None = None
    failure: Failure | None = None

    @property
    def status(self) -> str:
        return "done" if self.artifact else "failed"


@dataclass(frozen=True)
class Summary:
    """What a run did: counts of jobs, why they were run, and the wall time.

    `left` counts what it was to do and did not, `beyond` what its limit kept it from.
    """

    jobs: int
    done: int
    failed: int
    done_before: int
    failed_before: int
    left: int
    reasons: dict[str, int]
    seconds: float
    beyond: int = 0
