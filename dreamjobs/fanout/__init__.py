"""One picture dreamed by many actors: tiles that take a few steps each, are stitched, and go on.

    plan     how the picture is cut, and its rounds
    course   how far it is, and how strong its gradient is
    stitch   pieces -> crops of the next round     (a CPU task)
    climber  a crop, some steps uphill -> a piece  (an actor)
    dream    all of it in one process

What comes out is near to what one actor makes of the picture, not equal: between two syncs tiles do not see each other.
"""

from dreamjobs.fanout.climber import Ascended, Climber, shrunk
from dreamjobs.fanout.course import Course, Steps
from dreamjobs.fanout.dream import dream
from dreamjobs.fanout.plan import Plan, Task, is_wanted, make_plan
from dreamjobs.fanout.refusals import check
from dreamjobs.fanout.stitch import crop, finished

__all__ = [
    "Ascended",
    "Climber",
    "Course",
    "Plan",
    "Steps",
    "Task",
    "check",
    "crop",
    "dream",
    "finished",
    "is_wanted",
    "make_plan",
    "shrunk",
]
