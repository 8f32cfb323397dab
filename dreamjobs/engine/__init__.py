"""Runs manifests: on a Ray cluster, or in this process. Only `engine.cluster` imports ray."""

from dreamjobs.engine.driver import Outlook, Progress, RunOptions, Watcher, run

__all__ = ["Outlook", "Progress", "RunOptions", "Watcher", "run"]
