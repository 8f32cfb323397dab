"""The stages of a picture that many actors dream together; what they compute is in `dreamjobs.fanout`.

fetch:  as ever, and a plan
stitch: the photograph, pieces of the round before -> a tile's crop   (for every tile of every round)
ascend: a crop -> a piece, a report                                  (by a Dreamer)
store:  the photograph, the pieces of the last round -> as ever
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dreamjobs import images
from dreamjobs.fanout import Fanned, Plan, Task, is_wanted, make_plan
from dreamjobs.jobs import NO_PHOTOGRAPH, Artifact, Job
from dreamjobs.storage import Store
from dreamjobs.worker.clip import is_clip
from dreamjobs.worker.kept import Kept
from dreamjobs.worker.stages import Work, store_picture

Floats = NDArray[np.float32]

_LITTLE_SIDE = 512


@dataclass(frozen=True, eq=False)
class Tile:
    """A tile's crop (3, h, w), what its steps are divided by, and the photograph (h, w, 3), shrunk."""

    task: Task
    crop: Floats
    strengths: tuple[float, ...]
    little: Floats


def plan_for(job: Job, work: Work) -> Plan | None:
    """The plan of a picture that is to be fanned out, None for any other."""
    if is_clip(job) or job.source.url.startswith(NO_PHOTOGRAPH):
        return None
    size = work.photo.height, work.photo.width
    return make_plan(job.params, size) if is_wanted(job.params, size) else None


def shrunk(work: Work) -> Floats:
    """The photograph at 512 pixels at most, for objectives that ask which channels it moves."""
    return images.fit(work.photo, _LITTLE_SIDE).pixels


def stitch(task: Task, work: Work, pieces: Mapping[int, Floats]) -> Floats:
    """A tile's crop (3, h, w)."""
    from dreamjobs.fanout.stitch import crop

    return crop(task, work.photo.pixels, pieces)


def store_fanned(job: Job, work: Work, fanned: Fanned, pieces: Mapping[int, Any], run: Store) -> Artifact:
    """Put the picture together and put it at its key.

    Raises:
        StorageError, AccessError
    """
    from dreamjobs.fanout.stitch import finished

    pixels = finished(fanned.plan, job.params, work.photo.pixels, pieces)
    alpha = work.photo.alpha if pixels.shape == work.photo.pixels.shape else None
    photo = replace(work.photo, pixels=pixels, alpha=alpha)
    seconds = replace(work.seconds, dream=fanned.seconds)
    made = replace(work, photo=photo, objective=fanned.curve, device=fanned.device, seconds=seconds)
    stored = store_picture(job, made, run)
    Kept(job, run).clear()
    return stored
