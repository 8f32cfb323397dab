"""A net's graph rewritten to compute the same with less work."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.utils.prune
import torchvision
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, fx, nn
from torch.nn import functional as F
from torchvision.models.feature_extraction import create_feature_extractor

from dreamjobs.nets.blocks import BlockConv
from dreamjobs.nets.pointwise import PointwiseConv
from dreamjobs.nets.rewrite import before_relus, normalising, rewritten

pytestmark = pytest.mark.usefixtures("one_thread")


class Pooled(nn.Module):
    """ReLUs before max pools, as modules, functions and joined; those that others read as well must stay."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(5, 8, 3), nn.Conv2d(8, 8, 3, padding=1)
        self.left, self.right = nn.Conv2d(8, 4, 1), nn.Conv2d(8, 6, 3, padding=1)
        self.last = nn.Conv2d(10, 10, 1)
        self.relu, self.pool = nn.ReLU(inplace=True), nn.MaxPool2d(3, stride=2, ceil_mode=True)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.pool(self.relu(self.first(x)))
        x = F.max_pool2d(F.relu(self.second(x)), 2, stride=1)
        x = F.max_pool2d(torch.cat([F.relu(self.left(x)), self.right(x).relu()], 1), 3, 2, 1)
        kept = F.relu(self.last(x))
        return {"pool": F.max_pool2d(kept, 2), "relu": kept}


def operations(graph: fx.GraphModule) -> list[str]:
    """What is called, in order, by the last word of its name."""
    return [str(node.name).rstrip("0123456789_") for node in graph.graph.nodes if node.op.startswith("call")]


@pytest.mark.parametrize("side", [12, 17, 30])
def test_relus_move_behind_max_pools_and_change_no_bit(side: int) -> None:
    """Values and the gradient by the picture are the same bits, with fewer ReLUs."""
    plain = fx.symbolic_trace(Pooled().eval().requires_grad_(False))
    quick = rewritten(copy.deepcopy(plain))
    found = []
    for graph in (plain, quick):
        x = torch.randn(2, 5, side, side, generator=torch.Generator().manual_seed(side)).requires_grad_(True)
        maps = graph(x)
        value = maps["pool"].square().sum() + maps["relu"].sum()
        found.append([*(maps[name].detach() for name in ("pool", "relu")), torch.autograd.grad(value, x)[0]])
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)
    assert operations(plain).count("relu") == 5
    branches = ["left", "right", "cat", "max_pool2d", "relu"]
    begun = ["first", "pool", "relu", "second", "max_pool2d", "relu"]
    assert operations(quick) == [*begun, *branches, "last", "relu", "max_pool2d"]


