"""The stages around the dream: fetch and store, the recipe in a picture, and failures as values. No torch here."""

import functools
import hashlib
import importlib.metadata
import platform
import socket
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from dreamjobs import images
from dreamjobs.errors import is_retryable
from dreamjobs.images import Photo
from dreamjobs.jobs import ALGORITHM, Artifact, Failure, Job, Keys, Seconds
from dreamjobs.storage import Store, read_url

_MESSAGE_LENGTH = 2000


@dataclass(frozen=True)
class Work:
    """A picture on its way, and what is known of it so far."""

    photo: Photo
    source_sha256: str
    source_size: tuple[int, int]
    seconds: Seconds
    objective: tuple[float, ...] = ()
    device: str = ""


@dataclass(frozen=True)
class Result:
    """What a stage came to: a value, or why there is none."""

    value: Any = None
    failure: Failure | None = None


def attempt(stage: Callable[..., Any], *args: Any) -> Result:
    """The stage's value, or its failure; nothing but an interrupt gets past."""
    try:
        return Result(value=stage(*args))
    except Exception as error:  # whatever one job meets must not end the others
        return Result(failure=as_failure(error))


def as_failure(error: BaseException) -> Failure:
    """An exception as a value: its type and message, and the traceback where it was no fault of the input."""
    retryable = is_retryable(error)
    trace = "".join(traceback.format_exception(error))
    return Failure(type(error).__name__, str(error)[:_MESSAGE_LENGTH] or repr(error), retryable, trace)


def fetch(job: Job) -> Work:
    """Read, decode and shrink the job's photograph.

    Raises:
        ImageError, NotFoundError, AccessError, StorageError
    """
    begun = time.perf_counter()
    data = read_url(job.source.url)
    read = time.perf_counter()
    photo = images.decode(data)
    size = (photo.height, photo.width)
    photo = images.fit(photo, job.params.max_side)
    seconds = Seconds(fetch=read - begun, decode=time.perf_counter() - read)
    return Work(photo, hashlib.sha256(data).hexdigest(), size, seconds)


def store(job: Job, work: Work, run: Store) -> Artifact:
    """Encode the dreamed picture, recipe inside, and put it at the key that follows from the job.

    Raises:
        StorageError, AccessError
    """
    begun = time.perf_counter()
    kind, data = encode(job, work)
    encoded = time.perf_counter()
    key = Keys.picture(job, images.extension(kind))
    run.put(key, data)
    seconds = replace(work.seconds, encode=encoded - begun, put=time.perf_counter() - encoded)
    return Artifact(
        key=key,
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        width=work.photo.width,
        height=work.photo.height,
        source_width=work.source_size[1],
        source_height=work.source_size[0],
        objective=work.objective,
        seconds=seconds,
        device=work.device,
        node=socket.gethostname(),
    )


def encode(job: Job, work: Work) -> tuple[str, bytes]:
    """The format and the bytes of the picture's file."""
    kind = images.output_format(job.params.format, work.photo.format)
    return kind, images.encode(work.photo, format=kind, quality=job.params.quality, recipe=recipe(job, work))


def recipe(job: Job, work: Work) -> dict[str, object]:
    """All that is needed to make a picture again, as it is embedded in the file; no times, so that bytes repeat."""
    return {
        "program": "dreamjobs",
        "job": job.id,
        "algorithm": ALGORITHM,
        "params": job.params.model_dump(),
        "source": {**asdict(job.source), "sha256": work.source_sha256},
        "weights_digest": job.weights_digest,
        "device": work.device,
        "versions": versions(),
    }


@functools.cache
def versions() -> dict[str, str]:
    """The versions of everything that has a part in a picture's bytes."""
    names = ("dreamjobs", "torch", "torchvision", "numpy", "pillow", "pillow-heif")
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in names}
