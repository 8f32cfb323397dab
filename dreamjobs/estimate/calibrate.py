"""Times small dreams of each kind on this machine, as many processes at once as there are actors.

Actors share the cores' clock, the caches and the memory's bandwidth, so that a rate found by one process alone is too
good for two; here every process dreams the same as the others at the same time. Each kind is dreamed at two sizes, with
few steps and with more, after a warm-up, for some seconds.
"""

import math
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.synchronize import Barrier
from threading import BrokenBarrierError
from typing import Any

import numpy as np

from dreamjobs.errors import DreamjobsError, InputError, RunError
from dreamjobs.estimate.rates import Rate, Timed, fit
from dreamjobs.estimate.work import Amounts, JobWork, Kind, Weigher
from dreamjobs.images import Photo
from dreamjobs.jobs import Job, Seconds, Source
from dreamjobs.worker import Dreamer, Library, Work

_LARGE_MEGAPIXELS, _SMALL_SHARE = 0.3, 1 / 8
_STEPS = {_SMALL_SHARE: (1, 5), 1.0: (1, 3)}
_BUDGET_S = 4.0
_ROUNDS = 2
_GONE = "gone"
_EXIT_S = 10.0


@dataclass(frozen=True)
class Probe:
    """Small dreams of one kind: jobs, and the amounts of each."""

    kind: Kind
    jobs: tuple[Job, ...]
    amounts: tuple[Amounts, ...]


@dataclass(frozen=True)
class _Times:
    """What one process found of one probe."""

    load_s: float
    timed: tuple[Timed, ...]


def make_probe(job: Job, work: JobWork, weigher: Weigher) -> Probe:
    """The small dreams for a job's kind; no larger than the job's own picture."""
    ways = len(weigher.ways(job.params, job.files))
    changes = {"octaves": ways, "octave_sizes": None, "max_side": None, "frames": 1, "until": 0.0, "size": None}
    jobs = []
    for share, steps in _STEPS.items():
        side = math.sqrt(1e6 * share * min(_LARGE_MEGAPIXELS, max(work.megapixels, 1e-4)))
        source = Source("calibration.png", "calibration.png", width=max(1, round(side)), height=max(1, round(side)))
        for number in steps:
            params = job.params.model_copy(update=changes | {"steps": number})
            jobs.append(replace(job, source=source, params=params, meta={}))
    return Probe(work.kind, tuple(jobs), tuple(weigher.weigh(item).amounts for item in jobs))


def calibrate(
    probes: Sequence[Probe], processes: int, device: str, on_probe: Callable[[int], None] = lambda done: None
) -> dict[Kind, Rate]:
    """The rate of each probe's kind: time the probes in so many processes at once on a device, `cpu` or `cuda`.

    Raises:
        RunError: if a process dies.
        InputError: if one cannot dream, because the device is not there.
    """
    begun = time.perf_counter()
    with _working(probes, processes, device) as receivers:
        _gather(receivers)
        ready_s = time.perf_counter() - begun
        rates = {}
        for number, probe in enumerate(probes, start=1):
            rates[probe.kind] = _rate(_gather(receivers), ready_s)
            on_probe(number)
    return rates


@contextmanager
def _working(probes: Sequence[Probe], processes: int, device: str) -> Iterator[list["Connection[Any, Any]"]]:
    """Processes that work on the probes, as what they send; none is left at the end."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes)
    pipes = [context.Pipe(duplex=False) for _ in range(processes)]
    workers = [
        context.Process(target=_work, args=(sender, barrier, list(probes), device, _BUDGET_S), daemon=True)
        for _, sender in pipes
    ]
    try:
        for worker, (_, sender) in zip(workers, pipes, strict=True):
            worker.start()
            sender.close()
        yield [receiver for receiver, _ in pipes]
        for worker in workers:
            worker.join(_EXIT_S)  # one that is killed leaves semaphores behind
    finally:
        for worker in workers:
            if worker.pid is not None:
                worker.terminate()
                worker.join()


def _gather(receivers: Sequence["Connection[Any, Any]"]) -> list[Any]:
    """What each process sends next."""
    found: dict[Connection[Any, Any], Any] = {}
    while len(found) < len(receivers):
        ready = wait([receiver for receiver in receivers if receiver not in found])
        found |= {receiver: _receive(receiver) for receiver in receivers if receiver in ready}
        for item in found.values():
            if isinstance(item, DreamjobsError):
                raise item
        if _GONE in found.values():
            raise RunError(
                "a process that timed dreams died, perhaps for want of memory; try fewer --actors, or --from"
            )
    return list(found.values())


def _receive(receiver: "Connection[Any, Any]") -> Any:
    try:
        return receiver.recv()
    except EOFError:
        return _GONE


def _rate(found: list[_Times], ready_s: float) -> Rate:
    rate = fit([timed for times in found for timed in times.timed])
    return replace(rate, load_s=float(np.mean([times.load_s for times in found])), ready_s=ready_s)


def _work(sender: "Connection[Any, Any]", barrier: Barrier, probes: list[Probe], device: str, budget_s: float) -> None:
    """One process: says that it is up, then what it found of each probe."""
    try:
        import torch  # noqa: F401  # the most of what an actor does until it is up

        dreamer, library = Dreamer(device), Library()
        sender.send(None)
        for probe in probes:
            sender.send(_time(probe, dreamer, library, barrier, budget_s))
    except BrokenBarrierError:  # another process has told what is wrong
        return
    except DreamjobsError as error:
        sender.send(error)
        barrier.abort()
    except (RuntimeError, AssertionError) as error:  # torch's, where there is no such device or memory runs out
        sender.send(InputError(f"no dream could be timed on {device!r}: {error}"))
        barrier.abort()


def _time(probe: Probe, dreamer: Dreamer, library: Library, barrier: Barrier, budget_s: float) -> _Times:
    params = probe.jobs[0].params
    weights = library.weights(params.net, params.weights)
    works = [_picture(job) for job in probe.jobs]
    begun = time.perf_counter()
    for job, work in zip(probe.jobs, works, strict=True):
        dreamer.dream(job, work, weights)
    first_s = time.perf_counter() - begun
    barrier.wait()
    timed: list[Timed] = []
    end = time.perf_counter() + budget_s
    while len(timed) < _ROUNDS * len(works) or time.perf_counter() < end:
        for job, work, amounts in zip(probe.jobs, works, probe.amounts, strict=True):
            timed.append(Timed(amounts, dreamer.dream(job, work, weights).seconds.dream))
    barrier.wait()
    again_s = sum(item.seconds for item in timed[-len(works) :])
    return _Times(max(0.0, first_s - again_s), tuple(timed))


def _picture(job: Job) -> Work:
    height, width = job.source.height or 1, job.source.width or 1
    pixels = np.random.default_rng(0).random((height, width, 3), np.float32)
    return Work(Photo(pixels, None, None, "png"), "calibration", (height, width), Seconds())
