"""The part that an actor has in fanned-out pictures: its net, and the objective bound to the photograph."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dreamjobs.fanout.ascent import ascend, margin
from dreamjobs.fanout.canvas import Canvas
from dreamjobs.fanout.course import Steps
from dreamjobs.fanout.levels import FULL, Levels, to_levels
from dreamjobs.fanout.plan import Task, reach
from dreamjobs.fanout.resample import Part, resample
from dreamjobs.images import Floats
from dreamjobs.nets import Net
from dreamjobs.octaves import Goal, prepare
from dreamjobs.octaves.context import ReadFile, load_picture
from dreamjobs.params import DreamParams


@dataclass(frozen=True, eq=False)
class Ascended:
    """A tile's piece, levels (3, h, w) over its support, and what it reports of the round."""

    piece: Levels
    steps: Steps


class Climber:
    """Takes tiles uphill, for one picture; `little` is the photograph (h, w, 3), shrunk."""

    def __init__(self, net: Net, params: DreamParams, little: Floats, read: ReadFile) -> None:
        self._device = net.device
        self._canvas: Canvas | None = None
        picture = torch.tensor(little).permute(2, 0, 1)[None].to(net.device)
        self._goals = prepare(net, params, picture, read)
        self._mask = load_picture(read(params.mask)).mean(1).numpy() if params.mask else None

    def ascend(self, crop: Levels, task: Task, strengths: tuple[float, ...]) -> Ascended:
        """A round's steps on a tile's crop (3, h, w), each divided by one of `strengths`."""
        goal = self._goal(task)
        canvas = self._canvas_for(task, goal)
        canvas.put(torch.tensor(crop)[None].to(self._device))
        canvas.crop.div_(FULL)
        steps = ascend(canvas, task, strengths, goal, self._mask_over(task))
        mine = task.tile.support.within(task.tile.crop).slices
        return Ascended(to_levels(canvas.crop[0][..., *mine].cpu().numpy()), steps)

    def _canvas_for(self, task: Task, goal: Goal) -> Canvas:
        """The last one where it is of the right size, as for all tiles of an octave."""
        view, room = task.octave.view, margin(task, goal)
        if self._canvas is None or (self._canvas.view, self._canvas.margin) != (view, room):
            self._canvas = Canvas(view, room, self._device)
        return self._canvas

    def _goal(self, task: Task) -> Goal:
        return self._goals[min(task.round.octave, len(self._goals) - 1)]

    def _mask_over(self, task: Task) -> Tensor | None:
        if self._mask is None:
            return None
        box, size = task.tile.crop, task.octave.size
        old = self._mask.shape[1], self._mask.shape[2]
        seen = reach(box, size, old)
        found = resample(Part(seen, self._mask[:, *seen.slices], old), box, size)
        return torch.tensor(found.clip(0, 1))[None].to(self._device)
