"""From octave to octave: what each begins from, and how far a dream is after one.

Pictures are (1, 3, h, w) in [0, 1]. No more of full size is held than the photograph itself, with the samples that it
came with, since it may fill the memory.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dreamjobs.errors import ParamsError
from dreamjobs.octaves.pictures import pad, resize, size_of
from dreamjobs.params import DreamParams
from dreamjobs.sizes import Size, octave_sizes


@dataclass(frozen=True, eq=False)
class Progress:
    """A dream after some of its octaves: all that the rest depends on, besides what `dream` was given.

    `picture` (1, 3, h, w) is the dream at the last of these octaves, `generator` the state of the random numbers; both
    lie on the CPU. The rest is as in `Dream`.
    """

    octaves: int
    picture: Tensor
    generator: Tensor
    objective: tuple[float, ...]
    overlap_error: float | None = None


@dataclass(frozen=True)
class Course:
    """The octaves' sizes, and the photograph (the base) that each begins from, padded where it was under `size`.

    The base has the samples that it came with: uint8, uint16 or float32.
    """

    base: Tensor
    size: Size
    sizes: list[Size]
    params: DreamParams

    def begin(self, number: int, dreamed: Tensor) -> Tensor:
        """What octave `number` begins from, given the dream so far at the size of the octave before; in memory anew.

        Its layout is always the same, so that sums over it do not depend on the photograph's or on a resume.
        """
        rescales = self.params.rescale == "picture" or self.params.start in ("noise", "natural")
        found = self._rescaled(number, dreamed) if number and rescales else self._with_detail(number, dreamed)
        if self.params.blend:
            self._change(found, number, lambda plane, base: plane.lerp_(base, self.params.blend))
        return found.clamp_(0, 1).contiguous()

    def check(self, done: Progress) -> None:
        """Raise ParamsError for a dream of other sizes."""
        last = self.sizes[done.octaves - 1] if 0 < done.octaves <= len(self.sizes) else None
        if done.octaves and size_of(done.picture) != last:
            raise ParamsError(
                f"a dream of {size_of(done.picture)} (h, w) after {done.octaves} octaves cannot be resumed as one of "
                f"the sizes {self.sizes}: give the picture and the parameters that it was begun with"
            )

    def unpadded(self, dreamed: Tensor) -> Tensor:
        """The part of the last octave that is no padding."""
        lengths = zip(self.size, size_of(self.base), self.sizes[-1], strict=True)
        height, width = (max(1, round(side * end / whole)) for side, whole, end in lengths)
        return dreamed[..., :height, :width]

    def _base(self, number: int) -> Tensor:
        return resize(self.base, self.sizes[number])

    def _rescaled(self, number: int, dreamed: Tensor) -> Tensor:
        dreamed = dreamed.to(self.base.device)
        return _apart(resize(dreamed, self.sizes[number]), dreamed)

    def _with_detail(self, number: int, dreamed: Tensor) -> Tensor:
        """What was dreamed so far, added to the base; in the first octave that is nothing."""
        if not number:
            return _apart(self._base(0), self.base)
        detail = dreamed.to(self.base.device) - self._base(number - 1)
        found = resize(detail, self.sizes[number])
        self._change(found, number, lambda plane, base: plane.add_(base))
        return found

    def _change(self, found: Tensor, number: int, change: Callable[[Tensor, Tensor], Tensor]) -> None:
        """Change each channel in place by the base's at octave `number`; of those as floats one at a time is held."""
        for plane, base in zip(torch.split(found, 1, 1), torch.split(self.base, 1, 1), strict=True):
            change(plane, resize(base, self.sizes[number]))


def make_course(begun: Tensor, params: DreamParams, least: int) -> Course:
    """The course of a dream upon `begun`, no side of which is to be under `least` pixels."""
    base = pad(begun, least)
    return Course(base, size_of(begun), octave_sizes(size_of(base), params, least), params)


def _apart(made: Tensor, of: Tensor) -> Tensor:
    """What was made of a picture, to be written to: a copy, where nothing was to be made and it is that picture."""
    return made.clone() if made is of else made
