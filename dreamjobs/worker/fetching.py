"""The fetch stage: a job's photograph, decoded, or opened where it lies if it is to be fanned out and allows that."""

import hashlib
import time
from dataclasses import dataclass

import numpy as np

from dreamjobs import fanout, images
from dreamjobs.errors import SourceChangedError
from dreamjobs.images import Photo
from dreamjobs.jobs import Job, Seconds, Source, check_photograph
from dreamjobs.sizes import Size
from dreamjobs.storage import Store, open_store, read_url, split_url
from dreamjobs.worker.clip import find_clip, is_clip
from dreamjobs.worker.stages import Work

_CHUNK_BYTES = 16 << 20


@dataclass(frozen=True)
class _Object:
    """Where a photograph lies."""

    store: Store
    key: str


def fetch(job: Job) -> Work:
    """Read, decode and shrink the job's photograph.

    Raises:
        ImageError, SourceChangedError, NotFoundError, AccessError, StorageError
    """
    begun = time.perf_counter()
    if job.source.is_noise:
        return _nothing(job)
    if is_clip(job):
        return _clip(job)
    found = _find(job.source)
    work = _fetch_tiled(job, found, begun) or _fetch_whole(job, found, begun)
    if work.little:
        planned = fanout.make_plan(job.params, work.photo.size).octaves[-1].size
        images.check_size(planned, images.output_format(job.params.format, work.photo.format))
    return work


def _fetch_tiled(job: Job, found: _Object, begun: float) -> Work | None:
    """The work of a photograph that stays where it is: one that is to be fanned out and can be read by window."""
    if job.params.fan_out_mpx is None:
        return None
    tiled = images.open_tiled(found.store, found.key)
    if tiled is None or not _stays(job, tiled.size) or not fanout.is_wanted(job.params, tiled.size):
        return None
    digest = _digest(found)
    read = time.perf_counter()
    little = images.reduced(tiled, fanout.LITTLE_SIDE)
    seconds = Seconds(fetch=read - begun, decode=time.perf_counter() - read)
    return Work(tiled, digest, tiled.size, seconds, little=little)


def _fetch_whole(job: Job, found: _Object, begun: float) -> Work:
    data = found.store.get(found.key)
    read = time.perf_counter()
    samples = images.decode_samples(data)
    photo = samples if _stays(job, samples.size) else images.fit(samples.photo(), job.params.max_side)
    little = images.reduced(photo, fanout.LITTLE_SIDE) if fanout.is_wanted(job.params, photo.size) else None
    seconds = Seconds(fetch=read - begun, decode=time.perf_counter() - read)
    return Work(photo, hashlib.sha256(data).hexdigest(), samples.size, seconds, little=little)


def _stays(job: Job, size: Size) -> bool:
    """Whether a photograph keeps its size, and with it its samples; what is shrunk is shrunk as floats."""
    return job.params.max_side is None or max(size) <= job.params.max_side


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


def _find(source: Source) -> _Object:
    """The photograph, if it is still the one that the job's id stands for."""
    place = split_url(source.url)
    folder = open_store(place.base)
    info = folder.info(place.key)
    same_kind = info and info.version.partition(":")[0] == source.version.partition(":")[0]
    if info and source.size_bytes not in (None, info.size_bytes):
        raise _changed(source, f"{source.size_bytes:,} bytes", f"{info.size_bytes:,}")
    if info and same_kind and source.version != info.version:
        raise _changed(source, source.version, info.version)
    return _Object(folder, place.key)


def _digest(found: _Object) -> str:
    """The sha256 of an object that may be larger than memory, in hex."""
    digest, start = hashlib.sha256(), 0
    while chunk := found.store.get_range(found.key, start, _CHUNK_BYTES):
        digest.update(chunk)
        start += len(chunk)
    return digest.hexdigest()


def _changed(source: Source, before: str, now: str) -> SourceChangedError:
    return SourceChangedError(
        f"{source.url!r} changed since the manifest was built: {before} then, {now} now; "
        "build the manifest again and run it with --extend"
    )
