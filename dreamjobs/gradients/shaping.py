"""What is done to one gradient: smoothing, then one normalisation over the whole picture.

Gradients are (N, 3, h, w) float32, of any scale in and of about unit strength out. Beyond the edge a gradient is taken
to go on as it is at the edge, so that a constant one stays constant.
"""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from dreamjobs.params import DreamParams

_TINY = 1e-30  # far under any gradient float32 can carry usefully; keeps a gradient of zeros at zero
_FLAT = 1e-6  # a band this faint beside the gradient's largest value is rounding, not to be made loud
_BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)  # Burt and Adelson's generating kernel, a = 3/8

_AT_ONCE = 2**20  # numbers; of a large gradient no second one is made


def shape(gradient: Tensor, params: DreamParams, step: int) -> Tensor:
    """The gradient of step `step` (0 is an octave's first), smoothed, then normalised as the parameters say.

    The gradient handed in may be overwritten: a second one of a large picture would not fit beside it.
    """
    gradient = _smooth_in_place(gradient, sigma_at(params, step))
    if params.normalize == "laplacian":
        return _laplacian_in_place(gradient, params.laplacian_levels)
    return _normalize_in_place(gradient, params.normalize)


def sigma_at(params: DreamParams, step: int) -> float:
    """How wide a step's gradient is blurred, in pixels: `smooth`'s sigma.

    It grows in even parts from `smoothing` to `smoothing + smoothing_growth` at the last step of an octave: a cascade
    of Gaussians (Hvass Pedersen 2016) whose width grows as in pytorch-deepdream (Gordić 2020).
    """
    return params.smoothing + params.smoothing_growth * (step + 1) / params.steps


def normalize(gradient: Tensor, how: str) -> Tensor:
    """The gradient over its own strength: `mean_abs` is g / mean|g| (Mordvintsev et al. 2015)."""
    return _normalize_in_place(gradient.clone(), how)


def _normalize_in_place(gradient: Tensor, how: str) -> Tensor:
    gradient.div_(_largest(gradient))
    return gradient.div_(_STRENGTH[how](gradient).clamp_min(_TINY))


# Sums are taken in parts: a norm's own, of millions of numbers in float32, comes out up to a thousandth too small.
def _mean_abs(gradient: Tensor) -> Tensor:
    parts = [part.abs().sum() for part in torch.split(gradient.flatten(), _AT_ONCE)]
    return torch.stack(parts).sum() / gradient.numel()


def _rms(gradient: Tensor) -> Tensor:
    rows: Tensor = torch.linalg.vector_norm(gradient, dim=3)
    return (rows.square().sum() / gradient.numel()).sqrt()


_STRENGTH: dict[str, Callable[[Tensor], Tensor]] = {
    "mean_abs": _mean_abs,
    "std": lambda gradient: gradient.std(correction=0),
    "rms": _rms,
}


def laplacian(gradient: Tensor, levels: int) -> Tensor:
    """The gradient with all its scales equally strong; mean|g| is 1, as after `mean_abs`.

    It is split into at most `levels` bands of a Laplacian pyramid (Burt and Adelson 1983), each is divided by its own
    standard deviation, and they are merged (the deepdream notebook of TensorFlow, Mordvintsev 2015).
    """
    return _laplacian_in_place(gradient.clone(), levels)


def _laplacian_in_place(gradient: Tensor, levels: int) -> Tensor:
    bands = _split_in_place(gradient.div_(_largest(gradient)), levels)
    for band in bands:
        band.div_(band.std(correction=0).clamp_min(_FLAT))
    return _normalize_in_place(_merge_in_place(bands), "mean_abs")


def split(gradient: Tensor, levels: int) -> list[Tensor]:
    """The bands of a Laplacian pyramid, fine to coarse, each half the size of the last, rounded up.

    The last is the rest, what is coarser than all others; one level is the gradient itself. There are fewer than
    `levels` where a side is shorter than the filter, 5 pixels.
    """
    return _split_in_place(gradient.clone(), levels)


