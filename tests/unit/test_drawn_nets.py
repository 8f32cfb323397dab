"""The law of tiles for nets that nobody thought of: whatever windows a net slides, tiles give the untiled gradient."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from unit.test_octaves import assert_same_gradient, photograph

from dreamjobs.nets import Net, load_net

pytestmark = pytest.mark.usefixtures("one_thread")

CHANNELS = 4
LEAST_LEAD = 2e-6
Pair = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """A convolution or a pool; pairs are (y, x)."""

    kind: str
    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: int = 1
    ceil_mode: bool = False

    def module(self, channels: int = CHANNELS) -> nn.Module:
        """What slides it; a convolution is followed by what is smooth, as rounding may turn a ReLU on or off."""
        if self.kind == "max":
            return nn.MaxPool2d(self.kernel, self.stride, self.padding, self.dilation, ceil_mode=self.ceil_mode)
        if self.kind == "avg":
            return nn.AvgPool2d(self.kernel, self.stride, self.padding, self.ceil_mode)
        conv = nn.Conv2d(channels, CHANNELS, self.kernel, self.stride, self.padding, self.dilation)
        return nn.Sequential(conv, nn.SiLU())


@dataclass(frozen=True)
class Branches:
    """Windows side by side that give maps of one size: joined as Inception's, or added."""

    windows: tuple[Window, ...]
    joined: bool

    def module(self) -> nn.Module:
        """What slides them."""
        return Parallel(self)


class Parallel(nn.Module):
    def __init__(self, branches: Branches) -> None:
        super().__init__()
        self.parts = nn.ModuleList(
            nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 1), window.module()) for window in branches.windows
        )
        self.joined = nn.Conv2d(CHANNELS * len(self.parts), CHANNELS, 1) if branches.joined else None

    def forward(self, x: Tensor) -> Tensor:
        first, *others = [part(x) for part in self.parts]
        return self.joined(torch.cat([first, *others], 1)) if self.joined else sum(others, first)


@dataclass(frozen=True)
class Fitted:
    """Sides padded to a multiple, as TensorFlow does for its strides: `ahead` by half before the first, or all behind.

    `scaled`: and numbers over how many positions there are.
    """

    multiple: int
    ahead: bool
    scaled: bool

    def module(self) -> nn.Module:
        """What pads."""
        return Fitting(self)


