"""A convolution of stride 2 over few channels, computed over blocks of 2 x 2 pixels: equal up to rounding, and faster.

With three input channels it, and above all its gradient by the input, uses little of a vector unit; over blocks it has
twelve (space to depth, as MLPerf's ResNets begin).
"""

import torch
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
        # Four channels of zeros and a one for each of the picture's, in the order of `pixel_unshuffle`.
        count = conv.in_channels
        self.register_buffer("_taps", torch.eye(4 * count, dtype=conv.weight.dtype).view(4 * count, count, 2, 2))

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # as the convolution's is called
        """(N, C, h, w) -> what the convolution gives."""
        # Pixels are padded, or dropped, to just what is needed: a slice of the result would cost more, and so would the
        # layers after it, as it is laid out otherwise.
        edges = [edge for side in (input.shape[-1], input.shape[-2]) for edge in self._edges(side)]
        x = F.pad(input, edges) if any(edges) else input
        return F.conv2d(_Blocks.apply(x, self._taps), self.weight, self.bias)

    def _edges(self, side: int) -> tuple[int, int]:
        """Pixels to add before and after so many; fewer than none are dropped."""
        positions = (side + 2 * self._padding - self._size) // 2 + 1
        before = 2 * self._before
        return before, 2 * (positions + self._span - 1) - before - side

    def _blocked(self, weight: Tensor, first: int) -> Tensor:
        """The taps (out, C, k, k) sorted into blocks: (out, 4 C, span, span), as `pixel_unshuffle` orders channels."""
        outputs, channels = weight.shape[:2]
        taps = weight.new_zeros(outputs, channels, 2 * self._span, 2 * self._span)
        start = -self._padding - 2 * first
        taps[:, :, start : start + self._size, start : start + self._size] = weight
        return F.pixel_unshuffle(taps, 2)


class _Blocks(torch.autograd.Function):
    """`F.pixel_unshuffle` by 2: as a convolution, which lays the blocks out as the next one reads them.

    Its gradient comes channels-last, too, and goes back to pixels in one pass.
    """

    @staticmethod
    def forward(ctx: object, x: Tensor, taps: Tensor) -> Tensor:
        return F.conv2d(x, taps, stride=2)

    @staticmethod
    def backward(ctx: object, slope: Tensor) -> tuple[Tensor, None]:
        n, channels, height, width = slope.shape
        pixels = slope.new_empty(n, channels // 4, 2 * height, 2 * width)
        taps = slope.view(n, channels // 4, 2, 2, height, width)
        for down in range(2):
            for along in range(2):
                pixels[:, :, down::2, along::2] = taps[:, :, down, along]
        return pixels, None


def has_own_weights(module: nn.Module) -> bool:
    """Whether a module computes with weights of its own, not with what a hook makes before each call."""
    return isinstance(module.weight, nn.Parameter) and not has_hooks(module)


def has_hooks(called: object) -> bool:
    """Whether what is called is a module to whose calls, or their gradients, somebody added something."""
    return isinstance(called, nn.Module) and bool(
        called._forward_pre_hooks or called._forward_hooks or called._backward_pre_hooks or called._backward_hooks
    )


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
        and has_own_weights(module)
    )
