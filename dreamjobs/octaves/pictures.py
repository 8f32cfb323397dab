"""Pictures as tensors: their samples as floats, their size, and how they are resized.

Pictures are (1, 3, h, w): float32 in [0, 1], or uint8 or uint16, of which full scale is 1. A large photograph stays as
it was decoded, a quarter or half of the memory, and becomes floats a channel at a time where that will do.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from dreamjobs.errors import ImageError
from dreamjobs.sizes import Size

_FULL_SCALE = {torch.uint8: 255.0, torch.uint16: 65_535.0}


def check_samples(picture: Tensor) -> None:
    """Raise ImageError for a picture of other than floats, uint8 or uint16."""
    if not picture.is_floating_point() and picture.dtype not in _FULL_SCALE:
        raise ImageError(
            f"a picture of {picture.dtype} is refused; allowed are floats in [0, 1], and torch.uint8 or torch.uint16, "
            "of which full scale is 1"
        )


def unit(picture: Tensor) -> Tensor:
    """The samples as float32 in [0, 1]; a picture of float32 is given back itself."""
    full = _FULL_SCALE.get(picture.dtype)
    if full is None:
        return picture.float()
    floats = picture.to(torch.float32, memory_format=torch.contiguous_format)
    return floats.div_(floats.new_tensor(full))  # by a tensor: a card multiplies by a number's rounded reciprocal


def size_of(picture: Tensor) -> Size:
    """(h, w)."""
    height, width = picture.shape[2:]
    return height, width


def resize(picture: Tensor, size: Size) -> Tensor:
    """As float32: bicubic, with a low-pass filter on the way down; float32 of that size is given back itself.

    Channel by channel: what is held on the way, larger than the picture, is a third.
    """
    if size_of(picture) == size:
        return unit(picture)
    found = picture.new_empty(*picture.shape[:2], *size, dtype=torch.float32)
    for plane, made in zip(torch.split(picture, 1, 1), torch.split(found, 1, 1), strict=True):
        made.copy_(F.interpolate(unit(plane), size, mode="bicubic", antialias=True))
    return found


def pad(picture: Tensor, least: int) -> Tensor:
    """The picture if both sides have `least` pixels, or as float32 with its last row and column repeated to that."""
    below, right = (max(0, least - side) for side in size_of(picture))
    if not below and not right:
        return picture
    return F.pad(unit(picture), (0, right, 0, below), mode="replicate")