class Fitting(nn.Module):
    def __init__(self, fitted: Fitted) -> None:
        super().__init__()
        self.fitted = fitted

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = (-x.shape[2] % self.fitted.multiple, -x.shape[3] % self.fitted.multiple)
        top, left = (rows // 2, columns // 2) if self.fitted.ahead else (0, 0)
        x = F.pad(x, (left, columns - left, top, rows - top))
        return x * (1000 / (x.shape[2] * x.shape[3])) if self.fitted.scaled else x


def made(steps: tuple[Window | Branches | Fitted, ...]) -> nn.Module:
    """A net of a first convolution, `layer0`, and these."""
    first = nn.Conv2d(3, CHANNELS, 1)
    return nn.Sequential(
        OrderedDict((f"layer{i}", m) for i, m in enumerate([first, *(step.module() for step in steps)]))
    )


def least_lead(net: Net, picture: Tensor, depth: int) -> float:
    """By how much, over the largest number there, the first in a max pool's window leads the second; the least lead.

    Only the net's layers up to number `depth` are looked at. Where that is as little as rounding, it decides which of
    the two a gradient goes back to.
    """
    leads = [math.inf]

    def look(pool: nn.MaxPool2d, given: tuple[Tensor], out: Tensor) -> None:
        (y, x), step = pool.padding, pool.stride
        padded = F.pad(given[0], (x, x + step[1], y, y + step[0]), value=-math.inf)
        windows = F.unfold(padded, pool.kernel_size, pool.dilation, 0, step).unflatten(1, (CHANNELS, -1))
        first, second = windows.topk(2, 2).values.unbind(2)
        leads.append(float((first - second).nan_to_num(math.inf).min() / given[0].abs().max()))

    layers = net._module[: depth + 1]  # type: ignore[index]
    pools = [module for module in layers.modules() if isinstance(module, nn.MaxPool2d)]
    hooks = [pool.register_forward_hook(look) for pool in pools if pool.kernel_size != (1, 1)]
    layers((picture - net._mean) / net._std)
    for hook in hooks:
        hook.remove()
    return min(leads)


def test_a_lead_as_small_as_rounding_is_seen() -> None:
    """In one window of this net the first leads by a rounding on this picture, and in none on another."""
    near = Window("avg", (1, 3), (1, 2), (0, 1)), Window("conv", (1, 1), (1, 2), (0, 0))
    steps = Branches(near, joined=True), Window("max", (2, 2), (1, 1), (0, 0), 2)
    with patch(f"{__name__}.drawn", lambda: made(steps), create=True):
        net = load_net(f"{__name__}:drawn", "random")
    assert least_lead(net, photograph(83, 90), 2) < LEAST_LEAD < least_lead(net, photograph(40, 50), 2)


def pairs(values: st.SearchStrategy[int]) -> st.SearchStrategy[Pair]:
    return values.map(lambda value: (value, value)) | st.tuples(values, values)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    """Any window that torch slides, padded by up to half of it."""
    kind = draw(st.sampled_from(["conv", "conv", "max", "avg"]))
    kernel = draw(pairs(st.integers(1, 5) if kind == "conv" else st.integers(2, 3)))
    stride = draw(pairs(st.integers(1, 2) if kind == "conv" else st.integers(1, 3)))
    dilation = 1 if kind == "avg" else draw(st.integers(1, 2))
    reach = dilation if kind == "conv" else 1
    y, x = (draw(st.integers(0, side * reach // 2)) for side in kernel)
    return Window(kind, kernel, stride, (y, x), dilation, draw(st.booleans()))


@st.composite
def branches(draw: st.DrawFn) -> Branches:
    """Two or three windows of odd sizes, each padded by half of it, with one stride."""
    stride = draw(pairs(st.integers(1, 2)))
    found = []
    for kind in draw(st.lists(st.sampled_from(["conv", "max", "avg"]), min_size=2, max_size=3)):
        kernel = draw(pairs(st.sampled_from([1, 3, 5])))
        found.append(Window(kind, kernel, stride, (kernel[0] // 2, kernel[1] // 2)))
    return Branches(tuple(found), draw(st.booleans()))


@settings(max_examples=40)
@given(
    steps=st.lists(windows() | branches(), min_size=1, max_size=4).map(tuple),
    read=st.tuples(st.integers(1, 4), st.integers(0, 4)),
    size=st.tuples(st.integers(5, 90), st.integers(5, 90)),
    tile_size=st.integers(32, 60),
)
def test_tiles_of_any_net_give_the_untiled_gradient(
    steps: tuple[Window | Branches, ...], read: Pair, size: Pair, tile_size: int
) -> None:
    """Kernels, strides, paddings, dilations, pools, branches: two layers' gradient by tiles is the untiled to 1e-5."""
    deep, shallow = (f"layer{min(number, len(steps))}" for number in read)
    with patch(f"{__name__}.drawn", lambda: made(steps), create=True):
        net = load_net(f"{__name__}:drawn", "random")
    reader = net.reader((deep, shallow) if deep != shallow else (deep,))
    assume(min(size) >= reader.least_side)
    assert reader.read_by_head == ()
    picture = photograph(*size)
    assume(least_lead(net, picture, min(max(read), len(steps))) > LEAST_LEAD)
    assert_same_gradient(picture, net, f"{deep} + 0.5*{shallow}:1", tile_size)


@settings(max_examples=30)
@given(
    steps=st.lists(windows(), min_size=1, max_size=3),
    fitted=st.builds(Fitted, st.integers(2, 40), st.booleans(), st.booleans()),
    place=st.integers(0, 3),
    size=st.tuples(st.integers(5, 90), st.integers(5, 90)),
    tile_size=st.integers(32, 60),
)
def test_tiles_of_nets_that_fit_their_maps_to_a_grid_give_the_untiled_gradient(
    steps: list[Window], fitted: Fitted, place: int, size: Pair, tile_size: int
) -> None:
    """What is padded or scaled by the picture's own size is not by a tile's: it is dreamed as what sees the whole."""
    place = min(place, len(steps))
    every = (*steps[:place], fitted, *steps[place:])
    with patch(f"{__name__}.drawn", lambda: made(every), create=True):
        net = load_net(f"{__name__}:drawn", "random")
    reader = net.reader((f"layer{len(every)}",))
    assume(min(size) >= reader.least_side)
    picture = photograph(*size)
    assume(least_lead(net, picture, len(every)) > LEAST_LEAD)
    assert reader.read_by_head
    assert reader.fields == {f"layer{len(every)}": None}
    assert_same_gradient(picture, net, f"layer{len(every)}", tile_size)