class Odd(nn.Module):
    """Things that must be left as they are: pools that also give places, ReLUs of what is read elsewhere as well."""

    def __init__(self, before: nn.Module) -> None:
        super().__init__()
        self.conv, self.relu, self.before = nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True), before
        self.pool, self.places = nn.MaxPool2d(2), nn.MaxPool2d(2, return_indices=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        z = self.pool(self.relu(self.before(y)))
        maxima, places = self.places(F.relu(self.conv(x)))
        return z + self.pool(y) + maxima + places


class Called(nn.Module):
    """A picture that has a ReLU's name."""

    def forward(self, relu: Tensor) -> Tensor:
        return F.max_pool2d(relu, 2)


@pytest.mark.parametrize("module", [Odd(nn.Identity()), Odd(nn.Dropout()), Odd(nn.Conv2d(4, 4, 1)), Called()])
def test_what_would_change_is_left_alone(module: nn.Module) -> None:
    """Views, what others read, places of maxima, names that mislead: the rewritten graph gives the same bits."""
    graph = fx.symbolic_trace(module.eval())
    x = torch.randn(1, 3, 6, 6)
    assert torch.equal(rewritten(copy.deepcopy(graph))(x), graph(x))


class Joined(nn.Module):
    """A 1 x 1 convolution over two joined maps; `kept` if they are read elsewhere as well."""

    def __init__(self, *, kept: bool = False, size: int = 1, axis: int = 1, padding: int = 0) -> None:
        super().__init__()
        self.left, self.right, self.relu = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(inplace=True)
        self.after = nn.Conv2d(10 if axis == 1 else 4, 5, size, padding=padding)
        self.even = nn.Conv2d(3, 4, 1)
        self.kept, self.axis = kept, axis

    def forward(self, x: Tensor) -> Tensor:
        right = self.right(x) if self.axis == 1 else self.even(x)
        joined = torch.cat([self.relu(self.left(x)), right], self.axis)
        return self.after(joined).sum() + (joined.sum() if self.kept else 0.0)


class Altered(nn.Module):
    """A 1 x 1 convolution over joined maps, of which one is changed in place after they were joined."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.after = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 6, 1), nn.Conv2d(10, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        left = self.left(x)
        joined = torch.cat([left, self.right(x)], 1)
        changed = F.relu(left, inplace=True).sum()
        return self.after(joined).sum() + changed


def value_and_gradient(graph: nn.Module) -> tuple[Tensor, Tensor]:
    x = torch.randn(2, 3, 9, 8, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    value = graph(x)
    return value.detach(), torch.autograd.grad(value, x)[0]


def test_a_convolution_over_joined_maps_is_a_sum_of_one_over_each() -> None:
    """Value and gradient are the same up to rounding; nothing is joined any more, and the bias counts once."""
    plain = fx.symbolic_trace(Joined().requires_grad_(False))
    quick = rewritten(copy.deepcopy(plain))
    for one, other in zip(value_and_gradient(plain), value_and_gradient(quick), strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-5)
    assert "cat" in operations(plain)
    assert "cat" not in operations(quick)


@pytest.mark.parametrize("module", [Joined(kept=True), Joined(size=3), Joined(axis=2), Joined(padding=1), Altered()])
def test_joined_maps_stay_joined_for_other_readers(module: nn.Module) -> None:
    """Whether something else reads or changes them, the convolution sees more, or they are joined along rows."""
    plain = fx.symbolic_trace(module.requires_grad_(False))
    quick = rewritten(copy.deepcopy(plain))
    assert operations(quick) == operations(plain)
    assert torch.equal(value_and_gradient(quick)[1], value_and_gradient(plain)[1])


@pytest.mark.parametrize("net", ["squeezenet1_0", "resnet18", "googlenet", "densenet121"])
def test_published_nets_give_the_same(net: str) -> None:
    """Up to the rounding of their first convolution, written over blocks."""
    more = {"aux_logits": False, "init_weights": False} if net == "googlenet" else {}
    module = torchvision.models.get_model(net, weights=None, **more).eval().requires_grad_(False)
    graph = fx.symbolic_trace(module)
    x = torch.rand(1, 3, 75, 64)
    expected, found = graph(x), rewritten(copy.deepcopy(graph))(x)
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


CONVOLUTIONS = {
    "plain": nn.Conv2d(8, 6, 1),
    "without a bias": nn.Conv2d(8, 6, 1, bias=False),
    "strided": nn.Conv2d(8, 6, 1, stride=2),
    "grouped": nn.Conv2d(8, 6, 1, groups=2),
    "padded": nn.Conv2d(8, 6, 1, padding=1, padding_mode="reflect"),
    "of the same size": nn.Conv2d(8, 6, 1, padding="same"),
    "wider": nn.Conv2d(8, 6, 3, padding=1),
}


@pytest.mark.parametrize("kind", CONVOLUTIONS)
@pytest.mark.parametrize(("side", "number"), [(8, 1), (8, 3), (60, 1)])
def test_convolutions_on_one_thread(kind: str, side: int, number: int) -> None:
    """Plain 1 x 1 ones over many numbers alone are oneDNN's in place of slower code; values and gradients stay."""
    module = nn.Sequential(CONVOLUTIONS[kind].requires_grad_(False))
    plain = fx.symbolic_trace(module)
    found, called = [], []
    for graph in (plain, rewritten(copy.deepcopy(plain))):
        x = torch.randn(number, 8, side, side, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
            value = graph(x).square().sum()
            found.append((value.detach(), torch.autograd.grad(value, x)[0]))
        called.append(
            sorted(
                {event.name for event in profiler.events() if "mkldnn_conv" in event.name or "slow_conv" in event.name}
            )
        )
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-5)
    if side == 60 and kind in ("plain", "without a bias"):
        assert called == [["aten::_slow_conv2d_backward", "aten::_slow_conv2d_forward"], ["aten::mkldnn_convolution"]]
    else:
        assert called[0] == called[1] != []


@pytest.mark.parametrize("kernel", [1, 2])
def test_weights_that_a_hook_makes_are_left_to_it(kernel: int) -> None:
    """A pruned convolution, pointwise or of stride 2, computes with the weights that it was given last."""
    conv = nn.utils.prune.identity(nn.Conv2d(3, 4, kernel, kernel), "weight").requires_grad_(False)
    graph = rewritten(fx.symbolic_trace(nn.Sequential(conv)))
    conv.weight_orig.fill_(0.5)
    x = torch.rand(1, 3, 96, 96)
    assert torch.allclose(graph(x), F.conv2d(x, conv.weight_orig, conv.bias, kernel), atol=1e-5)


class Ended(nn.Module):
    """Layers that end in ReLUs of two convolutions, in as many ways as `kind` says."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 6, 1)
        self.relu, self.after, self.kind = nn.ReLU(inplace=True), nn.Conv2d(4, 4, 1), kind
        if kind == "a hook on the ReLU":
            self.relu.register_forward_hook(lambda module, given, out: out * 2)
        if kind == "a hook on a convolution":
            self.left.register_forward_hook(lambda module, given, out: out.tanh())

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        one, other = self.relu(self.left(x)), F.relu(self.right(x))
        joined = {
            "one by one": lambda: torch.cat([one, other], 1),
            "along rows": lambda: torch.cat([one, one], 2),
            "the same twice": lambda: torch.cat([one, one], 1),
            "as they come": lambda: torch.cat(one.chunk(2, 1), 1),
        }
        found = {"layer": joined[self.kind]() if self.kind in joined else one}
        if self.kind == "two layers":
            found["other"] = other
        if self.kind == "read further":
            found["after"] = self.after(one)
        return found


@pytest.mark.parametrize("kind", ["alone", "two layers", "one by one"])
def test_a_graph_is_cut_before_its_last_relus(kind: str) -> None:
    """What it gives then are maps whose ReLUs, side by side, are the layers."""
    graph = fx.symbolic_trace(Ended(kind).requires_grad_(False))
    x = torch.randn(2, 3, 9, 8)
    cut = before_relus(graph)
    assert cut is not None
    wanted = graph(x)
    for name, maps in cut(x).items():
        assert torch.equal(torch.cat([values.relu() for values in maps], 1), wanted[name])
        assert any(bool((values < 0).any()) for values in maps)


@pytest.mark.parametrize(
    "kind",
    [
        *("along rows", "the same twice", "as they come", "read further"),
        *("a hook on the ReLU", "a hook on a convolution"),
    ],
)
def test_layers_that_end_otherwise_are_not_cut(kind: str) -> None:
    """What others read or hooks change is left whole, and so is what is not joined along the channels one by one."""
    assert before_relus(fx.symbolic_trace(Ended(kind).requires_grad_(False))) is None


def test_what_a_graph_calls_whole_is_left_to_its_net() -> None:
    """Convolutions inside torchvision's own blocks are replaced in the graph, with the same weights, not in the net."""
    net = torchvision.models.get_model("mobilenet_v3_small", weights=None).eval().requires_grad_(False)
    before = {name: type(module) for name, module in net.named_modules()}
    graph = rewritten(create_feature_extractor(net, {"features.4": "features.4"}))
    assert {name: type(module) for name, module in net.named_modules()} == before
    kinds = [type(module) for module in graph.modules()]
    assert {BlockConv, PointwiseConv} <= set(kinds)
    places = {weight.data_ptr() for weight in net.parameters()}
    assert all(each.weight.data_ptr() in places for each in graph.modules() if isinstance(each, PointwiseConv))
    x = torch.rand(1, 3, 75, 64)
    expected = create_feature_extractor(net, {"features.4": "features.4"})(x)["features.4"]
    assert torch.allclose(graph(x)["features.4"], expected, rtol=1e-4, atol=1e-6)


@settings(max_examples=60)
@given(st.integers(1, 11), st.integers(0, 5), st.tuples(st.integers(1, 30), st.integers(1, 30)))
def test_a_convolution_over_blocks_is_the_convolution(kernel: int, padding: int, size: tuple[int, int]) -> None:
    """Written over blocks of 2 x 2 pixels, a convolution of stride 2 gives the same, whatever kernel, padding, size."""
    assume(min(size) + 2 * padding >= kernel)
    conv = nn.Conv2d(3, 5, kernel, 2, padding).requires_grad_(False)
    pixels = torch.rand(1, 3, *size)
    expected, found = conv(pixels), BlockConv(conv)(pixels)
    assert found.shape == expected.shape
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("blocks", [False, True])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_blocks_carry_a_gradient_back_to_the_pixels(blocks: bool, layout: torch.memory_format) -> None:
    """The same as the convolution's own, however the pixels are laid out."""
    conv = nn.Conv2d(3, 5, 7, 2, 3).requires_grad_(False)
    pixels = torch.rand(2, 3, 15, 12).contiguous(memory_format=layout).requires_grad_()
    slope = torch.rand(2, 5, 8, 6)
    (expected,) = torch.autograd.grad(conv(pixels), pixels, slope)
    (found,) = torch.autograd.grad(BlockConv(conv)(pixels), pixels, slope)
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 3, 1, 2)])
@pytest.mark.parametrize("first", [0, 1])
def test_blocks_are_made_however_pixels_lie_in_memory(dtype: torch.dtype, order: tuple[int, ...], first: int) -> None:
    """Pairs of pixels are moved as one number; those of interleaved channels, or at odd addresses, are no pairs."""
    conv = nn.Conv2d(3, 5, 2, 2).requires_grad_(False).to(dtype)
    sides = [(1, 3, 6, 8)[order.index(axis)] for axis in range(4)]
    pixels = torch.rand(3 * 6 * 8 + 1).to(dtype)[first : first + 3 * 6 * 8].view(sides).permute(order)
    assert pixels.shape == (1, 3, 6, 8)
    assert torch.allclose(BlockConv(conv)(pixels), conv(pixels), atol=1e-2 if dtype == torch.bfloat16 else 1e-5)


