"""Runs manifests: on a Ray cluster, or in this process. Only `cluster` and `spread` import ray."""

from dreamjobs.engine.driver import RunOptions, run
from dreamjobs.engine.plan import Outlook
from dreamjobs.engine.session import Progress, Watcher

__all__ = ["Outlook", "Progress", "RunOptions", "Watcher", "run"]
