"""How many tiles go through the net at once.

On a CPU it is a fixed number, since it changes bytes. On a graphics card it is as many as there is memory for, and
fewer when that turns out to be wrong.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

import torch

from dreamjobs.tiles import Box

_SHARE = 0.6  # of the free memory: what is free is in parts, and a tile alone may take a fifth less than among others
_MOST = 64


class Cropped(Protocol):
    """What is cut from a picture."""

    @property
    def crop(self) -> Box:
        """Where it is cut from."""


P = TypeVar("P", bound=Cropped)
R = TypeVar("R")


def in_batches(
    pieces: Sequence[P], work: Callable[[Sequence[P]], R], size: int | None, device: torch.device
) -> Iterator[tuple[Sequence[P], R]]:
    """Pieces in batches, each with what `work` made of it; a batch's crops have one size.

    At most `size` are in a batch. None, for a graphics card alone, is what its memory allows: the largest piece goes
    by itself, and the memory that it takes tells how many pixels fit together. Where memory runs out, a batch is halved
    and done again, and none that follow have more pixels.

    Raises:
        torch.OutOfMemoryError: if it runs out on one piece alone.
    """
    left = list(pieces) if size == 1 else sorted(pieces, key=_shape, reverse=True)  # the largest tells
    room: float = math.inf  # pixels
    while left:
        measured = size is None and room == math.inf
        pixels = math.prod(_shape(left[0]))
        batch = _first_alike(left, 1 if measured else max(1, int(min(size or _MOST, room / pixels))))
        used = _MemoryUse(device) if measured else None
        try:
            made = work(batch)
        except torch.OutOfMemoryError:
            if len(batch) == 1:
                raise
            room = (len(batch) + 1) // 2 * pixels
            continue
        room = used.room() * pixels if used else room
        del left[: len(batch)]
        yield batch, made


def _shape(piece: Cropped) -> tuple[int, int]:
    return piece.crop.height, piece.crop.width


def _first_alike(pieces: Sequence[P], most: int) -> Sequence[P]:
    """The first piece and those after it that are of its size."""
    count = next((i for i, piece in enumerate(pieces[:most]) if _shape(piece) != _shape(pieces[0])), most)
    return pieces[:count]


class _MemoryUse:
    """How much memory of a graphics card is taken from here on, at the most."""

    def __init__(self, device: torch.device) -> None:
        torch.cuda.reset_peak_memory_stats(device)
        self._device, self._before = device, torch.cuda.memory_allocated(device)

    def room(self) -> int:
        """How often the same would fit into what is free now."""
        used = torch.cuda.max_memory_allocated(self._device) - self._before
        idle = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        free = torch.cuda.mem_get_info(self._device)[0] + idle
        return max(1, int(_SHARE * free / max(1, used)))
