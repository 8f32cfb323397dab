"""What an actor tells Prometheus while it dreams: that it goes on, where jobs are long and end seldom.

Ray's agent on the actor's node exports it; see `dreamjobs.engine.metrics` for what the driver tells.
"""

from ray.util.metrics import Counter

STEPS = "dreamjobs_steps_total"
"""Counter: steps taken, of jobs that go on too; of tiles, each tile's own. An actor's last seconds are lost."""


class Steps:
    """Counts the steps of an actor by run."""

    def __init__(self) -> None:
        self._counter = Counter(STEPS, "Steps taken.", ("run",))

    def add(self, steps: int, run_url: str) -> None:
        """So many more, for this run."""
        if steps:  # Ray refuses to add nothing
            self._counter.inc(steps, {"run": short_name(run_url)})


def short_name(run_url: str) -> str:
    """The last part of RUN's name, by which its metrics are told from another's."""
    return run_url.rstrip("/").rpartition("/")[2]
