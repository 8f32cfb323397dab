"""A video's last dream moved along with what it was dreamed on: optical flow between two photographs.

Flow: DIS (Kroeger, Timofte, Dai, Van Gool: Fast Optical Flow using Dense Inverse Search, 2016), as OpenCV has it. Where
flow cannot be believed, the new photograph shows instead of the old dream, as Ruder, Dosovitskiy and Brox (Artistic
style transfer for videos, 2016) do: where forward and backward flow disagree (Sundaram, Brox, Keutzer: Dense point
trajectories by GPU-accelerated large displacement optical flow, 2010). Here also where a thing comes from outside the
picture, or its colours changed.

Pictures are (1, 3, h, w) RGB in [0, 1]. Flow is in pixels, the channels of (1, 2, h, w) being x and y: OpenCV and torch
both have it so. Takes the package opencv-python-headless.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dreamjobs.errors import ImageError

_LONGER_SIDE = 1024
_LEAST_SIDE = 32  # DIS takes patches of 8 pixels, and smaller pictures on its coarser scales
_LUMA = (0.2126, 0.7152, 0.0722)  # ITU-R BT.709
# Sundaram's bound on the squared disagreement: a share of the squared lengths, and a constant in square pixels.
_SHARE, _CONSTANT = 0.01, 0.5
_CHANGE = 0.06  # mean difference of the colours over 5 x 5 pixels; noise and compression stay below


@dataclass(frozen=True)
class _Motion:
    """Where each pixel came from (1, 2, h, w), and how far that is believed (1, 1, h, w), 0 to 1."""

    back: Tensor
    trust: Tensor


def warp_along_flow(dreamed: Tensor, before: Tensor, now: Tensor) -> Tensor:
    """The dream of the photograph `before`, moved to where its things are in the photograph `now`.

    All are (1, 3, h, w) in [0, 1], and so is the result, on the dream's device. Flow is found on the CPU, at most 1024
    pixels on the longer side, and scaled up. The dream is sampled bicubically, because a video moves it again at every
    frame and a bilinear one would blur away. The same pictures give the same values to the last bit on a CPU.

    Raises:
        ImageError: if the sizes differ, or the package opencv-python-headless is missing.
    """
    sizes = [tuple(picture.shape[2:]) for picture in (dreamed, before, now)]
    if len(set(sizes)) > 1:
        raise ImageError(f"sizes (h, w) of the dream and the two photographs differ: {sizes}; resize them to one size")
    height, width = sizes[0]
    motion = _motion(before, now)
    rows, columns = motion.back.shape[2:]
    scale = torch.tensor([width / columns, height / rows]).view(1, 2, 1, 1)
    back = _resize(motion.back * scale, (height, width)).to(dreamed.device)
    trust = _resize(motion.trust, (height, width)).to(dreamed.device)
    moved = _sample(dreamed, back, "bicubic").clamp(0, 1)
    return torch.lerp(now.to(dreamed.device), moved, trust)


def _motion(before: Tensor, now: Tensor) -> _Motion:
    """Motion between two photographs, at the size at which it is looked for."""
    scale = min(1.0, _LONGER_SIDE / max(now.shape[2:]))
    size = [max(_LEAST_SIDE, round(side * scale)) for side in now.shape[2:]]
    before, now = (_resize(picture.detach().cpu().float(), size) for picture in (before, now))
    with _one_thread() as cv2:
        finder = _finder(cv2)
        back = _flow(finder, now, before)
        forth = _flow(finder, before, now)
    return _Motion(back, _trust(back, forth, before, now))


@contextmanager
def _one_thread() -> Iterator[Any]:
    """OpenCV with one thread: DIS shares out rows among its threads, and their number shows in the flow."""
    try:
        import cv2
    except ImportError as error:
        raise ImageError(
            f"optical flow takes the package opencv-python-headless, which cannot be imported ({error}): "
            '`pip install "dreamjobs[video]"`'
        ) from None
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield cv2
    finally:
        cv2.setNumThreads(threads)


def _finder(cv2: Any) -> Any:
    """DIS in its most careful ready-made setting, and down to single pixels, which that leaves out."""
    finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    finder.setFinestScale(0)
    return finder


def _flow(finder: Any, start: Tensor, end: Tensor) -> Tensor:
    """Flow (1, 2, h, w): what is at p in `start` is at p + flow(p) in `end`."""
    flow = finder.calc(_grey(start), _grey(end), None)
    return torch.from_numpy(np.ascontiguousarray(flow.transpose(2, 0, 1)))[None]


def _grey(picture: Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Brightness (h, w) in 256 levels."""
    luma = (picture[0] * torch.tensor(_LUMA).view(3, 1, 1)).sum(0)
    return (luma * 255).round().clamp(0, 255).to(torch.uint8).numpy()


def _trust(back: Tensor, forth: Tensor, before: Tensor, now: Tensor) -> Tensor:
    """How far the backward flow is believed (1, 1, h, w): 1 up to each bound, 0 from twice the bound on."""
    there = _sample(forth, back, "bilinear")
    lengths = back.square().sum(1, keepdim=True) + there.square().sum(1, keepdim=True)
    disagreement = (back + there).square().sum(1, keepdim=True) / (_SHARE * lengths + _CONSTANT)
    change = (_sample(before, back, "bilinear") - now).abs().mean(1, keepdim=True)
    worst = torch.maximum(disagreement, _smooth(change) / _CHANGE)
    return _smooth((2 - worst).clamp(0, 1) * _inside(back))


def _inside(back: Tensor) -> Tensor:
    """1 where a pixel came from inside the picture, 0 from more than a pixel outside."""
    rows, columns = back.shape[2:]
    most = torch.tensor([columns - 1.0, rows - 1.0]).view(1, 2, 1, 1)
    source = _positions(back) + back
    outside = torch.maximum(-source, source - most).amax(1, keepdim=True)
    return (1 - outside.clamp(0, 1)).to(back.dtype)


def _smooth(plane: Tensor) -> Tensor:
    """Means of 5 x 5 pixels; at the edges, of those there are."""
    return F.avg_pool2d(plane, 5, stride=1, padding=2, count_include_pad=False)


def _sample(picture: Tensor, offsets: Tensor, mode: str) -> Tensor:
    """The picture read at every pixel's position plus its offset; outside, its nearest edge."""
    height, width = picture.shape[2:]
    last = torch.tensor([max(1, width - 1), max(1, height - 1)], device=picture.device).view(1, 2, 1, 1)
    grid = ((_positions(offsets) + offsets) * 2 / last - 1).permute(0, 2, 3, 1)
    return F.grid_sample(picture, grid.to(picture.dtype), mode=mode, padding_mode="border", align_corners=True)


def _positions(like: Tensor) -> Tensor:
    """x and y of every pixel (1, 2, h, w)."""
    rows, columns = (torch.arange(side, dtype=torch.float32, device=like.device) for side in like.shape[2:])
    return torch.stack(torch.meshgrid(columns, rows, indexing="xy"))[None]


def _resize(planes: Tensor, size: tuple[int, ...] | list[int]) -> Tensor:
    """Bilinear, with a low-pass filter on the way down; no work if the size is the same."""
    if list(planes.shape[2:]) == list(size):
        return planes
    return F.interpolate(planes, list(size), mode="bilinear", antialias=True, align_corners=False)
