"""A net in two: the trunk's maps see a part of the picture, the head sees all of it, together they are the net."""

from __future__ import annotations

import pytest
import torch
import torchvision
from hooked import read_by_hooks
from torch import Tensor, nn

from dreamjobs.nets import fetch_weights, load_net
from dreamjobs.nets.load import build, preprocessing

pytestmark = pytest.mark.usefixtures("one_thread")


class Classifier(nn.Module):
    """Every step that can be is in place: after a layer of the trunk, at the border, and within the head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.relu = nn.ReLU(inplace=True)
        self.second = nn.Conv2d(6, 8, 3, padding=1)
        self.second_relu = nn.ReLU(inplace=True)
        self.pool = nn.AdaptiveAvgPool2d((2, 3))
        self.pooled_relu = nn.ReLU6(inplace=True)
        self.dense = nn.Linear(48, 12)
        self.dense_relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(inplace=True)
        self.logits = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.conv(x)))
        x = self.pooled_relu(self.pool(self.second_relu(self.second(x))) - 0.1)
        return self.logits(self.dropout(self.dense_relu(self.dense(torch.flatten(x, 1)))))


class Gate(nn.Module):
    """The first step behind the border is in place upon what the trunk goes on with; the gate's product sees all."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.side = nn.Conv2d(4, 4, 1)
        self.gate = torchvision.ops.SqueezeExcitation(4, 2)
        self.out = nn.Conv2d(4, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        weight = torch.sigmoid(self.side(x).mean((2, 3), keepdim=True))
        return self.out(self.gate(x).mul_(weight).relu_())


class Residual(nn.Module):
    """A layer that is added in place to another: what was read before must keep its values."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 4, 3, padding=1)
        self.two = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x)
        y = self.two(x)
        y += x
        return self.head(torch.relu_(y).mean((2, 3)))


class Shared(nn.Module):
    """One module used on both sides of the border."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.conv(x.mean((2, 3), keepdim=True)) * x


def picture(height: int = 34, width: int = 27) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))


CASES = [
    ("Classifier", ("conv", "norm", "relu", "second", "second_relu", "pool", "dense", "dense_relu", "logits")),
    ("Classifier", ("logits", "conv")),
    ("Classifier", ("dense",)),
    ("Classifier", ("second",)),
    ("Gate", ("conv", "side", "gate", "out")),
    ("Gate", ("out",)),
    ("Residual", ("one", "two", "head")),
    ("Residual", ("head", "two")),
]


@pytest.mark.parametrize(("name", "layers"), CASES)
def test_trunk_and_head_are_the_net(name: str, layers: tuple[str, ...]) -> None:
    """Trunk and head after one another give every layer's values, whatever steps are in place, in the order asked."""
    net = load_net(f"{__name__}:{name}", "random")
    reader = net.reader(layers)
    found, expected = reader(picture()), read_by_hooks(net, layers, picture())
    assert tuple(found) == layers
    for layer in layers:
        assert torch.allclose(found[layer], expected[layer], rtol=1e-5, atol=1e-5), layer


@pytest.mark.parametrize(("name", "layers"), CASES)
def test_the_gradient_goes_through_both(name: str, layers: tuple[str, ...]) -> None:
    """The gradient of all layers together is the net's own."""
    net = load_net(f"{__name__}:{name}", "random")
    slopes = []
    for read in (net.reader(layers), lambda pixels: read_by_hooks(net, layers, pixels)):
        pixels = picture().requires_grad_()
        value = sum(value.square().mean() for value in read(pixels).values())
        slopes.append(torch.autograd.grad(value, pixels)[0])
    assert slopes[1].abs().max() > 0
    assert torch.allclose(*slopes, rtol=1e-4, atol=1e-5 * slopes[1].abs().max().item())


@pytest.mark.parametrize(("name", "layers"), CASES)
def test_reading_does_not_write_to_the_maps(name: str, layers: tuple[str, ...]) -> None:
    """The head leaves the trunk's maps as they were: read twice, they say the same."""
    reader = load_net(f"{__name__}:{name}", "random").reader(layers)
    maps = reader.trunk(picture())
    before = {name: value.clone() for name, value in maps.items()}
    first = {name: value.clone() for name, value in reader.head(maps).items()}
    again = reader.head(maps)
    assert all(torch.equal(maps[name], before[name]) for name in maps)
    assert all(torch.equal(again[name], first[name]) for name in first)


def test_each_half_holds_its_own_layers() -> None:
    """Layers with a finite field come from the trunk, the others from the head, which reads the border alone."""
    reader = load_net(f"{__name__}:Classifier", "random").reader(("conv", "second", "dense", "logits"))
    maps = reader.trunk(picture())
    assert set(maps) == {"conv", "second", *reader.read_by_head}
    assert set(reader.head(maps)) == {"dense", "logits"}
    assert [reader.fields[name] is None for name in reader.layers] == [False, False, True, True]
    assert len(reader.read_by_head) == 1
    assert maps[reader.read_by_head[0]].min() == 0  # behind the ReLU that is in place upon `second`
    assert maps["second"].min() < 0
    assert set(reader.tiling_layers(34, 27)) == set(maps)


def test_a_layer_of_the_trunk_needs_no_head() -> None:
    """Where every layer has a finite field there is no head, and nothing behind the layers is kept."""
    reader = load_net(f"{__name__}:Classifier", "random").reader(("relu", "conv"))
    assert reader.read_by_head == ()
    assert set(reader.trunk(picture())) == {"relu", "conv"}
    assert {name.partition(".")[0] for name, _ in reader._halves.trunk.named_parameters()} <= {"conv", "norm"}


def test_the_trunk_keeps_nothing_of_the_head() -> None:
    """The trunk, which runs for every tile, holds no weights that only the head uses."""
    reader = load_net(f"{__name__}:Classifier", "random").reader(("logits",))
    assert {name.partition(".")[0] for name, _ in reader._halves.trunk.named_parameters()} <= {"conv", "norm", "second"}


def test_a_module_may_be_on_both_sides() -> None:
    """A module that is used before and behind the border does the same on both."""
    net = load_net(f"{__name__}:Shared", "random")
    reader = net.reader(("mul",))
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in preprocessing(nn.Module()))
    module = build(net.name, fetch_weights(net.name, "random"))
    assert len(reader.read_by_head) == 1
    assert torch.allclose(reader(picture())["mul"], module((picture() - mean) / std), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [(34, 27), (16, 64), (9, 9)])
def test_sizes_are_told_for_both_halves(size: tuple[int, int]) -> None:
    """What `sizes` says of layers and maps, without running the net, is what comes out."""
    reader = load_net(f"{__name__}:Classifier", "random").reader(("conv", "pool", "logits"))
    maps = reader.trunk(picture(*size))
    found = {name: tuple(value.shape[1:]) for name, value in (maps | reader.head(maps)).items()}
    assert {name: reader.sizes(*size)[name] for name in found} == found
