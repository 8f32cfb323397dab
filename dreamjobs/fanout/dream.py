"""A fanned-out picture dreamed in one process, tile after tile: the same values as on a cluster, to the last bit."""

from collections.abc import Callable

import numpy as np
import torch

from dreamjobs import images
from dreamjobs.fanout.check import check_objective
from dreamjobs.fanout.climber import Climber
from dreamjobs.fanout.course import Course
from dreamjobs.fanout.levels import Levels
from dreamjobs.fanout.plan import LITTLE_SIDE, Task, make_plan
from dreamjobs.fanout.refusals import check_params
from dreamjobs.fanout.stitch import crop, finished
from dreamjobs.images import Source
from dreamjobs.nets import Net
from dreamjobs.octaves import Dream
from dreamjobs.octaves.context import ReadFile, read_local
from dreamjobs.params import DreamParams

OnStep = Callable[[int, int], None]


def dream(
    photograph: Source, net: Net, params: DreamParams, *, read: ReadFile = read_local, on_step: OnStep | None = None
) -> Dream:
    """Dream a photograph by tiles that are stitched every `sync_steps` steps.

    `on_step(done, total)` counts tiles' steps.

    Raises:
        ParamsError, ObjectiveError: for what cannot be fanned out.
        NetError, ObjectiveError, ImageError: as `octaves.dream`.
    """
    check_params(params)
    check_objective(net, params, read)
    plan = make_plan(params, photograph.size)
    little = images.reduced(photograph, LITTLE_SIDE).pixels
    course, climber = Course(plan, params), Climber(net, params, little, read)
    pieces: dict[int, Levels] = {}
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
    picture, top = np.empty((*plan.octaves[-1].size, 3), np.float32), 0
    for strip in finished(plan, params, photograph, pieces):
        picture[top : top + len(strip)] = strip
        top += len(strip)
    return Dream(torch.from_numpy(picture).permute(2, 0, 1)[None], tuple(course.curve))
