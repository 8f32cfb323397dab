"""What all stages share: the work, the recipe in a picture, and failures as values. No torch here."""

import functools
import importlib.metadata
import os
import platform
import socket
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from dreamjobs.errors import InputError, is_retryable
from dreamjobs.images import Photo, Source
from dreamjobs.jobs import ALGORITHM, Failure, Job, Seconds

_MESSAGE_LENGTH = 2000


@dataclass(frozen=True)
class Work:
    """A picture on its way, and what is known of it so far.

    `photo` is the photograph as the dream begins from it, and then the dream. `little` is the photograph at 512 pixels
    where it is to be fanned out, else None. `is_fanned` tells, once it is dreamed, that it was.
    `clip` are the urls of the frames where the image is a folder of them; `frames` counts the pictures of a sequence.
    `device`, `node` and `actor` say where it was dreamed, `overlap_error` how far its gradient was from the exact one,
    if it was. `checkpoint` is the key of what is to be deleted once the picture is stored.
    """

    photo: Source
    source_sha256: str
    source_size: tuple[int, int]
    seconds: Seconds
    objective: tuple[float, ...] = ()
    device: str = ""
    node: str = ""
    actor: str = ""
    clip: tuple[str, ...] = ()
    frames: int = 1
    overlap_error: float | None = None
    checkpoint: str = ""
    little: Photo | None = None
    is_fanned: bool = False


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
    """An exception as a value: its type and message, and the traceback where the input is not to blame."""
    retryable = is_retryable(error) or type(error).__name__ == "OutOfMemoryError"  # torch's, a RuntimeError
    trace = "" if isinstance(error, InputError) else "".join(traceback.format_exception(error))
    return Failure(type(error).__name__, str(error)[:_MESSAGE_LENGTH] or repr(error), retryable, trace)


def signed(work: Work) -> Work:
    """The work with this machine and this process, `host:pid`, as those that dreamed it; needs no ray to know them."""
    node = socket.gethostname()
    return replace(work, node=node, actor=f"{node}:{os.getpid()}")


def recipe(job: Job, work: Work) -> dict[str, object]:
    """All that decides a picture, as it is embedded in the file.

    Nothing else is in it, neither times nor where photograph and weights lie, so that equal jobs give equal bytes.
    """
    return {
        "program": "dreamjobs",
        "job": job.id,
        "algorithm": ALGORITHM,
        "params": job.params.model_dump(exclude={"weights"}),
        "source": {
            "image": job.source.image,
            "size_bytes": job.source.size_bytes,
            "version": job.source.version,
            "sha256": work.source_sha256,
        },
        "files": {file.name: file.sha256 for file in job.files},
        "weights_digest": job.weights_digest,
        "device": work.device,
        "versions": versions(),
    }


@functools.cache
def versions() -> dict[str, str]:
    """The versions of everything that has a part in a picture's bytes."""
    names = ("dreamjobs", "torch", "torchvision", "numpy", "pillow", "pillow-heif", "tifffile")
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in names}
