"""Small pictures, which an actor makes several of at a time: a call and its answer cost what many of them do not."""

import math
from collections.abc import Iterable, Iterator
from itertools import islice

from dreamjobs.jobs import Job

BUNDLE_PIXEL_STEPS = 20_000_000
"""What an actor is given at once: some seconds of a small net on a processor, a fraction of one on a graphics card."""
MOST_JOBS = 32
"""No bundle has more."""
_MOST_SOURCE_PIXELS, _MOST_FETCHED_PIXELS = 50_000_000, 4_000_000  # an actor has several of them in memory
_LOOK_AHEAD = 8 * MOST_JOBS


def is_small(job: Job, bundle: int) -> bool:
    """Whether two such pictures fit into a bundle of so many pixel-steps and the photograph is no burden to an actor.

    What is made by tiles or of several frames never is.
    """
    alone = job.params.fan_out_mpx is not None or job.params.frames > 1 or job.source.is_folder
    return not alone and _is_light(job) and 2 * _work(job) <= bundle


def bundled(waiting: Iterable[Job], bundle: int, share: int) -> Iterator[Job]:
    """Of those that wait, the first and others of its net, as many as make a bundle and no more than `share`."""
    held, net, most = 0, None, max(1, min(share, MOST_JOBS))
    for job in islice(waiting, _LOOK_AHEAD):
        if net is not None and net != _net(job):
            continue
        held += _work(job)
        if not most or (net is not None and held > bundle):
            return
        net, most = _net(job), most - 1
        yield job


def _work(job: Job) -> int:
    """Pixel-steps; of a picture that is dreamed for no steps as of one, for it is read and written all the same."""
    return job.pixel_steps or job.pixels


def _is_light(job: Job) -> bool:
    if job.source.is_noise:
        return True
    if not job.source.width or not job.source.height:
        return False
    pixels = job.source.width * job.source.height
    scale = min(1.0, (job.params.max_side or math.inf) / max(job.source.width, job.source.height))
    return pixels <= _MOST_SOURCE_PIXELS and pixels * scale**2 <= _MOST_FETCHED_PIXELS


def _net(job: Job) -> tuple[str, str]:
    return job.params.net, job.weights_digest
