"""A box of a picture at another size, from no more of the picture than the box depends on.

Bicubic with a low-pass filter on the way down. No torch: the processes that stitch start sooner without it.
"""

from dataclasses import dataclass

from dreamjobs.fanout.plan import reach
from dreamjobs.images import CUBIC, Floats, SampleArray, unit, window_at
from dreamjobs.sizes import Size
from dreamjobs.tiles import Box


@dataclass(frozen=True, eq=False)
class Part:
    """A box of a picture of `size` (h, w): samples (C, h, w)."""

    box: Box
    samples: SampleArray
    size: Size

    def channel(self, index: int) -> "Part":
        """One of its planes."""
        return Part(self.box, self.samples[index : index + 1], self.size)


def resample(part: Part, box: Box, size: Size) -> Floats:
    """What is in `box` of the picture at `size`, float32 (C, h, w); `part` must hold `reach(box, size, part.size)`.

    Of whole samples, full scale is 1. Where the size stays, floats come back in the part's own memory.
    """
    seen = reach(box, size, part.size)
    samples = part.samples[:, *seen.within(part.box).slices]
    if size == part.size:
        return unit(samples)
    return window_at(samples, seen, part.size, box, size, CUBIC)
