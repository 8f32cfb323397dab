"""The stages around the dream: fetch and store, the recipe in a picture, and failures as values. No torch here."""

import functools
import hashlib
import importlib.metadata
import os
import platform
import socket
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dreamjobs import images
from dreamjobs.errors import InputError, SourceChangedError, is_retryable
from dreamjobs.images import Photo
from dreamjobs.jobs import ALGORITHM, NO_PHOTOGRAPH, Artifact, Failure, Job, Keys, Seconds, Source, check_photograph
from dreamjobs.storage import Store, open_store, read_url, split_url
from dreamjobs.worker.clip import find_clip, is_clip

_MESSAGE_LENGTH = 2000


@dataclass(frozen=True)
class Work:
    """A picture on its way, and what is known of it so far.

    `clip` are the urls of the frames where the image is a folder of them; `frames` counts the pictures of a sequence.
    `device`, `node` and `actor` say where it was dreamed, `overlap_error` how far its gradient was from the exact one,
    if it was. `checkpoint` is the key of what is to be deleted once the picture is stored.
    """

    photo: Photo
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


def fetch(job: Job) -> Work:
    """Read, decode and shrink the job's photograph.

    Raises:
        ImageError, SourceChangedError, NotFoundError, AccessError, StorageError
    """
    begun = time.perf_counter()
    if job.source.url.startswith(NO_PHOTOGRAPH):
        return _nothing(job)
    if is_clip(job):
        return _clip(job)
    data = _read(job.source)
    read = time.perf_counter()
    photo = images.decode(data)
    size = (photo.height, photo.width)
    photo = images.fit(photo, job.params.max_side)
    seconds = Seconds(fetch=read - begun, decode=time.perf_counter() - read)
    return Work(photo, hashlib.sha256(data).hexdigest(), size, seconds)


def _nothing(job: Job) -> Work:
    """The work of a job that is dreamed from noise alone: a grey picture of the size asked for."""
    check_photograph(job.source.image, job.params)
    pixels = np.full((1, 1, 3), 0.5, np.float32)
    return Work(Photo(pixels, None, None, "png"), "", (0, 0), Seconds())


def _clip(job: Job) -> Work:
    """The work of a job whose image is a folder of frames: the first of them, and where the others are."""
    begun = time.perf_counter()
    clip = find_clip(job.source.url)
    photo = images.decode(read_url(clip.frames[0]))
    size = (photo.height, photo.width)
    seconds = Seconds(fetch=time.perf_counter() - begun)
    return Work(images.fit(photo, job.params.max_side), clip.digest, size, seconds, clip=clip.frames)


def _read(source: Source) -> bytes:
    """The photograph's bytes, if it is still the one that the job's id stands for."""
    place = split_url(source.url)
    folder = open_store(place.base)
    info = folder.info(place.key)
    same_kind = info and info.version.partition(":")[0] == source.version.partition(":")[0]
    if info and source.size_bytes not in (None, info.size_bytes):
        raise _changed(source, f"{source.size_bytes:,} bytes", f"{info.size_bytes:,}")
    if info and same_kind and source.version != info.version:
        raise _changed(source, source.version, info.version)
    return folder.get(place.key)


def _changed(source: Source, before: str, now: str) -> SourceChangedError:
    return SourceChangedError(
        f"{source.url!r} changed since the manifest was built: {before} then, {now} now; "
        "build the manifest again and run it with --extend"
    )


@dataclass(frozen=True)
class Stored:
    """A file that was put under RUN."""

    key: str
    sha256: str
    size_bytes: int


def store_picture(job: Job, work: Work, run: Store) -> Artifact:
    """Encode the dreamed picture, recipe inside, and put it at the key that follows from the job.

    Raises:
        StorageError, AccessError
    """
    begun = time.perf_counter()
    kind, data = encode(job, work)
    encoded = time.perf_counter()
    key = Keys.picture(job, images.extension(kind))
    run.put(key, data)
    if work.checkpoint:
        run.delete(work.checkpoint)
    seconds = replace(work.seconds, encode=encoded - begun, put=time.perf_counter() - encoded)
    return artifact(replace(work, seconds=seconds), Stored(key, hashlib.sha256(data).hexdigest(), len(data)))


def artifact(work: Work, stored: Stored) -> Artifact:
    """What a job's row says of the file that was put for it."""
    return Artifact(
        key=stored.key,
        sha256=stored.sha256,
        size_bytes=stored.size_bytes,
        width=work.photo.width,
        height=work.photo.height,
        source_width=work.source_size[1],
        source_height=work.source_size[0],
        objective=work.objective,
        seconds=work.seconds,
        device=work.device,
        node=work.node,
        actor=work.actor,
        overlap_error=work.overlap_error,
    )


def signed(work: Work) -> Work:
    """The work with this machine and this process, `host:pid`, as those that dreamed it; needs no ray to know them."""
    node = socket.gethostname()
    return replace(work, node=node, actor=f"{node}:{os.getpid()}")


def encode(job: Job, work: Work) -> tuple[str, bytes]:
    """The format and the bytes of the picture's file."""
    kind = images.output_format(job.params.format, work.photo.format)
    return kind, encode_as(job, work, kind)


def encode_as(job: Job, work: Work, kind: str, *, frame: int = 0) -> bytes:
    """The picture's file in a format, recipe inside; `frame` is its number in a sequence, 0 if it is in none."""
    made = recipe(job, work) | ({"frame": frame} if frame else {})
    return images.encode(work.photo, format=kind, quality=job.params.quality, recipe=made)


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
    names = ("dreamjobs", "torch", "torchvision", "numpy", "pillow", "pillow-heif")
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in names}
