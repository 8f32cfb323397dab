"""The built-in net: a small convolutional net that was trained to be dreamed with.

Input: NCHW float, normalised with ImageNet's mean and standard deviation. Output: (N, 1000) ImageNet logits. Stages are
named by their stride in pixels: `stem` 2, `mix4*` 4, `mix8*` 8, `mix16a` 16, `logits` 16. Layers are plain convolutions
with biases; nothing here reads a file (the weights beside this module are loaded by `dreamjobs.nets`).

Blocks reduce, then branch, after SqueezeNet's fire modules (Iandola et al. 2016). The stem's window is a multiple of
its stride, so every pixel is seen equally often and gradients carry no chequerboard (Odena et al. 2016).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_unshuffle


class ConvReLU(nn.Module):
    """A convolution that keeps the size, then a ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.conv(x))  # type: ignore[no-any-return]


class Stem(nn.Module):
    """A 6 x 6 convolution of stride 2, written as 3 x 3 over blocks of 2 x 2 pixels: twice as fast on a CPU.

    Height and width are halved; an odd last row or column is dropped.
    """

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.mid = ConvReLU(12, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2] // 2 * 2, x.shape[3] // 2 * 2
        return self.mid(pixel_unshuffle(x[:, :, :height, :width], 2))  # type: ignore[no-any-return]


class Fuse(nn.Module):
    """Few channels, then one look at 3 x 3 positions: what costs least where maps are large."""

    def __init__(self, inputs: int, reduced: int, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.reduce = ConvReLU(inputs, reduced, 1)
        self.mid = ConvReLU(reduced, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.mid(self.reduce(x))  # type: ignore[no-any-return]


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
    """The built-in net. `forward` is the mean of the `logits` map, so any picture of 16 pixels or more will do."""

    class_layer = "logits"  # a map: a class is dreamed by tiles like any layer

    def __init__(self) -> None:
        super().__init__()
        self.stem = Stem(40)
        self.pool4 = nn.MaxPool2d(3, stride=2, padding=1)
        self.mix4a = Fuse(40, 16, 64)
        self.mix4b = Fuse(64, 16, 80)
        self.mix4c = Fuse(80, 28, 112)
        self.pool8 = nn.MaxPool2d(3, stride=2, padding=1)
        self.mix8a = Mix(112, 32, 96, 96)
        self.mix8b = Mix(192, 48, 128, 128)
        self.mix8c = Mix(256, 48, 144, 160)
        self.mix8d = Mix(304, 64, 224, 256)
        self.pool16 = nn.MaxPool2d(3, stride=2, padding=1)
        self.mix16a = Mix(480, 64, 256, 256)
        self.logits = nn.Conv2d(512, 1000, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mix4c(self.mix4b(self.mix4a(self.pool4(self.stem(x)))))
        x = self.mix8d(self.mix8c(self.mix8b(self.mix8a(self.pool8(x)))))
        x = self.mix16a(self.pool16(x))
        return self.logits(x).mean((2, 3))  # type: ignore[no-any-return]