def _split_in_place(gradient: Tensor, levels: int) -> list[Tensor]:
    bands: list[Tensor] = []
    while len(bands) < levels - 1 and min(gradient.shape[2:]) >= len(_BINOMIAL):
        coarse = torch.cat([_reduce(plane) for plane in _planes(gradient)], 1)
        for plane, below in zip(_planes(gradient), _planes(coarse), strict=True):
            plane.sub_(_expand(below, plane.shape[2:]))
        bands.append(gradient)
        gradient = coarse
    return [*bands, gradient]


def merge(bands: Sequence[Tensor]) -> Tensor:
    """The gradient that has these bands: `merge(split(g, n))` is g."""
    return _merge_in_place([band.clone() for band in bands])


def _merge_in_place(bands: Sequence[Tensor]) -> Tensor:
    merged = bands[-1]
    for band in reversed(bands[:-1]):
        for plane, below in zip(_planes(band), _planes(merged), strict=True):
            plane.add_(_expand(below, plane.shape[2:]))
        merged = band
    return merged


def smooth(gradient: Tensor, sigma: float) -> Tensor:
    """The mean of three Gaussian blurs, of sigma / 2, sigma and 2 * sigma pixels; sigma 0 changes nothing.

    Blurs of several widths keep coarse and fine detail alike (Hvass Pedersen's DeepDream tutorial, 2016).
    """
    return gradient if sigma == 0 else _smooth_in_place(gradient.clone(), sigma)


def _smooth_in_place(gradient: Tensor, sigma: float) -> Tensor:
    for plane in _planes(gradient) if sigma else ():
        total = _blur(plane, sigma * 0.5)
        for factor in (1.0, 2.0):
            total.add_(_blur(plane, sigma * factor))
        plane.copy_(total.div_(3))
    return gradient


def _largest(gradient: Tensor) -> Tensor:
    """What a gradient is divided by before it is squared: squares of a faint one would underflow."""
    low, high = torch.aminmax(gradient)  # the norm that is the same takes twenty times as long
    return torch.maximum(-low, high).clamp_min(_TINY)


def _blur(gradient: Tensor, sigma: float) -> Tensor:
    radius = max(1, math.ceil(3 * sigma))
    taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
    return _filter(gradient, (taps / taps.sum()).tolist())


def _planes(gradient: Tensor) -> list[Tensor]:
    """The channels (N, 1, h, w), in the same memory: what is done to one at a time takes a third of the room."""
    return [gradient[:, channel : channel + 1] for channel in range(gradient.shape[1])]


def _reduce(gradient: Tensor) -> Tensor:
    """Half the size, rounded up: blurred, then every second row and column."""
    return _filter(gradient, _BINOMIAL, stride=2)


def _expand(coarse: Tensor, size: Sequence[int]) -> Tensor:
    """The picture of `size` (h, w) whose half is `coarse`: zeros between its pixels, then blurred."""
    padded = F.pad(coarse, (1, 1, 1, 1), mode="replicate")
    height, width = padded.shape[2:]
    spread = padded.new_zeros(*padded.shape[:2], 2 * height, 2 * width)
    spread[..., ::2, ::2] = padded
    blurred = _filter(spread, [2 * tap for tap in _BINOMIAL])
    return blurred[..., 2 : 2 + size[0], 2 : 2 + size[1]]


def _filter(gradient: Tensor, taps: Sequence[float], stride: int = 1) -> Tensor:
    """Each channel filtered by the same taps down and across, keeping every `stride`-th row and column.

    A sum of shifted pictures: a convolution makes as many copies of the picture as there are taps.
    """
    radius = len(taps) // 2
    for axis, padding in ((2, (0, 0, radius, radius)), (3, (radius, radius, 0, 0))):
        length, padded = gradient.shape[axis], F.pad(gradient, padding, mode="replicate").movedim(axis, 0)
        gradient = padded[0:length:stride] * taps[0]
        for place, tap in enumerate(taps[1:], 1):
            gradient.add_(padded[place : place + length : stride], alpha=tap)
        gradient = gradient.movedim(0, axis)
    return gradient
