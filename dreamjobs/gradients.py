"""What is done to a gradient before it is used: smoothing, then one normalisation over the whole picture.

Gradients are (N, 3, h, w) float32, of any scale in and of about unit strength out.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

_TINY = 1e-30  # far under any gradient float32 can carry usefully; keeps a gradient of zeros at zero

_STRENGTH: dict[str, Callable[[Tensor], Tensor]] = {
    "mean_abs": lambda gradient: gradient.abs().mean(),
    "std": lambda gradient: gradient.std(correction=0),
    "rms": lambda gradient: gradient.square().mean().sqrt(),
}


def normalize(gradient: Tensor, how: str) -> Tensor:
    """The gradient over its own strength: `mean_abs` is g / mean|g| (Mordvintsev et al. 2015)."""
    # Squares of a faint gradient would underflow, so that the largest value is brought to 1 first.
    scaled = gradient / gradient.abs().amax().clamp_min(_TINY)
    return scaled / _STRENGTH[how](scaled).clamp_min(_TINY)


def smooth(gradient: Tensor, sigma: float) -> Tensor:
    """The mean of three Gaussian blurs, of sigma / 2, sigma and 2 * sigma pixels; sigma 0 changes nothing.

    Blurs of several widths keep coarse and fine detail alike (Hvass Pedersen's DeepDream tutorial, 2016).
    """
    if sigma == 0:
        return gradient
    return torch.stack([_blur(gradient, sigma * factor) for factor in (0.5, 1.0, 2.0)]).mean(dim=0)


def _blur(gradient: Tensor, sigma: float) -> Tensor:
    radius = max(1, math.ceil(3 * sigma))
    steps = torch.arange(-radius, radius + 1, device=gradient.device, dtype=gradient.dtype)
    taps = torch.exp(-0.5 * (steps / sigma) ** 2)
    taps = taps / taps.sum()
    channels = gradient.shape[1]
    for shape, padding in (((1, 1, -1, 1), (0, 0, radius, radius)), ((1, 1, 1, -1), (radius, radius, 0, 0))):
        kernel = taps.view(shape).expand(channels, *(-1,) * 3)
        gradient = F.conv2d(F.pad(gradient, padding, mode="replicate"), kernel, groups=channels)
    return gradient
