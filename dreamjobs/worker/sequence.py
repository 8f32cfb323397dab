"""A sequence: pictures each dreamed upon the one before, or a clip's frames dreamed in order, and the video of them.

Every picture is put as it is made, as a numbered PNG, and the next one starts from what was put (8 bits a channel): so
that a sequence which was killed goes on at its next picture and ends in the same bytes.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dreamjobs import images
from dreamjobs.errors import ImageError
from dreamjobs.images import Photo, Source
from dreamjobs.jobs import Artifact, Job, Keys
from dreamjobs.params import DreamParams
from dreamjobs.storage import Store, read_url
from dreamjobs.worker.clip import is_clip
from dreamjobs.worker.files import Stored, artifact, digest_of, encode_as, store_picture
from dreamjobs.worker.stages import Work

if TYPE_CHECKING:
    from torch import Tensor

DreamOne = Callable[[Source | None, DreamParams, int], Source]
"""Dreams the sequence's picture of a number upon a photo; None begins from noise."""


def is_sequence(job: Job) -> bool:
    """Whether a job makes more than one picture."""
    return job.params.frames > 1 or is_clip(job)


def dream_sequence(job: Job, work: Work, run: Store, dream_one: DreamOne) -> Work:
    """The work with the sequence's last picture; all of them are in `run`."""
    total = _length(job, work)
    done = _made(job, run, total)
    last = images.decode(run.get(Keys.frame(job, done))) if done else None
    for number in range(done + 1, total + 1):
        begin = _begin(job, work, last, number)
        params = job.params.model_copy(update={"seed": (job.params.seed + number - 1) % 2**63})
        if number > 1 or work.clip:
            params = params.model_copy(update={"start": "image"})
        made = dream_one(begin, params, number)
        data = encode_as(job, replace(work, photo=made), "png", frame=number)
        run.put(Keys.frame(job, number), data)
        last = images.decode(data)
    if last is None:
        raise ImageError(f"{job.source.url!r} asks for a sequence without pictures")
    photo = replace(last, exif=work.photo.exif, format=work.photo.format)
    return replace(work, photo=images.rounded(photo), frames=total)


def _length(job: Job, work: Work) -> int:
    """How many pictures: what `frames` says; of a clip, no more than it has, and all of it where that says nothing."""
    asked, there = job.params.frames, len(work.clip)
    return min(asked if asked > 1 else there, there) if there else asked


def _made(job: Job, run: Store, total: int) -> int:
    """How many pictures of the sequence are there already, from the first on without a gap."""
    found = {info.key for info in run.list(Keys.frames(job))}
    return next((number for number in range(total) if Keys.frame(job, number + 1) not in found), total)


def _begin(job: Job, work: Work, last: Photo | None, number: int) -> Source | None:
    if work.clip:
        return _carried(job, work, last, number)
    if last is None:
        return None if not work.source_sha256 else work.photo
    from dreamjobs.octaves.moves import glide

    return _photo(glide(_tensor(last), job.params), last)


def _carried(job: Job, work: Work, last: Photo | None, number: int) -> Photo:
    """The clip's frame with a share of the last dreamed one in it."""
    now = _clip_photo(job, work, number)
    if last is None or job.params.carry == 0 or last.pixels.shape != now.pixels.shape:
        return now
    carried = _tensor(last)
    if job.params.carry_flow:
        from dreamjobs.octaves.flow import warp_along_flow

        carried = warp_along_flow(carried, _tensor(_clip_photo(job, work, number - 1)), _tensor(now))
    share = job.params.carry
    return _photo((1 - share) * _tensor(now) + share * carried, now)


def _clip_photo(job: Job, work: Work, number: int) -> Photo:
    return images.fit(images.decode(read_url(work.clip[number - 1])), job.params.max_side)


def _tensor(photo: Photo) -> "Tensor":
    import torch

    return torch.tensor(photo.pixels).permute(2, 0, 1)[None]


def _photo(picture: "Tensor", like: Photo) -> Photo:
    import numpy as np

    return replace(like, pixels=np.ascontiguousarray(picture[0].permute(1, 2, 0).numpy()))


def store(job: Job, work: Work, run: Store) -> Artifact:
    """Put what a job came to: the picture, or the video of a sequence whose pictures are there already.

    Raises:
        ImageError, StorageError, AccessError
    """
    if not is_sequence(job) or job.params.video == "none":
        return store_picture(job, work, run)
    begun = time.perf_counter()
    kind = job.params.video
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, f"video.{kind}")
        images.write_video(_frames(job, work, run), path, kind=kind, fps=job.params.fps)
        encoded = time.perf_counter()
        stored = Stored(Keys.picture(job, kind), digest_of(path), os.path.getsize(path))
        run.put_file(stored.key, path)
    seconds = replace(work.seconds, encode=encoded - begun, put=time.perf_counter() - encoded)
    return artifact(replace(work, seconds=seconds), stored, work.photo.size)


def _frames(job: Job, work: Work, run: Store) -> Iterator[Any]:
    import numpy as np

    for number in range(1, work.frames + 1):
        pixels = images.decode(run.get(Keys.frame(job, number))).pixels
        yield np.round(pixels * 255).astype(np.uint8)
