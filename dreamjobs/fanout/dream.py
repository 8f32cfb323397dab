"""A fanned-out picture dreamed in one process, tile after tile: the same values as on a cluster, to the last bit."""

from collections.abc import Callable

import torch

from dreamjobs.fanout.climber import Climber, shrunk
from dreamjobs.fanout.course import Course
from dreamjobs.fanout.plan import Task, make_plan
from dreamjobs.fanout.resample import Floats
from dreamjobs.fanout.stitch import crop, finished
from dreamjobs.images import Photo
from dreamjobs.nets import Net
from dreamjobs.octaves import Dream
from dreamjobs.octaves.context import ReadFile, read_local
from dreamjobs.params import DreamParams

OnStep = Callable[[int, int], None]


def dream(
    photo: Photo, net: Net, params: DreamParams, *, read: ReadFile = read_local, on_step: OnStep | None = None
) -> Dream:
    """Dream a photograph by tiles that are stitched every `sync_steps` steps.

    `on_step(done, total)` counts tiles' steps. Call `check` first: what cannot be fanned out is not found out here.

    Raises:
        NetError, ObjectiveError, ImageError: as `octaves.dream`.
    """
    plan, photograph = make_plan(params, (photo.height, photo.width)), photo.pixels
    course, climber = Course(plan, params), Climber(net, params, shrunk(photo), read)
    pieces: dict[int, Floats] = {}
    done, total = 0, sum(now.steps * len(plan.octaves[now.octave].tiles) for now in plan.rounds)
    while now := course.round:
        strengths, before, pieces, reports = course.strengths(), pieces, {}, []
        for index in range(len(plan.octaves[now.octave].tiles)):
            task = Task(plan, params, course.number, index)
            made = climber.ascend(crop(task, photograph, before), task, strengths)
            pieces[index] = made.piece
            reports.append(made.steps)
            done += now.steps
            if on_step and now.steps:
                on_step(done, total)
        course.advance(reports)
    picture = torch.from_numpy(finished(plan, params, photograph, pieces)).permute(2, 0, 1)[None]
    return Dream(picture, tuple(course.curve))
