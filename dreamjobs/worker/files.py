"""The dreamed picture's file: encoded with its recipe inside, and put under RUN.

A picture that was fanned out and is to be a TIFF is written as a pyramid, tile by tile, for it may be larger than
memory; it need not be there as a whole either, but may come in strips.
"""

import hashlib
import os
import tempfile
import time
from dataclasses import dataclass, replace

from dreamjobs import images
from dreamjobs.images import Strips
from dreamjobs.jobs import Artifact, Job, Keys
from dreamjobs.sizes import Size
from dreamjobs.storage import Store
from dreamjobs.worker.stages import Work, recipe


@dataclass(frozen=True)
class Stored:
    """A file that was put under RUN."""

    key: str
    sha256: str
    size_bytes: int


def store_picture(job: Job, work: Work, run: Store, strips: Strips | None = None) -> Artifact:
    """Encode the dreamed picture, recipe inside, and put it at the key that follows from the job.

    The picture is the work's photo, or comes in `strips`.

    Raises:
        ImageError, StorageError, AccessError
    """
    begun = time.perf_counter()
    picture, kind = strips or images.strips_of(work.photo), _kind(job, work)
    key = Keys.picture(job, images.extension(kind))
    if _is_pyramid(work, kind):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "picture")
            images.write_pyramid(picture, path, recipe(job, work))
            encoded = time.perf_counter()
            run.put_file(key, path)
            stored = Stored(key, digest_of(path), os.path.getsize(path))
    else:
        data = images.encode(picture, format=kind, quality=job.params.quality, recipe=recipe(job, work))
        encoded = time.perf_counter()
        run.put(key, data)
        stored = Stored(key, hashlib.sha256(data).hexdigest(), len(data))
    if work.checkpoint:
        run.delete(work.checkpoint)
    seconds = replace(work.seconds, encode=encoded - begun, put=time.perf_counter() - encoded)
    return artifact(replace(work, seconds=seconds), stored, picture.size)


def artifact(work: Work, stored: Stored, size: Size) -> Artifact:
    """What a job's row says of the file that was put for it, with a picture of `size` (h, w) in it."""
    return Artifact(
        key=stored.key,
        sha256=stored.sha256,
        size_bytes=stored.size_bytes,
        width=size[1],
        height=size[0],
        source_width=work.source_size[1],
        source_height=work.source_size[0],
        objective=work.objective,
        seconds=work.seconds,
        device=work.device,
        node=work.node,
        actor=work.actor,
        overlap_error=work.overlap_error,
    )


def digest_of(path: str) -> str:
    """The sha256 of a local file, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def encode(job: Job, work: Work) -> bytes:
    """The bytes of the picture's file, as `store_picture` puts them."""
    kind = _kind(job, work)
    if not _is_pyramid(work, kind):
        return encode_as(job, work, kind)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "picture")
        images.write_pyramid(images.strips_of(work.photo), path, recipe(job, work))
        with open(path, "rb") as file:
            return file.read()


def encode_as(job: Job, work: Work, kind: str, *, frame: int = 0) -> bytes:
    """The picture's file in a format, recipe inside; `frame` is its number in a sequence, 0 if it is in none."""
    made = recipe(job, work) | ({"frame": frame} if frame else {})
    return images.encode(work.photo, format=kind, quality=job.params.quality, recipe=made)


def _kind(job: Job, work: Work) -> str:
    return images.output_format(job.params.format, work.photo.format)


def _is_pyramid(work: Work, kind: str) -> bool:
    return work.is_fanned and kind == "tiff"
