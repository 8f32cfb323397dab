"""The octave loop: a picture, a net, an objective and parameters make a dreamed picture. Pure torch.

For each octave, small to large: the photograph at that size (the base) plus what was dreamed so far (the detail);
then `steps` times a random move, the gradient of the objective by tiles, the move undone, one normalisation over the
whole picture, a step uphill (Mordvintsev, Olah, Tyka: Inceptionism, 2015). Pictures are (1, 3, h, w) float32 RGB in
[0, 1]. Nothing here knows jobs or processes.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dreamjobs import gradients, objectives
from dreamjobs.nets import Net
from dreamjobs.objectives.terms import bind
from dreamjobs.octaves import moves, start
from dreamjobs.octaves.context import Looking, ReadFile, load_picture, read_local
from dreamjobs.octaves.gradient import Goal
from dreamjobs.params import DreamParams
from dreamjobs.sizes import octave_sizes

Size = tuple[int, int]
OnStep = Callable[[int, int], None]


@dataclass(frozen=True)
class Dream:
    """A dreamed picture (1, 3, h, w) in [0, 1], and the objective before each step, octave after octave."""

    picture: Tensor
    objective: tuple[float, ...]


def dream(
    picture: Tensor | None,
    net: Net,
    params: DreamParams,
    *,
    read: ReadFile = read_local,
    on_step: OnStep | None = None,
    on_octave: Callable[[Tensor], None] | None = None,
) -> Dream:
    """Dream a picture (1, 3, h, w) of RGB in [0, 1]; the result lies on the CPU.

    It has the picture's size, unless `octave_sizes` or `size` say otherwise; where `start` is noise of a stated size
    there need be no picture. `read` gives the bytes of files that `mask` and `objective` name. `on_step(done, total)`
    is called after every step, `on_octave` with the picture at the end of each octave. The same picture, net,
    parameters, files and number of threads (`torch.set_num_threads`) give the same values to the last bit on a CPU.

    Raises:
        NetError, ObjectiveError: if the objective does not parse or names what the net lacks.
        ParamsError: if there is no photograph where one is needed.
        ImageError: if a mask, guide or style cannot be decoded.
    """
    generator = torch.Generator().manual_seed(params.seed)
    photograph = picture.to(net.device, torch.float32) if picture is not None else None
    begun = start.starting_picture(photograph, params, generator).to(net.device)
    goals = prepare(net, params, begun, read)
    least = max(goal.reader.least_side for goal in goals)
    base = _pad(begun, least)
    sizes = octave_sizes(_size(base), params, least)
    climb = _Climb(params, generator, _mask(params, read, net), _counted(on_step, len(sizes) * params.steps))
    rescales = params.rescale == "picture" or params.start in ("noise", "natural")
    before = dreamed = _resize(base, sizes[0])
    curve: list[float] = []
    for goal, size in zip(itertools.chain(goals, itertools.repeat(goals[-1])), sizes, strict=False):
        now = _resize(base, size)
        begin = _enlarged(dreamed, size) if rescales else _resize(dreamed - before, size).add_(now)
        before = dreamed = now  # lets go of the last octave's, which may be large
        dreamed, values = climb.octave(begin.lerp_(now, params.blend).clamp_(0, 1), goal)
        curve += values
        if on_octave:
            on_octave(dreamed.cpu())
    height, width = _unpadded(_size(begun), _size(base), sizes[-1])
    dreamed = dreamed[..., :height, :width]
    if params.keep_colors and photograph is not None:
        dreamed = start.keep_luminance(dreamed, _resize(photograph, (height, width)))
    return Dream(dreamed.cpu(), tuple(curve))


def prepare(net: Net, params: DreamParams, photograph: Tensor, read: ReadFile = read_local) -> list[Goal]:
    """The octaves' goals, the last of which goes on: objective and net checked against each other."""
    found = []
    for objective in objectives.parse(params.objective):
        bound = bind(objective, Looking(net, photograph, read, params.labels))
        found.append(Goal(net.reader(bound.layers or tuple(net.layer_names()[:1])), bound, params))
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

    def octave(self, picture: Tensor, goal: Goal) -> tuple[Tensor, list[float]]:
        """One octave's steps, which overwrite the picture, and the objective before each."""
        params = self.params
        optimizer = gradients.Optimizer(params.optimizer)
        mask = start.mask_at(self.mask, _size(picture)) if self.mask is not None else None
        found: list[Tensor] = []
        for step in range(params.steps):
            seen = goal.gradient(picture, moves.draw(params, self.generator))
            slope = gradients.shape(seen.pixels, params, step)
            change = optimizer.step(slope)
            change = change if mask is None else change * mask
            size = params.step_size * gradients.step_factor(params.schedule, step, params.steps)
            picture.add_(change, alpha=size).clamp_(0, 1)
            found.append(seen.objective)
            del seen, slope, change
            self.report()
            # Asked only where wanted: it waits for the device.
            if params.until and gradients.stalled([float(value) for value in found], params.until):
                break
        return picture, torch.stack(found).tolist() if found else []


def _mask(params: DreamParams, read: ReadFile, net: Net) -> Tensor | None:
    """The mask (1, 1, h, w): how bright the image is that it is read from."""
    if params.mask is None:
        return None
    return load_picture(read(params.mask)).mean(1, keepdim=True).to(net.device)


def _counted(on_step: OnStep | None, total: int) -> Callable[[], None]:
    steps = itertools.count(1)
    return lambda: on_step(next(steps), total) if on_step else None


def _size(picture: Tensor) -> Size:
    height, width = picture.shape[2:]
    return height, width


def _unpadded(size: Size, padded: Size, last: Size) -> Size:
    """The part of the last octave that is no padding."""
    height, width = (max(1, round(side * end / whole)) for side, whole, end in zip(size, padded, last, strict=True))
    return height, width


def _pad(picture: Tensor, least: int) -> Tensor:
    """The picture, its last row and column repeated to bring either side to `least` pixels."""
    below, right = (max(0, least - side) for side in picture.shape[2:])
    if not below and not right:
        return picture
    return F.pad(picture, (0, right, 0, below), mode="replicate")


def _enlarged(picture: Tensor, size: Size) -> Tensor:
    """The picture at another size, always one of its own."""
    found = _resize(picture, size)
    return found.clone() if found is picture else found


def _resize(picture: Tensor, size: Size) -> Tensor:
    """Bicubic, with a low-pass filter on the way down; no work if the size is the same."""
    if _size(picture) == size:
        return picture
    return F.interpolate(picture, size, mode="bicubic", antialias=True, align_corners=False)
