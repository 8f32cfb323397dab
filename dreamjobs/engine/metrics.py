"""What Prometheus is told of a run: its driver counts what it sees anyway, and Ray's agent on its node exports it.

Ray puts `ray_` before each name and adds no second `_total`: `dreamjobs_bytes_total` is scraped as
`ray_dreamjobs_bytes_total`, `dreamjobs_stage_seconds` as `ray_dreamjobs_stage_seconds_bucket`, `_count` and `_sum`
(checked with Ray 2.60; counts are exact, but Ray takes a histogram's sum from the middles of its buckets). A value is
exported within 10 s and when the driver ends; 20 s after that its gauges are gone, while counters and histograms stay
until the node does. The agent is part of `ray[default]`; without it the same calls lead nowhere. A driver outside the
cluster, at a `ray://` address, exports nothing either.
"""

from ray.util.metrics import Counter, Gauge, Histogram

from dreamjobs.engine.plan import Outlook
from dreamjobs.engine.session import Progress, Watcher
from dreamjobs.jobs import Artifact, Job
from dreamjobs.schedule import Finish
from dreamjobs.sizes import pixel_steps

JOBS = "dreamjobs_jobs"
"""Gauge by `state`: `done` and `failed`, by this call of `run` or before it, `in_flight` and `waiting`."""
MEGAPIXEL_STEPS = "dreamjobs_megapixel_steps_total"
"""Counter: steps that finished jobs asked for, times the millions of pixels of their octaves."""
STAGE_SECONDS = "dreamjobs_stage_seconds"
"""Histogram by `stage`: `fetch`, `decode`, `dream`, `encode` and `put` of each finished job."""
QUEUE_DEPTH = "dreamjobs_queue_depth"
"""Gauge by `stage` of the scheduler: jobs in flight that wait for it to begin."""
ACTOR_RESTARTS = "dreamjobs_actor_restarts_total"
"""Counter: actors started in place of one that died."""
BYTES = "dreamjobs_bytes_total"
"""Counter by `direction`: `in`, photographs as far as the manifest gives their sizes; `out`, pictures."""

_BOUNDARIES_S = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0]


def watcher(run: str) -> Watcher:
    """Records what it is told, tagged with the run's short name; to be made when this process is connected to Ray."""
    meter = _Meter(run)
    return Watcher(on_outlook=meter.outlook, on_progress=meter.progress, on_finish=meter.finish)


class _Meter:
    """The series of one run, and how far its counters are."""

    def __init__(self, run: str) -> None:
        tags = {"run": run}
        self._jobs = Gauge(JOBS, "Jobs by state.", ("run", "state")).set_default_tags(tags)
        self._queue = Gauge(QUEUE_DEPTH, "Jobs that wait for a stage.", ("run", "stage")).set_default_tags(tags)
        self._steps = Counter(MEGAPIXEL_STEPS, "Megapixel-steps dreamed.", ("run",)).set_default_tags(tags)
        self._restarts = Counter(ACTOR_RESTARTS, "Actors replaced.", ("run",)).set_default_tags(tags)
        self._bytes = Counter(BYTES, "Bytes read and written.", ("run", "direction")).set_default_tags(tags)
        self._seconds = Histogram(
            STAGE_SECONDS, "Wall time of a job's stages.", _BOUNDARIES_S, ("run", "stage")
        ).set_default_tags(tags)
        self._done_before = self._failed_before = self._restarted = 0

    def outlook(self, outlook: Outlook) -> None:
        self._done_before, self._failed_before = outlook.done, outlook.failed

    def progress(self, now: Progress) -> None:
        states = {
            "done": self._done_before + now.done,
            "failed": self._failed_before + now.failed,
            "in_flight": now.in_flight,
            "waiting": now.todo - now.done - now.failed - now.in_flight,
        }
        for state, count in states.items():
            self._jobs.set(count, {"state": state})
        for stage, count in now.queues.items():
            self._queue.set(count, {"stage": stage})
        _add(self._restarts, now.restarts - self._restarted)
        self._restarted = now.restarts

    def finish(self, finish: Finish) -> None:
        artifact, size_bytes = finish.artifact, finish.job.source.size_bytes
        if artifact is None:
            return
        for stage, seconds in vars(artifact.seconds).items():
            self._seconds.observe(seconds, {"stage": stage})
        _add(self._steps, megapixel_steps(finish.job, artifact))
        _add(self._bytes, artifact.size_bytes, direction="out")
        _add(self._bytes, size_bytes or 0, direction="in")


def _add(counter: Counter, amount: float, **tags: str) -> None:
    """Ray refuses to add nothing, as of a job of no steps."""
    if amount > 0:
        counter.inc(amount, tags)


def megapixel_steps(job: Job, artifact: Artifact) -> float:
    """Steps times megapixels over the octaves of a finished job's picture, over its frames where it says how many."""
    return pixel_steps((artifact.height, artifact.width), job.params) / 1e6
