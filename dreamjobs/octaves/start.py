"""What a dream starts from, the sizes it goes through, and what of the photograph is kept.

Pictures are (1, 3, h, w) float32 RGB in [0, 1], photographs also of 8 or 16 bits, masks (1, 1, h, w) in [0, 1], sizes
(h, w). Noise is computed on the CPU by one thread, whatever the device, so that a seed gives the same noise everywhere.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dreamjobs.errors import ParamsError
from dreamjobs.octaves.pictures import resize, size_of, unit
from dreamjobs.params import DreamParams
from dreamjobs.sizes import Size

_NOISE_WIDTH = 0.3  # of the uniform noise about mid grey: a standard deviation of 0.087
_NATURAL_STD = 0.15
_TINY = 1e-12

# Square root (Cholesky) of the colour covariance of photographs over the mean variance of their channels. Measured on
# 8 photographs (mean of their covariances): astronaut, coffee, chelsea and rocket of scikit-image, flowers and
# sky1024px of google/deepdream, golden_gate and green_bridge of gordicaleksa/pytorch-deepdream. The covariance is
#     1.07 0.90 0.74
#     0.90 0.97 0.87
#     0.74 0.87 0.96
_COLORS = ((1.034, 0.0, 0.0), (0.870, 0.462, 0.0), (0.715, 0.536, 0.401))

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def starting_picture(photograph: Tensor | None, params: DreamParams, generator: torch.Generator) -> Tensor:
    """The picture to dream upon: the photograph itself, noise, or both mixed.

    Noise has the size `params.size`, else the photograph's; a blend has the photograph's. It lies on the photograph's
    device. `image` draws nothing from the generator, and leaves the photograph with the samples that it has.

    Raises:
        ParamsError: if there is no photograph where one is needed, for its pixels or its size.
    """
    if params.start in ("noise", "natural"):
        size = parse_size(params.size) if params.size else size_of(_needed(photograph, params))
        noise = (_plain if params.start == "noise" else _natural)(size, generator)
        return noise if photograph is None else noise.to(photograph.device)
    picture = _needed(photograph, params)
    if params.start == "image":
        return picture
    noise = _natural(size_of(picture), generator).to(picture.device)
    return (1 - params.noise) * unit(picture) + params.noise * noise


def parse_size(text: str) -> Size:
    """The size (h, w) that `512` or `512x768` stands for.

    Raises:
        ParamsError: if it is neither.
    """
    sides = text.split("x")
    if len(sides) > 2 or not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise ParamsError(f"size: {text!r} is refused; allowed is a side or height x width in pixels: 512 or 512x768")
    return int(sides[0]), int(sides[-1])


def keep_luminance(dreamed: Tensor, photograph: Tensor) -> Tensor:
    """The dream's brightness with the photograph's colours: Y of one, Cb and Cr of the other (YCbCr, BT.601).

    The photograph, of whatever samples, is resized to the dream. Out of [0, 1] is clamped.
    """

    def plane(channel: int) -> Tensor:  # of the photograph; all of it as floats may not fit into memory
        return resize(photograph[:, channel : channel + 1], size_of(dreamed)).to(dreamed.device)

    # With Cb and Cr held, red, green and blue all change by what Y changes by.
    bright, was = _luma(lambda channel: dreamed[:, channel : channel + 1]), _luma(plane)
    kept = torch.empty_like(dreamed)
    for channel in range(3):
        kept[:, channel : channel + 1] = (plane(channel) + bright - was).clamp_(0, 1)
    return kept


def mask_at(mask: Tensor, size: Size) -> Tensor:
    """The mask (1, 1, h, w) at an octave's size, in [0, 1]: bilinear, with a low-pass filter on the way down."""
    if size_of(mask) != size:
        mask = F.interpolate(mask, size, mode="bilinear", antialias=True, align_corners=False)
    return mask.clamp(0, 1)


def _needed(photograph: Tensor | None, params: DreamParams) -> Tensor:
    if photograph is None:
        raise ParamsError(f"start: `{params.start}` needs a photograph; `noise` or `natural` with a `size` needs none")
    return photograph


def _luma(plane: Callable[[int], Tensor]) -> Tensor:
    """Brightness (N, 1, h, w) of RGB, given by channel."""
    return _LUMA[0] * plane(0) + _LUMA[1] * plane(1) + _LUMA[2] * plane(2)


def _plain(size: Size, generator: torch.Generator) -> Tensor:
    """Faint noise about mid grey, each value on its own."""
    return 0.5 + _NOISE_WIDTH * (torch.rand(1, 3, *size, generator=generator) - 0.5)


def _natural(size: Size, generator: torch.Generator) -> Tensor:
    """Noise with the statistics of photographs: amplitude 1 / f, correlated colours, mean 0.5, deviation 0.15.

    That amplitude falls as 1 / f in photographs is Field's (1987); noise of it as a start of feature pictures is Olah
    et al. 2017. It is clamped to [0, 1], which few pixels need.
    """
    planes = [_pink(plane) for plane in torch.rand(3, *size, generator=generator).numpy()]
    colored = np.stack([_sum(weights, planes) for weights in _COLORS])
    return torch.from_numpy((0.5 + _NATURAL_STD * colored).astype(np.float32))[None].clamp(0, 1)


def _sum(weights: Sequence[float], planes: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    # Term by term: a matrix product is shared out among threads, and rounds as they divide it.
    total = np.zeros_like(planes[0])
    for weight, plane in zip(weights, planes, strict=True):
        total += weight * plane
    return total


def _pink(white: NDArray[np.float32]) -> NDArray[np.float64]:
    """White noise (h, w) with its spectrum divided by frequency: mean 0, deviation 1 (0 where there is one pixel)."""
    height, width = white.shape
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    frequency[0, 0] = np.inf
    found = np.fft.irfft2(np.fft.rfft2(white.astype(np.float64)) / frequency, s=(height, width))
    return np.asarray(found / max(float(found.std()), _TINY))
