"""A few jobs spread over a manifest, dreamed here and now: pictures to look at, and times to correct an estimate by."""

import itertools
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from dreamjobs import lease, ledger
from dreamjobs.engine.backend import InlineBackend
from dreamjobs.engine.loop import Control, Hooks, Interrupts, drive
from dreamjobs.engine.plan import Outlook
from dreamjobs.engine.session import Session, Watcher
from dreamjobs.estimate.rates import Rate
from dreamjobs.estimate.work import Kind, Weigher
from dreamjobs.jobs import Artifact, Job
from dreamjobs.ledger import RunRecord, Shard
from dreamjobs.schedule import Finish, Limits, Scheduler
from dreamjobs.storage import Store
from dreamjobs.worker import Library


@dataclass(frozen=True)
class Made:
    """A job of the sample and what it came to."""

    job: Job
    artifact: Artifact


@dataclass(frozen=True)
class Sample:
    """The pictures made, how many jobs failed, and where the run is."""

    made: tuple[Made, ...]
    failed: int
    url: str


def spread(jobs: Iterable[Job], total: int, count: int) -> list[Job]:
    """At most `count` of `total` jobs: one, chosen by chance, of each of as many equal stretches.

    By chance, because every n-th job of a grid may be the same point of it; seeded, so that it is the same again.
    """
    count = min(count, total)
    chance = random.Random(total)
    bounds = [total * number // count for number in range(count + 1)] if count else [0]
    wanted = {chance.randrange(start, stop) for start, stop in itertools.pairwise(bounds)}
    return [job for number, job in enumerate(jobs) if number in wanted]


def run_sample(jobs: Sequence[Job], store: Store, record: RunRecord, library: Library, device: str) -> Sample:
    """Dream these jobs in this process into a store: rows, pictures and all, so that a run finds them done.

    Raises:
        RunError: if a driver is at work there, or something else was started there.
    """
    made: list[Made] = []
    with lease.acquire(store, Shard().name) as held:
        ledger.claim(store, record, extend=False)
        session = Session(store, Shard(), held, Outlook({"new": len(jobs)}, 0, 0), Watcher())
        backend = InlineBackend(store, library, device, lambda: None)

        def finish(ended: Finish) -> None:
            session.finish(ended)
            if ended.artifact:
                made.append(Made(ended.job, ended.artifact))

        try:
            _drive(jobs, backend, finish)
        finally:
            backend.close()
            session.flush()
    return Sample(tuple(made), len(jobs) - len(made), store.url)


def _drive(jobs: Sequence[Job], backend: InlineBackend, finish: Callable[[Finish], None]) -> None:
    control = Control()
    with Interrupts(control, lambda control: None):
        drive(iter(jobs), Scheduler(Limits(1, 1, 1, 1)), backend, control, Hooks(finish, lambda: None))
    if control.draining:
        raise KeyboardInterrupt


def corrections(sample: Sample, alone: Mapping[Kind, Rate], weigher: Weigher) -> dict[Kind, float]:
    """By kind, the median of how much longer the sample's dreams took than these rates of one process say.

    What the first dream of a kind takes longer is taken off. A kind that the sample lacks gets the median of all.
    """
    ratios: defaultdict[Kind, list[float]] = defaultdict(list)
    loaded: set[Kind] = set()
    for item in sample.made:
        work = weigher.weigh(item.job)
        rate = alone[work.kind]
        said = rate.seconds(work.amounts)
        took = item.artifact.seconds.dream - (0.0 if work.kind in loaded else rate.load_s)
        loaded.add(work.kind)
        if said > 0:
            ratios[work.kind].append(max(took / said, 0.1))
    every = [ratio for found in ratios.values() for ratio in found]
    return {kind: median(ratios.get(kind) or every or [1.0]) for kind in alone}


def bytes_ratio(sample: Sample, weigher: Weigher) -> dict[str, float]:
    """Bytes a pixel written, by format."""
    written: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for item in sample.made:
        work = weigher.weigh(item.job)
        written[work.format][0] += item.artifact.size_bytes
        written[work.format][1] += work.written_megapixels * 1e6
    return {kind: size / pixels for kind, (size, pixels) in written.items() if pixels}
