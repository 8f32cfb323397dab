"""One job's stages, in whatever process they run; no ray.

    fetch: read and decode the photograph -> Work
    dream: Work -> Work with the dreamed pixels, by a Dreamer, which holds the nets
    store: encode with the recipe inside, put under RUN -> Artifact (of a sequence: its video)
    make: all three, of several small pictures

`attempt` is the one place that catches everything: a stage that fails becomes a `Failure`, and the run goes on.
"""

from dreamjobs.worker.dreamer import Dreamer, Library, best_device
from dreamjobs.worker.fetching import fetch
from dreamjobs.worker.making import make
from dreamjobs.worker.sequence import store
from dreamjobs.worker.single import Guess, Reproduced, classify_picture, one_picture, reproduce_picture
from dreamjobs.worker.stages import Result, Work, as_failure, attempt, recipe, versions

__all__ = [
    "Dreamer",
    "Guess",
    "Library",
    "Reproduced",
    "Result",
    "Work",
    "as_failure",
    "attempt",
    "best_device",
    "classify_picture",
    "fetch",
    "make",
    "one_picture",
    "recipe",
    "reproduce_picture",
    "store",
    "versions",
]
