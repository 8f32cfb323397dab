"""Small pictures, which an actor makes several of at a time: a call and its answer cost what many of them do not."""

from collections.abc import Iterable, Iterator
from itertools import islice

from dreamjobs.jobs import Job

BUNDLE_PIXEL_STEPS = 20_000_000
"""What an actor is given at once: some seconds of a small net on a processor, a fraction of one on a graphics card."""
MOST_JOBS = 32


def is_small(job: Job, bundle: int) -> bool:
    """Whether two such pictures fit into a bundle of so many pixel-steps; what is made by tiles or frames never is."""
    return job.params.fan_out_mpx is None and job.params.frames == 1 and 2 * job.pixel_steps <= bundle


def bundled(waiting: Iterable[Job], bundle: int, share: int) -> Iterator[Job]:
    """The first of those that wait, as many as make a bundle: at least one, no more than `share`, all of one net."""
    held, net = 0, None
    for job in islice(waiting, min(share, MOST_JOBS)):
        held += job.pixel_steps
        if net is not None and (held > bundle or net != _net(job)):
            return
        net = _net(job)
        yield job


def _net(job: Job) -> tuple[str, str]:
    return job.params.net, job.weights_digest
