"""The octave loop: a picture, a net, an objective and parameters make a dreamed picture. Pure torch.

For each octave, small to large: the photograph at that size (the base) plus what was dreamed so far (the detail);
then `steps` times a random shift, the gradient of the objective by tiles, one normalisation over the whole picture,
a step uphill, the shift undone (Mordvintsev, Olah, Tyka: Inceptionism, 2015). Pictures are (1, 3, h, w) float32 RGB
in [0, 1]. Nothing here knows files, jobs or processes.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dreamjobs import gradients, objectives, tiles
from dreamjobs.nets import Net, Reader
from dreamjobs.objectives import Objective
from dreamjobs.params import DreamParams

Size = tuple[int, int]
OnStep = Callable[[int, int], None]


@dataclass(frozen=True)
class Dream:
    """A dreamed picture (1, 3, h, w) in [0, 1], and the objective before each step, octave after octave."""

    picture: Tensor
    objective: tuple[float, ...]


@dataclass(frozen=True)
class Gradient:
    """The gradient of an objective by a picture's pixels, shaped as the picture, and the objective, a scalar."""

    pixels: Tensor
    objective: Tensor


@dataclass(frozen=True)
class Plan:
    """What is climbed, how, and the net to read it from."""

    reader: Reader
    objective: Objective
    params: DreamParams


def dream(
    picture: Tensor,
    net: Net,
    params: DreamParams,
    *,
    on_step: OnStep | None = None,
    on_octave: Callable[[Tensor], None] | None = None,
) -> Dream:
    """Dream a picture (1, 3, h, w) of RGB in [0, 1]; the result has the same size and lies on the CPU.

    `on_step(done, total)` is called after every step, `on_octave` with the picture at the end of each octave, small
    to large. The same picture, net, parameters, device and number of
    threads (`torch.set_num_threads`) give the same values to the last bit.

    Raises:
        NetError, ObjectiveError: if the objective does not parse or names what the net lacks.
    """
    plan = prepare(net, params)
    least = plan.reader.least_side
    height, width = picture.shape[2:]
    base = _pad(picture.to(net.device, torch.float32), least)
    sizes = octave_sizes((base.shape[2], base.shape[3]), params, least)
    generator = torch.Generator().manual_seed(params.seed)
    report = _counted(on_step, len(sizes) * params.steps)
    detail = torch.zeros(1, 3, *sizes[0], device=net.device)
    curve: list[float] = []
    for size in sizes:
        start = _resize(base, size)
        dreamed, values = _ascend((start + _resize(detail, size)).clamp(0, 1), plan, generator, report)
        detail = dreamed - start
        curve += values
        if on_octave:
            on_octave(dreamed.cpu())
    return Dream(dreamed[..., :height, :width].cpu(), tuple(curve))


def prepare(net: Net, params: DreamParams) -> Plan:
    """The plan of a dream: objective and net checked against each other, the net cut after the deepest layer."""
    objective = objectives.parse(params.objective).resolve(net.class_layer, net.class_index)
    reader = net.reader(objective.layers)
    sizes = reader.sizes(reader.least_side, reader.least_side)
    objectives.check(objective, {name: size[0] for name, size in sizes.items()})
    return Plan(reader, objective, params)


def octave_sizes(size: Size, params: DreamParams, least_side: int = 1) -> list[Size]:
    """The octaves' sizes (h, w), small to large, the last being `size`; no side is under `least_side`."""
    scales = [params.octave_scale**-octave for octave in reversed(range(params.octaves))]
    return [(_scaled(size[0], scale, least_side), _scaled(size[1], scale, least_side)) for scale in scales]


def gradient(picture: Tensor, plan: Plan) -> Gradient:
    """The gradient of the objective over the whole picture, by tiles; memory is bounded by the tile.

    Where the net's field is finite and `overlap` is `exact` it equals the untiled one up to rounding. A net that
    looks at the whole picture is not tiled.
    """
    height, width = picture.shape[2:]
    reader = plan.reader
    whole = reader.sizes(height, width)
    total = torch.zeros_like(picture)
    value = torch.zeros((), device=picture.device)
    for tile in _tiles(reader, height, width, plan.params):
        crop = picture[..., *tile.crop.slices].detach().clone().requires_grad_()
        activations = reader(crop)
        owned = {
            name: activations[name][..., *box.slices] for name, box in zip(reader.layers, tile.positions, strict=True)
        }
        part = plan.objective.part(owned, whole)
        total[..., *tile.crop.slices] += torch.autograd.grad(part, crop)[0]
        value += part.detach()
    return Gradient(total, value)


def _ascend(
    picture: Tensor, plan: Plan, generator: torch.Generator, report: Callable[[], None]
) -> tuple[Tensor, list[float]]:
    """One octave's steps, and the objective before each; the values leave the device together at the end."""
    params = plan.params
    values = []
    for _ in range(params.steps):
        y, x = _shift(params.jitter, generator)
        shifted = torch.roll(picture, (y, x), dims=(2, 3))
        found = gradient(shifted, plan)
        change = gradients.normalize(gradients.smooth(found.pixels, params.smoothing), params.normalize)
        shifted.add_(change, alpha=params.step_size).clamp_(0, 1)
        picture = torch.roll(shifted, (-y, -x), dims=(2, 3))
        values.append(found.objective)
        report()
    return picture, torch.stack(values).tolist() if values else []


def _tiles(reader: Reader, height: int, width: int, params: DreamParams) -> list[tiles.Tile]:
    layers = reader.tiling_layers(height, width)
    if layers is None:
        sizes = reader.sizes(height, width).values()
        return [tiles.uncut(height, width, [(rows, columns) for _, rows, columns in sizes])]
    overlap = None if params.overlap == "exact" else params.overlap
    return tiles.cut(height, width, layers, size=params.tile_size, overlap=overlap, least=reader.least_side)


def _counted(on_step: OnStep | None, total: int) -> Callable[[], None]:
    steps = itertools.count(1)
    return lambda: on_step(next(steps), total) if on_step else None


def _shift(jitter: int, generator: torch.Generator) -> Size:
    """A random (y, x) shift, each in [-jitter, jitter]."""
    y, x = torch.randint(-jitter, jitter + 1, (2,), generator=generator).tolist()
    return y, x


def _scaled(length: int, scale: float, least: int) -> int:
    return max(min(length, least), round(length * scale))


def _pad(picture: Tensor, least: int) -> Tensor:
    """The picture, its last row and column repeated to bring either side to `least` pixels."""
    below, right = (max(0, least - side) for side in picture.shape[2:])
    return F.pad(picture, (0, right, 0, below), mode="replicate")


def _resize(picture: Tensor, size: Size) -> Tensor:
    """Bicubic, with a low-pass filter on the way down; no work if the size is the same."""
    if tuple(picture.shape[2:]) == size:
        return picture
    return F.interpolate(picture, size, mode="bicubic", antialias=True, align_corners=False)
