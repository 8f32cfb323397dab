"""What lies between two rounds: the tiles' pieces blended into one picture, and from it the crops of the next round.

No more of the picture is put together than what is asked for. Pieces are float32 (3, h, w) over their tiles' supports,
photographs float32 (h, w, 3), tensors (1, 3, h, w), all in [0, 1].
"""

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dreamjobs.fanout.plan import Octave, Plan, Task, reach
from dreamjobs.fanout.resample import Part, resample
from dreamjobs.octaves.start import keep_luminance
from dreamjobs.params import DreamParams
from dreamjobs.sizes import Size
from dreamjobs.tiles import Box, Span

Floats = NDArray[np.float32]

_STRIP = 256


def crop(task: Task, photograph: Floats, pieces: Mapping[int, Floats]) -> Floats:
    """What a tile is dreamed from, (3, h, w): `pieces` are those of the round before, as many as `Plan.needs` names.

    In an octave's first round what was dreamed so far is enlarged and added to the photograph at its new size.
    """
    return np.ascontiguousarray(_crop(task, photograph, pieces)[0].numpy())


def _crop(task: Task, photograph: Floats, pieces: Mapping[int, Floats]) -> Tensor:
    box, size = task.tile.crop, task.octave.size
    if task.number == 0:
        return _photograph(photograph, box, size).clamp_(0, 1)
    before = task.plan.rounds[task.number - 1]
    old = task.plan.octaves[before.octave]
    if old is task.octave:
        return blend(box, old, task.plan.ramp, pieces)
    seen = reach(box, size, old.size)
    dreamed = blend(seen, old, task.plan.ramp, pieces)
    base = _photograph(photograph, box, size)
    if task.params.rescale == "picture":
        begun = resample(Part(seen, dreamed, old.size), box, size)
    else:
        detail = dreamed - _photograph(photograph, seen, old.size)
        begun = resample(Part(seen, detail, old.size), box, size) + base
    return torch.lerp(begun, base, task.params.blend).clamp_(0, 1)


def finished(plan: Plan, params: DreamParams, photograph: Floats, pieces: Mapping[int, Floats]) -> Floats:
    """The dreamed picture (h, w, 3), from the pieces of the last round; put together a strip at a time."""
    octave = plan.octaves[-1]
    picture = np.empty((*octave.size, 3), np.float32)
    for top in range(0, octave.height, _STRIP):
        strip = Box(Span(top, min(octave.height, top + _STRIP)), Span(0, octave.width))
        dreamed = blend(strip, octave, plan.ramp, pieces)
        if params.keep_colors:
            dreamed = keep_luminance(dreamed, _photograph(photograph, strip, octave.size))
        picture[strip.slices] = dreamed[0].permute(1, 2, 0).numpy()
    return picture


def blend(box: Box, octave: Octave, ramp: int, pieces: Mapping[int, Floats]) -> Tensor:
    """A box of the stitched picture: where tiles meet, one fades out as the other fades in."""
    total = torch.zeros(1, 3, box.height, box.width)
    for number in octave.tiles_over(box):
        tile = octave.tiles[number]
        both = tile.support.shared(box)
        rows = window(both.y, tile.owned.y, octave.height, ramp)
        columns = window(both.x, tile.owned.x, octave.width, ramp)
        here = torch.tensor(pieces[number][:, *both.within(tile.support).slices])
        total[..., *both.within(box).slices] += here * rows[:, None] * columns
    return total


def window(span: Span, owned: Span, length: int, ramp: int) -> Tensor:
    """The weight of a tile at the pixels of `span`, along one axis of a picture of `length`.

    It rises as half a period of a cosine over `ramp` pixels on either side of where the tile begins, and falls alike
    where it ends, but not at the picture's edge. The weights of all tiles sum to 1 at every pixel.
    """
    centres = torch.arange(span.start, span.stop, dtype=torch.float64) + 0.5
    weight = torch.ones_like(centres)
    if owned.start > 0:
        weight *= _rise(centres - owned.start, ramp)
    if owned.stop < length:
        weight *= _rise(owned.stop - centres, ramp)
    return weight.float()


def _rise(distance: Tensor, ramp: int) -> Tensor:
    """0 up to -ramp, 1 from ramp on, a raised cosine between; without a ramp, a step."""
    if not ramp:
        return (distance > 0).double()
    return 0.5 - 0.5 * torch.cos(math.pi * ((distance / ramp + 1) / 2).clamp(0, 1))


def _photograph(photograph: Floats, box: Box, size: Size) -> Tensor:
    """A box of the photograph at another size."""
    old = photograph.shape[0], photograph.shape[1]
    seen = reach(box, size, old)
    pixels = torch.tensor(photograph[seen.slices]).permute(2, 0, 1)[None]
    return resample(Part(seen, pixels, old), box, size)
