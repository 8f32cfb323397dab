"""How the gradients of an octave's steps become changes: momentum, the size of each step, when to stop.

Gradients come in normalised, of about unit strength, and not shifted: what an optimizer remembers of a pixel must be of
that pixel. Changes go out at about unit strength too; the caller multiplies by `step_size` and `step_factor`.
"""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Literal

import torch
from torch import Tensor

_MOMENTUM = 0.9  # Adam's beta 1 too
_SQUARES = 0.999  # Adam's beta 2
_EPSILON = 1e-8
_WINDOW = 3


class Optimizer:
    """Turns one gradient after another into changes; remembers, so make a new one for each octave.

    `ascent`: the gradient itself. `momentum`: its running mean, v = 0.9 v + 0.1 g, over 1 - 0.9^t, so that the first
    change is the first gradient and a constant gradient is its own change. `adam`: that mean over the root of the
    running mean of squares (Kingma and Ba 2015, betas 0.9 and 0.999, both without bias).
    """

    def __init__(self, kind: Literal["ascent", "momentum", "adam"]) -> None:
        self._kind = kind
        self._mean = _RunningMean(_MOMENTUM)
        self._square = _RunningMean(_SQUARES)

    def step(self, gradient: Tensor) -> Tensor:
        """The change of a step of size 1, shaped as the gradient, which is left as it is."""
        if self._kind == "ascent":
            return gradient
        mean = self._mean.add(gradient)
        if self._kind == "momentum":
            return mean
        return mean / (self._square.add(gradient.square()).sqrt() + _EPSILON)


class _RunningMean:
    """The exponentially weighted mean of what was added; the weights sum to 1 from the first value on."""

    def __init__(self, decay: float) -> None:
        self._decay = decay
        self._total: Tensor | None = None
        self._weight = 0.0

    def add(self, value: Tensor) -> Tensor:
        if self._total is None:
            self._total = torch.zeros_like(value)
        self._total = self._decay * self._total + (1 - self._decay) * value
        self._weight = self._decay * self._weight + (1 - self._decay)
        return self._total / self._weight


def step_factor(schedule: Literal["constant", "linear", "cosine"], step: int, steps: int) -> float:
    """What step `step` of `steps` is multiplied by, in (0, 1]: 1 at step 0, and 0 would be reached at `steps`.

    `cosine` is half a wave, 0.5 * (1 + cos(pi * step / steps)) (Loshchilov and Hutter 2017, without restarts).
    """
    if schedule == "constant":
        return 1.0
    if schedule == "linear":
        return 1 - step / steps
    return 0.5 * (1 + math.cos(math.pi * step / steps))


def stalled(values: Sequence[float], share: float) -> bool:
    """Whether a step now raises the objective by no more than `share` of its size; share 0 is never.

    Random transforms make single values noisy, so that the mean of the last 3 is compared with the mean of the 3
    before, which lies 3 steps back: a step's rise is a third of the difference. Fewer than 6 values say nothing.
    """
    if share == 0 or len(values) < 2 * _WINDOW:
        return False
    before, now = fmean(values[-2 * _WINDOW : -_WINDOW]), fmean(values[-_WINDOW:])
    return (now - before) / _WINDOW <= share * abs(before)
