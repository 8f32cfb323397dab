"""A 1 x 1 convolution that PyTorch leaves to oneDNN on one thread too, as it does on several.

There (`ConvParams::use_mkldnn`) it would multiply matrices by code of its own, for which maps that lie channels-last
are laid out anew, unless the convolution is strided or dilated. One tap cannot be spread, so to call it dilated changes
nothing else. Maps of few numbers are left alone: a single one PyTorch gives to oneDNN on no number of threads, and a
dilated one to slower code.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dreamjobs.nets.blocks import has_own_weights

_FEW = 20_480  # numbers, PyTorch's own limit


class PointwiseConv(nn.Module):
    """What `conv` computes, a convolution for which `fits` is true."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # as the convolution's is called
        """(N, C, h, w) -> what the convolution gives."""
        return F.conv2d(input, self.weight, self.bias, dilation=2 if _is_for_onednn(input) else 1)


def _is_for_onednn(x: Tensor) -> bool:
    has_onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]  # torch leaves it so
    return has_onednn and x.device.type == "cpu" and x.dtype == torch.float32 and x.numel() > _FEW


def fits(module: object) -> bool:
    """Whether a module is a plain 1 x 1 convolution."""
    return (
        type(module) is nn.Conv2d
        and module.kernel_size == module.stride == (1, 1)
        and module.padding == (0, 0)
        and module.groups == 1
        and has_own_weights(module)
    )
