"""The built-in net: a small Inception-like convolutional net that was trained to be dreamed with.

Input: NCHW float, normalised with ImageNet's mean and standard deviation. Output: (N, 1000) ImageNet logits. Stages are
named by their stride in pixels: `stem` 2, `mix4*` 4, `mix8*` 8, `mix16*` 16, `logits` 16. Layers are plain convolutions
with biases; nothing here reads a file (the weights beside this module are loaded by `dreamjobs.nets`).

Branches follow Szegedy et al. 2015; the pools are max pools without aliasing (Zhang 2019), and the stem's window is a
multiple of its stride, so every pixel is seen equally often and gradients carry no chequerboard (Odena et al. 2016).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ConvReLU(nn.Module):
    """A convolution that keeps the size (at stride 1), then a ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.conv(x))  # type: ignore[no-any-return]


class SmoothPool(nn.Module):
    """Halve height and width (rounding up): the maximum of 2 x 2 at every position, then the mean of 2 x 2."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = nn.MaxPool2d(2, stride=1, padding=1)
        self.mean = nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.mean(self.peak(x))  # type: ignore[no-any-return]


class Mix(nn.Module):
    """Branches that see 1 x 1, 3 x 3 and, where `wide` has channels, 5 x 5 positions; their channels side by side.

    `near` is the output of the 1 x 1 branch; `mid` and `wide` are (reduced, output) channels of the others.
    """

    def __init__(self, inputs: int, near: int, mid: tuple[int, int], wide: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.near = ConvReLU(inputs, near, 1)
        self.mid = nn.Sequential(ConvReLU(inputs, mid[0], 1), ConvReLU(mid[0], mid[1], 3))
        self.wide = nn.Sequential(ConvReLU(inputs, wide[0], 1), ConvReLU(wide[0], wide[1], 5)) if wide else None
        self.outputs = near + mid[1] + (wide[1] if wide else 0)

    def forward(self, x: Tensor) -> Tensor:
        branches = [self.near(x), self.mid(x)]
        if self.wide is not None:
            branches.append(self.wide(x))
        return torch.cat(branches, 1)


class DreamNet(nn.Module):
    """The built-in net. `forward` is the mean of the `logits` map, so any picture of 16 pixels or more will do."""

    class_layer = "logits"  # a map: a class is dreamed by tiles like any layer

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvReLU(3, 32, 6, 2)
        self.pool4 = nn.MaxPool2d(2)
        self.mix4a = Mix(32, 32, (24, 32))
        self.mix4b = Mix(64, 48, (32, 64))
        self.pool8 = SmoothPool()
        self.mix8a = Mix(112, 64, (64, 96), (16, 32))
        self.mix8b = Mix(192, 64, (64, 96))
        self.mix8c = Mix(160, 64, (64, 96))
        self.mix8d = Mix(160, 96, (64, 128))
        self.pool16 = SmoothPool()
        self.mix16a = Mix(224, 112, (80, 160), (32, 64))
        self.mix16b = Mix(336, 128, (96, 192), (32, 64))
        self.logits = nn.Conv2d(384, 1000, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mix4b(self.mix4a(self.pool4(self.stem(x))))
        x = self.mix8d(self.mix8c(self.mix8b(self.mix8a(self.pool8(x)))))
        x = self.mix16b(self.mix16a(self.pool16(x)))
        return self.logits(x).mean((2, 3))  # type: ignore[no-any-return]
