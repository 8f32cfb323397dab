"""What lies between two rounds: the tiles' pieces blended into one picture, and from it the crops of the next round.

No more of the picture is put together than what is asked for, and no more of the photograph read. Pieces and crops are
levels (3, h, w), what is finished float32 (h, w, 3) in [0, 1].
"""

import itertools
import math
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from dreamjobs.fanout.levels import Levels, to_levels
from dreamjobs.fanout.plan import Octave, Plan, Task, reach
from dreamjobs.fanout.resample import Part, resample
from dreamjobs.images import Floats, Source, unit
from dreamjobs.params import DreamParams
from dreamjobs.sizes import Size
from dreamjobs.tiles import Box, Span

Doubles = NDArray[np.floating]

_STRIP = 256  # rows


def crop(task: Task, photograph: Source, pieces: Mapping[int, Levels]) -> Levels:
    """What a tile is dreamed from: `pieces` are those of the round before, as many as `Plan.needs` names.

    In an octave's first round what was dreamed so far is enlarged and added to the photograph at its new size.
    """
    box, size = task.tile.crop, task.octave.size
    if task.number == 0:
        now = _photograph(photograph, box, size)
        return to_levels(resample(now.channel(index), box, size)[0] for index in range(3))
    before = task.plan.rounds[task.number - 1]
    old = task.plan.octaves[before.octave]
    if before.octave == task.round.octave:
        return blend(box, old, task.plan.ramp, pieces)
    seen = reach(box, size, old.size)
    dreamed = Part(seen, blend(seen, old, task.plan.ramp, pieces), old.size)
    parts = [dreamed, _photograph(photograph, box, size)]
    if task.params.rescale == "detail":
        parts.append(_photograph(photograph, seen, old.size))
    # One plane after another: what is in between then are blocks small enough for `keep_freed` to keep.
    return to_levels(_begun(task, *(part.channel(index) for part in parts)) for index in range(3))


def _begun(task: Task, dreamed: Part, now: Part, then: Part | None = None) -> Floats:
    """A plane (h, w) of a new octave's crop.

    `now` is the photograph's part for the new size, `then` for the old one; without `then` all that was dreamed is
    enlarged, not what it added to the photograph alone.
    """
    box, size = task.tile.crop, task.octave.size
    base = resample(now, box, size)
    if then is None:
        begun = resample(dreamed, box, size)
    else:
        detail = unit(dreamed.samples) - resample(then, dreamed.box, dreamed.size)
        begun = resample(Part(dreamed.box, detail, dreamed.size), box, size)
        begun += base
    if task.params.blend:
        begun += np.float32(task.params.blend) * (base - begun)
    plane: Floats = begun[0]
    return plane


def finished(plan: Plan, params: DreamParams, photograph: Source, pieces: Mapping[int, Levels]) -> Iterator[Floats]:
    """The dreamed picture in strips (rows, w, 3) from the top down, from the pieces of the last round."""
    octave = plan.octaves[-1]
    for top in range(0, octave.height, _STRIP):
        strip = Box(Span(top, min(octave.height, top + _STRIP)), Span(0, octave.width))
        dreamed = unit(blend(strip, octave, plan.ramp, pieces))
        if params.keep_colors:
            base = resample(_photograph(photograph, strip, octave.size), strip, octave.size)
            dreamed = _with_colors_of(base, dreamed)
        yield dreamed.transpose(1, 2, 0)


def blend(box: Box, octave: Octave, ramp: int, pieces: Mapping[int, Levels]) -> Levels:
    """A box of the stitched picture: where tiles meet, one fades out as the other fades in."""
    stitched = np.empty((3, box.height, box.width), np.uint16)
    near = octave.tiles_over(box)
    rows = _cut(box.y, {octave.tiles[number].owned.y.start for number in near}, ramp)
    columns = _cut(box.x, {octave.tiles[number].owned.x.start for number in near}, ramp)
    for part in itertools.starmap(Box, itertools.product(rows, columns)):
        over = [number for number in near if not octave.tiles[number].support.shared(part).is_empty]
        stitched[:, *part.within(box).slices] = _blended(part, over, octave, ramp, pieces)
    return stitched


def _cut(span: Span, starts: set[int], ramp: int) -> list[Span]:
    """A span cut where tiles begin and cease to be alone; `starts` are those of what they own."""
    cuts = {cut for start in starts if start for cut in (start - ramp, start + ramp)}
    edges = sorted({span.start, span.stop, *(cut for cut in cuts if span.start < cut < span.stop)})
    return list(itertools.starmap(Span, itertools.pairwise(edges)))


def _blended(part: Box, over: list[int], octave: Octave, ramp: int, pieces: Mapping[int, Levels]) -> Levels:
    """A part of the stitched picture over all of which the same tiles lie."""

    def seen(number: int) -> Levels:
        return pieces[number][:, *part.within(octave.tiles[number].support).slices]

    if len(over) == 1:
        return seen(over[0])
    total = np.zeros((3, part.height, part.width), np.float32)
    for number in over:
        owned = octave.tiles[number].owned
        rows = window(part.y, owned.y, octave.height, ramp)
        total += seen(number) * rows[:, None] * window(part.x, owned.x, octave.width, ramp)
    return np.rint(total).astype(np.uint16)


def window(span: Span, owned: Span, length: int, ramp: int) -> Floats:
    """The weight of a tile at the pixels of `span`, along one axis of a picture of `length`.

    It rises as half a period of a cosine over `ramp` pixels on either side of where the tile begins, and falls alike
    where it ends, but not at the picture's edge. The weights of all tiles sum to 1 at every pixel.
    """
    centres = np.arange(span.start, span.stop) + 0.5
    weight = np.ones(span.length)
    if owned.start > 0:
        weight *= _rise(centres - owned.start, ramp)
    if owned.stop < length:
        weight *= _rise(owned.stop - centres, ramp)
    return weight.astype(np.float32)


def _rise(distance: Doubles, ramp: int) -> Doubles:
    """0 up to -ramp, 1 from ramp on, a raised cosine between; without a ramp, a step."""
    if not ramp:
        return (distance > 0).astype(np.float64)
    return 0.5 - 0.5 * np.cos(math.pi * ((distance / ramp + 1) / 2).clip(0, 1))


def _photograph(photograph: Source, box: Box, size: Size) -> Part:
    """The part of the photograph that a box of it at another size is made of."""
    seen = reach(box, size, photograph.size)
    return Part(seen, photograph.window(seen), photograph.size)


def _with_colors_of(photograph: Floats, dreamed: Floats) -> Floats:
    import torch  # only here: most pictures change their colours

    from dreamjobs.octaves.start import keep_luminance

    kept = keep_luminance(torch.from_numpy(dreamed)[None], torch.from_numpy(photograph)[None])
    return kept[0].numpy()
