"""Where a tile is dreamed: its crop, with room around it for the mirror image that is seen beyond the picture's edge.

Side by side they are seen without a copy, and the room stays for the next tile: memory that is new to a process costs
more than to write to it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from dreamjobs.sizes import Size
from dreamjobs.tiles import Box, Span


@dataclass(frozen=True)
class Along:
    """What is seen of a crop along one axis: its part `inner`, and so many pixels of mirror image before and after."""

    inner: Span
    before: int
    after: int

    @property
    def shown(self) -> Span:
        """Where `inner` lies in what is seen."""
        return self.inner.moved(self.before - self.inner.start)

    @property
    def seen(self) -> Span:
        """What is seen, counted from where the crop begins."""
        return Span(self.inner.start - self.before, self.inner.stop + self.after)


class Canvas:
    """Room for crops that are seen at one size, `view` (h, w), each with up to `margin` pixels around it.

    crop: (1, 3, h, w) float32, the last that was put; steps change it in place.
    """

    def __init__(self, view: Size, margin: int, device: torch.device) -> None:
        self.view, self.margin = view, margin
        self._pixels = torch.empty(1, 3, view[0] + 2 * margin, view[1] + 2 * margin, device=device)
        self.crop = self._pixels[..., :0, :0]

    def put(self, crop: Tensor) -> None:
        """Begin with another crop (1, 3, h, w), no larger than the view."""
        height, width = crop.shape[2:]
        self.crop = self._at(Box(Span(0, height), Span(0, width)))
        self.crop.copy_(crop)

    def seen(self, rows: Along, columns: Along) -> Tensor:
        """What a step sees, in the canvas's own memory; the mirror image is that of the crop as it is now."""
        for dim, along in ((2, rows), (3, columns)):
            self._mirror(dim, along)
        return self._at(Box(rows.seen, columns.seen))

    def _mirror(self, dim: int, along: Along) -> None:
        """Lay the crop's mirror image before and after it; the outermost row or column is not repeated."""
        start = self.margin
        stop = start + self.crop.shape[dim]
        for at, source, count in (
            (start - along.before, start + 1, along.before),
            (stop, stop - 1 - along.after, along.after),
        ):
            if count:
                image = self._pixels.narrow(dim, source, count).flip(dim)
                self._pixels.narrow(dim, at, count).copy_(image)

    def _at(self, box: Box) -> Tensor:
        return self._pixels[..., *Box(box.y.moved(self.margin), box.x.moved(self.margin)).slices]