class Begun(nn.Module):
    """A net that begins with a convolution, as `how` has it."""

    def __init__(self, how: str) -> None:
        super().__init__()
        padding: int | str = {"padded": 1, "same": "same"}.get(how, 0)
        self.conv = nn.Conv2d(3, 6, 3, padding=padding, bias=how != "unbiased", groups=3 if how == "grouped" else 1)
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv(x)
        if self.how == "read twice":
            return out + x.mean()
        return out + self.conv(x + 1) if self.how == "called twice" else out


MEAN, STD = torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1), torch.tensor([0.2, 0.3, 0.25]).view(1, 3, 1, 1)


@pytest.mark.parametrize(
    ("how", "left"),
    [
        ("unpadded", "nothing"),
        ("unbiased", "nothing"),
        ("padded", "mean"),
        ("same", "mean"),
        ("grouped", "both"),
        ("read twice", "both"),
        ("called twice", "both"),
    ],
)
def test_the_first_convolution_normalises(how: str, left: str) -> None:
    """All of it, all but the mean where zeros are padded, nothing where something else reads the picture too."""
    net = Begun(how).requires_grad_(False)
    graph = fx.symbolic_trace(net)
    mean, std = normalising(graph, MEAN, STD)
    assert (mean is None, std is None) == (left == "nothing", left != "both")
    x = torch.rand(1, 3, 9, 8)
    rest = (x if mean is None else x - mean) / (1 if std is None else std)
    assert torch.allclose(graph(rest), net((x - MEAN) / STD), atol=1e-5)
