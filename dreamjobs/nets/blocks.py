"""A convolution of stride 2 over few channels, computed over blocks of 2 x 2 pixels: equal up to rounding, and faster.

With three input channels it, and above all its gradient by the input, uses little of a vector unit; over blocks it has
twelve (space to depth, as MLPerf's ResNets begin).
"""

import itertools
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_MOST_CHANNELS = 4
_TWICE = {2: torch.int32, 4: torch.int64}  # bytes of a number -> what holds two of them


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

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # as the convolution's is called
        """(N, C, h, w) -> what the convolution gives."""
        if input.is_meta:  # there is nothing to compute; who traces what a position sees is shown the convolution
            shape = len(self.weight), input.shape[1], self._size, self._size
            taps = torch.empty(shape, dtype=input.dtype, device="meta")
            return F.conv2d(input, taps, self.bias, stride=2, padding=self._padding)
        # Pixels are padded, or dropped, to just what is needed: a slice of the result would cost more, and so would the
        # layers after it, as it is laid out otherwise.
        edges = [edge for side in (input.shape[-1], input.shape[-2]) for edge in self._edges(side)]
        x = F.pad(input, edges) if any(edges) else input
        return F.conv2d(_Blocks.apply(x), self.weight, self.bias)

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
    """`F.pixel_unshuffle` by 2, channels-last, and its gradient: both move two pixels at a time, as one number."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        n, channels, height, width = x.shape
        blocks = x.new_empty(n, height // 2, width // 2, 4 * channels)
        x = x.contiguous()
        for pixels, taps in _pairs(x.clone() if x.storage_offset() % 2 else x, blocks):
            taps.copy_(pixels)
        return blocks.movedim(3, 1)

    @staticmethod
    def backward(ctx: object, slope: Tensor) -> Tensor:
        n, channels, height, width = slope.shape
        x = slope.new_empty(n, channels // 4, 2 * height, 2 * width)
        for pixels, taps in _pairs(x, slope.movedim(1, 3).contiguous()):
            pixels.copy_(taps)
        return x


def _pairs(x: Tensor, blocks: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Views (N, r, c) of pictures (N, C, 2 r, 2 c) and of their blocks (N, r, c, 4 C), a number a pair of pixels."""
    n, rows, columns, _ = blocks.shape
    pair = _TWICE[x.element_size()]
    from_picture = x.view(pair).view(n, -1, rows, 2, columns)
    from_blocks = blocks.view(pair).view(n, rows, columns, -1, 2)
    for channel, down in itertools.product(range(x.shape[1]), range(2)):
        yield from_picture[:, channel, :, down], from_blocks[..., channel, down]


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
