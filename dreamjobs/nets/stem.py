"""A convolution of stride 2 over pixels, written over blocks of 2 x 2 pixels: the same sums, twice as fast on a CPU.

With three input channels a convolution, and above all its gradient by the input, uses little of a vector unit; over
blocks it has twelve (space to depth, as MLPerf's ResNets begin). Results are equal up to rounding.
"""

import torch.nn.functional as F
from torch import Tensor, nn

_MOST_CHANNELS = 4


class BlockConv(nn.Module):
    """What `conv` computes, a convolution for which `fits` is true."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self._size, self._padding = conv.kernel_size[0], int(conv.padding[0])
        first = -self._padding // 2  # the block of the first tap, from the position's own
        self._before = -first
        self._span = (self._size - 1 - self._padding) // 2 - first + 1
        self.weight = nn.Parameter(self._blocked(conv.weight.detach(), first), requires_grad=False)
        self.bias = conv.bias

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> what the convolution gives."""
        rows, columns = ((side + 2 * self._padding - self._size) // 2 + 1 for side in x.shape[2:])
        if x.shape[2] % 2 or x.shape[3] % 2:
            x = F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2))
        out = F.conv2d(F.pixel_unshuffle(x, 2), self.weight, self.bias, padding=self._before)
        return out[:, :, :rows, :columns]

    def _blocked(self, weight: Tensor, first: int) -> Tensor:
        """The taps (out, C, k, k) sorted into blocks: (out, 4 C, span, span), as `pixel_unshuffle` orders channels."""
        outputs, channels = weight.shape[:2]
        taps = weight.new_zeros(outputs, channels, 2 * self._span, 2 * self._span)
        start = -self._padding - 2 * first
        taps[:, :, start : start + self._size, start : start + self._size] = weight
        return F.pixel_unshuffle(taps, 2)


def fits(module: nn.Module) -> bool:
    """Whether a module is a square convolution of stride 2 over few channels, padded with zeros."""
    return (
        isinstance(module, nn.Conv2d)
        and module.in_channels <= _MOST_CHANNELS
        and module.groups == 1
        and tuple(module.stride) == (2, 2)
        and tuple(module.dilation) == (1, 1)
        and module.kernel_size[0] == module.kernel_size[1]
        and not isinstance(module.padding, str)
        and module.padding[0] == module.padding[1]
        and module.padding_mode == "zeros"
    )
