"""Runs manifests: on a Ray cluster, or in this process. No other module imports ray."""

from dreamjobs.engine.driver import RunOptions, run
from dreamjobs.engine.plan import Outlook
from dreamjobs.engine.session import Progress, Watcher

__all__ = ["Outlook", "Progress", "RunOptions", "Watcher", "run"]
