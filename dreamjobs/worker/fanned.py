"""The stages of a picture that many actors dream together; what they compute is in `dreamjobs.fanout`.

fetch:  as ever, and a plan
stitch: the photograph, pieces of the round before -> crops   (for every group of tiles of every round)
ascend: a crop -> a piece, a report                            (by a Dreamer)
store:  the photograph, the pieces of the last round -> as ever
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dreamjobs.fanout import Fanned, Task
from dreamjobs.fanout.levels import Levels
from dreamjobs.heap import keep_freed
from dreamjobs.images import Strips
from dreamjobs.jobs import Artifact, Job
from dreamjobs.storage import Store
from dreamjobs.worker.files import store_picture
from dreamjobs.worker.kept import Kept
from dreamjobs.worker.stages import Work

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Tile:
    """A tile's crop (3, h, w), what its steps are divided by, and the photograph (h, w, 3), shrunk."""

    task: Task
    crop: Levels
    strengths: tuple[float, ...]
    little: Floats


def stitch(tasks: Sequence[Task], work: Work, pieces: Mapping[int, Levels]) -> tuple[Levels, ...]:
    """The tiles' crops (3, h, w)."""
    from dreamjobs.fanout.stitch import crop

    keep_freed()
    return tuple(crop(task, work.photo, pieces) for task in tasks)


def store_fanned(job: Job, work: Work, fanned: Fanned, pieces: Mapping[int, Any], run: Store) -> Artifact:
    """Put the picture together, strip by strip, and put it at its key.

    Raises:
        StorageError, AccessError
    """
    from dreamjobs.fanout.stitch import finished

    keep_freed()
    photo, size = work.photo, fanned.plan.octaves[-1].size
    strips = Strips(
        size,
        finished(fanned.plan, job.params, photo, pieces),
        photo.alpha if size == photo.size else None,  # what is transparent stays so where the size is the same
        photo.exif,
    )
    seconds = replace(work.seconds, dream=fanned.seconds)
    made = replace(work, objective=fanned.curve, device=fanned.device, seconds=seconds, is_fanned=True)
    stored = store_picture(job, made, run, strips)
    Kept(job, run).clear()
    return stored
