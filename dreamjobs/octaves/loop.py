"""The octave loop: a picture, a net, an objective and parameters make a dreamed picture. Pure torch.

For each octave, small to large: the photograph at that size (the base) plus what was dreamed so far (the detail);
then `steps` times a random move, the gradient of the objective by tiles, the move undone, one normalisation over the
whole picture, a step uphill (Mordvintsev, Olah, Tyka: Inceptionism, 2015). Pictures are (1, 3, h, w) RGB, float32 in
[0, 1] but for the photograph, which may be of 8 or 16 bits. Nothing here knows jobs or processes.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dreamjobs import gradients, objectives
from dreamjobs.nets import Net
from dreamjobs.objectives.terms import bind
from dreamjobs.octaves import moves, start
from dreamjobs.octaves.context import Looking, ReadFile, load_picture, read_local
from dreamjobs.octaves.course import Progress, make_course
from dreamjobs.octaves.gradient import Goal
from dreamjobs.octaves.pictures import check_samples, size_of
from dreamjobs.params import DreamParams

OnStep = Callable[[int, int], None]


@dataclass(frozen=True)
class Dream:
    """A dreamed picture (1, 3, h, w) in [0, 1], and the objective before each step, octave after octave.

    `overlap_error` is the relative error of the gradient at the end, where tiles meet; None where it is exact, and NaN
    where memory ran out on finding out.
    """

    picture: Tensor
    objective: tuple[float, ...]
    overlap_error: float | None = None


def dream(
    picture: Tensor | None,
    net: Net,
    params: DreamParams,
    *,
    read: ReadFile = read_local,
    on_step: OnStep | None = None,
    on_octave: Callable[[Progress], None] | None = None,
    resume: Progress | None = None,
) -> Dream:
    """Dream a picture (1, 3, h, w) of RGB; the result, in [0, 1], lies on the CPU.

    The picture is of floats in [0, 1], or of uint8 or uint16, of which full scale is 1 and which take less memory than
    float32 for the same dream. The result has its size, unless `octave_sizes` or `size` say otherwise; where `start` is
    noise of a stated size there need be no picture. `read` gives the bytes of files that `mask` and `objective` name.
    `on_step(done, total)` is called after every step, `on_octave` at the end of each octave with what `resume` takes to
    go on from there. The same picture, net, parameters, files and number of threads (`torch.set_num_threads`) give the
    same values to the last bit on a CPU, in one go or resumed.

    Raises:
        NetError, ObjectiveError: if the objective does not parse or names what the net lacks.
        ParamsError: if there is no photograph where one is needed, or `resume` is of a dream of other sizes.
        ImageError: if a mask, guide or style cannot be decoded, or the picture is of other numbers.
    """
    generator = torch.Generator().manual_seed(params.seed)
    photograph = None if picture is None else _photograph(picture, net)
    begun = start.starting_picture(photograph, params, generator).to(net.device)
    goals = prepare(net, params, begun, read)
    course = make_course(begun, params, max(goal.reader.least_side for goal in goals))
    done = resume or Progress(0, begun, generator.get_state(), ())
    course.check(done)
    generator.set_state(done.generator)
    report = _counted(on_step, len(done.objective), len(course.sizes) * params.steps)
    climb = _Climb(params, generator, _mask(params, read, net), report)
    for number in range(done.octaves, len(course.sizes)):
        goal = goals[min(number, len(goals) - 1)]
        done = replace(done, picture=course.begin(number, done.picture))  # lets go of the last octave's
        done, goal = climb.octave(done, goal)
        if number == len(course.sizes) - 1 and params.steps:
            done = replace(done, overlap_error=goal.overlap_error(done.picture.to(net.device)))
        if on_octave:
            on_octave(done)
    dreamed = course.unpadded(done.picture)
    if params.keep_colors and photograph is not None:
        dreamed = start.keep_luminance(dreamed, photograph)
    return Dream(dreamed, done.objective, done.overlap_error)


def _photograph(picture: Tensor, net: Net) -> Tensor:
    """The picture on the net's device, with its samples, if they are whole numbers, or as float32.

    A plain tensor, whatever was given: a parameter, or a kind of tensor such as torchvision's `tv_tensors.Image`.
    """
    check_samples(picture)
    plain = picture.detach().as_subclass(Tensor)
    return plain.to(net.device, torch.float32 if plain.is_floating_point() else None)


def prepare(net: Net, params: DreamParams, photograph: Tensor, read: ReadFile = read_local) -> list[Goal]:
    """The octaves' goals, the last of which goes on: objective and net checked against each other."""
    found = []
    for objective in objectives.parse(params.objective):
        bound = bind(objective, Looking(net, photograph, read, params.labels))
        layers = bound.layers or tuple(net.layer_names()[:1])
        found.append(Goal(net.reader(layers, params.precision), bound, params))
    return found


def check(net: Net, params: DreamParams, read: ReadFile = read_local) -> None:
    """Raise what `dream` would: for an objective, a layer, a class or a file that is not to be had.

    Files are read; the photograph, which is not known yet, is taken to be grey.
    """
    prepare(net, params, torch.full((1, 3, 64, 64), 0.5), read)
    _mask(params, read, net)


@dataclass(frozen=True)
class _Climb:
    """How an octave's steps are taken. Pictures may fill the memory, so that steps are taken in place."""

    params: DreamParams
    generator: torch.Generator
    mask: Tensor | None
    report: Callable[[], None]

    def octave(self, begun: Progress, goal: Goal) -> tuple[Progress, Goal]:
        """One octave's steps, which overwrite the picture that it begins from; and the goal at its end."""
        params, picture = self.params, begun.picture
        optimizer = gradients.Optimizer(params.optimizer)
        mask = start.mask_at(self.mask, size_of(picture)) if self.mask is not None else None
        found: list[Tensor] = []
        for step in range(params.steps):
            goal, seen = goal.fitting(picture, moves.draw(params, self.generator))
            found.append(seen.objective)
            change = optimizer.step(gradients.shape(seen.pixels, params, step))
            del seen
            change = change if mask is None else change * mask
            size = params.step_size * gradients.step_factor(params.schedule, step, params.steps)
            picture.add_(change, alpha=size).clamp_(0, 1)
            del change
            self.report()
            # Asked only where wanted: it waits for the device.
            if params.until and gradients.stalled([float(value) for value in found], params.until):
                break
        curve = torch.stack(found).tolist() if found else []
        state = self.generator.get_state()
        return Progress(begun.octaves + 1, picture.cpu(), state, (*begun.objective, *curve)), goal


def _mask(params: DreamParams, read: ReadFile, net: Net) -> Tensor | None:
    """The mask (1, 1, h, w): how bright the image is that it is read from."""
    if params.mask is None:
        return None
    return load_picture(read(params.mask)).mean(1, keepdim=True).to(net.device)


def _counted(on_step: OnStep | None, done: int, total: int) -> Callable[[], None]:
    steps = itertools.count(done + 1)
    return lambda: on_step(next(steps), total) if on_step else None
