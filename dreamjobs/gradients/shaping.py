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

# Norms, since they need no second picture in memory.
_STRENGTH: dict[str, Callable[[Tensor], Tensor]] = {
    "mean_abs": lambda gradient: torch.linalg.vector_norm(gradient, 1) / gradient.numel(),
    "std": lambda gradient: gradient.std(correction=0),
    "rms": lambda gradient: torch.linalg.vector_norm(gradient) / math.sqrt(gradient.numel()),
}


def shape(gradient: Tensor, params: DreamParams, step: int) -> Tensor:
    """The gradient of step `step` (0 is an octave's first), smoothed, then normalised as the parameters say.

    The gradient handed in may be overwritten: a second one of a large picture would not fit beside it.
    """
    gradient = smooth(gradient, sigma_at(params, step))
    if params.normalize == "laplacian":
        return laplacian(gradient, params.laplacian_levels)
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


def laplacian(gradient: Tensor, levels: int) -> Tensor:
    """The gradient with all its scales equally strong; mean|g| is 1, as after `mean_abs`.

    It is split into at most `levels` bands of a Laplacian pyramid (Burt and Adelson 1983), each is divided by its own
    standard deviation, and they are merged (the deepdream notebook of TensorFlow, Mordvintsev 2015).
    """
    bands = split(gradient / _largest(gradient), levels)
    return _normalize_in_place(merge([band / band.std(correction=0).clamp_min(_FLAT) for band in bands]), "mean_abs")


def split(gradient: Tensor, levels: int) -> list[Tensor]:
    """The bands of a Laplacian pyramid, fine to coarse, each half the size of the last, rounded up.

    The last is the rest, what is coarser than all others; one level is the gradient itself. There are fewer than
    `levels` where a side is shorter than the filter, 5 pixels.
    """
    bands: list[Tensor] = []
    while len(bands) < levels - 1 and min(gradient.shape[2:]) >= len(_BINOMIAL):
        coarse = _reduce(gradient)
        bands.append(gradient - _expand(coarse, gradient.shape[2:]))
        gradient = coarse
    return [*bands, gradient]


def merge(bands: Sequence[Tensor]) -> Tensor:
    """The gradient that has these bands: `merge(split(g, n))` is g."""
    merged = bands[-1]
    for band in reversed(bands[:-1]):
        merged = band + _expand(merged, band.shape[2:])
    return merged


def smooth(gradient: Tensor, sigma: float) -> Tensor:
    """The mean of three Gaussian blurs, of sigma / 2, sigma and 2 * sigma pixels; sigma 0 changes nothing.

    Blurs of several widths keep coarse and fine detail alike (Hvass Pedersen's DeepDream tutorial, 2016).
    """
    if sigma == 0:
        return gradient
    return torch.stack([_blur(gradient, sigma * factor) for factor in (0.5, 1.0, 2.0)]).mean(dim=0)


def _largest(gradient: Tensor) -> Tensor:
    """What a gradient is divided by before it is squared: squares of a faint one would underflow."""
    largest: Tensor = torch.linalg.vector_norm(gradient, math.inf)
    return largest.clamp_min(_TINY)


def _blur(gradient: Tensor, sigma: float) -> Tensor:
    radius = max(1, math.ceil(3 * sigma))
    steps = torch.arange(-radius, radius + 1, device=gradient.device, dtype=gradient.dtype)
    taps = torch.exp(-0.5 * (steps / sigma) ** 2)
    return _filter(gradient, taps / taps.sum())


def _reduce(gradient: Tensor) -> Tensor:
    """Half the size, rounded up: blurred, then every second row and column."""
    return _filter(gradient, gradient.new_tensor(_BINOMIAL), stride=2)


def _expand(coarse: Tensor, size: Sequence[int]) -> Tensor:
    """The picture of `size` (h, w) whose half is `coarse`: zeros between its pixels, then blurred."""
    padded = F.pad(coarse, (1, 1, 1, 1), mode="replicate")
    height, width = padded.shape[2:]
    spread = padded.new_zeros(*padded.shape[:2], 2 * height, 2 * width)
    spread[..., ::2, ::2] = padded
    blurred = _filter(spread, 2 * spread.new_tensor(_BINOMIAL))
    return blurred[..., 2 : 2 + size[0], 2 : 2 + size[1]]


def _filter(gradient: Tensor, taps: Tensor, stride: int = 1) -> Tensor:
    """Each channel filtered by the same taps down and across, keeping every `stride`-th row and column."""
    channels, radius = gradient.shape[1], len(taps) // 2
    for sides, padding in (((1, 1, -1, 1), (0, 0, radius, radius)), ((1, 1, 1, -1), (radius, radius, 0, 0))):
        kernel = taps.view(sides).expand(channels, *(-1,) * 3)
        every = (stride if sides[2] == -1 else 1, stride if sides[3] == -1 else 1)
        gradient = F.conv2d(F.pad(gradient, padding, mode="replicate"), kernel, stride=every, groups=channels)
    return gradient
