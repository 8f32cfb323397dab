"""The built-in net: a small convolutional net that was trained to be dreamed with.

Input: NCHW float, normalised with ImageNet's mean and standard deviation. Output: (N, 1000) ImageNet logits. Stages are
named by their stride in pixels: `stem` 2, `mix4*` 4, `mix8*` 8, `mix16a` 16; then come the classes' `logits` and, what
of them is above 0, `scores`. Layers are plain convolutions with biases; nothing here reads a file (the weights beside
this module are loaded by `dreamjobs.nets`).

Blocks reduce, then branch, after SqueezeNet's fire modules (Iandola et al. 2016), and from `mix8a` on have their sizes.
As there, the first convolution and the pools do not pad. The stem's window is a multiple of its stride, so every pixel
is seen equally often and gradients carry no chequerboard (Odena et al. 2016).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ConvReLU(nn.Module):
    """A convolution, which keeps the size unless its stride and padding are given, then a ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, padding: int | None = None) -> None:
        super().__init__()
        padding = kernel // 2 if padding is None else padding
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=padding)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.conv(x))  # type: ignore[no-any-return]


class Mix(nn.Module):
    """Few channels, then branches that see 1 x 1 (`near`) and 3 x 3 positions (`mid`), their channels side by side."""

    def __init__(self, inputs: int, reduced: int, near: int, mid: int) -> None:
        super().__init__()
        self.outputs = near + mid
        self.reduce = ConvReLU(inputs, reduced, 1)
        self.near = ConvReLU(reduced, near, 1)
        self.mid = ConvReLU(reduced, mid, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.reduce(x)
        return torch.cat([self.near(x), self.mid(x)], 1)


class DreamNet(nn.Module):
    """The built-in net. `forward` is the mean of the `scores` map; a picture needs 22 pixels a side."""

    class_layer = "logits"  # a map, dreamed by tiles like any layer; before its ReLU a class that is absent has a slope

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvReLU(3, 32, 6, stride=2, padding=0)
        self.pool4 = nn.MaxPool2d(3, stride=2)
        self.mix4a = Mix(32, 16, 32, 32)
        self.mix4b = Mix(64, 16, 32, 32)
        self.mix4c = Mix(64, 32, 48, 64)
        self.pool8 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.mix8a = Mix(112, 32, 128, 128)
        self.mix8b = Mix(256, 48, 192, 192)
        self.mix8c = Mix(384, 48, 192, 192)
        self.mix8d = Mix(384, 64, 256, 256)
        self.pool16 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.mix16a = Mix(512, 64, 256, 256)
        self.logits = nn.Conv2d(512, 1000, 1)
        self.scores = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.mix4c(self.mix4b(self.mix4a(self.pool4(self.stem(x)))))
        x = self.mix8d(self.mix8c(self.mix8b(self.mix8a(self.pool8(x)))))
        x = self.mix16a(self.pool16(x))
        return self.scores(self.logits(x)).mean((2, 3))  # type: ignore[no-any-return]
