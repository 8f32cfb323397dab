"""What to do next: events in, actions out. No ray, no clock, no I/O, so it is tested with lists.

A job passes three stages: it is fetched (read and decoded), dreamed by an actor, and stored. Small pictures are made
in bundles instead, each whole by one actor, which overlaps the stages itself; one whose attempt failed goes on by
stages, alone. At most `Limits.jobs` jobs or bundles are between being submitted and being recorded, and no more than
`Limits.pixels` together unless it is one alone, so that memory does not grow with the manifest. An attempt that fails
for a reason that may pass, or is lost with its actor or node, starts again from the fetch, `Limits.attempts` times in
all; any other failure is recorded at once. A job that kills its actors is therefore a failed job, and a lost actor is
replaced. Draining ends what an actor has begun and drops the rest.

Actors come and go with the cluster: one whose node is to go ends what it is at while its successor starts, and when no
job is left to begin, those that have nothing to do are given back.
"""

from dreamjobs.schedule.bundles import BUNDLE_PIXEL_STEPS, is_small
from dreamjobs.schedule.events import (
    Action,
    ActorLeaving,
    ActorLost,
    ActorReady,
    Bundle,
    Capacity,
    Drop,
    Event,
    Finish,
    GiveUp,
    Limits,
    NotBegun,
    Part,
    Retry,
    Stage,
    StageDone,
    StageFailed,
    Start,
    StartActor,
    StopActor,
)
from dreamjobs.schedule.scheduler import Scheduler

__all__ = [
    "BUNDLE_PIXEL_STEPS",
    "Action",
    "ActorLeaving",
    "ActorLost",
    "ActorReady",
    "Bundle",
    "Capacity",
    "Drop",
    "Event",
    "Finish",
    "GiveUp",
    "Limits",
    "NotBegun",
    "Part",
    "Retry",
    "Scheduler",
    "Stage",
    "StageDone",
    "StageFailed",
    "Start",
    "StartActor",
    "StopActor",
    "is_small",
]
