"""One picture dreamed by many actors: tiles that take a few steps each, are stitched, and go on.

    plan     how the picture is cut, and its rounds
    course   how far it is, and how strong its gradient is
    levels   a picture as it lies between two rounds, in 16 bits
    stitch   pieces -> crops of the next round     (a CPU task)
    climber  a crop, some steps uphill -> a piece  (an actor)
    canvas   where an actor dreams a tile, mirror image and all
    dream    all of it in one process
    refusals the parameters that cannot be
    check    the objectives that cannot be: they look at the whole picture

What comes out is near to what one actor makes of the picture, not equal: between two syncs tiles do not see each other.
Plan, course and refusals need no torch; the other modules are imported by name.
"""

from dreamjobs.fanout.course import Course, Fanned, Report, State, Steps
from dreamjobs.fanout.plan import LITTLE_SIDE, Plan, Task, is_wanted, make_plan
from dreamjobs.fanout.refusals import PARAMETERS, check_params

__all__ = [
    "LITTLE_SIDE",
    "PARAMETERS",
    "Course",
    "Fanned",
    "Plan",
    "Report",
    "State",
    "Steps",
    "Task",
    "check_params",
    "is_wanted",
    "make_plan",
]
